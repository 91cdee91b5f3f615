//! What a template is run on: gotmpl's values, made of the JSON that is printed otherwise.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use gotmpl::Value;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

/// Among the keys of an example: any key.
const ANY: &str = "*";

/// JSON with its keys in their order.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(untagged)]
enum Json {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Float(f64),
    Text(String),
    List(Vec<Json>),
    Object(IndexMap<String, Json>),
}

/// One row's value. In Go a field that a struct has not is an error, a key that a map has not is none, and they are printed
/// in different ways; gotmpl knows maps alone, so that it is kept here which of them are structs.
pub struct Subject {
    pub root: Value,
    /// By their addresses.
    structs: HashMap<usize, Struct>,
    /// What `.Label` finds.
    pub labels: Option<BTreeMap<String, String>>,
}

/// What is known of a struct.
struct Struct {
    json: String,
    fields: Vec<String>,
}

impl Default for Subject {
    fn default() -> Self {
        Self { root: Value::Nil, structs: HashMap::new(), labels: None }
    }
}

impl Subject {
    /// One line of a listing, with the fields that it has at least.
    pub fn line(line: &impl Serialize, fields: &[(&str, &str)]) -> serde_json::Result<Self> {
        let example = fields.iter().map(|(field, _)| ((*field).to_owned(), Json::Text(String::new())));
        let example = Json::Object(example.collect());
        Self::new(line, &example)
    }

    /// A document. The example has all fields of Docker's type, those too that are left out of JSON where they say nothing:
    /// an object with names is a struct, one without, or with `*`, a map.
    pub fn document(document: &impl Serialize, example: &str) -> serde_json::Result<Self> {
        let mut subject = Self::new(document, &serde_json::from_str(example)?)?;
        // The field's name in Docker's type; `Id` is that in its JSON. Docker takes both.
        if let Value::Map(root) = &subject.root
            && let Some(id) = root.get("Id").cloned()
            && let Some(known) = subject.structs.remove(&address(root))
        {
            let mut more = BTreeMap::clone(root);
            more.insert("ID".into(), id);
            subject.root = subject.object(more, known);
        }
        Ok(subject)
    }

    /// Headers in the fields' places.
    pub fn headers(fields: &[(&str, &str)]) -> Self {
        let entries = fields.iter().map(|(field, header)| ((*field).into(), Value::String((*header).into())));
        Self { root: Value::Map(Arc::new(entries.collect())), ..Self::default() }
    }

    fn new(value: &impl Serialize, example: &Json) -> serde_json::Result<Self> {
        let mut subject = Self::default();
        let json = serde_json::from_str(&serde_json::to_string(value)?)?;
        subject.root = subject.value(json, example)?;
        Ok(subject)
    }

    fn value(&mut self, json: Json, example: &Json) -> serde_json::Result<Value> {
        Ok(match json {
            Json::Null => return self.zero(example),
            Json::Bool(value) => Value::Bool(value),
            Json::Int(value) => Value::Int(value),
            Json::Uint(value) => Value::Uint(value),
            Json::Float(value) => Value::Float(value),
            Json::Text(text) => Value::String(text.into()),
            Json::List(items) => {
                let example = if let Json::List(examples) = example { examples.first() } else { None };
                let items = items.into_iter().map(|item| self.value(item, example.unwrap_or(&Json::Null)));
                Value::List(items.collect::<Result<_, _>>()?)
            }
            Json::Object(entries) => return self.entries(entries, example),
        })
    }

    fn entries(&mut self, entries: IndexMap<String, Json>, example: &Json) -> serde_json::Result<Value> {
        let none = IndexMap::new();
        let examples = match example {
            Json::Object(examples) => {
                match examples.get(ANY).or(examples.is_empty().then_some(&Json::Null)) {
                    Some(of_all) => {
                        let entry =
                            |(key, value): (String, Json)| Ok((key.into(), self.value(value, of_all)?));
                        let entries: serde_json::Result<_> = entries.into_iter().map(entry).collect();
                        return Ok(Value::Map(Arc::new(entries?)));
                    }
                    None => examples,
                }
            }
            _ => &none,
        };
        let json = serde_json::to_string(&entries)?;
        let others = entries.keys().filter(|key| !examples.contains_key(*key));
        let fields = examples.keys().chain(others).cloned().collect();
        let mut values = BTreeMap::new();
        for (field, example) in examples.iter().filter(|(field, _)| !entries.contains_key(*field)) {
            values.insert(field.as_str().into(), self.zero(example)?);
        }
        for (key, value) in entries {
            let value = self.value(value, examples.get(&key).unwrap_or(&Json::Null))?;
            values.insert(key.into(), value);
        }
        Ok(self.object(values, Struct { json, fields }))
    }

