//! Tree to typed project: every key is taken by name, every error is reported and decoding goes on.

mod environment;
mod fields;
mod healthcheck;
mod limits;
pub(crate) mod mounts;
pub(crate) mod project;
mod service;

use std::path::{Path, PathBuf};

use crate::diagnostic::Report;
use crate::files::clean;
use crate::interpolate::Variables;
use crate::keys;
use crate::yaml::{Entry, Node};
use fields::{Fields, boolean, expect_map, labels, string, text, wrong_type};
use project::{At, Project, Volume};

/// What decoding needs to know besides the tree.
pub(crate) struct Context<'a> {
    /// The project directory.
    pub directory: &'a Path,
    /// What `~` stands for.
    pub home: Option<&'a Path>,
    pub variables: &'a Variables,
}

impl Context<'_> {
    /// A host path of the file, absolute: `~` is the home directory, other relative paths begin at the project
    /// directory.
    pub fn path(&self, text: &str) -> PathBuf {
        let under_home = text.strip_prefix('~').filter(|rest| rest.is_empty() || rest.starts_with('/'));
        match (under_home, self.home) {
            (Some(rest), Some(home)) => clean(&home.join(rest.trim_start_matches('/'))),
            _ => clean(&self.directory.join(text)),
        }
    }
}

/// Decodes the merged tree.
pub(crate) fn project(root: &Node, name: String, context: &Context<'_>, report: &mut Report) -> Project {
    let mut project = Project { name, ..Project::default() };
    let Some(mut fields) = Fields::open("the file", root, report) else {
        return project;
    };
    // Chosen before interpolation; only its type is left to look at.
    fields.with("name", report, string);
    if let Some(entry) = fields.take("version") {
        report.warning(entry.key, "`version` is obsolete and has no effect").help("remove the line");
    }
    if let Some(node) = fields.take("x-resources") {
        project.resources = limits::stack(&node.node, report);
        project.extensions.insert("x-resources".to_owned(), node.node.clone());
    }
    if let Some(map) = fields.take("services").and_then(|entry| expect_map("services", &entry.node, report)) {
        for (name, entry) in map {
            if !is_service_name(name) {
                report
                    .error(entry.key, format!("`{name}` is not a service name"))
                    .help("use letters, digits, `.`, `_` and `-`");
            }
            if let Some(service) = service::decode(name, entry, context, report) {
                project.services.insert(name.clone(), service);
            }
        }
    }
    if let Some(entry) = fields.take("volumes").filter(|entry| !entry.node.is_null()) {
        for (key, entry) in expect_map("volumes", &entry.node, report).into_iter().flatten() {
            let volume = volume(key, entry, &project.name, report);
            project.volumes.insert(key.clone(), volume);
        }
    }
    if let Some(entry) = fields.take("networks").filter(|entry| !entry.node.is_null()) {
        networks(&entry.node, report);
    }
    project.extensions.extend(fields.finish("the file", keys::TOP, report));
    project
}

fn is_service_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
}

fn volume(key: &str, entry: &Entry, project: &str, report: &mut Report) -> Volume {
    let name = At { value: format!("{project}_{key}"), span: entry.key };
    let mut volume =
        Volume { name, external: false, labels: Default::default(), extensions: Default::default() };
    let node = &entry.node;
    if node.is_null() {
        return volume;
    }
    let Some(mut fields) = Fields::open(key, node, report) else {
        return volume;
    };
    volume.external = fields.with("external", report, boolean).unwrap_or(false);
    if volume.external {
        volume.name.value = key.to_owned();
    }
    if let Some(entry) = fields.take("name")
        && let Some(value) = text("name", &entry.node, report)
    {
        volume.name = At { value, span: entry.node.span };
    }
    volume.labels = fields.with("labels", report, labels).unwrap_or_default();
    volume.extensions = fields.finish(&format!("volume `{key}`"), keys::VOLUME, report);
    volume
}

/// Only the stack's own network is there: `default`, without settings.
fn networks(node: &Node, report: &mut Report) {
    for (key, entry) in expect_map("networks", node, report).into_iter().flatten() {
        if key.starts_with("x-") {
            continue;
        }
        if key != "default" {
            report
                .error(
                    entry.key,
                    format!("network `{key}`: networks besides `default` are not supported yet"),
                )
                .help("every service is on the stack's own network, `default`");
            continue;
        }
        match entry.node.as_map() {
            Some(_) => {
                if let Some(fields) = Fields::open(key, &entry.node, report) {
                    fields.finish("network `default`", keys::NETWORK, report);
                }
            }
            None if entry.node.is_null() => {}
            None => wrong_type(key, "a mapping", &entry.node, report),
        }
    }
}
