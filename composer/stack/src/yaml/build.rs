//! Parser events to tree: places, anchors, merge keys, duplicate keys, and bounds on depth and size.

use std::collections::HashMap;
use std::path::Path;

use saphyr_parser::{Event, Parser, ScalarStyle, Span as EventSpan, StrInput};

use super::{Entry, Map, Node, Scalar, Tag, Value, merge_keys};
use crate::diagnostic::Report;
use crate::source::{Span, StepKind};

/// Deeper nesting than any file has; keeps recursion over the tree within a thread's stack.
const DEPTH: usize = 100;
/// How much aliases may add to a document, in nodes and 64-byte pieces of text: enough for every honest file, too
/// little for a file that doubles itself thirty times.
const ALIAS_BUDGET: usize = 250_000;

/// Reads every document of `text`; `None` after an error that leaves nothing to go on with.
pub(crate) fn parse(path: &Path, text: String, report: &mut Report) -> Option<Vec<Node>> {
    let text = match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_owned(),
        None => text,
    };
    let (number, source) = report.sources.add(path, text);
    let offsets = Offsets::new(&source.text);
    let mut builder = Builder {
        parser: Parser::new_from_str(&source.text),
        source: number,
        text: &source.text,
        offsets,
        anchors: HashMap::new(),
        budget: ALIAS_BUDGET,
        report,
    };
    builder.documents().ok()
}

/// The parser counts characters, everything else here counts bytes.
struct Offsets(Option<Vec<usize>>);

impl Offsets {
    fn new(text: &str) -> Self {
        Self((!text.is_ascii()).then(|| text.char_indices().map(|(at, _)| at).collect()))
    }

    fn byte(&self, index: usize, len: usize) -> usize {
        match &self.0 {
            None => index.min(len),
            Some(offsets) => offsets.get(index).copied().unwrap_or(len),
        }
    }
}

/// The document cannot be read on; why is in the report.
struct Stop;

struct Anchor {
    node: Node,
    height: usize,
    weight: usize,
}

struct Builder<'a, 'r> {
    parser: Parser<'a, StrInput<'a>>,
    source: u32,
    text: &'a str,
    offsets: Offsets,
    anchors: HashMap<usize, Anchor>,
    budget: usize,
    report: &'r mut Report,
}

/// A node with what an alias to it would cost.
struct Built {
    node: Node,
    height: usize,
    weight: usize,
}

