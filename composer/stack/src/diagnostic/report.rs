//! Everything found while files are read: diagnostics are collected, never thrown.

use std::collections::HashSet;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use super::render::clean;
use super::{Diagnostic, Diagnostics, Link, Place, Related, Severity, step_label};
use crate::source::{Sources, Span, StepKind, ends};
use crate::suggest::nearest;

/// So many of each severity are kept.
const KEPT: usize = 1000;
/// Among so many names it is looked for what may have been meant, in all: those of a large file many times over, and
/// too few for a file that has many names wrong and many others to hold them against.
const LOOKS: usize = 200_000;
/// A message says no more than this, whatever values it quotes.
const LENGTH: usize = 400;
/// What is said of what can be shown and not be run.
pub(crate) const REFUSED: &str = "`up` refuses this";

/// What has a file read.
#[derive(Clone, Debug)]
struct Outer {
    kind: StepKind,
    at: Span,
    /// For whom, where the place does not say it.
    service: Option<String>,
}

/// Everything found so far.
#[derive(Debug)]
pub(crate) struct Report {
    pub sources: Sources,
    /// In the order in which it was found.
    pub found: Vec<Diagnostic>,
    /// What has the file read that is looked at: the outermost first.
    outer: Vec<Outer>,
    /// How many there were of each severity.
    counts: [usize; 3],
    /// Hashes of places and messages: what is written once is wrong once, however many aliases lead to it.
    seen: HashSet<u64>,
    /// The hashes of those that are kept.
    kept: Vec<u64>,
    /// What is left of [`LOOKS`].
    looks: usize,
}

impl Default for Report {
    fn default() -> Self {
        Self {
            sources: Sources::default(),
            found: Vec::new(),
            outer: Vec::new(),
            counts: [0; 3],
            seen: HashSet::new(),
            kept: Vec::new(),
            looks: LOOKS,
        }
    }
}

impl Report {
    /// Nothing yet, of files that were read before.
    pub fn of(sources: Sources) -> Self {
        Self { sources, ..Self::default() }
    }

