//! Env files: `KEY=value` lines with quotes, `export`, comments and interpolation, as Docker Compose reads them.

mod quoted;
mod raw;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::diagnostic::Report;
use crate::interpolate::{Room, expand};
use crate::read::Numbered;
use crate::source::{Span, StepKind, Way};

pub(crate) use self::raw::parse_raw;

/// What variables may add to an env file. No program could be started with an environment that large.
const ROOM: usize = 1 << 20;

/// A variable that an env file defines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Variable {
    pub value: String,
    /// Where its value stands, with its quotes; its name, where the file hands it on from the caller. `None` for one
    /// that no file defines.
    pub span: Option<Span>,
}

/// What a variable has outside of the file, and who gives it.
pub(crate) type Outer<'a, 'v> = &'a dyn Fn(&str) -> Option<(&'v str, Giver)>;

/// Who gives a variable its value.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Giver {
    /// The caller's environment.
    Caller,
    /// An env file.
    File(Span),
    /// The service itself.
    Service,
}

/// So many steps of a value's way are taken over from the variables in it: each may have some of others.
const STEPS: usize = 16;

/// Reads an env file and puts its variables over `variables`, those of the files before it.
///
/// An expression stands for what `lookup` says (the caller's environment), then for what `variables` has, the lines
/// above it included.
pub(crate) fn parse(
    file: &Numbered,
    lookup: Outer<'_, '_>,
    variables: &mut BTreeMap<String, Variable>,
    report: &mut Report,
) {
    let (number, source) = file;
    let text = source.text.as_str();
    let at = text.len() - text.strip_prefix('\u{feff}').unwrap_or(text).len();
    let (room, warned) = (Room::new(ROOM), BTreeSet::new());
    let mut parser = Parser {
        text,
        at,
        source: *number,
        lookup,
        variables,
        report,
        room,
        warned,
        closing_quote: None,
        said: false,
        line: 0..0,
    };
    while parser.skip_to_statement() {
        parser.statement();
    }
}

struct Parser<'a, 'v> {
    text: &'a str,
    at: usize,
    source: u32,
    lookup: Outer<'a, 'v>,
    variables: &'a mut BTreeMap<String, Variable>,
    report: &'a mut Report,
    room: Room,
    warned: BTreeSet<String>,
    /// The quote that ended a value on this line: another statement may follow, though few would mean one.
    closing_quote: Option<Span>,
    /// Something has been said about what follows quotes on this line.
    said: bool,
    /// A stretch without a line break, up to one, so that a line of many statements is not searched for each.
    line: Range<usize>,
}

