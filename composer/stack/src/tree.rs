//! Changes to the canonical tree: its mappings and lists, and values that nobody wrote.

use crate::diagnostic::Report;
use crate::environment::Environment;
use crate::source::StepKind;
use crate::yaml::{Entry, Map, Node, Value};

/// The mapping inside, to be changed.
pub(crate) fn map_mut(node: &mut Node) -> Option<&mut Map> {
    match &mut node.value {
        Value::Map(map) => Some(map),
        Value::Scalar(_) | Value::List(_) => None,
    }
}

/// The items inside, to be changed; none where this is no list.
pub(crate) fn items_mut(node: &mut Node) -> &mut [Node] {
    match &mut node.value {
        Value::List(items) => items,
        Value::Scalar(_) | Value::Map(_) => &mut [],
    }
}

/// Takes a mapping out of a tree; empty where there is none.
pub(crate) fn take_map(root: &mut Node, key: &str) -> Map {
    root.get_mut(key).and_then(map_mut).map(std::mem::take).unwrap_or_default()
}

/// The value that a path of keys leads to, to be changed.
pub(crate) fn at_mut<'a>(node: &'a mut Node, path: &[&str]) -> Option<&'a mut Node> {
    path.iter().try_fold(node, |node, key| node.get_mut(key))
}

/// Gives a key a value that nobody wrote, where it has none.
pub(crate) fn default(map: &mut Map, key: &str, mut node: Node) {
    node.span = node.span.implied();
    if !map.contains_key(key) {
        put(map, key, node);
    }
}

/// Gives a key a value.
pub(crate) fn put(map: &mut Map, key: &str, node: Node) {
    map.insert(key.to_owned(), Entry { key: node.span, node });
}

/// Gives the keys without a value those of the environment.
pub(crate) fn resolve_nulls(map: &mut Map, environment: &Environment, report: &mut Report) {
    for (name, entry) in map.iter_mut().filter(|(_, entry)| entry.node.is_null()) {
        let Some(value) = environment.get(name) else {
            continue;
        };
        let mut span = entry.node.span;
        let (kind, at) = match environment.definition(name) {
            Some(definition) => (StepKind::Variable, definition),
            None => (StepKind::Environment, entry.key),
        };
        span.way = report.sources.step(span.way, kind, at);
        entry.node = Node::text(span, value);
    }
}
