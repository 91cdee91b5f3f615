//! `$A`, `${A}`, `${A:-word}` and their kin in one string (Compose Specification, "Interpolation").

mod finding;
mod scan;
mod uses;

use std::ops::Range;

pub(super) use self::finding::Finding;
use self::scan::{Expression, Kind, Problem, Scanner, Token};

pub(crate) use self::uses::variables;

/// Words may hold expressions themselves; nobody nests deeper.
const DEPTH: usize = 100;

/// Findings of a kind in one string, beyond which more would only bury the others.
const FINDINGS: usize = 100;

/// Where variables have their values.
pub(crate) type Lookup<'a, 'v> = &'a dyn Fn(&str) -> Option<&'v str>;

/// How many bytes values may still add to a file. Values are not expanded again, but an env file may define each
/// variable as the one before it, twice: thirty lines would make a gigabyte.
#[derive(Debug)]
pub(crate) struct Room {
    whole: usize,
    /// `None` once an error has been given for it.
    left: Option<usize>,
}

impl Room {
    pub fn new(bytes: usize) -> Self {
        Self { whole: bytes, left: Some(bytes) }
    }
}

/// Replaces every expression of `text`; what was found on the way comes back beside it.
pub(crate) fn expand(text: &str, lookup: Lookup<'_, '_>, room: &mut Room) -> (String, Vec<Finding>) {
    let mut expansion = Expansion { text, lookup, room, findings: Vec::new() };
    let out = expansion.range(0..text.len(), 0);
    (out, expansion.findings)
}

struct Expansion<'a, 'v> {
    text: &'a str,
    lookup: Lookup<'a, 'v>,
    room: &'a mut Room,
    findings: Vec<Finding>,
}

