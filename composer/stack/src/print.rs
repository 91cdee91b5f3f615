//! The canonical tree as a document: what `config` prints. The order and the presence of keys are those of compose-go's
//! types, by the table ([`crate::spec::Print`]).

use std::collections::BTreeMap;

use indexmap::IndexMap;

use crate::emit::{Document, natural};
use crate::spec::{Field, Print, Record, SERVICE, Shape};
use crate::yaml::{Map, Node, Resolved, Scalar, Value};

/// What the document is for: compose-go prints a few empty values in JSON alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Yaml,
    Json,
}

/// The document of a canonical tree. `escape`: what is printed will be read with interpolation, so a dollar sign is
/// doubled.
pub(crate) fn document(root: &Node, record: &'static Record, format: Format, escape: bool) -> Document {
    // In JSON, Docker Compose leaves `x-` keys out below the top level.
    let mut printer = Printer { format, escape, extensions: true, typed: true };
    let Value::Map(map) = &root.value else {
        return printer.node(root, &Shape::Any);
    };
    if format == Format::Yaml {
        return printer.record(map, record);
    }
    let others = map.iter().filter(|(key, _)| record.field(key).is_none());
    let others: Vec<_> =
        others.map(|(key, entry)| (key.clone(), printer.node(&entry.node, &Shape::Any))).collect();
    printer.extensions = false;
    let Document::Map(mut out) = printer.record(map, record) else {
        return Document::Null;
    };
    out.extend(others);
    out.sort_keys();
    Document::Map(out)
}

/// A service as Go's encoder writes it into JSON, without what belongs to the text around it.
pub(crate) fn service(service: &Node) -> Document {
    let printer = Printer { format: Format::Json, escape: false, extensions: false, typed: true };
    printer.node(service, &Shape::Record(&SERVICE))
}

/// The document of a tree whose expressions are kept: Docker Compose prints it before it has brought it into its types.
pub(crate) fn untyped(root: &Node, record: &'static Record) -> Document {
    let printer = Printer { format: Format::Yaml, escape: false, extensions: true, typed: false };
    printer.node(root, &Shape::Record(record))
}

struct Printer {
    format: Format,
    /// As Go's types print themselves.
    typed: bool,
    escape: bool,
    /// `x-` keys that are none of ours are printed.
    extensions: bool,
}

impl Printer {
    fn node(&self, node: &Node, shape: &Shape) -> Document {
        match (&node.value, shape) {
            (_, Shape::OrNull(shape) | Shape::Either(_, shape)) => self.node(node, shape),
            (_, Shape::Short(conversion) | Shape::Late(conversion)) => self.node(node, &conversion.long),
            (Value::Map(map), Shape::Record(record)) => self.record(map, record),
            (Value::Map(map), Shape::Map(value) | Shape::Names(value)) => Document::Map(
                self.sorted(map).map(|(key, node)| (self.key(key), self.node(node, value))).collect(),
            ),
            (Value::Map(map), _) => Document::Map(
                self.sorted(map).map(|(key, node)| (self.key(key), self.node(node, &Shape::Any))).collect(),
            ),
            (Value::List(items), Shape::List(item) | Shape::Set(item)) => {
                Document::List(items.iter().map(|node| self.node(node, item)).collect())
            }
            // An empty list of Go's that nothing is known of.
            (Value::List(items), Shape::Any) if items.is_empty() && self.format == Format::Json => {
                Document::Null
            }
            (Value::List(items), _) => {
                Document::List(items.iter().map(|node| self.node(node, &Shape::Any)).collect())
            }
            (Value::Scalar(scalar), _) => self.scalar(scalar),
        }
    }

    fn record(&self, map: &Map, record: &Record) -> Document {
        let mut out = IndexMap::new();
        let (own, plain): (Vec<&Field>, Vec<&Field>) =
            record.fields.iter().partition(|field| field.key.starts_with("x-"));
        for field in plain {
            self.field(map, field, &mut out);
        }
        // Keys of ours are among the other `x-` keys, by name.
        let mut extensions: BTreeMap<&str, Option<&Field>> =
            own.iter().map(|field| (field.key, Some(*field))).collect();
        if self.extensions {
            let others = map.keys().filter(|key| record.field(key).is_none());
            extensions.extend(others.map(|key| (key.as_str(), None)));
        }
        for (key, field) in extensions {
            match (field, map.get(key)) {
                (Some(field), _) => self.field(map, field, &mut out),
                (None, Some(entry)) => drop(out.insert(key.to_owned(), self.node(&entry.node, &Shape::Any))),
                (None, None) => {}
            }
        }
        Document::Map(out)
    }

