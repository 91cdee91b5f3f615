//! Networks of the file: subnets that are ones, do not overlap, and have their gateways inside.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::project::{Named, Project};
use crate::diagnostic::Report;
use crate::driver_options::is_on_host;
use crate::source::Span;
use crate::subnet::{Subnet, hidden_by, unusable_subnet};
use crate::yaml::Node;
use crate::{lower, values};

/// A subnet of a network, with what else its entry under `ipam` says.
pub(super) struct Range {
    pub subnet: Subnet,
    pub span: Span,
    pub gateway: Option<(IpAddr, Span)>,
    /// `ip_range`.
    pub pool: Option<(Subnet, Span)>,
    /// `aux_addresses`.
    pub reserved: Vec<(IpAddr, Span)>,
}

pub(super) fn check(project: Project<'_>, report: &mut Report) {
    if !project.running() {
        return;
    }
    let (mut seen, mut called) = (Seen::new(), BTreeSet::new());
    for network in project.section("networks") {
        if let Some(node) = network.at(&["ipam", "driver"]) {
            driver(node, report);
        }
        for config in configs(network) {
            entry(config, report);
        }
        let ranges = ranges(network);
        single(network, &ranges, report);
        // What is said of one network under several keys is the same: see `namesakes`.
        if !called.insert(lower::network(project.name(), network.name, network.node()).name) {
            continue;
        }
        for range in ranges {
            special(project, network, &range, report);
            overlap(&seen, network.name, &range, report);
            let key = (range.subnet.first(), range.subnet.length);
            seen.entry(key).or_insert((network.name, range.span));
        }
    }
}

/// A bridge has one subnet of each family, as Docker's has.
fn single(network: Named<'_>, ranges: &[Range], report: &mut Report) {
    let name = network.name;
    for (place, range) in ranges.iter().enumerate() {
        let is_v4 = range.subnet.first().is_ipv4();
        let before = ranges[..place].iter().find(|other| other.subnet.first().is_ipv4() == is_v4);
        let family = if is_v4 { "IPv4" } else { "IPv6" };
        if let Some(before) = before {
            report
                .error(range.span, format!("the network `{name}` has two subnets of {family}"))
                .help("keep one of them, or make a second network")
                .also(before.span, "the other one");
        }
        // Network, gateway and broadcast address leave nothing for a container.
        let room = if is_v4 { range.subnet.length <= 30 } else { range.subnet.length <= 126 };
        if !room {
            report
                .error(range.span, format!("the subnet {} has no room for a container", range.subnet))
                .help(if is_v4 { "/30 is the smallest that has" } else { "/126 is the smallest that has" });
        }
    }
}

/// What no container can have; and a part of what the host has a route to, which as in Docker may be chosen. One on an
/// interface of the host's is in the subnet of that.
fn special(project: Project<'_>, network: Named<'_>, range: &Range, report: &mut Report) {
    let subnet = range.subnet.into();
    if let Some((why, help)) = unusable_subnet(subnet) {
        report.error(range.span, why).help(help);
        return;
    }
    let kind = network.get("driver").and_then(Node::text_value).unwrap_or_default();
    let find = project.options.host.as_ref().and_then(|host| host.route).filter(|_| !is_on_host(kind));
    if let Some(route) = find.and_then(|find| find(subnet)) {
        let (what, help) = hidden_by(subnet, route);
        report.warning(range.span, what).help(help);
    }
}

/// Addresses are given out here, by no plugin.
fn driver(node: &Node, report: &mut Report) {
    let text = node.text_value().unwrap_or_default();
    if !["", "default"].contains(&text) {
        report
            .error(node.span, format!("`{text}` is not a driver of addresses: there is `default` alone"))
            .help("remove `driver` from `ipam`");
    }
}

fn configs(network: Named<'_>) -> &[Node] {
    network.at(&["ipam", "config"]).map(Node::items).unwrap_or_default()
}

