//! Block style, two spaces, lists indented; of every line it is known which value stands there, for those who say
//! something about each.

use super::Document;
use super::scalar::{self, Style};
use crate::yaml::{Entry, Node};

/// Readers may look no further than this for the `:` behind a key (YAML 1.2, 7.4; Go's writer holds to less).
const KEY: usize = 128;

/// A line that a value begins in.
pub(crate) struct Line<'a> {
    /// Where the line ends in the text.
    pub end: usize,
    /// What it came from; `None` where nobody wrote it.
    pub node: Option<&'a Node>,
    /// The pair it came from, where it has a key.
    pub entry: Option<&'a Entry>,
}

/// The document as YAML.
pub(crate) fn yaml(document: &Document) -> String {
    yaml_indented(document, 2)
}

/// The same with so many spaces a level.
pub(crate) fn yaml_indented(document: &Document, width: usize) -> String {
    let mut writer = Writer { out: String::new(), lines: None, width };
    writer.root(document, None);
    writer.out
}

/// The same, and what stands in each of its lines. `root` is the tree that the document was made from.
pub(crate) fn annotated<'a>(document: &Document, root: &'a Node) -> (String, Vec<Line<'a>>) {
    let mut writer = Writer { out: String::new(), lines: Some(Vec::new()), width: 2 };
    writer.root(document, Some(root));
    (writer.out, writer.lines.unwrap_or_default())
}

struct Writer<'a> {
    out: String,
    lines: Option<Vec<Line<'a>>>,
    width: usize,
}

/// Where a value came from.
#[derive(Clone, Copy)]
struct From<'a> {
    node: Option<&'a Node>,
    entry: Option<&'a Entry>,
}

impl<'a> Writer<'a> {
    fn root(&mut self, document: &Document, node: Option<&'a Node>) {
        let from = From { node, entry: None };
        match document {
            Document::Map(map) if !map.is_empty() => self.block(document, 0, from),
            Document::List(items) if !items.is_empty() => self.block(document, 0, from),
            _ => self.inline(document, 0, from),
        }
    }

    /// A mapping or list with something in it, the first line where the writer stands.
    fn block(&mut self, document: &Document, depth: usize, from: From<'a>) {
        let mut first = true;
        let mut begin = |writer: &mut Self| {
            if !std::mem::take(&mut first) {
                writer.indent(depth);
            }
        };
        match document {
            Document::Map(map) => {
                for (key, value) in map {
                    let entry = from.node.and_then(Node::as_map).and_then(|map| map.get(key));
                    let below = From { node: entry.map(|entry| &entry.node), entry };
                    begin(self);
                    self.key(key, depth, below);
                    self.value(value, depth, below);
                }
            }
            Document::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    let node = from.node.and_then(|node| node.items().get(index));
                    let below = From { node, entry: None };
                    begin(self);
                    self.out.push_str("- ");
                    if is_block(item) {
                        self.block(item, depth + 1, below);
                    } else {
                        self.inline(item, depth, below);
                    }
                }
            }
            _ => {}
        }
    }

    fn key(&mut self, key: &str, depth: usize, from: From<'a>) {
        let style = scalar::style(key, true);
        if key.len() > KEY {
            self.out.push_str("? ");
            scalar::write(&mut self.out, key, style);
            self.end_line(from);
            self.indent(depth);
        } else {
            scalar::write(&mut self.out, key, style);
        }
        self.out.push(':');
    }

    /// What stands behind a key.
    fn value(&mut self, value: &Document, depth: usize, from: From<'a>) {
        if is_block(value) {
            self.end_line(from);
            self.indent(depth + 1);
            self.block(value, depth + 1, from);
        } else {
            self.out.push(' ');
            self.inline(value, depth, from);
        }
    }

    /// A scalar, or a mapping or list with nothing in it.
    fn inline(&mut self, value: &Document, depth: usize, from: From<'a>) {
        match value {
            Document::Null => self.out.push_str("null"),
            Document::Bool(value) => self.out.push_str(if *value { "true" } else { "false" }),
            Document::Int(value) => self.out.push_str(&value.to_string()),
            Document::Float(value) => self.out.push_str(&scalar::float(*value)),
            Document::Text(text) => match scalar::style(text, false) {
                Style::Literal => return self.literal(text, depth + 1, from),
                style => scalar::write(&mut self.out, text, style),
            },
            Document::List(_) => self.out.push_str("[]"),
            Document::Map(_) => self.out.push_str("{}"),
        }
        self.end_line(from);
    }

    fn literal(&mut self, text: &str, depth: usize, from: From<'a>) {
        let body = text.strip_suffix('\n');
        self.out.push_str(match body {
            None => "|-",
            // More than one line break at the end, or nothing else.
            Some(body) if body.is_empty() || body.ends_with('\n') => "|+",
            Some(_) => "|",
        });
        self.end_line(from);
        for line in body.unwrap_or(text).split('\n') {
            if !line.is_empty() {
                self.indent(depth);
                self.out.push_str(line);
            }
            self.out.push('\n');
        }
    }

    fn indent(&mut self, depth: usize) {
        for _ in 0..depth * self.width {
            self.out.push(' ');
        }
    }

    fn end_line(&mut self, from: From<'a>) {
        if let Some(lines) = &mut self.lines {
            lines.push(Line { end: self.out.len(), node: from.node, entry: from.entry });
        }
        self.out.push('\n');
    }
}

fn is_block(document: &Document) -> bool {
    match document {
        Document::Map(map) => !map.is_empty(),
        Document::List(items) => !items.is_empty(),
        Document::Null | Document::Bool(_) | Document::Int(_) | Document::Float(_) | Document::Text(_) => {
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use indexmap::IndexMap;

    use super::*;
    use crate::diagnostic::Report;
    use crate::yaml::{Resolved, Value, parse};

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
            let written = yaml(&nested);
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
    fn the_style_is_that_of_docker_compose() {
        let written = |text: &str| {
            let text = yaml(&Document::List(vec![Document::Text(text.to_owned())]));
            text.strip_prefix("- ").unwrap().trim_end().to_owned()
        };
        for plain in
            ["abc", "a:b", "/a", "-f", "3a9f", "http://x", "a#b", "127.0.0.1:80:80", "a, b", "é", "it's"]
        {
            assert_eq!(written(plain), plain);
        }
        for double in ["", "yes", "22:22", "2020-01-01", "1e3", "0x1f", "n", "1_0", ".5", "~", "null"] {
            assert_eq!(written(double), format!("\"{double}\""));
        }
        for single in ["- a", "a: b", "#", "*a", "'", "@", " a", "a ", "[", "---"] {
            assert_eq!(written(single), format!("'{}'", single.replace('\'', "''")));
        }
        assert_eq!(written("a\tb\u{85}😀\u{1}"), r#""a\tb\N\U0001F600\x01""#);
        assert_eq!(written("a\nb"), "|-\n  a\n  b");
        let long = "word ".repeat(40) + "end";
        assert_eq!(written(&long), long);
    }

    #[test]
    fn numbers_are_those_of_go() {
        let shown = |value| yaml(&Document::Float(value)).trim_end().to_owned();
        assert_eq!([2.0, 0.5, 1e-5, 1e21, -0.0].map(shown), ["2", "0.5", "1.0e-05", "1.0e+21", "-0"]);
        assert_eq!(shown(f64::INFINITY), ".inf");
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
        let (written, lines) = annotated(&document, &root);
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