    fn field(&self, map: &Map, field: &Field, out: &mut IndexMap<String, Document>) {
        let given = map.get(field.key).map(|entry| match field.print {
            Print::As(show) if self.typed => self.node(&show(&entry.node), &field.shape),
            _ => self.node(&entry.node, &field.shape),
        });
        if !self.typed {
            let given = given.filter(|_| !matches!(field.print, Print::Never));
            out.extend(given.map(|value| (field.key.to_owned(), value)));
            return;
        }
        let json = self.format == Format::Json;
        let mut name = field.key;
        let shown = match field.print {
            Print::Untyped | Print::Never => None,
            Print::Given => given,
            Print::As(_) => given.filter(|value| !is_empty(value, &field.shape)),
            Print::Filled => given.filter(|value| !is_empty(value, &field.shape)),
            Print::FilledInYaml => given.filter(|value| !json && !is_empty(value, &field.shape)),
            Print::GivenInYaml => given.filter(|value| !json || !is_empty(value, &field.shape)),
            Print::NullInJson if json => Some(given.unwrap_or(Document::Null)),
            Print::NullInJson => given.filter(|value| !matches!(value, Document::Null)),
            Print::EmptyInJson if json => Some(given.unwrap_or_else(|| self.empty(&field.shape))),
            Print::EmptyInJson => given.filter(|value| !is_empty(value, &field.shape)),
            Print::Named(other) => {
                if json {
                    name = other;
                }
                given
            }
        };
        if let Some(value) = shown {
            out.insert(name.to_owned(), value);
        }
    }

    /// What is printed where a mapping was not given.
    fn empty(&self, shape: &Shape) -> Document {
        match shape {
            Shape::Record(record) => self.record(&Map::new(), record),
            _ => Document::Map(IndexMap::new()),
        }
    }

    /// Pairs in the order in which Go's encoders write them.
    fn sorted<'a>(&self, map: &'a Map) -> impl Iterator<Item = (&'a String, &'a Node)> {
        let mut sorted: Vec<(&String, &Node)> = map.iter().map(|(key, entry)| (key, &entry.node)).collect();
        match self.format {
            Format::Yaml => sorted.sort_by(|one, other| natural(one.0, other.0)),
            Format::Json => sorted.sort_by_key(|(key, _)| *key),
        }
        sorted.into_iter()
    }

    /// Docker Compose doubles the dollar signs of the whole text.
    fn key(&self, key: &str) -> String {
        if self.escape { key.replace('$', "$$") } else { key.to_owned() }
    }

    fn scalar(&self, scalar: &Scalar) -> Document {
        if let Some(time) = scalar.timestamp() {
            return Document::Text(time);
        }
        if let Some(value) = scalar.unsigned() {
            return Document::Int(value.into());
        }
        match scalar.resolve() {
            Resolved::Null => Document::Null,
            Resolved::Bool(value) => Document::Bool(value),
            Resolved::Int(value) => Document::Int(value.into()),
            Resolved::Float(value) => Document::Float(value),
            Resolved::Text(text) if self.escape => Document::Text(text.replace('$', "$$")),
            Resolved::Text(text) => Document::Text(text.to_owned()),
        }
    }
}

/// What Go's `omitempty` leaves out.
fn is_empty(value: &Document, shape: &Shape) -> bool {
    if let Shape::Short(conversion) | Shape::Late(conversion) = shape {
        return is_empty(value, &conversion.long);
    }
    match value {
        Document::Text(text) => match shape {
            Shape::Bytes | Shape::BytesOrFraction | Shape::BytesText | Shape::BytesOrMinusOne => text == "0",
            Shape::Duration => text == "0s",
            _ => text.is_empty(),
        },
        Document::Null => true,
        Document::Bool(value) => !value,
        Document::Int(value) => *value == 0,
        Document::Float(value) => *value == 0.0,
        Document::List(items) => items.is_empty(),
        Document::Map(map) => map.is_empty(),
    }
}