    /// What a field is that nobody has set.
    fn zero(&mut self, example: &Json) -> serde_json::Result<Value> {
        match example {
            Json::Null => Ok(Value::Nil),
            Json::List(_) => Ok(Value::List(Arc::new([]))),
            Json::Object(_) => self.entries(IndexMap::new(), example),
            Json::Bool(_) | Json::Int(_) | Json::Uint(_) | Json::Float(_) | Json::Text(_) => {
                self.value(example.clone(), &Json::Null)
            }
        }
    }

    fn object(&mut self, values: BTreeMap<Arc<str>, Value>, known: Struct) -> Value {
        let values = Arc::new(values);
        self.structs.insert(address(&values), known);
        Value::Map(values)
    }

    /// Whether a map is a struct.
    pub fn is_struct(&self, map: &Arc<BTreeMap<Arc<str>, Value>>) -> bool {
        self.structs.contains_key(&address(map))
    }

    /// Whether a value is the one that the template was given.
    pub fn is_root(&self, value: &Value) -> bool {
        matches!((value, &self.root), (Value::Map(one), Value::Map(root)) if Arc::ptr_eq(one, root))
    }

    /// A value as JSON.
    pub fn json(&self, value: &Value) -> serde_json::Result<String> {
        match value {
            Value::Nil | Value::Function(_) => Ok("null".to_owned()),
            Value::Bool(value) => serde_json::to_string(value),
            Value::Int(value) => serde_json::to_string(value),
            Value::Uint(value) => serde_json::to_string(value),
            Value::Float(value) => serde_json::to_string(value),
            Value::String(text) => serde_json::to_string(text.as_ref()),
            Value::List(items) => {
                let items: Result<Vec<String>, _> = items.iter().map(|item| self.json(item)).collect();
                Ok(format!("[{}]", items?.join(",")))
            }
            Value::Map(map) => match self.structs.get(&address(map)) {
                Some(known) => Ok(known.json.clone()),
                None => {
                    let entry = |(key, value): (&Arc<str>, &Value)| {
                        Ok(format!("{}:{}", serde_json::to_string(key.as_ref())?, self.json(value)?))
                    };
                    let entries: serde_json::Result<Vec<String>> = map.iter().map(entry).collect();
                    Ok(format!("{{{}}}", entries?.join(",")))
                }
            },
        }
    }

    /// A value as Go prints it: structs without the names of fields.
    pub fn print(&self, value: &Value) -> String {
        match value {
            Value::List(items) => {
                let items: Vec<String> = items.iter().map(|item| self.print(item)).collect();
                format!("[{}]", items.join(" "))
            }
            Value::Map(map) => match self.structs.get(&address(map)) {
                Some(known) => {
                    let values = known.fields.iter().filter_map(|field| map.get(field.as_str()));
                    let values: Vec<String> = values.map(|value| self.print(value)).collect();
                    format!("{{{}}}", values.join(" "))
                }
                None => {
                    let entries: Vec<String> =
                        map.iter().map(|(key, value)| format!("{key}:{}", self.print(value))).collect();
                    format!("map[{}]", entries.join(" "))
                }
            },
            Value::Float(value) => fraction(*value),
            Value::Nil
            | Value::Bool(_)
            | Value::Int(_)
            | Value::Uint(_)
            | Value::String(_)
            | Value::Function(_) => value.to_string(),
        }
    }
}

/// As `%v` of Go's fmt has it: with an exponent where that is below -4 or above 5.
fn fraction(value: f64) -> String {
    let text = format!("{value:e}");
    match text.split_once('e').map(|(digits, exponent)| (digits, exponent.parse::<i32>())) {
        Some((digits, Ok(exponent))) if !(-4..6).contains(&exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", exponent.abs())
        }
        _ => value.to_string(),
    }
}

/// Values are shared, not copied, and live as long as the root does.
fn address(map: &Arc<BTreeMap<Arc<str>, Value>>) -> usize {
    Arc::as_ptr(map).addr()
}
