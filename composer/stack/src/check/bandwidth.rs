//! Limits of bandwidth, where there are links to limit: they are in force on a container's own ones, on bridges.

use super::project::{Named, Project};
use crate::diagnostic::Report;
use crate::driver_options::is_on_host;
use crate::yaml::Node;

pub(super) fn check(project: Project<'_>, report: &mut Report) {
    let cap = project.root.get("x-resources").and_then(|own| own.get("limits")?.get("bandwidth"));
    let cap = cap.filter(|node| says_something(node));
    for service in project.services() {
        let Some((why, way, at)) = unlimited(project, service) else { continue };
        let name = service.name;
        let own = service.entry("x-bandwidth").filter(|entry| says_something(&entry.node));
        if let Some(own) = own {
            report
                .error(own.key, format!("the bandwidth of `{name}` cannot be limited: {why}"))
                .help(way)
                .also(at.span, "its network");
        } else if let Some(cap) = cap.filter(|_| is_elsewhere(at)) {
            report
                .warning(cap.span, format!("this cap does not count what `{name}` receives and sends: {why}"))
                .also(at.span, "its network");
        }
    }
}

/// Whether somebody receives and sends there, and is not counted as another service of the stack.
fn is_elsewhere(at: &Node) -> bool {
    at.text_value().is_some_and(|text| text != "none" && !text.starts_with("service:"))
}

fn says_something(node: &Node) -> bool {
    ["ingress", "egress"].iter().any(|key| node.get(key).is_some_and(|rate| !rate.is_null()))
}

/// Why a service has no links that could be limited, what to do, and what shows it.
fn unlimited<'a>(project: Project<'a>, service: Named<'a>) -> Option<(String, String, &'a Node)> {
    if let Some(mode) = service.get("network_mode") {
        let text = mode.text_value().unwrap_or_default();
        let remove = || "remove `x-bandwidth`, or `network_mode`".to_owned();
        return match text.split_once(':') {
            None if text == "none" => Some(("it has no network".to_owned(), remove(), mode)),
            None if text == "host" => Some(("its network is the host's".to_owned(), remove(), mode)),
            Some(("service", other)) => Some((
                format!("its network is that of `{other}`"),
                format!("move `x-bandwidth` to `{other}`"),
                mode,
            )),
            Some((_, other)) => Some((format!("its network is that of `{other}`"), remove(), mode)),
            None => None,
        };
    }
    let mut networks = project.section("networks").filter(|network| {
        let is_on = service.at(&["networks", network.name]).is_some();
        let by_default = network.name == "default" && service.get("networks").is_none();
        is_on || by_default
    });
    networks.find_map(|network| {
        let driver = network.get("driver")?;
        let kind = driver.text_value().filter(|kind| is_on_host(kind))?;
        let why =
            format!("the network `{}` is of `{kind}`, whose packets do not pass the host", network.name);
        Some((why, "remove `x-bandwidth`, or use a bridge".to_owned(), driver))
    })
}
