//! The ways in which one service needs another.

use std::collections::HashSet;

use super::project::Named;
use crate::links;
use crate::source::Span;
use crate::values;
use crate::yaml::Node;

/// Why a service needs another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    DependsOn,
    Links,
    VolumesFrom,
    /// A key with the value `service:NAME`.
    Namespace(&'static str),
}

/// One service needs another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Edge<'a> {
    pub kind: Kind,
    pub to: &'a str,
    pub span: Span,
    /// Nothing is wrong where the other one is left out by its profiles.
    pub required: bool,
}

impl Kind {
    /// "`a` … `b`".
    pub fn verb(self) -> &'static str {
        match self {
            Self::DependsOn => "depends on",
            Self::Links => "links to",
            Self::VolumesFrom => "takes its volumes from",
            Self::Namespace("network_mode") => "uses the network of",
            Self::Namespace("ipc") => "shares the IPC namespace of",
            Self::Namespace("pid") => "shares the processes of",
            Self::Namespace("uts") => "shares the host name of",
            Self::Namespace(_) => "shares the cgroup of",
        }
    }
}

/// Every edge that begins at a service, each once.
pub(super) fn of(service: Named<'_>) -> Vec<Edge<'_>> {
    let mut edges: Vec<Edge<'_>> = Vec::new();
    let mut add = |kind, to, span| edges.push(Edge { kind, to, span, required: true });
    for link in service.list("links") {
        if let Some(text) = link.text_value() {
            add(Kind::Links, links::target(text), link.span);
        }
    }
    for key in links::NAMESPACES {
        if let Some(node) = service.get(key)
            && let Some(to) = node.text_value().and_then(|text| text.strip_prefix("service:"))
        {
            add(Kind::Namespace(key), to, node.span);
        }
    }
    for from in service.list("volumes_from") {
        if let Some(text) = from.text_value().filter(|text| !text.starts_with("container:")) {
            add(Kind::VolumesFrom, text.split(':').next().unwrap_or(text), from.span);
        }
    }
    let place = |to, span: Span| (to, span.source, span.start);
    let implied: HashSet<_> = edges.iter().map(|edge| place(edge.to, edge.span)).collect();
    // Normalizing adds to `depends_on` what the other keys imply, in their places.
    let own =
        service.map("depends_on").filter(|(to, entry)| !implied.contains(&place(to.as_str(), entry.key)));
    edges.splice(
        0..0,
        own.map(|(to, entry)| Edge {
            kind: Kind::DependsOn,
            to,
            span: entry.key,
            required: entry.node.get("required").and_then(Node::bool_value).unwrap_or(true),
        }),
    );
    edges
}

/// The condition of a dependency.
pub(super) fn condition<'a>(service: Named<'a>, to: &str) -> Option<&'a str> {
    service.at(&["depends_on", to, "condition"])?.text_value()
}

/// Whether a service has a health check of its own that is not switched off.
pub(super) fn is_probed(service: Named<'_>) -> bool {
    let check = service.get("healthcheck");
    if values::flag(check.and_then(|check| check.get("disable"))) {
        return false;
    }
    let first = check.and_then(|check| check.get("test")?.items().first()?.text_value());
    match first {
        Some(first) => first != "NONE",
        // By a probe of ours: one that asks for nothing has been refused.
        None => service.get("x-probe").is_some(),
    }
}
