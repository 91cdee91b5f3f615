//! Addresses that services ask for: inside their networks, and each taken once.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::IpAddr;

use super::networks::{self, Range};
use super::project::{Named, Project};
use crate::diagnostic::Report;
use crate::model::Mac;
use crate::source::Span;
use crate::values;
use crate::yaml::Node;

/// Who asks for what, and where that is written.
type Taken<'a> = HashMap<(&'a str, String), (&'a str, Span)>;

pub(super) fn check(project: Project<'_>, report: &mut Report) {
    if !project.running() {
        return;
    }
    let networks: HashMap<&str, (Named<'_>, Vec<Range>)> = project
        .section("networks")
        .map(|network| (network.name, (network, networks::ranges(network))))
        .collect();
    let mut taken = Taken::new();
    for service in project.services() {
        for (network, entry) in service.map("networks") {
            for (key, wants_v4) in [("ipv4_address", true), ("ipv6_address", false)] {
                let Some(node) = entry.node.get(key) else { continue };
                let Some(address) = parse(node, key, wants_v4, report) else { continue };
                if let Some((definition, ranges)) = networks.get(network.as_str()) {
                    inside(*definition, ranges, address, node, report);
                }
                once(&mut taken, (network, address.to_string()), service, node, report);
            }
            link_local(&entry.node, report);
            // The service's own is for its first network.
            let own = service.get("mac_address").filter(|_| first(service) == Some(network.as_str()));
            let mac = entry.node.get("mac_address").or(own);
            let kind = project.find("networks", network).and_then(|network| network.get("driver"));
            if let Some(node) = entry.node.get("mac_address")
                && kind.and_then(Node::text_value) == Some("ipvlan")
            {
                report
                    .error(
                        node.span,
                        format!("on `{network}` all have the hardware address of the host's interface"),
                    )
                    .help("remove `mac_address`, or use `driver: macvlan`, with which each has its own");
                continue;
            }
            if let Some(node) = mac
                && let Some(mac) = hardware(node)
            {
                of_one(node, &mac, report);
                once(&mut taken, (network, mac), service, node, report);
            }
        }
        servers(service, report);
        hosts(service, report);
    }
}

/// The network that a service joins first: `NetworkMode::in_order`.
pub(super) fn first(service: Named<'_>) -> Option<&str> {
    let priority = |node: &Node| node.get("priority").and_then(values::whole).unwrap_or_default();
    let first = service.map("networks").min_by_key(|(key, entry)| (Reverse(priority(&entry.node)), *key));
    first.map(|(key, _)| key.as_str())
}

fn parse(node: &Node, key: &str, wants_v4: bool, report: &mut Report) -> Option<IpAddr> {
    let text = node.text_value()?;
    match text.parse::<IpAddr>() {
        Ok(address) if address.is_ipv4() == wants_v4 => Some(address),
        Ok(_) => {
            let other = if wants_v4 { "ipv6_address" } else { "ipv4_address" };
            report
                .error(node.span, format!("`{text}` is not an address for `{key}`"))
                .help(format!("`{other}: {text}`"));
            None
        }
        Err(_) => {
            let example = if wants_v4 { "172.28.0.10" } else { "fd00::10" };
            report
                .error(node.span, format!("`{text}` is not an IP address"))
                .help(format!("for example `{example}`"));
            None
        }
    }
}

/// An address must lie in a subnet that the file gives the network, and be free there.
fn inside(network: Named<'_>, ranges: &[Range], address: IpAddr, node: &Node, report: &mut Report) {
    let name = network.name;
    if values::flag(network.get("external")) {
        return;
    }
    let same_kind: Vec<&Range> =
        ranges.iter().filter(|range| range.subnet.first().is_ipv4() == address.is_ipv4()).collect();
    let Some(first) = same_kind.first() else {
        let example = if address.is_ipv4() { "172.28.0.0/16" } else { "fd00::/64" };
        report
            .error(node.span, format!("{address} cannot be had: the network `{name}` has no subnet for it"))
            .help(format!("give the network one: `ipam: {{config: [{{subnet: {example}}}]}}`"))
            .also(network.entry.key, "this network");
        return;
    };
    let Some(range) = same_kind.iter().find(|range| range.subnet.contains(address)) else {
        report
            .error(node.span, format!("{address} is outside of the subnet of the network `{name}`"))
            .also(first.span, format!("its subnet: {} to {}", first.subnet.first(), first.subnet.last()));
        return;
    };
    let gateway = range.gateway.map_or_else(|| range.subnet.gateway(), |(gateway, _)| gateway);
    if address == gateway {
        let place = range.gateway.map_or(range.span, |(_, span)| span);
        let label =
            if range.gateway.is_some() { "the gateway" } else { "its first address is the gateway's" };
        report
            .error(node.span, format!("{address} is the gateway of the network `{name}`"))
            .help("take another address")
            .also(place, label);
    } else if let Some((_, span)) = range.reserved.iter().find(|(reserved, _)| *reserved == address) {
        report
            .error(node.span, format!("{address} is kept from containers of the network `{name}`"))
            .help("take another address, or remove this one from `aux_addresses`")
            .also(*span, "kept free here");
    } else if address == range.subnet.first() || (address.is_ipv4() && address == range.subnet.last()) {
        report
            .error(node.span, format!("{address} is the first or the last address of the network `{name}`"))
            .help("take one in between: these two stand for all of it")
            .also(range.span, "its subnet");
    }
}

fn once<'a>(
    taken: &mut Taken<'a>,
    key: (&'a str, String),
    service: Named<'a>,
    node: &Node,
    report: &mut Report,
) {
    let (network, address) = (key.0, key.1.clone());
    if let Some((first, place)) =
        taken.insert(key, (service.name, node.span)).filter(|(_, place)| *place != node.span)
    {
        let name = service.name;
        report
            .error(
                node.span,
                format!("`{first}` and `{name}` both want {address} on the network `{network}`"),
            )
            .also(place, format!("`{first}` has it"));
    }
}

/// `link_local_ips` are addresses for one link alone.
fn link_local(network: &Node, report: &mut Report) {
    for node in network.get("link_local_ips").map(Node::items).unwrap_or_default() {
        let text = node.text_value().unwrap_or_default();
        let good = match text.parse::<IpAddr>() {
            Ok(IpAddr::V4(address)) => address.is_link_local(),
            Ok(IpAddr::V6(address)) => address.is_unicast_link_local(),
            Err(_) => false,
        };
        if !good {
            report
                .error(node.span, format!("`{text}` is not a link-local address"))
                .help("one of 169.254.0.0/16 or fe80::/10: `169.254.8.8`");
        }
    }
}

/// A hardware address in one spelling.
fn hardware(node: &Node) -> Option<String> {
    let text = node.text_value().filter(|text| !text.is_empty())?;
    Some(text.replace('-', ":").to_lowercase())
}

/// The kernel gives no interface an address that is a group's (its first byte is odd) or nobody's.
fn of_one(node: &Node, mac: &str, report: &mut Report) {
    let Ok(Mac(bytes)) = mac.parse::<Mac>() else { return };
    let what = if bytes[0] & 1 == 1 {
        "stands for many interfaces (multicast)"
    } else if bytes == [0; 6] {
        "stands for none"
    } else {
        return;
    };
    let own = Mac([2, bytes[1], bytes[2], bytes[3], bytes[4], bytes[5]]);
    report
        .error(node.span, format!("the hardware address `{mac}` {what}: no interface can have it"))
        .help(format!("one of your own begins with 02: `{own}`"));
}

/// `dns` has addresses of name servers.
fn servers(service: Named<'_>, report: &mut Report) {
    for node in service.list("dns") {
        let Some(text) = node.text_value() else { continue };
        if text.parse::<IpAddr>().is_err() {
            report
                .error(node.span, format!("`{text}` is not the IP address of a name server"))
                .help("for example `1.1.1.1`");
        }
    }
}

/// `extra_hosts`: a name and an address, `host-gateway` being that of the host.
fn hosts(service: Named<'_>, report: &mut Report) {
    let Some(hosts) = service.get("extra_hosts") else { return };
    for item in hosts.items() {
        let Some((_, address)) = item.text_value().and_then(|text| text.split_once('=')) else { continue };
        let bare = address.trim_start_matches('[').trim_end_matches(']');
        if bare != "host-gateway" && bare.parse::<IpAddr>().is_err() {
            report
                .error(item.span, format!("`{address}` is not an IP address"))
                .help("`NAME=ADDRESS`, or `NAME=host-gateway` for the host's own");
        }
    }
}
