//! Scalars: what each may be, and how it is written canonically.

use super::{Shaper, one_of};
use crate::spec::{Check, Shape, Wrong};
use crate::yaml::{Node, Resolved, Scalar, Value};
use crate::{duration, size};

impl Shaper<'_> {
    pub(super) fn scalar(&mut self, mut node: Node, shape: &'static Shape, name: &str) -> Option<Node> {
        let Value::Scalar(scalar) = &node.value else {
            return self.wrong_type(&node, name, expected(shape));
        };
        if node.is_null() {
            let stays =
                matches!(shape, Shape::ScalarOrNull | Shape::ScalarOrEmpty | Shape::TextOrNumberOrEmpty);
            return if stays { Some(node) } else { self.wrong_type(&node, name, expected(shape)) };
        }
        if scalar.timestamp().is_some() {
            let message = format!("{} must be {}, not a date", super::quoted(name), expected(shape));
            self.report.error(node.span, message).help(format!("write it in quotes: \"{}\"", scalar.text));
            return None;
        }
        let known = self.canonical(&node, scalar, shape, name)?;
        // Docker Compose brings scalars into its types with the expressions: where those are kept, what was written is.
        if self.interpolated || matches!(shape, Shape::Path) {
            node.value = Value::Scalar(Scalar { interpolated: scalar.interpolated, ..known });
        }
        Some(node)
    }

    /// What is written for a scalar that is there; `None` where it has been reported.
    fn canonical(
        &mut self,
        node: &Node,
        scalar: &Scalar,
        shape: &'static Shape,
        name: &str,
    ) -> Option<Scalar> {
        match shape {
            Shape::Text => self.text(node, scalar, shape, name),
            Shape::Scalar | Shape::ScalarOrNull | Shape::ScalarOrEmpty => Some(Scalar::text(spelled(scalar))),
            Shape::TextOrNumber | Shape::TextOrNumberOrEmpty if is_bool(scalar) => {
                self.wrong_type(node, name, expected(shape))
            }
            Shape::TextOrNumber | Shape::TextOrNumberOrEmpty => Some(Scalar::text(spelled(scalar))),
            Shape::Word(words) => {
                let known = self.text(node, scalar, shape, name)?;
                if words.contains(&known.text.as_str()) {
                    return Some(known);
                }
                self.not_a_word(node, &known.text, words, name)
            }
            Shape::Checked(check) => {
                let known = self.text(node, scalar, shape, name)?;
                self.checked(node, &known.text, check).then_some(known)
            }
            Shape::Bool | Shape::StrictBool => {
                Some(Scalar::bare(self.boolean(node, scalar, is_loose(shape), name)?))
            }
            Shape::Int(..)
            | Shape::StrictInt(..)
            | Shape::Bounded(..)
            | Shape::Number(..)
            | Shape::StrictNumber => Some(Scalar::bare(self.number(node, scalar, shape, name)?)),
            Shape::Float => Some(Scalar::bare(float_text(self.float(node, scalar, name)?))),
            Shape::Bytes | Shape::BytesOrFraction | Shape::BytesText | Shape::BytesOrMinusOne => {
                Some(Scalar::text(self.bytes(node, scalar, shape, name)?.to_string()))
            }
            Shape::Duration => Some(Scalar::text(self.duration(node, scalar)?)),
            Shape::Mode => Some(Scalar::text(format!("0{:o}", self.mode(node, scalar, name)?))),
            Shape::Path => {
                let path = self.text(node, scalar, shape, name)?;
                Some(Scalar::text(self.path(&path.text)))
            }
            Shape::Any
            | Shape::List(_)
            | Shape::Set(_)
            | Shape::Map(_)
            | Shape::Names(_)
            | Shape::OrNull(_)
            | Shape::Either(..)
            | Shape::Record(_)
            | Shape::Short(_)
            | Shape::Late(_) => Some(scalar.clone()),
        }
    }

    /// A scalar that has to be a string.
    fn text(&mut self, node: &Node, scalar: &Scalar, shape: &Shape, name: &str) -> Option<Scalar> {
        match scalar.resolve() {
            Resolved::Text(value) => Some(Scalar::text(value)),
            Resolved::Null | Resolved::Bool(_) | Resolved::Int(_) | Resolved::Float(_) => {
                self.wrong_type(node, name, expected(shape))
            }
        }
    }

    /// Whether a string that a rule may find something wrong with is kept.
    fn checked(&mut self, node: &Node, text: &str, check: &Check) -> bool {
        let Some(Wrong { message, help }) = (check.wrong)(text) else {
            return true;
        };
        let refused = (check.refused)(text);
        let found = if refused { self.value(node, message) } else { self.doubt(node, message) };
        if !help.is_empty() {
            found.help(help);
        }
        !refused && self.lenient
    }

    fn boolean(&mut self, node: &Node, scalar: &Scalar, loose: bool, name: &str) -> Option<bool> {
        let value = boolean(scalar).filter(|_| loose || is_bool(scalar));
        if value.is_none() {
            self.value(node, format!("`{name}` must be true or false"));
        }
        value
    }

    fn float(&mut self, node: &Node, scalar: &Scalar, name: &str) -> Option<f64> {
        let Some(value) = float(scalar) else {
            self.value(node, format!("`{name}` must be a number of at least 0"))
                .help(format!("for example `{name}: 0.5`"));
            return None;
        };
        // Not to be mistaken for none.
        let kept = value as f32;
        if kept.is_infinite() || (kept == 0.0 && value != 0.0) {
            let size = if kept == 0.0 { "small" } else { "large" };
            self.value(node, format!("`{name}` of {} is too {size} a number", scalar.text));
            return None;
        }
        if value < 0.0 {
            self.doubt(node, format!("`{name}` must be a number of at least 0"));
            return self.lenient.then_some(value);
        }
        Some(value)
    }

    fn mode(&mut self, node: &Node, scalar: &Scalar, name: &str) -> Option<u32> {
        let value = mode(scalar);
        if value.is_none() {
            let found = self.value(node, format!("`{name}` must be permission bits"));
            found.help("write them in octal: `0755`");
        }
        value
    }

    fn number(&mut self, node: &Node, scalar: &Scalar, shape: &Shape, name: &str) -> Option<i64> {
        let cut = matches!(shape, Shape::Number(..) | Shape::StrictNumber);
        let value = match scalar.resolve() {
            Resolved::Float(value) if cut => truncated(value),
            Resolved::Text(_) if matches!(shape, Shape::StrictNumber | Shape::StrictInt(..)) => None,
            _ => whole(scalar),
        };
        let Some(value) = value else {
            self.value(node, format!("`{name}` must be a whole number"));
            return None;
        };
        if matches!(scalar.resolve(), Resolved::Float(written) if written.fract() != 0.0) {
            self.doubt(node, format!("`{name}` must be a whole number"))
                .note(format!("it counts as {value}"));
            if !self.lenient {
                return None;
            }
        }
        let (Shape::Int(least, most)
        | Shape::StrictInt(least, most)
        | Shape::Bounded(least, most)
        | Shape::Number(least, most)) = shape
        else {
            return Some(value);
        };
        if value >= *least && value <= *most {
            return Some(value);
        }
        let limits = if *most >= i64::from(u32::MAX) {
            format!("at least {least}")
        } else {
            format!("{least} to {most}")
        };
        let message = format!("`{name}` must be {limits}");
        // What 32 bits without a sign cannot hold, Docker Compose shows as another number or refuses.
        if matches!(shape, Shape::Int(..) | Shape::StrictInt(..))
            || (matches!(shape, Shape::Bounded(0.., _)) && u32::try_from(value).is_err())
        {
            self.value(node, message);
            return None;
        }
        self.doubt(node, message);
        self.lenient.then_some(value)
    }

    fn bytes(&mut self, node: &Node, scalar: &Scalar, shape: &Shape, name: &str) -> Option<i64> {
        if matches!(shape, Shape::BytesText) && !is_text(scalar) {
            return self.wrong_type(node, name, "a string");
        }
        if let Resolved::Float(value) = scalar.resolve() {
            let fraction = matches!(shape, Shape::BytesOrFraction | Shape::BytesOrMinusOne);
            let message = format!("`{}` is not a whole number of bytes", scalar.text);
            let found = if fraction || value.fract() == 0.0 {
                // Docker Compose looks at whole numbers and strings, and passes over the rest.
                self.doubt(node, message).note("it counts as nothing at all")
            } else {
                self.value(node, message)
            };
            found.help("write a number with b, k, m, g or t: `64m`, `1.5g`");
            return None;
        }
        let Some(value) = amount(scalar) else {
            let unquoted = matches!(shape, Shape::BytesOrMinusOne) && scalar.text == "-1";
            let (what, help) = of_bytes(name);
            self.value(node, format!("`{}` is not {what}", scalar.text)).help(if unquoted {
                "write -1 without quotes"
            } else {
                help
            });
            return None;
        };
        let least = if matches!(shape, Shape::BytesOrMinusOne) { -1 } else { 0 };
        if value < least {
            let (what, help) = of_bytes(name);
            self.doubt(node, format!("`{value}` is not {what}")).help(help);
            return self.lenient.then_some(value);
        }
        Some(value)
    }

    fn duration(&mut self, node: &Node, scalar: &Scalar) -> Option<String> {
        let positive = scalar.text.strip_prefix('-');
        let known = if is_text(scalar) { duration::parse(positive.unwrap_or(&scalar.text)) } else { None };
        let Some(known) = known else {
            self.value(node, format!("`{}` is not a duration", scalar.text))
                .help("write numbers with ns, us, ms, s, m, h, d or w: `10s`, `1m30s`");
            return None;
        };
        let shown = duration::show(known);
        if positive.is_none() || known.is_zero() {
            return Some(shown);
        }
        self.doubt(node, format!("`{}` is a negative duration", scalar.text)).help("remove the `-`");
        self.lenient.then(|| format!("-{shown}"))
    }

    fn not_a_word<T>(&mut self, node: &Node, text: &str, words: &[&str], name: &str) -> Option<T> {
        let what = match name {
            "condition" => "a condition".to_owned(),
            "type" => "a type of mount".to_owned(),
            _ => format!("a value of `{name}`"),
        };
        let all = format!("it may be {}", one_of(words));
        self.value(node, format!("`{text}` is not {what}")).meant(text, words.iter().copied(), all);
        None
    }
}

