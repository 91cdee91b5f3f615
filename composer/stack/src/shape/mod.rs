//! A document brought into its canonical shape by [`crate::spec`]: unknown keys and wrong values are reported and left
//! out, short forms become long ones, paths absolute. What comes out holds to the table, so whoever reads it need
//! not look again.
//!
//! What can only be told once every file is merged is told by [`complete`]: keys that are missing, and keys without a
//! value, which an earlier file may have given one.

mod checks;
mod complete;
mod forms;
mod hosts;
mod mounts;
mod paths;
mod ports;
mod references;
mod scalar;
#[cfg(test)]
pub(crate) mod tests;

use std::path::Path;

use crate::diagnostic::{Found, REFUSED, Report};
use crate::source::Span;
use crate::spec::{FILE, Field, Form, Record, Shape};
use crate::suggest::slip;
use crate::yaml::{Map, Node, Scalar, Tag, Value};

pub(crate) use checks::*;
pub(crate) use complete::{Brought, complete};
pub(crate) use forms::*;
pub(crate) use hosts::HOSTS;
pub(crate) use mounts::{MOUNT, TMPFS_MODE, TMPFS_SIZE, volume_resource};
pub(crate) use paths::*;
pub(crate) use ports::{PORTS, parse as short_ports};
pub(crate) use references::*;

/// A value with a short form.
pub(crate) struct Conversion {
    /// What may be written, for messages: "a string or a mapping".
    pub what: &'static str,
    /// The short forms, for the schema.
    pub forms: &'static [Shape],
    /// Makes the long form of any of them; `None` where it has reported why not. What it cannot make anything of it
    /// hands back as it is.
    pub lengthen: fn(Node, &str, &mut Shaper<'_>) -> Option<Node>,
    /// The long form.
    pub long: Shape,
}

/// What shaping needs to know.
pub(crate) struct Shaper<'a> {
    /// Where relative paths begin.
    pub folder: &'a Path,
    /// What `~` stands for.
    pub home: Option<&'a Path>,
    /// Paths are made absolute.
    pub resolve_paths: bool,
    /// What Docker Compose takes though nobody can run it is a warning, and stays as it is.
    pub lenient: bool,
    /// Expressions have been replaced: what has a `$` in it is no expression.
    pub interpolated: bool,
    /// How many ports the short forms of the project may still become; `None` once an error has been given for it.
    pub ports: &'a mut Option<usize>,
    pub report: &'a mut Report,
}

