//! `env_file` and `label_file`: their variables go below the service's own `environment` and `labels`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::diagnostic::Report;
use crate::dotenv::{self, Variable};
use crate::environment::Environment;
use crate::options::LoadOptions;
use crate::read;
use crate::source::Span;
use crate::tree::{map_mut, resolve_nulls};
use crate::yaml::{Entry, Map, Node};

/// What reading needs to know.
struct Resolver<'a> {
    options: &'a LoadOptions,
    environment: &'a Environment,
    /// Where paths that were left relative begin.
    folder: &'a std::path::Path,
    report: &'a mut Report,
}

/// Reads the env files and label files of every service, and drops the keys that name them.
pub(crate) fn resolve(
    services: &mut Map,
    options: &LoadOptions,
    environment: &Environment,
    folder: &std::path::Path,
    report: &mut Report,
) {
    let mut resolver = Resolver { options, environment, folder, report };
    for (_, entry) in services.iter_mut() {
        let key = entry.key;
        if let Some(service) = map_mut(&mut entry.node) {
            if options.resolve_environment {
                resolver.environment(service, key);
            }
            resolver.labels(service, key);
        }
    }
}

impl Resolver<'_> {
    fn environment(&mut self, service: &mut Map, key: Span) {
        if let Some(own) = service.get_mut("environment").and_then(|entry| map_mut(&mut entry.node)) {
            resolve_nulls(own, self.environment, self.report);
        }
        let Some(files) = service.shift_remove("env_file") else {
            return;
        };
        let own = service.get("environment").and_then(|entry| entry.node.as_map());
        let mut variables = BTreeMap::new();
        let mut spans = BTreeMap::new();
        for file in files.node.items() {
            // The project's variables come first where a file uses some, then the service's own.
            let lookup = |name: &str| {
                let own = || own?.get(name)?.node.text_value();
                self.environment.get(name).or_else(own)
            };
            let Some(node) = file.get("path") else {
                continue;
            };
            let format = file.get("format");
            let raw = format.and_then(Node::text_value) == Some("raw");
            if let Some(format) = format.filter(|format| !raw && format.text_value() != Some("")) {
                let text = format.text_value().unwrap_or_default();
                self.report
                    .error(format.span, format!("`{text}` is not a format of env files"))
                    .help("`raw` is");
            }
            let required = file.get("required").and_then(Node::bool_value).unwrap_or(true);
            let Some((path, text)) = read(node, required, self.options, self.folder, self.report) else {
                continue;
            };
            if raw {
                dotenv::parse_raw(&path, text, &lookup, &mut variables, self.report);
            } else {
                dotenv::parse(&path, text, &lookup, &mut variables, self.report);
            }
            for name in variables.keys() {
                spans.entry(name.clone()).or_insert(node.span);
            }
        }
        put_below(service, "environment", key, variables, &spans);
    }

    fn labels(&mut self, service: &mut Map, key: Span) {
        let Some(files) = service.shift_remove("label_file") else {
            return;
        };
        let mut variables = BTreeMap::new();
        let mut spans = BTreeMap::new();
        for node in files.node.items() {
            if let Some((path, text)) = read(node, true, self.options, self.folder, self.report) {
                // What files before this one say comes first where it uses variables.
                let before = variables.clone();
                let lookup = |name: &str| before.get(name).map(|known: &Variable| known.value.as_str());
                dotenv::parse(&path, text, &lookup, &mut variables, self.report);
            }
            for name in variables.keys() {
                spans.entry(name.clone()).or_insert(node.span);
            }
        }
        put_below(service, "labels", key, variables, &spans);
    }
}

/// The text of a file that a service names, and its path for messages.
fn read(
    node: &Node,
    required: bool,
    options: &LoadOptions,
    folder: &std::path::Path,
    report: &mut Report,
) -> Option<(PathBuf, String)> {
    let path = folder.join(node.text_value()?);
    match read::text(&path) {
        Ok(text) => Some((read::shown(&path, &options.current_dir), text)),
        Err(error) if !required && error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => {
            let near = read::near(&path);
            let optional = "a file that may be missing: `- path: FILE` with `required: false`";
            report
                .error(node.span, format!("cannot read {}: {error}", path.display()))
                .help(near.unwrap_or_else(|| optional.to_owned()));
            None
        }
    }
}

/// Adds variables to a mapping of a service, where it has no key of that name.
fn put_below(
    service: &mut Map,
    section: &str,
    key: Span,
    variables: BTreeMap<String, Variable>,
    spans: &BTreeMap<String, Span>,
) {
    if variables.is_empty() {
        return;
    }
    let empty = || Entry { key, node: Node::map(key, Map::new()) };
    let section = service.entry(section.to_owned()).or_insert_with(empty);
    let Some(map) = map_mut(&mut section.node) else {
        return;
    };
    for (name, variable) in variables {
        let span = variable.span.or_else(|| spans.get(&name).copied()).unwrap_or(key);
        map.entry(name).or_insert_with(|| Entry { key: span, node: Node::text(span, variable.value) });
    }
}
