//! Options of networks' drivers, by Docker's names: what each may be, and which are known and not done.

use std::net::IpAddr;

use super::drivers::interface;
use super::project::Named;
use crate::diagnostic::Report;
use crate::driver_options::{
    BRIDGE, DEFAULT_BRIDGE, ENDPOINT_SYSCTLS, FLAGS, GATEWAY_MODES, HOST_BINDING, IFNAME, INHIBIT_IPV4,
    IPVLAN_FLAG, IPVLAN_FLAGS, IPVLAN_MODE, IPVLAN_MODES, ISOLATED, LONGEST_INTERFACE, MACVLAN_MODE,
    MACVLAN_MODES, MODES, MTU, MTUS, PARENT, PREFIX, SOURCES, TRUSTED, boolean, interface_sysctls,
    is_on_host, source, trusted,
};
use crate::source::Span;
use crate::values;
use crate::yaml::Node;

/// The least that IPv6 takes (RFC 8200).
const LEAST_OF_IPV6: u32 = 1280;

/// An option of a network, of which `at` is the key.
pub(super) fn option(network: Named<'_>, key: &str, at: Span, node: &Node, report: &mut Report) {
    let text = values::scalar(node).unwrap_or_default();
    let kind = network.get("driver").and_then(Node::text_value).unwrap_or_default();
    let is_on_host = is_on_host(kind);
    let of = match key {
        PARENT if !is_on_host => Some("macvlan"),
        MACVLAN_MODE => Some("macvlan"),
        IPVLAN_MODE | IPVLAN_FLAG => Some("ipvlan"),
        _ => None,
    };
    let is_flag = FLAGS.iter().any(|flag| flag.key() == key);
    let is_of_bridges = is_flag
        || [BRIDGE, HOST_BINDING, INHIBIT_IPV4, TRUSTED, DEFAULT_BRIDGE].contains(&key)
        || [GATEWAY_MODES, SOURCES].concat().contains(&key);
    if is_on_host && is_of_bridges {
        report.warning(at, format!("`{key}` is an option of bridges: with `{kind}` it has no effect"));
    } else if let Some(of) = of.filter(|of| *of != kind) {
        let with = if is_on_host { format!("with `{kind}`") } else { "on a bridge".to_owned() };
        report
            .warning(at, format!("`{key}` is an option of `{of}`: {with} it has no effect"))
            .help(format!("add `driver: {of}`"));
    } else if (is_flag || key == INHIBIT_IPV4) && boolean(&text).is_none() {
        report
            .error(node.span, format!("`{text}` is neither true nor false"))
            .help("write `\"true\"` or `\"false\"`");
    } else if is_flag || key == INHIBIT_IPV4 {
    } else if key == DEFAULT_BRIDGE {
        report.warning(at, format!("`{key}` has no effect: there is no bridge that all stacks are on"));
    } else {
        value(network, key, &text, at, node, report);
    }
}

fn value(network: Named<'_>, key: &str, text: &str, at: Span, node: &Node, report: &mut Report) {
    match key {
        PARENT => {}
        HOST_BINDING => {
            if !text.is_empty() && text.parse::<IpAddr>().is_err() {
                report
                    .error(node.span, format!("`{text}` is not an address"))
                    .help("an address of this host, for the ports that name none: `127.0.0.1`");
            }
        }
        TRUSTED => trusted(text).for_each(|name| interface(node, name, report)),
        _ if SOURCES.contains(&key) => {
            let of = usize::from(key == SOURCES[1]);
            if !text.is_empty() && source(text, of == 0).is_none() {
                report
                    .error(
                        node.span,
                        format!(
                            "`{text}` is not an address of {} that others could answer to",
                            ["IPv4", "IPv6"][of]
                        ),
                    )
                    .help("the address of this host that what leaves it is to have");
            }
        }
        BRIDGE => interface(node, text, report),
        PREFIX => prefix(node, text, report),
        MTU => mtu(network, node, text, report),
        MACVLAN_MODE => word(node, text, &MACVLAN_MODES, report),
        IPVLAN_MODE => word(node, text, &IPVLAN_MODES, report),
        IPVLAN_FLAG => word(node, text, &IPVLAN_FLAGS, report),
        _ if GATEWAY_MODES.contains(&key) => {
            if text == ISOLATED && !values::flag(network.get("internal")) {
                report
                    .error(node.span, "`isolated` takes the way out from a network that is to have one")
                    .help("add `internal: true`");
            } else {
                word(node, text, &MODES, report);
            }
        }
        _ => drop(report.warning(at, format!("the driver has no option `{key}`: it has no effect"))),
    }
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

fn word(node: &Node, text: &str, words: &[&'static str], report: &mut Report) {
    if !words.contains(&text) {
        let list: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
        report.error(node.span, format!("`{text}` is not a value of this option")).meant(
            text,
            words.iter().copied(),
            format!("it may be {}", list.join(", ")),
        );
    }
}

fn mtu(network: Named<'_>, node: &Node, text: &str, report: &mut Report) {
    let least = if values::flag(network.get("enable_ipv6")) { LEAST_OF_IPV6 } else { *MTUS.start() };
    if !text.parse().is_ok_and(|mtu: u32| (least..=*MTUS.end()).contains(&mtu)) {
        report
            .error(node.span, format!("`{text}` is not an MTU for this network"))
            .help(format!("a number of bytes from {least} to {}", MTUS.end()));
    }
}

/// A number of up to three digits comes behind it.
fn prefix(node: &Node, text: &str, report: &mut Report) {
    if text.len() + 3 > LONGEST_INTERFACE {
        report
            .error(node.span, format!("`{text}` is too long to begin names of interfaces with"))
            .help(format!("{} characters fit", LONGEST_INTERFACE - 3));
    } else {
        interface(node, text, report);
    }
}
