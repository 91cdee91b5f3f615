//! Short forms that name something: services, networks, files, devices, configs, secrets.

use super::forms::{listed, mapping};
use super::{Conversion, Shaper};
use crate::spec::container::{
    DEVICE as DEVICE_RECORD, ENV_FILE, EXTENDS as EXTENDS_RECORD, FILE_MOUNT as MOUNT_RECORD,
};
use crate::spec::deploy::GPU;
use crate::spec::service::{BUILD_LONG, DEPENDENCIES, MODELS, NETWORKS};
use crate::spec::top::INCLUDE as INCLUDE_RECORD;
use crate::spec::{SET, Shape, TEXTS};
use crate::yaml::{Entry, Map, Node, Tag, Value};

/// `build: FOLDER`.
pub(crate) const BUILD: Shape = Shape::Short(&Conversion {
    what: "a string or a mapping",
    forms: &[Shape::Text],
    lengthen: |node, _, _| Some(keyed(node, "context")),
    long: BUILD_LONG,
});

/// A service's name, or where it is.
pub(crate) const EXTENDS: Shape = Shape::Short(&Conversion {
    what: "a string or a mapping",
    forms: &[Shape::Text],
    lengthen: |node, _, _| Some(keyed(node, "service")),
    long: Shape::Record(&EXTENDS_RECORD),
});

/// A path, or what else there is to say of it.
pub(crate) const INCLUDE: Shape = Shape::Short(&Conversion {
    what: "a string or a mapping",
    forms: &[Shape::Text],
    lengthen: |node, _, _| Some(keyed(node, "path")),
    long: Shape::Record(&INCLUDE_RECORD),
});

/// A key of the top level, or where its file goes.
pub(crate) const FILE_MOUNT: Shape = Shape::Short(&Conversion {
    what: "a string or a mapping",
    forms: &[Shape::Text],
    lengthen: |node, _, _| Some(keyed(node, "source")),
    long: Shape::Record(&MOUNT_RECORD),
});

/// `SOURCE:TARGET:PERMISSIONS`, or a mapping.
pub(crate) const DEVICE: Shape = Shape::Short(&Conversion {
    what: "a string or a mapping",
    forms: &[Shape::Text],
    lengthen: device,
    long: Shape::Record(&DEVICE_RECORD),
});

/// `all`, or a list.
pub(crate) const GPUS: Shape = Shape::Short(&Conversion {
    what: "`all` or a list",
    forms: &[Shape::Word(&["all"])],
    lengthen: |node, _, shaper| match node.text_value() {
        Some("all") => {
            let all = mapping(node.span, [("count", Node::text(node.span, "all"))]);
            Some(Node { value: Value::List(vec![all]), ..node })
        }
        Some(text) => {
            let message = format!("`{text}` is not a value of `gpus`");
            shaper.value(&node, message).help("write `all`, or a list: `- driver: nvidia`");
            None
        }
        None => Some(node),
    },
    long: Shape::List(&Shape::Record(&GPU)),
});

/// Services, or what they must have reached.
pub(crate) const DEPENDS_ON: Shape = Shape::Short(&Conversion {
    what: "a list or a mapping",
    forms: &[SET],
    lengthen: |node, _, shaper| {
        named(node, shaper, "depends_on", "a service's name", |item| {
            let span = item.span.implied();
            let started = Node::text(span, "service_started");
            mapping(item.span, [("condition", started), ("required", Node::bare(span, true))])
        })
    },
    long: DEPENDENCIES,
});

/// Networks, or how they are joined.
pub(crate) const SERVICE_NETWORKS: Shape = Shape::Short(&Conversion {
    what: "a list or a mapping",
    forms: &[SET],
    lengthen: |node, _, shaper| {
        named(node, shaper, "networks", "a network's name", |item| Node::null(item.span))
    },
    long: NETWORKS,
});

/// Models, or how the service learns of them.
pub(crate) const SERVICE_MODELS: Shape = Shape::Short(&Conversion {
    what: "a list or a mapping",
    forms: &[SET],
    lengthen: |node, _, shaper| named(node, shaper, "models", "a model's name", |item| Node::null(item.span)),
    long: MODELS,
});

