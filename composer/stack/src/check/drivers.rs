//! What makes networks, and its options; what the host has to have for them.

use std::net::Ipv4Addr;

use super::project::{Named, Project};
use crate::diagnostic::Report;
use crate::driver_options::{
    BRIDGE, FLAGS, GATEWAY_MODES, HOST_BINDING, LONGEST_INTERFACE as LONGEST, MACVLAN_MODE, MACVLAN_MODES,
    MTU, MTUS, PARENT, PREFIX, ROUTED, boolean, wrong_interface,
};
use crate::source::Span;
use crate::values;
use crate::yaml::Node;

/// The least that IPv6 takes (RFC 8200).
const LEAST_OF_IPV6: u32 = 1280;

pub(super) fn check(project: Project<'_>, report: &mut Report) {
    if !project.running() {
        return;
    }
    let mut bridges: Vec<(&str, Span)> = Vec::new();
    for network in project.section("networks") {
        if values::flag(network.get("external")) {
            exists(project, network, report);
            continue;
        }
        driver(network, report);
        families(project, network, report);
        for (key, entry) in network.map("driver_opts") {
            let text = values::scalar(&entry.node).unwrap_or_default();
            option(network, key, &text, entry.key, &entry.node, report);
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
    interfaces(project, report);
}

/// Of those that others made the host knows.
fn exists(project: Project<'_>, network: Named<'_>, report: &mut Report) {
    let known = project.options.host.as_ref().and_then(|host| host.networks.as_ref());
    let Some(known) = known else { return };
    let is_used = project.services().any(|service| service.at(&["networks", network.name]).is_some());
    let name = network.get("name").and_then(Node::text_value).filter(|name| !name.is_empty());
    let name = name.unwrap_or(network.name);
    if is_used && !known.contains(name) {
        let node = network.get("name").or_else(|| network.get("external"));
        report
            .error(
                node.map_or(network.entry.key, |node| node.span),
                format!("the network `{name}` is external, and there is none of that name"),
            )
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
        "" | "bridge" => {}
        "macvlan" => {
            report
                .error(node.span, "the driver `macvlan` is not supported yet: every network is a bridge")
                .help("`bridge`, or leave it out");
        }
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
                ["bridge", "macvlan"],
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

fn option(network: Named<'_>, key: &str, text: &str, at: Span, node: &Node, report: &mut Report) {
    let is_flag = FLAGS.iter().any(|flag| flag.key() == key);
    if is_flag && boolean(text).is_none() {
        report
            .error(node.span, format!("`{text}` is neither true nor false"))
            .help("write `\"true\"` or `\"false\"`");
    } else if is_flag || key == PARENT {
    } else if key == HOST_BINDING {
        if !text.is_empty() && text.parse::<Ipv4Addr>().is_err() {
            report
                .error(node.span, format!("`{text}` is not an IPv4 address"))
                .help("an address of this host, for the ports that name none: `127.0.0.1`");
        }
    } else if key == BRIDGE {
        interface(node, text, report);
    } else if key == PREFIX {
        prefix(node, text, report);
    } else if key == MTU {
        mtu(network, node, text, report);
    } else if GATEWAY_MODES.contains(&key) {
        if text == "routed" {
            report.error(node.span, ROUTED).help("`nat`, or leave it out");
        } else {
            word(node, text, &["nat"], report);
        }
    } else if key == MACVLAN_MODE {
        word(node, text, &MACVLAN_MODES, report);
    } else {
        report.warning(at, format!("the driver has no option `{key}`: it has no effect"));
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
    if text.len() + 3 > LONGEST {
        report
            .error(node.span, format!("`{text}` is too long to begin names of interfaces with"))
            .help(format!("{} characters fit", LONGEST - 3));
    } else {
        interface(node, text, report);
    }
}

fn interface(node: &Node, text: &str, report: &mut Report) {
    if let Some(wrong) = wrong_interface(text) {
        let long = text.len() > LONGEST;
        let help = if long {
            format!("{LONGEST} fit")
        } else {
            "letters, digits, `-`, `_` and `.`: for example `lan0`".to_owned()
        };
        report.error(node.span, wrong).help(help);
    }
}

/// The names that services choose for their own interfaces.
fn interfaces(project: Project<'_>, report: &mut Report) {
    for service in project.services() {
        let mut seen: Vec<(String, Span)> = Vec::new();
        for (_, entry) in service.map("networks") {
            let Some(node) = entry.node.get("interface_name") else { continue };
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
