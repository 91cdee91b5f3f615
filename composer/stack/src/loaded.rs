//! What a load gives: the stack, and questions about the files it came from.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use crate::diagnostic::Diagnostics;
use crate::emit::{self, Document};
use crate::hash;
use crate::model::Stack;
use crate::origins::{self, Origin};
use crate::print::{self, Format};
use crate::profiles::profiles;
use crate::read::Reader;
use crate::source::Sources;
use crate::spec::FILE;
use crate::yaml::{Map, Node};

/// Files that were read without errors.
#[derive(Debug)]
pub struct Loaded {
    /// What can be run.
    pub stack: Stack,
    /// What is doubtful.
    pub warnings: Diagnostics,
    /// The canonical tree.
    pub(crate) root: Node,
    /// Services that are not wanted.
    pub(crate) disabled: Map,
    pub(crate) sources: Sources,
    pub(crate) variables: Vec<Variable>,
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) interpolated: bool,
}

/// A variable that the files use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// `${NAME:?…}`: it has to have a value.
    pub required: bool,
    /// Of `${NAME:-default}`.
    pub default: String,
    /// Of `${NAME:+alternative}`.
    pub alternative: String,
}

impl Loaded {
    /// Docker Compose's canonical model as YAML (`config`).
    ///
    /// # Errors
    /// None is known; the writer's interface has room for one.
    pub fn to_yaml(&self) -> io::Result<String> {
        Ok(emit::yaml(&self.document(Format::Yaml)))
    }

    /// Docker Compose's canonical model as JSON (`config --format json`).
    ///
    /// # Errors
    /// None is known; the writer's interface has room for one.
    pub fn to_json(&self) -> io::Result<String> {
        emit::json(&self.document(Format::Json))
    }

    fn document(&self, format: Format) -> Document {
        print::document(&self.root, &FILE, format, self.interpolated)
    }

    /// The names in a section of the canonical model, sorted, those of services too that cannot be run.
    pub fn names(&self, section: &str) -> Vec<String> {
        let names = self.root.get(section).into_iter().flat_map(Node::entries).map(|(name, _)| name);
        names.cloned().collect::<BTreeSet<String>>().into_iter().collect()
    }

    /// The image of every service, in the order of the services' names.
    pub fn images(&self) -> Vec<String> {
        let image = |name: &String| {
            let service = self.root.get("services")?.get(name)?;
            let image = service.get("image").and_then(Node::text_value).map(str::to_owned);
            Some(image.unwrap_or_else(|| format!("{}-{name}", self.stack.name)))
        };
        self.names("services").iter().filter_map(image).collect()
    }

    /// Every profile that a service of the files has, sorted.
    pub fn profiles(&self) -> Vec<String> {
        let enabled = self.root.get("services").into_iter().flat_map(Node::entries);
        let services = enabled.chain(&self.disabled);
        let names: BTreeSet<&str> = services.flat_map(|(_, entry)| profiles(&entry.node)).collect();
        names.into_iter().map(str::to_owned).collect()
    }

    /// `KEY=value` of everything that variables are looked up in, sorted.
    pub fn environment(&self) -> Vec<String> {
        self.environment.iter().map(|(key, value)| format!("{key}={value}")).collect()
    }

    /// Every variable that the files use, sorted by name.
    pub fn variables(&self) -> &[Variable] {
        &self.variables
    }

    /// A service's configuration as one number, in hexadecimal; `None` where there is no such service.
    pub fn hash(&self, service: &str) -> Option<String> {
        if let Some(service) = self.stack.services.get(service) {
            return Some(hash::config_hash(service));
        }
        // One that cannot be run: its canonical form stands for it.
        let document = self.document(Format::Json);
        let text = emit::json(document.get("services")?.get(service)?).ok()?;
        Some(hash::sha256(&text))
    }

    /// Every value of the canonical model with its place, in the model's order.
    pub fn origins(&self) -> Vec<Origin> {
        origins::list(&self.document(Format::Yaml), &self.root, &self.sources)
    }

    /// The model as YAML with a comment behind every value that says where it came from; `color`: they are dim.
    pub fn origins_yaml(&self, color: bool) -> String {
        origins::text(&self.document(Format::Yaml), &self.root, &self.sources, color)
    }

    /// The same as a JSON object with every value's path as a key.
    ///
    /// # Errors
    /// None is known; the writer's interface has room for one.
    pub fn origins_json(&self) -> io::Result<String> {
        origins::json(&self.origins())
    }
}

/// Every variable that the files use.
pub(crate) fn uses(_reader: &Reader) -> Vec<Variable> {
    Vec::new()
}
