//! Which variables a string uses, and how: what `config --variables` prints.

use super::DEPTH;
use super::scan::{Kind, Scanner, Token};

/// One use of a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Use<'a> {
    pub name: &'a str,
    /// `?`: there is an error where it has no value.
    pub required: bool,
    /// `-`: what stands in for it, before interpolation.
    pub default: Option<&'a str>,
    /// `+`: what replaces it, before interpolation.
    pub alternative: Option<&'a str>,
}

/// The uses in `text`, those inside defaults and alternatives too (not those in messages of `?`).
///
/// Docker Compose prints a variable once, the way its last use has it. The order here is the one it goes by: the
/// expressions of a line with an operator come from last to first, each followed by those inside it.
pub(crate) fn variables(text: &str) -> Vec<Use<'_>> {
    let mut out = Vec::new();
    collect(text, 0, text.len(), 0, &mut out);
    out
}

fn collect<'a>(text: &'a str, start: usize, end: usize, depth: usize, out: &mut Vec<Use<'a>>) {
    if depth > DEPTH {
        return;
    }
    // Groups of the line so far, and where it ends for Docker Compose: at its last `}`.
    let mut groups: Vec<Vec<Use<'a>>> = Vec::new();
    let mut line = start;
    for token in Scanner::new(text, start..end) {
        let Token::Expression(expression) = token else { continue };
        if expression.at.start >= line {
            out.extend(groups.drain(..).rev().flatten());
        }
        let mut found = Use { name: expression.name, required: false, default: None, alternative: None };
        let Some(operator) = expression.operator else {
            out.push(found);
            continue;
        };
        let word = operator.word;
        match operator.kind {
            Kind::Default => found.default = text.get(word.clone()),
            Kind::Required => found.required = true,
            Kind::Alternative => found.alternative = text.get(word.clone()),
        }
        let mut group = vec![found];
        if operator.kind != Kind::Required {
            collect(text, word.start, word.end, depth + 1, &mut group);
        }
        if groups.is_empty() {
            line = last_brace(&text[..end], expression.at.end);
        }
        groups.push(group);
    }
    out.extend(groups.drain(..).rev().flatten());
}

/// The end of the last `}` of the line from `start` on, else `start`.
fn last_brace(text: &str, start: usize) -> usize {
    let line = text[start..].split('\n').next().unwrap_or("");
    line.rfind('}').map_or(start, |found| start + found + 1)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Columns as `docker compose config --variables` (v2.40.3) prints them, sorted by name.
    fn printed(text: &str) -> String {
        let by_name: BTreeMap<&str, Use<'_>> = variables(text).into_iter().map(|u| (u.name, u)).collect();
        let rows = by_name.values().map(|u| {
            let (default, alternative) = (u.default.unwrap_or(""), u.alternative.unwrap_or(""));
            format!("{}|{}|{default}|{alternative}", u.name, u.required)
        });
        rows.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn variables_are_listed_as_docker_compose_lists_them() {
        for (text, expected) in [
            ("x $$A $1", ""),
            ("$A ${B}", "A|false||\nB|false||"),
            ("${A:-x}", "A|false|x|"),
            ("${A-${B:-y}}", "A|false|${B:-y}|\nB|false|y|"),
            ("${A:?m ${C}}", "A|true||"),
            ("${A?}", "A|true||"),
            ("${A+z}", "A|false||z"),
            ("${A:+${D-q}}", "A|false||${D-q}\nD|false|q|"),
            ("${A:-1}${A:-2}", "A|false|1|"),
            ("${A} ${A:-2}", "A|false|2|"),
            ("${A:-1} $A", "A|false||"),
            ("${A:-1} $A ${B}", "A|false|1|\nB|false||"),
            ("${A:-1} ${B-2} $C ${D?x} $E", "A|false|1|\nB|false|2|\nC|false||\nD|true||\nE|false||"),
            ("${B:-$$C}", "B|false|$$C|"),
            ("${A:-${B:-${C:-d}}}", "A|false|${B:-${C:-d}}|\nB|false|${C:-d}|\nC|false|d|"),
            ("${A:-x{y}", "A|false|x{y|"),
            ("${A:-1}\n${A:-2}", "A|false|2|"),
        ] {
            assert_eq!(printed(text), expected, "{text}");
        }
    }

    #[test]
    fn nesting_has_an_end() {
        let text = format!("{}x{}", "${A:-".repeat(5000), "}".repeat(5000));
        assert_eq!(variables(&text).len(), DEPTH + 1);
    }
}
