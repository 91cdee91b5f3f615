//! Networks on an interface of the host's: that there is one, and what their services cannot have there.

use std::cmp::Reverse;

use super::project::{Named, Project};
use crate::diagnostic::Report;
use crate::driver_options::{
    self, GATEWAY_MODES, IPVLAN_FLAG, IPVLAN_MODE, MACVLAN_MODE, PARENT, ROUTED, wrong_interface,
};
use crate::limits;
use crate::values;
use crate::yaml::{Entry, Node};

pub(super) fn check(project: Project<'_>, report: &mut Report) {
    if !project.running() {
        return;
    }
    for network in project.section("networks").filter(is_on_host) {
        if let Some(node) = network.at(&["driver_opts", PARENT]) {
            parent(project, node, report);
        }
        let is_macvlan = network.get("driver").and_then(Node::text_value) == Some("macvlan");
        if is_macvlan
            && network.at(&["driver_opts", MACVLAN_MODE]).and_then(Node::text_value) == Some("passthru")
        {
            alone(project, network, report);
        }
    }
    one_mode(project, report);
    for service in project.services() {
        if let Some(port) = service.list("ports").first() {
            published(project, service, port, report);
        }
    }
}

fn is_on_host(network: &Named<'_>) -> bool {
    let kind = network.get("driver").and_then(Node::text_value).unwrap_or_default();
    !values::flag(network.get("external")) && driver_options::is_on_host(kind)
}

/// All ipvlan interfaces on one of the host's are of one mode, the last that was asked for (ipvlan_link_new in
/// drivers/net/ipvlan/ipvlan_main.c), and none is beside a macvlan's.
fn one_mode(project: Project<'_>, report: &mut Report) {
    let mut seen: Vec<(String, [String; 3], Named<'_>)> = Vec::new();
    for network in project.section("networks").filter(is_on_host) {
        let option =
            |key: &str| network.at(&["driver_opts", key]).and_then(values::scalar).unwrap_or_default();
        let (parent, kind) = (option(PARENT), network.get("driver").and_then(Node::text_value));
        let or = |text: String, default: &str| if text.is_empty() { default.to_owned() } else { text };
        let is_ipvlan = kind == Some("ipvlan");
        let way = if is_ipvlan {
            ["ipvlan".to_owned(), or(option(IPVLAN_MODE), "l2"), or(option(IPVLAN_FLAG), "bridge")]
        } else {
            ["macvlan".to_owned(), String::new(), String::new()]
        };
        if parent.is_empty() {
            continue;
        }
        match seen.iter().find(|(other, known, _)| *other == parent && *known != way) {
            Some((_, _, first)) => {
                report
                    .error(
                        network.entry.key,
                        format!("the networks `{}` and `{}` cannot both be on `{parent}`", first.name, network.name),
                    )
                    .help("those on one interface of the host are all of `macvlan`, or all of `ipvlan` with one mode and flag")
                    .also(first.entry.key, "the other one");
            }
            None => seen.push((parent, way, network)),
        }
    }
}

/// With `passthru` an interface of the host's is given to one container.
fn alone(project: Project<'_>, network: Named<'_>, report: &mut Report) {
    let mode = format!(
        "the network `{}` is of mode `passthru`, with which one container alone is on it",
        network.name
    );
    let mut first = None;
    for service in project.services() {
        let Some((_, entry)) = service.map("networks").find(|(key, _)| *key == network.name) else {
            continue;
        };
        let replicas = limits::replicas(service.node()).filter(|replicas| replicas.value > 1);
        if let Some(replicas) = replicas {
            let (count, name) = (replicas.value, service.name);
            report
                .error(entry.key, format!("the {count} replicas of `{name}` cannot be on `{}`", network.name))
                .help(mode.clone());
        } else if let Some((other, place)) = first {
            report.error(entry.key, mode.clone()).also(place, format!("`{other}` is on it already"));
        } else {
            first = Some((service.name, entry.key));
        }
    }
}

/// The host has it, or has what it is to be a VLAN of.
fn parent(project: Project<'_>, node: &Node, report: &mut Report) {
    let text = values::scalar(node).unwrap_or_default();
    // What is no name for one is told with the other options.
    if text.is_empty() || wrong_interface(&text).is_some() {
        return;
    }
    let Some(known) = project.options.host.as_ref().and_then(|host| host.interfaces.as_ref()) else { return };
    let is_tag = |tag: &str| {
        tag.bytes().all(|b| b.is_ascii_digit()) && tag.parse().is_ok_and(|tag: u16| (1..4095).contains(&tag))
    };
    let base = text.rsplit_once('.');
    if known.contains(&text) || base.is_some_and(|(base, tag)| known.contains(base) && is_tag(tag)) {
        return;
    }
    if let Some((base, tag)) = base.filter(|(base, _)| known.contains(*base)) {
        report
            .error(
                node.span,
                format!("the host has no interface `{text}`, and `{tag}` is not a VLAN of `{base}`"),
            )
            .help("a VLAN has a number from 1 to 4094");
        return;
    }
    let others = known.iter().map(String::as_str).filter(|name| *name != "lo");
    let list: Vec<String> = others.clone().take(8).map(|name| format!("`{name}`")).collect();
    let help = if list.is_empty() {
        "`ip link` lists those it has".to_owned()
    } else {
        format!("it has {}", list.join(", "))
    };
    report.error(node.span, format!("the host has no interface `{text}`")).meant(&text, others, help);
}

fn is_internal(network: &Named<'_>) -> bool {
    !values::flag(network.get("external")) && values::flag(network.get("internal"))
}

/// Whether ports of the host lead to services on a network, as far as the file tells.
fn leads_in(network: &Named<'_>) -> bool {
    !is_on_host(network) && !is_internal(network)
}

/// Whether containers are reached at their own addresses, over all families that a network has.
fn is_routed(network: &Named<'_>) -> bool {
    let options = network.get("driver_opts");
    let modes =
        GATEWAY_MODES.map(|key| options.and_then(|options| options.get(key)).and_then(values::scalar));
    let mut on = families(network).into_iter().zip(modes).filter(|(is_on, _)| *is_on);
    on.all(|(_, mode)| mode.as_deref() == Some(ROUTED))
}

/// The network by which ports of the host are led to a service over IPv4, where the file says what it is.
pub(super) fn way_in<'a>(project: Project<'a>, service: Named<'a>) -> Option<Named<'a>> {
    let leads = |network: &Option<Named<'_>>| {
        let has_v4 = |network: &Named<'_>| families(network)[0] && leads_in(network);
        network.as_ref().is_none_or(|network| values::flag(network.get("external")) || has_v4(network))
    };
    let on = service.map("networks").map(|(key, entry)| (key, entry, project.find("networks", key)));
    let way = on
        .filter(|(.., network)| leads(network))
        .min_by_key(|(key, entry, network)| order(key, entry, network.as_ref()));
    way.and_then(|(.., network)| network).filter(|network| !values::flag(network.get("external")))
}

