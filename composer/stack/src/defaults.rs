//! What keys mean that a file leaves out, where that depends on nothing but its own surroundings.

use crate::project::{Project, Scope};
use crate::tree::{at_mut, bare, default, items_mut, map_mut, resolve_nulls};
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
    each(service, "secrets", |map, item| {
        if let Some(source) = item.get("source").and_then(Node::text_value) {
            default(map, "target", Node::text(item.span, format!("/run/secrets/{source}")));
        }
    });
    each(service, "ports", |map, item| {
        default(map, "protocol", Node::text(item.span, "tcp"));
        default(map, "mode", Node::text(item.span, "ingress"));
    });
    each(service, "gpus", devices);
    if let Some(deploy) = service.get_mut("deploy")
        && let Some(list) = at_mut(&mut deploy.node, &["resources", "reservations", "devices"])
    {
        each_item(list, devices);
    }
}

/// All of them, where neither a number nor names are given.
fn devices(map: &mut Map, item: &Node) {
    if !map.contains_key("device_ids") {
        default(map, "count", bare(item.span, "-1".to_owned()));
    }
}

fn each(service: &mut Map, key: &str, change: fn(&mut Map, &Node)) {
    if let Some(entry) = service.get_mut(key) {
        each_item(&mut entry.node, change);
    }
}

fn each_item(list: &mut Node, change: fn(&mut Map, &Node)) {
    for item in items_mut(list) {
        let before = item.clone();
        if let Some(map) = map_mut(item) {
            change(map, &before);
        }
    }
}
