//! Splits a command line into words as Docker Compose does (mattn/go-shellwords): quotes and backslashes, nothing
//! else. An operator of the shell ends the command.

/// A command line, taken apart.
#[derive(Debug, PartialEq)]
pub(crate) struct Line {
    /// The words before the operator.
    pub words: Vec<String>,
    /// The operator that ends the command: what follows it is not looked at.
    pub operator: Option<char>,
}

/// The words of `text`; `None` where a quote is never closed, a backslash ends it, or it has parentheses.
pub(crate) fn line(text: &str) -> Option<Line> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    // Inside of quotes, backticks and `$(…)` nothing parts words; in the last two, the marks stay.
    let (mut single, mut double, mut backtick, mut dollar) = (false, false, false, false);
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let quoted = single || double;
        let open = quoted || backtick || dollar;
        match c {
            '\\' if !single => {
                word.get_or_insert_default().push(chars.next()?);
                continue;
            }
            ' ' | '\t' | '\r' | '\n' if !open => {
                words.extend(word.take());
                continue;
            }
            '"' if !single && !dollar => {
                double = !double;
                word.get_or_insert_default();
                continue;
            }
            '\'' if !double && !dollar => {
                single = !single;
                word.get_or_insert_default();
                continue;
            }
            '`' if !quoted && !dollar => backtick = !backtick,
            '(' if !quoted && !backtick => {
                if dollar || !word.as_ref().is_some_and(|word| word.ends_with('$')) {
                    return None;
                }
                dollar = true;
            }
            ')' if !quoted && !backtick => dollar = !dollar,
            ';' | '&' | '|' | '<' | '>' if !open => {
                // `2>` has a number of its own, which is no word.
                let number = |word: &String| word.starts_with(|c: char| c.is_ascii_digit());
                words.extend(word.filter(|word| c != '>' || !number(word)));
                return Some(Line { words, operator: Some(c) });
            }
            _ => {}
        }
        word.get_or_insert_default().push(c);
    }
    if single || double || backtick || dollar {
        return None;
    }
    words.extend(word);
    Some(Line { words, operator: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        for (text, words) in [
            (r#"echo "a b" 'c "d' e\ f "" g"h"i"#, &["echo", "a b", "c \"d", "e f", "", "ghi"][..]),
            ("  ", &[]),
            (r#""a\"b\n" \q 'x\y'"#, &["a\"bn", "q", r"x\y"]),
            ("a `b c` $(d 'e f')", &["a", "`b c`", "$(d 'e f')"]),
            ("`a \"b\"`", &["`a b`"]),
            ("a \"b|c\" | d", &["a", "b|c"]),
            ("a 2>x", &["a"]),
            ("a;b", &["a"]),
        ] {
            assert_eq!(line(text).unwrap().words, words, "{text}");
        }
        assert_eq!(line("a && b").unwrap().operator, Some('&'));
        for text in ["a 'b", "a \"b", "a\\", "a (b)", "a)", "`a", "$(a"] {
            assert_eq!(line(text), None, "{text}");
        }
    }
}
