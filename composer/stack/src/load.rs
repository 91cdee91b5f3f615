//! The way of a load, from options to a checked stack.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;

use crate::canonical;
use crate::decode::{self, project::Project};
use crate::diagnostic::{Diagnostics, Report};
use crate::emit::Document;
use crate::error::LoadError;
use crate::files::{self, Input};
use crate::interpolate::{self, Variables};
use crate::model::Stack;
use crate::{check, emit, lower, name, old_merge as merge, yaml};

/// What to load and with which surroundings.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// `-f`, in order; `-` is standard input. Empty: the files are searched for.
    pub files: Vec<PathBuf>,
    /// Standard input's text, for a file named `-`.
    pub stdin: Option<String>,
    /// `-p`.
    pub project_name: Option<String>,
    /// `--project-directory`; the first file's folder where absent.
    pub project_directory: Option<PathBuf>,
    /// `--env-file`; `.env` in the project directory where empty.
    pub env_files: Vec<PathBuf>,
    /// Where relative paths on the command line begin; absolute.
    pub current_dir: PathBuf,
    /// The caller's environment.
    pub environment: BTreeMap<String, String>,
    /// What `~` stands for.
    pub home: Option<PathBuf>,
    /// What the stack is for.
    pub purpose: Purpose,
    /// The host, for checks of limits; they are left out where absent.
    pub host: Option<HostFacts>,
}

/// What a stack is loaded for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To be shown: services that this version cannot run are fine, and not part of [`Loaded::stack`].
    Config,
    /// To be run: every service needs a root filesystem and something to execute.
    Run,
}

/// What limits are held against.
#[derive(Clone, Debug)]
pub struct HostFacts {
    /// CPUs that are online, by number.
    pub cpus_online: BTreeSet<u32>,
    /// Bytes of memory.
    pub memory: u64,
}

/// A file that was read without errors.
#[derive(Debug)]
pub struct Loaded {
    /// What can be run.
    pub stack: Stack,
    /// What is doubtful.
    pub warnings: Diagnostics,
    project: Project,
}

impl Loaded {
    /// Docker Compose's canonical model as YAML (`config`).
    ///
    /// # Errors
    /// None is known; the writer's interface has room for one.
    pub fn to_yaml(&self) -> io::Result<String> {
        emit::yaml(&canonical::document(&self.project, canonical::Format::Yaml))
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
}

/// Reads, merges, decodes and checks the files.
///
/// # Errors
/// [`LoadError::Diagnostics`] has everything that is wrong at once; the others are about files that are not there.
pub fn load(options: &LoadOptions) -> Result<Loaded, LoadError> {
    let mut report = Report::default();
    let found = files::find(options, &mut report)?;
    let mut variables = Variables::new(&options.environment, found.dotenv.clone());
    let mut documents = Vec::new();
    for Input { path, text } in found.inputs {
        if let Some(read) = yaml::parse(&path, text, &mut report) {
            documents.extend(read);
        }
    }
    let name =
        name::choose(options, &found.variables, &documents, &found.directory, &mut variables, &mut report)?;
    variables.set("COMPOSE_PROJECT_NAME", &name);
    for document in &mut documents {
        interpolate::tree(document, &mut variables, &mut report);
    }
    let stop = |report: Report| LoadError::Diagnostics(report.finish());
    let Some(root) = merge::all(documents, &mut report) else {
        if !report.has_errors() {
            report
                .error_without_place("the Compose file is empty")
                .help("name at least one service under `services:`");
        }
        return Err(stop(report));
    };
    let context =
        decode::Context { directory: &found.directory, home: options.home.as_deref(), variables: &variables };
    let project = decode::project(&root, name, &context, &mut report);
    check::all(&project, options, &mut report);
    if report.has_errors() {
        return Err(stop(report));
    }
    let stack = lower::stack(&project, found.directory, found.paths);
    Ok(Loaded { stack, warnings: report.finish(), project })
}

/// The project's name alone, for verbs such as `down` that have to work when the file is broken or gone.
///
/// # Errors
/// When a name was given that is not one.
pub fn project_name_only(options: &LoadOptions) -> Result<String, LoadError> {
    let mut report = Report::default();
    let (documents, directory, variables, dotenv) = match files::find(options, &mut report) {
        Ok(found) => {
            let documents = found
                .inputs
                .into_iter()
                .filter_map(|input| yaml::parse(&input.path, input.text, &mut report))
                .flatten()
                .collect();
            (documents, found.directory, found.variables, found.dotenv)
        }
        Err(_) => {
            let directory = options.project_directory.as_ref().map(|folder| options.current_dir.join(folder));
            let directory = directory.unwrap_or_else(|| options.current_dir.clone());
            (Vec::new(), directory, options.environment.clone(), BTreeMap::new())
        }
    };
    let mut values = Variables::new(&options.environment, dotenv);
    name::choose(options, &variables, &documents, &directory, &mut values, &mut Report::default())
}
