//! A document brought into its canonical shape by [`crate::spec`]: unknown keys and wrong values are reported and left
//! out, short forms become long ones, paths absolute. What comes out holds to the table, so whoever reads it need
//! not look again.

mod forms;

use std::path::{Path, PathBuf};

use crate::diagnostic::Report;
use crate::files::clean;
use crate::spec::{Field, Record, Shape, Wrong};
use crate::suggest::nearest;
use crate::yaml::{Map, Node, Resolved, Scalar, Tag, Value};
use crate::{duration, size};

pub(crate) use forms::*;

/// A value with a short form.
pub(crate) struct Conversion {
    /// What may be written, for messages: "a string or a mapping".
    pub what: &'static str,
    /// The short forms, for the schema.
    pub forms: &'static [Shape],
    /// Makes the long form of any of them; `None` where it has reported why not.
    pub lengthen: fn(Node, &mut Shaper<'_>) -> Option<Node>,
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
    /// Expressions have been replaced: what has a `$` in it is no expression.
    pub interpolated: bool,
    pub report: &'a mut Report,
}

impl Shaper<'_> {
    /// Shapes a value that messages call `name`; `None` where nothing of it can be used.
    pub fn shape(&mut self, mut node: Node, shape: &'static Shape, name: &str) -> Option<Node> {
        // What is taken away may be anything.
        if node.tag == Tag::Reset {
            return Some(node);
        }
        if !self.interpolated && is_expression(&node) {
            return Some(node);
        }
        match shape {
            Shape::Any => Some(node),
            Shape::OrNull(_) if node.is_null() => Some(node),
            Shape::OrNull(shape) => self.shape(node, shape, name),
            Shape::List(item) => {
                let Value::List(items) = node.value else {
                    return self.wrong_type(&node, name, "a list");
                };
                let items = items.into_iter().filter_map(|each| self.shape(each, item, name)).collect();
                node.value = Value::List(items);
                Some(node)
            }
            Shape::Map(value) | Shape::Names(value) => {
                let Value::Map(map) = node.value else {
                    return self.wrong_type(&node, name, "a mapping");
                };
                let named = matches!(shape, Shape::Names(_));
                let mut shaped = Map::with_capacity(map.len());
                for (key, mut entry) in map {
                    if named && !is_name(&key) {
                        self.report
                            .error(entry.key, format!("`{key}` is not a name"))
                            .help("use letters, digits, `.`, `_` and `-`");
                        continue;
                    }
                    if let Some(node) = self.shape(entry.node, value, &key) {
                        entry.node = node;
                        shaped.insert(key, entry);
                    }
                }
                node.value = Value::Map(shaped);
                Some(node)
            }
            Shape::Record(record) => self.record(node, record, name),
            Shape::Short(conversion) => {
                let tag = node.tag;
                let mut long = (conversion.lengthen)(node, self)?;
                long.tag = tag;
                self.shape(long, &conversion.long, name)
            }
            Shape::Text
            | Shape::Scalar
            | Shape::ScalarOrNull
            | Shape::Word(_)
            | Shape::Checked(_)
            | Shape::Bool
            | Shape::Int(..)
            | Shape::Float
            | Shape::Bytes
            | Shape::Duration
            | Shape::Path => self.scalar(node, shape, name),
        }
    }

    fn record(&mut self, mut node: Node, record: &'static Record, name: &str) -> Option<Node> {
        let Value::Map(map) = node.value else {
            return self.wrong_type(&node, name, "a mapping");
        };
        let mut shaped = Map::with_capacity(map.len());
        for (key, mut entry) in map {
            if record.extensible && key.starts_with("x-") && record.field(&key).is_none() {
                shaped.insert(key, entry);
                continue;
            }
            let Some(field) = record.field(&key) else {
                self.unknown(&key, entry.key, record);
                continue;
            };
            if field.nullable && entry.node.is_null() && entry.node.tag == Tag::None {
                continue;
            }
            if let Some(node) = self.shape(entry.node, &field.shape, field.key) {
                entry.node = node;
                shaped.insert(key, entry);
            }
        }
        node.value = Value::Map(shaped);
        Some(node)
    }

