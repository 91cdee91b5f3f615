//! What can be told of the merged document alone: required keys, keys without a value, repetitions.

use std::collections::HashMap;

use super::one_of;
use super::scalar::expected;
use crate::diagnostic::Report;
use crate::source::Span;
use crate::spec::{Form, Record, Shape};
use crate::yaml::{Map, Node, Tag, Value};

/// Reports what is missing from a settled document, and takes out keys that were never given a value.
pub(crate) fn complete(root: &mut Node, record: &'static Record, report: &mut Report) {
    let place = Place { key: root.span, path: None };
    Completer { report }.node(root, &Shape::Record(record), &place, "");
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
    fn node(&mut self, node: &mut Node, shape: &Shape, place: &Place, name: &str) {
        match shape.form() {
            Form::OrNull(shape) | Form::Either(shape) => self.node(node, shape, place, name),
            Form::Short(conversion) => self.node(node, &conversion.long, place, name),
            Form::Record(record) => self.record(node, record, place),
            Form::Map(value) => {
                let Value::Map(map) = &mut node.value else { return };
                self.values(map, |_| Some(value), |key| Some(format!("{name}.{key}")));
            }
            Form::List(item) => {
                if matches!(shape, Shape::Set(_)) {
                    repetitions(node, self.report);
                }
                let Value::List(items) = &mut node.value else { return };
                for each in items {
                    let place = Place { key: each.span, path: None };
                    self.node(each, item, &place, name);
                }
            }
            Form::Any | Form::Scalar => {}
        }
    }

    fn record(&mut self, node: &mut Node, record: &Record, place: &Place) {
        let Value::Map(map) = &mut node.value else { return };
        if self.values(map, |key| record.field(key).map(|field| &field.shape), |_| None) {
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
        shape: impl Fn(&str) -> Option<&'s Shape>,
        path: impl Fn(&str) -> Option<String>,
    ) -> bool {
        let mut without = Vec::new();
        for (key, entry) in map.iter_mut() {
            let Some(shape) = shape(key) else { continue };
            if entry.node.tag == Tag::Reset {
                continue;
            }
            if entry.node.is_null() {
                if !may_be_null(shape) {
                    without.push((key.clone(), entry.node.span, expected(shape)));
                }
                continue;
            }
            let place = Place { key: entry.key, path: path(key) };
            self.node(&mut entry.node, shape, &place, key);
        }
        let damaged = !without.is_empty();
        for (key, span, expected) in without {
            map.shift_remove(&key);
            no_value(self.report, span, &format!("`{key}`"), expected);
        }
        damaged
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

/// Reports strings that a list has twice, and takes them out.
pub(super) fn repetitions(list: &mut Node, report: &mut Report) {
    let Value::List(items) = &mut list.value else { return };
    let mut seen: HashMap<String, Span> = HashMap::new();
    items.retain(|item| {
        let Some(text) = item.text_value() else { return true };
        let Some(first) = seen.get(text) else {
            seen.insert(text.to_owned(), item.span);
            return true;
        };
        report
            .error(item.span, format!("`{text}` is given twice"))
            .also(*first, "first here")
            .help("remove one of them");
        false
    });
}
