//! A stack as a flowchart of Mermaid's.

use std::slice::from_ref;

use composer_stack::graph::Graph;

use super::diagram::{Diagram, Kind, Line};

/// The flowchart. What nodes are called in it are their numbers, so that no name can be a word of Mermaid's (`end`,
/// `o`, `x`) or break one off.
pub fn mermaid(graph: &Graph) -> String {
    let diagram = Diagram::of(graph);
    // A project's name is letters, digits, `-` and `_`: quoted, it is text in YAML.
    let mut text = format!("---\ntitle: \"{}\"\n---\nflowchart LR\n", graph.name);
    for (number, node) in diagram.nodes.iter().enumerate() {
        let (open, close) = shape(node.kind);
        text.push_str(&format!("    n{number}{open}{}{close}\n", label(&node.label)));
    }
    for edge in &diagram.edges {
        let line = match edge.line {
            Line::Arrow => "-->",
            Line::Dashed => "-.->",
            Line::Plain => "---",
        };
        let words = match edge.label.is_empty() {
            true => String::new(),
            false => format!("|{}|", label(from_ref(&edge.label))),
        };
        text.push_str(&format!("    n{} {line}{words} n{}\n", edge.from, edge.to));
    }
    text
}

fn shape(kind: Kind) -> (&'static str, &'static str) {
    match kind {
        Kind::Port => ("([", "])"),
        Kind::Service => ("[", "]"),
        Kind::Network => ("{{", "}}"),
        Kind::Volume => ("[(", ")]"),
        Kind::Bind => ("[/", "/]"),
        Kind::Config | Kind::Secret => (">", "]"),
        Kind::Outside => ("(", ")"),
    }
}

fn label(lines: &[String]) -> String {
    let lines: Vec<String> = lines.iter().map(|line| escaped(line)).collect();
    format!("\"{}\"", lines.join("<br/>"))
}

/// Mermaid's entities are `#` and a number. What has a meaning somewhere in it becomes one: quotes, tags, backticks and
/// `*` of Markdown, `$$` of formulas, `%%` of comments, backslashes. A line with `style`, a colon and an entity would
/// lose the entity's end, so that a colon becomes one as well where there are others.
fn escaped(text: &str) -> String {
    let is_plain = |letter: char| letter.is_alphanumeric() || " ,.-_/=+@()[]{}'".contains(letter);
    let is_colon = |letter: char| letter == ':';
    if text.chars().all(|letter| is_plain(letter) || is_colon(letter)) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len() * 2);
    for letter in text.chars() {
        if is_plain(letter) {
            out.push(letter);
        } else {
            out.push_str(&format!("#{};", u32::from(letter)));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn only_plain_letters_are_left_as_they_are() {
        assert_eq!(escaped("nginx:1.27-alpine"), "nginx:1.27-alpine");
        assert_eq!(escaped("a\"b"), "a#34;b");
        assert_eq!(escaped("style: <b>#1"), "style#58; #60;b#62;#35;1");
        assert_eq!(escaped("`*` 100%"), "#96;#42;#96; 100#37;");
        assert_eq!(escaped("Größe 日本"), "Größe 日本");
    }
}