impl Shaper<'_> {
    /// Shapes a value that messages call `name`; `None` where nothing of it can be used.
    pub fn shape(&mut self, node: Node, shape: &'static Shape, name: &str) -> Option<Node> {
        // What is taken away may be anything.
        if node.tag == Tag::Reset {
            return Some(node);
        }
        if node.tag == Tag::Damaged && node.as_map().is_none() {
            return None;
        }
        match shape {
            Shape::Short(conversion) => self.short(node, conversion, name),
            Shape::Late(conversion) if self.interpolated => self.short(node, conversion, name),
            Shape::Late(conversion) => self.short(node.clone(), conversion, name).map(|_| node),
            // A path is made absolute whatever the expression in it may become.
            Shape::Path if !self.interpolated => self.scalar(node, shape, name),
            _ if !self.interpolated && is_expression(&node) => Some(node),
            Shape::Any => Some(node),
            Shape::OrNull(_) if node.is_null() => Some(node),
            Shape::OrNull(shape) => self.shape(node, shape, name),
            Shape::List(item) => self.list(node, item, name),
            Shape::Set(item) => {
                let mut node = self.list(node, item, name)?;
                complete::repetitions(&mut node, 0, self.report);
                Some(node)
            }
            Shape::Map(value) => self.mapping(node, value, false, name),
            Shape::Names(value) => self.mapping(node, value, true, name),
            Shape::Record(record) => self.record(node, record, name),
            Shape::Either(scalar, other) => {
                let shape = if matches!(node.value, Value::Scalar(_)) { scalar } else { other };
                self.shape(node, shape, name)
            }
            Shape::Text
            | Shape::Scalar
            | Shape::ScalarOrNull
            | Shape::ScalarOrEmpty
            | Shape::TextOrNumber
            | Shape::TextOrNumberOrEmpty
            | Shape::Word(_)
            | Shape::Checked(_)
            | Shape::Bool
            | Shape::StrictBool
            | Shape::Int(..)
            | Shape::Bounded(..)
            | Shape::Number(..)
            | Shape::StrictNumber
            | Shape::StrictInt(..)
            | Shape::Float
            | Shape::Bytes
            | Shape::BytesOrFraction
            | Shape::BytesText
            | Shape::BytesOrMinusOne
            | Shape::Mode
            | Shape::Duration
            | Shape::Path => self.scalar(node, shape, name),
        }
    }

    fn short(&mut self, node: Node, conversion: &'static Conversion, name: &str) -> Option<Node> {
        let tag = node.tag;
        // Where expressions are kept, a short form may be one that cannot be taken apart.
        let kept = (!self.interpolated && has_expression(&node)).then(|| node.clone());
        let reported = self.report.mark();
        let made = (conversion.lengthen)(node, name, self).and_then(|mut long| {
            long.tag = tag;
            let good = fits(&long, &conversion.long) || (kept.is_some() && is_expression(&long));
            if !good {
                return self.wrong_type(&long, name, conversion.what);
            }
            self.shape(long, &conversion.long, name)
        });
        match (made, kept) {
            (None, Some(kept)) => {
                self.report.forget(reported);
                Some(kept)
            }
            (made, _) => made,
        }
    }

    fn list(&mut self, mut node: Node, item: &'static Shape, name: &str) -> Option<Node> {
        let Value::List(items) = node.value else {
            return self.wrong_type(&node, name, "a list");
        };
        let name = format!("an item of `{name}`");
        let items = items.into_iter().filter_map(|each| self.shape(each, item, &name)).collect();
        node.value = Value::List(items);
        Some(node)
    }

    fn mapping(&mut self, mut node: Node, value: &'static Shape, named: bool, name: &str) -> Option<Node> {
        let Value::Map(map) = node.value else {
            return self.wrong_type(&node, name, "a mapping");
        };
        let mut shaped = Map::with_capacity(map.len());
        for (key, mut entry) in map {
            if named && !is_name(&key) {
                let what = if name == "depends_on" { "service" } else { name.trim_end_matches('s') };
                self.report
                    .error(entry.key, format!("`{key}` is not a {what} name"))
                    .help("use letters, digits, `.`, `_` and `-`");
                continue;
            }
            if key.is_empty() {
                let message = format!("a key of `{name}` is empty");
                // An item of a list has no place for its key alone: there, Docker Compose takes it.
                if self.lenient && entry.key.start == entry.node.span.start {
                    self.report.warning(entry.key, message).help("give it a name");
                } else {
                    self.report.error(entry.key, message).help("give it a name");
                    continue;
                }
            }
            if !awaits_value(&entry.node) {
                match self.shape(entry.node, value, &key) {
                    Some(node) => entry.node = node,
                    None => continue,
                }
            }
            shaped.insert(key, entry);
        }
        node.value = Value::Map(shaped);
        Some(node)
    }

    fn record(&mut self, mut node: Node, record: &'static Record, name: &str) -> Option<Node> {
        let Value::Map(map) = node.value else {
            return self.wrong_type(&node, name, "a mapping");
        };
        let given = map.len();
        let mut shaped = Map::with_capacity(given);
        let (mut whole, mut without_value) = (true, 0);
        for (key, mut entry) in map {
            let Some(field) = record.field(&key) else {
                if record.extensible && key.starts_with("x-") {
                    if let Some(meant) = slip(&key, record.fields.iter().map(|field| field.key)) {
                        self.report
                            .warning(entry.key, format!("`{key}` says nothing to composer"))
                            .help(format!("did you mean `{meant}`?"));
                    }
                    shaped.insert(key, entry);
                } else {
                    self.unknown(&key, entry.key, record, name);
                }
                continue;
            };
            if awaits_value(&entry.node) {
                if field.nullable {
                    without_value += 1;
                } else {
                    shaped.insert(key, entry);
                }
                continue;
            }
            match self.shape(entry.node, &field.shape, field.key) {
                Some(node) => {
                    entry.node = node;
                    shaped.insert(key, entry);
                }
                None => whole &= !record.required.contains(&field.key),
            }
        }
        if node.tag == Tag::None && shaped.len() + without_value < given {
            node.tag = Tag::Damaged;
        }
        node.value = Value::Map(shaped);
        // Without a key that has to be there, nothing is left that could be looked at further.
        whole.then_some(node)
    }

    fn unknown(&mut self, key: &str, span: Span, record: &Record, name: &str) {
        let noun = record.what.strip_prefix("a ").filter(|noun| !noun.contains(' '));
        let place = match noun {
            Some(noun) if !name.starts_with("an item of ") => format!("in {noun} `{name}`"),
            _ if std::ptr::eq(record, &FILE) => format!("at {}", record.what),
            _ => format!("in {}", record.what),
        };
        let message = format!("unknown key `{key}`");
        // The specification forgot to forbid it.
        let found = if record.open && self.lenient {
            self.report.warning(span, message)
        } else {
            self.report.error(span, message)
        };
        let keys = record.fields.iter().map(|field: &Field| field.key);
        let otherwise = if record.extensible { "keys of your own begin with `x-`" } else { "" };
        found.label(place).meant(key, keys, otherwise);
    }

    /// Reports that a value has the wrong type.
    pub fn wrong_type<T>(&mut self, node: &Node, name: &str, expected: &str) -> Option<T> {
        if node.is_null() {
            complete::no_value(self.report, node.span, &quoted(name), expected);
            return None;
        }
        let message = format!("{} must be {expected}, not {}", quoted(name), node.kind());
        let in_braces = self.report.sources.slice(node.span).starts_with('{');
        self.report.error(node.span, message).help(in_form(node, name, expected, in_braces));
        None
    }

    /// Reports that a value cannot be; adds what it is after interpolation.
    pub fn value(&mut self, node: &Node, message: impl Into<String>) -> Found<'_> {
        let found = self.report.error(node.span, message);
        Self::after_interpolation(node, found)
    }

    /// Reports that a value cannot be run, which Docker Compose finds nothing wrong with when it reads the file: it
    /// stays as it is. Otherwise the caller leaves it out, so that no check finds it again.
    pub fn doubt(&mut self, node: &Node, message: impl Into<String>) -> Found<'_> {
        let found = if self.lenient {
            self.report.warning(node.span, message).label(REFUSED)
        } else {
            self.report.error(node.span, message)
        };
        Self::after_interpolation(node, found)
    }

    fn after_interpolation<'f>(node: &Node, found: Found<'f>) -> Found<'f> {
        match &node.value {
            Value::Scalar(Scalar { text, interpolated: true, .. }) => {
                found.note(format!("the value is `{text}` after interpolation"))
            }
            Value::Scalar(_) | Value::List(_) | Value::Map(_) => found,
        }
    }

    /// The string inside of an item; says so where it is none.
    pub fn item(&mut self, node: &Node, list: &str, expected: &str) -> Option<String> {
        match node.text_value() {
            Some(text) => Some(text.to_owned()),
            None => self.wrong_type(node, &format!("an item of `{list}`"), expected),
        }
    }
}