impl<'a> Expansion<'a, '_> {
    fn range(&mut self, range: Range<usize>, depth: usize) -> String {
        let mut out = String::new();
        for token in Scanner::new(self.text, range) {
            match token {
                Token::Text(text) => out.push_str(text),
                Token::Dollar => out.push('$'),
                Token::Expression(expression) => self.expression(&expression, depth, &mut out),
                Token::Wrong { problem, at } => {
                    out.push_str(&self.text[at.clone()]);
                    self.malformed(problem, at);
                }
            }
        }
        out
    }

    fn expression(&mut self, expression: &Expression<'a>, depth: usize, out: &mut String) {
        let Expression { name, at, operator } = expression;
        let value = (self.lookup)(name);
        let Some(operator) = operator else {
            match value {
                Some(value) => self.put(value, at, out),
                None => self.unset(name, at),
            }
            return;
        };
        if depth >= DEPTH {
            let message = format!("expressions are nested more than {DEPTH} deep here");
            self.wrong(message, None, at.clone());
            return;
        }
        // Before it is known whether the word is needed: Docker Compose warns, and fails, for unused words too.
        let word = self.range(operator.word.clone(), depth + 1);
        let value = value.filter(|value| !(operator.colon && value.is_empty()));
        match (operator.kind, value) {
            (Kind::Default | Kind::Required, Some(value)) => self.put(value, at, out),
            (Kind::Default, None) | (Kind::Alternative, Some(_)) => out.push_str(&word),
            (Kind::Alternative, None) => {}
            (Kind::Required, None) => {
                let why = if word.is_empty() { word } else { format!(": {word}") };
                let message = format!("the variable `{name}` is required and has no value{why}");
                let help = Some(format!("set `{name}`"));
                self.wrong(message, help, at.clone());
            }
        }
    }

    fn put(&mut self, value: &str, at: &Range<usize>, out: &mut String) {
        let Some(left) = self.room.left else { return };
        self.room.left = left.checked_sub(value.len());
        if self.room.left.is_some() {
            out.push_str(value);
            return;
        }
        let message =
            format!("the values of variables add more than {} KiB to this file", self.room.whole >> 10);
        self.wrong(message, None, at.clone());
    }

    fn malformed(&mut self, problem: Problem, at: Range<usize>) {
        let message = match problem {
            Problem::Form => "this is not a variable expression",
            Problem::Unclosed => "this `${` has no closing `}`",
            Problem::UnclosedLine => "this `${` has no closing `}` on its line",
        };
        let help = Some("write `$$` for a dollar sign, or `$NAME`, `${NAME}`, `${NAME:-default}`".to_owned());
        self.wrong(message.to_owned(), help, at);
    }

    fn unset(&mut self, name: &str, at: &Range<usize>) {
        let mut others = self.findings.iter().filter_map(|finding| match finding {
            Finding::Unset { name, .. } => Some(name),
            Finding::Wrong { .. } => None,
        });
        if others.clone().count() < FINDINGS && others.all(|other| other != name) {
            self.findings.push(Finding::Unset { name: name.to_owned(), at: at.clone() });
        }
    }

    fn wrong(&mut self, message: String, help: Option<String>, at: Range<usize>) {
        let others = self.findings.iter().filter(|finding| matches!(finding, Finding::Wrong { .. }));
        if others.count() < FINDINGS {
            self.findings.push(Finding::Wrong { message, help, at });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(text: &str, values: &[(&str, &str)]) -> (String, Vec<Finding>) {
        let lookup = |name: &str| values.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
        expand(text, &lookup, &mut Room::new(1 << 20))
    }

    fn value(text: &str) -> String {
        with(text, &[("A", "a"), ("B", "b"), ("E", ""), ("D", "$A${A}$$")]).0
    }

    #[test]
    fn every_form_has_its_value() {
        for (text, expected) in [
            ("$A-${A}", "a-a"),
            ("$$A $${A} $$$A $$$$", "$A ${A} $a $$"),
            ("${A:-x}${E:-x}${U:-x}", "axx"),
            ("${A-x}${E-x}${U-x}", "ax"),
            ("${A:+x}${E:+x}${U:+x}", "x"),
            ("${A+x}${E+x}${U+x}", "xx"),
            ("${A:?no}${E?no}", "a"),
            ("$(date) $1 $ $.", "$(date) $1 $ $."),
            ("ü$Aü", "üaü"),
            ("${U:-ü}$A_$B", "üb"),
            ("$D", "$A${A}$$"),
            ("%{A}{$A}{{${A}}}", "%{A}{a}{{a}}"),
        ] {
            assert_eq!(value(text), expected, "{text}");
        }
    }

    #[test]
    fn words_may_hold_expressions_and_braces() {
        for (text, expected) in [
            ("${U:-b${V:-c$A}d}", "bcad"),
            ("${U-${V-${W-$A}}}", "a"),
            ("${U:-$A}$B", "ab"),
            ("${A:+${U:-y}}", "y"),
            ("${U:-$$A}${U:-$}${U:-$1}", "$A$$1"),
            ("${U:-:-x}${U-:-x}${U:--}${U:?-}", ":-x:-x-"),
            ("${U:-{\"k\":1}}|${U:-{}}", "{\"k\":1}|{}"),
            ("${U:-{x}y}z", "{x}yz"),
            ("${U:-x}}${U:-x{y}", "x}x{y"),
            ("${A} - ${U:-x}:-${B}", "a - x:-b"),
        ] {
            assert_eq!(value(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_found_where_it_stands() {
        let (_, findings) = with("x ${U?must ${V:-be}} $U $1 ${ $1", &[]);
        let places: Vec<_> = findings.iter().map(Finding::range).collect();
        assert_eq!(places, [2..20, 21..23, 27..32]);
        assert!(
            matches!(&findings[0], Finding::Wrong { message, .. } if message.ends_with("no value: must be"))
        );
        assert!(matches!(&findings[1], Finding::Unset { name, .. } if name == "U"));
    }

    #[test]
    fn every_error_is_found() {
        let (_, findings) = with("${U!} ${V:?a} $A ${W?b${X?c}}\n${Y:-\n} ${Z", &[("A", "")]);
        let places: Vec<_> = findings.iter().map(Finding::range).collect();
        assert_eq!(places, [0..5, 6..13, 22..28, 17..29, 30..35, 38..41]);
    }

    #[test]
    fn words_that_are_not_needed_are_looked_at_too() {
        let (text, findings) = with("${A:-${U:?e}}${U:+$V}", &[("A", "a")]);
        assert_eq!(text, "a");
        assert!(matches!(&findings[0], Finding::Wrong { at, .. } if *at == (5..12)));
        assert!(matches!(&findings[1], Finding::Unset { name, .. } if name == "V"));
    }

    #[test]
    fn nesting_has_an_end() {
        let nested = |depth: usize| format!("{}x{}", "${U:-".repeat(depth), "}".repeat(depth));
        assert_eq!(value(&nested(DEPTH)), "x");
        let (_, findings) = with(&nested(100_000), &[]);
        assert_eq!(findings.len(), 1);
    }

    #[test]
    fn errors_are_not_lost_among_warnings() {
        let (_, findings) =
            with(&format!("{}$V0 ${{", (0..1000).map(|n| format!("$V{n} ")).collect::<String>()), &[]);
        assert_eq!(findings.len(), FINDINGS + 1);
        assert!(matches!(findings.last(), Some(Finding::Wrong { .. })));
    }

    #[test]
    fn growth_has_an_end() {
        let big = "x".repeat(300 << 10);
        let (text, findings) = with("$A ${A:+y}$A$A${A:-z}$A", &[("A", &big)]);
        assert_eq!(text.len(), 3 * big.len() + 2);
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert_eq!(findings[0].range(), 14..21);
    }

    #[test]
    fn hostile_braces_are_not_searched_again_and_again() {
        // Were the rest searched for each of them, these would be some 10^11 steps: the test would not end.
        for piece in ["${A:-", "${A:-{", "${A:-{}", "${", "$A${!", "}${A:-", "${A:-\n", "${A:-}\n{"] {
            let text = piece.repeat(100_000);
            let _ = with(&text, &[("A", "a")]);
            let _ = variables(&text);
        }
    }

    #[test]
    fn no_input_panics_or_is_misplaced() {
        let pieces =
            ["$", "{", "}", "A", "ü", ":", "-", "+", "?", "\n", "${A", "${U:-", "$$", "🦀", " ", "1"];
        let mut seed = 1_u64;
        for _ in 0..20_000 {
            let mut text = String::new();
            for _ in 0..seed % 14 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                text.push_str(pieces[(seed >> 33) as usize % pieces.len()]);
            }
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407) >> 1;
            for finding in with(&text, &[("A", "ä")]).1 {
                assert!(text.get(finding.range()).is_some_and(|part| part.starts_with('$')), "{text}");
            }
            assert!(variables(&text).iter().all(|u| !u.name.is_empty()), "{text}");
        }
    }
}