    /// Adds an error at `span`; what comes back takes a label, help and other places.
    pub fn error(&mut self, span: Span, message: impl Into<String>) -> Found<'_> {
        self.add(Severity::Error, Some(span), message.into())
    }

    /// Adds a warning at `span`.
    pub fn warning(&mut self, span: Span, message: impl Into<String>) -> Found<'_> {
        self.add(Severity::Warning, Some(span), message.into())
    }

    /// Adds a note at `span`.
    pub fn note(&mut self, span: Span, message: impl Into<String>) -> Found<'_> {
        self.add(Severity::Note, Some(span), message.into())
    }

    /// Adds an error that no place in a file is to blame for.
    pub fn error_without_place(&mut self, message: impl Into<String>) -> Found<'_> {
        self.add(Severity::Error, None, message.into())
    }

    /// Adds a warning that no place in a file is to blame for.
    pub fn warning_without_place(&mut self, message: impl Into<String>) -> Found<'_> {
        self.add(Severity::Warning, None, message.into())
    }

    /// Makes an error of every warning.
    pub fn be_strict(&mut self) {
        for found in self.found.iter_mut().filter(|found| found.severity == Severity::Warning) {
            found.severity = Severity::Error;
        }
        let [errors, warnings, notes] = self.counts;
        self.counts = [errors + warnings, 0, notes];
    }

    /// What this finds wrong cannot be run, but is only doubtful to whoever wants to see what the files mean, as Docker
    /// Compose finds nothing wrong with it then.
    pub fn doubting(&mut self, is_shown: bool, find: impl FnOnce(&mut Self)) {
        let (mark, errors) = (self.mark(), self.counts[Severity::Error as usize]);
        find(self);
        if !is_shown {
            return;
        }
        for found in self.found.iter_mut().skip(mark).filter(|found| found.severity == Severity::Error) {
            found.severity = Severity::Warning;
            found.label.get_or_insert_with(|| REFUSED.to_owned());
        }
        let doubtful = self.counts[Severity::Error as usize] - errors;
        self.counts[Severity::Error as usize] = errors;
        self.counts[Severity::Warning as usize] += doubtful;
    }

    /// How many errors have been found.
    pub fn errors(&self) -> usize {
        self.counts[Severity::Error as usize]
    }

    /// What is found from now on is in a file that is read because of what stands at `at`, until [`Self::leave`].
    pub fn enter(&mut self, kind: StepKind, at: Span) {
        self.outer.push(Outer { kind, at, service: None });
    }

    /// The same of a file that a service names at `at`; what comes back is for [`Self::leave_file`].
    pub fn enter_file(&mut self, kind: StepKind, at: Span, service: &str) -> usize {
        let before = self.outer.len();
        let steps = self.sources.steps(at.way);
        let brought = steps.into_iter().rev().filter(|step| !step.kind.is_variable());
        self.outer.extend(brought.map(|step| Outer { kind: step.kind, at: step.at, service: None }));
        self.outer.push(Outer { kind, at, service: Some(service.to_owned()) });
        before
    }

    /// Takes back an [`Self::enter_file`].
    pub fn leave_file(&mut self, before: usize) {
        self.outer.truncate(before);
    }

    /// Takes back the last [`Self::enter`].
    pub fn leave(&mut self) {
        self.outer.pop();
    }

    /// How much has been found, for [`Self::forget`].
    pub fn mark(&self) -> usize {
        self.found.len()
    }

    /// Takes back what was found since then.
    pub fn forget(&mut self, mark: usize) {
        let mark = mark.min(self.found.len());
        for found in self.found.drain(mark..) {
            self.counts[found.severity as usize] -= 1;
        }
        for hash in self.kept.drain(mark..) {
            self.seen.remove(&hash);
        }
    }

    /// Whether an error has been found.
    pub fn has_errors(&self) -> bool {
        self.errors() > 0
    }

    /// What was found, in the order of the files and of the places in them; what has no place comes last.
    pub fn finish(self) -> Diagnostics {
        self.finish_with_sources().0
    }

    /// The same, and the texts the places are in.
    pub fn finish_with_sources(mut self) -> (Diagnostics, Sources) {
        let place = |each: &Diagnostic| each.place.as_ref().map(|place| (place.number, place.start));
        self.found.sort_by_key(|each| place(each).map_or((true, (0, 0)), |place| (false, place)));
        let more = Severity::ALL.map(|severity| {
            let kept = self.found.iter().filter(|each| each.severity == severity).count();
            self.counts[severity as usize] - kept
        });
        (Diagnostics { found: self.found, more }, self.sources)
    }

    fn add(&mut self, severity: Severity, span: Option<Span>, message: String) -> Found<'_> {
        let mut hasher = DefaultHasher::new();
        (span.map(|span| (span.source, span.start, span.end)), &message).hash(&mut hasher);
        let hash = hasher.finish();
        if !self.seen.insert(hash) {
            return Found { sources: &self.sources, looks: &mut self.looks, diagnostic: None };
        }
        let count = &mut self.counts[severity as usize];
        *count += 1;
        if *count > KEPT {
            return Found { sources: &self.sources, looks: &mut self.looks, diagnostic: None };
        }
        let place = span.and_then(|span| Place::new(&self.sources, span));
        let chain = span.map(|span| self.chain(span)).unwrap_or_default();
        let message = clean(&message, LENGTH);
        self.kept.push(hash);
        self.found.push(Diagnostic { place, chain, ..Diagnostic::without_place(severity, message) });
        Found { sources: &self.sources, looks: &mut self.looks, diagnostic: self.found.last_mut() }
    }

    /// The way of a span, from where it is written to where it counts.
    fn chain(&self, span: Span) -> Vec<Link> {
        let mut steps: Vec<Outer> = self
            .sources
            .steps(span.way)
            .into_iter()
            // These lie in the value itself.
            .filter(|step| !matches!(step.kind, StepKind::Environment | StepKind::Default))
            .map(|step| Outer { kind: step.kind, at: step.at, service: None })
            .collect();
        steps.extend(self.outer.iter().rev().cloned());
        let mut steps = ends(steps);
        // What is said about the step itself needs no step.
        steps.retain(|Outer { at, .. }| (at.source, at.start, at.end) != (span.source, span.start, span.end));
        let links = steps.into_iter().filter_map(|Outer { kind, at, service }| {
            let place = Place::new(&self.sources, at)?;
            let label = step_label(kind, self.sources.line(at));
            let label =
                service.map_or(label.clone(), |service| clean(&format!("{label} of `{service}`"), LENGTH));
            Some(Link { kind, place, label })
        });
        links.collect()
    }
}

/// A diagnostic that was just added; none where it is known already, or one too many.
pub(crate) struct Found<'a> {
    sources: &'a Sources,
    looks: &'a mut usize,
    diagnostic: Option<&'a mut Diagnostic>,
}

