//! Published ports: each port of the host is given once.

use std::net::IpAddr;

use super::edges;
use super::project::{Named, Project};
use crate::diagnostic::Report;
use crate::driver_options::{INHIBIT_IPV4, boolean};
use crate::limits;
use crate::source::Span;
use crate::yaml::Node;

/// Ports of the host that a service wants.
struct Wanted<'a> {
    service: Named<'a>,
    address: Option<IpAddr>,
    protocol: &'a str,
    first: u16,
    last: u16,
    span: Span,
}

pub(super) fn check(project: Project<'_>, report: &mut Report) {
    if !project.running() {
        return;
    }
    let mut wanted = Vec::new();
    for service in project.services() {
        without_address(project, service, report);
        let has_network = !without_network(service, report);
        let ports = service.list("ports").iter().filter_map(|port| read(service, port, report));
        if has_network && super::macvlan::takes_ports(project, service) {
            wanted.extend(ports);
        } else {
            // What is wrong in them is told; none of the host's is taken.
            let ports: Vec<Wanted<'_>> = ports.collect();
            if let Some(network) = super::macvlan::routes(project, service) {
                ports.iter().for_each(|port| untaken(port, network, report));
            }
        }
    }
    for port in &wanted {
        replicas(port, report);
    }
    clashes(&wanted, report);
}

fn read<'a>(service: Named<'a>, port: &'a Node, report: &mut Report) -> Option<Wanted<'a>> {
    if let Some(protocol) = port
        .get("protocol")
        .filter(|node| node.text_value().is_some_and(|text| text.eq_ignore_ascii_case("sctp")))
    {
        report
            .error(protocol.span, "ports of `sctp` cannot be published")
            .help("`tcp` and `udp` can; containers reach each other by any protocol");
    }
    let published = port.get("published")?;
    let text = crate::values::scalar(published)?;
    let (first, last) = text.split_once('-').unwrap_or((&text, &text));
    let (first, last): (u16, u16) = (first.parse().ok()?, last.parse().ok()?);
    if first > last {
        report
            .error(published.span, format!("the range `{text}` ends before it begins"))
            .help(format!("write `{last}-{first}`"));
        return None;
    }
    let address = port.get("host_ip").and_then(Node::text_value).and_then(|text| text.parse().ok());
    let protocol = port.get("protocol").and_then(Node::text_value).unwrap_or("tcp");
    // Zero is any free port.
    (first > 0).then_some(Wanted { service, address, protocol, first, last, span: port.span })
}

/// A port of the host that nothing leads from.
fn untaken(port: &Wanted<'_>, network: Named<'_>, report: &mut Report) {
    let Wanted { service, first, span, .. } = port;
    report
        .warning(
            *span,
            format!(
                "port {first} of the host is not published: `{}` is reached at its own addresses, as network `{}` is `routed`",
                service.name, network.name
            ),
        )
        .help("name the container's port alone");
}

/// The host has no route to containers on a bridge without an address, and leads no port to them.
fn without_address(project: Project<'_>, service: Named<'_>, report: &mut Report) {
    let is_v4 = |port: &&Node| {
        let address = port.get("host_ip").and_then(Node::text_value).unwrap_or_default();
        address.parse().is_ok_and(|address: IpAddr| address.is_ipv4()) || address.is_empty()
    };
    let Some(port) = service.list("ports").iter().find(is_v4) else { return };
    let Some(network) = super::macvlan::way_in(project, service) else { return };
    let option = network.entry("driver_opts").and_then(|options| options.node.as_map()?.get(INHIBIT_IPV4));
    let inhibited = option.and_then(|option| boolean(&crate::values::scalar(&option.node)?));
    if let Some(option) = option.filter(|_| inhibited == Some(true)) {
        report
            .warning(
                port.span,
                format!(
                    "no port of `{}` is reached over IPv4: the bridge of `{}` has no address by which the host knows the way",
                    service.name, network.name
                ),
            )
            .help("they are as soon as somebody gives the bridge an address of its subnet; else remove the option, or `ports`")
            .also(option.key, "no address");
    }
}

