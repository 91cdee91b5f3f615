//! Services in a network namespace that is not their own: what belongs to it is said there.

use super::project::{Named, Project};
use crate::diagnostic::Report;
use crate::yaml::Node;

/// What the owner of a namespace has, as Docker Engine refuses it of those who join.
const OWNERS: [&str; 7] =
    ["hostname", "mac_address", "links", "external_links", "dns", "extra_hosts", "sysctls"];

pub(super) fn check(project: Project<'_>, report: &mut Report) {
    if !project.running() {
        return;
    }
    for service in project.services() {
        let Some(mode) = service.get("network_mode") else { continue };
        let text = mode.text_value().unwrap_or_default();
        if matches!(text, "bridge" | "default") {
            report
                .warning(
                    mode.span,
                    format!("there is no network `{text}` of the host: the stack's own is joined"),
                )
                .help("remove `network_mode`");
        }
        let Some((_, other)) = text.split_once(':') else { continue };
        for key in OWNERS {
            owned(service, key, other, mode, report);
        }
        for key in ["dns_search", "dns_opt"] {
            if let Some(entry) = service.entry(key).filter(|entry| !entry.node.items().is_empty()) {
                report
                    .warning(
                        entry.key,
                        format!(
                            "`{key}` has no effect: the network, and its resolver, are those of `{other}`"
                        ),
                    )
                    .help(format!("move `{key}` to `{other}`"))
                    .also(mode.span, "the other's network");
            }
        }
    }
}

fn owned(service: Named<'_>, key: &str, other: &str, mode: &Node, report: &mut Report) {
    let Some(entry) = service.entry(key) else { return };
    let says_nothing = entry.node.is_null()
        || entry.node.text_value() == Some("")
        || entry.node.as_map().is_some_and(|map| map.is_empty())
        || (entry.node.text_value().is_none()
            && entry.node.as_map().is_none()
            && entry.node.items().is_empty());
    // Those of the IPC namespace are the service's own.
    let is_of_network = |name: &String| name.starts_with("net.") || name.starts_with("net/");
    let is_elsewhere =
        key == "sysctls" && entry.node.as_map().is_some_and(|map| !map.keys().any(is_of_network));
    if !says_nothing && !is_elsewhere {
        report
            .error(entry.key, format!("the network is that of `{other}`, so there is no `{key}` here"))
            .help(format!("move `{key}` to `{other}`"))
            .also(mode.span, "the other's network");
    }
}
