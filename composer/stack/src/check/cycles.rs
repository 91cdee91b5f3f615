//! Services that need each other in a circle.

use std::collections::HashMap;

use super::edges::{self, Edge, Kind};
use super::project::Project;
use crate::diagnostic::Report;

#[derive(Clone, Copy, PartialEq)]
enum Mark {
    Open,
    Done,
}

/// Of a longer circle, more places would only hide the message.
const MOST_PLACES: usize = 50;

/// A service on the walk's path.
struct Visit<'a> {
    name: &'a str,
    edges: Vec<Edge<'a>>,
    /// How many of the edges have been followed.
    next: usize,
}

/// Reports every circle that a depth-first walk closes. Iterative: chains may be long.
pub(super) fn check(project: Project<'_>, report: &mut Report) {
    let mut marks: HashMap<&str, Mark> = HashMap::new();
    for root in project.services() {
        if marks.contains_key(root.name) {
            continue;
        }
        marks.insert(root.name, Mark::Open);
        let mut path = vec![Visit { name: root.name, edges: edges::of(root), next: 0 }];
        while let Some(visit) = path.last_mut() {
            let Some(edge) = visit.edges.get(visit.next) else {
                marks.insert(visit.name, Mark::Done);
                path.pop();
                continue;
            };
            visit.next += 1;
            match marks.get(edge.to) {
                Some(Mark::Done) => {}
                Some(Mark::Open) => {
                    let begin = path.iter().position(|visit| visit.name == edge_to(&path)).unwrap_or(0);
                    say(&path[begin..], report);
                }
                None => {
                    if let Some(target) = project.service(edge.to) {
                        marks.insert(target.name, Mark::Open);
                        path.push(Visit { name: target.name, edges: edges::of(target), next: 0 });
                    }
                }
            }
        }
    }
}

/// Where the edge that was followed last leads to.
fn edge_to<'a>(path: &[Visit<'a>]) -> &'a str {
    path.last().and_then(Visit::followed).map_or("", |edge| edge.to)
}

impl<'a> Visit<'a> {
    /// The edge that was followed last.
    fn followed(&self) -> Option<Edge<'a>> {
        self.edges.get(self.next.checked_sub(1)?).copied()
    }
}

fn say(circle: &[Visit<'_>], report: &mut Report) {
    let edges: Vec<(&str, Edge<'_>)> =
        circle.iter().filter_map(|visit| Some((visit.name, visit.followed()?))).collect();
    let Some(((from, first), others)) = edges.split_first() else {
        return;
    };
    if others.is_empty() {
        let who = format!("{} itself", to_whom(from, first));
        report.error(first.span, who).help("name another service, or remove it");
        return;
    }
    let names: Vec<&str> = edges.iter().map(|(name, _)| *name).chain([*from]).collect();
    let mut found = report
        .error(first.span, format!("services wait for each other: {}", shown(&names)))
        .help("remove one of these dependencies");
    if first.kind != Kind::DependsOn {
        found = found.label(sentence(from, first));
    }
    for (from, edge) in others.iter().take(MOST_PLACES) {
        found = found.also(edge.span, sentence(from, edge));
    }
}

fn sentence(from: &str, edge: &Edge<'_>) -> String {
    format!("{} `{}`", to_whom(from, edge), edge.to)
}

fn to_whom(from: &str, edge: &Edge<'_>) -> String {
    let verb = if edge.kind == Kind::DependsOn { "waits for" } else { edge.kind.verb() };
    format!("`{from}` {verb}")
}

/// The way around; of a long one both ends.
fn shown(names: &[&str]) -> String {
    const MOST: usize = 12;
    if names.len() <= MOST {
        return names.join(" -> ");
    }
    let (begin, end) = (&names[..MOST / 2], &names[names.len() - MOST / 2..]);
    format!("{} -> … {} more … -> {}", begin.join(" -> "), names.len() - MOST, end.join(" -> "))
}
