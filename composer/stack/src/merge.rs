//! Two shaped documents to one, by the table: mappings deeply, lists by the rule of their key; `!reset` takes away,
//! `!override` replaces.

mod rules;
#[cfg(test)]
mod tests;

use indexmap::map::Entry as Slot;

use crate::diagnostic::Report;
use crate::shape;
use crate::spec::{Form, Record, SERVICE, Shape};
use crate::yaml::{Map, Node, Resolved, Scalar, Tag, Value};

pub(crate) use rules::*;

/// How two values of one key become one.
#[derive(Clone, Copy)]
pub(crate) enum Merge {
    /// Mappings key by key, lists one after the other, anything else replaced; nothing given changes nothing.
    Deep,
    /// The later one alone.
    Replace,
    /// Mappings key by key, also where the later value is nothing.
    Pairs,
    /// Lists one after the other, where one value cannot be merged into a list; `extends` in one file puts a list in
    /// the place of one value, as Docker Compose does before it makes lists of values.
    Lists,
    /// The same of every value of a mapping, where one value is also replaced: Docker Compose makes lists of values
    /// when everything is merged.
    AsWritten,
    /// Lists one after the other; of items with the same identity the later one, in the earlier one's place.
    Unique(fn(&Node) -> Option<String>),
    /// By a rule of its own.
    Own(fn(Node, Node, &mut Report) -> Node),
}

/// Merges `over` into `base`, both of the shape of `record`. `kept`: expressions are kept, and with them the forms
/// that were written ([`Shape::Late`]).
pub(crate) fn records(
    base: Node,
    over: Node,
    record: &'static Record,
    kept: bool,
    report: &mut Report,
) -> Node {
    Merger { report, extends: false, kept }.deep(base, over, Kind::Record(record))
}

/// Puts a service over the one of the same file that it extends.
pub(crate) fn extend(base: Node, own: Node, kept: bool, report: &mut Report) -> Node {
    Merger { report, extends: true, kept }.deep(base, own, Kind::Record(&SERVICE))
}

/// The same of any two values, by the usual rules alone.
fn deep(base: Node, over: Node) -> Node {
    Merger { report: &mut Report::default(), extends: false, kept: false }.deep(base, over, Kind::Other)
}

/// Of items with the same identity the last, in the place of the first: what [`Merge::Unique`] demands of one list.
pub(crate) fn unique(items: Vec<Node>, identity: fn(&Node) -> Option<String>) -> Vec<Node> {
    let mut places = std::collections::HashMap::new();
    let mut kept: Vec<Node> = Vec::with_capacity(items.len());
    for item in items {
        match identity(&item).map(|identity| places.entry(identity).or_insert(kept.len())) {
            Some(place) if *place < kept.len() => kept[*place] = item,
            Some(_) | None => kept.push(item),
        }
    }
    kept
}

/// After merging: what is marked `!reset` goes, lists lose their repetitions, the marks have done their work. Whether
/// anything was marked. `kept`: nothing is filled in, as in [`records`].
pub(crate) fn settle(node: &mut Node, record: &'static Record, kept: bool) -> bool {
    settle_kind(node, Kind::Record(record), Merge::Deep, kept)
}

