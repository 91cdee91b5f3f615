//! Mistakes of one line: a missing or a second colon, indentation unlike that of the lines above.

use std::ops::Range;

use super::Said;

/// Longer keys need a `?`; nobody writes such.
const KEY: usize = 1024;
/// Longer pieces of a file are not repeated in help.
const REPEATED: usize = 40;

/// The nearest character boundary at or before `at`.
pub(super) fn boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// A line and the text it is in.
#[derive(Clone)]
pub(super) struct Line<'a> {
    text: &'a str,
    pub start: usize,
    pub line: &'a str,
}

impl<'a> Line<'a> {
    /// The line that a byte is in.
    pub fn around(text: &'a str, at: usize) -> Self {
        let start = text.get(..at).and_then(|before| before.rfind('\n')).map_or(0, |newline| newline + 1);
        let line = text.get(start..).and_then(|rest| rest.lines().next()).unwrap_or("");
        Self { text, start, line }
    }

    pub fn next(&self) -> Option<Self> {
        let newline = self.text.get(self.start..)?.find('\n')?;
        Some(Self::around(self.text, self.start + newline + 1))
    }

    /// The nearest line above that says something.
    fn above(&self) -> Option<Self> {
        let mut line = self.clone();
        while line.start > 0 {
            line = Self::around(self.text, line.start - 1);
            if !line.content().is_empty() {
                return Some(line);
            }
        }
        None
    }

    pub fn indent(&self) -> &'a str {
        let end = self.line.len() - self.line.trim_start().len();
        self.line.get(..end).unwrap_or("")
    }

    /// The line without indentation and comment.
    fn content(&self) -> &'a str {
        let bare = self.line.trim();
        if bare.starts_with('#') {
            ""
        } else {
            bare.find(" #").and_then(|at| bare.get(..at)).unwrap_or(bare).trim_end()
        }
    }

    fn content_start(&self) -> usize {
        self.start + self.indent().len()
    }

    fn whole(&self) -> Range<usize> {
        self.content_start()..self.content_start() + self.content().len()
    }

    /// The word that begins at a byte of this line.
    pub fn token(&self, at: usize) -> Range<usize> {
        let rest = self.text.get(at..).unwrap_or("");
        let end =
            rest.find(|c: char| c.is_whitespace() || matches!(c, ',' | ']' | '}')).unwrap_or(rest.len());
        at..at + end
    }

    /// What the line holds from a byte on.
    pub fn value(&self, at: usize) -> &'a str {
        let value = at.checked_sub(self.start).and_then(|at| self.line.get(at..)).unwrap_or("");
        value.find(" #").and_then(|at| value.get(..at)).unwrap_or(value).trim()
    }

    /// Where the key that the line begins with ends: at a colon before a space or the line's end.
    fn colon(&self) -> Option<usize> {
        let content = self.content();
        content.match_indices(':').map(|(at, _)| at).find(|at| {
            content.get(at + 1..).is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t']))
        })
    }
}

/// The line that stands where a key is needed and is none: this one, if the error is inside of it, else the one above.
pub(super) fn keyless<'a>(here: &Line<'a>, at: usize) -> Option<Line<'a>> {
    let inside = at > here.content_start() && here.colon().is_none() && !here.content().is_empty();
    if inside { Some(here.clone()) } else { here.above() }
}

/// A line that is no `key: value`.
pub(super) fn no_colon(line: &Line<'_>) -> Said {
    let content = line.content();
    let short = content.len() <= REPEATED;
    if let Some((key, value)) = content.split_once(':')
        && !value.is_empty()
        && !value.starts_with([' ', '\t'])
    {
        let colon = line.content_start() + key.len();
        let said = Said::new(colon..colon + 1, "there is no space behind this `:`");
        return if short { said.help(format!("write `{key}: {value}`")) } else { said.help("put one there") };
    }
    let said = Said::new(line.whole(), "this line has no `:`");
    match content.split_once('=') {
        Some((key, value)) if short => {
            said.help(format!("write `{key}: {value}`, or make each line an item with `- `"))
        }
        _ if short && !content.contains(' ') => {
            said.help(format!("write `{content}:` and a value behind or below it"))
        }
        _ => said
            .help("write `key: value`; text that goes on from the line above is indented more than its key"),
    }
}

/// A colon where a value has begun already.
pub(super) fn second_colon(here: &Line<'_>, at: usize) -> Option<Said> {
    let before = at.checked_sub(here.content_start()).and_then(|length| here.content().get(..length))?;
    if before.len() > KEY {
        let start = here.content_start();
        return Some(Said::new(start..start + 1, format!("this key is longer than {KEY} characters")));
    }
    let item = before.trim_start_matches("- ");
    if let Some((key, value)) = item.split_once(": ") {
        let (value, start) = (value.trim_start(), at - value.trim_start().len());
        let said = Said::new(at..at + 1, "a value cannot have `: ` in it unless it is quoted");
        let whole = here.value(start);
        return Some(if whole.len() <= REPEATED && !whole.contains(['"', '\\']) && !value.is_empty() {
            said.help(format!("write `{key}: \"{whole}\"`"))
        } else {
            said.help("put the whole value in quotes")
        });
    }
    let above = here.above()?;
    if above.colon().is_none() && !above.content().starts_with('-') {
        return Some(no_colon(&above));
    }
    if here.indent().len() > above.indent().len() {
        return Some(
            Said::new(
                here.content_start()..at,
                "this is indented more than the line above, which has its value already",
            )
            .help("begin it in the same column as the key it belongs beside"),
        );
    }
    None
}

/// Something else than a key, among keys.
pub(super) fn no_key(here: &Line<'_>, at: usize) -> Said {
    let content = here.content();
    let item = content.strip_prefix('-').filter(|rest| rest.is_empty() || rest.starts_with(' '));
    if let Some(rest) = item
        && at <= here.content_start() + content.len() - rest.trim_start().len()
    {
        let dash = here.content_start()..here.content_start() + 1;
        return if here.above().is_some_and(|above| above.content().starts_with('-')) {
            Said::new(dash, "this item is not indented as the ones above")
                .help("begin every `-` of a list in the same column")
        } else {
            Said::new(dash, "a list item cannot stand among the keys of a mapping")
                .help("write it as `key: value` like the others, or make every line an item")
        };
    }
    if at == here.content_start() {
        if content.starts_with(':') {
            return Said::new(at..at + 1, "there is no key before this `:`")
                .help("write key and `:` on one line");
        }
        let key = here.colon().map_or_else(|| here.token(at), |colon| at..at + colon);
        return Said::new(key, "this is indented unlike the keys above it")
            .help("begin every key of a mapping in the same column");
    }
    let token = here.token(at);
    match here.value(at).chars().next() {
        Some('*') => {
            Said::new(token, "an alias cannot have an anchor or a tag").help("remove one of the two")
        }
        Some('&') => Said::new(token, "a value has one anchor at most").help("remove one of the two"),
        _ => Said::new(token, "the value has ended before this")
            .help("put the whole value in quotes, or write ` #` before a comment"),
    }
}

/// Something else than an item, among items.
pub(super) fn no_dash(here: &Line<'_>) -> Said {
    let start = here.content_start();
    if here.content().starts_with('-') {
        return Said::new(start..start + 1, "this item is not indented as the ones above")
            .help("begin every `-` of a list in the same column");
    }
    let key = here.colon().map_or_else(|| here.token(start), |colon| start..start + colon);
    Said::new(key, "a key cannot stand among the items of a list")
        .help("begin it with `- ` like the others, or write every item as `key: value`")
}