/// Whether a network has IPv4, and IPv6.
fn families(network: &Named<'_>) -> [bool; 2] {
    let is_on = |key: &str, default: bool| network.get(key).and_then(Node::bool_value).unwrap_or(default);
    [is_on("enable_ipv4", true), is_on("enable_ipv6", false)]
}

/// In which order a service's networks that lead out are its way there: as [`crate::Network::rank`]. Of one that others have
/// made the file does not tell more than that it has a family.
fn order<'a>(
    key: &'a str,
    at: &Entry,
    network: Option<&Named<'_>>,
) -> (Reverse<i64>, Reverse<usize>, &'a str) {
    let gw_priority = at.node.get("gw_priority").and_then(values::whole).unwrap_or_default();
    let families = network.map_or(1, |network| families(network).into_iter().filter(|is_on| *is_on).count());
    (Reverse(gw_priority), Reverse(families), key)
}

/// A network by which a service is reached at its own addresses.
pub(super) fn routes<'a>(project: Project<'a>, service: Named<'a>) -> Option<Named<'a>> {
    let mut on = service.map("networks").filter_map(|(key, _)| project.find("networks", key));
    on.find(|network| leads_in(network) && is_routed(network))
}

/// Whether a service takes ports of the host: one that none would lead to does not.
pub(super) fn takes_ports(project: Project<'_>, service: Named<'_>) -> bool {
    let mut on = service.map("networks").map(|(key, _)| project.find("networks", key)).peekable();
    let takes = |network: &Named<'_>| leads_in(network) && !is_routed(network);
    on.peek().is_none() || on.any(|network| network.as_ref().is_none_or(takes))
}

/// Ports are led to a container by a bridge, and its answers have to come back by it.
fn published(project: Project<'_>, service: Named<'_>, port: &Node, report: &mut Report) {
    let on: Vec<(&String, &Entry, Option<Named<'_>>)> =
        service.map("networks").map(|(key, entry)| (key, entry, project.find("networks", key))).collect();
    let on_macvlan = |network: &Option<Named<'_>>| network.as_ref().is_some_and(is_on_host);
    let name = service.name;
    if on.is_empty() {
        return;
    }
    let Some(bridge) = on.iter().find(|(.., network)| network.as_ref().is_none_or(leads_in)) else {
        let mut own = on.iter().filter_map(|(.., network)| network.as_ref());
        let or = if on.iter().any(|(.., network)| on_macvlan(network)) {
            ", or of `macvlan` or `ipvlan`"
        } else {
            ""
        };
        match own.find(|network| !is_on_host(network)) {
            Some(internal) => report
                .warning(
                    port.span,
                    format!("no port of `{name}` is published: all its networks are internal{or}"),
                )
                .help(
                    "nothing outside reaches it there: remove `ports`, or add a network that is not internal",
                )
                .also(internal.get("internal").map_or(internal.entry.key, |node| node.span), "internal"),
            None => report
                .warning(
                    port.span,
                    format!(
                        "no port of `{name}` is published: all its networks are of `macvlan` or `ipvlan`"
                    ),
                )
                .help(
                    "it has an address of its own there, with all its ports: remove `ports`, or add a bridge",
                ),
        };
        return;
    };
    if !on.iter().any(|(.., network)| on_macvlan(network)) {
        return;
    }
    let leads_out = |network: &Option<Named<'_>>| {
        let Some(network) = network else { return true };
        let has_parent = || {
            network.at(&["driver_opts", PARENT]).and_then(values::scalar).is_some_and(|text| !text.is_empty())
        };
        !values::flag(network.get("internal")) && (!is_on_host(network) || has_parent())
    };
    let ways = on.iter().filter(|(.., network)| leads_out(network));
    let way = ways.min_by_key(|(key, entry, network)| order(key, entry, network.as_ref()));
    if let Some((key, entry, network)) = way
        && on_macvlan(network)
    {
        report
            .warning(port.span, format!("clients on other machines get no answer from the ports of `{name}`: it answers by `{key}`"))
            .help(format!("have it answer by the bridge: give `{}` the highest `gw_priority`", bridge.0))
            .also(entry.key, "its way out, and not the one that they come in by");
    }
}
