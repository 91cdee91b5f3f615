//! YAML merge keys: `<<: *base` and `<<: [*a, *b]`. Keys beside `<<` win, then earlier mappings over later ones.

use super::{Entry, Map, Node, Value};
use crate::diagnostic::Report;

/// Puts what `<<` names below the mapping's own keys.
pub(super) fn apply(own: &mut Map, merged: Vec<Node>, report: &mut Report) {
    for node in merged {
        match node.value {
            Value::Map(map) => fill(own, map),
            Value::List(items) => {
                for item in items {
                    let (span, kind) = (item.span, item.kind());
                    match item.value {
                        Value::Map(map) => fill(own, map),
                        Value::Scalar(_) | Value::List(_) => wrong(span, kind, report),
                    }
                }
            }
            Value::Scalar(_) => wrong(node.span, node.kind(), report),
        }
    }
}

fn fill(own: &mut Map, map: Map) {
    for (key, Entry { key: span, node }) in map {
        own.entry(key).or_insert(Entry { key: span, node });
    }
}

fn wrong(span: crate::source::Span, kind: &str, report: &mut Report) {
    report
        .error(span, format!("`<<` must be a mapping or a list of mappings, not {kind}"))
        .help("name an anchored mapping: `<<: *anchor`");
}
