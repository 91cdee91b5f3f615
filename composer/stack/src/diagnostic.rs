//! What is said about a file: messages with a place, and how they look.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Element, Group, Level, Renderer, Snippet};
use serde::{Serialize, Serializer};

use crate::source::{Source, Sources, Span};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The file cannot be used.
    Error,
    /// The file can be used, perhaps not as meant.
    Warning,
}

/// One thing that is wrong, or doubtful, with where it is.
#[derive(Clone, Debug, Serialize)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong: lower case, no full stop.
    pub message: String,
    /// Where; `None` where no file is to blame.
    #[serde(flatten)]
    pub place: Option<Place>,
    /// A few words for the caret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// A way out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// A further fact.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Other places that take part.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub related: Vec<Related>,
}

/// Another place that takes part in a diagnostic.
#[derive(Clone, Debug, Serialize)]
pub struct Related {
    /// Where.
    #[serde(flatten)]
    pub place: Place,
    /// What is there.
    pub label: String,
}

/// A place in a file.
#[derive(Clone, Debug)]
pub struct Place {
    source: Arc<Source>,
    start: usize,
    end: usize,
}

impl Place {
    /// The file.
    pub fn file(&self) -> &PathBuf {
        &self.source.path
    }

    /// Line, from 1.
    pub fn line(&self) -> usize {
        self.source.position(self.start).0
    }

    /// Column in characters, from 1.
    pub fn column(&self) -> usize {
        self.source.position(self.start).1
    }

    /// The line's text.
    pub fn source_line(&self) -> &str {
        &self.source.text[self.source.line_range(self.line())]
    }
}

impl Serialize for Place {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let (line, column) = self.source.position(self.start);
        let mut out = serializer.serialize_struct("Place", 4)?;
        out.serialize_field("file", &self.source.path)?;
        out.serialize_field("line", &line)?;
        out.serialize_field("column", &column)?;
        out.serialize_field("source", &self.source.text[self.source.line_range(line)])?;
        out.end()
    }
}

impl Diagnostic {
    /// The message as rustc would show it: the line, a caret, help. `color` uses ANSI escapes.
    pub fn render(&self, color: bool) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let mut elements: Vec<Element<'_>> = Vec::new();
        if let Some(place) = &self.place {
            let mut marks = vec![(place, AnnotationKind::Primary, self.label.as_deref())];
            marks.extend(
                self.related.iter().map(|r| (&r.place, AnnotationKind::Context, Some(r.label.as_str()))),
            );
            while let Some((first, ..)) = marks.first() {
                let source = first.source.clone();
                let (same, others) = marks.into_iter().partition(|(p, ..)| Arc::ptr_eq(&p.source, &source));
                elements.push(snippet(&source, same).into());
                marks = others;
            }
        }
        if let Some(note) = &self.note {
            elements.push(Level::NOTE.message(note.as_str()).into());
        }
        if let Some(help) = &self.help {
            elements.push(Level::HELP.message(help.as_str()).into());
        }
        let group = Group::with_title(level.primary_title(self.message.as_str())).elements(elements);
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        renderer.render(&[group])
    }
}

/// The lines from the first mark to the last, with every mark. Only those lines are handed to the renderer, so that
/// its cost does not grow with the file.
fn snippet<'a>(
    source: &Source,
    marks: Vec<(&'a Place, AnnotationKind, Option<&'a str>)>,
) -> Snippet<'a, annotate_snippets::Annotation<'a>> {
    let first = marks.iter().map(|(place, ..)| place.line()).min().unwrap_or(1);
    let last = marks.iter().map(|(place, ..)| place.line()).max().unwrap_or(first);
    let range = source.line_range(first).start..source.line_range(last).end;
    let base = range.start;
    Snippet::source(source.text[range].to_owned())
        .line_start(first)
        .path(source.path.display().to_string())
        .annotations(marks.into_iter().map(|(place, kind, label)| {
            // The first line alone: a caret under a whole service says nothing.
            let line = source.line_range(place.line());
            let start = place.start.clamp(line.start, line.end);
            let end = source.boundary(place.end).clamp(start, line.end);
            let end = if end == start { next_boundary(source, start).min(line.end) } else { end };
            kind.span(start - base..end - base).label(label.map(str::to_owned))
        }))
}

fn next_boundary(source: &Source, offset: usize) -> usize {
    offset + source.text[offset..].chars().next().map_or(0, char::len_utf8)
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

/// Everything found so far: diagnostics are collected, never thrown.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub sources: Sources,
    pub found: Vec<Diagnostic>,
}

impl Report {
    /// Adds an error at `span`; what comes back takes a label, help and other places.
    pub fn error(&mut self, span: Span, message: impl Into<String>) -> Found<'_> {
        self.add(Severity::Error, Some(span), message.into())
    }

    /// Adds a warning at `span`.
    pub fn warning(&mut self, span: Span, message: impl Into<String>) -> Found<'_> {
        self.add(Severity::Warning, Some(span), message.into())
    }

    /// Adds an error that no place in a file is to blame for.
    pub fn error_without_place(&mut self, message: impl Into<String>) -> Found<'_> {
        self.add(Severity::Error, None, message.into())
    }

    /// Adds a warning that no place in a file is to blame for.
    pub fn warning_without_place(&mut self, message: impl Into<String>) -> Found<'_> {
        self.add(Severity::Warning, None, message.into())
    }

    /// Whether an error has been found.
    pub fn has_errors(&self) -> bool {
        self.found.iter().any(|d| d.severity == Severity::Error)
    }

    fn add(&mut self, severity: Severity, span: Option<Span>, message: String) -> Found<'_> {
        let place = span.and_then(|span| place(&self.sources, span));
        self.found.push(Diagnostic {
            severity,
            message,
            place,
            label: None,
            help: None,
            note: None,
            related: Vec::new(),
        });
        let index = self.found.len() - 1;
        Found { sources: &self.sources, diagnostic: &mut self.found[index] }
    }
}

/// A diagnostic that was just added.
pub(crate) struct Found<'a> {
    sources: &'a Sources,
    diagnostic: &'a mut Diagnostic,
}

impl Found<'_> {
    /// A few words for the caret.
    pub fn label(self, label: impl Into<String>) -> Self {
        self.diagnostic.label = Some(label.into());
        self
    }

    /// A way out.
    pub fn help(self, help: impl Into<String>) -> Self {
        self.diagnostic.help = Some(help.into());
        self
    }

    /// A further fact.
    pub fn note(self, note: impl Into<String>) -> Self {
        self.diagnostic.note = Some(note.into());
        self
    }

    /// Another place that takes part.
    pub fn also(self, span: Span, label: impl Into<String>) -> Self {
        if let Some(place) = place(self.sources, span) {
            self.diagnostic.related.push(Related { place, label: label.into() });
        }
        self
    }
}

/// The place of a span.
pub(crate) fn place(sources: &Sources, span: Span) -> Option<Place> {
    let source = sources.get(span.source)?.clone();
    let (start, end) = (source.boundary(span.start), source.boundary(span.end));
    Some(Place { source, start, end: end.max(start) })
}
