//! Services that need others: those are there, and what is waited for can happen.

use super::edges::{self, Edge, Kind};
use super::project::{Named, Project};
use crate::diagnostic::Report;
use crate::restart;
use crate::yaml::{Entry, Node};

pub(super) fn check(project: Project<'_>, report: &mut Report) {
    for service in project.services() {
        for edge in edges::of(service) {
            match project.service(edge.to) {
                None => missing(project, service, edge, report),
                Some(_) if !project.running() => {}
                Some(target) if edge.kind == Kind::DependsOn => waits(service, target, edge, report),
                Some(_) => {}
            }
        }
        contexts(project, service, report);
    }
}

fn missing(project: Project<'_>, service: Named<'_>, edge: Edge<'_>, report: &mut Report) {
    let (name, to, verb) = (service.name, edge.to, edge.kind.verb());
    if let Some(disabled) = project.disabled.get(to) {
        if edge.required {
            inactive(service, edge, disabled, report);
        }
        return;
    }
    let known = project.services().map(|known| known.name);
    let otherwise = match to.contains(':') {
        true => "a link is `SERVICE` or `SERVICE:NAME`".to_owned(),
        false => format!("define `{to}` under `services:`, or take it out here"),
    };
    report
        .error(edge.span, format!("`{name}` {verb} `{to}`, which is not defined"))
        .meant(to, known, otherwise);
}

fn inactive(service: Named<'_>, edge: Edge<'_>, disabled: &Entry, report: &mut Report) {
    let (name, to, verb) = (service.name, edge.to, edge.kind.verb());
    let profiles = disabled.node.get("profiles");
    let first = profiles.and_then(|list| list.items().first()).and_then(Node::text_value);
    let bring = first.map(|first| format!("`--profile {first}` brings it in"));
    let help = match (bring, edge.kind) {
        (Some(bring), Kind::DependsOn) => format!("{bring}; with `required: false` nothing waits for it"),
        (Some(bring), _) => bring,
        (None, _) => format!("activate a profile of `{to}`"),
    };
    let place = profiles.map_or(disabled.key, |list| list.span);
    report
        .error(edge.span, format!("`{name}` {verb} `{to}`, which no active profile has"))
        .help(help)
        .also(place, format!("the profiles of `{to}`"));
}

/// What is waited for must be able to come.
fn waits(service: Named<'_>, target: Named<'_>, edge: Edge<'_>, report: &mut Report) {
    let (name, to) = (service.name, target.name);
    match edges::condition(service, to) {
        // An image may bring a health check of its own; a switched off one is none.
        Some("service_healthy") if !edges::is_probed(target) => {
            let check = target.node().as_map().and_then(|map| map.get("healthcheck"));
            if check.is_none() && target.get("x-rootfs").is_none() {
                return;
            }
            let only_timing = check
                .is_some_and(|check| check.node.get("test").is_none() && check.node.get("disable").is_none());
            if only_timing && target.get("x-rootfs").is_none() {
                return;
            }
            let (place, label) = match check {
                Some(check) => (check.key, "this checks nothing"),
                None => (target.entry.key, "no `healthcheck` here"),
            };
            report
                .error(
                    edge.span,
                    format!("`{name}` waits for `{to}` to be healthy, but `{to}` has no health check"),
                )
                .help("give it a `healthcheck` or an `x-probe`, or wait for `service_started`")
                .also(place, label);
        }
        Some("service_completed_successfully") => {
            if let Some(place) = restart::without_end(target.node()) {
                report
                    .error(
                        edge.span,
                        format!("`{name}` waits for `{to}` to complete, but `{to}` is always started again"),
                    )
                    .help(format!("`restart: on-failure` for `{to}`, or wait for `service_started`"))
                    .also(place, "started again after every end");
            }
        }
        Some(_) | None => {}
    }
}

/// `additional_contexts` may name other services that are built.
fn contexts(project: Project<'_>, service: Named<'_>, report: &mut Report) {
    let contexts = service.at(&["build", "additional_contexts"]);
    for (context, entry) in contexts.into_iter().flat_map(Node::entries) {
        let Some(to) = entry.node.text_value().and_then(|text| text.strip_prefix("service:")) else {
            continue;
        };
        let name = service.name;
        match project.service(to) {
            None => {
                let known = project.services().map(|known| known.name);
                report
                    .error(
                        entry.node.span,
                        format!("the build context `{context}` is that of `{to}`, which is not defined"),
                    )
                    .meant(to, known, "`service:NAME` names another service of the file");
            }
            Some(target) if target.get("build").is_none() => {
                report
                    .error(
                        entry.node.span,
                        format!("`{name}` builds upon `{to}`, which is not built but has an image"),
                    )
                    .help("`docker-image://IMAGE` names an image as a context")
                    .also(target.entry.key, "no `build` here");
            }
            Some(_) => {}
        }
    }
}