/// Every replica needs a port of its own.
fn replicas(port: &Wanted<'_>, report: &mut Report) {
    let Some(replicas) = limits::replicas(port.service.node()) else { return };
    let ports = i64::from(port.last - port.first) + 1;
    if replicas.value > ports {
        let name = port.service.name;
        let what = if ports == 1 {
            format!("the port {}", port.first)
        } else {
            format!("the {ports} ports {} to {}", port.first, port.last)
        };
        let last = i64::from(port.first).saturating_add(replicas.value - 1);
        let help = if last <= 65_535 {
            format!("publish a range, `{}-{last}:PORT`, or the container's port alone", port.first)
        } else {
            "publish the container's port alone: each replica gets a free port".to_owned()
        };
        report
            .error(port.span, format!("{} replicas of `{name}` cannot share {what}", replicas.value))
            .help(help)
            .also(replicas.span, "replicas given here");
    }
}

/// Of a range any port will do, so only two fixed ports can clash. Sorted, so that thousands of ports are no matter.
fn clashes(wanted: &[Wanted<'_>], report: &mut Report) {
    let mut fixed: Vec<&Wanted<'_>> = wanted.iter().filter(|port| port.first == port.last).collect();
    fixed.sort_by_key(|port| (port.protocol, port.first));
    for group in fixed.chunk_by(|a, b| (a.protocol, a.first) == (b.protocol, b.first)) {
        for (index, port) in group.iter().enumerate() {
            let first = group[..index].iter().find(|first| {
                same_address(first.address, port.address) && !follows(first.service, port.service)
            });
            if let Some(first) = first {
                say(first, port, report);
            }
        }
    }
}

fn say(first: &Wanted<'_>, port: &Wanted<'_>, report: &mut Report) {
    let (one, other) = (first.service.name, port.service.name);
    let who = if one == other {
        format!("`{other}` publishes the port {}/{} twice", port.first, port.protocol)
    } else {
        format!("`{one}` and `{other}` both publish the port {}/{}", port.first, port.protocol)
    };
    let mut found = report.error(port.span, who).also(first.span, "the other one");
    if first.address != port.address {
        found =
            found.note("without an address, or with 0.0.0.0, a port is taken on every address of the host");
    }
    found.help("give one of them another port of the host, or another address in front: `127.0.0.1:…`");
}

/// No address, or that of all, takes the port on every one. An IPv6 socket for all takes those of IPv4 too.
pub fn same_address(one: Option<IpAddr>, other: Option<IpAddr>) -> bool {
    match (one, other) {
        (None, _) | (_, None) => true,
        (Some(one), Some(other)) => {
            one == other
                || (one.is_ipv4() == other.is_ipv4() && (one.is_unspecified() || other.is_unspecified()))
        }
    }
}

/// Whether one of two services has ended before the other begins.
fn follows(one: Named<'_>, other: Named<'_>) -> bool {
    let waits =
        |from, to: Named<'_>| edges::condition(from, to.name) == Some("service_completed_successfully");
    waits(one, other) || waits(other, one)
}

/// Whether a service has no network of its own, and so nothing to publish.
fn without_network(service: Named<'_>, report: &mut Report) -> bool {
    let Some(mode) = service.get("network_mode") else { return false };
    let text = mode.text_value().unwrap_or_default();
    let other = text.strip_prefix("service:").or_else(|| text.strip_prefix("container:"));
    let is_without = other.is_some() || ["host", "none"].contains(&text);
    let Some(port) = service.list("ports").first().filter(|_| is_without) else { return is_without };
    if let Some(other) = other {
        report
            .error(port.span, format!("the network is that of `{other}`, so ports cannot be published here"))
            .help(format!("move `ports` to `{other}`"))
            .also(mode.span, "the other's network");
        return true;
    }
    let (help, label) = match text {
        "host" => {
            ("what the container listens on is the host's already: remove `ports`", "the host's own network")
        }
        _ => {
            ("nothing reaches a container without a network: remove `ports`, or `network_mode`", "no network")
        }
    };
    report
        .warning(port.span, format!("published ports have no effect with `network_mode: {text}`"))
        .help(help)
        .also(mode.span, label);
    true
}
