//! The parser's errors in a user's words: what is wrong, on the token that is wrong, with a way out. The parser stops
//! where it can go no further, which is often a line or two behind the mistake.

mod brackets;
mod line;
mod quotes;

use std::ops::Range;

use super::limits;
use line::Line;

/// What the parser says of a tab between a `:` and a value.
pub(super) const TAB_BEFORE_VALUE: &str = "':' must be followed by a valid YAML whitespace";

/// What there is to say about an error.
#[derive(Debug)]
pub(super) struct Said {
    /// The bytes to point at.
    pub at: Range<usize>,
    pub message: String,
    pub help: Option<String>,
    /// Another place that takes part, and what is there.
    pub also: Option<(Range<usize>, &'static str)>,
}

impl Said {
    fn new(at: Range<usize>, message: impl Into<String>) -> Self {
        Self { at, message: message.into(), help: None, also: None }
    }

    fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }

    fn also(self, at: Range<usize>, label: &'static str) -> Self {
        Self { also: Some((at, label)), ..self }
    }
}

/// Deeper than anything may nest.
pub(super) fn too_deep() -> String {
    format!("nested more than {} levels deep", limits::DEPTH)
}

/// Explains the parser's `info`, which it gave at a byte of `text`.
pub(super) fn explain(text: &str, at: usize, info: &str) -> Said {
    let at = shown(text, at);
    let here = Line::around(text, at);
    conflict(text, at)
        .or_else(|| tab(&here, info))
        .or_else(|| by_info(text, at, &here, info))
        .unwrap_or_else(|| Said::new(at..at, format!("this is not valid YAML: {info}")))
}

/// Behind the last line there is nothing to point at: what precedes it is.
fn shown(text: &str, at: usize) -> usize {
    let at = line::boundary(text, at);
    match text.get(at..) {
        Some(rest) if rest.trim().is_empty() => text.get(..at).unwrap_or("").trim_end().len(),
        _ => at,
    }
}

/// By what the parser says: of keys, lists and brackets, then of signs, then of the document.
fn by_info(text: &str, at: usize, here: &Line<'_>, info: &str) -> Option<Said> {
    structure(text, at, here, info)
        .or_else(|| signs(text, at, here, info))
        .or_else(|| document(text, at, here, info))
}

fn structure(text: &str, at: usize, here: &Line<'_>, info: &str) -> Option<Said> {
    let rest = text.get(at..).unwrap_or("");
    let said = match info {
        "simple key expect ':'" | "simple key expected" => line::no_colon(&line::keyless(here, at)?),
        "mapping values are not allowed in this context" | "illegal placement of ':' indicator" => {
            return brackets::open(text, at)
                .map(|open| brackets::unclosed(text, at, open))
                .or_else(|| line::second_colon(here, at));
        }
        "while parsing a block mapping, did not find expected key" => line::no_key(here, at),
        "while parsing a block collection, did not find expected '-' indicator" => line::no_dash(here),
        "block sequence entries are not allowed in this context" => {
            Said::new(at..at + 1, "a list cannot begin on the line of its key")
                .help("put each `- ` on a line of its own below the key; quote text that begins with `- `")
        }
        // The parser takes a zero byte for the end of the text.
        "while scanning a quoted scalar, found unexpected end of stream" if rest.contains('\0') => {
            unprintable(text, at + rest.find('\0')?)?
        }
        "invalid indentation in quoted scalar"
        | "while scanning a quoted scalar, found unexpected end of stream"
        | "while scanning a quoted scalar, found unexpected document indicator"
        | "tab cannot be used as indentation" => quotes::unclosed(text, at)?,
        "invalid trailing content after double-quoted scalar" => quotes::trailing(text, at),
        "while parsing a quoted scalar, found unknown escape character"
        | "while parsing a quoted scalar, did not find expected hexadecimal number"
        | "while parsing a quoted scalar, found invalid Unicode character escape code" => {
            quotes::escape(text, at)?
        }
        "while parsing a flow sequence, expected ',' or ']'"
        | "while parsing a flow mapping, did not find expected ',' or '}'"
        | "invalid indentation"
        | "invalid indentation in flow construct" => {
            let open = brackets::open(text, at)?;
            brackets::unclosed(text, at, open)
        }
        "while parsing a node, did not find expected node content" => {
            brackets::open(text, at)?;
            Said::new(here.token(at), "a value is missing before this").help("give one, or remove the comma")
        }
        "misplaced bracket" => {
            let bracket = rest.chars().next()?;
            Said::new(at..at + bracket.len_utf8(), format!("this `{bracket}` closes nothing"))
                .help("remove it; quote text that has brackets in it")
        }
        "comments must be separated from other tokens by whitespace"
        | "comment intercepting the multiline text" => {
            let hash = at + rest.find('#')?;
            Said::new(hash..hash + 1, "a comment does not belong here")
                .help("put a space before `#`, or end the text above the comment; quote text that holds `#`")
        }
        _ => return None,
    };
    Some(said)
}

