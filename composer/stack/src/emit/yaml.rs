//! A document as YAML, for readers of version 1.1 and 1.2 alike: what either could take for anything but a string
//! (`yes`, `on`, `22:22`, a date) is quoted.

use std::path::Path;

use serde_saphyr::ser_options;

use super::Document;
use crate::diagnostic::Report;
use crate::yaml::{Entry, Node, Value, parse};

/// A line that a value begins in.
pub(crate) struct Line<'a> {
    /// Where the line ends in the text.
    pub end: usize,
    /// What it came from; `None` where nobody wrote it.
    pub node: Option<&'a Node>,
    /// The pair it came from, where it has a key.
    pub entry: Option<&'a Entry>,
}

/// The document in block style, with so many spaces a level; lists are indented, as Docker Compose prints them.
///
/// # Errors
/// None is known; the writer's interface has room for one.
pub(crate) fn yaml(document: &Document, indent: usize) -> std::io::Result<String> {
    let options = ser_options! {
        indent_step: indent,
        compact_list_indent: false,
        // A long line is one line, as Docker Compose leaves it; of several lines only what `is_block` is one.
        prefer_block_scalars: false,
        folded_wrap_chars: usize::MAX,
    };
    serde_saphyr::to_string_with_options(document, options).map_err(std::io::Error::other)
}

/// Whether every reader takes a string of several lines from a block as it is: blanks at the ends of lines get lost on
/// the way through editors, and not all agree on those at the beginning.
pub(super) fn is_block(text: &str) -> bool {
    let is_printable = |c: char| !c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}');
    text.contains('\n')
        && !text.starts_with([' ', '\n'])
        && text.split('\n').all(|line| line.chars().all(is_printable) && !line.ends_with(' '))
}

/// The lines of what [`yaml`] has written in which a value begins. `root` is the tree that the document was made from.
pub(crate) fn lines<'a>(text: &str, root: &'a Node) -> Vec<Line<'a>> {
    let mut lines = Lines { text, found: Vec::new() };
    // The reader knows where everything lies, whatever the writer's layout is.
    let read = parse(Path::new(""), text.to_owned(), &mut Report::default());
    if let Some(node) = read.and_then(|mut documents| documents.pop()) {
        lines.below(&node, Some(root));
    }
    lines.found
}

struct Lines<'t, 'a> {
    text: &'t str,
    found: Vec<Line<'a>>,
}

impl<'a> Lines<'_, 'a> {
    fn below(&mut self, written: &Node, root: Option<&'a Node>) {
        match &written.value {
            Value::Map(map) => {
                for (key, Entry { key: place, node }) in map {
                    let entry = root.and_then(Node::as_map).and_then(|map| map.get(key));
                    let from = entry.map(|entry| &entry.node);
                    self.line(place.start, from, entry);
                    self.below(node, from);
                }
            }
            Value::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    let from = root.and_then(|root| root.items().get(index));
                    let is_line = match &item.value {
                        Value::Scalar(_) => true,
                        Value::List(items) => items.is_empty(),
                        Value::Map(map) => map.is_empty(),
                    };
                    if is_line {
                        self.line(item.span.start, from, None);
                    } else {
                        self.below(item, from);
                    }
                }
            }
            Value::Scalar(_) => {}
        }
    }

    fn line(&mut self, start: usize, node: Option<&'a Node>, entry: Option<&'a Entry>) {
        let end = self.text[start..].find('\n').map_or(self.text.len(), |length| start + length);
        // A key too long for one line is followed by its value on the next.
        if self.found.last().is_none_or(|last| last.end < end) {
            self.found.push(Line { end, node, entry });
        }
    }
}

#[cfg(test)]
mod tests {
    use indexmap::IndexMap;

    use super::*;
    use crate::yaml::Resolved;

