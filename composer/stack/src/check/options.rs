//! Options of networks' drivers, by Docker's names: what each may be, and which are known and not done.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::drivers::interface;
use super::project::{Named, Project};
use crate::diagnostic::Report;
use crate::driver_options::{
    self, BRIDGE, DEFAULT_BRIDGE, ENDPOINT_SYSCTLS, FLAGS, GATEWAY_MODES, HOST_BINDING, IFNAME, INHIBIT_IPV4,
    IPVLAN_FLAG, IPVLAN_MODE, MACVLAN_MODE, MTU, NAT_UNPROTECTED, PARENT, PREFIX, ROUTED, SOURCES, TRUSTED,
    Wrong, interface_sysctls, is_on_host, source, trusted,
};
use crate::source::Span;
use crate::values;
use crate::yaml::Node;

/// An option of a network, of which `at` is the key.
pub(super) fn option(
    project: Project<'_>,
    network: Named<'_>,
    (key, at): (&str, Span),
    node: &Node,
    report: &mut Report,
) {
    let text = values::scalar(node).unwrap_or_default();
    let kind = network.get("driver").and_then(Node::text_value).unwrap_or_default();
    let is_on_host = is_on_host(kind);
    let of = match key {
        PARENT if !is_on_host => Some("macvlan"),
        MACVLAN_MODE => Some("macvlan"),
        IPVLAN_MODE | IPVLAN_FLAG => Some("ipvlan"),
        _ => None,
    };
    let is_of_bridges = FLAGS.iter().any(|flag| flag.key() == key)
        || [BRIDGE, HOST_BINDING, INHIBIT_IPV4, TRUSTED, DEFAULT_BRIDGE].contains(&key)
        || [GATEWAY_MODES, SOURCES].concat().contains(&key);
    if is_on_host && is_of_bridges {
        report.warning(at, format!("`{key}` is an option of bridges: with `{kind}` it has no effect"));
    } else if let Some(of) = of.filter(|of| *of != kind) {
        let with = if is_on_host { format!("with `{kind}`") } else { "on a bridge".to_owned() };
        report
            .warning(at, format!("`{key}` is an option of `{of}`: {with} it has no effect"))
            .help(format!("add `driver: {of}`"));
    } else if key == DEFAULT_BRIDGE {
        report.warning(at, format!("`{key}` has no effect: there is no bridge that all stacks are on"));
    } else if !is_of_bridges && of.is_none() && ![PARENT, PREFIX, MTU].contains(&key) {
        report.warning(at, format!("the driver has no option `{key}`: it has no effect"));
    } else {
        let (ipv6, internal) =
            (values::flag(network.get("enable_ipv6")), values::flag(network.get("internal")));
        match driver_options::wrong(key, &text, ipv6, internal) {
            Some(wrong) => refuse(node, &text, wrong, report),
            None => vain(project, network, (key, &text), node, report),
        }
    }
}

/// What is wrong with a value, told at it.
pub(super) fn refuse(node: &Node, text: &str, wrong: Wrong, report: &mut Report) {
    report.error(node.span, wrong.what).meant(text, wrong.words.iter().copied(), wrong.help);
}

/// Values that are right and do not bring about what they are for.
fn vain(
    project: Project<'_>,
    network: Named<'_>,
    (key, text): (&str, &str),
    node: &Node,
    report: &mut Report,
) {
    let internal = network.get("internal").filter(|node| node.bool_value() == Some(true));
    let opens = [ROUTED, NAT_UNPROTECTED].contains(&text) && GATEWAY_MODES.contains(&key);
    if let Some(internal) = internal.filter(|_| opens) {
        report
            .warning(
                node.span,
                format!("`{text}` has no effect on an internal network, which nothing outside reaches"),
            )
            .help("remove one of the two")
            .also(internal.span, "internal");
    }
    if key == TRUSTED && trusted(text).next().is_none() {
        report
            .warning(node.span, "no interface of the host is named: it has no effect")
            .help("name those that are to reach published ports at the containers' own addresses: `eth0`, or `eth0:eth1`");
    }
    let Some(host) = project.options.host.as_ref().filter(|_| project.running()) else { return };
    if key == TRUSTED
        && let Some(known) = &host.interfaces
    {
        trusted(text)
            .filter(|name| !known.contains(*name))
            .for_each(|name| missing_interface(name, known, node, report));
    }
    if let Some(family) = SOURCES.iter().position(|source| *source == key)
        && let Some(address) = source(text, family == 0)
        && let Some(known) = host.addresses.and_then(|addresses| addresses())
        && !known.contains(&address)
    {
        missing_address(address, &known, node, report);
    }
}

/// It may come: a VPN's is there while the VPN is.
fn missing_interface(name: &str, known: &BTreeSet<String>, node: &Node, report: &mut Report) {
    report
        .warning(
            node.span,
            format!("the host has no interface `{name}`: until it has, nothing comes in by that"),
        )
        .meant(
            name,
            known.iter().map(String::as_str).filter(|name| *name != "lo"),
            "`ip link` lists those it has",
        );
}

/// As in Docker, what leaves the network has it all the same: others may lead it here.
fn missing_address(address: IpAddr, known: &BTreeSet<IpAddr>, node: &Node, report: &mut Report) {
    let would_do = |other: &String| source(other, address.is_ipv4()).is_some();
    let others: Vec<String> = known.iter().map(IpAddr::to_string).filter(would_do).take(8).collect();
    let help = if others.is_empty() { String::new() } else { format!(": {}", others.join(", ")) };
    report
        .warning(
            node.span,
            format!("the host has no address {address}: what leaves the network gets no answers, unless others lead them here"),
        )
        .help(format!("give the host that address, or choose one that it has{help}"));
}

/// An option of a service on a network, of which `at` is the key.
pub(super) fn of_endpoint(key: &str, at: Span, node: &Node, report: &mut Report) {
    match key {
        IFNAME => interface(node, &values::scalar(node).unwrap_or_default(), report),
        ENDPOINT_SYSCTLS => {
            if let Err(wrong) = interface_sysctls(&values::scalar(node).unwrap_or_default(), "IFNAME") {
                report
                    .error(node.span, format!("`{wrong}` is not a parameter of an interface"))
                    .help("`net.ipv4.conf.IFNAME.KEY=VALUE`, several with commas between; `ipv4` may be `ipv6` or `mpls`");
            }
        }
        _ => drop(
            report.warning(at, format!("no driver has an option `{key}` for a container: it has no effect")),
        ),
    }
}
