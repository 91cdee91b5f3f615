//! `include`: other projects whose services and other resources are taken over. Each has a project directory and an
//! environment of its own.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::options::Purpose;
use crate::project::{Project, Scope, is_reset};
use crate::read;
use crate::source::{Span, StepKind};
use crate::tree::{map_mut, take_map};
use crate::yaml::{Entry, Map, Node, Value};

/// Deeper than anyone includes; each level is one level of recursion.
const DEPTH: usize = 100;
/// Files of a circle that a message shows.
const SHOWN: usize = 8;

/// What is taken over.
const SECTIONS: [&str; 6] = ["services", "volumes", "networks", "secrets", "configs", "models"];

/// A file that includes the next one of a chain, and where it asks for that.
pub(crate) type Link = (PathBuf, Span);

/// An included project: files, project directory, number of its environment.
pub(crate) type IncludeKey = (Vec<PathBuf>, PathBuf, usize);

/// What became of it.
pub(crate) type Included = Option<Rc<Node>>;

/// An entry of `include`.
struct Request {
    at: Span,
    files: Vec<(PathBuf, Span)>,
    folder: PathBuf,
    env_files: Vec<(PathBuf, Span)>,
}

impl Project<'_> {
    /// Takes over what a document includes. `chain` are the files that include its file.
    pub fn include(&mut self, document: &mut Node, path: &Path, scope: &Scope, chain: &[Link]) {
        let Some(include) = map_mut(document).and_then(|map| map.shift_remove("include")) else {
            return;
        };
        for entry in include.node.items() {
            let Some(request) = self.request(entry) else {
                continue;
            };
            let mut chain = chain.to_vec();
            chain.push((path.to_owned(), request.at));
            if let Some(included) = self.included(&request, scope, &chain) {
                self.take_over(document, &included, request.at);
            }
        }
    }

    /// The paths of an entry, absolute.
    fn request(&mut self, entry: &Node) -> Option<Request> {
        let at = entry.get("path").map_or(entry.span, |node| match node.items() {
            [first, ..] => first.span,
            [] => node.span,
        });
        let mut files = Vec::new();
        for node in entry.get("path").map(Node::items).unwrap_or_default() {
            let text = node.text_value()?;
            if read::is_remote(text) {
                self.missing(node.span, format!("`{text}`: {}", read::NOT_FETCHED)).help(read::FETCH_IT);
                return None;
            }
            files.push((self.path(text), node.span));
        }
        let Some((first, _)) = files.first() else {
            if self.options.purpose == Purpose::Config {
                // Docker Compose passes over it.
                let message = "an entry of `include` without a `path` includes nothing";
                self.report.warning(at, message).help("name the file to include");
                // But not over its env files.
                for node in entry.get("env_file").map(Node::items).unwrap_or_default() {
                    let path = self.path(node.text_value()?);
                    if let Err(error) = self.reader.env_file(&path, &mut self.report) {
                        self.cannot_read(&path, &error, node.span);
                    }
                }
                return None;
            }
            self.missing(at, "an entry of `include` needs a `path`").help("name the file to include");
            return None;
        };
        let folder = match entry.get("project_directory").and_then(Node::text_value) {
            Some(text) if !text.is_empty() => self.path(text),
            Some(_) | None => first.parent().unwrap_or(first).to_owned(),
        };
        let named = entry.get("env_file").map(Node::items).unwrap_or_default();
        let mut env_files: Vec<(PathBuf, Span)> =
            named.iter().filter_map(|node| Some((self.path(node.text_value()?), node.span))).collect();
        let default = folder.join(".env");
        if env_files.is_empty() && default.exists() && !default.is_dir() {
            env_files.push((default, at));
        }
        Some(Request { at, files, folder, env_files })
    }

    /// The tree of an included project.
    fn included(&mut self, request: &Request, scope: &Scope, chain: &[Link]) -> Included {
        for (path, span) in &request.files {
            if let Some(first) = chain.iter().position(|(file, _)| file == path) {
                self.include_circle(chain.get(first..).unwrap_or_default(), path, *span);
                return None;
            }
        }
        if chain.len() > DEPTH {
            self.missing(request.at, format!("files include each other more than {DEPTH} levels deep"))
                .help("include the file from nearer to the top");
            return None;
        }
        self.report.enter(StepKind::Include, request.at);
        let included = self.read_included(request, scope, chain);
        self.report.leave();
        included
    }

    fn read_included(&mut self, request: &Request, scope: &Scope, chain: &[Link]) -> Included {
        let inner = self.included_scope(request, scope);
        let paths = request.files.iter().map(|(path, _)| path.clone()).collect();
        let key: IncludeKey = (paths, inner.folder.clone(), inner.number);
        if let Some(known) = self.included.get(&key) {
            return known.clone();
        }
        let mut files = Vec::new();
        for (path, span) in &request.files {
            match self.reader.documents(path, &mut self.report) {
                Ok(Some(documents)) => files.push((path.clone(), documents)),
                Ok(None) => {}
                Err(error) => self.cannot_read(path, &error, *span),
            }
        }
        let included = self.model(&files, &inner, chain).map(Rc::new);
        self.included.insert(key, included.clone());
        included
    }

    /// The including project's variables win over those of the entry's env files.
    fn included_scope(&mut self, request: &Request, scope: &Scope) -> Scope {
        if request.env_files.is_empty() {
            return Scope { folder: request.folder.clone(), ..scope.clone() };
        }
        let mut variables = BTreeMap::new();
        for (path, span) in &request.env_files {
            match self.reader.env_file(path, &mut self.report) {
                Ok(file) => scope.environment.read(&file, &mut variables, &mut self.report),
                Err(error) => self.cannot_read(path, &error, *span),
            }
        }
        let mut environment = (*scope.environment).clone();
        environment.add(variables);
        self.scope(request.folder.clone(), environment)
    }

    /// Takes over what is in `included`, unless the document has something else of that name.
    fn take_over(&mut self, document: &mut Node, included: &Node, at: Span) {
        for section in SECTIONS {
            let Some(from) = included.get(section).and_then(Node::as_map).filter(|map| !map.is_empty())
            else {
                continue;
            };
            let mut own = take_map(document, section);
            for (name, entry) in from {
                let there = own.get(name).filter(|entry| !is_reset(&entry.node));
                match there {
                    Some(there) if same(&there.node, &entry.node) => {}
                    Some(there) => {
                        let thing = section.strip_suffix('s').unwrap_or(section);
                        let there = there.key;
                        self.missing(at, format!("this file brings a {thing} `{name}`, but there is another one"))
                            .help("rename one of them, or change what is included in a file given with a further -f")
                            .also(entry.key, "brought from here")
                            .also(there, "the other one");
                    }
                    None if self.afford(&entry.node, at) => {
                        let mut holder = Node::map(entry.key, Map::from([(name.clone(), entry.clone())]));
                        holder.bring(&mut self.report.sources, StepKind::Include, at);
                        if let Value::Map(map) = holder.value {
                            own.extend(map);
                        }
                    }
                    None => {}
                }
            }
            if let Some(map) = map_mut(document) {
                let node = Node::map(at, own);
                match map.get_mut(section) {
                    Some(entry) if entry.node.as_map().is_some() => entry.node.value = node.value,
                    Some(_) | None => drop(map.insert(section.to_owned(), Entry { key: at, node })),
                }
            }
        }
    }

    fn include_circle(&mut self, chain: &[Link], last: &Path, at: Span) {
        let shown = |path: &Path| self.reader.shown(path).display().to_string();
        let mut text = String::new();
        for (path, _) in chain.iter().take(SHOWN) {
            let _ = write!(text, "{} -> ", shown(path));
        }
        if chain.len() > SHOWN {
            text.push_str("… -> ");
        }
        text.push_str(&shown(last));
        let edges: Vec<(Span, String)> = chain
            .iter()
            .rev()
            .skip(1)
            .take(SHOWN)
            .map(|(path, span)| (*span, format!("{} includes this", shown(path))))
            .collect();
        // The message shows all of the circle: it needs no chain through it.
        let inside = chain.split_last().map_or(&[][..], |(_, inside)| inside);
        inside.iter().for_each(|_| self.report.leave());
        let mut found = self
            .missing(at, format!("files include each other: {text}"))
            .help("remove one of these entries of `include`");
        for (span, label) in edges.into_iter().rev() {
            found = found.also(span, label);
        }
        inside.iter().for_each(|(_, span)| self.report.enter(StepKind::Include, *span));
    }
}

/// Whether two values are the same, wherever they are written.
fn same(a: &Node, b: &Node) -> bool {
    match (&a.value, &b.value) {
        (Value::Scalar(a), Value::Scalar(b)) => a.resolve() == b.resolve(),
        (Value::List(a), Value::List(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Map(a), Value::Map(b)) => {
            a.len() == b.len()
                && a.iter().all(|(key, entry)| b.get(key).is_some_and(|other| same(&entry.node, &other.node)))
        }
        _ => false,
    }
}
