//! The texts that were read, and places inside them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

/// One text that was read: a Compose file, an env file or standard input.
#[derive(Debug)]
pub struct Source {
    /// The file's path as the user knows it.
    pub path: PathBuf,
    /// Its whole text.
    pub text: String,
    /// Byte offsets at which lines begin.
    lines: Vec<usize>,
}

/// A stretch of bytes of one source. Cheap to copy: every node of the tree has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub source: u32,
    pub start: usize,
    pub end: usize,
}

/// Every source of one load.
#[derive(Debug, Default)]
pub(crate) struct Sources(Vec<Arc<Source>>);

impl Source {
    /// Indexes the lines of `text`.
    pub fn new(path: &Path, text: String) -> Self {
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { path: path.to_owned(), text, lines }
    }

    /// Line and column of a byte offset, both counted from 1, the column in characters.
    pub fn position(&self, offset: usize) -> (usize, usize) {
        let offset = self.boundary(offset);
        let line = self.lines.partition_point(|&start| start <= offset).max(1);
        let start = self.lines.get(line - 1).copied().unwrap_or(0);
        (line, self.text[start..offset].chars().count() + 1)
    }

    /// The byte range of a line (counted from 1) without its line break.
    pub fn line_range(&self, line: usize) -> std::ops::Range<usize> {
        let start = self.lines.get(line.saturating_sub(1)).copied().unwrap_or(self.text.len());
        let end = self.lines.get(line).map_or(self.text.len(), |next| next - 1);
        let end = if self.text[start..end].ends_with('\r') { end - 1 } else { end };
        start..end
    }

    /// The nearest character boundary at or before `offset`.
    pub fn boundary(&self, offset: usize) -> usize {
        let mut at = offset.min(self.text.len());
        while !self.text.is_char_boundary(at) {
            at -= 1;
        }
        at
    }
}

impl Sources {
    /// Keeps a text and gives it a number for [`Span::source`].
    pub fn add(&mut self, path: &Path, text: String) -> (u32, Arc<Source>) {
        let source = Arc::new(Source::new(path, text));
        self.0.push(source.clone());
        (u32::try_from(self.0.len() - 1).unwrap_or(u32::MAX), source)
    }

    /// The source of a span.
    pub fn get(&self, number: u32) -> Option<&Arc<Source>> {
        self.0.get(number as usize)
    }

    /// The text a span covers.
    pub fn slice(&self, span: Span) -> &str {
        self.get(span.source).and_then(|source| source.text.get(span.start..span.end)).unwrap_or("")
    }
}
