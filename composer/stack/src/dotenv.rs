//! Env files: `KEY=value` lines with quotes, `export`, comments and interpolation, as Docker Compose reads them.

use std::collections::BTreeMap;
use std::path::Path;

use crate::diagnostic::Report;
use crate::interpolate::{Finding, expand};
use crate::source::Span;

/// A variable that an env file defines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Variable {
    pub value: String,
    pub span: Option<Span>,
}

/// Until the branch `wt-env` is merged.
pub(crate) fn parse(
    path: &Path,
    text: String,
    lookup: crate::interpolate::Lookup<'_, '_>,
    variables: &mut BTreeMap<String, Variable>,
    report: &mut Report,
) {
    let known = |name: &str| {
        lookup(name).map(str::to_owned).or_else(|| variables.get(name).map(|found| found.value.clone()))
    };
    let read = parse_old(path, text, &known, report);
    variables.extend(read.into_iter().map(|(key, value)| (key, Variable { value, span: None })));
}

/// Until the branch `wt-env` is merged.
pub(crate) fn parse_raw(
    _path: &Path,
    text: String,
    lookup: crate::interpolate::Lookup<'_, '_>,
    variables: &mut BTreeMap<String, Variable>,
    _report: &mut Report,
) {
    let read = parse_raw_old(&text, &|name| lookup(name).map(str::to_owned));
    variables.extend(read.into_iter().map(|(key, value)| (key, Variable { value, span: None })));
}

/// Reads an env file. `lookup` is what stands above the file: the caller's environment.
fn parse_old(
    path: &Path,
    text: String,
    lookup: &dyn Fn(&str) -> Option<String>,
    report: &mut Report,
) -> BTreeMap<String, String> {
    let (number, source) = report.sources.add(path, text);
    let text = source.text.strip_prefix('\u{feff}').unwrap_or(&source.text);
    let skipped = source.text.len() - text.len();
    let mut values = BTreeMap::new();
    let mut at = 0;
    while at < text.len() {
        let end = text[at..].find('\n').map_or(text.len(), |found| at + found);
        let line = &text[at..end];
        let start = at + (line.len() - line.trim_start().len());
        let bare = line.trim();
        at = end + 1;
        if bare.is_empty() || bare.starts_with('#') {
            continue;
        }
        let span = |from: usize, to: usize| Span::new(number, from + skipped, to + skipped);
        let after = bare.strip_prefix("export").filter(|rest| rest.starts_with(char::is_whitespace));
        let after = after.map_or(bare, str::trim_start);
        let key_start = start + bare.len() - after.len();
        let key_len = after.find(['=', ':']).unwrap_or(after.len());
        let key = after[..key_len].trim_end();
        if key.is_empty() || !key.chars().all(|c| c.is_ascii_alphanumeric() || "_.-[]".contains(c)) {
            report
                .error(span(key_start, key_start + key.len()), format!("`{key}` is not a variable name"))
                .help("an env file has lines such as `KEY=value`");
            continue;
        }
        if key_len == after.len() {
            // A key alone is handed on from the caller's environment.
            if let Some(value) = lookup(key) {
                values.insert(key.to_owned(), value);
            }
            continue;
        }
        let value_at = key_start + key_len + 1;
        let rest = text[value_at..].trim_start_matches([' ', '\t']);
        let value_start = text.len() - rest.len();
        let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''));
        let raw = match quote {
            Some(quote) => {
                let Some(close) = closing_quote(rest, quote) else {
                    let message = format!("this {quote} is never closed");
                    report.error(span(value_start, value_start + 1), message);
                    return values;
                };
                let next = value_start + close + 1;
                at = text[next..].find('\n').map_or(text.len(), |found| next + found + 1);
                rest[1..close].to_owned()
            }
            None => unquoted(&text[value_at..end.max(value_at)]).to_owned(),
        };
        let value = match quote {
            Some('\'') => raw.replace("\\'", "'"),
            _ => {
                let (value, findings) =
                    expand(&if quote.is_some() { unescape(&raw) } else { raw }, &|name| {
                        lookup(name).or_else(|| values.get(name).cloned())
                    });
                for finding in findings {
                    if let Finding::Wrong { message, .. } = finding {
                        report.error(span(value_start, end.max(value_start)), message);
                    }
                }
                value
            }
        };
        values.insert(key.to_owned(), value);
    }
    values
}

/// Reads an env file of `format: raw`: everything behind the first `=` is the value.
fn parse_raw_old(text: &str, lookup: &dyn Fn(&str) -> Option<String>) -> BTreeMap<String, String> {
    let lines = text.lines().map(str::trim_start).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .filter_map(|line| match line.split_once('=') {
            Some((key, value)) => Some((key.to_owned(), value.to_owned())),
            None => lookup(line.trim_end()).map(|value| (line.trim_end().to_owned(), value)),
        })
        .collect()
}

fn unquoted(line: &str) -> &str {
    let mut end = line.len();
    for (at, _) in line.match_indices('#') {
        if at == 0 || line[..at].ends_with(char::is_whitespace) {
            end = at;
            break;
        }
    }
    line[..end].trim()
}

fn closing_quote(text: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        if c == quote && !escaped {
            return Some(at);
        }
        escaped = c == '\\' && !escaped;
    }
    None
}

fn unescape(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('t') => out.push('\t'),
            Some('$') => out.push_str("$$"),
            Some(other @ ('"' | '\\')) => out.push(other),
            Some(other) => out.extend(['\\', other]),
            None => out.push('\\'),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_comments_export_and_variables() {
        let text = "# c\nA=1 # one\nexport B = \"x\\n$A\\$\" \nC='$A#'\nD=\"two\nlines\"\nE=a#b\nF: y\nHOME\nNONE\nG=\nH=${A}-${Z:-z}\n";
        let mut report = Report::default();
        let lookup = |name: &str| (name == "HOME").then(|| "/root".to_owned());
        let values = parse_old(Path::new(".env"), text.to_owned(), &lookup, &mut report);
        let expected = [
            ("A", "1"),
            ("B", "x\n1$"),
            ("C", "$A#"),
            ("D", "two\nlines"),
            ("E", "a#b"),
            ("F", "y"),
            ("G", ""),
            ("H", "1-z"),
            ("HOME", "/root"),
        ];
        let expected: BTreeMap<_, _> = expected.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        assert_eq!(values, expected);
        assert!(report.found.is_empty());
    }

    #[test]
    fn raw_files_keep_quotes_and_dollars() {
        let values = parse_raw_old("A=\"$x\" # y\n", &|_| None);
        assert_eq!(values["A"], "\"$x\" # y");
    }
}
