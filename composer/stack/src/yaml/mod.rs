//! The spanned tree: YAML with a place for every key and value, anchors and merge keys already resolved.

mod anchors;
mod build;
mod explain;
pub(crate) mod limits;
mod merge_keys;
mod offsets;
mod scalar;

use indexmap::IndexMap;

use crate::source::Span;

pub(crate) use build::parse;
pub(crate) use scalar::Resolved;

/// A value with its place.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub span: Span,
    pub tag: Tag,
    pub value: Value,
}

/// Compose's own tags, which tell merging what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tag {
    None,
    /// `!reset`: take the attribute away.
    Reset,
    /// `!override`: replace instead of merging.
    Override,
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

impl Node {
    /// A string that the file does not hold literally, at the place it was made from.
    pub fn text(span: Span, text: impl Into<String>) -> Self {
        let scalar = Scalar { text: text.into(), plain: false, interpolated: false };
        Self { span, tag: Tag::None, value: Value::Scalar(scalar) }
    }

    /// Null, at the place it was made from.
    pub fn null(span: Span) -> Self {
        let scalar = Scalar { text: String::new(), plain: true, interpolated: false };
        Self { span, tag: Tag::None, value: Value::Scalar(scalar) }
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
