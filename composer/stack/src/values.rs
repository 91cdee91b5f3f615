//! Values of the canonical tree as Rust's types. The table has looked at them already, so what is of another type is
//! as good as not there.

use std::time::Duration;

use crate::duration;
use crate::source::Span;
use crate::yaml::Node;

/// A value with its place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct At<T> {
    pub value: T,
    pub span: Span,
}

impl<T> At<T> {
    /// A value at the place of `node`.
    pub fn new(node: &Node, value: T) -> Self {
        Self { value, span: node.span }
    }
}

impl At<i64> {
    /// A number that no file says.
    pub fn nowhere(value: u64) -> Self {
        Self { value: i64::try_from(value).unwrap_or(i64::MAX), span: Span::NOWHERE }
    }
}

/// A whole number: amounts of bytes and some counts are strings of digits.
pub(crate) fn whole(node: &Node) -> Option<i64> {
    node.int_value().or_else(|| node.text_value()?.trim().parse().ok())
}

/// A number, perhaps written as a string.
pub(crate) fn number(node: &Node) -> Option<f64> {
    let value: Option<f64> = node.float_value().or_else(|| node.text_value()?.trim().parse().ok());
    value.filter(|value| value.is_finite())
}

/// A boolean; `false` where there is none.
pub(crate) fn flag(node: Option<&Node>) -> bool {
    node.and_then(Node::bool_value).unwrap_or(false)
}

/// A string.
pub(crate) fn text(node: Option<&Node>) -> Option<String> {
    node.and_then(Node::text_value).map(str::to_owned)
}

/// Any scalar as a string: what a user wrote bare may look like a number.
pub(crate) fn scalar(node: &Node) -> Option<String> {
    match &node.value {
        crate::yaml::Value::Scalar(scalar) if !node.is_null() => Some(scalar.to_text()),
        crate::yaml::Value::Scalar(_) | crate::yaml::Value::List(_) | crate::yaml::Value::Map(_) => None,
    }
}

/// The strings of a list; `None` where there is no list.
pub(crate) fn texts(node: &Node) -> Option<Vec<String>> {
    match &node.value {
        crate::yaml::Value::List(items) => Some(items.iter().filter_map(scalar).collect()),
        crate::yaml::Value::Scalar(_) | crate::yaml::Value::Map(_) => None,
    }
}

/// A span of time.
pub(crate) fn time(node: &Node) -> Option<Duration> {
    duration::parse(node.text_value()?)
}