impl<'a> Parser<'a, '_> {
    /// Passes over space and comments; whether something follows.
    fn skip_to_statement(&mut self) -> bool {
        loop {
            let rest = &self.text[self.at..];
            let found = rest.trim_start();
            let start = self.text.len() - found.len();
            if self.text[self.at..start].contains('\n') {
                self.closing_quote = None;
                self.said = false;
            }
            self.at = start;
            if !found.starts_with('#') {
                return !found.is_empty();
            }
            self.at = self.line_end(start);
        }
    }

    /// `[export] KEY [= VALUE]`, from its first character.
    fn statement(&mut self) {
        let rest = &self.text[self.at..];
        let key_start = match rest.strip_prefix("export") {
            Some(behind) if behind.starts_with(['\t', '\n', '\x0c', '\r', ' ']) => {
                self.text.len() - behind.trim_start_matches(is_blank).len()
            }
            _ => self.at,
        };
        let line_end = self.line_end(key_start);
        let line = &self.text[key_start..line_end];
        let separator = line.find(['=', ':']);
        let key = line[..separator.unwrap_or(line.len())].trim_end_matches(is_blank);
        let named = self.name(key, key_start, separator);
        let misread = !named && self.closing_quote.is_some();
        // What follows a value that ended too early is no statement, nor is what follows that.
        let Some(separator) = separator.filter(|_| !misread) else {
            self.at = line_end;
            // A key alone is handed on from the caller's environment.
            if let Some((value, _)) = (self.lookup)(key).filter(|_| named) {
                self.define(key, value.to_owned(), self.span(key_start, key_start + key.len()));
            }
            return;
        };
        // Also of a key that is none: its value may go over lines, and be wrong itself.
        let value = self.value(key_start + separator + 1, line_end);
        if let Some((value, span)) = value.filter(|_| named) {
            self.define(key, value, span);
        }
    }

    /// Whether `key`, at `start`, is a name; what is wrong with it is reported.
    fn name(&mut self, key: &str, start: usize, separator: Option<usize>) -> bool {
        let bad =
            key.char_indices().find(|&(_, c)| !(is_blank(c) || c.is_alphanumeric() || "_.-[]".contains(c)));
        if let (true, Some(separator)) = (key.is_empty(), separator) {
            // Docker Compose takes it for a variable, which nobody can name.
            let at = start + separator;
            self.report
                .warning(self.span(at, at + 1), "a variable's name is missing here: the line has no effect")
                .help("an env file has lines such as `KEY=value`");
            return false;
        }
        let (message, span) = if let Some((at, c)) = bad {
            let at = start + at;
            // Spelled out where it does not show.
            let shown = if "\"'".contains(c) { c.to_string() } else { c.escape_debug().to_string() };
            (format!("`{shown}` cannot be in the name of a variable"), self.span(at, at + c.len_utf8()))
        } else if let Some(at) = key.find(is_blank) {
            let name = &key[..at];
            let message = match separator {
                Some(_) => "the name of a variable cannot have a space in it".to_owned(),
                None => format!("`=` is missing behind `{name}`, or else a `#` before this line"),
            };
            (message, self.span(start, start + key.len()))
        } else {
            if let (Some(quote), false) = (self.closing_quote, self.said || key.is_empty()) {
                self.said = true;
                let span = self.span(start, start + key.len());
                self.report
                    .warning(span, format!("this is read as another variable, `{key}`"))
                    .also(quote, "the value before it ends here");
            }
            return !key.is_empty();
        };
        let quote = self.closing_quote;
        let found = self.report.error(span, message);
        match quote {
            Some(quote) => found
                .also(quote, "the value before it ends here")
                .help("write `\\` before a quote that is part of the value"),
            None => found.help("an env file has lines such as `KEY=value`"),
        };
        false
    }

    /// The value behind a `=` that ends at `start`, and where it is; `None` where it has no end.
    fn value(&mut self, start: usize, line_end: usize) -> Option<(String, Span)> {
        let rest = self.text[start..].trim_start_matches(is_blank);
        let start_of_value = self.text.len() - rest.len();
        match rest.chars().next() {
            Some(quote @ ('"' | '\'')) => self.quoted(quote, start_of_value),
            _ => {
                self.at = line_end;
                let line = &self.text[start_of_value..line_end];
                // Only a space and `#` begin a comment: not a tab and `#`, nor a `#` that the value begins with.
                let value = line.split(" #").next().unwrap_or(line).trim_end();
                let span = self.span(start_of_value, start_of_value + value.len());
                if value.starts_with('#') && start_of_value > start {
                    self.report
                        .warning(span, "this is the variable's value, not a comment")
                        .help("an empty value before a comment: `KEY=\"\" # comment`");
                }
                let (value, way) = self.expand(value, |at| start_of_value + at);
                Some((value, Span { way, ..span }))
            }
        }
    }

    /// A value in quotes; it may go over lines.
    fn quoted(&mut self, quote: char, start: usize) -> Option<(String, Span)> {
        let Some(value) = quoted::read(&self.text[start..], quote) else {
            self.report
                .error(self.span(start, start + 1), format!("this {quote} is never closed"))
                .help("write the quote again behind the value's last character");
            self.at = self.line_end(start);
            return None;
        };
        self.at = start + value.len;
        self.closing_quote = Some(self.span(self.at - 1, self.at));
        let (text, way) = match quote {
            '"' => self.expand(&value.text, |at| start + value.origin(at)),
            _ => (value.text, Way::DIRECT),
        };
        Some((text, Span { way, ..self.span(start, self.at) }))
    }

    /// `origin` says where a byte of `value` stands in the file. What becomes of it comes back with the steps by which
    /// the variables in it have come.
    fn expand(&mut self, value: &str, origin: impl Fn(usize) -> usize) -> (String, Way) {
        let (outer, variables) = (self.lookup, &*self.variables);
        let used = RefCell::new(Vec::new());
        let lookup = |name: &str| {
            let mut used = used.borrow_mut();
            if used.len() < STEPS && !used.iter().any(|known| known == name) {
                used.push(name.to_owned());
            }
            outer(name).map(|(value, _)| value).or_else(|| Some(variables.get(name)?.value.as_str()))
        };
        let (expanded, findings) = expand(value, &lookup, &mut self.room);
        for finding in findings {
            let range = finding.range();
            let span = self.span(origin(range.start), origin(range.end));
            finding.say(span, &mut self.warned, self.report);
        }
        let mut steps = Vec::new();
        for name in used.into_inner() {
            let at = || {
                let at = value.find(&name).unwrap_or(0);
                self.span(origin(at), origin(at) + name.len())
            };
            let (kind, at) = match (outer(&name), self.variables.get(&name)) {
                (Some((_, Giver::Service)), _) => continue,
                (Some((_, Giver::Caller)), _) => (StepKind::Environment, at()),
                (Some((_, Giver::File(span))), _) => (StepKind::Variable, span),
                (None, Some(variable)) => (StepKind::Variable, variable.span.unwrap_or_else(at)),
                (None, None) => (StepKind::Default, at()),
            };
            steps.push((kind, at));
            steps.extend(self.report.sources.steps(at.way).into_iter().map(|step| (step.kind, step.at)));
        }
        let steps = steps.into_iter().filter(|(kind, _)| kind.is_variable()).take(STEPS);
        let way = steps.fold(Way::DIRECT, |way, (kind, at)| self.report.sources.step(way, kind, at));
        (expanded, way)
    }

    fn define(&mut self, key: &str, value: String, span: Span) {
        self.variables.insert(key.to_owned(), Variable { value, span: Some(span) });
    }

    fn line_end(&mut self, from: usize) -> usize {
        if !self.line.contains(&from) {
            let end = self.text[from..].find('\n').map_or(self.text.len(), |found| from + found);
            self.line = from..end;
        }
        self.line.end
    }

    fn span(&self, start: usize, end: usize) -> Span {
        Span::new(self.source, start, end)
    }
}

/// Space inside a line. (Other kinds of space are part of values, and wrong in names.)
fn is_blank(c: char) -> bool {
    matches!(c, '\t' | '\x0b' | '\x0c' | '\r' | ' ' | '\u{85}' | '\u{a0}')
}
