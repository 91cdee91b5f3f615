//! Names of containers, and other names that hosts have on networks.

use std::collections::{BTreeMap, HashMap};

use super::project::{Named, Project};
use crate::diagnostic::Report;
use crate::limits;
use crate::source::Span;
use crate::yaml::Node;

/// A container's name is that of a folder and of a cgroup: NAME_MAX of limits.h.
const LONGEST: usize = 255;

pub(super) fn check(project: Project<'_>, report: &mut Report) {
    unique(project, report);
    if !project.running() {
        return;
    }
    containers(project, report);
    for service in project.services() {
        aliases(project, service, report);
    }
}

/// Given names are unique.
fn unique(project: Project<'_>, report: &mut Report) {
    let mut seen: HashMap<&str, Span> = HashMap::new();
    for node in project.services().filter_map(|service| service.get("container_name")) {
        let name = node.text_value().unwrap_or_default();
        if let Some(first) = seen.insert(name, node.span).filter(|_| !name.is_empty()) {
            report
                .error(node.span, format!("two services have the container name `{name}`"))
                .also(first, "first here");
        }
    }
}

/// Given names are none of the derived ones, and neither are too long.
fn containers(project: Project<'_>, report: &mut Report) {
    let mut derived: BTreeMap<String, Span> = BTreeMap::new();
    for service in project.services().filter(|service| service.get("container_name").is_none()) {
        let replicas = limits::replicas(service.node()).map_or(1, |at| at.value).max(0);
        let last = format!("{}-{}-{}", project.name(), service.name, replicas.max(1));
        if last.len() > LONGEST {
            report
                .error(
                    service.entry.key,
                    format!("the container's name would have {} characters", last.len()),
                )
                .help(format!("{LONGEST} fit: a shorter name for the service, or for the project with -p"));
        }
        derived.insert(format!("{}-{}-", project.name(), service.name), service.entry.key);
    }
    for node in project.services().filter_map(|service| service.get("container_name")) {
        let name = node.text_value().unwrap_or_default();
        if name.len() > LONGEST {
            report
                .error(node.span, "the container's name is too long")
                .help(format!("{LONGEST} characters fit"));
        }
        let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
        if let Some(place) = derived.get(stem).filter(|_| stem.len() < name.len()) {
            report
                .error(node.span, format!("`{name}` is what a container of another service is called"))
                .help("take another name")
                .also(*place, "this service");
        }
    }
}

/// A name that answers for two services is seldom meant.
fn aliases(project: Project<'_>, service: Named<'_>, report: &mut Report) {
    for (network, entry) in service.map("networks") {
        let aliases = entry.node.get("aliases").map(Node::items).unwrap_or_default();
        for node in aliases {
            let Some(alias) = node.text_value() else { continue };
            let Some(other) = project.service(alias).filter(|other| other.name != service.name) else {
                continue;
            };
            if other.at(&["networks", network]).is_some() {
                report
                    .warning(
                        node.span,
                        format!(
                            "the alias `{alias}` is the name of another service on the network `{network}`"
                        ),
                    )
                    .help("whoever asks for it gets either of the two")
                    .also(other.entry.key, "the other service");
            }
        }
    }
}
