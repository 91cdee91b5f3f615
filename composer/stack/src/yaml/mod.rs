//! The spanned tree: YAML with a place for every key and value, anchors and merge keys already resolved.

mod anchors;
mod build;
mod explain;
mod flow;
pub(crate) mod limits;
mod merge_keys;
mod offsets;
mod printable;
mod scalar;

use indexmap::IndexMap;

use crate::source::{Sources, Span, StepKind};

pub(crate) use build::parse;
pub(crate) use scalar::Resolved;

/// A value with its place.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub span: Span,
    pub tag: Tag,
    pub value: Value,
}

/// What a value says to those who merge and check it: Compose's own tags, and one of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tag {
    None,
    /// `!reset`: take the attribute away.
    Reset,
    /// `!override`: replace instead of merging.
    Override,
    /// No tag of a file's: something of it, or all of a scalar or list, was wrong and is left out, which has been said.
    Damaged,
}

/// What a node is.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Scalar(Scalar),
    List(Vec<Node>),
    Map(Map),
}

/// A mapping in the file's order.
pub(crate) type Map = IndexMap<String, Entry>;

/// One pair of a mapping.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// The key's place.
    pub key: Span,
    pub node: Node,
}

/// A scalar as written; what it means is asked with [`Scalar::resolve`].
#[derive(Clone, Debug)]
pub(crate) struct Scalar {
    pub text: String,
    /// Written bare, so that `5`, `true` and nothing at all are not strings.
    pub plain: bool,
    /// Variables were put in: the text is not what the file shows.
    pub interpolated: bool,
}

impl Scalar {
    /// A string.
    pub fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), plain: false, interpolated: false }
    }

    /// A number, boolean or null.
    pub fn bare(value: impl ToString) -> Self {
        Self { text: value.to_string(), plain: true, interpolated: false }
    }
}

impl Node {
    /// A string that the file does not hold literally, at the place it was made from.
    pub fn text(span: Span, text: impl Into<String>) -> Self {
        Self { span, tag: Tag::None, value: Value::Scalar(Scalar::text(text)) }
    }

    /// A number or boolean that the file does not hold literally.
    pub fn bare(span: Span, value: impl ToString) -> Self {
        Self { span, tag: Tag::None, value: Value::Scalar(Scalar::bare(value)) }
    }

    /// Null, at the place it was made from.
    pub fn null(span: Span) -> Self {
        Self::bare(span, "")
    }

    /// A mapping.
    pub fn map(span: Span, map: Map) -> Self {
        Self { span, tag: Tag::None, value: Value::Map(map) }
    }

    pub fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar(scalar) if matches!(scalar.resolve(), Resolved::Null))
    }

    /// The mapping inside, if it is one.
    pub fn as_map(&self) -> Option<&Map> {
        match &self.value {
            Value::Map(map) => Some(map),
            Value::Scalar(_) | Value::List(_) => None,
        }
    }

    /// The value of a key, where this is a mapping that has it.
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.as_map()?.get(key).map(|entry| &entry.node)
    }

    /// The value of a key, to be changed.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Self> {
        match &mut self.value {
            Value::Map(map) => map.get_mut(key).map(|entry| &mut entry.node),
            Value::Scalar(_) | Value::List(_) => None,
        }
    }

    /// The pairs of a mapping; none where this is none.
    pub fn entries(&self) -> impl Iterator<Item = (&String, &Entry)> {
        self.as_map().into_iter().flatten()
    }

    /// The items of a list; none where this is none.
    pub fn items(&self) -> &[Self] {
        match &self.value {
            Value::List(items) => items,
            Value::Scalar(_) | Value::Map(_) => &[],
        }
    }

    /// The string inside, if it is one.
    pub fn text_value(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(scalar) => match scalar.resolve() {
                Resolved::Text(text) => Some(text),
                Resolved::Null | Resolved::Bool(_) | Resolved::Int(_) | Resolved::Float(_) => None,
            },
            Value::List(_) | Value::Map(_) => None,
        }
    }

    /// The boolean inside, if it is one.
    pub fn bool_value(&self) -> Option<bool> {
        match &self.value {
            Value::Scalar(scalar) => match scalar.resolve() {
                Resolved::Bool(value) => Some(value),
                Resolved::Null | Resolved::Text(_) | Resolved::Int(_) | Resolved::Float(_) => None,
            },
            Value::List(_) | Value::Map(_) => None,
        }
    }

    /// The whole number inside, if it is one.
    pub fn int_value(&self) -> Option<i64> {
        match &self.value {
            Value::Scalar(scalar) => match scalar.resolve() {
                Resolved::Int(value) => Some(value),
                Resolved::Null | Resolved::Text(_) | Resolved::Bool(_) | Resolved::Float(_) => None,
            },
            Value::List(_) | Value::Map(_) => None,
        }
    }

    /// The number inside, if it is one.
    pub fn float_value(&self) -> Option<f64> {
        match &self.value {
            Value::Scalar(scalar) => match scalar.resolve() {
                #[expect(clippy::cast_precision_loss, reason = "numbers of CPUs and the like are small")]
                Resolved::Int(value) => Some(value as f64),
                Resolved::Float(value) => Some(value),
                Resolved::Null | Resolved::Text(_) | Resolved::Bool(_) => None,
            },
            Value::List(_) | Value::Map(_) => None,
        }
    }

    /// Notes of everything below that it came here by one more step.
    pub fn bring(&mut self, sources: &mut Sources, kind: StepKind, at: Span) {
        let mut last = None;
        self.rewind(&mut |span: &mut Span| {
            let (before, after) = match last {
                Some((before, after)) if before == span.way => (before, after),
                _ => (span.way, sources.step(span.way, kind, at)),
            };
            last = Some((before, after));
            span.way = after;
        });
    }

    fn rewind(&mut self, each: &mut impl FnMut(&mut Span)) {
        each(&mut self.span);
        match &mut self.value {
            Value::Map(map) => {
                for entry in map.values_mut() {
                    each(&mut entry.key);
                    entry.node.rewind(each);
                }
            }
            Value::List(items) => items.iter_mut().for_each(|item| item.rewind(each)),
            Value::Scalar(_) => {}
        }
    }

    /// How much it holds: values, keys and 64-byte pieces of text.
    pub fn weight(&self) -> usize {
        match &self.value {
            Value::Scalar(scalar) => 1 + scalar.text.len() / 64,
            Value::List(items) => 1 + items.iter().map(Self::weight).sum::<usize>(),
            Value::Map(map) => 1 + map.values().map(|entry| 1 + entry.node.weight()).sum::<usize>(),
        }
    }

    /// How users call what this is.
    pub fn kind(&self) -> &'static str {
        match &self.value {
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
            Value::Scalar(scalar) => match scalar.resolve() {
                Resolved::Null => "nothing",
                Resolved::Bool(_) => "a boolean",
                Resolved::Int(_) | Resolved::Float(_) => "a number",
                Resolved::Text(_) => "a string",
            },
        }
    }
}
