//! Several documents to one, by Compose's rules: mappings deeply, some lists by key, commands replaced, other lists
//! appended; `!reset` takes away, `!override` replaces.

use crate::decode::mounts::short_target;
use crate::diagnostic::Report;
use crate::source::Span;
use crate::yaml::{Entry, Map, Node, Tag, Value};

/// How two values of one attribute become one.
#[derive(Clone, Copy)]
enum Rule {
    /// Mappings deeply, lists appended, scalars replaced.
    Plain,
    /// The later one alone.
    Replace,
    /// A list of `KEY=value` is a mapping.
    Keyed,
    /// A list of names is a mapping without values.
    Named,
    /// A list of names is a mapping to the default condition.
    Dependencies,
    /// A single string is a list of one; repetitions are dropped.
    Strings,
    /// Mounts with the same target replace each other.
    Mounts,
}

fn rule(path: &[String]) -> Rule {
    let parts: Vec<&str> = path.iter().map(String::as_str).collect();
    match parts.as_slice() {
        ["services", _, "command" | "entrypoint"] | ["services", _, "healthcheck", "test"] => Rule::Replace,
        ["services", _, "environment" | "labels"]
        | ["services", _, "build", "args" | "labels"]
        | ["volumes" | "networks", _, "labels"] => Rule::Keyed,
        ["services", _, "networks"] => Rule::Named,
        ["services", _, "depends_on"] => Rule::Dependencies,
        ["services", _, "env_file" | "tmpfs"] => Rule::Strings,
        ["services", _, "volumes"] => Rule::Mounts,
        _ => Rule::Plain,
    }
}

/// Merges `documents` in order; `None` where there is nothing.
pub(crate) fn all(documents: Vec<Node>, report: &mut Report) -> Option<Node> {
    let mut merged: Option<Node> = None;
    for mut document in documents {
        if document.is_null() {
            continue;
        }
        if document.as_map().is_none() {
            report
                .error(document.span, format!("a Compose file must be a mapping, not {}", document.kind()))
                .help("begin with `services:`");
            continue;
        }
        shape(&mut document, &mut Vec::new());
        merged = Some(match merged {
            None => document,
            Some(base) => two(base, document, &mut Vec::new(), report),
        });
    }
    if let Some(node) = &mut merged {
        settle(node);
    }
    merged
}

/// No rule reaches deeper: `services.NAME.build.args`.
const DEEPEST: usize = 4;

/// Brings short forms into the form that merges; what has the wrong type stays for the decoder to refuse.
fn shape(node: &mut Node, path: &mut Vec<String>) {
    let span = node.span;
    let longer = match (rule(path), &node.value) {
        (Rule::Keyed, Value::List(items)) => pairs(items, |item, text| match text.split_once('=') {
            Some((key, value)) => (key.to_owned(), Node::text(item.span, value)),
            None => (text.to_owned(), Node::null(item.span)),
        })
        .map(Value::Map),
        (Rule::Named, Value::List(items)) => {
            pairs(items, |item, text| (text.to_owned(), Node::null(item.span))).map(Value::Map)
        }
        (Rule::Dependencies, Value::List(items)) => {
            pairs(items, |item, text| (text.to_owned(), started(item.span))).map(Value::Map)
        }
        (Rule::Strings, Value::Scalar(scalar)) if !node.is_null() => {
            Some(Value::List(vec![Node { span, tag: Tag::None, value: Value::Scalar(scalar.clone()) }]))
        }
        (_, Value::Map(_) | Value::List(_) | Value::Scalar(_)) => None,
    };
    if let Some(longer) = longer {
        node.value = longer;
    } else if let Value::Map(map) = &mut node.value
        && path.len() < DEEPEST
    {
        for (key, entry) in map.iter_mut() {
            path.push(key.clone());
            shape(&mut entry.node, path);
            path.pop();
        }
    }
}

