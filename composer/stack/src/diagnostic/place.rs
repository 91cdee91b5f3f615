//! A place in a file, as people and editors count it.

use std::path::Path;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use crate::source::{Source, Sources, Span};

/// How much of a long line is shown before and behind what it is about, in bytes.
const BEFORE: usize = 50;
const BEHIND: usize = 60;
/// Lines up to this length are shown whole.
const WHOLE: usize = BEFORE + BEHIND + 30;

/// A place in a file.
#[derive(Clone, Debug)]
pub struct Place {
    pub(super) source: Arc<Source>,
    /// The source's number: files are numbered in the order in which they are read.
    pub(super) number: u32,
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Place {
    pub(crate) fn new(sources: &Sources, span: Span) -> Option<Self> {
        let source = sources.get(span.source)?.clone();
        let (start, end) = (source.boundary(span.start), source.boundary(span.end));
        Some(Self { source, number: span.source, start, end: end.max(start) })
    }

    /// The file.
    pub fn file(&self) -> &Path {
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

    /// The line's text; of a very long one what is around the place, with `…` where it is cut.
    pub fn source_line(&self) -> String {
        let line = self.source.line_range(self.line());
        let cut = cut(&self.source, line, self.start..self.end);
        cut.text
    }
}

/// The piece of a line that is shown.
pub(super) struct Cut {
    pub text: String,
    /// Where the piece begins in the source.
    pub from: usize,
    /// How many bytes stand before the piece in `text`: a `…`, or nothing.
    pub lead: usize,
}

/// The whole line, or of a long one what is around `wanted`.
pub(super) fn cut(source: &Source, line: std::ops::Range<usize>, wanted: std::ops::Range<usize>) -> Cut {
    if line.len() <= WHOLE {
        return Cut { text: source.text[line.clone()].to_owned(), from: line.start, lead: 0 };
    }
    let start = wanted.start.clamp(line.start, line.end);
    let from = match start.saturating_sub(BEFORE) {
        from if from <= line.start => line.start,
        from => source.boundary(from),
    };
    // What is marked may be as long as the line: its beginning is what counts.
    let to = source.boundary(wanted.end.clamp(start, start + BEHIND) + BEHIND).clamp(from, line.end);
    let (before, behind) = (if from > line.start { "…" } else { "" }, if to < line.end { "…" } else { "" });
    Cut { text: format!("{before}{}{behind}", &source.text[from..to]), from, lead: before.len() }
}

impl Serialize for Place {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let (line, column) = self.source.position(self.start);
        let (end_line, end_column) = self.source.position(self.end);
        let mut out = serializer.serialize_struct("Place", 6)?;
        out.serialize_field("file", &self.source.path.to_string_lossy())?;
        out.serialize_field("line", &line)?;
        out.serialize_field("column", &column)?;
        out.serialize_field("endLine", &end_line)?;
        out.serialize_field("endColumn", &end_column)?;
        out.serialize_field("source", &self.source_line())?;
        out.end()
    }
}
