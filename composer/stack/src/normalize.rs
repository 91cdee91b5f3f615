//! What follows from a file as a whole: the default network, names on the host, dependencies that other keys imply.

use crate::diagnostic::Report;
use crate::environment::Environment;
use crate::files::clean_text;
use crate::links;
use crate::source::Span;
use crate::tree::{default, items_mut, map_mut, put, resolve_nulls};
use crate::yaml::{Entry, Map, Node, Value};

/// Sections of things that have a name on the host.
const NAMED: [&str; 4] = ["networks", "volumes", "configs", "secrets"];

/// Fills in what the merged tree leaves open.
pub(crate) fn normalize(root: &mut Node, name: &str, environment: Option<&Environment>, report: &mut Report) {
    let span = root.span;
    let mut uses_default = false;
    for (_, entry) in root.get_mut("services").and_then(map_mut).into_iter().flatten() {
        let key = entry.key;
        if let Some(service) = map_mut(&mut entry.node) {
            uses_default |= connect(service, key);
            normalize_service(service, key, environment, report);
        }
    }
    let Some(map) = map_mut(root) else {
        return;
    };
    if uses_default {
        let networks = map
            .entry("networks".to_owned())
            .or_insert_with(|| Entry { key: span, node: Node::map(span.implied(), Map::new()) });
        if networks.node.is_null() {
            networks.node = Node::map(span, Map::new());
        }
        if let Some(networks) = map_mut(&mut networks.node) {
            default(networks, "default", Node::map(span, Map::new()));
        }
    }
    for section in NAMED {
        for (key, entry) in
            map.get_mut(section).and_then(|entry| map_mut(&mut entry.node)).into_iter().flatten()
        {
            name_resource(key, entry, name);
        }
    }
}

/// Puts a service on the default network if it names none; whether it is on it.
fn connect(service: &mut Map, key: Span) -> bool {
    if service.contains_key("provider") || service.contains_key("network_mode") {
        return false;
    }
    let named = service.get("networks").and_then(|entry| entry.node.as_map());
    match named {
        Some(networks) if !networks.is_empty() => networks.contains_key("default"),
        Some(_) | None => {
            let mut networks = Map::new();
            put(&mut networks, "default", Node::null(key.implied()));
            put(service, "networks", Node::map(key.implied(), networks));
            true
        }
    }
}

fn normalize_service(service: &mut Map, key: Span, environment: Option<&Environment>, report: &mut Report) {
    if let Some(policy) = service.get_mut("pull_policy")
        && policy.node.text_value() == Some("if_not_present")
    {
        policy.node = Node::text(policy.node.span, "missing");
    }
    if let Some(build) = service.get_mut("build") {
        normalize_build(build, environment, report);
    }
    for volume in service.get_mut("volumes").map(|entry| items_mut(&mut entry.node)).unwrap_or_default() {
        if let Some(target) = volume.get_mut("target")
            && let Some(text) = target.text_value()
        {
            *target = Node::text(target.span, clean_text(text));
        }
    }
    imply_dependencies(service, key);
}

fn normalize_build(build: &mut Entry, environment: Option<&Environment>, report: &mut Report) {
    let key = build.key;
    let Some(map) = map_mut(&mut build.node) else {
        return;
    };
    if !map.contains_key("dockerfile_inline") {
        default(map, "dockerfile", Node::text(key, "Dockerfile"));
    }
    // As it was written, where expressions are kept.
    if let Some(Entry { node: Node { value: Value::List(items), .. }, .. }) = map.get_mut("args") {
        items.retain(|item| item.text_value().is_none_or(|text| text.contains('=')));
    }
    if let Some(args) = map.get_mut("args").and_then(|entry| map_mut(&mut entry.node)) {
        if let Some(environment) = environment {
            resolve_nulls(args, environment, report);
        }
        args.retain(|_, entry| !entry.node.is_null());
    }
}

/// `links`, `volumes_from` and namespaces of other services make those dependencies.
fn imply_dependencies(service: &mut Map, key: Span) {
    let mut implied: Vec<(String, Span, bool)> = Vec::new();
    let texts = |key: &str| {
        let items = service.get(key).map(|entry| entry.node.items()).unwrap_or_default();
        items.iter().filter_map(|item| Some((item.text_value()?, item.span)))
    };
    for (link, span) in texts("links") {
        implied.push((links::target(link).to_owned(), span, true));
    }
    for namespace in links::NAMESPACES {
        let Some(entry) = service.get(namespace) else {
            continue;
        };
        if let Some(target) = entry.node.text_value().and_then(|text| text.strip_prefix("service:")) {
            implied.push((target.to_owned(), entry.node.span, true));
        }
    }
    for (from, span) in texts("volumes_from").filter(|(from, _)| !from.starts_with("container:")) {
        let target = from.split(':').next().unwrap_or(from);
        implied.push((target.to_owned(), span, false));
    }
    if implied.is_empty() {
        return;
    }
    let empty = || Entry { key, node: Node::map(key, Map::new()) };
    let dependencies = service.entry("depends_on".to_owned()).or_insert_with(empty);
    let Some(dependencies) = map_mut(&mut dependencies.node) else {
        return;
    };
    for (target, span, restart) in implied {
        let mut map = Map::new();
        put(&mut map, "condition", Node::text(span, "service_started"));
        put(&mut map, "restart", Node::bare(span, restart));
        put(&mut map, "required", Node::bare(span, true));
        default(dependencies, &target, Node::map(span, map));
    }
}

/// `scale` is another way to say `deploy.replicas`.
pub(crate) fn scale(root: &mut Node) {
    for (_, entry) in root.get_mut("services").and_then(map_mut).into_iter().flatten() {
        let Some(scale) = entry.node.get("scale").cloned() else {
            continue;
        };
        if let Some(deploy) = entry.node.get_mut("deploy").and_then(map_mut) {
            default(deploy, "replicas", scale);
        }
    }
}

/// A resource that only its key tells of is one without settings.
pub(crate) fn fill_resources(root: &mut Node) {
    for section in NAMED {
        for (_, entry) in root.get_mut(section).and_then(map_mut).into_iter().flatten() {
            if entry.node.is_null() {
                entry.node.value = Node::map(entry.key, Map::new()).value;
            }
        }
    }
}

/// A resource without a name is called after its key.
fn name_resource(key: &str, entry: &mut Entry, project: &str) {
    let external = entry.node.get("external").is_some_and(is_true);
    let name = if external { key.to_owned() } else { format!("{project}_{key}") };
    if let Some(map) = map_mut(&mut entry.node) {
        default(map, "name", Node::text(entry.key, name));
    }
}

/// Also as a string, which stays one where expressions are kept.
fn is_true(node: &Node) -> bool {
    let word = matches!(node.text_value(), Some("1" | "t" | "T" | "true" | "True" | "TRUE"));
    word || node.bool_value() == Some(true)
}