    fn unknown(&mut self, key: &str, span: crate::source::Span, record: &Record) {
        let found = self.report.error(span, format!("`{key}` is not a key of {}", record.what));
        let keys = record.fields.iter().map(|field: &Field| field.key);
        if let Some(near) = nearest(key, keys) {
            found.help(format!("did you mean `{near}`?"));
        } else if record.extensible {
            found.help(format!("keys of your own begin with `x-`: `x-{key}`"));
        }
    }

    fn scalar(&mut self, mut node: Node, shape: &'static Shape, name: &str) -> Option<Node> {
        let Value::Scalar(scalar) = &node.value else {
            return self.wrong_type(&node, name, expected(shape));
        };
        let known = match shape {
            Shape::Text => plain_text(scalar),
            Shape::Scalar => (!node.is_null()).then(|| text(scalar.to_text())),
            Shape::ScalarOrNull => Some(if node.is_null() { scalar.clone() } else { text(scalar.to_text()) }),
            Shape::Word(words) => {
                let scalar = plain_text(scalar);
                if let Some(scalar) = &scalar
                    && !words.contains(&scalar.text.as_str())
                {
                    let near = nearest(&scalar.text, words.iter().copied());
                    let message = format!("`{}` is not a value of `{name}`", scalar.text);
                    let help = match near {
                        Some(near) => format!("did you mean `{near}`? it may be {}", one_of(words)),
                        None => format!("it may be {}", one_of(words)),
                    };
                    self.value(&node, message).help(help);
                    return None;
                }
                scalar
            }
            Shape::Checked(check) => {
                let scalar = plain_text(scalar);
                if let Some(Wrong { message, help }) =
                    scalar.as_ref().and_then(|scalar| (check.wrong)(&scalar.text))
                {
                    self.value(&node, message).help(help);
                    return None;
                }
                scalar
            }
            Shape::Bool => boolean(scalar).map(|value| bare(value.to_string())),
            Shape::Int(least, most) => {
                let value = whole(scalar);
                if let Some(value) = value.filter(|value| !(least..=most).contains(&value)) {
                    let message = format!("`{name}` cannot be {value}");
                    let help = if *most == i64::MAX {
                        format!("the least is {least}")
                    } else {
                        format!("it may be {least} to {most}")
                    };
                    self.value(&node, message).help(help);
                    return None;
                }
                value.map(|value| bare(value.to_string()))
            }
            Shape::Float => float(scalar).map(|value| bare(float_text(value))),
            Shape::Bytes => amount(scalar).map(|value| text(value.to_string())),
            Shape::Duration => {
                let known = duration::parse(&scalar.to_text()).filter(|_| !node.is_null());
                known.map(|value| text(duration::show(value)))
            }
            Shape::Path => plain_text(scalar).map(|path| text(self.path(&path.text))),
            Shape::Any
            | Shape::List(_)
            | Shape::Map(_)
            | Shape::Names(_)
            | Shape::OrNull(_)
            | Shape::Record(_)
            | Shape::Short(_) => Some(scalar.clone()),
        };
        let Some(known) = known else {
            return self.wrong_type(&node, name, expected(shape));
        };
        node.value = Value::Scalar(known);
        Some(node)
    }

    /// A host path: `~` is the home directory, other relative paths begin at the folder.
    pub fn path(&self, text: &str) -> String {
        if !self.resolve_paths || text.is_empty() {
            return text.to_owned();
        }
        let path = match (text.strip_prefix('~'), self.home) {
            (Some(rest), Some(home)) => clean(&home.join(rest.trim_start_matches('/'))),
            _ if text.starts_with('/') => PathBuf::from(text),
            _ => clean(&self.folder.join(text)),
        };
        path.display().to_string()
    }

