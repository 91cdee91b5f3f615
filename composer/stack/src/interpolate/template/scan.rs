//! Cuts a string into expressions and the text between them, where Docker Compose cuts it.
//!
//! Docker Compose finds an expression with a regular expression that reaches to the last `}` of the line, then goes
//! back to the `}` that closes it. Where braces do not match, or a word spans lines, the outcome is observable; what
//! is odd below is so for that reason.

use std::ops::Range;

/// A piece of a string.
#[derive(Debug, PartialEq)]
pub(super) enum Token<'a> {
    /// Kept as it is.
    Text(&'a str),
    /// `$$`.
    Dollar,
    /// A variable.
    Expression(Expression<'a>),
    /// A `${` that begins no expression.
    Wrong { problem: Problem, at: Range<usize> },
}

/// Why a `${` begins no expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Problem {
    /// No name, or something other than `}` and an operator behind it.
    Form,
    /// The string has no `}` for it.
    Unclosed,
    /// The line has no `}` for it, and other lines follow.
    UnclosedLine,
}

/// `$NAME`, `${NAME}` or `${NAME` operator word `}`.
#[derive(Debug, PartialEq)]
pub(super) struct Expression<'a> {
    pub name: &'a str,
    /// From its `$` to its end.
    pub at: Range<usize>,
    pub operator: Option<Operator>,
}

/// What to do about a variable's value, and the word to do it with.
#[derive(Debug, PartialEq)]
pub(super) struct Operator {
    pub kind: Kind,
    /// An empty value is like none (`:`).
    pub colon: bool,
    pub word: Range<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `-`
    Default,
    /// `?`
    Required,
    /// `+`
    Alternative,
}

/// Walks over a range of a string. It takes time in proportion to the range, however the braces stand.
pub(super) struct Scanner<'a> {
    text: &'a str,
    at: usize,
    end: usize,
    /// The end of the line that `at` is in, and the line's last `}` behind where the line was first looked at.
    line: Option<(usize, Option<usize>)>,
}

impl<'a> Scanner<'a> {
    pub fn new(text: &'a str, range: Range<usize>) -> Self {
        Self { text, at: range.start, end: range.end, line: None }
    }

    /// The end of the current line, and its last `}`.
    fn line(&mut self) -> (usize, Option<usize>) {
        match self.line {
            Some(line) if self.at < line.0 => line,
            _ => {
                let rest = &self.text[self.at..self.end];
                let rest = rest.split('\n').next().unwrap_or(rest);
                let line = (self.at + rest.len(), rest.rfind('}').map(|found| self.at + found));
                self.line = Some(line);
                line
            }
        }
    }

    /// An expression in braces; `at` is its `$`.
    fn braced(&mut self) -> Token<'a> {
        let (text, start) = (self.text, self.at);
        let (line_end, last) = self.line();
        let last = last.filter(|&last| last > start);
        let inner = start + 2;
        let length = name_len(&text[inner..line_end]);
        let (name, behind) = text[inner..line_end].split_at(length);
        if length > 0 && behind.starts_with('}') {
            self.at = inner + length + 1;
            return Token::Expression(Expression { name, at: start..self.at, operator: None });
        }
        let Some(last) = last else {
            self.at = line_end;
            let problem = if line_end < self.end { Problem::UnclosedLine } else { Problem::Unclosed };
            return Token::Wrong { problem, at: start..line_end };
        };
        let close = closing(text, start + 1, last);
        self.at = close + 1;
        match operator(behind).filter(|_| length > 0) {
            Some((kind, colon, mark)) => {
                let operator = Some(Operator { kind, colon, word: inner + length + mark..close });
                Token::Expression(Expression { name, at: start..self.at, operator })
            }
            None => Token::Wrong { problem: Problem::Form, at: start..self.at },
        }
    }
}

