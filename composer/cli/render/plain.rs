//! Text of a service's that is shown as part of a message must not do anything to the terminal.

use std::borrow::Cow;

/// The text without control characters: escape sequences (ECMA-48: colours, titles, movements of the cursor) go as a
/// whole, other controls become a sign in their place. Ends of lines and tabs stay.
pub fn plain(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_control) {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(letter) = rest.next() {
        match letter {
            '\u{1b}' => skip(&mut rest),
            '\u{9b}' => skip_control(&mut rest),
            '\r' => {}
            letter if is_control(letter) => plain.push(char::REPLACEMENT_CHARACTER),
            letter => plain.push(letter),
        }
    }
    Cow::Owned(plain)
}

fn is_control(letter: char) -> bool {
    letter.is_control() && !matches!(letter, '\n' | '\t')
}

/// What follows an escape character.
fn skip(rest: &mut std::str::Chars<'_>) {
    let mut ahead = rest.clone();
    match ahead.next() {
        Some('[') => {
            *rest = ahead;
            skip_control(rest);
        }
        // A string: until BEL or ST. One that does not end on its line is none.
        Some(']' | 'P' | 'X' | '^' | '_') => {
            *rest = ahead.clone();
            let mut last = ' ';
            for letter in ahead.by_ref() {
                match letter {
                    '\n' => return,
                    '\u{7}' | '\u{9c}' => break,
                    '\\' if last == '\u{1b}' => break,
                    letter => last = letter,
                }
            }
            *rest = ahead;
        }
        Some(' '..='/') => {
            ahead.next();
            *rest = ahead;
        }
        Some('0'..='~') => *rest = ahead,
        Some(_) | None => {}
    }
}

/// A control sequence: parameters, then one final letter.
fn skip_control(rest: &mut std::str::Chars<'_>) {
    let mut ahead = rest.clone();
    while let Some(letter) = ahead.next() {
        match letter {
            ' '..='?' => {}
            '@'..='~' => {
                *rest = ahead;
                return;
            }
            _ => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn nothing_reaches_the_terminal_but_text() {
        for (text, shown) in [
            ("plain\ttext\nof two lines", "plain\ttext\nof two lines"),
            ("\u{1b}[1;31mred\u{1b}[0m and \u{9b}2Jclear", "red and clear"),
            ("\u{1b}]0;title\u{7}after, \u{1b}]8;;http://x\u{1b}\\link", "after, link"),
            ("\u{1b}(B\u{1b}c\u{1b}7x", "x"),
            ("bell\u{7} back\u{8} nul\u{0}", "bell\u{fffd} back\u{fffd} nul\u{fffd}"),
            ("cut short \u{1b}", "cut short "),
            ("cut short \u{1b}[31", "cut short 31"),
            ("\u{1b}]never\nended", "never\nended"),
            ("over\rwritten\r\n", "overwritten\n"),
        ] {
            assert_eq!(plain(text), shown, "{text:?}");
        }
    }
}
