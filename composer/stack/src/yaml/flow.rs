//! Flow collections whose lines are not indented as far as YAML demands, which Go's library and so Docker Compose does
//! not look at:
//!
//! ```yaml
//! command: [
//!   "a",
//! ]
//! ```

use std::borrow::Cow;

use saphyr_parser::Parser;

/// So many lines are joined, each of which costs a look at the whole text.
const MOST: usize = 200;
/// So many bytes are looked at again in all.
const BUDGET: usize = 64 << 20;

/// The text with such lines joined to the one before, character for character: places in it stay what they are.
pub(super) fn joined(text: &str) -> Cow<'_, str> {
    // Lines like these are rare, and nothing else is worth a second look.
    if !text.lines().any(|line| line.trim_start().starts_with([']', '}'])) {
        return Cow::Borrowed(text);
    }
    let mut chars: Vec<char> = Vec::new();
    let mut joined = Cow::Borrowed(text);
    for _ in 0..MOST.min(BUDGET / text.len().max(1)) {
        let Some(at) = refused(&joined) else { break };
        if chars.is_empty() {
            chars = text.chars().collect();
        }
        if !join(&mut chars, at) {
            break;
        }
        joined = Cow::Owned(chars.iter().collect());
    }
    joined
}

/// Where the parser refuses a line for its indentation.
fn refused(text: &str) -> Option<usize> {
    let error = Parser::new_from_str(text).find_map(Result::err)?;
    error.info().starts_with("invalid indentation").then(|| error.marker().index())
}

/// Blanks the end of the line before `at`, and a comment there. `false` where there is none.
fn join(chars: &mut [char], at: usize) -> bool {
    let blank = |c: &char| matches!(c, ' ' | '\t');
    let before = chars.get(..at).unwrap_or_default();
    let start = before.iter().rposition(|c| !blank(c)).map_or(0, |last| last + 1);
    let Some(end) = start.checked_sub(1).filter(|end| chars.get(*end) == Some(&'\n')) else {
        return false;
    };
    let line =
        chars.get(..end).unwrap_or_default().iter().rposition(|c| *c == '\n').map_or(0, |last| last + 1);
    let comment = comment(chars.get(line..end).unwrap_or_default());
    let from = comment.map_or(end, |comment| line + comment);
    let carriage = from > 0 && from == end && chars.get(from - 1) == Some(&'\r');
    chars.get_mut(from - usize::from(carriage)..=end).unwrap_or_default().fill(' ');
    true
}

/// Where a comment begins: a `#` after a blank, outside of quotes.
fn comment(line: &[char]) -> Option<usize> {
    let mut quote = None;
    let mut before = ' ';
    for (index, c) in line.iter().enumerate() {
        match (quote, c) {
            (None, '#') if matches!(before, ' ' | '\t') => return Some(index),
            (None, '"' | '\'') => quote = Some(*c),
            (Some(open), c) if open == *c && before != '\\' => quote = None,
            _ => {}
        }
        before = *c;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_joined_and_places_stay() {
        for (text, expected) in [
            ("a:\n  b: [\n    \"c\",\n  ]\n  d: e\n", "a:\n  b: [\n    \"c\",   ]\n  d: e\n"),
            ("a:\n  b: [\n    'd' # e ]\n  ]\n", "a:\n  b: [\n    'd'         ]\n"),
            ("a:\n  b: [\n    '#',\r\n  ]\n", "a:\n  b: [\n    '#',    ]\n"),
            ("a:\n  b: [\n    c,\n  ]\n", "a:\n  b: [\n    c,\n  ]\n"),
            ("a: |\n  [\n  ]\n", "a: |\n  [\n  ]\n"),
            ("a:\n  b: ['c'\n  ]]\n", "a:\n  b: ['c'   ]]\n"),
        ] {
            let joined = joined(text);
            assert_eq!(joined, expected);
            assert_eq!(joined.chars().count(), text.chars().count());
        }
    }
}