impl<'a> Iterator for Scanner<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        let rest = self.text.get(self.at..self.end).filter(|rest| !rest.is_empty())?;
        let start = self.at;
        let dollar = rest.find('$').unwrap_or(rest.len());
        if dollar > 0 {
            self.at += dollar;
            return Some(Token::Text(&rest[..dollar]));
        }
        let behind = &rest[1..];
        let name = name_len(behind);
        Some(if behind.starts_with('$') {
            self.at += 2;
            Token::Dollar
        } else if name > 0 {
            self.at += 1 + name;
            Token::Expression(Expression { name: &behind[..name], at: start..self.at, operator: None })
        } else if behind.starts_with('{') {
            self.braced()
        } else {
            // `$(date)`, `$1`, a `$` at the end.
            self.at += 1;
            Token::Text(&rest[..1])
        })
    }
}

fn name_len(text: &str) -> usize {
    if !text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
        return 0;
    }
    text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(text.len())
}

/// The operator that `text` begins with: what it is, whether it has a colon, its length.
fn operator(text: &str) -> Option<(Kind, bool, usize)> {
    let bare = text.strip_prefix(':').unwrap_or(text);
    let kind = match bare.as_bytes().first()? {
        b'-' => Kind::Default,
        b'?' => Kind::Required,
        b'+' => Kind::Alternative,
        _ => return None,
    };
    let colon = bare.len() < text.len();
    Some((kind, colon, if colon { 2 } else { 1 }))
}

/// The `}` for the `{` at `open`; `last`, the last of the line, where the count never comes out.
///
/// Every `{` counts, not those alone that follow a `$`, and the byte behind one is passed over, so that the `}` of a
/// `{}` closes nothing: as in Docker Compose, whose files may rely on either.
fn closing(text: &str, open: usize, last: usize) -> usize {
    let bytes = text.as_bytes();
    let (mut at, mut depth) = (open, 0_usize);
    while at < last {
        match bytes.get(at) {
            Some(b'{') => {
                depth += 1;
                at += 1;
            }
            Some(b'}') => {
                depth -= 1;
                if depth == 0 {
                    return at;
                }
            }
            _ => {}
        }
        at += 1;
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<&str> {
        Scanner::new(text, 0..text.len())
            .filter_map(|token| match token {
                Token::Expression(Expression { operator: Some(operator), .. }) => Some(&text[operator.word]),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn a_word_ends_at_its_brace() {
        for (text, expected) in [
            ("${A:-x} ${B:-y}", vec!["x", "y"]),
            ("${A:-${B:-y}}}", vec!["${B:-y}"]),
            ("${A:-{\"k\": \"v\"}} ${B-w}", vec!["{\"k\": \"v\"}", "w"]),
            ("${A:-x{y}", vec!["x{y"]),
            ("${A:-{}}", vec!["{}"]),
            ("${A:-{}}, \"b\": 1}", vec!["{}}, \"b\": 1"]),
            ("${A:-}${A-}${A?}", vec!["", "", ""]),
            ("${A:-:-x}${A-:-x}", vec![":-x", ":-x"]),
            ("${A:-x\ny}", vec![]),
            ("${A:-x}\n${A:-y", vec!["x"]),
        ] {
            assert_eq!(words(text), expected, "{text}");
        }
    }

    #[test]
    fn what_begins_no_expression_says_why() {
        for (text, problem, at) in [
            ("a${}", Problem::Form, 1..4),
            ("${ A}", Problem::Form, 0..5),
            ("${1}", Problem::Form, 0..4),
            ("${A!${B}}x", Problem::Form, 0..9),
            ("${A:}", Problem::Form, 0..5),
            ("${ü}", Problem::Form, 0..5),
            ("${A", Problem::Unclosed, 0..3),
            ("${A:-x", Problem::Unclosed, 0..6),
            ("${A:-x\n}", Problem::UnclosedLine, 0..6),
            ("} ${A:-x", Problem::Unclosed, 2..8),
        ] {
            let found = Scanner::new(text, 0..text.len())
                .find(|token| matches!(token, Token::Wrong { .. }))
                .unwrap_or_else(|| panic!("{text} is fine"));
            assert_eq!(found, Token::Wrong { problem, at }, "{text}");
        }
    }
}
