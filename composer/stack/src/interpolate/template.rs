//! `$A`, `${A}`, `${A:-word}` and their kin in one string (Compose Specification, "Interpolation").

use std::ops::Range;

/// Words may hold expressions themselves; nobody nests deeper.
const DEPTH: usize = 32;

/// Something about an expression, at a byte range of the string.
#[derive(Debug, PartialEq)]
pub(crate) enum Finding {
    /// A variable without a value and without a default.
    Unset { name: String, at: Range<usize> },
    /// An expression that has no value.
    Wrong { message: String, help: Option<String>, at: Range<usize> },
}

impl Finding {
    pub fn range(&self) -> Range<usize> {
        match self {
            Self::Unset { at, .. } | Self::Wrong { at, .. } => at.clone(),
        }
    }
}

/// Replaces every expression of `text`; what was found on the way comes back beside it.
pub(crate) fn expand(text: &str, lookup: &dyn Fn(&str) -> Option<String>) -> (String, Vec<Finding>) {
    let mut expansion = Expansion { text, lookup, findings: Vec::new() };
    let out = expansion.range(0, text.len(), 0);
    (out, expansion.findings)
}

struct Expansion<'a> {
    text: &'a str,
    lookup: &'a dyn Fn(&str) -> Option<String>,
    findings: Vec<Finding>,
}

impl Expansion<'_> {
    fn range(&mut self, start: usize, end: usize, depth: usize) -> String {
        let text = self.text;
        let mut out = String::new();
        let mut at = start;
        while let Some(dollar) = text[at..end].find('$').map(|found| at + found) {
            out.push_str(&text[at..dollar]);
            let rest = &text[dollar + 1..end];
            let name = name_len(rest);
            if rest.starts_with('$') {
                out.push('$');
                at = dollar + 2;
            } else if name > 0 {
                at = dollar + 1 + name;
                out.push_str(&self.plain(&rest[..name], dollar..at));
            } else if rest.starts_with('{') {
                let Some(close) = closing(text, dollar + 2, end) else {
                    self.wrong("this `${` has no closing `}`", dollar..end);
                    out.push_str(&text[dollar..end]);
                    return out;
                };
                at = close + 1;
                out.push_str(&self.braced(dollar, close, depth));
            } else {
                // `$(date)`, `$1`, a `$` at the end: nothing of ours, as for Docker Compose.
                out.push('$');
                at = dollar + 1;
            }
        }
        out.push_str(&text[at..end]);
        out
    }

    fn plain(&mut self, name: &str, at: Range<usize>) -> String {
        (self.lookup)(name).unwrap_or_else(|| {
            self.findings.push(Finding::Unset { name: name.to_owned(), at });
            String::new()
        })
    }

    /// The expression from its `$` to its `}`.
    fn braced(&mut self, dollar: usize, close: usize, depth: usize) -> String {
        let inner = dollar + 2;
        let length = name_len(&self.text[inner..close]);
        let (name, operator) = self.text[inner..close].split_at(length);
        let at = dollar..close + 1;
        if length == 0 || depth >= DEPTH {
            self.wrong("this is not a variable expression", at);
            return String::new();
        }
        if operator.is_empty() {
            return self.plain(name, at);
        }
        let (empty_counts, mark) = match operator.strip_prefix(':') {
            Some(rest) => (true, rest),
            None => (false, operator),
        };
        let word = close - mark.len() + mark.chars().next().map_or(0, char::len_utf8);
        let value = (self.lookup)(name).filter(|value| !(empty_counts && value.is_empty()));
        match (mark.chars().next(), value) {
            (Some('-' | '?'), Some(value)) => value,
            (Some('-'), None) | (Some('+'), Some(_)) => self.range(word, close, depth + 1),
            (Some('+'), None) => String::new(),
            (Some('?'), None) => {
                let why = self.range(word, close, depth + 1);
                let why = if why.is_empty() { String::new() } else { format!(": {why}") };
                let message = format!("the variable `{name}` is required and has no value{why}");
                self.findings.push(Finding::Wrong { message, help: Some(format!("set `{name}`")), at });
                String::new()
            }
            _ => {
                self.wrong("this is not a variable expression", at);
                String::new()
            }
        }
    }

    fn wrong(&mut self, message: &str, at: Range<usize>) {
        let help = Some("write `$$` for a dollar sign, or `$NAME`, `${NAME}`, `${NAME:-default}`".to_owned());
        self.findings.push(Finding::Wrong { message: message.to_owned(), help, at });
    }
}

fn name_len(text: &str) -> usize {
    if !text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
        return 0;
    }
    text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(text.len())
}

/// The `}` that belongs to the `${` before `start`.
fn closing(text: &str, start: usize, end: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let (mut at, mut open) = (start, 1);
    while at < end {
        match bytes[at] {
            b'$' if bytes.get(at + 1) == Some(&b'{') && at + 1 < end => {
                open += 1;
                at += 1;
            }
            b'}' => {
                open -= 1;
                if open == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
        at += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> String {
        let lookup = |name: &str| match name {
            "A" => Some("a".to_owned()),
            "E" => Some(String::new()),
            _ => None,
        };
        expand(text, &lookup).0
    }

    #[test]
    fn every_form_has_its_value() {
        for (text, expected) in [
            ("$A-${A}", "a-a"),
            ("$$A $${A}", "$A ${A}"),
            ("${A:-x}${E:-x}${U:-x}", "axx"),
            ("${A-x}${E-x}${U-x}", "ax"),
            ("${A:+x}${E:+x}${U:+x}", "x"),
            ("${A+x}${E+x}${U+x}", "xx"),
            ("${U:-b${V:-c$A}d}", "bcad"),
            ("${A:?no}${E?no}", "a"),
            ("$(date) $1 $", "$(date) $1 $"),
            ("ü$Aü", "aü".replace('a', "üa").as_str()),
        ] {
            assert_eq!(value(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_found_where_it_stands() {
        let (_, findings) = expand("x ${U?must ${V:-be}} $U $1 ${ $1", &|_| None);
        let places: Vec<_> = findings.iter().map(Finding::range).collect();
        assert_eq!(places, [2..20, 21..23, 27..32]);
        assert!(
            matches!(&findings[0], Finding::Wrong { message, .. } if message.ends_with("no value: must be"))
        );
        assert!(matches!(&findings[1], Finding::Unset { name, .. } if name == "U"));
    }
}
