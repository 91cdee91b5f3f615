//! Which services of the files are wanted: by profile, and by name.

use std::collections::{BTreeMap, BTreeSet};

use crate::diagnostic::Report;
use crate::environment::Environment;
use crate::options::LoadOptions;
use crate::suggest::listed;
use crate::tree::{map_mut, take_map};
use crate::yaml::{Entry, Map, Node};

/// Takes the services out of the tree that no active profile wants. A service that is named on the command line
/// activates its profiles.
pub(crate) fn disable(root: &mut Node, options: &LoadOptions, environment: &Environment) -> Map {
    let mut active: BTreeSet<String> = options.profiles.iter().cloned().collect();
    if active.is_empty() {
        let named = environment.get("COMPOSE_PROFILES").unwrap_or_default();
        active = named.split(',').map(|profile| profile.trim().to_owned()).collect();
    }
    let services = take_map(root, "services");
    let named = options.services.iter().chain(&options.enabled).filter_map(|name| services.get(name));
    let unwanted = named.map(|entry| &entry.node).filter(|service| !is_wanted(service, &active));
    let implied: Vec<String> = unwanted.flat_map(profiles).map(str::to_owned).collect();
    active.extend(implied);
    let (enabled, disabled) = services.into_iter().partition(|(_, entry)| is_wanted(&entry.node, &active));
    put_services(root, enabled);
    disabled
}

/// The profiles of a service.
pub(crate) fn profiles(service: &Node) -> impl Iterator<Item = &str> {
    items(service.get("profiles")).iter().filter_map(Node::text_value)
}

fn is_wanted(service: &Node, active: &BTreeSet<String>) -> bool {
    let mut own = profiles(service).peekable();
    own.peek().is_none() || active.contains("*") || own.any(|profile| active.contains(profile))
}

/// Leaves only the services named on the command line, and what they depend on.
pub(crate) fn select(root: &mut Node, options: &LoadOptions, disabled: &mut Map, report: &mut Report) {
    if options.services.is_empty() {
        return;
    }
    let services = take_map(root, "services");
    let mut wanted: BTreeSet<String> = BTreeSet::new();
    let mut open: Vec<String> = Vec::new();
    for name in &options.services {
        if services.contains_key(name) {
            open.push(name.clone());
            continue;
        }
        let names = services.keys().chain(disabled.keys()).map(String::as_str);
        let otherwise = listed("the file", &names.clone().collect::<Vec<_>>());
        report.error_without_place(format!("no such service: {name}")).meant(name, names, otherwise);
    }
    while let Some(name) = open.pop() {
        if let Some(entry) = services.get(&name)
            && wanted.insert(name)
        {
            let dependencies = entry.node.get("depends_on").into_iter().flat_map(Node::entries);
            open.extend(dependencies.map(|(name, _)| name.clone()));
        }
    }
    let (mut enabled, others): (Map, Map) = services.into_iter().partition(|(name, _)| wanted.contains(name));
    for entry in enabled.values_mut() {
        if let Some(dependencies) = entry.node.get_mut("depends_on").and_then(map_mut) {
            dependencies.retain(|name, _| wanted.contains(name));
        }
    }
    disabled.extend(others);
    put_services(root, enabled);
}

fn put_services(root: &mut Node, services: Map) {
    let span = root.span;
    if let Some(map) = map_mut(root) {
        match map.get_mut("services").map(|entry| &mut entry.node) {
            Some(node) => node.value = Node::map(node.span, services).value,
            None => {
                drop(map.insert("services".to_owned(), Entry { key: span, node: Node::map(span, services) }))
            }
        }
    }
}

fn items(list: Option<&Node>) -> &[Node] {
    list.map(Node::items).unwrap_or_default()
}

/// Drops networks, volumes, configs, secrets and models that no service uses.
pub(crate) fn drop_unused(root: &mut Node) {
    let mut used: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    let mut uses = |section: &'static str, name: Option<&str>| {
        used.entry(section).or_default().extend(name.map(str::to_owned));
    };
    for (_, entry) in root.get("services").into_iter().flat_map(Node::entries) {
        let service = &entry.node;
        for section in ["networks", "models"] {
            let names = service.get(section).into_iter().flat_map(Node::entries);
            names.for_each(|(name, _)| uses(section, Some(name)));
        }
        for volume in items(service.get("volumes")) {
            if volume.get("type").and_then(Node::text_value) == Some("volume") {
                uses("volumes", volume.get("source").and_then(Node::text_value));
            }
        }
        for config in items(service.get("configs")) {
            uses("configs", config.get("source").and_then(Node::text_value));
        }
        let built = service.get("build").and_then(|build| build.get("secrets"));
        for secret in items(service.get("secrets")).iter().chain(items(built)) {
            uses("secrets", secret.get("source").and_then(Node::text_value));
        }
    }
    for section in ["networks", "volumes", "configs", "secrets", "models"] {
        if let Some(map) = root.get_mut(section).and_then(map_mut) {
            let used = used.get(section);
            map.retain(|name, _| used.is_some_and(|used| used.contains(name)));
        }
    }
}