/// Whether a string will do for a boolean or a number.
fn is_loose(shape: &Shape) -> bool {
    !matches!(shape, Shape::StrictBool)
}

/// What a shape is, for messages.
pub(super) fn expected(shape: &Shape) -> &'static str {
    match shape {
        Shape::Text | Shape::Word(_) | Shape::Path | Shape::Checked(_) | Shape::BytesText => "a string",
        Shape::Scalar | Shape::ScalarOrNull | Shape::ScalarOrEmpty => "a string, a number or a boolean",
        Shape::TextOrNumber | Shape::TextOrNumberOrEmpty => "a string or a number",
        Shape::Bool | Shape::StrictBool => "true or false",
        Shape::Int(..)
        | Shape::StrictInt(..)
        | Shape::Bounded(..)
        | Shape::Number(..)
        | Shape::StrictNumber => "a whole number",
        Shape::Float => "a number",
        Shape::Bytes | Shape::BytesOrFraction | Shape::BytesOrMinusOne => "an amount such as 64m",
        Shape::Duration => "a duration such as 1m30s",
        Shape::Mode => "permission bits such as 0755",
        Shape::List(_) | Shape::Set(_) => "a list",
        Shape::Map(_) | Shape::Names(_) | Shape::Record(_) => "a mapping",
        Shape::OrNull(shape) | Shape::Either(shape, _) => expected(shape),
        Shape::Any => "a value",
        Shape::Short(conversion) | Shape::Late(conversion) => conversion.what,
    }
}