/// The subnets of a network; those that are none are left out.
pub(super) fn ranges(network: Named<'_>) -> Vec<Range> {
    // Of a network that others made the file cannot know.
    if values::flag(network.get("external")) {
        return Vec::new();
    }
    let ranges = configs(network).iter().filter_map(|config| {
        let node = config.get("subnet")?;
        let subnet = Subnet::parse(node.text_value()?)?;
        let gateway = config.get("gateway");
        let gateway = gateway.and_then(|node| Some((node.text_value()?.parse().ok()?, node.span)));
        let reserved = config.get("aux_addresses").into_iter().flat_map(Node::entries);
        let reserved =
            reserved.filter_map(|(_, entry)| Some((entry.node.text_value()?.parse().ok()?, entry.node.span)));
        let pool = config.get("ip_range");
        let pool = pool.and_then(|node| Some((Subnet::parse(node.text_value()?)?, node.span)));
        Some(Range { subnet, span: node.span, gateway, pool, reserved: reserved.collect() })
    });
    ranges.collect()
}

/// One entry of `ipam.config`.
fn entry(config: &Node, report: &mut Report) {
    let subnet =
        config.get("subnet").and_then(|node| range("subnet", node, report).map(|at| (at, node.span)));
    if let Some(node) = config.get("ip_range")
        && let Some(inner) = range("ip_range", node, report)
        && let Some((outer, span)) = subnet.filter(|(outer, _)| !outer.covers(&inner))
    {
        report
            .error(node.span, format!("`ip_range` {inner} is outside of the subnet {outer}"))
            .also(span, "the subnet");
    }
    let given =
        |key: &str| config.get(key).filter(|node| node.text_value().is_some_and(|text| !text.is_empty()));
    if given("subnet").is_none() {
        for key in ["ip_range", "gateway"] {
            if let Some(node) = given(key) {
                report
                    .error(node.span, format!("`{key}` is of no subnet"))
                    .help("give the entry a `subnet` that it lies in, or remove it, for a free subnet");
            }
        }
        if let Some((key, entry)) = config.get("aux_addresses").into_iter().flat_map(Node::entries).next() {
            report
                .error(entry.node.span, format!("`{key}` of `aux_addresses` is of no subnet"))
                .help("give the entry a `subnet` that it lies in, or remove it, for a free subnet");
        }
    }
    let gateway = config.get("gateway");
    let others = config.get("aux_addresses").into_iter().flat_map(Node::entries);
    let others = others.map(|(_, entry)| ("the address", &entry.node));
    for (what, node) in gateway.map(|node| ("the gateway", node)).into_iter().chain(others) {
        let Some(text) = node.text_value().filter(|text| !text.is_empty()) else { continue };
        let Ok(address) = text.parse::<IpAddr>() else {
            report
                .error(node.span, format!("`{text}` is not an IP address"))
                .help("for example `172.28.0.1`");
            continue;
        };
        if let Some((subnet, span)) = subnet.filter(|(subnet, _)| !subnet.contains(address)) {
            report
                .error(node.span, format!("{what} {address} is outside of the subnet {subnet}"))
                .also(span, "the subnet");
        }
    }
}

fn range(key: &str, node: &Node, report: &mut Report) -> Option<Subnet> {
    let text = node.text_value().filter(|text| !text.is_empty())?;
    let Some(subnet) = Subnet::parse(text) else {
        let help = match text.parse::<IpAddr>() {
            Ok(address) => format!(
                "say how many bits are fixed: `{address}/{}`",
                if address.is_ipv4() { 24 } else { 64 }
            ),
            Err(_) => "for example `172.28.0.0/16`".to_owned(),
        };
        report.error(node.span, format!("`{text}` is not a subnet")).help(help);
        return None;
    };
    if subnet.clean() != subnet {
        report
            .error(node.span, format!("`{key}` {subnet} has bits set beyond its prefix"))
            .help(format!("write `{}`", subnet.clean()));
    }
    Some(subnet.clean())
}

/// The networks' subnets, by their first address and their length.
type Seen<'a> = BTreeMap<(IpAddr, u8), (&'a str, Span)>;

/// Of two subnets that overlap, one lies inside of the other.
fn overlap(seen: &Seen<'_>, name: &str, range: &Range, report: &mut Report) {
    let Range { subnet, span, .. } = range;
    let around =
        (0..=subnet.length).find_map(|length| seen.get(&(Subnet { length, ..*subnet }.first(), length)));
    let inside = || seen.range((subnet.first(), 0)..=(subnet.last(), u8::MAX)).next().map(|(_, first)| first);
    if let Some((other, first)) = around.or_else(inside) {
        let message = if *other == name {
            format!("two subnets of the network `{name}` overlap")
        } else {
            format!("the subnets of the networks `{name}` and `{other}` overlap")
        };
        report.error(*span, message).also(*first, "the other one");
    }
}
