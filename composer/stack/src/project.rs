//! Files to one tree: each document interpolated and shaped, then `extends`, `include` and the rules of merging.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::defaults;
use crate::diagnostic::{Found, Report};
use crate::environment::Environment;
use crate::extends::Units;
use crate::files::{clean, relative, under_home};
use crate::include::{IncludeKey, Included};
use crate::interpolate::Interpolator;
use crate::merge;
use crate::options::{LoadOptions, Purpose};
use crate::read::Reader;
use crate::shape::{self, Brought, Shaper};
use crate::source::Span;
use crate::spec::{FILE, Record, SERVICE, Shape};
use crate::yaml::{Map, Node, Tag, Value, limits};

/// How much `extends` and `include` may add to a project, in values: enough for every honest file, too little for a
/// chain of services that each hands on all it has.
const BUDGET: usize = 2_000_000;

/// Everything that the files of one load share.
pub(crate) struct Project<'a> {
    pub options: &'a LoadOptions,
    /// The project directory.
    pub root: PathBuf,
    pub report: Report,
    pub reader: Reader,
    pub interpolator: Interpolator,
    pub units: Units,
    pub included: HashMap<IncludeKey, Included>,
    environments: Vec<Rc<Environment>>,
    known_environments: HashMap<BTreeMap<String, String>, usize>,
    budget: usize,
    /// How many ports the short forms of all documents may still become.
    ports: Option<usize>,
    /// Something that files name could not be taken over: whoever misses it later on would be told twice.
    pub incomplete: bool,
}

/// The surroundings of a file: those of the project, or of an entry of `include`.
#[derive(Clone)]
pub(crate) struct Scope {
    /// Its project directory, absolute: where relative paths begin.
    pub folder: PathBuf,
    pub environment: Rc<Environment>,
    /// The same environment has the same number.
    pub number: usize,
}

impl<'a> Project<'a> {
    pub fn new(
        options: &'a LoadOptions,
        root: PathBuf,
        reader: Reader,
        interpolator: Interpolator,
        report: Report,
    ) -> Self {
        Self {
            options,
            root,
            report,
            reader,
            interpolator,
            units: Units::default(),
            included: HashMap::new(),
            environments: Vec::new(),
            known_environments: HashMap::new(),
            budget: BUDGET,
            ports: Some(limits::PORTS),
            incomplete: false,
        }
    }

    /// The surroundings with a project directory and an environment.
    pub fn scope(&mut self, folder: PathBuf, environment: Environment) -> Scope {
        let next = self.environments.len();
        let number = *self.known_environments.entry(environment.values()).or_insert(next);
        if number == next {
            self.environments.push(Rc::new(environment.clone()));
        }
        let environment = self.environments.get(number).cloned().unwrap_or_else(|| Rc::new(environment));
        Scope { folder, environment, number }
    }

    /// The merged tree of some files; `chain` are the files that include them. `None` where nothing is in them.
    pub fn model(
        &mut self,
        files: &[(PathBuf, Rc<Vec<Node>>)],
        scope: &Scope,
        chain: &[(PathBuf, Span)],
    ) -> Option<Node> {
        let mut merged: Option<Node> = None;
        for (path, documents) in files {
            for document in documents.iter() {
                if document.is_null() && documents.len() > 1 {
                    self.report
                        .error(document.span, "one of several documents is empty")
                        .help("remove its `---`");
                }
                let Some(mut node) = self.document(document, scope, chain.is_empty()) else {
                    continue;
                };
                self.extend_services(&mut node, path, scope);
                self.include(&mut node, path, scope, chain);
                // What a file leaves without a value or a key that it needs, a later one cannot make up for.
                let brought = if merged.is_some() { Brought::of(&node) } else { Brought::All };
                let mut whole = match merged {
                    Some(base) => merge::records(base, node, &FILE, self.keeps(), &mut self.report),
                    None => node,
                };
                shape::complete(&mut whole, &FILE, &brought, &mut self.report);
                merged = Some(whole);
            }
        }
        let mut root = merged?;
        if merge::settle(&mut root, &FILE, self.keeps()) {
            // What was taken away may have been needed.
            shape::complete(&mut root, &FILE, &Brought::All, &mut self.report);
        }
        defaults::fill(&mut root, self, scope);
        Some(root)
    }

