//! `volumes` of a service: `SOURCE:TARGET:OPTIONS`, or mappings; and what a volume at the top level has of a mount.

use super::forms::mapping;
use super::paths::resolved;
use super::{Conversion, Shaper, external};
use crate::files::clean_text;
use crate::source::Span;
use crate::spec::Shape;
use crate::spec::mounts::MOUNT as MOUNT_RECORD;
use crate::yaml::{Entry, Map, Node, Resolved, Value};

/// A mount.
pub(crate) const MOUNT: Shape = Shape::Short(&Conversion {
    what: "a string or a mapping",
    forms: &[Shape::Text],
    lengthen: mount,
    long: Shape::Record(&MOUNT_RECORD),
});

/// Permission bits of a tmpfs, which Compose prints as a number.
pub(crate) const TMPFS_MODE: Shape = Shape::Late(&Conversion {
    what: "permission bits such as 0755",
    forms: &[],
    lengthen: |node, _, shaper| {
        let Value::Scalar(scalar) = &node.value else {
            return Some(node);
        };
        // Docker Compose cuts fractions off, and knows no octal strings here.
        let bits = match scalar.resolve() {
            Resolved::Int(bits) => u32::try_from(bits).ok(),
            Resolved::Float(bits) if (0.0..f64::from(u32::MAX)).contains(&bits) => Some(bits as u32),
            _ => None,
        };
        let Some(bits) = bits else {
            shaper
                .value(&node, "`mode` must be permission bits")
                .help("write them in octal, without quotes: `0755`");
            return None;
        };
        if bits > 0o7777 || !matches!(scalar.resolve(), Resolved::Int(_)) {
            shaper.doubt(&node, "`mode` must be permission bits").help("write them in octal: `0755`");
            if !shaper.lenient {
                return None;
            }
        }
        Some(Node::bare(node.span, bits))
    },
    long: Shape::StrictNumber,
});

/// Bytes that a tmpfs holds at most.
pub(crate) const TMPFS_SIZE: Shape = Shape::Late(&Conversion {
    what: "an amount such as 64m",
    forms: &[],
    lengthen: |node, name, shaper| super::not_negative(node, name, shaper),
    long: Shape::Bytes,
});

fn mount(node: Node, _: &str, shaper: &mut Shaper<'_>) -> Option<Node> {
    let mut node = match node.text_value() {
        Some(text) => {
            let text = text.to_owned();
            short(&node, &text, shaper)?
        }
        None => node,
    };
    let span = node.span;
    if let Value::Map(map) = &mut node.value
        && map.get("type").and_then(|entry| entry.node.text_value()) == Some("bind")
    {
        let Some(source) = map.get_mut("source").filter(|entry| !entry.node.is_null()) else {
            shaper.report.error(span, "a bind mount needs a `source`").help("`source: ./data`");
            return None;
        };
        let source = &mut source.node;
        *source = resolved(source.clone(), |text| shaper.mount_path(text));
    }
    Some(node)
}

/// Whether the source of a short form is a path: the rest are keys of volumes.
fn is_path(source: &str) -> bool {
    let mut chars = source.chars();
    let first = chars.next();
    source.starts_with(['.', '/', '~'])
        || source.starts_with("\\\\")
        || (first.is_some_and(char::is_alphabetic) && chars.next() == Some(':'))
}

/// The parts between the colons; those behind a Windows drive and inside of `${…}` part nothing.
fn parts(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut depth = 0_usize;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let Some(part) = parts.last_mut() else { break };
        match c {
            '$' if chars.peek() == Some(&'{') => {
                depth += 1;
                part.push(c);
            }
            '}' if depth > 0 => {
                depth -= 1;
                part.push(c);
            }
            ':' if depth == 0 => {
                let mut before = part.chars();
                let drive = before.next().is_some_and(char::is_alphabetic) && before.next().is_none();
                if drive {
                    part.push(c);
                } else {
                    parts.push(String::new());
                }
            }
            _ => part.push(c),
        }
    }
    parts
}

