//! `extends`: a service that begins as another one, of the same document or of another file.
//!
//! Chains are walked with a stack of their own, not by recursion, and every service is made once.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::merge;
use crate::project::{Project, Scope, is_reset};
use crate::read;
use crate::source::{Span, StepKind};
use crate::spec::SERVICE;
use crate::tree::map_mut;
use crate::yaml::{Entry, Map, Node};

/// Steps of a circle that a message shows.
const SHOWN: usize = 8;

/// Services among which `extends` looks for a name: those of a document, or of a file that `extends` names.
#[derive(Debug)]
struct Unit {
    path: PathBuf,
    /// Where its relative paths begin.
    folder: PathBuf,
    /// The `services` of each document.
    services: Vec<Map>,
    /// Whether they are shaped: those of another file are when somebody wants them, for what nobody wants of it need
    /// not be right.
    shaped: bool,
    /// What is finished.
    done: HashMap<String, Node>,
}

/// Every unit of a load.
#[derive(Debug, Default)]
pub(crate) struct Units {
    list: Vec<Unit>,
    /// Those of files, with the number of the environment they were interpolated with; `None` for one that cannot be
    /// read.
    files: HashMap<(PathBuf, usize), Option<usize>>,
}

/// A service on the way.
struct Open {
    unit: usize,
    name: String,
    own: Node,
    /// What it extends.
    base: Option<Base>,
}

#[derive(Clone)]
struct Base {
    unit: usize,
    name: String,
    at: Span,
}

