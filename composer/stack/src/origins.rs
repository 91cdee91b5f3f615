//! `config --origins`: for every value of the canonical model the file and line it came from, and the way from there
//! through anchors, `extends`, `include` and variables.
//!
//! The model is printed as always and walked together with the tree that it was made from, so that nothing but the
//! tree's places is needed.

use std::fmt::Write;

use serde::{Serialize, Serializer, ser::SerializeMap};

use crate::diagnostic::{Place, clean, variable_name};
use crate::emit::{self, Document, Line};
use crate::source::{Sources, Span, Step, StepKind, Way, ends};
use crate::yaml::{Entry, Node};

/// Comments stand no further to the right, unless their line is longer.
const WIDEST: usize = 72;

/// A value of the canonical model and where it was written.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Origin {
    /// Such as `services.web.ports[0].published`, or `services.web.labels["com.example"]`.
    #[serde(skip)]
    pub path: String,
    /// As `config` prints it.
    value: Document,
    /// Where it is written; `None` for a default.
    #[serde(flatten, serialize_with = "short")]
    pub place: Option<Place>,
    /// No file says it, but the command line or the environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<&'static str>,
    /// Nobody wrote it: it is a default.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub default: bool,
    /// How it came from there to where it counts, the first step first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub via: Vec<Via>,
}

/// One step from where a value is written to where it counts.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Via {
    /// What it is.
    pub kind: StepKind,
    /// What asked for it.
    #[serde(flatten, serialize_with = "short_place")]
    pub place: Place,
    /// The variable's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variable: Option<String>,
}

/// File, line and column alone.
fn short<S: Serializer>(place: &Option<Place>, serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(None)?;
    if let Some(place) = place {
        map.serialize_entry("file", &place.file().to_string_lossy())?;
        map.serialize_entry("line", &place.line())?;
        map.serialize_entry("column", &place.column())?;
    }
    map.end()
}

fn short_place<S: Serializer>(place: &Place, serializer: S) -> Result<S::Ok, S::Error> {
    short(&Some(place.clone()), serializer)
}

/// Every value of a document, in its order.
pub(crate) fn list(document: &Document, root: &Node, sources: &Sources) -> Vec<Origin> {
    let mut origins = Vec::new();
    collect(document, Some(root), None, String::new(), sources, &mut origins);
    origins
}

fn collect(
    document: &Document,
    node: Option<&Node>,
    entry: Option<&Entry>,
    path: String,
    sources: &Sources,
    origins: &mut Vec<Origin>,
) {
    match document {
        Document::Map(map) if !map.is_empty() => {
            for (key, value) in map {
                let entry = node.and_then(Node::as_map).and_then(|map| map.get(key));
                let path = join(&path, key);
                collect(value, entry.map(|entry| &entry.node), entry, path, sources, origins);
            }
        }
        Document::List(items) if !items.is_empty() => {
            for (index, item) in items.iter().enumerate() {
                let node = node.and_then(|node| node.items().get(index));
                collect(item, node, None, format!("{path}[{index}]"), sources, origins);
            }
        }
        value => {
            let from = node.and_then(|node| outside(node.span));
            let span = written(node, entry, value, sources).filter(|_| from.is_none());
            let place = span.and_then(|span| Place::new(sources, span));
            let via = span.map(|span| steps(span, sources)).unwrap_or_default();
            let default = place.is_none() && from.is_none();
            origins.push(Origin { path, value: value.clone(), place, from, default, via });
        }
    }
}

/// A path and a key below it, which stands in quotes where it could be taken for several.
fn join(path: &str, key: &str) -> String {
    let is_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
    if key.is_empty() || !key.chars().all(is_word) {
        return format!("{path}[{}]", serde_json::Value::from(key));
    }
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// Where a value is written; `None` for a default.
fn written(node: Option<&Node>, entry: Option<&Entry>, value: &Document, sources: &Sources) -> Option<Span> {
    let node = node?;
    if sources.is_implied(node.span.way) {
        return None;
    }
    // A value that is not written has an empty place: its key has one.
    match (entry, value) {
        (Some(entry), Document::Null) if node.span.start == node.span.end => Some(entry.key),
        _ => Some(node.span),
    }
}

fn steps(span: Span, sources: &Sources) -> Vec<Via> {
    let (variables, others): (Vec<Step>, Vec<Step>) =
        sources.steps(span.way).into_iter().partition(|step| step.kind.is_variable());
    // Of very long ways the middle is left out, but no variable.
    let via = ends(others).into_iter().chain(variables).filter_map(|step| {
        let variable = match step.kind {
            StepKind::Variable => Some(variable_name(sources.line(step.at)).to_owned()),
            StepKind::Environment | StepKind::Default => Some(sources.slice(step.at).to_owned()),
            StepKind::Alias
            | StepKind::Extends
            | StepKind::Include
            | StepKind::EnvFile
            | StepKind::LabelFile => None,
        };
        Some(Via { kind: step.kind, place: Place::new(sources, step.at)?, variable })
    });
    via.collect()
}

/// What says a value that no file says: so far that is the project's name alone.
fn outside(span: Span) -> Option<&'static str> {
    match span.way {
        Way::OPTION => Some("command line (-p)"),
        Way::CALLER => Some("environment (COMPOSE_PROJECT_NAME)"),
        _ => None,
    }
}

