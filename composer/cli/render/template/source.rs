//! The text of a template as it was given and as it is parsed, and places in both.

use gotmpl::TemplateError;

use super::super::table::shorten;
use super::{Error, reason};

/// As many letters of a template are repeated where it is wrong.
const SHOWN: usize = 200;

/// A template's text.
pub struct Source {
    /// As it was given.
    text: String,
    /// As it is parsed.
    pub prepared: String,
    /// How much of what was given comes before it.
    before: usize,
    /// Where in it one letter stands for two.
    pairs: Vec<usize>,
}

impl Source {
    /// As it is.
    pub fn as_it_is(text: &str) -> Self {
        Self { text: text.to_owned(), prepared: text.to_owned(), before: 0, pairs: Vec::new() }
    }

    /// Without `table` before it and blanks around it, and with `\t` and `\n` as what they mean. Docker replaces these in
    /// quoted strings of actions too, where they mean the same already and a real end of a line is an error: not here.
    pub fn of_listing(text: &str) -> Self {
        let rest = text.strip_prefix(super::super::format::TABLE).unwrap_or(text).trim_start_matches(' ');
        let before = text.len() - rest.len();
        let rest = rest.trim_end_matches(' ');
        let mut source = Self {
            text: text.to_owned(),
            prepared: String::with_capacity(rest.len()),
            before,
            pairs: Vec::new(),
        };
        let (mut in_action, mut in_string) = (false, false);
        let mut letters = rest.char_indices();
        while let Some((at, letter)) = letters.next() {
            let left = &rest[at..];
            in_action = match in_action {
                false => left.starts_with("{{"),
                true => in_string || !left.starts_with("}}"),
            };
            let meant = if left.starts_with("\\t") { '\t' } else { '\n' };
            match letter {
                '"' if in_action => in_string = !in_string,
                '\\' if in_string => {
                    source.prepared.push(letter);
                    source.prepared.extend(letters.next().map(|(_, escaped)| escaped));
                    continue;
                }
                '\\' if left.starts_with("\\t") || left.starts_with("\\n") => {
                    source.pairs.push(source.prepared.len());
                    source.prepared.push(meant);
                    letters.next();
                    continue;
                }
                _ => {}
            }
            source.prepared.push(letter);
        }
        source
    }

    /// An error at an offset of what is parsed.
    pub fn wrong(&self, offset: Option<usize>, reason: impl Into<String>) -> Error {
        let at = offset.map(|offset| {
            let given = self.before + offset + self.pairs.iter().filter(|pair| **pair < offset).count();
            self.text.get(..given).unwrap_or(&self.text).chars().count() + 1
        });
        Error { text: shorten(&self.text, SHOWN), at, reason: reason.into() }
    }

    /// What gotmpl says; `offset` is where it was, for an error that does not know.
    pub fn refused(&self, error: TemplateError, offset: Option<usize>) -> Error {
        let offset = match &error {
            TemplateError::Parse { line: 0, .. } | TemplateError::Lex { line: 0, .. } => None,
            TemplateError::Parse { line, col, .. } | TemplateError::Lex { line, col, .. } => {
                let begin: usize = self.prepared.split_inclusive('\n').take(line - 1).map(str::len).sum();
                let rest = self.prepared.get(begin..).unwrap_or_default();
                Some(begin + rest.chars().take(col.saturating_sub(1)).map(char::len_utf8).sum::<usize>())
            }
            _ => offset,
        };
        self.wrong(offset, reason(error))
    }
}