/// Env files: a path, or a list of paths and mappings.
pub(crate) const ENV_FILES: Shape = Shape::Short(&Conversion {
    what: "a string or a list",
    forms: &[Shape::Text, TEXTS],
    lengthen: |node, _, _| Some(listed(node)),
    long: Shape::List(&Shape::Short(&Conversion {
        what: "a string or a mapping",
        forms: &[Shape::Text],
        lengthen: |node, _, _| {
            let mut node = keyed(node, "path");
            let span = node.span;
            if let Value::Map(map) = &mut node.value {
                let required = || Entry { key: span, node: Node::bare(span.implied(), true) };
                map.entry("required".to_owned()).or_insert_with(required);
            }
            Some(node)
        },
        long: Shape::Record(&ENV_FILE),
    })),
});

/// Env files as they are printed: the path alone where nothing else is said.
pub(crate) fn shown_env_files(node: &Node) -> Node {
    let items = node.items().iter().map(|item| {
        let required = item.get("required").and_then(Node::bool_value) == Some(true);
        match item.get("path") {
            Some(path) if required => path.clone(),
            _ => item.clone(),
        }
    });
    Node { value: Value::List(items.collect()), ..node.clone() }
}

/// Options of a provider: one without a value is none.
pub(crate) fn shown_options(node: &Node) -> Node {
    let mut node = node.clone();
    if let Value::Map(map) = &mut node.value {
        map.retain(|_, entry| !matches!(&entry.node.value, Value::List(items) if items.is_empty()));
    }
    node
}

/// `external: {name: …}`, as it was written once.
pub(crate) fn external(mut node: Node, _: &str, shaper: &mut Shaper<'_>) -> Option<Node> {
    let Value::Map(map) = &mut node.value else {
        return Some(node);
    };
    let Some(entry) = map.get_mut("external") else {
        return Some(node);
    };
    if entry.node.as_map().is_none() || entry.node.tag != Tag::None {
        return Some(node);
    }
    let key = entry.key;
    let old = std::mem::replace(&mut entry.node, Node::bare(key, true));
    let unknown = old.entries().find(|(key, _)| *key != "name" && !key.starts_with("x-"));
    if let Some((key, entry)) = unknown {
        shaper
            .report
            .error(entry.key, format!("unknown key `{key}`"))
            .label("in `external`")
            .help("write `external: true`");
    }
    let Some(name) = old.as_map().and_then(|map| map.get("name")) else {
        return Some(node);
    };
    shaper
        .report
        .warning(name.key, "`external.name` is an old way to say it")
        .help("write `external: true`, and `name:` beside it");
    match map.get("name") {
        Some(known) if known.node.text_value() != name.node.text_value() => {
            shaper
                .report
                .error(name.node.span, "`external.name` differs from `name`")
                .also(known.node.span, "`name` is here")
                .help("remove `external.name`");
        }
        Some(_) => {}
        None => drop(map.insert("name".to_owned(), name.clone())),
    }
    Some(node)
}

/// A string as a mapping with one key.
pub(crate) fn keyed(node: Node, key: &str) -> Node {
    match &node.value {
        Value::Scalar(_) if !node.is_null() => {
            let inner = Node { tag: Tag::None, ..node.clone() };
            Node { tag: node.tag, ..mapping(node.span, [(key, inner)]) }
        }
        Value::Scalar(_) | Value::List(_) | Value::Map(_) => node,
    }
}

/// A list of names as a mapping.
fn named(
    mut node: Node,
    shaper: &mut Shaper<'_>,
    list: &str,
    expected: &str,
    value: fn(&Node) -> Node,
) -> Option<Node> {
    super::complete::repetitions(&mut node, 0, shaper.report);
    let Value::List(items) = &node.value else {
        return Some(node);
    };
    let mut map = Map::new();
    for item in items {
        if let Some(name) = shaper.item(item, list, expected) {
            map.insert(name, Entry { key: item.span, node: value(item) });
        }
    }
    Some(Node { value: Value::Map(map), ..node })
}

fn device(node: Node, _: &str, shaper: &mut Shaper<'_>) -> Option<Node> {
    let Some(text) = node.text_value() else {
        return Some(node);
    };
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, permissions) = match parts.as_slice() {
        [source] => (*source, "", "rwm"),
        [source, target] => (*source, *target, "rwm"),
        [source, target, permissions] => (*source, *target, *permissions),
        _ => {
            shaper
                .value(&node, format!("`{text}` has too many `:`"))
                .help("write `SOURCE:TARGET:PERMISSIONS`, such as `/dev/ttyUSB0:/dev/ttyUSB0:rw`");
            return None;
        }
    };
    let target = if target.is_empty() { source } else { target };
    let part = |text: &str| Node::text(node.span, text);
    Some(mapping(
        node.span,
        [("source", part(source)), ("target", part(target)), ("permissions", part(permissions))],
    ))
}
