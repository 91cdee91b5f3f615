//! The JSON schema of the file, made from the table ([`crate::spec`]): what editors complete and check with.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::shape::NAME;
use crate::spec::{FILE, Field, Form, Record, Shape, examples};

/// A config or secret of a service, whose `source` a check asks for.
const FILE_MOUNT: &str = "a file mount";

/// The schema as JSON text (draft 7, which every editor's YAML server reads).
///
/// # Errors
/// None is known; the writer's interface has room for one.
pub fn schema() -> std::io::Result<String> {
    let mut writer = Writer::default();
    let mut root = writer.record(&FILE);
    if let Value::Object(root) = &mut root {
        root.insert("$schema".to_owned(), json!("http://json-schema.org/draft-07/schema#"));
        root.insert("$id".to_owned(), json!("compose.schema.json"));
        root.insert("title".to_owned(), json!("Compose file"));
        root.insert(
            "description".to_owned(),
            json!("The Compose Specification, and the x- keys of composer."),
        );
        root.insert("definitions".to_owned(), Value::Object(writer.definitions.into_iter().collect()));
    }
    Ok(serde_json::to_string_pretty(&root)? + "\n")
}

#[derive(Default)]
struct Writer {
    definitions: BTreeMap<String, Value>,
    /// Records that have a definition, each with its name.
    known: Vec<(&'static Record, String)>,
}

impl Writer {
    fn record(&mut self, record: &'static Record) -> Value {
        let properties: Map<String, Value> =
            record.fields.iter().map(|field| (field.key.to_owned(), self.field(record, field))).collect();
        let mut out =
            json!({ "type": "object", "properties": properties, "additionalProperties": record.open });
        if record.extensible {
            out["patternProperties"] = json!({ "^x-": {} });
        }
        // What is required may come from another file: the loader asks for it once everything is merged.
        out
    }

    /// An item of a list, which no other file can add anything to: what it needs, it needs at once.
    fn item(&mut self, item: &'static Shape) -> Value {
        let mut shape = self.shape(item);
        let record = match item.form() {
            Form::Short(conversion) => conversion.long.form(),
            other => other,
        };
        if let Form::Record(record) = record {
            let asked = if record.what == FILE_MOUNT { &["source"] } else { record.required };
            if !asked.is_empty() {
                // Of what is no mapping, this asks for nothing.
                shape = json!({ "allOf": [shape], "required": asked });
            }
        }
        shape
    }

    /// The name of the record's definition, which is made where it is not there yet.
    fn define(&mut self, record: &'static Record) -> String {
        if let Some((_, name)) = self.known.iter().find(|(known, _)| std::ptr::eq(*known, record)) {
            return name.clone();
        }
        let name = definition(record);
        let others = self.known.iter().filter(|(known, _)| definition(known) == name).count();
        let name = if others == 0 { name } else { format!("{name}_{}", others + 1) };
        // Known before it is made: what lies in itself would not come to an end.
        self.known.push((record, name.clone()));
        let made = self.record(record);
        self.definitions.insert(name.clone(), made);
        name
    }

    fn field(&mut self, record: &Record, field: &'static Field) -> Value {
        let mut shape = self.shape(&field.shape);
        if field.nullable {
            shape = either(vec![types(&["null"]), shape]);
        }
        // Beside `$ref` draft 7 ignores everything.
        if shape.get("$ref").is_some() {
            shape = json!({ "allOf": [shape] });
        }
        shape["description"] = json!(field.help);
        if let Some(words) = examples::of(record.what, field.key) {
            shape["examples"] = json!(words);
        }
        if field.deprecated {
            shape["deprecated"] = json!(true);
        }
        shape
    }

