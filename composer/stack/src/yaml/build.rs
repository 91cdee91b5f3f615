//! Parser events to tree: places, anchors, merge keys, duplicate keys, and bounds on depth and size.

use std::borrow::Cow;
use std::path::Path;

use saphyr_parser::{Event, Parser, ScalarStyle, Span as EventSpan, StrInput, Tag as YamlTag};

use super::anchors::{Anchors, Refused};
use super::offsets::Offsets;
use super::{Entry, Map, Node, Resolved, Scalar, Tag, Value, explain, flow, limits, merge_keys, printable};
use crate::diagnostic::{Found, Report};
use crate::source::{Span, StepKind};

/// Reads every document of `text`; `None` after an error that leaves nothing to go on with.
pub(crate) fn parse(path: &Path, text: String, report: &mut Report) -> Option<Vec<Node>> {
    if text.len() > limits::TEXT {
        let (path, most) = (path.display(), limits::TEXT >> 20);
        report.error_without_place(format!("{path} is larger than {most} MiB, which no Compose file is"));
        return None;
    }
    let text = match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_owned(),
        None => text,
    };
    let (number, source) = report.sources.add(path, text);
    for (at, _) in printable::unprintable(&source.text) {
        if let Some(said) = explain::unprintable(&source.text, at) {
            let found = report.error(Span::new(number, said.at.start, said.at.end), said.message);
            said.help.into_iter().fold(found, Found::help);
        }
    }
    let mut text = flow::joined(&source.text);
    let mut rounds = limits::TABS.min(limits::REREAD / text.len().max(1));
    loop {
        let mark = report.mark();
        let mut builder = Builder {
            parser: Parser::new_from_str(&text),
            source: number,
            text: &source.text,
            offsets: Offsets::new(&source.text),
            anchors: Anchors::default(),
            values: 0,
            errors: 0,
            tab: None,
            report,
        };
        let documents = builder.documents();
        let spaced = builder.tab.filter(|_| rounds > 0).and_then(|at| spaced(&text, at));
        let Some(spaced) = spaced else {
            return documents.ok();
        };
        rounds -= 1;
        report.forget(mark);
        text = Cow::Owned(spaced);
    }
}

/// The text with spaces for the tabs before a value: they may stand behind the `:` of a key, but the parser stops at
/// them. `None` where there are none.
fn spaced(text: &str, value: usize) -> Option<String> {
    let before = text.get(..value)?;
    let start = before.trim_end_matches([' ', '\t']).len();
    let gap = before.get(start..).filter(|gap| gap.contains('\t'))?;
    Some([text.get(..start)?, &" ".repeat(gap.len()), text.get(value..)?].concat())
}

/// The document cannot be read on; why is in the report.
struct Stop;

struct Builder<'a, 'r> {
    parser: Parser<'a, StrInput<'a>>,
    source: u32,
    text: &'a str,
    offsets: Offsets<'a>,
    anchors: Anchors,
    /// Counted against [`limits::VALUES`].
    values: usize,
    /// Counted against [`limits::ERRORS`].
    errors: usize,
    /// The parser stopped at a value because of a tab before it.
    tab: Option<usize>,
    report: &'r mut Report,
}

/// A node with what an alias to it would cost.
pub(super) struct Built {
    pub node: Node,
    /// Levels below it.
    pub height: usize,
    /// Values in it, and 64-byte pieces of text.
    pub weight: usize,
}

