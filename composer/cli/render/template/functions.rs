//! The functions of templates: Docker's, and those that stand for fields once these have a place.

use std::sync::{Arc, Mutex};

use gotmpl::{FuncMap, Result, TemplateError, Value, ValueFunc};

use super::{Subject, lock};

/// Those of the language.
pub const BUILT_IN: [&str; 19] = [
    "and", "call", "eq", "ge", "gt", "html", "index", "js", "le", "len", "lt", "ne", "not", "or", "print",
    "printf", "println", "slice", "urlquery",
];

/// `AT OFFSET`: where the template is. No name of a user's has such letters.
pub const AT: &str = "\0at";
/// `GET VALUE FIELDS OFFSET`: `.A.B` of a value.
pub const GET: &str = "\0get";
/// `CALL VALUE FIELDS OFFSET ARGUMENTS`: the same with arguments.
pub const CALL: &str = "\0call";

/// `PRINT VALUE`: the text of what is not text.
pub const PRINT: &str = "\0print";

/// `KEEP VALUE`: what is used again, as it is.
pub const KEEP: &str = "\0keep";

/// The one method there is.
const LABEL: &str = "Label";
/// As many bytes of a string that is used again as no listing needs.
const KEPT: usize = 1 << 20;
/// As many blanks as a `pad` may ask for.
const BLANKS: i64 = 65_535;

/// What functions share with whoever runs the template.
pub type State = Arc<Mutex<Scene>>;

/// What a template is run on, and where it is.
#[derive(Default)]
pub struct Scene {
    pub subject: Subject,
    /// In bytes of what is parsed.
    pub at: usize,
}

type Function = fn(&Subject, &[Value]) -> Result<Value>;

/// Those of rows.
pub fn rows(state: &State) -> FuncMap {
    let all: [(&str, Function); 13] = [
        (GET, get),
        (CALL, call),
        (PRINT, print),
        (KEEP, keep),
        ("index", index),
        ("join", join),
        ("json", json),
        ("lower", |_, args| Ok(text(only("lower", args)?.to_lowercase()))),
        ("pad", pad),
        ("split", split),
        ("title", |_, args| Ok(text(title(only("title", args)?)))),
        ("truncate", truncate),
        ("upper", |_, args| Ok(text(only("upper", args)?.to_uppercase()))),
    ];
    functions(state, all)
}

/// Those of the line of headers: what changes values leaves a header as it is, but for `pad`, as columns go by it.
pub fn headers(state: &State) -> FuncMap {
    const AS_IT_IS: Function = |_, args| Ok(args.first().cloned().unwrap_or(Value::Nil));
    let same = ["join", "json", "lower", "split", "title", "truncate", "upper"].map(|name| (name, AS_IT_IS));
    let mut all = functions(state, same);
    all.extend(functions(
        state,
        [
            (GET, get as Function),
            (CALL, header_of_call),
            (PRINT, print),
            (KEEP, keep),
            ("index", index),
            ("pad", pad),
        ],
    ));
    all
}

