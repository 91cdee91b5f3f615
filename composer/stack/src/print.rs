//! The canonical tree as a document: what `config` prints. The order and the presence of keys are those of compose-go's
//! types, by the table ([`crate::spec::Print`]).

use std::collections::BTreeMap;

use indexmap::IndexMap;

use crate::emit::Document;
use crate::spec::{Print, Record, Shape};
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
    Printer { format, escape }.node(root, &Shape::Record(record))
}

struct Printer {
    format: Format,
    escape: bool,
}

impl Printer {
    fn node(&self, node: &Node, shape: &Shape) -> Document {
        match (&node.value, shape) {
            (_, Shape::OrNull(shape)) => self.node(node, shape),
            (_, Shape::Short(conversion)) => self.node(node, &conversion.long),
            (Value::Map(map), Shape::Record(record)) => self.record(map, record),
            (Value::Map(map), Shape::Map(value) | Shape::Names(value)) => {
                Document::Map(sorted(map).map(|(key, node)| (key.clone(), self.node(node, value))).collect())
            }
            (Value::Map(map), _) => Document::Map(
                sorted(map).map(|(key, node)| (key.clone(), self.node(node, &Shape::Any))).collect(),
            ),
            (Value::List(items), Shape::List(item)) => {
                Document::List(items.iter().map(|node| self.node(node, item)).collect())
            }
            (Value::List(items), _) => {
                Document::List(items.iter().map(|node| self.node(node, &Shape::Any)).collect())
            }
            (Value::Scalar(scalar), _) => self.scalar(scalar),
        }
    }

    fn record(&self, map: &Map, record: &Record) -> Document {
        let mut out = IndexMap::new();
        for field in record.fields {
            let given = map.get(field.key).map(|entry| self.node(&entry.node, &field.shape));
            let shown = match (field.print, given) {
                (Print::Never, _) | (Print::Filled | Print::Given, None) => None,
                (Print::Filled, Some(value)) => Some(value).filter(|value| !is_empty(value)),
                (Print::Given | Print::NullInJson | Print::EmptyInJson, Some(value)) => Some(value),
                (Print::NullInJson, None) => (self.format == Format::Json).then_some(Document::Null),
                (Print::EmptyInJson, None) => {
                    (self.format == Format::Json).then(|| Document::Map(IndexMap::new()))
                }
            };
            if let Some(value) = shown {
                out.insert(field.key.to_owned(), value);
            }
        }
        for (key, node) in sorted(map).filter(|(key, _)| record.field(key).is_none()) {
            out.insert(key.clone(), self.node(node, &Shape::Any));
        }
        Document::Map(out)
    }

    fn scalar(&self, scalar: &Scalar) -> Document {
        match scalar.resolve() {
            Resolved::Null => Document::Null,
            Resolved::Bool(value) => Document::Bool(value),
            Resolved::Int(value) => Document::Int(value),
            Resolved::Float(value) => Document::Float(value),
            Resolved::Text(text) if self.escape => Document::Text(text.replace('$', "$$")),
            Resolved::Text(text) => Document::Text(text.to_owned()),
        }
    }
}

fn sorted(map: &Map) -> impl Iterator<Item = (&String, &Node)> {
    let sorted: BTreeMap<&String, &Node> = map.iter().map(|(key, entry)| (key, &entry.node)).collect();
    sorted.into_iter()
}

fn is_empty(value: &Document) -> bool {
    match value {
        Document::Null => true,
        Document::Bool(value) => !value,
        Document::Int(value) => *value == 0,
        Document::Float(value) => *value == 0.0,
        Document::Text(text) => text.is_empty(),
        Document::List(items) => items.is_empty(),
        Document::Map(map) => map.is_empty(),
    }
}
