//! What keys mean that a file leaves out, where that depends on nothing but its own surroundings.

use crate::project::{Project, Scope};
use crate::source::Span;
use crate::tree::{at_mut, default, items_mut, map_mut, resolve_nulls};
use crate::yaml::{Map, Node};

/// Fills in the defaults of a project's merged tree.
pub(crate) fn fill(root: &mut Node, project: &mut Project<'_>, scope: &Scope) {
    let context = project.shown_folder(scope);
    for (_, entry) in root.get_mut("services").and_then(map_mut).into_iter().flatten() {
        let Some(service) = map_mut(&mut entry.node) else {
            continue;
        };
        fill_service(service, &context);
        if project.options.interpolate
            && let Some(environment) =
                service.get_mut("environment").and_then(|entry| map_mut(&mut entry.node))
        {
            resolve_nulls(environment, &scope.environment, &mut project.report);
        }
    }
}

fn fill_service(service: &mut Map, context: &str) {
    if let Some(build) = service.get_mut("build")
        && let Some(map) = map_mut(&mut build.node)
    {
        default(map, "context", Node::text(build.key, context));
    }
    each(service, "secrets", |map, span| {
        let source = map.get("source").and_then(|entry| entry.node.text_value());
        if let Some(target) = source.map(|source| format!("/run/secrets/{source}")) {
            default(map, "target", Node::text(span, target));
        }
    });
    each(service, "ports", |map, span| {
        default(map, "protocol", Node::text(span, "tcp"));
        default(map, "mode", Node::text(span, "ingress"));
    });
    each(service, "gpus", devices);
    if let Some(deploy) = service.get_mut("deploy")
        && let Some(list) = at_mut(&mut deploy.node, &["resources", "reservations", "devices"])
    {
        each_item(list, devices);
    }
}

/// All of them, where neither a number nor names are given.
fn devices(map: &mut Map, span: Span) {
    if !map.contains_key("device_ids") {
        default(map, "count", Node::text(span, "all"));
    }
}

fn each(service: &mut Map, key: &str, change: fn(&mut Map, Span)) {
    if let Some(entry) = service.get_mut(key) {
        each_item(&mut entry.node, change);
    }
}

fn each_item(list: &mut Node, change: fn(&mut Map, Span)) {
    for item in items_mut(list) {
        let span = item.span;
        if let Some(map) = map_mut(item) {
            change(map, span);
        }
    }
}