/// The string that any scalar is where a string is wanted, as Go spells it.
pub(super) fn spelled(scalar: &Scalar) -> String {
    scalar.unsigned().map_or_else(|| scalar.to_text(), |value| value.to_string())
}

fn is_text(scalar: &Scalar) -> bool {
    matches!(scalar.resolve(), Resolved::Text(_))
}

fn is_bool(scalar: &Scalar) -> bool {
    matches!(scalar.resolve(), Resolved::Bool(_))
}

/// YAML 1.1's words count in strings.
fn boolean(scalar: &Scalar) -> Option<bool> {
    match scalar.resolve() {
        Resolved::Bool(value) => Some(value),
        Resolved::Text(text) => match text.to_ascii_lowercase().as_str() {
            "true" | "y" | "yes" | "on" => Some(true),
            "false" | "n" | "no" | "off" => Some(false),
            _ => None,
        },
        Resolved::Null | Resolved::Int(_) | Resolved::Float(_) => None,
    }
}

/// A float will do where it is whole.
pub(super) fn whole(scalar: &Scalar) -> Option<i64> {
    match scalar.resolve() {
        Resolved::Int(value) => Some(value),
        Resolved::Text(text) => text.parse().ok(),
        Resolved::Float(value) => truncated(value).filter(|_| value.fract() == 0.0),
        Resolved::Null | Resolved::Bool(_) => None,
    }
}

