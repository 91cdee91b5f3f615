//! The exact texts beside their files in `tests/`, and what a parser makes of them.
//! `COMPOSER_UPDATE_GOLDEN=1 cargo test --bin compose graph` writes them anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use composer_stack::graph::Graph;
use composer_stack::{LoadOptions, load};
use layout::gv::DotParser;
use layout::gv::parser::ast::Stmt;

use super::diagram::Diagram;
use super::{dot, mermaid, text};

const CASES: [&str; 4] = ["bridge", "everything", "names", "shop"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn folder() -> PathBuf {
    root().join("composer/cli/render/graph/tests")
}

/// The stack of a case with some profiles and services. Paths in it are the same wherever this is checked out.
fn graph(case: &str, profiles: &[&str], services: &[&str]) -> Graph {
    let file = match case {
        "shop" => root().join("examples/shop/compose.yaml"),
        case => folder().join(case).with_extension("yaml"),
    };
    let options = LoadOptions {
        current_dir: file.parent().unwrap().to_owned(),
        files: vec![file],
        profiles: profiles.iter().map(ToString::to_string).collect(),
        services: services.iter().map(ToString::to_string).collect(),
        environment: BTreeMap::from([("SHOP_BIN".to_owned(), "/opt/shop".to_owned())]),
        ..LoadOptions::default()
    };
    load(&options).unwrap_or_else(|error| panic!("{error}")).graph()
}

fn read(graph: &Graph) -> String {
    text(graph, &composer_plan::tiers(graph), false)
}

#[test]
fn texts_are_as_written() {
    let mut wrong = Vec::new();
    for case in CASES {
        let graph = graph(case, &["debug"], &[]);
        for (extension, shown) in [("txt", read(&graph)), ("mmd", mermaid(&graph)), ("dot", dot(&graph))] {
            let path = folder().join(case).with_extension(extension);
            if std::env::var_os("COMPOSER_UPDATE_GOLDEN").is_some() {
                fs::write(&path, &shown).unwrap();
            } else if fs::read_to_string(&path).unwrap_or_default() != shown {
                wrong.push(format!("{}:\n{shown}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_a_parser_of_dot_reads_is_what_was_meant() {
    for case in CASES {
        let graph = graph(case, &["*"], &[]);
        let diagram = Diagram::of(&graph);
        let text = dot(&graph);
        let parsed =
            DotParser::new(&text).process().unwrap_or_else(|error| panic!("{case}: {error}\n{text}"));
        assert_eq!(parsed.name, graph.name);
        let label = |list: &layout::gv::parser::ast::AttributeList| {
            list.iter().find(|(key, _)| key == "label").map(|(_, value)| value.replace("&amp;", "&"))
        };
        let (mut names, mut labels, mut edges) = (Vec::new(), Vec::new(), Vec::new());
        for statement in &parsed.list.list {
            match statement {
                Stmt::Node(node) => {
                    names.push(node.id.name.clone());
                    labels.push(label(&node.list).unwrap());
                }
                Stmt::Edge(edge) => {
                    let [(to, _)] = edge.to.as_slice() else { panic!("{edge:?}") };
                    edges.push((edge.from.name.clone(), to.name.clone(), label(&edge.list)));
                }
                Stmt::Attribute(_) | Stmt::SubGraph(_) => {}
            }
        }
        let meant: Vec<String> = diagram.nodes.iter().map(|node| node.label.join("\n")).collect();
        assert_eq!(labels, meant, "{case}");
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{case}: a name is there twice");
        let meant = diagram.edges.iter().map(|edge| {
            let label = Some(edge.label.clone()).filter(|label| !label.is_empty());
            (names[edge.from].clone(), names[edge.to].clone(), label)
        });
        assert_eq!(edges, meant.collect::<Vec<_>>(), "{case}");
    }
}

/// What may stand in front of a label, and behind it, by Mermaid's grammar of flowcharts.
const SHAPES: [(&str, &str); 7] = [
    ("[\"", "\"]"),
    ("([\"", "\"])"),
    ("{{\"", "\"}}"),
    ("[(\"", "\")]"),
    ("[/\"", "\"/]"),
    (">\"", "\"]"),
    ("(\"", "\")"),
];

/// The number after `n`.
fn number(text: &str) -> usize {
    text.strip_prefix('n').and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{text}"))
}

/// Nothing but letters, blanks and signs without a meaning, entities and line breaks.
fn is_label(text: &str) -> bool {
    text.split("<br/>").all(|line| {
        let mut parts = line.split('#');
        let is_plain = |text: &str| !text.contains(['"', '<', '>', '`', '%', '\\', ';', '&', '*', '$', '|']);
        let first = parts.next().unwrap_or_default();
        let entity = |part: &str| {
            let (number, rest) = part.split_once(';').unwrap_or_default();
            !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit()) && is_plain(rest)
        };
        is_plain(first) && parts.all(entity)
    })
}

#[test]
fn mermaid_has_numbers_for_names_and_only_plain_labels() {
    for case in CASES {
        let graph = graph(case, &["*"], &[]);
        let text = mermaid(&graph);
        let body =
            text.strip_prefix(&format!("---\ntitle: \"{}\"\n---\nflowchart LR\n", graph.name)).unwrap();
        let (mut nodes, mut edges) = (0, 0);
        for line in body.lines().map(|line| line.strip_prefix("    ").unwrap()) {
            let end = line.find(|letter: char| letter != 'n' && !letter.is_ascii_digit()).unwrap();
            let (id, rest) = line.split_at(end);
            if let Some(rest) = rest.strip_prefix(' ') {
                let (arrow, rest) = rest.split_at(rest.find(['|', ' ']).unwrap());
                assert!(["-->", "-.->", "---"].contains(&arrow), "{line}");
                let to = match rest.strip_prefix("|\"").and_then(|rest| rest.split_once("\"| ")) {
                    Some((label, to)) => {
                        assert!(is_label(label), "{line}");
                        to
                    }
                    None => rest.strip_prefix(' ').unwrap(),
                };
                assert!(number(id) < nodes && number(to) < nodes, "{line}");
                edges += 1;
            } else {
                assert_eq!((number(id), edges), (nodes, 0), "{line}");
                let inner = |(open, close): (&str, &str)| {
                    rest.strip_prefix(open)
                        .and_then(|rest| rest.strip_suffix(close))
                        .filter(|text| is_label(text))
                };
                assert!(SHAPES.into_iter().any(|shape| inner(shape).is_some()), "{line}");
                nodes += 1;
            }
        }
        let diagram = Diagram::of(&graph);
        assert_eq!((nodes, edges), (diagram.nodes.len(), diagram.edges.len()), "{case}");
    }
}

#[test]
fn named_services_come_with_what_they_need() {
    let services = |graph: &Graph| graph.services.keys().cloned().collect::<Vec<_>>();
    let part = graph("shop", &[], &["catalog"]);
    assert_eq!(services(&part), ["catalog", "prepare", "store"]);
    assert_eq!(composer_plan::tiers(&part), [["store"], ["prepare"], ["catalog"]]);
    // A service that is named activates its profiles, and networks that nobody is on are not there.
    let part = graph("everything", &[], &["monitor"]);
    assert_eq!((services(&part), part.networks.len()), (vec!["monitor".to_owned()], 0));
}

#[test]
fn without_an_active_profile_there_is_nothing() {
    let mut empty = graph("everything", &[], &["monitor"]);
    empty.services.clear();
    assert_eq!(read(&empty), "everything: no service whose profile is active\n");
}

#[test]
fn colours_are_for_names_alone() {
    let graph = graph("shop", &[], &["store"]);
    let colored = text(&graph, &composer_plan::tiers(&graph), true);
    assert!(colored.contains("\n1  \x1b[1mstore\x1b[0m  "), "{colored}");
    assert_eq!(colored.replace("\x1b[1m", "").replace("\x1b[0m", ""), read(&graph));
}
