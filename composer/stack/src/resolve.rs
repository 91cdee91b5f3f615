//! `env_file` and `label_file`: their variables go below the service's own `environment` and `labels`.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

use crate::diagnostic::Report;
use crate::dotenv::{self, Giver, Variable};
use crate::environment::Environment;
use crate::options::LoadOptions;
use crate::read::{self, Numbered, Reader};
use crate::source::{Span, StepKind};
use crate::tree::map_mut;
use crate::yaml::{Entry, Map, Node};

/// The way out where a file is not there.
const OPTIONAL: &str = "a file that may be missing: `- path: FILE` with `required: false`";

/// What reading needs to know.
pub(crate) struct Resolver<'a> {
    pub options: &'a LoadOptions,
    pub environment: &'a Environment,
    /// Where paths that were left relative begin.
    pub folder: &'a Path,
    pub reader: &'a mut Reader,
    pub report: &'a mut Report,
}

impl Resolver<'_> {
    /// Reads the env files and label files of every service, and drops the keys that name them.
    pub fn services(&mut self, services: &mut Map) {
        for (name, entry) in services.iter_mut() {
            let key = entry.key;
            if let Some(service) = map_mut(&mut entry.node) {
                if self.options.resolve_environment {
                    self.environment(service, name, key);
                }
                self.labels(service, name, key);
            }
        }
    }

    fn environment(&mut self, service: &mut Map, name: &str, key: Span) {
        let Some(files) = service.shift_remove("env_file") else {
            return;
        };
        let own = service.get("environment").and_then(|entry| entry.node.as_map());
        let mut variables = BTreeMap::new();
        for file in files.node.items() {
            // The project's variables come first where a file uses some, then the service's own.
            let environment = self.environment;
            let lookup = |name: &str| {
                let own = || Some((own?.get(name)?.node.text_value()?, Giver::Service));
                environment.given(name).or_else(own)
            };
            let Some(node) = file.get("path") else {
                continue;
            };
            let format = file.get("format");
            let raw = format.and_then(Node::text_value) == Some("raw");
            let required = file.get("required").and_then(Node::bool_value).unwrap_or(true);
            let file = self.read(node, required);
            if let Some(format) = format.filter(|format| !raw && format.text_value() != Some("")) {
                let message =
                    format!("`{}` is not a format of env files", format.text_value().unwrap_or_default());
                // Docker Compose does not look at the format of a file that is not there.
                let found = match &file {
                    Some(_) => self.report.error(format.span, message),
                    None => self.report.warning(format.span, message),
                };
                found.help("`raw` is");
            }
            let Some(file) = file else {
                continue;
            };
            let before = self.report.enter_file(StepKind::EnvFile, node.span, name);
            if raw {
                dotenv::parse_raw(&file, &lookup, &mut variables, self.report);
            } else {
                dotenv::parse(&file, &lookup, &mut variables, self.report);
            }
            self.report.leave_file(before);
            bring(&mut variables, &file, StepKind::EnvFile, node.span, self.report);
        }
        put_below(service, "environment", key, variables);
    }

    fn labels(&mut self, service: &mut Map, name: &str, key: Span) {
        let Some(files) = service.shift_remove("label_file") else {
            return;
        };
        let mut variables = BTreeMap::new();
        for node in files.node.items() {
            if let Some(file) = self.read(node, true) {
                // What files before this one say comes first where it uses variables.
                let lookup = |name: &str| {
                    let known: &Variable = variables.get(name)?;
                    Some((known.value.as_str(), known.span.map_or(Giver::Caller, Giver::File)))
                };
                let mut own = BTreeMap::new();
                let before = self.report.enter_file(StepKind::LabelFile, node.span, name);
                dotenv::parse(&file, &lookup, &mut own, self.report);
                self.report.leave_file(before);
                bring(&mut own, &file, StepKind::LabelFile, node.span, self.report);
                variables.extend(own);
            }
        }
        put_below(service, "labels", key, variables);
    }

    /// A file that a service names.
    fn read(&mut self, node: &Node, required: bool) -> Option<Numbered> {
        let text = node.text_value()?;
        // As an unset variable leaves it: it is not the folder.
        if text.is_empty() {
            if required {
                self.report
                    .error(node.span, "the path of this file is empty")
                    .help("name a file, or remove it");
            }
            return None;
        }
        let path = self.folder.join(text);
        match self.reader.env_file(&path, self.report) {
            Ok(file) => Some(file),
            Err(error) if !required && error.kind() == ErrorKind::NotFound => None,
            Err(error) => {
                let found = self.report.error(node.span, format!("cannot read {}: {error}", path.display()));
                read::instead(found, &path, &error, OPTIONAL);
                None
            }
        }
    }
}

/// Notes of the variables that a file defines by which way they came from it: what is in a value, then the file.
fn bring(
    variables: &mut BTreeMap<String, Variable>,
    (source, _): &Numbered,
    kind: StepKind,
    at: Span,
    report: &mut Report,
) {
    let sources = &mut report.sources;
    let way = sources.file(kind, at);
    let spans = variables.values_mut().filter_map(|variable| variable.span.as_mut());
    for span in spans.filter(|span| span.source == *source) {
        let steps = sources.steps(span.way);
        let inner = steps.into_iter().filter(|step| step.kind.is_variable());
        span.way = inner.fold(way, |way, step| sources.step(way, step.kind, step.at));
    }
}

/// Adds variables to a mapping of a service, where it has no key of that name.
fn put_below(service: &mut Map, section: &str, key: Span, variables: BTreeMap<String, Variable>) {
    if variables.is_empty() {
        return;
    }
    let empty = || Entry { key, node: Node::map(key, Map::new()) };
    let section = service.entry(section.to_owned()).or_insert_with(empty);
    let Some(map) = map_mut(&mut section.node) else {
        return;
    };
    for (name, variable) in variables {
        let span = variable.span.unwrap_or(key);
        map.entry(name).or_insert_with(|| Entry { key: span, node: Node::text(span, variable.value) });
    }
}