impl<'a> Builder<'a, '_> {
    fn documents(&mut self) -> Result<Vec<Node>, Stop> {
        let mut documents = Vec::new();
        loop {
            match self.next()? {
                (Event::StreamEnd, _) => return Ok(documents),
                (Event::DocumentStart(_), _) => {
                    self.anchors.forget();
                    let event = self.next()?;
                    if documents.len() == limits::DOCUMENTS {
                        let most = limits::DOCUMENTS;
                        let message =
                            format!("this file holds more than {most} documents, which no Compose file does");
                        self.report
                            .error(event.1, message)
                            .help("remove the `---` between those that belong together");
                        return Err(Stop);
                    }
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
                let at = self.offsets.byte(error.marker().index());
                if error.info() == explain::TAB_BEFORE_VALUE {
                    self.tab = Some(at);
                }
                let said = explain::explain(self.text, at, error.info());
                let found = self.report.error(self.place(said.at), said.message);
                let found = match said.help {
                    Some(help) => found.help(help),
                    None => found,
                };
                if let Some((at, label)) = said.also {
                    let span = Span::new(self.source, at.start, at.end);
                    found.also(span, label);
                }
                Err(Stop)
            }
        }
    }

    fn place(&self, at: std::ops::Range<usize>) -> Span {
        Span::new(self.source, at.start, at.end)
    }

    fn span(&self, span: EventSpan) -> Span {
        let start = self.offsets.byte(span.start.index());
        let end = self.offsets.byte(span.end.index()).max(start);
        let end = start + self.text.get(start..end).map_or(0, |text| text.trim_end().len());
        self.place(start..end)
    }

    /// Reports an error after which reading goes on, unless there are too many.
    fn error(&mut self, span: Span, message: String) -> Result<Found<'_>, Stop> {
        self.errors += 1;
        if self.errors > limits::ERRORS {
            self.report.error(span, "too many errors: reading stops here");
            return Err(Stop);
        }
        Ok(self.report.error(span, message))
    }

    fn node(&mut self, (event, span): (Event<'a>, Span), depth: usize) -> Result<Built, Stop> {
        if depth > limits::DEPTH {
            self.report.error(span, explain::too_deep());
            return Err(Stop);
        }
        self.values += 1;
        if self.values > limits::VALUES {
            let most = limits::VALUES;
            self.report
                .error(span, format!("this file holds more than {most} values, which no Compose file does"));
            return Err(Stop);
        }
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let built = self.scalar(text.into_owned(), style, tag.as_deref(), span);
                self.keep(anchor, built)
            }
            Event::SequenceStart(anchor, tag) => {
                let built = self.sequence(span, compose_tag(tag.as_deref()), depth)?;
                self.keep(anchor, built)
            }
            Event::MappingStart(anchor, tag) => {
                let built = self.mapping(span, compose_tag(tag.as_deref()), depth)?;
                self.keep(anchor, built)
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

    fn scalar(&self, mut text: String, style: ScalarStyle, tag: Option<&YamlTag>, span: Span) -> Built {
        let mut plain = style == ScalarStyle::Plain;
        if let Some(tag) = tag
            && tag.is_yaml_core_schema()
        {
            plain = tag.suffix != "str" && (plain || tag.suffix != "binary");
        }
        let tag = compose_tag(tag);
        // Go's library takes what has a tag that it does not know for a string.
        plain &= tag != Tag::Override;
        if matches!(style, ScalarStyle::Literal | ScalarStyle::Folded) && self.ends_at(span) {
            // The last line has no end that could be kept.
            text.pop();
        }
        let weight = text_weight(&text);
        let value = Value::Scalar(Scalar { text, plain, interpolated: false });
        Built { node: Node { span, tag, value }, height: 0, weight }
    }

    fn sequence(&mut self, span: Span, tag: Tag, depth: usize) -> Result<Built, Stop> {
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
        let node = Node { span: Span { end, ..span }, tag, value: Value::List(items) };
        Ok(Built { node, height, weight })
    }

    /// Whether a scalar is the last of the text, without the end of a line.
    fn ends_at(&self, span: Span) -> bool {
        let rest = self.text.get(span.end..).unwrap_or("");
        rest.trim_matches([' ', '\t']).is_empty() && !rest.contains('\n') && !self.text.ends_with('\n')
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
            let Built { mut node, height: below, weight: more } = value;
            end = end.max(key.span.end);
            if node.span.source == self.source && node.span.start >= span.start {
                end = end.max(node.span.end);
            }
            if node.is_null() && node.span.start == node.span.end {
                // An absent value has no place of its own: its key stands for it.
                node.span = key.span;
            }
            let Some(scalar) = self.key(&key, span)? else {
                continue;
            };
            if scalar.text == "<<" && scalar.plain {
                if !merged.is_empty() {
                    self.error(key.span, "`<<` is given twice".to_owned())?
                        .help("give it a list: `<<: [*one, *other]`");
                }
                merged.push(node);
                continue;
            }
            (height, weight) = (height.max(below + 1), weight + more + text_weight(&scalar.text));
            if let Some(first) = map.get(&scalar.text) {
                let first: Span = first.key;
                self.error(key.span, format!("`{}` is given twice", scalar.text))?
                    .label("again here")
                    .also(first, "first here");
                continue;
            }
            map.insert(scalar.text.clone(), Entry { key: key.span, node });
        }
        let own = map.len();
        for (span, kind) in merge_keys::apply(&mut map, merged) {
            self.error(span, format!("`<<` must be a mapping or a list of mappings, not {kind}"))?
                .help("name an anchored mapping: `<<: *anchor`");
        }
        // What was merged lies a level higher than it was written, and in part not at all.
        for (key, entry) in map.iter().skip(own) {
            let (below, more) = measure(&entry.node);
            (height, weight) = (height.max(below + 1), weight + more + text_weight(key));
        }
        let node = Node { span: Span { end, ..span }, tag, value: Value::Map(map) };
        Ok(Built { node, height, weight })
    }

    /// The scalar that a key is; `None` where it is none. `map` is the mapping it is in.
    fn key<'k>(&mut self, key: &'k Node, map: Span) -> Result<Option<&'k Scalar>, Stop> {
        let Value::Scalar(scalar) = &key.value else {
            let template = self.text.get(map.start..).is_some_and(|text| text.starts_with("{{"));
            let found = self.error(key.span, format!("a key must be a string, not {}", key.kind()))?;
            found.help(if template {
                "quote text that begins with `{`; Compose's own variables look like `${NAME}`"
            } else {
                "quote a key that begins with `[`, `{` or `?`"
            });
            return Ok(None);
        };
        let is_text = matches!(scalar.resolve(), Resolved::Text(_)) && scalar.timestamp().is_none();
        if scalar.plain && !is_text {
            let shown = if scalar.text.is_empty() { "null" } else { &scalar.text };
            let message = format!("the key `{shown}` is not a string");
            self.error(key.span, message)?.help(format!("write it in quotes: \"{shown}\""));
        }
        Ok(Some(scalar))
    }

    fn keep(&mut self, anchor: usize, built: Built) -> Result<Built, Stop> {
        if anchor > 0
            && let Err(refused) = self.anchors.keep(anchor, &built)
        {
            return Err(self.refuse(built.node.span, refused));
        }
        Ok(built)
    }

    fn alias(&mut self, id: usize, span: Span, depth: usize) -> Result<Built, Stop> {
        let mut built = self.anchors.copy(id, depth).map_err(|refused| self.refuse(span, refused))?;
        built.node.bring(&mut self.report.sources, StepKind::Alias, span);
        Ok(built)
    }

    fn refuse(&mut self, span: Span, refused: Refused) -> Stop {
        let found = self.report.error(span, refused.message());
        match refused {
            Refused::InsideItself => found.help("remove the alias"),
            Refused::Aliased => {
                found.note(format!("aliases may stand for {} values in all", limits::ALIASED))
            }
            Refused::Anchored => found.note(format!("anchors may hold {} values in all", limits::ANCHORED)),
            Refused::Deep => found,
        };
        Stop
    }
}

/// Height and weight of a tree.
fn measure(node: &Node) -> (usize, usize) {
    let above = |(height, weight): (usize, usize), node: &Node| {
        let (below, more) = measure(node);
        (height.max(below + 1), weight + more)
    };
    match &node.value {
        Value::Scalar(scalar) => (0, text_weight(&scalar.text)),
        Value::List(items) => items.iter().fold((0, 1), above),
        Value::Map(map) => map.iter().fold((0, 1), |(height, weight), (key, entry)| {
            above((height, weight + text_weight(key)), &entry.node)
        }),
    }
}

fn text_weight(text: &str) -> usize {
    1 + text.len() / 64
}

fn compose_tag(tag: Option<&YamlTag>) -> Tag {
    match tag {
        Some(tag) if tag.handle == "!" && tag.suffix == "reset" => Tag::Reset,
        Some(tag) if tag.handle == "!" && tag.suffix == "override" => Tag::Override,
        Some(_) | None => Tag::None,
    }
}