impl Project<'_> {
    /// Makes every service of a document that extends another one.
    pub fn extend_services(&mut self, document: &mut Node, path: &Path, scope: &Scope) {
        let Some(services) = document.get_mut("services").and_then(map_mut) else {
            return;
        };
        if !services.values().any(|entry| entry.node.get("extends").is_some()) {
            return;
        }
        let names: Vec<String> = services.keys().cloned().collect();
        let unit = Unit {
            path: path.to_owned(),
            folder: scope.folder.clone(),
            services: vec![std::mem::take(services)],
            shaped: true,
            done: HashMap::new(),
        };
        self.units.list.push(unit);
        let number = self.units.list.len() - 1;
        for name in &names {
            self.make(number, name, scope);
        }
        let unit = &mut self.units.list[number];
        let mut made = Map::with_capacity(names.len());
        for (name, Entry { key, .. }) in unit.services.drain(..).flatten() {
            if let Some(node) = unit.done.remove(&name) {
                made.insert(name, Entry { key, node });
            }
        }
        if let Some(services) = document.get_mut("services").and_then(map_mut) {
            *services = made;
        }
    }

    /// Makes a service, and first what it extends.
    fn make(&mut self, unit: usize, name: &str, scope: &Scope) {
        if self.units.list[unit].done.contains_key(name) {
            return;
        }
        let mut open: Vec<Open> = Vec::new();
        let mut next = Some((unit, name.to_owned()));
        // Files may hold each other's services: what is on the way is known by file and name.
        let mut places: HashMap<(PathBuf, String), usize> = HashMap::new();
        loop {
            if let Some((unit, name)) = next.take() {
                let Some(mut own) = self.definition(unit, &name) else {
                    // Nothing of it can be used, which has been said.
                    self.units.list[unit].done.insert(name, Node::null(Span::new(0, 0, 0)));
                    continue;
                };
                let extends = map_mut(&mut own).and_then(|map| map.shift_remove("extends"));
                let extends = extends.filter(|entry| !is_reset(&entry.node));
                let base = extends.and_then(|entry| self.base(unit, &name, &entry.node, scope));
                places.insert((self.units.list[unit].path.clone(), name.clone()), open.len());
                if let Some(base) = &base {
                    self.report.enter(StepKind::Extends, base.at);
                }
                open.push(Open { unit, name, own, base });
            }
            let Some(top) = open.last_mut() else {
                return;
            };
            let Some(base) = top.base.clone() else {
                self.finish_top(&mut open, &mut places);
                continue;
            };
            if self.units.list[base.unit].done.contains_key(&base.name) {
                self.finish_top(&mut open, &mut places);
                continue;
            }
            let place = (self.units.list[base.unit].path.clone(), base.name.clone());
            if let Some(&first) = places.get(&place) {
                top.base = None;
                self.report.leave();
                self.circle(&open[first..], &base);
                continue;
            }
            next = Some((base.unit, base.name));
        }
    }

    /// A service as its unit has it, shaped.
    fn definition(&mut self, unit: usize, name: &str) -> Option<Node> {
        let Unit { services, shaped, folder, .. } = &self.units.list[unit];
        let (shaped, folder) = (*shaped, folder.clone());
        let found: Vec<Node> =
            services.iter().filter_map(|map| map.get(name)).map(|entry| entry.node.clone()).collect();
        let mut merged: Option<Node> = None;
        for node in found {
            let as_it_is = shaped || node.is_null();
            let node = if as_it_is { Some(node) } else { self.shape_service(node, name, &folder) };
            merged = match (merged, node) {
                (Some(base), Some(node)) => {
                    Some(merge::records(base, node, &SERVICE, self.keeps(), &mut self.report))
                }
                (merged, node) => node.or(merged),
            };
        }
        merged
    }

    /// What `extends` of a service names.
    fn base(&mut self, unit: usize, service: &str, extends: &Node, scope: &Scope) -> Option<Base> {
        let Some(node) = extends.get("service").filter(|node| !node.is_null()) else {
            self.missing(extends.span, "`extends` needs a `service`").help("name the service to begin with");
            return None;
        };
        let (name, at) = (node.text_value()?.to_owned(), node.span);
        let base = match extends.get("file").filter(|node| !node.is_null()) {
            Some(file) => self.file(file, scope)?,
            None => unit,
        };
        let found = &self.units.list[base];
        if found.services.iter().any(|map| map.contains_key(&name)) {
            return Some(Base { unit: base, name, at });
        }
        let names = found.services.iter().flat_map(Map::keys).map(String::as_str);
        let otherwise = if base == unit {
            "only services of the same document are looked at: say `file:` for those of another one"
        } else {
            "services that the file itself includes do not count"
        };
        let file = self.reader.shown(&found.path);
        self.incomplete = true;
        self.report
            .error(at, format!("`{service}` extends `{name}`, which is not in {}", file.display()))
            .meant(&name, names, otherwise);
        None
    }

    /// The unit of a file that `extends` names.
    fn file(&mut self, file: &Node, scope: &Scope) -> Option<usize> {
        let text = file.text_value()?;
        if read::is_remote(text) {
            self.missing(file.span, format!("`{text}`: {}", read::NOT_FETCHED)).help(read::FETCH_IT);
            return None;
        }
        let path = self.path(text);
        let key = (path, scope.number);
        if let Some(known) = self.units.files.get(&key) {
            return *known;
        }
        self.report.enter(StepKind::Extends, file.span);
        let read = self.read_unit(&key.0, file.span, scope);
        self.report.leave();
        self.units.files.insert(key, read);
        read
    }

    fn read_unit(&mut self, path: &Path, at: Span, scope: &Scope) -> Option<usize> {
        let documents = match self.reader.documents(path, &mut self.report) {
            Ok(documents) => documents?,
            Err(error) => {
                self.cannot_read(path, &error, at);
                return None;
            }
        };
        let mut services = Vec::new();
        for document in documents.iter() {
            let mut node = document.clone();
            self.interpolate(&mut node, scope);
            if let Some(map) = node.get_mut("services").and_then(map_mut) {
                services.push(std::mem::take(map));
            }
        }
        if services.is_empty() {
            let shown = self.reader.shown(path);
            self.missing(at, format!("{} has no `services`", shown.display()))
                .help("name the file that has the service, or leave `file:` away where it is this one");
            return None;
        }
        let folder = path.parent().unwrap_or(path).to_owned();
        let unit = Unit { path: path.to_owned(), folder, services, shaped: false, done: HashMap::new() };
        self.units.list.push(unit);
        Some(self.units.list.len() - 1)
    }

    /// Reports a file that a file names and that cannot be read.
    pub fn cannot_read(&mut self, path: &Path, error: &std::io::Error, at: Span) {
        self.incomplete = true;
        read::cannot(path, error, Some(at), &mut self.report);
    }

    /// Puts the service on top of the stack over what it extends.
    fn finish_top(&mut self, open: &mut Vec<Open>, places: &mut HashMap<(PathBuf, String), usize>) {
        let Some(Open { unit, name, own, base }) = open.pop() else {
            return;
        };
        places.remove(&(self.units.list[unit].path.clone(), name.clone()));
        if base.is_some() {
            self.report.leave();
        }
        let inside = base.as_ref().is_some_and(|base| base.unit == unit);
        let made = match base.and_then(|base| self.brought(&base)) {
            Some(base) if own.is_null() => base,
            Some(base) if inside => merge::extend(base, own, self.keeps(), &mut self.report),
            Some(base) => merge::records(base, own, &SERVICE, self.keeps(), &mut self.report),
            None => own,
        };
        self.units.list[unit].done.insert(name, made);
    }

    /// What is extended, as it counts where it is asked for.
    fn brought(&mut self, base: &Base) -> Option<Node> {
        let node = self.units.list[base.unit].done.get(&base.name)?;
        if node.is_null() || is_reset(node) {
            return None;
        }
        let mut node = node.clone();
        if !self.afford(&node, base.at) {
            return None;
        }
        // Its marks are about what its own file is merged over, not about this one.
        merge::settle(&mut node, &SERVICE, self.keeps());
        node.bring(&mut self.report.sources, StepKind::Extends, base.at);
        Some(node)
    }

    fn circle(&mut self, open: &[Open], last: &Base) {
        // The message shows all of the circle: it needs no chain through it.
        let inside =
            open.iter().filter_map(|open| open.base.as_ref()).map(|base| base.at).collect::<Vec<_>>();
        inside.iter().for_each(|_| self.report.leave());
        let alone = open.iter().all(|each| each.unit == last.unit);
        let name = |unit: usize, name: &str| {
            let shown = self.reader.shown(&self.units.list[unit].path);
            if alone { name.to_owned() } else { format!("{name} ({})", shown.display()) }
        };
        let mut names: Vec<String> = open.iter().map(|open| name(open.unit, &open.name)).collect();
        names.push(name(last.unit, &last.name));
        let left_out = names.len().saturating_sub(2 * SHOWN);
        if left_out > 0 {
            names.splice(SHOWN..SHOWN + left_out, ["…".to_owned()]);
        }
        let text = names.join(" -> ");
        let mut found = self
            .missing(last.at, format!("services extend each other: {text}"))
            .help("remove one of these `extends`");
        let edges = open.iter().filter_map(|open| Some((open, open.base.as_ref()?)));
        for (open, base) in edges.take(SHOWN) {
            found = found.also(base.at, format!("`{}` extends `{}`", open.name, base.name));
        }
        inside.into_iter().for_each(|at| self.report.enter(StepKind::Extends, at));
    }
}
