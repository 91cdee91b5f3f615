//! Brackets that are open where the parser gave up.

use super::{Said, line::Line};

/// The innermost bracket that is open before `at`, found by a reading that is good enough for a message: quotes and
/// brackets count where a value may begin.
pub(super) fn open(text: &str, at: usize) -> Option<usize> {
    let mut stack: Vec<usize> = Vec::new();
    let mut quote = None;
    // The last character that is no space, and the one before the current.
    let (mut mark, mut previous) = ('\n', '\n');
    let mut chars = text.get(..at)?.char_indices();
    while let Some((index, c)) = chars.next() {
        match quote {
            Some('#') => quote = (c != '\n').then_some('#'),
            Some('"') if c == '\\' => drop(chars.next()),
            Some(open) => quote = (c != open).then_some(open),
            None => {
                let begins = matches!(mark, '\n' | ':' | '-' | ',' | '[' | '{' | '?');
                match c {
                    '"' | '\'' if begins => quote = Some(c),
                    '#' if previous.is_whitespace() => quote = Some('#'),
                    '[' | '{' if begins || !stack.is_empty() => stack.push(index),
                    ']' | '}' => drop(stack.pop()),
                    _ => {}
                }
            }
        }
        if c == '\n' || !c.is_whitespace() {
            mark = c;
        }
        previous = c;
    }
    stack.pop()
}

/// Something that cannot stand inside of the bracket that opens at `open`.
pub(super) fn unclosed(text: &str, at: usize, open: usize) -> Said {
    let (bracket, close) =
        if text.get(open..).is_some_and(|rest| rest.starts_with('[')) { ('[', ']') } else { ('{', '}') };
    let help = format!("write `{close}` where it ends, and a `,` between items");
    let here = Line::around(text, at);
    let rest = text.get(at..).unwrap_or("");
    if rest.trim().is_empty() {
        return Said::new(open..open + 1, format!("this `{bracket}` is not closed")).help(help);
    }
    if rest.starts_with([']', '}']) {
        return Said::new(at..at + 1, format!("this does not close `{bracket}`"))
            .help(format!("write `{close}`"))
            .also(open..open + 1, "opened here");
    }
    // The parser takes the next line for more of an item, up to the colon of its key.
    let key = if rest.starts_with(':') && here.start > open {
        here.start + here.indent().len()..at
    } else {
        here.token(at)
    };
    Said::new(key, format!("`,` or `{close}` is missing before this"))
        .help(help)
        .also(open..open + 1, "opened here")
}