/// How a value is written that has to be of another form; empty where that is plain.
fn in_form(node: &Node, name: &str, expected: &str, in_braces: bool) -> String {
    let is_item = name.starts_with("an item of ");
    let listed = expected.starts_with("a list") || expected.contains("or a list");
    let mapped = expected.starts_with("a mapping") || expected.contains("or a mapping");
    match &node.value {
        Value::Scalar(scalar) if expected == "a string" => format!("write it in quotes: \"{}\"", scalar.text),
        Value::Scalar(_) if is_item => String::new(),
        Value::Scalar(_) if expected == "a mapping or a list of `KEY=value`" => {
            format!("for example `{name}: {{KEY: value}}`")
        }
        Value::Scalar(Scalar { text, .. }) if listed && text.len() <= 40 && !text.contains(LIST_SIGNS) => {
            format!("write a list of one: `{name}: [{text}]`")
        }
        Value::Scalar(_) if listed => "write a list below it, each item behind a `- `".to_owned(),
        Value::Scalar(_) if mapped => "write pairs such as `key: value` below it, indented more".to_owned(),
        Value::Scalar(_) => String::new(),
        Value::Map(_) if expected == "`KEY=value`" => {
            "write `- KEY=value`, or leave the dashes away: `KEY: value`".to_owned()
        }
        Value::Map(map)
            if in_braces
                && expected.starts_with("a string")
                && map.values().all(|entry| entry.node.is_null()) =>
        {
            "quote text that begins with `{`; a variable looks like `${NAME}`".to_owned()
        }
        Value::Map(_) if listed => "write each item behind a `- `, without a key".to_owned(),
        Value::Map(_) if is_item => "write one value behind the `- `, without a key".to_owned(),
        Value::Map(_) => format!("write the value behind `{name}:`"),
        Value::List(_) if mapped => "leave the dashes away: `key: value`".to_owned(),
        Value::List(_) if is_item => "write the inner items as items of the list itself".to_owned(),
        Value::List(_) => "write one value, without the dash or brackets".to_owned(),
    }
}

