//! The pieces that every decoder is made of: a mapping whose keys are taken one by one, and typed scalars.

use std::collections::BTreeMap;
use std::time::Duration;

use super::project::{At, Extensions};
use crate::diagnostic::{Found, Report};
use crate::suggest::nearest;
use crate::yaml::{Entry, Map, Node, Resolved, Scalar, Value};
use crate::{duration, size};

/// A mapping that is being decoded.
pub(crate) struct Fields<'a> {
    map: &'a Map,
    taken: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    /// Opens `node`; says so where it is no mapping.
    pub fn open(name: &str, node: &'a Node, report: &mut Report) -> Option<Self> {
        let map = expect_map(name, node, report)?;
        Some(Self { map, taken: Vec::new() })
    }

    /// Takes a key.
    pub fn take(&mut self, key: &'static str) -> Option<&'a Entry> {
        self.taken.push(key);
        self.map.get(key)
    }

    /// Takes a key and decodes it.
    pub fn with<T>(
        &mut self,
        key: &'static str,
        report: &mut Report,
        decode: impl FnOnce(&str, &'a Node, &mut Report) -> Option<T>,
    ) -> Option<T> {
        let entry = self.take(key)?;
        decode(key, &entry.node, report)
    }

    /// Refuses every key that was not taken; `known` are those of the specification. Hands back the `x-` keys.
    pub fn finish(self, owner: &str, known: &[&str], report: &mut Report) -> Extensions {
        let mut extensions = Extensions::new();
        for (key, entry) in self.map {
            if self.taken.contains(&key.as_str()) {
                continue;
            }
            if key.starts_with("x-") {
                extensions.insert(key.clone(), entry.node.clone());
            } else if known.contains(&key.as_str()) {
                report.error(entry.key, format!("`{key}` is not supported yet")).label(format!("in {owner}"));
            } else {
                let words = known.iter().chain(&self.taken).copied().filter(|word| !word.starts_with("x-"));
                let near = nearest(key, words);
                let found =
                    report.error(entry.key, format!("unknown key `{key}`")).label(format!("in {owner}"));
                match near {
                    Some(near) => found.help(format!("did you mean `{near}`?")),
                    None => found.help("keys of your own begin with `x-`"),
                };
            }
        }
        extensions
    }
}

/// The mapping of `node`.
pub(crate) fn expect_map<'a>(name: &str, node: &'a Node, report: &mut Report) -> Option<&'a Map> {
    let map = node.as_map();
    if map.is_none() {
        wrong_type(name, "a mapping", node, report);
    }
    map
}

/// The items of `node`.
pub(crate) fn expect_list<'a>(name: &str, node: &'a Node, report: &mut Report) -> Option<&'a [Node]> {
    match &node.value {
        Value::List(items) => Some(items),
        Value::Map(_) | Value::Scalar(_) => {
            wrong_type(name, "a list", node, report);
            None
        }
    }
}

/// Says that `name` is something else than it must be.
pub(crate) fn wrong_type(name: &str, expected: &str, node: &Node, report: &mut Report) {
    if node.is_null() {
        report
            .error(node.span, format!("`{name}` has no value"))
            .help(format!("give it {expected}, or remove the line"));
        return;
    }
    let message = format!("`{name}` must be {expected}, not {}", node.kind());
    let found = report.error(node.span, message);
    if let Value::Scalar(scalar) = &node.value
        && expected == "a string"
    {
        found.help(format!("write it in quotes: \"{}\"", scalar.text));
    }
}

/// Says that a value cannot be read; adds what it is after interpolation.
pub(crate) fn bad_value<'r>(node: &Node, message: String, report: &'r mut Report) -> Found<'r> {
    let found = report.error(node.span, message);
    match &node.value {
        Value::Scalar(Scalar { text, interpolated: true, .. }) => {
            found.note(format!("the value is `{text}` after interpolation"))
        }
        Value::Scalar(_) | Value::List(_) | Value::Map(_) => found,
    }
}

fn expect_scalar<'a>(name: &str, expected: &str, node: &'a Node, report: &mut Report) -> Option<&'a Scalar> {
    match &node.value {
        Value::Scalar(scalar) if !node.is_null() => Some(scalar),
        Value::Scalar(_) | Value::List(_) | Value::Map(_) => {
            wrong_type(name, expected, node, report);
            None
        }
    }
}

/// A string: numbers and booleans have to be quoted.
pub(crate) fn string(name: &str, node: &Node, report: &mut Report) -> Option<String> {
    let scalar = expect_scalar(name, "a string", node, report)?;
    match scalar.resolve() {
        Resolved::Text(text) => Some(text.to_owned()),
        Resolved::Null | Resolved::Bool(_) | Resolved::Int(_) | Resolved::Float(_) => {
            wrong_type(name, "a string", node, report);
            None
        }
    }
}

/// A string with its place.
pub(crate) fn string_at(name: &str, node: &Node, report: &mut Report) -> Option<At<String>> {
    string(name, node, report).map(|value| at(node, value))
}

/// Any scalar as text; nothing at all is an empty string.
pub(crate) fn text(name: &str, node: &Node, report: &mut Report) -> Option<String> {
    match &node.value {
        Value::Scalar(scalar) => Some(scalar.to_text()),
        Value::List(_) | Value::Map(_) => {
            wrong_type(name, "a string", node, report);
            None
        }
    }
}

