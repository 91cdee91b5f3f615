//! The texts that were read, and places inside them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// One text that was read: a Compose file, an env file or standard input.
#[derive(Debug)]
pub(crate) struct Source {
    /// The file's path as the user knows it.
    pub path: PathBuf,
    /// Its whole text.
    pub text: String,
    /// Byte offsets at which lines begin.
    lines: Vec<usize>,
    /// How many characters there are before every [`BLOCK`]th byte, once somebody asks for a column.
    characters: OnceLock<Vec<usize>>,
}

/// Columns are counted from the last multiple of this: a line may be as long as the file.
const BLOCK: usize = 1 << 12;

/// A stretch of bytes of one source, and the way from there to where it counts. Cheap to copy: every node of the tree
/// has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Span {
    pub source: u32,
    pub start: usize,
    pub end: usize,
    pub way: Way,
}

/// How a value came from where it is written to where it counts: a chain of [`Step`]s, by the number of the last one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Way(u32);

impl Way {
    /// It counts where it is written.
    pub const DIRECT: Self = Self(0);
    /// Nobody wrote it: it follows from what stands at the place.
    pub const IMPLIED: Self = Self(u32::MAX);
    /// No file says it, but an option of the command line.
    pub const OPTION: Self = Self(u32::MAX - 1);
    /// No file says it, but the caller's environment.
    pub const CALLER: Self = Self(u32::MAX - 2);
}

/// One step of a [`Way`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Step {
    pub kind: StepKind,
    /// What asked for it: the alias, the `extends`, the entry of `include`, the variable's definition.
    pub at: Span,
    /// The steps before it: nearer to the place where the value is written.
    pub before: Way,
}

/// What a step from where a value is written to where it counts is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StepKind {
    /// An alias, also below a merge key.
    Alias,
    /// `extends` of a service.
    Extends,
    /// An entry of `include`.
    Include,
    /// An entry of a service's `env_file`.
    #[serde(rename = "env_file")]
    EnvFile,
    /// An entry of a service's `label_file`.
    #[serde(rename = "label_file")]
    LabelFile,
    /// The line of an env file that a variable in the value has its own from.
    Variable,
    /// A variable in the value has its own from the caller's environment. The place is its name in the value.
    Environment,
    /// A variable in the value has none: what stands there is its default, or nothing. The place is its name.
    Default,
}

impl StepKind {
    /// Whether it is about a variable in the value, not about where the value was brought to.
    pub const fn is_variable(self) -> bool {
        matches!(self, Self::Variable | Self::Environment | Self::Default)
    }
}

/// Every source of one load, and the ways from one to another.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    texts: Vec<Arc<Source>>,
    steps: Vec<Step>,
    /// Of every step, whether its way begins at [`Way::IMPLIED`].
    implied: Vec<bool>,
    /// The same step again has the same number: a tree that is brought along step by step does not grow the list.
    known: HashMap<Step, Way>,
}

impl Source {
    /// Indexes the lines of `text`.
    pub fn new(path: &Path, text: String) -> Self {
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { path: path.to_owned(), text, lines, characters: OnceLock::new() }
    }

    /// Line and column of a byte offset, both counted from 1, the column in characters.
    pub fn position(&self, offset: usize) -> (usize, usize) {
        let offset = self.boundary(offset);
        let line = self.lines.partition_point(|&start| start <= offset).max(1);
        let start = self.lines.get(line - 1).copied().unwrap_or(0);
        (line, self.characters_before(offset) - self.characters_before(start) + 1)
    }

    /// How many characters stand before a byte offset.
    fn characters_before(&self, offset: usize) -> usize {
        let blocks = self.characters.get_or_init(|| {
            let blocks = self.text.as_bytes().chunks(BLOCK).scan(0, |sum, block| {
                let before = *sum;
                *sum += begun(block);
                Some(before)
            });
            blocks.collect()
        });
        let block = (offset / BLOCK).min(blocks.len().saturating_sub(1));
        blocks.get(block).copied().unwrap_or(0) + begun(&self.text.as_bytes()[block * BLOCK..offset])
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

/// So many steps of a chain are told of.
const STEPS: usize = 16;

/// What is told of a chain: half of the steps nearest to its beginning, and half at its other end.
pub(crate) fn ends<T>(mut steps: Vec<T>) -> Vec<T> {
    if steps.len() > STEPS {
        steps.drain(STEPS / 2..steps.len() - STEPS / 2);
    }
    steps
}

/// How many characters begin in these bytes of UTF-8.
fn begun(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte & 0xc0 != 0x80).count()
}

impl Span {
    /// Of what no file says.
    pub const NOWHERE: Self = Self::new(u32::MAX, 0, 0);

    /// A stretch of a source, where it is written.
    pub const fn new(source: u32, start: usize, end: usize) -> Self {
        Self { source, start, end, way: Way::DIRECT }
    }

    /// The place of what nobody wrote, but what stands here implies.
    pub const fn implied(self) -> Self {
        Self { way: Way::IMPLIED, ..self }
    }
}

impl Sources {
    /// Keeps a text and gives it a number for [`Span::source`].
    pub fn add(&mut self, path: &Path, text: String) -> (u32, Arc<Source>) {
        let source = Arc::new(Source::new(path, text));
        self.texts.push(source.clone());
        (u32::try_from(self.texts.len() - 1).unwrap_or(u32::MAX), source)
    }

    /// The source of a span.
    pub fn get(&self, number: u32) -> Option<&Arc<Source>> {
        self.texts.get(number as usize)
    }

    /// The text a span covers.
    pub fn slice(&self, span: Span) -> &str {
        self.get(span.source).and_then(|source| source.text.get(span.start..span.end)).unwrap_or("")
    }

    /// The line that a span begins in.
    pub fn line(&self, span: Span) -> &str {
        self.get(span.source).map_or("", |source| {
            let (line, _) = source.position(span.start);
            &source.text[source.line_range(line)]
        })
    }

    /// The way that goes one step further than `before`.
    pub fn step(&mut self, before: Way, kind: StepKind, at: Span) -> Way {
        let step = Step { kind, at, before };
        if let Some(known) = self.known.get(&step) {
            return *known;
        }
        self.implied.push(self.is_implied(before));
        self.steps.push(step);
        let way = Way(u32::try_from(self.steps.len()).unwrap_or(0));
        self.known.insert(step, way);
        way
    }

    /// The way of what stands in a file that is read because of what stands at `at`.
    pub fn file(&mut self, kind: StepKind, at: Span) -> Way {
        let first = self.step(Way::DIRECT, kind, at);
        let steps = self.steps(at.way);
        let brought = steps.into_iter().filter(|step| !step.kind.is_variable());
        brought.fold(first, |way, step| self.step(way, step.kind, step.at))
    }

    /// Whether nobody wrote what came this way.
    pub fn is_implied(&self, way: Way) -> bool {
        let known = |way: Way| self.implied.get((way.0 as usize).checked_sub(1)?).copied();
        way == Way::IMPLIED || known(way).unwrap_or(false)
    }

    /// The steps of a way, the first one first.
    pub fn steps(&self, way: Way) -> Vec<Step> {
        let last = |way: Way| self.steps.get((way.0 as usize).checked_sub(1)?).copied();
        let mut steps: Vec<Step> = std::iter::successors(last(way), |step| last(step.before)).collect();
        steps.reverse();
        steps
    }
}