fn short(node: &Node, text: &str, shaper: &mut Shaper<'_>) -> Option<Node> {
    let span = node.span;
    // As short as this, Compose takes it for a target as it is.
    if (1..=2).contains(&text.len()) {
        return Some(mapping(
            span,
            [("type", Node::text(span, "volume")), ("target", Node::text(span, text))],
        ));
    }
    let parts = parts(text);
    let (source, target, options) = match parts.as_slice() {
        _ if parts.iter().any(String::is_empty) => {
            shaper.value(node, format!("`{text}` lacks a source or a target")).help("write `SOURCE:TARGET`");
            return None;
        }
        [target] => ("", target.as_str(), ""),
        [source, target] => (source.as_str(), target.as_str(), ""),
        [source, target, options] => (source.as_str(), target.as_str(), options.as_str()),
        _ => {
            shaper.value(node, format!("`{text}` has too many `:`")).help("write `SOURCE:TARGET:OPTIONS`");
            return None;
        }
    };
    let bind = is_path(source);
    let entry = |node: Node| Entry { key: span, node };
    let words = |text: &str| entry(Node::text(span, text));
    let mut map = Map::new();
    map.insert("type".to_owned(), words(if bind { "bind" } else { "volume" }));
    if !source.is_empty() {
        map.insert("source".to_owned(), words(source));
    }
    map.insert("target".to_owned(), words(&clean_text(target)));
    let Options { read_only, of_bind, of_volume } = mount_options(options, span, shaper);
    if read_only {
        map.insert("read_only".to_owned(), entry(Node::bare(span, true)));
    }
    // Of options that nobody gave, the mapping too is one that nobody wrote.
    let place = |given: bool| if given { span } else { span.implied() };
    let bind_place = place(of_bind.is_some());
    let mut of_bind = of_bind.or_else(|| bind.then(Map::new));
    if let Some(options) = of_bind.as_mut().filter(|_| bind) {
        options.insert("create_host_path".to_owned(), entry(Node::bare(span.implied(), true)));
    }
    if let Some(options) = of_bind {
        map.insert("bind".to_owned(), entry(Node::map(bind_place, options)));
    }
    let volume_place = place(of_volume.is_some());
    if let Some(options) = of_volume.or_else(|| (!bind).then(Map::new)) {
        map.insert("volume".to_owned(), entry(Node::map(volume_place, options)));
    }
    Some(Node::map(span, map))
}

/// What the options of a short form say.
#[derive(Default)]
struct Options {
    read_only: bool,
    /// `None` where nothing is about it.
    of_bind: Option<Map>,
    of_volume: Option<Map>,
}

fn mount_options(text: &str, span: Span, shaper: &mut Shaper<'_>) -> Options {
    let mut options = Options::default();
    let entry = |node: Node| Entry { key: span, node };
    for option in text.split(',').filter(|_| !text.is_empty()) {
        let Options { read_only, of_bind, of_volume } = &mut options;
        let put = |map: &mut Option<Map>, key: &str, node: Node| {
            map.get_or_insert_default().insert(key.to_owned(), entry(node));
        };
        match option {
            "ro" => *read_only = true,
            "rw" => *read_only = false,
            "nocopy" => put(of_volume, "nocopy", Node::bare(span, true)),
            "z" | "Z" => put(of_bind, "selinux", Node::text(span, option)),
            "private" | "rprivate" | "shared" | "rshared" | "slave" | "rslave" => {
                put(of_bind, "propagation", Node::text(span, option));
            }
            // Compose passes over what it does not know; these are other tools' own.
            "cached" | "delegated" | "consistent" | "" => {}
            _ => {
                let message = format!("`{option}` is not a mount option, and does nothing");
                shaper
                    .report
                    .warning(span, message)
                    .help("`ro`, `rw`, `z`, `Z`, `nocopy` and propagations such as `rshared` are");
            }
        }
    }
    options
}

/// A volume at the top level: one of the driver `local` with `o: bind` has a path of the host.
pub(crate) fn volume_resource(node: Node, _: &str, shaper: &mut Shaper<'_>) -> Option<Node> {
    let mut node = external(node, "volumes", shaper)?;
    let local = node.get("driver").and_then(Node::text_value) == Some("local");
    if let Some(options) = node.get_mut("driver_opts")
        && local
        && options.get("o").and_then(Node::text_value) == Some("bind")
        && let Some(device) = options.get_mut("device")
    {
        *device = resolved(device.clone(), |text| shaper.mount_path(text));
    }
    Some(node)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_short_forms() {
        for (text, expected) in [
            ("/data", &["/data"][..]),
            ("./a:/b:ro", &["./a", "/b", "ro"]),
            (r"C:\x:/c", &[r"C:\x", "/c"]),
            ("a:b:c:d", &["a:b", "c:d"]),
            ("${A:-b}:/c", &["${A:-b}", "/c"]),
            ("ab::c", &["ab", "", "c"]),
        ] {
            assert_eq!(parts(text), expected, "{text}");
        }
        for (path, yes) in [
            ("./a", true),
            ("~", true),
            ("/a", true),
            ("data", false),
            (r"C:\x", true),
            (r"\\h\s", true),
            ("", false),
        ] {
            assert_eq!(is_path(path), yes, "{path}");
        }
    }

    #[test]
    fn targets_are_cleaned() {
        for (target, clean) in
            [("/b/../c/", "/c"), ("/", "/"), ("/..", "/"), ("a/./b//", "a/b"), ("../a", "../a"), (".", ".")]
        {
            assert_eq!(clean_text(target), clean);
        }
    }
}