    /// One document: interpolated and shaped. `None` where there is nothing in it.
    fn document(&mut self, document: &Node, scope: &Scope, direct: bool) -> Option<Node> {
        if document.is_null() || document.as_map().is_some_and(Map::is_empty) {
            return None;
        }
        if document.as_map().is_none() {
            self.report
                .error(document.span, format!("a Compose file must be a mapping, not {}", document.kind()))
                .help("begin with `services:`");
            return None;
        }
        let mut node = document.clone();
        self.interpolate(&mut node, scope);
        if let Value::Map(map) = &mut node.value
            && let Some(entry) = map.shift_remove("version")
        {
            if entry.node.text_value().is_some() {
                let message = "`version` is obsolete and has no effect";
                self.report.warning(entry.key, message).help("remove the line");
            } else {
                let message = format!("`version` must be a string, not {}", entry.node.kind());
                self.report.error(entry.key, message).help("remove the line: it has no effect");
            }
        }
        // Also above a file that has some.
        if let Some(services) = node.get("services").filter(|node| node.is_null() && node.tag == Tag::None) {
            let found = self.report.error(services.span, "`services` has no value");
            found.help("give it a mapping, or remove the line");
        }
        let includes = node.get("include").is_some_and(|include| !include.is_null());
        let begin = self.begin(&scope.folder, direct);
        let shaped = self.shape_record(node, &FILE, "the file", begin);
        self.incomplete |= includes && shaped.as_ref().is_none_or(|node| node.get("include").is_none());
        shaped
    }

    /// Whether expressions are kept, and with them the forms that were written.
    pub fn keeps(&self) -> bool {
        !self.options.interpolate
    }

    pub fn interpolate(&mut self, node: &mut Node, scope: &Scope) {
        if self.options.interpolate {
            self.interpolator.tree(node, &scope.environment, &mut self.report);
        }
    }

    /// Shapes a mapping whose relative paths begin at a folder.
    fn shape_record(
        &mut self,
        node: Node,
        record: &'static Record,
        name: &str,
        (folder, resolve_paths): (PathBuf, bool),
    ) -> Option<Node> {
        let mut shaper = Shaper {
            folder: &folder,
            home: self.options.home.as_deref(),
            resolve_paths,
            lenient: self.options.purpose == Purpose::Config,
            interpolated: self.options.interpolate,
            ports: &mut self.ports,
            report: &mut self.report,
        };
        shaper.shape(node, shape_of(record), name)
    }

    /// Shapes a service of a file that `extends` names.
    pub fn shape_service(&mut self, node: Node, name: &str, folder: &Path) -> Option<Node> {
        let begin = self.begin(folder, false);
        self.shape_record(node, &SERVICE, name, begin)
    }

    /// What relative paths of a folder become relative to, and whether they do. Where paths are left as they are,
    /// those of files that are not the project's own (`direct`) still have to be found from its directory.
    fn begin(&self, folder: &Path, direct: bool) -> (PathBuf, bool) {
        if self.options.resolve_paths {
            (folder.to_owned(), true)
        } else {
            (relative(folder, &self.root), !direct)
        }
    }

    /// A path that a shaped tree names, absolute.
    pub fn path(&self, text: &str) -> PathBuf {
        under_home(text, self.options.home.as_deref()).unwrap_or_else(|| clean(&self.root.join(text)))
    }

    /// The project directory of a scope as paths in the tree have it.
    pub fn shown_folder(&self, scope: &Scope) -> String {
        match self.begin(&scope.folder, false) {
            (folder, true) if !folder.as_os_str().is_empty() => folder.display().to_string(),
            _ => ".".to_owned(),
        }
    }

    /// Reports that something cannot be taken over.
    pub fn missing(&mut self, at: Span, message: impl Into<String>) -> Found<'_> {
        self.incomplete = true;
        self.report.error(at, message)
    }

    /// Takes the cost of values that are brought from elsewhere from the budget; `false` where it is used up.
    pub fn afford(&mut self, node: &Node, at: Span) -> bool {
        if self.budget == 0 {
            return false;
        }
        let cost = node.weight();
        if cost > self.budget {
            self.budget = 0;
            self.missing(at, "what `extends` and `include` bring adds up to too much")
                .note(format!("they may bring {BUDGET} values in all"));
            return false;
        }
        self.budget -= cost;
        true
    }
}

/// The shape of a record of the table.
fn shape_of(record: &'static Record) -> &'static Shape {
    if std::ptr::eq(record, &FILE) { &FILE_SHAPE } else { &SERVICE_SHAPE }
}

static FILE_SHAPE: Shape = Shape::Record(&FILE);
static SERVICE_SHAPE: Shape = Shape::Record(&SERVICE);

/// Whether a node takes away what it is merged over.
pub(crate) fn is_reset(node: &Node) -> bool {
    node.tag == Tag::Reset
}
