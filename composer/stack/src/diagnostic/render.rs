//! A diagnostic as rustc would show it: the line, a caret, the chain, help.

use std::fmt;
use std::ops::Range;

use annotate_snippets::{Annotation, AnnotationKind, Element, Group, Level, Renderer, Snippet};

use super::place::cut;
use super::{Diagnostic, Place, Severity};

/// Marks of one file that are no further apart, in lines, share a snippet.
const NEAR: usize = 12;
/// The same for marks in one long line, in bytes.
const NEAR_IN_LINE: usize = 60;

/// Stands for a file's path where the renderer would count the column from where the line is cut.
const HEADER: char = '\u{f8ff}';

/// A place with what is said about it.
struct Mark<'a> {
    place: &'a Place,
    kind: AnnotationKind,
    label: Option<&'a str>,
}

impl Diagnostic {
    /// The message as rustc would show it. `color` uses ANSI escapes.
    pub fn render(&self, color: bool) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
            Severity::Note => Level::NOTE,
        };
        let mut elements: Vec<Element<'_>> = Vec::new();
        let mut headers = Vec::new();
        for marks in self.groups() {
            if let Some((snippet, header)) = snippet(&marks) {
                elements.push(snippet.into());
                headers.extend(header);
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
        let mut text = renderer.render(&[group]);
        for header in headers {
            if let Some(at) = text.find(HEADER) {
                let end = at + text[at..].find(['\n', '\x1b']).unwrap_or(text.len() - at);
                text.replace_range(at..end, &header);
            }
        }
        text
    }

    /// The marks, those that stand near each other together: first the place, then what else takes part, then the
    /// chain from the place outward.
    fn groups(&self) -> Vec<Vec<Mark<'_>>> {
        let Some(place) = &self.place else {
            return Vec::new();
        };
        let context = |place, label| Mark { place, kind: AnnotationKind::Context, label: Some(label) };
        let related = self.related.iter().map(|each| context(&each.place, each.label.as_str()));
        let chain = self.chain.iter().map(|each| context(&each.place, each.label.as_str()));
        let mut groups =
            vec![vec![Mark { place, kind: AnnotationKind::Primary, label: self.label.as_deref() }]];
        for mark in related.chain(chain) {
            match groups.iter_mut().find(|group| group.iter().all(|other| near(&mark, other))) {
                Some(group) => group.push(mark),
                None => groups.push(vec![mark]),
            }
        }
        groups
    }
}

fn near(one: &Mark<'_>, other: &Mark<'_>) -> bool {
    let (one, other) = (one.place, other.place);
    if one.number != other.number {
        return false;
    }
    match one.line().abs_diff(other.line()) {
        0 => one.start.abs_diff(other.start) <= NEAR_IN_LINE || one.source_line().len() < NEAR_IN_LINE * 2,
        lines => lines <= NEAR,
    }
}

/// The lines from the first mark to the last, with every mark. Only those are handed to the renderer, and of long
/// ones only what is around the marks, so that its cost does not grow with the file. Beside it what [`HEADER`] stands
/// for, where it is used.
fn snippet<'a>(marks: &[Mark<'a>]) -> Option<(Snippet<'a, Annotation<'a>>, Option<String>)> {
    let main = marks.first()?.place;
    let source = &main.source;
    let lines = marks.iter().map(|mark| mark.place.line());
    let (first, last) = (lines.clone().min().unwrap_or(1), lines.max().unwrap_or(1));
    let mut text = String::new();
    let mut annotations: Vec<Annotation<'a>> = Vec::new();
    let mut cut_before = false;
    for line in first..=last {
        let range = source.line_range(line);
        let here: Vec<&Mark<'a>> = marks.iter().filter(|mark| mark.place.line() == line).collect();
        let wanted = here.iter().map(|mark| mark.place.start..mark.place.end);
        let wanted = wanted.reduce(|a, b| a.start.min(b.start)..a.end.max(b.end));
        let piece = cut(source, range.clone(), wanted.unwrap_or(range.start..range.start));
        cut_before |= piece.lead > 0 && line == main.line();
        let base = text.len();
        let shown = base + piece.lead..base + piece.text.trim_end_matches('…').len().max(piece.lead);
        text.push_str(&visible(&piece.text));
        text.push('\n');
        annotations.extend(here.into_iter().map(|mark| {
            // The first line alone: a caret under a whole service says nothing.
            let start = (shown.start + mark.place.start.saturating_sub(piece.from)).min(shown.end);
            let end = (shown.start + mark.place.end.saturating_sub(piece.from)).clamp(start, shown.end);
            mark.kind.span(at_least_one(&text, start..end)).label(mark.label.map(str::to_owned))
        }));
    }
    let path = clean(&source.path.display().to_string(), usize::MAX);
    let snippet = Snippet::source(text).line_start(first).annotations(annotations);
    if cut_before {
        let header = format!("{path}:{}:{}", main.line(), main.column());
        return Some((snippet.path(HEADER.to_string()), Some(header)));
    }
    Some((snippet.path(path), None))
}