    fn shape(&mut self, shape: &'static Shape) -> Value {
        match shape {
            Shape::Any => json!({}),
            Shape::Text | Shape::Path => types(&["string"]),
            Shape::Checked(check) => check.pattern.map_or_else(|| types(&["string"]), text),
            Shape::BytesText => text(&bytes()),
            Shape::Duration => text(&duration()),
            Shape::Scalar => types(&["string", "number", "boolean"]),
            Shape::ScalarOrNull | Shape::ScalarOrEmpty => types(&["string", "number", "boolean", "null"]),
            Shape::TextOrNumber => types(&["string", "number"]),
            Shape::TextOrNumberOrEmpty => types(&["string", "number", "null"]),
            Shape::Float => either(vec![types(&["number"]), text(FLOAT)]),
            // Who reads `0755` as a decimal number has one of four digits too.
            Shape::Mode => {
                either(vec![json!({ "type": "integer", "minimum": 0, "maximum": 7777 }), text(MODE)])
            }
            Shape::Word(words) => either(vec![json!({ "enum": words }), expression()]),
            Shape::Bool => either(vec![types(&["boolean"]), text(BOOL)]),
            Shape::StrictBool => either(vec![types(&["boolean"]), expression()]),
            Shape::StrictNumber => either(vec![types(&["number"]), expression()]),
            Shape::StrictInt(least, most) => either(vec![number("integer", *least, *most), expression()]),
            Shape::Int(least, most) => either(vec![number("integer", *least, *most), text(WHOLE)]),
            // What can be shown may be written: Docker takes more of it than the kernel does.
            Shape::Bounded(0.., _) => either(vec![number("integer", 0, u32::MAX.into()), text(WHOLE)]),
            Shape::Bounded(..) => either(vec![types(&["integer"]), text(WHOLE)]),
            Shape::Number(least, _) => {
                let least = if *least == 0 { 0 } else { i64::MIN };
                either(vec![number("number", least, i64::MAX), text(WHOLE)])
            }
            Shape::Bytes => either(vec![types(&["integer"]), text(&bytes())]),
            Shape::BytesOrFraction | Shape::BytesOrMinusOne => {
                either(vec![types(&["number"]), text(&bytes())])
            }
            Shape::Set(item) => json!({ "type": "array", "items": self.shape(item), "uniqueItems": true }),
            Shape::Either(scalar, mapping) => either(vec![self.shape(scalar), self.shape(mapping)]),
            Shape::List(item) => json!({ "type": "array", "items": self.item(item) }),
            Shape::Map(value) => json!({ "type": "object", "additionalProperties": self.shape(value) }),
            Shape::Names(value) => json!({
                "type": "object",
                "patternProperties": { NAME: self.shape(value) },
                "additionalProperties": false,
            }),
            Shape::OrNull(shape) => either(vec![types(&["null"]), self.shape(shape)]),
            Shape::Record(record) => json!({ "$ref": format!("#/definitions/{}", self.define(record)) }),
            Shape::Short(conversion) | Shape::Late(conversion) => {
                let mut forms: Vec<Value> = conversion.forms.iter().map(|form| self.shape(form)).collect();
                match &conversion.long {
                    Shape::Either(scalar, other) => forms.extend([self.shape(scalar), self.shape(other)]),
                    long => forms.push(self.shape(long)),
                }
                forms.dedup();
                either(one_list(forms))
            }
        }
    }
}

/// Lists of different items as one list in which both may stand.
fn one_list(forms: Vec<Value>) -> Vec<Value> {
    let is_list = |form: &Value| form["type"] == "array" && form["uniqueItems"].is_null();
    let (lists, mut forms): (Vec<Value>, Vec<Value>) = forms.into_iter().partition(is_list);
    let mut items: Vec<Value> = lists.into_iter().map(|mut list| list["items"].take()).collect();
    items.dedup();
    match items.len() {
        0 => {}
        1 => forms.push(json!({ "type": "array", "items": items.remove(0) })),
        _ => forms.push(json!({ "type": "array", "items": either(items) })),
    }
    forms
}

fn types(names: &[&str]) -> Value {
    match names {
        [name] => json!({ "type": name }),
        names => json!({ "type": names }),
    }
}

/// Strings that are whole numbers, numbers, booleans and permission bits.
const WHOLE: &str = "^[+-]?[0-9]+$";
const FLOAT: &str = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$";
const BOOL: &str =
    "^([tT][rR][uU][eE]|[fF][aA][lL][sS][eE]|[yY]|[nN]|[yY][eE][sS]|[nN][oO]|[oO][nN]|[oO][fF][fF])$";
const MODE: &str = "^0*[0-7]{1,4}$";

/// [`crate::size`]: a number, of which digits may be parted by `_`, and a unit.
fn bytes() -> String {
    let digits = "[0-9]+(_[0-9]+)*";
    format!(
        r"^\+?({digits}(\.({digits})?)?|\.{digits})([eE][+-]?{digits})? ?([bB]|[kKmMgGtTpP]([iI]?[bB])?)?$"
    )
}

/// [`crate::duration`].
fn duration() -> String {
    r"^[+-]?(0|(([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h|d|w))+)$".to_owned()
}

/// A string of a form, or one that variables are put into.
fn text(pattern: &str) -> Value {
    json!({ "type": "string", "pattern": format!("{pattern}|\\$") })
}

fn number(kind: &str, least: i64, most: i64) -> Value {
    let mut number = types(&[kind]);
    if least > i64::MIN {
        number["minimum"] = json!(least);
    }
    if most < i64::MAX {
        number["maximum"] = json!(most);
    }
    number
}

/// A string that variables are put into: what comes out is looked at by the loader.
fn expression() -> Value {
    json!({ "type": "string", "pattern": "\\$" })
}

fn either(mut forms: Vec<Value>) -> Value {
    forms.dedup();
    match forms.len() {
        1 => forms.remove(0),
        _ => json!({ "anyOf": forms }),
    }
}

/// "a device request" is `device_request`; "`volume`", which is a key, `volume_key`.
fn definition(record: &Record) -> String {
    let words = record.what.trim_start_matches("the ").trim_start_matches("an ").trim_start_matches("a ");
    let key = if words.starts_with('`') { "_key" } else { "" };
    words.replace('`', "").replace([' ', '.'], "_") + key
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::spec::{Support, lacks};

    #[test]
    fn every_key_has_a_sentence_of_help() {
        let mut writer = Writer::default();
        writer.define(&FILE);
        assert!(writer.known.len() > 40, "only {} records", writer.known.len());
        for (record, _) in &writer.known {
            for field in record.fields {
                let help = field.help;
                assert!(
                    help.ends_with('.') && help.len() > 10,
                    "`{}` of {}: {help:?}",
                    field.key,
                    record.what
                );
                assert!(record.fields.iter().filter(|other| other.key == field.key).count() == 1);
            }
            for key in record.required {
                assert!(record.field(key).is_some(), "`{key}` is required of {}", record.what);
            }
        }
    }

    #[test]
    fn what_cannot_be_done_yet_lacks_something_and_nothing_else_does() {
        let mut writer = Writer::default();
        writer.define(&FILE);
        let fields = writer.known.iter().flat_map(|(record, _)| {
            record.fields.iter().map(move |field| (record.what, field.key, field.support))
        });
        let waiting: BTreeSet<(&str, &str)> = fields
            .filter(|(_, _, support)| *support == Support::NotYet)
            .map(|(what, key, _)| (what, key))
            .collect();
        let lacking: BTreeSet<(&str, &str)> = lacks::keys().collect();
        let missing: Vec<_> = waiting.difference(&lacking).collect();
        let stale: Vec<_> = lacking.difference(&waiting).collect();
        assert!(missing.is_empty() && stale.is_empty(), "without a reason: {missing:?}, done: {stale:?}");
    }

    #[test]
    fn examples_are_of_keys_that_are_there() {
        let mut writer = Writer::default();
        writer.define(&FILE);
        for (what, key, words) in examples::EXAMPLES {
            let known = writer.known.iter().filter(|(record, _)| record.what == *what);
            assert!(known.into_iter().any(|(record, _)| record.field(key).is_some()), "`{key}` of {what}");
            assert!(!words.is_empty());
        }
    }
}
