//! Puts variables into the tree's values (not into its keys).

mod template;

use std::collections::{BTreeMap, BTreeSet};

use crate::diagnostic::Report;
use crate::dotenv;
use crate::source::Span;
use crate::yaml::{Node, Value};

pub(crate) use template::{Lookup, Room, expand};

/// What variables may add to a file: more than anyone writes, and less than a host's memory.
const ROOM: usize = 16 << 20;

/// What variables stand for: the caller's environment above `.env`.
#[derive(Debug)]
pub(crate) struct Variables {
    values: BTreeMap<String, String>,
    /// Variables that a warning was given for: one each is enough.
    warned: BTreeSet<String>,
    room: Room,
}

impl Variables {
    pub fn new(environment: &BTreeMap<String, String>, dotenv: BTreeMap<String, dotenv::Variable>) -> Self {
        let mut values: BTreeMap<String, String> =
            dotenv.into_iter().map(|(name, variable)| (name, variable.value)).collect();
        values.extend(environment.iter().map(|(key, value)| (key.clone(), value.clone())));
        Self { values, warned: BTreeSet::new(), room: Room::new(ROOM) }
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    pub fn set(&mut self, name: &str, value: &str) {
        self.values.insert(name.to_owned(), value.to_owned());
    }
}

/// Interpolates every scalar below `node`.
pub(crate) fn tree(node: &mut Node, variables: &mut Variables, report: &mut Report) {
    match &mut node.value {
        Value::Map(map) => map.values_mut().for_each(|entry| tree(&mut entry.node, variables, report)),
        Value::List(items) => items.iter_mut().for_each(|item| tree(item, variables, report)),
        Value::Scalar(scalar) => {
            if !scalar.text.contains('$') {
                return;
            }
            let Variables { values, warned, room } = variables;
            let (text, findings) = expand(&scalar.text, &|name| values.get(name).map(String::as_str), room);
            for finding in findings {
                let span = within(&scalar.text, node.span, finding.range(), report);
                finding.say(span, warned, report);
            }
            if text != scalar.text {
                *scalar = crate::yaml::Scalar { text, plain: false, interpolated: true };
            }
        }
    }
}

/// The place of a part of a scalar, where the file shows it literally; else the whole scalar.
fn within(text: &str, span: Span, range: std::ops::Range<usize>, report: &Report) -> Span {
    let written = report.sources.slice(span);
    let Some(part) = text.get(range.clone()).filter(|part| !part.is_empty()) else {
        return span;
    };
    // The same expression may stand there more than once: count those before it.
    let before = text.get(..range.start).map_or(0, |before| before.matches(part).count());
    match written.match_indices(part).nth(before) {
        Some((at, _)) => Span { start: span.start + at, end: span.start + at + part.len(), ..span },
        None => span,
    }
}
