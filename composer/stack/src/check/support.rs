//! What `up` makes of each key that was given, by the table.

use indexmap::IndexMap;

use crate::diagnostic::Report;
use crate::source::Span;
use crate::spec::{FILE, Field, Form, Record, Shape, Support, lacks};
use crate::yaml::{Map, Node, Resolved, Value};

static ROOT: Shape = Shape::Record(&FILE);

/// Keys without effect: why, the first place, and how many others there are.
type Ignored = IndexMap<&'static str, (&'static str, Span, usize)>;

/// Refuses what this version cannot do, and says once for each key that has no effect.
pub(super) fn check(root: &Node, report: &mut Report) {
    let mut walk = Walk { ignored: Ignored::new(), report };
    walk.value(root, &ROOT, FILE.what);
    let Walk { ignored, report } = walk;
    for (key, (why, span, others)) in ignored {
        let found = report.warning(span, format!("`{key}` has no effect: {why}"));
        match others {
            0 => {}
            1 => drop(found.note("the same in one other place")),
            _ => drop(found.note(format!("the same in {others} other places"))),
        }
    }
}

struct Walk<'a> {
    ignored: Ignored,
    report: &'a mut Report,
}

impl Walk<'_> {
    /// `owner` is how messages call what the keys below belong to.
    fn value(&mut self, node: &Node, shape: &'static Shape, owner: &str) {
        match shape.form() {
            Form::OrNull(shape) => self.value(node, shape, owner),
            Form::Short(conversion) => self.value(node, &conversion.long, owner),
            Form::Record(record) => {
                if let Some(map) = node.as_map() {
                    self.record(map, record, owner);
                }
            }
            Form::List(item) => {
                let owner = record_of(item).map_or(owner, |record| record.what);
                node.items().iter().for_each(|node| self.value(node, item, owner));
            }
            Form::Map(value) => {
                let what = record_of(value).map(|record| kind(record.what));
                for (key, entry) in node.entries() {
                    let owner = what.map_or_else(|| owner.to_owned(), |what| format!("{what} `{key}`"));
                    self.value(&entry.node, value, &owner);
                }
            }
            // A scalar or a mapping is a dependency or such: nothing of it is left undone.
            Form::Either(_) | Form::Any | Form::Scalar => {}
        }
    }

    fn record(&mut self, map: &Map, record: &'static Record, owner: &str) {
        for field in record.fields {
            let Some(entry) = map.get(field.key) else { continue };
            match field.support {
                Support::Done => self.value(&entry.node, &field.shape, &below(field, owner)),
                _ if says_nothing(field.key, &entry.node) => {}
                Support::NotYet => {
                    let lack = lacks::of(record.what, field.key);
                    let why = lack.map_or_else(String::new, |lack| format!(": {}", lack.why));
                    self.report
                        .error(entry.key, format!("`{}` is not supported yet{why}", field.key))
                        .label(within(owner))
                        .help(lack.map_or("", |lack| lack.way));
                }
                Support::Refused(why) => {
                    self.report
                        .error(entry.key, format!("`{}` cannot be done: {why}", field.key))
                        .label(within(owner));
                }
                Support::Ignored(why) => {
                    let place = self.ignored.entry(field.key).or_insert((why, entry.key, 0));
                    if place.1 != entry.key {
                        place.2 += 1;
                    }
                }
            }
        }
    }
}

fn within(owner: &str) -> String {
    if owner == FILE.what { format!("at {owner}") } else { format!("in {owner}") }
}

/// The owner of the keys below a field: `deploy`, unless they are names of the user's.
fn below(field: &Field, owner: &str) -> String {
    match record_of(&field.shape) {
        Some(_) => format!("`{}`", field.key),
        None => owner.to_owned(),
    }
}

fn record_of(shape: &Shape) -> Option<&'static Record> {
    match shape.form() {
        Form::Record(record) => Some(record),
        Form::OrNull(shape) => record_of(shape),
        Form::Short(conversion) => record_of(&conversion.long),
        Form::Any | Form::Scalar | Form::List(_) | Form::Map(_) | Form::Either(_) => None,
    }
}

/// "a network of a service" is a `network`.
fn kind(what: &str) -> &str {
    let what = what.strip_prefix("a ").or_else(|| what.strip_prefix("an ")).unwrap_or(what);
    what.split(" of ").next().unwrap_or(what)
}

/// What is empty or off asks for nothing; the few switches that are on by themselves do.
fn says_nothing(key: &str, node: &Node) -> bool {
    match &node.value {
        Value::List(items) => items.is_empty(),
        Value::Map(map) => map.is_empty(),
        Value::Scalar(scalar) => match scalar.resolve() {
            Resolved::Null | Resolved::Text("") => true,
            Resolved::Bool(value) => !value && !matches!(key, "enable_ipv4"),
            Resolved::Text(_) | Resolved::Int(_) | Resolved::Float(_) => false,
        },
    }
}