    /// Strings that one or another reader takes for something else unless they are written with care.
    pub(super) const TRAPS: &[&str] = &[
        "",
        " ",
        "  ",
        "\t",
        "\n",
        "\n\n",
        "a\n",
        "a\n\n",
        "a\nb",
        "a\nb\n",
        "a\n\nb\n\n",
        "\na",
        " a\nb",
        "a\n b",
        "a \nb",
        "a\n \nb",
        "a\tb",
        "\ta\nb",
        "a\n\tb",
        "a\nb ",
        "a\r\nb",
        "a\rb",
        "a\u{85}b",
        "a\u{2028}b",
        "a\u{2029}b\n",
        "\u{feff}a",
        "a\u{a0}b",
        "é",
        "日本",
        "😀",
        "a\0b",
        "\u{1b}[0m",
        "\u{7f}",
        "\u{fffe}",
        "yes",
        "No",
        "on",
        "OFF",
        "y",
        "N",
        "true",
        "True",
        "FALSE",
        "null",
        "Null",
        "~",
        "=",
        "<<",
        "0",
        "-0",
        "+1",
        "12",
        "1_000",
        "0o17",
        "0O17",
        "017",
        "089",
        "0x1f",
        "0X1F",
        "-0x1f",
        "0b11",
        "1.",
        ".5",
        "1.5",
        "-.5e3",
        "1e3",
        "1e+3",
        "1E-3",
        "1_0.5",
        "._",
        ".",
        "..",
        "...",
        "---",
        "--- a",
        "... a",
        "-",
        "- a",
        "-a",
        "--flag",
        "?",
        "? a",
        "?a",
        ":",
        ": a",
        ":a",
        "a:",
        "a: b",
        "a:b",
        "a :b",
        "#",
        "#a",
        "a#b",
        "a #b",
        "22:22",
        "22:22:22",
        "1:5",
        "190:20:30.15",
        "-1:30",
        "8080:80",
        "127.0.0.1:80:80",
        "2001-12-14",
        "2001-1-1",
        "2001-12-14t21:59:43.10-05:00",
        "2001-12-14 21:59:43.10 -5",
        "2001-12-14x",
        ".inf",
        "-.INF",
        "+.inf",
        ".nan",
        ".NaN",
        "inf",
        "nan",
        "Infinity",
        "[a]",
        "]",
        "{a}",
        "}",
        "a, b",
        ",",
        "&a",
        "*a",
        "!a",
        "!!str a",
        "|",
        "|-",
        ">",
        "> a",
        "'",
        "'a'",
        "\"",
        "\"a\"",
        "it's",
        "a'b\"c",
        "%a",
        "%YAML 1.1",
        "@a",
        "`a`",
        "\\",
        "a\\nb",
        " a",
        "a ",
        "a: b: c",
        "- - a",
        "key: |\n  text\n",
        "# only\n# comments\n",
        "a # b\nc",
        "1.2.3",
        "3a9f",
        "1e",
        "e3",
        "0x",
        "0b2",
        "08:00",
        "12e03",
        "_1",
        "1__",
        "$x",
        "${x}",
        "http://a/b?c=d#e",
        "/a/b",
        "~/a",
        "a=b",
        "c:\\d",
        "100%",
        "long long ago in a galaxy far away",
    ];

    fn read(text: &str) -> Node {
        let mut report = Report::default();
        let read = parse(Path::new("x.yaml"), text.to_owned(), &mut report);
        assert!(!report.has_errors(), "{text:?}: {}", report.finish().render(false));
        read.unwrap().remove(0)
    }

    fn texts(node: &Node) -> Vec<&str> {
        node.items().iter().map(|item| item.text_value().unwrap_or("NOT A STRING")).collect()
    }

    #[test]
    fn what_is_written_is_read_back() {
        let long = "k".repeat(300);
        let traps: Vec<&str> = TRAPS.iter().copied().chain([long.as_str()]).collect();
        for text in &traps {
            let item = || Document::Text((*text).to_owned());
            let map = IndexMap::from([((*text).to_owned(), item()), ("last".to_owned(), item())]);
            let nested =
                Document::List(vec![Document::List(vec![item(), item()]), Document::Map(map.clone())]);
            let written = yaml(&nested, 2).unwrap();
            let node = read(&written);
            assert_eq!(texts(&node.items()[0]), [*text, *text], "{written}");
            let pairs: Vec<(&str, &str)> = node.items()[1]
                .entries()
                .map(|(key, entry)| (key.as_str(), entry.node.text_value().unwrap_or("NOT A STRING")))
                .collect();
            assert_eq!(pairs, [(*text, *text), ("last", *text)], "{written}");
        }
    }

    #[test]
    fn lines_are_known_by_what_stands_in_them() {
        let root = read("a: 1\nb:\n  - x\n  - {c: d, e: f}\nt: |\n  1\n  2\n");
        let map = |pairs: Vec<(&str, Document)>| {
            Document::Map(pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
        };
        let text = |text: &str| Document::Text(text.to_owned());
        let item = map(vec![("c", text("d")), ("e", text("f"))]);
        let document = map(vec![
            ("b", Document::List(vec![text("x"), item])),
            ("t", text("1\n2\n")),
            ("added", Document::Null),
            ("a", Document::Int(1)),
        ]);
        let written = yaml(&document, 2).unwrap();
        let lines = lines(&written, &root);
        assert_eq!(written, "b:\n  - x\n  - c: d\n    e: f\nt: |\n  1\n  2\nadded: null\na: 1\n");
        let starts: Vec<Option<usize>> =
            lines.iter().map(|line| line.node.map(|node| node.span.start)).collect();
        assert_eq!(starts, [Some(10), Some(12), Some(22), Some(28), Some(38), None, Some(3)]);
        assert!(
            matches!(&lines[1].node.unwrap().value, Value::Scalar(s) if s.resolve() == Resolved::Text("x"))
        );
        assert_eq!(&written[..lines[4].end], "b:\n  - x\n  - c: d\n    e: f\nt: |");
    }
}