fn float(scalar: &Scalar) -> Option<f64> {
    let value = match scalar.resolve() {
        Resolved::Int(value) => value as f64,
        Resolved::Float(value) => value,
        Resolved::Text(text) => text.parse().ok()?,
        Resolved::Null | Resolved::Bool(_) => return None,
    };
    value.is_finite().then_some(value)
}

/// As Go prints it, which keeps such numbers in 32 bits; a whole one has no fraction.
fn float_text(value: f64) -> String {
    (value as f32).to_string()
}

fn amount(scalar: &Scalar) -> Option<i64> {
    match scalar.resolve() {
        Resolved::Int(value) => Some(value),
        Resolved::Float(value) => truncated(value),
        Resolved::Text(text) => size::parse(text).and_then(|bytes| i64::try_from(bytes).ok()),
        Resolved::Null | Resolved::Bool(_) => None,
    }
}

fn truncated(value: f64) -> Option<i64> {
    (value.abs() < i64::MAX as f64).then_some(value as i64)
}

/// Permission bits: a number means what it means in YAML, a string is octal.
pub(super) fn mode(scalar: &Scalar) -> Option<u32> {
    let value = match scalar.resolve() {
        Resolved::Int(value) => u32::try_from(value).ok(),
        Resolved::Text(text) => {
            let digits = !text.is_empty() && text.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
            digits.then(|| u32::from_str_radix(text, 8).ok()).flatten()
        }
        Resolved::Null | Resolved::Bool(_) | Resolved::Float(_) => None,
    };
    value.filter(|mode| *mode <= 0o7777)
}

/// What a number of bytes stands for, by its key, and how it is written. Docker Compose reads some numbers as bytes that
/// are none.
fn of_bytes(name: &str) -> (&'static str, &'static str) {
    match name {
        "mem_swappiness" => ("a swappiness", "write a number from 0 to 100"),
        "rate" => ("a rate", "write a number, for bytes with b, k, m, g or t: `64m`, `1000`"),
        _ => ("an amount of memory", "write a number with b, k, m, g or t: `64m`, `1.5g`"),
    }
}