/// A boolean; YAML 1.1's words count, as they do for Docker Compose.
pub(crate) fn boolean(name: &str, node: &Node, report: &mut Report) -> Option<bool> {
    let scalar = expect_scalar(name, "true or false", node, report)?;
    match scalar.text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "y" | "on" => Some(true),
        "false" | "no" | "n" | "off" => Some(false),
        _ => {
            bad_value(node, format!("`{name}` must be true or false"), report);
            None
        }
    }
}

/// A whole number in `range`.
pub(crate) fn integer(
    name: &str,
    node: &Node,
    range: std::ops::RangeInclusive<i64>,
    report: &mut Report,
) -> Option<At<i64>> {
    let scalar = expect_scalar(name, "a whole number", node, report)?;
    let value = match scalar.resolve() {
        Resolved::Int(value) => Some(value),
        Resolved::Text(text) => text.trim().parse().ok(),
        Resolved::Null | Resolved::Bool(_) | Resolved::Float(_) => None,
    };
    match value {
        Some(value) if range.contains(&value) => Some(at(node, value)),
        Some(_) => {
            let (least, most) = (range.start(), range.end());
            let limits = if *most >= i64::from(u32::MAX) {
                format!("at least {least}")
            } else {
                format!("{least} to {most}")
            };
            bad_value(node, format!("`{name}` must be {limits}"), report);
            None
        }
        None => {
            bad_value(node, format!("`{name}` must be a whole number"), report);
            None
        }
    }
}

/// A number of things.
pub(crate) fn count(name: &str, node: &Node, report: &mut Report) -> Option<At<u32>> {
    let At { value, span } = integer(name, node, 0..=i64::from(u32::MAX), report)?;
    u32::try_from(value).ok().map(|value| At { value, span })
}

/// A number that is not negative.
pub(crate) fn number(name: &str, node: &Node, report: &mut Report) -> Option<At<f64>> {
    let scalar = expect_scalar(name, "a number", node, report)?;
    let value = match scalar.resolve() {
        Resolved::Int(value) => Some(value as f64),
        Resolved::Float(value) => Some(value),
        Resolved::Text(text) => text.trim().parse().ok(),
        Resolved::Null | Resolved::Bool(_) => None,
    };
    match value.filter(|value: &f64| value.is_finite() && *value >= 0.0) {
        Some(value) => Some(at(node, value)),
        None => {
            bad_value(node, format!("`{name}` must be a number of at least 0"), report);
            None
        }
    }
}

/// An amount of bytes.
pub(crate) fn bytes(name: &str, node: &Node, report: &mut Report) -> Option<At<u64>> {
    let scalar = expect_scalar(name, "an amount such as 64m", node, report)?;
    let value = match scalar.resolve() {
        Resolved::Int(value) => u64::try_from(value).ok(),
        Resolved::Text(text) => size::parse(text),
        Resolved::Null | Resolved::Bool(_) | Resolved::Float(_) => None,
    };
    if value.is_none() {
        let message = format!("`{}` is not an amount of memory", scalar.text);
        bad_value(node, message, report).help("write a number with b, k, m, g or t: `64m`, `1.5g`");
    }
    value.map(|value| at(node, value))
}

/// A span of time.
pub(crate) fn duration(name: &str, node: &Node, report: &mut Report) -> Option<Duration> {
    let scalar = expect_scalar(name, "a duration such as 10s", node, report)?;
    let value = duration::parse(&scalar.text);
    if value.is_none() {
        let message = format!("`{}` is not a duration", scalar.text);
        bad_value(node, message, report).help("write numbers with ns, us, ms, s, m or h: `10s`, `1m30s`");
    }
    value
}

/// A list of strings; other scalars count as strings.
pub(crate) fn strings(name: &str, node: &Node, report: &mut Report) -> Option<Vec<String>> {
    let items = expect_list(name, node, report)?;
    let texts: Vec<_> = items.iter().map(|item| text(name, item, report)).collect();
    texts.into_iter().collect()
}

/// `KEY: value` pairs, or `KEY=value` items that merging has made into pairs.
pub(crate) fn pairs(
    name: &str,
    node: &Node,
    report: &mut Report,
) -> Option<BTreeMap<String, At<Option<String>>>> {
    if let Value::List(items) = &node.value {
        // Only a list with something else than strings is still a list here.
        for item in items.iter().filter(|item| item.is_null() || !matches!(item.value, Value::Scalar(_))) {
            let message = format!("an item of `{name}` must be a string, not {}", item.kind());
            report
                .error(item.span, message)
                .help("write `- KEY=value`, or leave the dashes away: `KEY: value`");
        }
        return None;
    }
    let mut out = BTreeMap::new();
    for (key, entry) in expect_map(name, node, report)? {
        if key.is_empty() {
            report.error(entry.key, format!("a key of `{name}` is empty"));
            continue;
        }
        let value =
            if entry.node.is_null() { None } else { text(&format!("{name}.{key}"), &entry.node, report) };
        out.insert(key.clone(), At { value, span: entry.node.span });
    }
    Some(out)
}

/// Labels: a missing value is an empty one.
pub(crate) fn labels(name: &str, node: &Node, report: &mut Report) -> Option<BTreeMap<String, String>> {
    let pairs = pairs(name, node, report)?;
    Some(pairs.into_iter().map(|(key, at)| (key, at.value.unwrap_or_default())).collect())
}

/// A value at the place of `node`.
pub(crate) fn at<T>(node: &Node, value: T) -> At<T> {
    At { value, span: node.span }
}