/// What is known of the values below.
#[derive(Clone, Copy)]
enum Kind {
    Record(&'static Record),
    /// A mapping with free keys.
    Map(&'static Shape),
    List(&'static Shape),
    /// A scalar that is an empty string where it is nothing.
    EmptyIfNull,
    Other,
}

impl Kind {
    fn of(shape: &'static Shape) -> Self {
        match shape.form() {
            Form::Record(record) => Self::Record(record),
            Form::Map(value) => Self::Map(value),
            Form::List(item) => Self::List(item),
            Form::OrNull(shape) | Form::Either(shape) => Self::of(shape),
            Form::Short(conversion) => Self::of(&conversion.long),
            Form::Scalar if matches!(shape, Shape::ScalarOrEmpty | Shape::TextOrNumberOrEmpty) => {
                Self::EmptyIfNull
            }
            Form::Scalar | Form::Any => Self::Other,
        }
    }

    /// What is known of the value of a key.
    fn below(self, key: &str) -> (Self, Merge) {
        match self {
            Self::Record(record) => record
                .field(key)
                .map_or((Self::Other, Merge::Deep), |field| (Self::of(&field.shape), field.merge)),
            Self::Map(value) => (Self::of(value), Merge::Deep),
            Self::List(_) | Self::EmptyIfNull | Self::Other => (Self::Other, Merge::Deep),
        }
    }
}

/// Pairs, or one value, as a list.
fn listed(node: Node) -> Node {
    let Value::Map(map) = node.value else {
        return shape::listed(node);
    };
    let mut items = Vec::with_capacity(map.len());
    for (key, entry) in map {
        let values = match entry.node.value {
            Value::List(values) => values,
            value @ (Value::Scalar(_) | Value::Map(_)) => vec![Node { value, ..entry.node }],
        };
        for value in values {
            let text = match &value.value {
                Value::Scalar(scalar) if !value.is_null() => format!("{key}={}", scalar.to_text()),
                Value::Scalar(_) | Value::List(_) | Value::Map(_) => key.clone(),
            };
            items.push(Node::text(value.span, text));
        }
    }
    items.sort_by(|one, other| one.text_value().cmp(&other.text_value()));
    Node { value: Value::List(items), ..node }
}

/// Whether a list was written as its only item.
fn is_lengthened(node: &Node) -> bool {
    matches!(node.items(), [only] if only.span == node.span)
}

struct Merger<'a> {
    report: &'a mut Report,
    extends: bool,
    kept: bool,
}

impl Merger<'_> {
    fn two(&mut self, base: Node, over: Node, kind: Kind, rule: Merge) -> Node {
        if matches!(over.tag, Tag::Reset | Tag::Override) || base.tag == Tag::Reset {
            return over;
        }
        match rule {
            Merge::Replace => over,
            Merge::Pairs | Merge::Own(_) | Merge::Unique(_) if self.kept => {
                self.as_kept(base, over, kind, rule)
            }
            Merge::Own(merge) => merge(base, over, self.report),
            Merge::Pairs => self.mappings(base, over, kind, true),
            Merge::AsWritten => self.as_written(base, over, kind),
            Merge::Lists if self.extends && is_lengthened(&base) && !over.items().is_empty() => over,
            Merge::Lists if is_lengthened(&over) && !base.items().is_empty() => {
                self.unlike(&base, &over, "one value");
                over
            }
            Merge::Lists | Merge::Deep | Merge::Unique(_) => self.deep(base, over, kind),
        }
    }

    fn deep(&mut self, base: Node, over: Node, kind: Kind) -> Node {
        if over.is_null() {
            return base;
        }
        match (&base.value, &over.value) {
            (Value::Map(_), Value::Map(_)) => self.mappings(base, over, kind, false),
            (Value::List(_), Value::List(_)) => {
                let (Value::List(mut items), Value::List(more)) = (base.value, over.value) else {
                    return Node::null(over.span);
                };
                items.extend(more);
                Node { value: Value::List(items), span: over.span, tag: base.tag }
            }
            (Value::Map(_) | Value::List(_), _) if !base.is_null() => {
                self.unlike(&base, &over, over.kind());
                over
            }
            (Value::Scalar(_) | Value::Map(_) | Value::List(_), _) => over,
        }
    }

    /// Where mappings and single values stand for lists, Docker Compose makes those lists before it merges.
    fn as_kept(&mut self, base: Node, over: Node, kind: Kind, rule: Merge) -> Node {
        match (rule, kind) {
            (Merge::Own(_), Kind::List(_)) => hosts_as_written(listed(base), listed(over)),
            (Merge::Own(merge), _) => merge(base, over, self.report),
            // No pairs of text.
            (Merge::Pairs, Kind::Map(Shape::Late(_))) => self.mappings(base, over, kind, true),
            _ if over.is_null() => base,
            _ => self.deep(listed(base), listed(over), kind),
        }
    }

    fn as_written(&mut self, base: Node, over: Node, kind: Kind) -> Node {
        match (&base.value, &over.value) {
            (Value::Map(_), Value::Map(above)) => {
                let above = above.clone();
                let mut merged = base;
                let Value::Map(below) = &mut merged.value else { return merged };
                for (key, mut entry) in above {
                    if let Some(old) = below.get_mut(&key) {
                        let old = std::mem::replace(&mut old.node, Node::null(entry.key));
                        entry.node = self.two(old, entry.node, kind.below(&key).0, Merge::AsWritten);
                    }
                    below.insert(key, entry);
                }
                merged
            }
            (Value::List(_), Value::List(_)) if is_lengthened(&base) => over,
            _ => self.two(base, over, kind, Merge::Lists),
        }
    }

    fn unlike(&mut self, base: &Node, over: &Node, kind: &str) {
        self.report
            .error(over.span, format!("this is {kind}, and {} in what it is merged with", base.kind()))
            .help("`!override` replaces what was there")
            .also(base.span, "merged with this");
    }

    fn mappings(&mut self, base: Node, over: Node, kind: Kind, nulls_count: bool) -> Node {
        let tag = if over.tag == Tag::Damaged { Tag::Damaged } else { base.tag };
        let span = over.span;
        let (mut below, above): (Map, Map) = match (base.value, over.value) {
            (Value::Map(below), Value::Map(above)) => (below, above),
            (
                value @ (Value::Map(_) | Value::List(_) | Value::Scalar(_)),
                Value::Scalar(_) | Value::List(_),
            ) => {
                return Node { value, span: base.span, tag };
            }
            (Value::Scalar(_) | Value::List(_), value @ Value::Map(_)) => return Node { value, span, tag },
        };
        for (key, entry) in above {
            let (kind, rule) = kind.below(&key);
            match below.entry(key) {
                Slot::Vacant(slot) => drop(slot.insert(entry)),
                Slot::Occupied(mut slot) => {
                    let old = slot.get_mut();
                    old.key = entry.key;
                    if nulls_count {
                        old.node = entry.node;
                    } else {
                        let base = std::mem::replace(&mut old.node, Node::null(entry.key));
                        old.node = self.two(base, entry.node, kind, rule);
                    }
                }
            }
        }
        Node { value: Value::Map(below), span, tag }
    }
}

fn settle_kind(node: &mut Node, kind: Kind, rule: Merge, kept: bool) -> bool {
    let mut marked = false;
    if node.tag != Tag::Damaged {
        marked = node.tag != Tag::None;
        node.tag = Tag::None;
    }
    match &mut node.value {
        Value::Map(map) => {
            let given = map.len();
            map.retain(|_, entry| entry.node.tag != Tag::Reset);
            marked |= map.len() < given;
            if let Kind::Record(Record { fill: Some(fill), .. }) = kind {
                fill(map, node.span);
            }
            for (key, entry) in map.iter_mut() {
                let (kind, rule) = kind.below(key);
                marked |= settle_kind(&mut entry.node, kind, rule, kept);
            }
        }
        Value::List(items) => {
            let given = items.len();
            items.retain(|item| item.tag != Tag::Reset);
            marked |= items.len() < given;
            match rule {
                Merge::Unique(identity) => *items = unique(std::mem::take(items), identity),
                // As they were written.
                Merge::Pairs => *items = unique(std::mem::take(items), by_key),
                Merge::Deep | Merge::Replace | Merge::Lists | Merge::AsWritten | Merge::Own(_) => {}
            }
            let item = match kind {
                Kind::List(item) => Kind::of(item),
                Kind::Record(_) | Kind::Map(_) | Kind::EmptyIfNull | Kind::Other => Kind::Other,
            };
            for node in items {
                marked |= settle_kind(node, item, Merge::Deep, kept);
            }
        }
        Value::Scalar(scalar) => {
            if !kept && matches!(kind, Kind::EmptyIfNull) && scalar.resolve() == Resolved::Null {
                *scalar = Scalar::text("");
            }
        }
    }
    marked
}
