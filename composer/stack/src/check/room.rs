//! That a network whose subnets are chosen has an address for each container that is to be on it.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::networks::{self, Range};
use super::project::{Named, Project};
use crate::diagnostic::Report;
use crate::limits;
use crate::source::Span;
use crate::yaml::Node;

pub(super) fn check(project: Project<'_>, report: &mut Report) {
    if !project.running() {
        return;
    }
    for network in project.section("networks") {
        for range in networks::ranges(network) {
            room(project, network, &range, report);
        }
    }
}

fn room(project: Project<'_>, network: Named<'_>, range: &Range, report: &mut Report) {
    let is_v4 = range.subnet.first().is_ipv4();
    let (flag, key) = if is_v4 { ("enable_ipv4", "ipv4_address") } else { ("enable_ipv6", "ipv6_address") };
    let is_on = network.get(flag).and_then(Node::bool_value).unwrap_or(is_v4);
    let (pool, span) = range.pool.unwrap_or((range.subnet, range.span));
    let least = if is_v4 { 30 } else { 126 };
    // What is wrong with the subnet itself is told.
    if !is_on || range.subnet.length > least || !range.subnet.covers(&pool) {
        return;
    }
    let mut taken: BTreeSet<IpAddr> = range.reserved.iter().map(|(address, _)| *address).collect();
    taken.insert(range.subnet.first());
    taken.insert(range.gateway.map_or_else(|| range.subnet.gateway(), |(gateway, _)| gateway));
    taken.extend(Some(range.subnet.last()).filter(|_| is_v4));
    let mut wanted: u128 = 0;
    let mut several: Vec<(Span, String)> = Vec::new();
    for service in project.services() {
        let Some((_, entry)) = service.map("networks").find(|(key, _)| *key == network.name) else {
            continue;
        };
        if let Some(chosen) = entry.node.get(key) {
            taken.extend(chosen.text_value().and_then(|text| text.parse::<IpAddr>().ok()));
            continue;
        }
        let replicas = limits::replicas(service.node());
        let count = replicas.map_or(1, |at| u128::try_from(at.value).unwrap_or_default());
        if let Some(at) = replicas.filter(|_| count > 1) {
            several.push((at.span, format!("the replicas of `{}`", service.name)));
        }
        wanted = wanted.saturating_add(count);
    }
    let free =
        pool.size().saturating_sub(taken.iter().filter(|taken| pool.contains(**taken)).count() as u128);
    if wanted <= free {
        return;
    }
    let (what, name) = (if range.pool.is_some() { "ip_range" } else { "subnet" }, network.name);
    let mut found = report
        .error(
            span,
            format!("{wanted} containers want an address of {pool} on `{name}`, which has {free} for them"),
        )
        .help(format!("give the network a wider `{what}`, or a part of the services another network"));
    for (span, label) in several {
        found = found.also(span, label);
    }
}
