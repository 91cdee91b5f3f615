//! A document as YAML or JSON. YAML is written for readers of version 1.1 and 1.2 alike: what either could take for
//! anything but a string (`yes`, `on`, `22:22`, a date) is quoted.

use std::io;

use serde::ser::{Serialize, Serializer};

use indexmap::IndexMap;

/// A document in printing order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Document {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    List(Vec<Document>),
    Map(IndexMap<String, Document>),
}

impl Document {
    /// The value of a key, where this is a mapping.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Map(map) => map.get(key),
            Self::Null | Self::Bool(_) | Self::Int(_) | Self::Float(_) | Self::Text(_) | Self::List(_) => {
                None
            }
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
            Self::Int(value) => serializer.serialize_i64(*value),
            // Go, and so Docker Compose, writes 1 where Rust writes 1.0.
            Self::Float(value) if value.fract() == 0.0 && value.abs() < WHOLE =>
            {
                #[expect(clippy::cast_possible_truncation, reason = "whole and within the range of i64")]
                serializer.serialize_i64(*value as i64)
            }
            Self::Float(value) => serializer.serialize_f64(*value),
            Self::Text(text) => serializer.serialize_str(text),
            Self::List(items) => serializer.collect_seq(items),
            Self::Map(map) => serializer.collect_map(map),
        }
    }
}

/// Block style, two spaces, lists indented, as Docker Compose prints it.
pub(crate) fn yaml(document: &Document) -> io::Result<String> {
    let options = serde_saphyr::ser_options! {
        compact_list_indent: false,
        // A long line is one line, as Docker Compose leaves it.
        folded_wrap_chars: usize::MAX,
    };
    serde_saphyr::to_string_with_options(document, options).map_err(io::Error::other)
}

/// Two spaces, one value a line.
pub(crate) fn json(document: &Document) -> io::Result<String> {
    Ok(serde_json::to_string_pretty(document)? + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> String {
        yaml(&Document::List(vec![Document::Text(text.to_owned())])).unwrap().trim_end().to_owned()
    }

    #[test]
    fn what_other_parsers_would_misread_is_quoted() {
        for text in [
            "yes",
            "On",
            "22:22",
            "2020-01-01",
            "1e3",
            "0x1f",
            "",
            "n",
            "- a",
            "a: b",
            "#",
            "1_0",
            ".5",
            "*a",
        ] {
            let written = written(text);
            assert!(written.starts_with("- \"") || written.starts_with("- '"), "{text}: {written}");
        }
        for text in ["abc", "a:b", "/a", "-f", "host", "3a9f", "http://x", "a#b"] {
            assert_eq!(written(text), format!("- {text}"));
        }
    }

    #[test]
    fn long_lines_stay_one_and_whole_numbers_have_no_fraction() {
        let long = "word ".repeat(40) + "end";
        assert_eq!(written(&long), format!("- {long}"));
        assert_eq!(yaml(&Document::Float(2.0)).unwrap().trim_end(), "2");
        assert_eq!(yaml(&Document::Float(0.5)).unwrap().trim_end(), "0.5");
    }
}