/// The list as JSON: one object, the paths its keys.
pub(crate) fn json(origins: &[Origin]) -> std::io::Result<String> {
    struct ByPath<'a>(&'a [Origin]);
    impl Serialize for ByPath<'_> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let mut map = serializer.serialize_map(Some(self.0.len()))?;
            for origin in self.0 {
                map.serialize_entry(&origin.path, origin)?;
            }
            map.end()
        }
    }
    emit::json(&ByPath(origins))
}

/// The document as YAML with a comment behind every value. `color`: the comments are dim.
pub(crate) fn text(
    document: &Document,
    root: &Node,
    sources: &Sources,
    color: bool,
) -> std::io::Result<String> {
    let text = emit::yaml(document, 2)?;
    let lines = emit::lines(&text, root);
    let (dim, plain) = if color { ("\x1b[2m", "\x1b[0m") } else { ("", "") };
    let width = |end: usize| text[text[..end].rfind('\n').map_or(0, |at| at + 1)..end].chars().count();
    let widths: Vec<usize> = lines.iter().map(|line| width(line.end)).collect();
    let column = widths.iter().copied().filter(|width| *width <= WIDEST).max().unwrap_or(0);
    let mut out = String::with_capacity(text.len() * 3);
    let mut at = 0;
    for (line, width) in lines.iter().zip(widths) {
        out.push_str(&text[at..line.end]);
        at = line.end;
        let comment = comment(line, sources);
        let pad = column.saturating_sub(width);
        // Writing to a string does not fail.
        let _ = write!(out, "{:pad$}  {dim}# {comment}{plain}", "");
    }
    out.push_str(&text[at..]);
    Ok(out)
}

/// The place where a value counts, and back from there step by step to where it is written.
fn comment(line: &Line<'_>, sources: &Sources) -> String {
    let Some(node) = line.node.filter(|node| !sources.is_implied(node.span.way)) else {
        return "default".to_owned();
    };
    if let Some(outside) = outside(node.span) {
        return outside.to_owned();
    }
    // Of what is written over several lines the key says where it is.
    let is_scalar = matches!(node.value, crate::yaml::Value::Scalar(_));
    let span = match line.entry {
        Some(entry) if !is_scalar || node.span.start == node.span.end => entry.key,
        _ => node.span,
    };
    let Some(place) = Place::new(sources, span) else {
        return "default".to_owned();
    };
    let steps = steps(span, sources);
    let (variables, steps): (Vec<&Via>, Vec<&Via>) = steps.iter().partition(|step| step.kind.is_variable());
    // From the place that counts in the end back to where the value is written.
    let mut places: Vec<&Place> = steps.iter().rev().map(|step| &step.place).collect();
    places.push(&place);
    let mut out = String::new();
    let leading = std::iter::once(None).chain(steps.iter().rev().map(Some));
    for (index, (place, step)) in places.iter().zip(leading).enumerate() {
        let at = format!("{}:{}", clean(&place.file().to_string_lossy(), usize::MAX), place.line());
        // Where it counts, and where it is written.
        let at =
            if index == 0 || index + 1 == places.len() { format!("{at}:{}", place.column()) } else { at };
        let _ = match step {
            None => write!(out, "{at}"),
            Some(step) => write!(out, " <- {at} ({})", word(step.kind)),
        };
    }
    for step in variables {
        let name = step.variable.as_deref().unwrap_or_default();
        let _ = match step.kind {
            StepKind::Environment => write!(out, " <- environment ({name})"),
            StepKind::Default => write!(out, " <- not set ({name})"),
            _ => {
                let at = clean(&step.place.file().to_string_lossy(), usize::MAX);
                write!(out, " <- {at}:{} ({name})", step.place.line())
            }
        };
    }
    out
}

fn word(kind: StepKind) -> &'static str {
    match kind {
        StepKind::Alias => "anchor",
        StepKind::Extends => "extends",
        StepKind::Include => "include",
        StepKind::EnvFile => "env_file",
        StepKind::LabelFile => "label_file",
        StepKind::Variable | StepKind::Environment | StepKind::Default => "variable",
    }
}
