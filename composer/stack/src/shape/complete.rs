//! What can be told of the merged document alone: required keys, keys without a value, repetitions.

use std::collections::{HashMap, HashSet};

use super::one_of;
use super::scalar::expected;
use crate::diagnostic::Report;
use crate::source::Span;
use crate::spec::{Form, Record, Shape};
use crate::yaml::{Entry, Map, Node, Tag, Value};

/// Reports what is missing from a document, and takes out keys that were never given a value. `brought` is what it got
/// last: of the rest it has been said.
pub(crate) fn complete(root: &mut Node, record: &'static Record, brought: &Brought, report: &mut Report) {
    let place = Place { key: root.span, path: None };
    Completer { report }.node(root, &Shape::Record(record), &place, "", brought);
}

/// What a document brings to those before it, without its scalars.
pub(crate) enum Brought {
    /// Everything here is new.
    All,
    /// So many items, at the end of the list.
    Items(usize),
    /// These keys.
    Keys(Vec<(String, Self)>),
}

impl Brought {
    /// What a document will bring.
    pub fn of(node: &Node) -> Self {
        match &node.value {
            Value::Scalar(_) => Self::All,
            Value::List(items) => Self::Items(items.len()),
            Value::Map(map) => {
                Self::Keys(map.iter().map(|(key, entry)| (key.clone(), Self::of(&entry.node))).collect())
            }
        }
    }

    /// How many of the items of a list were there before.
    fn before(&self, items: &[Node]) -> usize {
        match self {
            Self::Items(count) => items.len().saturating_sub(*count),
            Self::All | Self::Keys(_) => 0,
        }
    }
}

/// Where a value is.
struct Place {
    /// Its key, or the item itself.
    key: Span,
    /// `depends_on.db`, for an entry that the user has named.
    path: Option<String>,
}

struct Completer<'a> {
    report: &'a mut Report,
}

impl Completer<'_> {
    fn node(&mut self, node: &mut Node, shape: &Shape, place: &Place, name: &str, brought: &Brought) {
        match shape.form() {
            Form::OrNull(shape) | Form::Either(shape) => self.node(node, shape, place, name, brought),
            Form::Short(conversion) => self.node(node, &conversion.long, place, name, brought),
            Form::Record(record) => self.record(node, record, place, brought),
            Form::Map(value) => {
                let Value::Map(map) = &mut node.value else { return };
                self.values(map, brought, |_| Some(value), |key| Some(format!("{name}.{key}")));
            }
            Form::List(item) => {
                let before = brought.before(node.items());
                if matches!(shape, Shape::Set(_)) {
                    repetitions(node, before, self.report);
                }
                let Value::List(items) = &mut node.value else { return };
                for each in items.iter_mut().skip(before) {
                    let place = Place { key: each.span, path: None };
                    self.node(each, item, &place, name, &Brought::All);
                }
            }
            Form::Any | Form::Scalar => {}
        }
    }

    fn record(&mut self, node: &mut Node, record: &Record, place: &Place, brought: &Brought) {
        let Value::Map(map) = &mut node.value else { return };
        if self.values(map, brought, |key| record.field(key).map(|field| &field.shape), |_| None) {
            node.tag = Tag::Damaged;
        }
        for key in record.required.iter().filter(|key| !map.contains_key(**key)) {
            let who = match &place.path {
                Some(path) => format!("`{path}`"),
                None => record.what.to_owned(),
            };
            let article = match key.as_bytes() {
                [.., b's'] => "",
                [b'a', ..] => "an ",
                _ => "a ",
            };
            let found = self.report.error(place.key, format!("{who} needs {article}`{key}`"));
            let shape = record.field(key).map(|field| &field.shape);
            if let Some(Shape::Word(words)) = shape {
                found.help(format!("it may be {}", one_of(words)));
            } else if matches!(shape, Some(Shape::Int(..))) {
                found.help(format!("`{key}: 1024`"));
            }
        }
    }

    /// Takes out values that are missing where something has to be, and goes below the others. Whether any were taken
    /// out.
    fn values<'s>(
        &mut self,
        map: &mut Map,
        brought: &Brought,
        shape: impl Fn(&str) -> Option<&'s Shape>,
        path: impl Fn(&str) -> Option<String>,
    ) -> bool {
        let mut without: HashSet<String> = HashSet::new();
        let mut value = |key: &str, entry: &mut Entry, brought: &Brought| {
            let Some(shape) = shape(key).filter(|_| entry.node.tag != Tag::Reset) else { return };
            if !entry.node.is_null() {
                let place = Place { key: entry.key, path: path(key) };
                self.node(&mut entry.node, shape, &place, key, brought);
            } else if !may_be_null(shape) {
                no_value(self.report, entry.node.span, &format!("`{key}`"), expected(shape));
                without.insert(key.to_owned());
            }
        };
        match brought {
            Brought::Keys(keys) => {
                for (key, brought) in keys {
                    if let Some(entry) = map.get_mut(key) {
                        value(key, entry, brought);
                    }
                }
            }
            Brought::All | Brought::Items(_) => {
                map.iter_mut().for_each(|(key, entry)| value(key, entry, &Brought::All));
            }
        }
        // What was brought is at the end, where one is taken out with few steps; of many, each would take many.
        match without.len() {
            0 => {}
            1 => without.iter().for_each(|key| drop(map.shift_remove(key))),
            _ => map.retain(|key, _| !without.contains(key)),
        }
        !without.is_empty()
    }
}

fn may_be_null(shape: &Shape) -> bool {
    match shape.form() {
        Form::Any | Form::OrNull(_) => true,
        Form::Scalar => {
            matches!(shape, Shape::ScalarOrNull | Shape::ScalarOrEmpty | Shape::TextOrNumberOrEmpty)
        }
        Form::Short(conversion) => may_be_null(&conversion.long),
        Form::List(_) | Form::Map(_) | Form::Record(_) | Form::Either(_) => false,
    }
}

/// Reports a key that stands alone.
pub(super) fn no_value(report: &mut Report, span: Span, name: &str, expected: &str) {
    report
        .error(span, format!("{name} has no value"))
        .help(format!("give it {expected}, or remove the line"));
}

/// Reports strings that a list has twice, and takes them out. The first `before` items are known to be unlike.
pub(super) fn repetitions(list: &mut Node, before: usize, report: &mut Report) {
    let Value::List(items) = &mut list.value else { return };
    let added = items.split_off(before.min(items.len()));
    let known: HashSet<String> =
        added.iter().filter_map(|item| Some(item.text_value()?.to_owned())).collect();
    let old = items.iter().filter_map(|item| Some((item.text_value()?, item.span)));
    let mut seen: HashMap<String, Span> =
        old.filter(|(text, _)| known.contains(*text)).map(|(text, span)| (text.to_owned(), span)).collect();
    for item in added {
        if let Some(text) = item.text_value() {
            if let Some(first) = seen.get(text) {
                report
                    .error(item.span, format!("`{text}` is given twice"))
                    .also(*first, "first here")
                    .help("remove one of them");
                continue;
            }
            seen.insert(text.to_owned(), item.span);
        }
        items.push(item);
    }
}