fn started(span: Span) -> Node {
    let condition = Entry { key: span, node: Node::text(span, "service_started") };
    Node::map(span, Map::from_iter([("condition".to_owned(), condition)]))
}

/// A mapping of a list of strings, the last of equal keys winning; `None` where an item is no string.
fn pairs(items: &[Node], make: impl Fn(&Node, &str) -> (String, Node)) -> Option<Map> {
    let mut map = Map::new();
    for item in items {
        let Value::Scalar(scalar) = &item.value else {
            return None;
        };
        if item.is_null() {
            return None;
        }
        let (key, node) = make(item, &scalar.to_text());
        map.insert(key, Entry { key: item.span, node });
    }
    Some(map)
}

fn two(base: Node, over: Node, path: &mut Vec<String>, report: &mut Report) -> Node {
    if over.tag != Tag::None || base.tag == Tag::Reset {
        return over;
    }
    if over.is_null() {
        return base;
    }
    if base.is_null() {
        return over;
    }
    let rule = rule(path);
    let (base_span, over_span) = (base.span, over.span);
    let (base_kind, over_kind) = (base.kind(), over.kind());
    let value = match (rule, base.value, over.value) {
        (Rule::Replace, _, value) => value,
        (_, Value::Map(mut below), Value::Map(above)) => {
            for (key, entry) in above {
                let Some(old) = below.get_mut(&key) else {
                    below.insert(key, entry);
                    continue;
                };
                path.push(key);
                let base = std::mem::replace(&mut old.node, Node::null(entry.key));
                old.node = two(base, entry.node, path, report);
                old.key = entry.key;
                path.pop();
            }
            Value::Map(below)
        }
        (Rule::Mounts, Value::List(below), Value::List(above)) => Value::List(by_target(below, above)),
        (Rule::Strings, Value::List(mut below), Value::List(above)) => {
            for item in above {
                if !below.iter().any(|old| same_text(old, &item)) {
                    below.push(item);
                }
            }
            Value::List(below)
        }
        (_, Value::List(mut below), Value::List(above)) => {
            below.extend(above);
            Value::List(below)
        }
        (_, Value::Scalar(_), value @ Value::Scalar(_)) => value,
        (_, _, value) => {
            let name = path.last().map_or("", String::as_str);
            report
                .error(
                    over_span,
                    format!("`{name}` is {over_kind} here and {base_kind} in what it is merged with"),
                )
                .also(base_span, "merged with this");
            value
        }
    };
    Node { span: over_span, tag: Tag::None, value }
}

fn same_text(a: &Node, b: &Node) -> bool {
    matches!((&a.value, &b.value), (Value::Scalar(a), Value::Scalar(b)) if a.text == b.text)
}

fn by_target(mut below: Vec<Node>, above: Vec<Node>) -> Vec<Node> {
    for item in above {
        let place =
            target(&item).and_then(|new| below.iter().position(|old| target(old).as_ref() == Some(&new)));
        match place.and_then(|index| below.get_mut(index)) {
            Some(old) => *old = item,
            None => below.push(item),
        }
    }
    below
}

fn target(node: &Node) -> Option<String> {
    match &node.value {
        Value::Scalar(scalar) => Some(short_target(&scalar.text).to_owned()),
        Value::Map(map) => match &map.get("target")?.node.value {
            Value::Scalar(scalar) => Some(scalar.text.clone()),
            Value::List(_) | Value::Map(_) => None,
        },
        Value::List(_) => None,
    }
}

/// After merging: what is still marked `!reset` goes, the other marks have done their work.
fn settle(node: &mut Node) {
    node.tag = Tag::None;
    match &mut node.value {
        Value::Map(map) => {
            map.retain(|_, entry| entry.node.tag != Tag::Reset);
            map.values_mut().for_each(|entry| settle(&mut entry.node));
        }
        Value::List(items) => {
            items.retain(|item| item.tag != Tag::Reset);
            items.iter_mut().for_each(settle);
        }
        Value::Scalar(_) => {}
    }
}
