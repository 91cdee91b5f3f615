//! The variables that files use, as `config --variables` prints them.

use std::io;

use indexmap::IndexMap;

use crate::emit::{self, Document, natural};
use crate::loaded::Variable;

/// As Go's encoder writes a structure without names of its own: in lower case, four spaces a level.
///
/// # Errors
/// None is known; the writer's interface has room for one.
pub fn yaml(variables: &[Variable]) -> io::Result<String> {
    let mut sorted: Vec<&Variable> = variables.iter().collect();
    sorted.sort_by(|one, other| natural(&one.name, &other.name));
    let pairs = |variable: &Variable| {
        let text = |text: &str| Document::Text(text.to_owned());
        map([
            ("name", text(&variable.name)),
            ("defaultvalue", text(&variable.default)),
            ("presencevalue", text(&variable.alternative)),
            ("required", Document::Bool(variable.required)),
        ])
    };
    let all = sorted.into_iter().map(|variable| (variable.name.clone(), pairs(variable)));
    emit::yaml(&Document::Map(all.collect()), 4)
}

/// The same as JSON, with the structure's own names.
///
/// # Errors
/// None is known; the writer's interface has room for one.
pub fn json(variables: &[Variable]) -> io::Result<String> {
    let pairs = |variable: &Variable| {
        let text = |text: &str| Document::Text(text.to_owned());
        map([
            ("Name", text(&variable.name)),
            ("DefaultValue", text(&variable.default)),
            ("PresenceValue", text(&variable.alternative)),
            ("Required", Document::Bool(variable.required)),
        ])
    };
    let all = variables.iter().map(|variable| (variable.name.clone(), pairs(variable)));
    let document = Document::Map(all.collect());
    let mut out = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    serde::Serialize::serialize(&document, &mut serde_json::Serializer::with_formatter(&mut out, formatter))?;
    out.push(b'\n');
    String::from_utf8(out).map_err(io::Error::other)
}

fn map<const N: usize>(pairs: [(&str, Document); N]) -> Document {
    let pairs = pairs.into_iter().map(|(key, value)| (key.to_owned(), value));
    Document::Map(pairs.collect::<IndexMap<String, Document>>())
}