/// An empty place is shown as the character it stands before.
fn at_least_one(text: &str, range: Range<usize>) -> Range<usize> {
    if !range.is_empty() {
        return range;
    }
    let next = text[range.start..].chars().next().filter(|next| *next != '\n');
    range.start..range.start + next.map_or(0, char::len_utf8)
}

/// The renderer replaces the control characters of ASCII; terminals take those of Latin-1 (U+009B begins an escape
/// sequence) as well. What replaces them is as long, so that places stay.
fn visible(text: &str) -> String {
    text.replace(|c: char| matches!(c, '\u{80}'..='\u{9f}'), "\u{bf}").replace(HEADER, "\u{fffd}")
}

/// A message without control characters, which could take a terminal over, and no longer than `most` characters.
pub fn clean(text: &str, most: usize) -> String {
    let mut out = String::with_capacity(text.len().min(1 << 10));
    for (count, c) in text.chars().enumerate() {
        if count == most {
            out.push('…');
            break;
        }
        match c {
            '\u{200d}' | HEADER | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                out.extend(c.escape_unicode())
            }
            c if c.is_control() => out.extend(c.escape_default()),
            c => out.push(c),
        }
    }
    out
}

/// What a stranger has written, in one line: nothing in it looks like the next message, or does anything to a terminal.
pub fn one_line(text: &str) -> String {
    clean(text, usize::MAX)
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::Report;
    use crate::source::{Span, StepKind};

    fn shown(text: &str, part: &str) -> String {
        let mut report = Report::default();
        report.sources.add(Path::new("f.yaml"), text.to_owned());
        let start = text.find(part).unwrap();
        report.error(Span::new(0, start, start + part.len()), "wrong");
        report.finish().render(false)
    }

    #[test]
    fn carets_stand_under_tabs_and_wide_characters() {
        assert_eq!(
            shown("世\t: bad\n", "bad"),
            "error: wrong\n --> f.yaml:1:5\n  |\n1 | 世    : bad\n  |         ^^^"
        );
        assert_eq!(
            shown("a: bad\r\nb: 1\r\n", "bad"),
            "error: wrong\n --> f.yaml:1:4\n  |\n1 | a: bad\n  |    ^^^"
        );
    }

    #[test]
    fn an_empty_place_at_the_end_of_a_line_has_a_caret() {
        let mut report = Report::default();
        report.sources.add(Path::new("f.yaml"), "a:\nb: 1\n".to_owned());
        report.error(Span::new(0, 2, 2), "nothing");
        report.error(Span::new(0, 8, 8), "end");
        let text = report.finish().render(false);
        assert!(text.contains("1 | a:\n  |   ^"), "{text}");
        assert!(text.contains("end"), "{text}");
    }

    #[test]
    fn of_a_long_line_the_surroundings_are_shown() {
        let text = format!("k: \"{}BAD{}\"\n", "é".repeat(3 << 20), "y".repeat(4 << 20));
        let shown = shown(&text, "BAD");
        let column = 5 + (3 << 20);
        assert!(shown.starts_with(&format!("error: wrong\n --> f.yaml:1:{column}\n")), "{shown}");
        assert!(shown.contains("…é") && shown.contains("éBADy") && shown.contains("y…"), "{shown}");
        assert!(shown.len() < 600, "{shown}");
    }

    #[test]
    fn a_chain_leads_outward() {
        let mut report = Report::default();
        report.sources.add(Path::new("base.yaml"), "one: bad\n".to_owned());
        report.sources.add(Path::new("f.yaml"), format!("extends: base\n{}include: f\n", "#\n".repeat(40)));
        let extends = report.sources.step(Default::default(), StepKind::Extends, Span::new(1, 9, 13));
        let include =
            report.sources.step(extends, StepKind::Include, Span::new(1, 14 + 80 + 9, 14 + 80 + 10));
        report.error(Span { way: include, ..Span::new(0, 5, 8) }, "wrong").help("do");
        let found = report.finish();
        let text = found.render(false);
        let expected = "error: wrong
  --> base.yaml:1:6
   |
 1 | one: bad
   |      ^^^
   |
  ::: f.yaml:1:10
   |
 1 | extends: base
   |          ---- extended here
   |
  ::: f.yaml:42:10
   |
42 | include: f
   |          - included here
   |
   = help: do";
        assert_eq!(text, expected, "{text}");
        let json = found.render_json();
        assert!(json.contains(r#""chain":[{"kind":"extends","file":"f.yaml","line":1,"column":10,"endLine":1,"endColumn":14,"source":"extends: base","label":"extended here"},{"kind":"include","#), "{json}");
    }
}