impl Found<'_> {
    /// Whether anybody will see it, where it takes time to say more.
    pub fn is_kept(&self) -> bool {
        self.diagnostic.is_some()
    }

    /// A few words for the caret.
    pub fn label(mut self, label: impl Into<String>) -> Self {
        if let Some(diagnostic) = &mut self.diagnostic {
            diagnostic.label = Some(clean(&label.into(), LENGTH));
        }
        self
    }

    /// A way out, unless it is empty.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        if let Some(diagnostic) = &mut self.diagnostic {
            diagnostic.help = Some(clean(&help.into(), LENGTH)).filter(|help| !help.is_empty());
        }
        self
    }

    /// The known word that may have been meant, or else another way out, which may be empty.
    pub fn meant<'k>(
        self,
        word: &str,
        known: impl IntoIterator<Item = &'k str>,
        otherwise: impl Into<String>,
    ) -> Self {
        if !self.is_kept() {
            return self;
        }
        let mut looked = 0;
        let near = nearest(word, known.into_iter().take(*self.looks).inspect(|_| looked += 1));
        *self.looks -= looked;
        match near {
            Some(near) => self.help(format!("did you mean `{near}`?")),
            None => self.help(otherwise),
        }
    }

    /// A further fact.
    pub fn note(mut self, note: impl Into<String>) -> Self {
        if let Some(diagnostic) = &mut self.diagnostic {
            diagnostic.note = Some(clean(&note.into(), LENGTH));
        }
        self
    }

    /// Another place that takes part.
    pub fn also(mut self, span: Span, label: impl Into<String>) -> Self {
        if let Some(diagnostic) = &mut self.diagnostic
            && let Some(place) = Place::new(self.sources, span)
        {
            diagnostic.related.push(Related { place, label: clean(&label.into(), LENGTH) });
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn report(text: &str) -> Report {
        let mut report = Report::default();
        report.sources.add(Path::new("compose.yaml"), text.to_owned());
        report
    }

    #[test]
    fn the_order_is_that_of_the_file_and_nothing_is_said_twice() {
        let mut report = report("abc\ndef\n");
        report.error_without_place("nowhere");
        report.error(Span::new(0, 4, 5), "second").help("once");
        report.error(Span::new(0, 0, 1), "first");
        let at = Span::new(0, 1, 2);
        let way = report.sources.step(at.way, StepKind::Alias, at);
        report.error(Span { way, ..Span::new(0, 4, 5) }, "second").help("twice");
        let found = report.finish();
        let messages: Vec<&str> = found.iter().map(|each| each.message.as_str()).collect();
        assert_eq!(messages, ["first", "second", "nowhere"]);
        assert_eq!(found.iter().nth(1).unwrap().help.as_deref(), Some("once"));
    }

    #[test]
    fn what_is_doubted_is_an_error_only_to_whoever_runs_it() {
        for (is_shown, severity) in [(true, Severity::Warning), (false, Severity::Error)] {
            let mut report = report("abc");
            report.note(Span::new(0, 2, 3), "odd");
            report.doubting(is_shown, |report| {
                report.error(Span::new(0, 0, 1), "wrong");
            });
            assert_eq!(report.errors(), usize::from(!is_shown));
            let label = report.found[1].label.clone();
            assert_eq!((report.found[1].severity, label.is_some()), (severity, is_shown));
            report.be_strict();
            assert_eq!((report.errors(), report.found[0].severity), (1, Severity::Note));
        }
    }

    #[test]
    fn too_many_are_counted_and_no_more() {
        let mut report = report(&"a: 1\n".repeat(20_000));
        for number in 0..100_000 {
            report.error(Span::new(0, number, number + 1), format!("wrong {number}")).label("x");
        }
        report.warning(Span::new(0, 0, 1), "odd");
        let found = report.finish();
        assert_eq!((found.iter().len(), found.count(Severity::Error)), (1001, 100_000));
        let text = found.render(false);
        assert_eq!(text.matches("error: ").count(), 50);
        assert!(text.ends_with("\n\nand 99950 more errors: 100000 in all"), "{text}");
        assert!(found.render_json().ends_with(r#"{"severity":"error","message":"and 99000 more errors"}"#));
    }

    #[test]
    fn what_a_message_quotes_does_no_harm() {
        let mut report = report("a");
        report.error(Span::new(0, 0, 1), format!("`\x1b[2J\n{}` is wrong", "x".repeat(1 << 20)));
        let found = report.finish();
        let message = &found.iter().next().unwrap().message;
        assert!(message.starts_with("`\\u{1b}[2J\\nxxx") && message.ends_with("…"), "{message}");
        assert!(message.len() < 500);
    }
}