/// What a value in brackets ends at.
const LIST_SIGNS: [char; 10] = [',', '[', ']', '{', '}', '"', '\'', '#', ':', '\n'];

/// A key, or words that are none, as messages show it.
fn quoted(name: &str) -> String {
    if name.starts_with("an item of ") { name.to_owned() } else { format!("`{name}`") }
}

/// [`is_name`] as a regular expression.
pub(crate) const NAME: &str = "^[a-zA-Z0-9._-]+$";

/// Letters, digits, `.`, `_` and `-`.
pub(crate) fn is_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
}

/// Nothing was given, which an earlier file may make up for.
fn awaits_value(node: &Node) -> bool {
    node.tag == Tag::None && node.is_null()
}

fn is_expression(node: &Node) -> bool {
    matches!(&node.value, Value::Scalar(scalar) if scalar.text.contains('$'))
}

fn has_expression(node: &Node) -> bool {
    match &node.value {
        Value::Scalar(_) => is_expression(node),
        Value::List(items) => items.iter().any(has_expression),
        Value::Map(map) => map.values().any(|entry| has_expression(&entry.node)),
    }
}

/// Whether a value is of the kind that a long form is of; what is wrong inside is told later.
fn fits(node: &Node, long: &Shape) -> bool {
    match long.form() {
        Form::OrNull(shape) => node.is_null() || fits(node, shape),
        Form::Short(_) | Form::Any => true,
        Form::Either(other) => match &node.value {
            Value::Scalar(_) => !node.is_null(),
            Value::List(_) | Value::Map(_) => fits(node, other),
        },
        Form::Record(_) | Form::Map(_) => node.as_map().is_some(),
        Form::List(_) => matches!(node.value, Value::List(_)),
        Form::Scalar => matches!(node.value, Value::Scalar(_)) && !node.is_null(),
    }
}

/// Words, for help: "`a`, `b` or `c`".
pub(crate) fn one_of(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}
