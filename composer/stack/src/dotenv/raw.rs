//! Env files of `format: raw`: what stands behind the first `=` of a line is the value, whatever it is.

use std::collections::BTreeMap;

use super::{Outer, Variable};
use crate::diagnostic::Report;
use crate::read::Numbered;
use crate::source::Span;

/// Reads an env file of `format: raw` and puts its variables over `variables`.
pub(crate) fn parse_raw(
    file: &Numbered,
    lookup: Outer<'_, '_>,
    variables: &mut BTreeMap<String, Variable>,
    report: &mut Report,
) {
    let (number, source) = file;
    let text = source.text.strip_prefix('\u{feff}').unwrap_or(&source.text);
    let mut next = source.text.len() - text.len();
    for line in text.split('\n') {
        let start = next;
        next += line.len() + 1;
        let line = line.strip_suffix('\r').unwrap_or(line);
        let statement = line.trim_start();
        if statement.is_empty() || statement.starts_with('#') {
            continue;
        }
        let start = start + line.len() - statement.len();
        let span = |from: usize, to: usize| Span::new(*number, start + from, start + to);
        let (key, value) = match statement.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (statement, None),
        };
        if key.is_empty() {
            report.error(span(0, 1), "a variable's name is missing here").help(HELP);
            continue;
        }
        if key.contains([' ', '\t']) {
            report.error(span(0, key.len()), "the name of a variable cannot have a space in it").help(HELP);
            continue;
        }
        let (value, span) = match value {
            Some(value) => (Some(value), span(key.len() + 1, statement.len())),
            // A key alone is handed on from the caller's environment.
            None => (lookup(key).map(|(value, _)| value), span(0, key.len())),
        };
        if let Some(value) = value {
            variables.insert(key.to_owned(), Variable { value: value.to_owned(), span: Some(span) });
        }
    }
}

const HELP: &str = "a raw env file has lines such as `KEY=value`, with nothing around the `=`";