/// `*`, `&`, `|`, and characters that no plain text begins with.
fn signs(text: &str, at: usize, here: &Line<'_>, info: &str) -> Option<Said> {
    let first = text.get(at..).unwrap_or("").chars().next();
    let said = match info {
        "while parsing node, found unknown anchor" => {
            let name = here.token(at);
            let written = text.get(name.clone()).unwrap_or("*");
            let said = Said::new(name.clone(), format!("`{written}` stands for an anchor that is not there"));
            match written.strip_prefix('*') {
                Some(anchor) if is_anchor(anchor) => said.help(format!(
                    "write `&{anchor}` before the value that it repeats, further up; quote it if it is text"
                )),
                _ => said.help(format!("quote text that begins with `*`: `\"{written}\"`")),
            }
        }
        "while scanning an anchor or alias, did not find expected alphabetic or numeric character" => {
            let mark = first.filter(|c| matches!(c, '&' | '*'))?;
            Said::new(at..at + 1, format!("there is no name behind this `{mark}`"))
                .help(format!("write `{mark}name`, or quote text that begins with `{mark}`"))
        }
        "while scanning a block scalar, did not find expected comment or line break" => {
            let mark = first?;
            Said::new(here.token(at), format!("the text of a `{mark}` begins on the next line")).help(
                format!("put it there, indented more than its key; quote text that begins with `{mark}`"),
            )
        }
        _ => return info.strip_prefix("unexpected character: `").and_then(|_| reserved(here, at, first?)),
    };
    Some(said)
}

fn document(text: &str, at: usize, here: &Line<'_>, info: &str) -> Option<Said> {
    let said = match info {
        "did not find expected <document start>"
        | "missing explicit document end marker before directive" => {
            directive(text, at).unwrap_or_else(|| {
                Said::new(here.token(at), "the document has ended before this")
                    .help("begin another document with a line `---`, or indent this as part of what is above")
            })
        }
        "found unprintable character" => unprintable(text, at)?,
        TAB_BEFORE_VALUE => {
            Said::new(at..at, "a tab cannot follow the `:` of a key").help("put a space there")
        }
        "the handle wasn't declared" => Said::new(here.token(at), "this tag is declared nowhere")
            .help("Compose has `!reset` and `!override`; quote text that begins with `!`"),
        "recursion limit exceeded" => Said::new(at..at, too_deep()),
        _ => return None,
    };
    Some(said)
}

pub(super) fn unprintable(text: &str, at: usize) -> Option<Said> {
    let bad = text.get(at..)?.chars().next()?;
    let message = format!("the unprintable character U+{:04X} is in this file", u32::from(bad));
    Some(Said::new(at..at + bad.len_utf8(), message).help("remove it; a Compose file is text in UTF-8"))
}

fn is_anchor(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || "-_".contains(c))
}

/// `@`, a backtick, `%`: YAML keeps them for itself.
fn reserved(here: &Line<'_>, at: usize, mark: char) -> Option<Said> {
    let value = here.value(at);
    let (shown, quote) = if mark == '`' { ("a backtick".to_owned(), "") } else { (format!("`{mark}`"), "`") };
    let said = Said::new(
        at..at + mark.len_utf8(),
        format!("a string cannot begin with {shown} unless it is quoted"),
    );
    let plain = value.len() <= 40 && !value.contains(['"', '\\', ':']);
    Some(if plain {
        said.help(format!("write {quote}\"{value}\"{quote}"))
    } else {
        said.help("put it in quotes")
    })
}

/// Lines that git left.
fn conflict(text: &str, at: usize) -> Option<Said> {
    let end = text.get(at..)?.find('\n').map_or(text.len(), |found| at + found);
    let before = text.get(..end)?;
    let start = if before.starts_with("<<<<<<< ") { 0 } else { before.rfind("\n<<<<<<< ")? + 1 };
    Some(
        Said::new(start..start + 7, "a merge conflict is left in this file")
            .help("keep one side, and remove the lines that begin with `<<<<<<<`, `=======` and `>>>>>>>`"),
    )
}

/// Tabs in front of the line, or of the next one where the parser had gone on to it.
fn tab(here: &Line<'_>, info: &str) -> Option<Said> {
    let next = if info.contains("tab") { here.next() } else { None };
    [Some(here.clone()), next].into_iter().flatten().find_map(|line| {
        let at = line.start + line.indent().find('\t')?;
        Some(Said::new(at..at + 1, "a tab cannot be used to indent YAML").help("indent with spaces"))
    })
}

/// A `%` line with nothing behind it to end the directives.
fn directive(text: &str, at: usize) -> Option<Said> {
    let before = text.get(..at)?;
    let start = if before.starts_with('%') && !before.contains("\n%") { 0 } else { before.rfind("\n%")? + 1 };
    let line = Line::around(text, start);
    Some(
        Said::new(line.token(start), "this directive is not followed by `---`")
            .help("remove it: a Compose file needs none; or write `---` on the line below it"),
    )
}