impl<'a> Builder<'a, '_> {
    fn documents(&mut self) -> Result<Vec<Node>, Stop> {
        let mut documents = Vec::new();
        loop {
            match self.next()? {
                (Event::StreamEnd, _) => return Ok(documents),
                (Event::DocumentStart(_), _) => {
                    self.anchors.clear();
                    let event = self.next()?;
                    documents.push(self.node(event, 0)?.node);
                }
                _ => {}
            }
        }
    }

    fn next(&mut self) -> Result<(Event<'a>, Span), Stop> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => Ok((event, self.span(span))),
            None => Ok((Event::StreamEnd, Span::new(self.source, 0, 0))),
            Some(Err(error)) => {
                let at = self.offsets.byte(error.marker().index(), self.text.len());
                self.syntax_error(at, error.info());
                Err(Stop)
            }
        }
    }

    fn span(&self, span: EventSpan) -> Span {
        let start = self.offsets.byte(span.start.index(), self.text.len());
        let end = self.offsets.byte(span.end.index(), self.text.len()).max(start);
        let end = start + self.text.get(start..end).map_or(0, |text| text.trim_end().len());
        Span::new(self.source, start, end)
    }

    fn syntax_error(&mut self, at: usize, info: &str) {
        let before = self.text.get(..at).unwrap_or("");
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = self.text.get(line_start..).and_then(|rest| rest.lines().next()).unwrap_or("");
        let indent = line.len() - line.trim_start().len();
        let tab = line.get(..indent).and_then(|indent| indent.find('\t'));
        if let Some(tab) = tab {
            let start = line_start + tab;
            let span = Span::new(self.source, start, start + 1);
            self.report.error(span, "a tab cannot be used to indent YAML").help("indent with spaces");
            return;
        }
        let span = Span::new(self.source, at, at);
        self.report.error(span, format!("this is not valid YAML: {info}"));
    }

    fn node(&mut self, (event, span): (Event<'a>, Span), depth: usize) -> Result<Built, Stop> {
        if depth > DEPTH {
            self.report.error(span, format!("nested more than {DEPTH} levels deep"));
            return Err(Stop);
        }
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let mut plain = style == ScalarStyle::Plain;
                if let Some(tag) = &tag
                    && tag.is_yaml_core_schema()
                {
                    plain = tag.suffix != "str" && (plain || tag.suffix != "binary");
                }
                let weight = 1 + text.len() / 64;
                let value = Value::Scalar(Scalar { text: text.into_owned(), plain, interpolated: false });
                let tag = compose_tag(tag.as_deref());
                Ok(self.keep(anchor, Built { node: Node { span, tag, value }, height: 0, weight }))
            }
            Event::SequenceStart(anchor, tag) => {
                let (mut items, mut height, mut weight, mut end) = (Vec::new(), 0, 1, span.end);
                loop {
                    let next = self.next()?;
                    if matches!(next.0, Event::SequenceEnd) {
                        end = end.max(next.1.end);
                        break;
                    }
                    let item = self.node(next, depth + 1)?;
                    (height, weight) = (height.max(item.height + 1), weight + item.weight);
                    end = end.max(item.node.span.end);
                    items.push(item.node);
                }
                let node = Node {
                    span: Span { end, ..span },
                    tag: compose_tag(tag.as_deref()),
                    value: Value::List(items),
                };
                Ok(self.keep(anchor, Built { node, height, weight }))
            }
            Event::MappingStart(anchor, tag) => {
                let built = self.mapping(span, compose_tag(tag.as_deref()), depth)?;
                Ok(self.keep(anchor, built))
            }
            Event::Alias(id) => self.alias(id, span, depth),
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd
            | Event::SequenceEnd
            | Event::MappingEnd => Ok(Built { node: Node::null(span), height: 0, weight: 1 }),
        }
    }

    fn mapping(&mut self, span: Span, tag: Tag, depth: usize) -> Result<Built, Stop> {
        let (mut map, mut merged) = (Map::new(), Vec::new());
        let (mut height, mut weight, mut end) = (0, 1, span.end);
        loop {
            let next = self.next()?;
            if matches!(next.0, Event::MappingEnd) {
                end = end.max(next.1.end);
                break;
            }
            let key = self.node(next, depth + 1)?.node;
            let next = self.next()?;
            let value = self.node(next, depth + 1)?;
            (height, weight) = (height.max(value.height + 1), weight + value.weight + 1);
            let mut node = value.node;
            end = end.max(key.span.end);
            if node.span.source == self.source && node.span.start >= span.start {
                end = end.max(node.span.end);
            }
            if node.is_null() && node.span.start == node.span.end {
                // An absent value has no place of its own: its key stands for it.
                node.span = key.span;
            }
            let Value::Scalar(scalar) = &key.value else {
                self.report.error(key.span, format!("a key must be a string, not {}", key.kind()));
                continue;
            };
            if scalar.text == "<<" && scalar.plain {
                merged.push(node);
                continue;
            }
            if let Some(first) = map.get(&scalar.text) {
                let first: &Entry = first;
                self.report
                    .error(key.span, format!("`{}` is given twice", scalar.text))
                    .label("again here")
                    .also(first.key, "first here");
                continue;
            }
            map.insert(scalar.text.clone(), Entry { key: key.span, node });
        }
        merge_keys::apply(&mut map, merged, self.report);
        let node = Node { span: Span { end, ..span }, tag, value: Value::Map(map) };
        Ok(Built { node, height, weight })
    }

    fn keep(&mut self, anchor: usize, built: Built) -> Built {
        if anchor > 0 {
            let Built { node, height, weight } = &built;
            self.anchors.insert(anchor, Anchor { node: node.clone(), height: *height, weight: *weight });
        }
        built
    }

    fn alias(&mut self, id: usize, span: Span, depth: usize) -> Result<Built, Stop> {
        let Some(anchor) = self.anchors.get(&id) else {
            self.report.error(span, "this alias is inside of what it stands for").help("remove the alias");
            return Err(Stop);
        };
        if depth + anchor.height > DEPTH {
            self.report.error(span, format!("this alias nests more than {DEPTH} levels deep"));
            return Err(Stop);
        }
        let Some(left) = self.budget.checked_sub(anchor.weight) else {
            self.report
                .error(span, "the aliases in this file stand for too much")
                .note(format!("aliases may stand for {ALIAS_BUDGET} values in all"));
            return Err(Stop);
        };
        self.budget = left;
        let (mut node, height, weight) = (anchor.node.clone(), anchor.height, anchor.weight);
        node.bring(&mut self.report.sources, StepKind::Alias, span);
        Ok(Built { node, height, weight })
    }
}

fn compose_tag(tag: Option<&saphyr_parser::Tag>) -> Tag {
    match tag {
        Some(tag) if tag.handle == "!" && tag.suffix == "reset" => Tag::Reset,
        Some(tag) if tag.handle == "!" && tag.suffix == "override" => Tag::Override,
        Some(_) | None => Tag::None,
    }
}
