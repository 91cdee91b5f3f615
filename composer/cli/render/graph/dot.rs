//! A stack in DOT, Graphviz' language.

use std::slice::from_ref;

use composer_stack::graph::Graph;

use super::diagram::{Diagram, Edge, Kind, Line, Node};

/// The digraph.
pub fn dot(graph: &Graph) -> String {
    let diagram = Diagram::of(graph);
    let mut text = format!("digraph {} {{\n    graph [rankdir=LR];\n", quoted(&graph.name));
    for node in &diagram.nodes {
        let (shape, style) = shape(node.kind);
        let style = if style.is_empty() { String::new() } else { format!(", style={style}") };
        text.push_str(&format!("    {} [label={}, shape={shape}{style}];\n", id(node), label(&node.label)));
    }
    for edge in &diagram.edges {
        let (from, to) = (id(&diagram.nodes[edge.from]), id(&diagram.nodes[edge.to]));
        text.push_str(&format!("    {from} -> {to}{};\n", attributes(edge)));
    }
    text + "}\n"
}

fn attributes(edge: &Edge) -> String {
    let mut attributes = Vec::new();
    if !edge.label.is_empty() {
        attributes.push(format!("label={}", label(from_ref(&edge.label))));
    }
    match edge.line {
        Line::Arrow => {}
        Line::Dashed => attributes.push("style=dashed".to_owned()),
        Line::Plain => attributes.push("dir=none".to_owned()),
    }
    if attributes.is_empty() { String::new() } else { format!(" [{}]", attributes.join(", ")) }
}

/// What a node is called: the kind is part of it, as a service and its volume may have one name.
fn id(node: &Node) -> String {
    let kind = match node.kind {
        Kind::Port => "port",
        Kind::Service => "service",
        Kind::Network => "network",
        Kind::Volume => "volume",
        Kind::Bind => "bind",
        Kind::Config => "config",
        Kind::Secret => "secret",
        Kind::Outside => "outside",
    };
    quoted(&format!("{kind} {}", node.name))
}

/// A shape of Graphviz' and a style.
fn shape(kind: Kind) -> (&'static str, &'static str) {
    match kind {
        Kind::Port => ("ellipse", ""),
        Kind::Service => ("box", ""),
        Kind::Network => ("hexagon", ""),
        Kind::Volume => ("cylinder", ""),
        Kind::Bind => ("folder", ""),
        Kind::Config | Kind::Secret => ("note", ""),
        Kind::Outside => ("box", "dashed"),
    }
}

/// In labels `&` begins an entity of HTML's, and a backslash the end of a line or the name of something.
fn label(lines: &[String]) -> String {
    let line = |line: &String| line.replace('\\', "\\\\").replace('"', "\\\"").replace('&', "&amp;");
    let lines: Vec<String> = lines.iter().map(line).collect();
    format!("\"{}\"", lines.join("\\n"))
}

/// In names a backslash is one, unless a quote follows it.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