    /// Reports that a value has the wrong type.
    pub fn wrong_type<T>(&mut self, node: &Node, name: &str, expected: &str) -> Option<T> {
        let found = match &node.value {
            Value::Scalar(scalar) if !node.is_null() => format!("`{}`", scalar.text),
            Value::Scalar(_) | Value::List(_) | Value::Map(_) => node.kind().to_owned(),
        };
        self.report.error(node.span, format!("`{name}` must be {expected}, not {found}"));
        None
    }

    /// Reports that a value cannot be.
    pub fn value(&mut self, node: &Node, message: impl Into<String>) -> crate::diagnostic::Found<'_> {
        self.report.error(node.span, message)
    }
}

/// Letters, digits, `.`, `_` and `-`.
pub(crate) fn is_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
}

fn is_expression(node: &Node) -> bool {
    matches!(&node.value, Value::Scalar(scalar) if scalar.text.contains('$'))
}

fn expected(shape: &Shape) -> &'static str {
    match shape {
        Shape::Text | Shape::Word(_) | Shape::Path => "a string",
        Shape::Checked(check) => check.what,
        Shape::Scalar | Shape::ScalarOrNull => "a string, a number or a boolean",
        Shape::Bool => "`true` or `false`",
        Shape::Int(..) => "a whole number",
        Shape::Float => "a number",
        Shape::Bytes => "an amount of bytes, such as `512m`",
        Shape::Duration => "a span of time, such as `1m30s`",
        Shape::List(_) => "a list",
        Shape::Map(_) | Shape::Names(_) | Shape::Record(_) => "a mapping",
        Shape::Any | Shape::OrNull(_) => "a value",
        Shape::Short(conversion) => conversion.what,
    }
}

fn one_of(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}

/// A string scalar.
pub(crate) fn text(text: impl Into<String>) -> Scalar {
    Scalar { text: text.into(), plain: false, interpolated: false }
}

/// A number, boolean or null.
fn bare(text: String) -> Scalar {
    Scalar { text, plain: true, interpolated: false }
}

fn plain_text(scalar: &Scalar) -> Option<Scalar> {
    match scalar.resolve() {
        Resolved::Text(value) => Some(text(value)),
        Resolved::Null | Resolved::Bool(_) | Resolved::Int(_) | Resolved::Float(_) => None,
    }
}

fn boolean(scalar: &Scalar) -> Option<bool> {
    match scalar.resolve() {
        Resolved::Bool(value) => Some(value),
        Resolved::Text(text) => match text.to_ascii_lowercase().as_str() {
            "true" | "y" | "yes" | "on" | "1" | "t" => Some(true),
            "false" | "n" | "no" | "off" | "0" | "f" => Some(false),
            _ => None,
        },
        Resolved::Null | Resolved::Int(_) | Resolved::Float(_) => None,
    }
}

fn whole(scalar: &Scalar) -> Option<i64> {
    match scalar.resolve() {
        Resolved::Int(value) => Some(value),
        Resolved::Text(text) => text.trim().parse().ok(),
        Resolved::Null | Resolved::Bool(_) | Resolved::Float(_) => None,
    }
}

fn float(scalar: &Scalar) -> Option<f64> {
    let value = match scalar.resolve() {
        #[expect(clippy::cast_precision_loss, reason = "nobody has that many CPUs")]
        Resolved::Int(value) => value as f64,
        Resolved::Float(value) => value,
        Resolved::Text(text) => text.trim().parse().ok()?,
        Resolved::Null | Resolved::Bool(_) => return None,
    };
    value.is_finite().then_some(value)
}

fn float_text(value: f64) -> String {
    format!("{value:?}")
}

fn amount(scalar: &Scalar) -> Option<i64> {
    match scalar.resolve() {
        Resolved::Int(value) => Some(value),
        Resolved::Text("-1") => Some(-1),
        Resolved::Text(text) => size::parse(text).and_then(|bytes| i64::try_from(bytes).ok()),
        Resolved::Null | Resolved::Bool(_) | Resolved::Float(_) => None,
    }
}
