//! Short forms that several keys share.

use super::{Conversion, Shaper};
use crate::spec::Shape;
use crate::yaml::{Entry, Map, Node, Tag, Value};

/// `KEY=value`, or a mapping. A key alone has no value.
pub(crate) const PAIRS: Shape = Shape::Short(&Conversion {
    what: "a mapping or a list of `KEY=value`",
    forms: &[crate::spec::TEXTS],
    lengthen: pairs,
    long: Shape::Map(&Shape::ScalarOrNull),
});

/// A string, or a list of strings.
pub(crate) const TEXT_OR_TEXTS: Shape = Shape::Short(&Conversion {
    what: "a string or a list of strings",
    forms: &[Shape::Text],
    lengthen: |node, _| Some(listed(node)),
    long: crate::spec::TEXTS,
});

fn pairs(node: Node, shaper: &mut Shaper<'_>) -> Option<Node> {
    let Value::List(items) = node.value else {
        return Some(node);
    };
    let mut map = Map::new();
    for item in items {
        let Value::Scalar(scalar) = &item.value else {
            shaper.wrong_type::<()>(&item, "an item", "`KEY=value`");
            continue;
        };
        let (key, value) = match scalar.text.split_once('=') {
            Some((key, value)) => (key.to_owned(), Node::text(item.span, value)),
            None => (scalar.text.clone(), Node::null(item.span)),
        };
        map.insert(key, Entry { key: item.span, node: value });
    }
    Some(Node { value: Value::Map(map), ..node })
}

/// A scalar as a list of one.
fn listed(node: Node) -> Node {
    match &node.value {
        Value::Scalar(_) if !node.is_null() => {
            let item = Node { tag: Tag::None, ..node.clone() };
            Node { value: Value::List(vec![item]), ..node }
        }
        Value::Scalar(_) | Value::List(_) | Value::Map(_) => node,
    }
}