fn functions(state: &State, all: impl IntoIterator<Item = (&'static str, Function)>) -> FuncMap {
    let at = Arc::clone(state);
    let at: ValueFunc = Arc::new(move |args| {
        lock(&at).at = args.first().and_then(offset).unwrap_or_default();
        Ok(Value::Nil)
    });
    let others = all.into_iter().map(|(name, function)| {
        let state = Arc::clone(state);
        let function: ValueFunc = Arc::new(move |args| {
            let mut scene = lock(&state);
            let result = function(&scene.subject, args);
            // Where a field is, is known better than where its action begins.
            if result.is_err()
                && [GET, CALL].contains(&name)
                && let Some(offset) = args.get(2).and_then(offset)
            {
                scene.at = offset;
            }
            result
        });
        (name.to_owned(), function)
    });
    others.chain([(AT.to_owned(), at)]).collect()
}

fn offset(value: &Value) -> Option<usize> {
    value.as_int().and_then(|offset| offset.try_into().ok())
}

fn wrong(what: impl Into<String>) -> TemplateError {
    TemplateError::Exec(what.into())
}

fn text(text: impl Into<String>) -> Value {
    Value::String(text.into().into())
}

/// `.A.B` of a value.
fn get(subject: &Subject, args: &[Value]) -> Result<Value> {
    let [base, Value::String(path), ..] = args else { return Err(wrong("a field of nothing")) };
    path.split('.').try_fold(base.clone(), |value, name| match &value {
        Value::Map(map) => match map.get(name) {
            Some(found) => Ok(found.clone()),
            None if subject.is_root(&value) && name == LABEL && subject.labels.is_some() => {
                Err(wrong("`.Label` wants a name: `.Label \"NAME\"`"))
            }
            None if subject.is_struct(map) => {
                let method = subject.labels.as_ref().filter(|_| subject.is_root(&value)).map(|_| LABEL);
                let mut all: Vec<&str> = map.keys().map(AsRef::as_ref).chain(method).collect();
                all.sort_unstable();
                Err(wrong(format!("there is no field `{name}`; there are {}", all.join(", "))))
            }
            None => Ok(Value::Nil),
        },
        Value::Nil => Ok(Value::Nil),
        other => Err(wrong(format!("there is no field `{name}` in a {}", other.type_name()))),
    })
}

/// Lists, maps and fractions are printed as Go prints them; gotmpl prints all else.
fn print(subject: &Subject, args: &[Value]) -> Result<Value> {
    Ok(match args {
        [value @ (Value::List(_) | Value::Map(_) | Value::Float(_))] => text(subject.print(value)),
        [other] => other.clone(),
        _ => Value::Nil,
    })
}

/// As `$x = print $x $x` in a `range` would soon have all memory.
fn keep(_: &Subject, args: &[Value]) -> Result<Value> {
    match args {
        [Value::String(text)] if text.len() > KEPT => {
            Err(wrong(format!("a string has more than {KEPT} bytes")))
        }
        [value] => Ok(value.clone()),
        _ => Ok(Value::Nil),
    }
}

/// A field with arguments, as `.Label` has one.
fn call(subject: &Subject, args: &[Value]) -> Result<Value> {
    match (args, &subject.labels) {
        ([base, Value::String(path), _, Value::String(key)], Some(labels))
            if path.as_ref() == LABEL && subject.is_root(base) =>
        {
            Ok(text(labels.get(key.as_ref()).cloned().unwrap_or_default()))
        }
        ([base, Value::String(path), ..], Some(_)) if path.as_ref() == LABEL && subject.is_root(base) => {
            Err(wrong("`.Label` wants one name: `.Label \"NAME\"`"))
        }
        _ => {
            get(subject, args)?;
            let name = args.get(1).map(ToString::to_string).unwrap_or_default();
            Err(wrong(format!("`.{name}` is no function, and takes no arguments")))
        }
    }
}

/// A label's column has the last part of its name.
fn header_of_call(subject: &Subject, args: &[Value]) -> Result<Value> {
    match args {
        [_, Value::String(path), _, Value::String(key)] if path.as_ref() == LABEL => {
            let last = key.rsplit('.').next().unwrap_or_default();
            Ok(text(last.replace(['-', '_'], " ")))
        }
        _ => get(subject, args),
    }
}

/// The language's own, but a key that a map of strings has not is an empty string, as Go's types have it.
fn index(_: &Subject, args: &[Value]) -> Result<Value> {
    let [first, keys @ ..] = args else { return Err(wrong("`index` wants a value and a key")) };
    keys.iter().try_fold(first.clone(), |value, key| match (&value, key) {
        (Value::Map(map), Value::String(key)) if !map.contains_key(key.as_ref()) => {
            let is_of_strings = map.values().all(|value| matches!(value, Value::String(_)));
            Ok(if is_of_strings { text("") } else { Value::Nil })
        }
        (value, key) => value.index(key),
    })
}

fn join(subject: &Subject, args: &[Value]) -> Result<Value> {
    let [items, Value::String(separator)] = args else { return Err(wants("join", "a list and a string")) };
    let mut texts: Vec<String> = match items {
        Value::Nil => Vec::new(),
        Value::List(items) => items.iter().map(|item| subject.print(item)).collect(),
        Value::Map(map) => map.values().map(|value| subject.print(value)).collect(),
        other => return Err(wrong(format!("`join` wants a list, not a {}", other.type_name()))),
    };
    if matches!(items, Value::Map(_)) {
        texts.sort();
    }
    Ok(text(texts.join(separator)))
}

fn json(subject: &Subject, args: &[Value]) -> Result<Value> {
    let [value] = args else { return Err(wants("json", "one value")) };
    subject.json(value).map(text).map_err(|error| wrong(error.to_string()))
}

fn pad(_: &Subject, args: &[Value]) -> Result<Value> {
    let [Value::String(source), Value::Int(before), Value::Int(after)] = args else {
        return Err(wants("pad", "a string and two numbers"));
    };
    let blanks = |count: &i64| match count {
        0..=BLANKS => Ok(" ".repeat(usize::try_from(*count).unwrap_or_default())),
        _ => Err(wrong(format!("`pad` wants numbers from 0 to {BLANKS}, not {count}"))),
    };
    let (before, after) = (blanks(before)?, blanks(after)?);
    Ok(if source.is_empty() { text("") } else { text(format!("{before}{source}{after}")) })
}

fn split(_: &Subject, args: &[Value]) -> Result<Value> {
    let [Value::String(source), Value::String(separator)] = args else {
        return Err(wants("split", "two strings"));
    };
    let parts: Vec<Value> = if separator.is_empty() {
        source.chars().map(text).collect()
    } else {
        source.split(separator.as_ref()).map(text).collect()
    };
    Ok(Value::List(parts.into()))
}

/// To so many bytes, but never within a letter.
fn truncate(_: &Subject, args: &[Value]) -> Result<Value> {
    let [Value::String(source), Value::Int(most)] = args else {
        return Err(wants("truncate", "a string and a number"));
    };
    let most = usize::try_from(*most)
        .map_err(|_| wrong(format!("`truncate` wants a number from 0 on, not {most}")))?;
    let end = source.floor_char_boundary(most);
    Ok(text(&source[..end]))
}

/// A word begins after whatever is no letter, digit or underscore.
fn title(source: &str) -> String {
    let mut is_within = false;
    let letter = |letter: char| {
        let shown: String = if is_within { letter.to_string() } else { letter.to_uppercase().collect() };
        is_within = match letter {
            '_' => true,
            letter if letter.is_ascii() => letter.is_ascii_alphanumeric(),
            letter => !letter.is_whitespace(),
        };
        shown
    };
    source.chars().map(letter).collect()
}

fn only<'a>(name: &str, args: &'a [Value]) -> Result<&'a str> {
    match args {
        [Value::String(text)] => Ok(text),
        [other] => Err(wrong(format!("`{name}` wants a string, not a {}", other.type_name()))),
        _ => Err(wants(name, "one string")),
    }
}

fn wants(name: &str, what: &str) -> TemplateError {
    wrong(format!("`{name}` wants {what}"))
}
