//! What makes two items of a list the same, and the rules of keys that follow none of the usual ones.

use std::collections::{HashMap, HashSet};

use super::{deep, unique};
use crate::diagnostic::Report;
use crate::yaml::{Node, Tag, Value, limits};

/// The text of a scalar: the identity of an item in a list of strings. A number may stay one where expressions are kept.
pub(crate) fn by_text(node: &Node) -> Option<String> {
    node.text_value().map(str::to_owned).or_else(|| Some(node.int_value()?.to_string()))
}

/// What stands before `=`.
pub(crate) fn by_key(node: &Node) -> Option<String> {
    let text = node.text_value()?;
    Some(text.split_once('=').map_or(text, |(key, _)| key).to_owned())
}

/// Where a mount or a device is inside of the container.
pub(crate) fn by_target(node: &Node) -> Option<String> {
    key(node, "target")
}

/// The path of an env file.
pub(crate) fn by_path(node: &Node) -> Option<String> {
    key(node, "path")
}

/// Where a config is inside of the container.
pub(crate) fn by_config_target(node: &Node) -> Option<String> {
    key(node, "target").or_else(|| Some(format!("/{}", key(node, "source")?)))
}

/// Where a secret is inside of the container.
pub(crate) fn by_secret_target(node: &Node) -> Option<String> {
    key(node, "target").or_else(|| Some(format!("/run/secrets/{}", key(node, "source")?)))
}

/// The host's and the container's side of a port.
pub(crate) fn by_port(node: &Node) -> Option<String> {
    let target = node.get("target")?.int_value()?;
    let address = key(node, "host_ip").unwrap_or_else(|| "0.0.0.0".to_owned());
    let published = key(node, "published").unwrap_or_default();
    let protocol = key(node, "protocol").unwrap_or_else(|| "tcp".to_owned());
    Some(format!("{address}:{published}:{target}/{protocol}"))
}

fn key(node: &Node, key: &str) -> Option<String> {
    node.get(key)?.text_value().map(str::to_owned)
}

/// `extra_hosts`: addresses of the same name stay side by side, in order.
pub(crate) fn hosts(base: Node, over: Node, _: &mut Report) -> Node {
    let mut hosts = hosts_as_written(base, over);
    if let Value::List(items) = &mut hosts.value {
        items.sort_by(|a, b| a.text_value().cmp(&b.text_value()));
    }
    hosts
}

/// The same, before they are put in order.
pub(super) fn hosts_as_written(base: Node, over: Node) -> Node {
    let (Value::List(mut hosts), Value::List(more)) = (base.value.clone(), over.value.clone()) else {
        return if over.is_null() { base } else { over };
    };
    let mut known: HashSet<Option<String>> = hosts.iter().map(by_text).collect();
    hosts.extend(more.into_iter().filter(|host| known.insert(by_text(host))));
    Node { value: Value::List(hosts), span: over.span, tag: base.tag }
}

/// `logging`: options of one driver mean nothing to another.
pub(crate) fn logging(base: Node, over: Node, _: &mut Report) -> Node {
    if over.is_null() {
        return base;
    }
    match (key(&base, "driver"), key(&over, "driver")) {
        (Some(base), Some(other)) if base != other => over,
        (Some(_) | None, Some(_) | None) => deep(base, over),
    }
}

/// `ipam.config`: pools of the same subnet are merged.
///
/// Docker Compose puts every pool above over every pool below, one after the other, so that of one subnet the last
/// two count. What comes of the pools between the first and the last is overwritten, but for pools above that have no
/// subnet of their own: these get that of each pool below.
pub(crate) fn ipam_pools(base: Node, over: Node, report: &mut Report) -> Node {
    let (Value::List(below), Value::List(above)) = (&base.value, &over.value) else {
        return if over.is_null() { base } else { over };
    };
    // Docker Compose drops pools that have no counterpart; with nothing above, those below stay.
    if above.is_empty() {
        return base;
    }
    // Every pool above may get all that one below has.
    let ends = below.first().into_iter().chain(below.last());
    if ends.map(Node::weight).max().unwrap_or(0).saturating_mul(above.len()) > limits::POOLED {
        report
            .error(over.span, "these pools and those that they are merged with add up to too much")
            .help("`!override` replaces what was there")
            .also(base.span, "merged with this");
        return over;
    }
    let mut pools: Vec<Node> = Vec::new();
    let mut places: HashMap<Option<String>, usize> = HashMap::new();
    let is_without =
        |pool: &&Node| pool.get("subnet").is_none_or(|subnet| subnet.is_null() && subnet.tag == Tag::None);
    let without_subnet = above.iter().rfind(is_without);
    for (index, pool) in below.iter().enumerate() {
        let at_an_end = index == 0 || index + 1 == below.len();
        let others = match without_subnet {
            _ if at_an_end => above.as_slice(),
            Some(other) => std::slice::from_ref(other),
            None => &[],
        };
        for other in others {
            let subnet = key(other, "subnet");
            let unlike = subnet != key(pool, "subnet") && !places.contains_key(&subnet);
            let made = if unlike { other.clone() } else { deep(pool.clone(), other.clone()) };
            let place = *places.entry(key(&made, "subnet")).or_insert(pools.len());
            match pools.get_mut(place) {
                Some(known) => *known = made,
                None => pools.push(made),
            }
        }
    }
    let by_subnet = |node: &Node| key(node, "subnet");
    let span = over.span;
    Node { value: Value::List(unique(pools, by_subnet)), span, tag: Tag::None }
}
