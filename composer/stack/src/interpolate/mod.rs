//! Puts variables into the tree's values (not into its keys).

mod template;

use std::cell::RefCell;
use std::collections::BTreeSet;

use crate::diagnostic::Report;
use crate::environment::Environment;
use crate::source::{Span, StepKind};
use crate::yaml::{Node, Scalar, Tag, Value};

use template::Finding;
pub(crate) use template::{Room, expand, variables};

/// What variables may add to a project: more than anyone writes, and less than a host's memory.
const ROOM: usize = 16 << 20;

/// Of so many variables in one value, and in what they stand for, it is told where they are from.
const TOLD: usize = 64;

/// What all trees of a load share.
#[derive(Debug)]
pub(crate) struct Interpolator {
    /// Variables that a warning was given for: one each is enough.
    warned: BTreeSet<String>,
    room: Room,
}

impl Interpolator {
    pub fn new() -> Self {
        Self { warned: BTreeSet::new(), room: Room::new(ROOM) }
    }

    /// Interpolates every scalar below `node`.
    pub fn tree(&mut self, node: &mut Node, environment: &Environment, report: &mut Report) {
        match &mut node.value {
            Value::Map(map) => {
                map.values_mut().for_each(|entry| self.tree(&mut entry.node, environment, report));
            }
            Value::List(items) => {
                items.iter_mut().for_each(|item| self.tree(item, environment, report));
                // Without one of its items it says something else.
                if items.iter().any(|item| item.tag == Tag::Damaged) {
                    node.tag = Tag::Damaged;
                }
            }
            Value::Scalar(scalar) if scalar.text.contains('$') => {
                match self.text(&scalar.text, &mut node.span, environment, report) {
                    Some(text) if text == scalar.text => {}
                    Some(text) => *scalar = Scalar { text, plain: false, interpolated: true },
                    None => node.tag = Tag::Damaged,
                }
            }
            Value::Scalar(_) => {}
        }
    }

    /// What becomes of a text; `None` where it cannot be told. Its span then tells where the variables in it are from.
    fn text(
        &mut self,
        text: &str,
        span: &mut Span,
        environment: &Environment,
        report: &mut Report,
    ) -> Option<String> {
        let used = RefCell::new(Vec::new());
        let lookup = |name: &str| {
            let mut used = used.borrow_mut();
            if used.len() < TOLD && !used.iter().any(|known| known == name) {
                used.push(name.to_owned());
            }
            environment.get(name)
        };
        let (expanded, findings) = expand(text, &lookup, &mut self.room);
        let good = findings.iter().all(|finding| matches!(finding, Finding::Unset { .. }));
        for finding in findings {
            let span = within(text, *span, finding.range(), report);
            finding.say(span, &mut self.warned, report);
        }
        let mut left = TOLD;
        for name in used.into_inner() {
            let found = text.match_indices(&name).find(|(at, _)| text[..*at].ends_with(['$', '{']));
            let (kind, at) = match (environment.get(&name), environment.definition(&name)) {
                (_, Some(definition)) => (StepKind::Variable, definition),
                (value, None) => {
                    let range = found.map_or(0..0, |(at, name)| at..at + name.len());
                    let kind = if value.is_some() { StepKind::Environment } else { StepKind::Default };
                    (kind, within(text, *span, range, report))
                }
            };
            // A variable may have been made of others.
            let inner = report.sources.steps(at.way).into_iter().filter(|step| step.kind.is_variable());
            let inner = inner.filter(|_| kind == StepKind::Variable).map(|step| (step.kind, step.at));
            for (kind, at) in std::iter::once((kind, at)).chain(inner).take(left) {
                span.way = report.sources.step(span.way, kind, at);
                left -= 1;
            }
        }
        good.then_some(expanded)
    }
}

/// The place of a part of a scalar, where the file shows it literally; else the whole scalar.
fn within(text: &str, span: Span, range: std::ops::Range<usize>, report: &Report) -> Span {
    let written = report.sources.slice(span);
    let Some(part) = text.get(range.clone()).filter(|part| !part.is_empty()) else {
        return span;
    };
    // The same expression may stand there more than once: count those before it.
    let before = text.get(..range.start).map_or(0, |before| before.matches(part).count());
    match written.match_indices(part).nth(before) {
        Some((at, _)) => Span { start: span.start + at, end: span.start + at + part.len(), ..span },
        None => span,
    }
}
