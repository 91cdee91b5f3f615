//! Go templates of `--format`, as Docker has them. The language is gotmpl's. Around it: Docker's functions, its fields
//! and its `.Label "x"`, the place of what is wrong, and bounds for what would never end.

mod functions;
mod places;
mod source;
mod subject;

use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};

use gotmpl::TemplateError;
use gotmpl::parse::{ListNode, Node, Parser};

use source::Source;
pub use subject::Subject;

/// The tree of the template itself, among those that it defines.
const MAIN: &str = "\0main";
/// The parser goes one call deeper for every `else if`, and bounds all other nesting but that.
const ELSES: usize = 100;
/// As deep as the parser goes otherwise.
const NESTING: usize = 100;
/// As many turns of all `range` together as no listing needs.
const TURNS: u64 = 1_000_000;
/// As many bytes of one line as no listing needs.
const LENGTH: usize = 16 << 20;

/// What is wrong with a template, and where.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("--format '{text}'{}: {reason}", .at.map(|at| format!(", character {at}")).unwrap_or_default())]
pub struct Error {
    /// As it was given.
    text: String,
    /// Counted from 1, where it is known.
    at: Option<usize>,
    reason: String,
}

/// A template that has been read.
pub struct Template {
    source: Source,
    rows: gotmpl::Template,
    headers: gotmpl::Template,
    state: functions::State,
}

impl Template {
    /// Of a listing: `\t` and `\n` mean a tab and the end of a line.
    pub fn of_listing(text: &str) -> Result<Self, Error> {
        Self::parse(Source::of_listing(text))
    }

    /// Of an inspection: taken as it is.
    pub fn of_inspection(text: &str) -> Result<Self, Error> {
        Self::parse(Source::as_it_is(text))
    }

    fn parse(source: Source) -> Result<Self, Error> {
        if source.prepared.matches("else").count() > ELSES {
            return Err(source.wrong(None, format!("there are more than {ELSES} `else`")));
        }
        let parsed = Parser::new(&source.prepared, "{{", "}}").and_then(Parser::parse);
        let (tree, defines) = parsed.map_err(|error| source.refused(error, None))?;
        ends(&source)?;
        let state = functions::State::default();
        let (of_rows, of_headers) = (functions::rows(&state), functions::headers(&state));
        let known = |name: &str| functions::BUILT_IN.contains(&name) || of_rows.contains_key(name);
        let placed = |tree: ListNode| {
            places::placed(tree, &known).map_err(|(offset, name)| {
                let own = of_rows.keys().map(String::as_str).filter(|name| !name.starts_with('\0'));
                let mut all: Vec<&str> = functions::BUILT_IN.into_iter().chain(own).collect();
                all.sort_unstable();
                let reason = format!("there is no function `{name}`; there are {}", all.join(", "));
                source.wrong(Some(offset), reason)
            })
        };
        let mut rows = gotmpl::Template::new(MAIN).max_range_iters(TURNS).add_parse_tree(MAIN, placed(tree)?);
        for define in defines {
            rows = rows.add_parse_tree(&define.name, placed(define.body)?);
        }
        let headers = rows.clone().funcs(of_headers);
        Ok(Self { rows: rows.funcs(of_rows), headers, source, state })
    }

    /// What it makes of one subject; nothing of it where it fails.
    pub fn row(&self, subject: Subject) -> Result<String, Error> {
        let (text, error) = self.run(&self.rows, subject);
        error.map_or(Ok(text), Err)
    }

    /// The line of headers of its columns: as Docker, as far as headers can stand for values.
    pub fn header(&self, fields: &[(&str, &str)]) -> String {
        self.run(&self.headers, Subject::headers(fields)).0
    }

    fn run(&self, template: &gotmpl::Template, subject: Subject) -> (String, Option<Error>) {
        let root = subject.root.clone();
        *lock(&self.state) = functions::Scene { subject, at: 0 };
        let mut text = Bounded(String::new());
        let outcome = template.execute_template_fmt(&mut text, MAIN, &root);
        let at = lock(&self.state).at;
        (text.0, outcome.err().map(|error| self.source.refused(error, Some(at))))
    }
}

fn lock<T>(shared: &Arc<Mutex<T>>) -> std::sync::MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The parser lets an `{{end}}` too many or too few pass.
fn ends(source: &Source) -> Result<(), Error> {
    let mut text = source.prepared.clone();
    if is_closed(&text) {
        return Ok(());
    }
    for _ in 0..NESTING {
        text += "{{end}}";
        if is_closed(&text) {
            let reason = "an `if`, `range`, `with`, `define` or `block` has no `{{end}}`";
            return Err(source.wrong(Some(source.prepared.len()), reason));
        }
    }
    Err(source.wrong(None, "an `{{end}}` or `{{else}}` has nothing that it belongs to"))
}

/// Whether all is closed that is opened, and nothing else: what follows a definition is outside of it only then.
fn is_closed(text: &str) -> bool {
    const AFTER: &str = "\0after";
    let whole = format!("{{{{define \"{MAIN}\"}}}}{text}{{{{end}}}}{AFTER}");
    let parsed = Parser::new(&whole, "{{", "}}").and_then(Parser::parse);
    let is_after = |node: &Node| matches!(node, Node::Text(text) if text.text.as_ref() == AFTER);
    parsed.is_ok_and(|(rest, _)| matches!(rest.nodes.as_slice(), [one] if is_after(one)))
}

/// Takes text up to a bound.
struct Bounded(String);

impl Write for Bounded {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        if self.0.len() + text.len() > LENGTH {
            return Err(std::fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}

/// What an error says without its kind and its place.
fn reason(error: TemplateError) -> String {
    match error {
        TemplateError::Parse { message, .. } | TemplateError::Lex { message, .. } => message,
        TemplateError::Exec(message) => message,
        TemplateError::Write => format!("a line would have more than {LENGTH} bytes"),
        TemplateError::RangeIterLimit => format!("`range` has more than {TURNS} turns"),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests;
