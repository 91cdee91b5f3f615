//! What makes networks, and its options; what the host has to have for them.

use super::options;
use super::project::{Named, Project};
use crate::diagnostic::Report;
use crate::driver_options::{BRIDGE, IFNAME, wrong_interface};
use crate::lower::{PREDEFINED_NETWORKS, external_name, predefined};
use crate::source::Span;
use crate::values;
use crate::yaml::Node;

pub(super) fn check(project: Project<'_>, report: &mut Report) {
    // The options are the driver's, which is not asked where nothing is started.
    report.doubting(!project.running(), |report| all_options(project, report));
    if !project.running() {
        return;
    }
    for network in project.section("networks") {
        if predefined(network.name, &network.entry.node).is_some() {
            alone(project, network, report);
        } else if values::flag(network.get("external")) {
            exists(project, network, report);
        } else {
            named(network, report);
            driver(network, report);
            families(project, network, report);
        }
    }
    interfaces(project, report);
}

fn all_options(project: Project<'_>, report: &mut Report) {
    let mut bridges: Vec<(&str, Span)> = Vec::new();
    for network in project.section("networks").filter(|network| !values::flag(network.get("external"))) {
        for (key, entry) in network.map("driver_opts") {
            let text = values::scalar(&entry.node).unwrap_or_default();
            options::option(project, network, (key, entry.key), &entry.node, report);
            if key == BRIDGE
                && let Some((_, first)) = bridges.iter().find(|(name, _)| *name == text)
            {
                report
                    .error(entry.node.span, format!("two networks want the bridge `{text}`"))
                    .also(*first, "the other one");
            } else if key == BRIDGE {
                bridges.extend(entry.node.text_value().map(|name| (name, entry.node.span)));
            }
        }
    }
}

/// A name goes to terminals and into files, and those of Docker Engine's own networks mean these.
fn named(network: Named<'_>, report: &mut Report) {
    let Some(node) = network.get("name") else { return };
    let name = node.text_value().unwrap_or_default();
    if name.chars().any(char::is_control) {
        report
            .error(node.span, "a network's name has no control characters")
            .help("letters, digits, `_`, `.` and `-` are for certain everywhere");
    } else if PREDEFINED_NETWORKS.contains(&name) {
        report.error(node.span, format!("`{name}` is what Docker calls a network of every host")).help(
            match name {
                "host" | "none" => format!("choose another name, or give services `network_mode: {name}`"),
                _ => "choose another name".to_owned(),
            },
        );
    }
}

/// Who is on the host's own network, or on none, is on no other.
fn alone(project: Project<'_>, network: Named<'_>, report: &mut Report) {
    for service in project.services() {
        let mut others = service.map("networks").filter(|(name, _)| *name != network.name);
        if service.at(&["networks", network.name]).is_some()
            && let Some((name, other)) = others.next()
        {
            report
                .error(other.key, format!("who is on network `{}` is on no other", network.name))
                .help(format!("remove `{name}`, or `{}`", network.name))
                .also(network.entry.key, "what Docker Engine calls so is no network that stacks make");
        }
    }
}

/// Of those that others made the host knows.
fn exists(project: Project<'_>, network: Named<'_>, report: &mut Report) {
    let is_used = project.services().any(|service| service.at(&["networks", network.name]).is_some());
    let host = project.options.host.as_ref().filter(|_| is_used);
    let Some(known) = host.and_then(|host| host.networks?()) else { return };
    let name = external_name(network.name, &network.entry.node);
    if !known.contains(name) {
        let node = network.get("name").or_else(|| network.get("external"));
        let span = node.map_or(network.entry.key, |node| node.span);
        report
            .error(span, format!("the network `{name}` is external, and there is none of that name"))
            .meant(
                name,
                known.iter().map(String::as_str),
                format!("make it first: `compose network create {name}`"),
            );
    }
}

fn driver(network: Named<'_>, report: &mut Report) {
    let Some(node) = network.get("driver") else { return };
    match node.text_value().unwrap_or_default() {
        "" | "bridge" | "macvlan" | "ipvlan" => {}
        "host" | "none" => {
            report
                .error(node.span, "the networks `host` and `none` are there already, and are made by nobody")
                .help("give the service `network_mode: host` or `network_mode: none` instead");
        }
        "overlay" => {
            report
                .error(node.span, "the driver `overlay` spans the hosts of a cluster, which there is none of")
                .help("`bridge`, or leave it out");
        }
        other => {
            report.error(node.span, format!("`{other}` is not a driver of networks")).meant(
                other,
                ["bridge", "macvlan", "ipvlan"],
                "`bridge`, or leave it out",
            );
        }
    }
}

fn families(project: Project<'_>, network: Named<'_>, report: &mut Report) {
    let name = network.name;
    let v6 = network.get("enable_ipv6").filter(|node| node.bool_value() == Some(true));
    let no_v4 = network.get("enable_ipv4").filter(|node| node.bool_value() == Some(false));
    if let (Some(no_v4), None) = (no_v4, v6) {
        report
            .error(no_v4.span, format!("the network `{name}` has addresses of neither family"))
            .help("add `enable_ipv6: true`, or remove `enable_ipv4`");
    }
    let off = project.options.host.as_ref().and_then(|host| host.no_ipv6.as_ref());
    if let (Some(v6), Some(why)) = (v6, off) {
        report
            .error(v6.span, format!("IPv6 is off in this host's kernel: {why}"))
            .help("remove `enable_ipv6`, or turn IPv6 on");
    }
    for range in super::networks::ranges(network) {
        let is_v4 = range.subnet.first().is_ipv4();
        if is_v4 && no_v4.is_some() {
            report.error(range.span, format!("the network `{name}` has no IPv4, so it has no such subnet"));
        } else if !is_v4 && v6.is_none() {
            report
                .warning(range.span, format!("the network `{name}` has no IPv6: this subnet has no effect"))
                .help("add `enable_ipv6: true`");
        }
    }
}

pub(super) fn interface(node: &Node, text: &str, report: &mut Report) {
    if let Some(wrong) = wrong_interface(text) {
        options::refuse(node, text, wrong, report);
    }
}

/// The names that services choose for their own interfaces.
fn interfaces(project: Project<'_>, report: &mut Report) {
    for service in project.services() {
        let mut seen: Vec<(String, Span)> = Vec::new();
        for (_, entry) in service.map("networks") {
            let options = entry.node.get("driver_opts");
            for (key, option) in options.into_iter().flat_map(Node::entries) {
                options::of_endpoint(key, option.key, &option.node, report);
            }
            let chosen = entry.node.get("interface_name").or_else(|| options?.get(IFNAME));
            let Some(node) = chosen else { continue };
            let text = values::scalar(node).unwrap_or_default();
            if text.is_empty() {
                continue;
            }
            interface(node, &text, report);
            match seen.iter().find(|(name, _)| *name == text) {
                Some((_, first)) => {
                    let name = service.name;
                    report
                        .error(node.span, format!("two interfaces of `{name}` are to be called `{text}`"))
                        .also(*first, "the other one");
                }
                None => seen.push((text, node.span)),
            }
        }
    }
}
