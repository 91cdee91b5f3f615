//! A document as YAML or JSON, laid out as Docker Compose lays it out.

mod order;
mod yaml;

use std::io;

use serde::ser::{Serialize, Serializer};

use indexmap::IndexMap;

pub(crate) use order::natural;
pub(crate) use yaml::{Line, lines, yaml};

/// A document in printing order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Document {
    Null,
    Bool(bool),
    /// Of 64 bits, signed or not.
    Int(i128),
    Float(f64),
    Text(String),
    List(Vec<Document>),
    Map(IndexMap<String, Document>),
}

impl Document {
    /// Puts the keys of every mapping in order.
    pub(crate) fn sort(&mut self) {
        match self {
            Self::Map(map) => {
                map.sort_by(|one, _, other, _| natural(one, other));
                map.values_mut().for_each(Self::sort);
            }
            Self::List(items) => items.iter_mut().for_each(Self::sort),
            Self::Null | Self::Bool(_) | Self::Int(_) | Self::Float(_) | Self::Text(_) => {}
        }
    }
}

/// Above this, not every integer is a float of its own.
const WHOLE: f64 = 9_007_199_254_740_992.0;

impl Serialize for Document {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Int(value) => match (i64::try_from(*value), u64::try_from(*value)) {
                (Ok(value), _) => serializer.serialize_i64(value),
                (Err(_), Ok(value)) => serializer.serialize_u64(value),
                (Err(_), Err(_)) => serializer.serialize_i128(*value),
            },
            // Go, and so Docker Compose, writes 1 where Rust writes 1.0.
            Self::Float(value) if value.fract() == 0.0 && value.abs() < WHOLE =>
            {
                #[expect(clippy::cast_possible_truncation, reason = "whole and within the range of i64")]
                serializer.serialize_i64(*value as i64)
            }
            Self::Float(value) => serializer.serialize_f64(*value),
            // To JSON this is a string like any other.
            Self::Text(text) if yaml::is_block(text) => serde_saphyr::LitStr(text).serialize(serializer),
            Self::Text(text) => serializer.serialize_str(text),
            Self::List(items) => serializer.collect_seq(items),
            Self::Map(map) => serializer.collect_map(map),
        }
    }
}

/// Two spaces, one value a line.
pub(crate) fn json(document: &impl Serialize) -> io::Result<String> {
    Ok(for_web(&serde_json::to_string_pretty(document)?) + "\n")
}

/// The same in one line, without blanks.
pub(crate) fn json_line(document: &impl Serialize) -> io::Result<String> {
    Ok(for_web(&serde_json::to_string(document)?))
}

/// As Go's encoder writes it, for texts inside of a web page. These characters are in strings alone.
fn for_web(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for character in json.chars() {
        match character {
            '<' => out.push_str("\\u003c"),
            '>' => out.push_str("\\u003e"),
            '&' => out.push_str("\\u0026"),
            '\u{2028}' => out.push_str("\\u2028"),
            '\u{2029}' => out.push_str("\\u2029"),
            _ => out.push(character),
        }
    }
    out
}
