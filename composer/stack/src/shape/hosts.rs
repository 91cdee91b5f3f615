//! `extra_hosts`: a list of `name=address`, sorted, one address an item.

use super::{Conversion, Shaper};
use crate::spec::{Shape, TEXTS};
use crate::yaml::{Node, Tag, Value};

/// A list of `name=address` or `name:address`, or a mapping.
pub(crate) const HOSTS: Shape = Shape::Late(&Conversion {
    what: "a mapping or a list of `name=address`",
    forms: &[Shape::Map(&super::TEXT_OR_TEXTS)],
    lengthen: hosts,
    long: TEXTS,
});

fn hosts(mut node: Node, _: &str, shaper: &mut Shaper<'_>) -> Option<Node> {
    super::complete::repetitions(&mut node, 0, shaper.report);
    let mut out: Vec<Node> = Vec::new();
    match &node.value {
        Value::Map(map) => {
            for (name, entry) in map {
                // In a mapping, a value of several addresses is a list: a comma does not part them.
                let addresses = match &entry.node.value {
                    Value::List(items) => items.as_slice(),
                    Value::Scalar(_) | Value::Map(_) => std::slice::from_ref(&entry.node),
                };
                for address in addresses {
                    match address.text_value() {
                        Some(text) => out.extend(host(&entry.node, name, text, shaper)),
                        None => shaper.wrong_type(address, name, "a string").unwrap_or(()),
                    }
                }
            }
        }
        Value::List(items) => {
            for item in items {
                let Some(text) = shaper.item(item, "extra_hosts", "a string") else { continue };
                let Some((name, addresses)) = text.split_once('=').or_else(|| text.split_once(':')) else {
                    shaper
                        .value(item, format!("`{text}` has no address"))
                        .help("write `name=address`, such as `db=10.0.0.5` or `host=host-gateway`");
                    continue;
                };
                for address in addresses.split(',') {
                    out.extend(host(item, name, address, shaper));
                }
            }
        }
        Value::Scalar(_) => return Some(node),
    }
    out.sort_by(|a, b| a.text_value().cmp(&b.text_value()));
    Some(Node { value: Value::List(out), ..node })
}

fn host(node: &Node, name: &str, address: &str, shaper: &mut Shaper<'_>) -> Option<Node> {
    if name.is_empty() || name.contains([':', '=']) {
        shaper
            .value(node, format!("`{name}` is not a host name"))
            .help("write `name=address`, such as `db=10.0.0.5`");
        return None;
    }
    let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let address = bare.filter(|bare| !bare.is_empty()).unwrap_or(address);
    Some(Node { tag: Tag::None, ..Node::text(node.span, format!("{name}={address}")) })
}
