//! Mistakes in and around quoted strings.

use super::{Said, brackets, line};

/// A quote that opens at `at` and closes nowhere, or behind lines that are not part of its text. `None` where no quote
/// opens there.
pub(super) fn unclosed(text: &str, at: usize) -> Option<Said> {
    let quote = text.get(at..)?.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    Some(Said::new(at..at + 1, format!("this `{quote}` is not closed")).help(format!(
        "write another `{quote}` at the end of the text; further lines of it are indented more than its key"
    )))
}

/// Something directly behind a closing quote.
pub(super) fn trailing(text: &str, at: usize) -> Said {
    let token = line::Line::around(text, at).token(at);
    if brackets::open(text, at).is_some() {
        return Said::new(token, "there is no comma before this").help("put a `,` between the items");
    }
    Said::new(token, "the value has ended with the quote before this")
        .help("put the whole value in quotes, or write ` #` before a comment")
}

/// The escape that YAML does not know, in the double-quoted string that opens at `at`.
pub(super) fn escape(text: &str, at: usize) -> Option<Said> {
    let mut chars = text.get(at + 1..)?.char_indices();
    while let Some((found, c)) = chars.next() {
        if c != '\\' {
            continue;
        }
        let start = at + 1 + found;
        let (_, escaped) = chars.next()?;
        let digits = match escaped {
            'x' => 2,
            'u' => 4,
            'U' => 8,
            '0' | 'a' | 'b' | 't' | '\t' | 'n' | 'v' | 'f' | 'r' | 'e' | ' ' | '"' | '/' | '\\' | 'N'
            | '_' | 'L' | 'P' | '\n' | '\r' => continue,
            _ => {
                return Some(
                    Said::new(
                        start..start + 1 + escaped.len_utf8(),
                        format!("YAML has no escape `\\{escaped}`"),
                    )
                    .help(format!(
                        "write `\\\\{escaped}` for a backslash, or use single quotes, which know no escapes"
                    )),
                );
            }
        };
        let code: String = text.get(start + 2..)?.chars().take(digits).collect();
        let known =
            u32::from_str_radix(&code, 16).ok().filter(|_| code.len() == digits).and_then(char::from_u32);
        if known.is_none() {
            return Some(
                Said::new(start..start + 2 + code.len(), format!("`\\{escaped}{code}` is no character"))
                    .help(format!("write {digits} hexadecimal digits behind `\\{escaped}`")),
            );
        }
    }
    None
}
