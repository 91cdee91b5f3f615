//! Characters that no YAML text may have in it, wherever they are. The parser takes most of them.

use super::limits;

/// The first such character of each line, with its place in bytes. The parser stops at U+0000 by itself.
pub(super) fn unprintable(text: &str) -> impl Iterator<Item = (usize, char)> {
    let mut start = 0;
    let lines = text.split_inclusive('\n').map(move |line| {
        let begin = start;
        start += line.len();
        (begin, line)
    });
    let first = |(begin, line): (usize, &str)| {
        let (at, bad) = line.char_indices().find(|(_, c)| !is_printable(*c) && *c != '\0')?;
        Some((begin + at, bad))
    };
    lines.filter_map(first).take(limits::ERRORS)
}

/// The characters of Go's library, which are those of YAML 1.1.
fn is_printable(c: char) -> bool {
    matches!(
        c,
        '\t' | '\n' | '\r' | ' '..='~' | '\u{85}' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..
    )
}

#[cfg(test)]
mod tests {
    use super::unprintable;

    #[test]
    fn one_of_each_line_is_found() {
        let text = "a: \t\u{85}\u{feff}\u{1f600}\u{fffd}\r\nb: \u{7}\u{8}\nc: \0\n# \u{fffe}\n\u{7f}";
        let found: Vec<_> = unprintable(text).map(|(at, bad)| (text[..at].lines().count(), bad)).collect();
        assert_eq!(found, [(2, '\u{7}'), (4, '\u{fffe}'), (4, '\u{7f}')]);
    }
}
