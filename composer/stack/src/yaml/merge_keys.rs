//! YAML merge keys: `<<: *base` and `<<: [*a, *b]`. Keys beside `<<` win, then earlier mappings over later ones.

use super::{Entry, Map, Node, Value};
use crate::source::Span;

/// Puts what `<<` names below the mapping's own keys; places and kinds of what cannot be merged come back.
pub(super) fn apply(own: &mut Map, merged: Vec<Node>) -> Vec<(Span, &'static str)> {
    let mut wrong = Vec::new();
    for node in merged {
        match node.value {
            Value::Map(map) => fill(own, map),
            Value::List(items) => {
                for item in items {
                    let (span, kind) = (item.span, item.kind());
                    match item.value {
                        Value::Map(map) => fill(own, map),
                        Value::Scalar(_) | Value::List(_) => wrong.push((span, kind)),
                    }
                }
            }
            Value::Scalar(_) => wrong.push((node.span, node.kind())),
        }
    }
    wrong
}

fn fill(own: &mut Map, map: Map) {
    for (key, Entry { key: span, node }) in map {
        own.entry(key).or_insert(Entry { key: span, node });
    }
}
