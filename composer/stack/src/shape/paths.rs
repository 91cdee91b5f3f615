//! Paths on the host, and what may stand in their place: URLs, names of images, keys.

use std::path::PathBuf;

use super::forms::listed;
use super::{Conversion, Shaper};
use crate::files::{clean, under_home};
use crate::read::is_remote;
use crate::spec::{Shape, TEXTS};
use crate::yaml::{Entry, Map, Node, Value};

/// A path, or a list of paths.
pub(crate) const PATHS: Shape = Shape::Short(&Conversion {
    what: "a string or a list of strings",
    forms: &[Shape::Text],
    lengthen: |node, _, _| Some(listed(node)),
    long: Shape::Set(&REMOTE_OR_PATH),
});

/// The same for files with labels, of which one may be there twice.
pub(crate) const LABEL_FILES: Shape = Shape::Short(&Conversion {
    what: "a string or a list of strings",
    forms: &[Shape::Text],
    lengthen: |node, _, _| Some(listed(node)),
    long: Shape::List(&Shape::Path),
});

/// A path, or the URL of a repository or an artifact.
const REMOTE_OR_PATH: Shape = Shape::Short(&Conversion {
    what: "a string",
    forms: &[],
    lengthen: |node, _, shaper| {
        Some(resolved(node, |text| if is_remote(text) { text.to_owned() } else { shaper.path(text) }))
    },
    long: Shape::Text,
});

/// The file that a service is taken from.
pub(crate) const EXTENDS_FILE: Shape = REMOTE_OR_PATH;

/// The folder where an included file's paths begin.
pub(crate) const PROJECT_DIRECTORY: Shape = Shape::Path;

/// A build context: a folder, a URL, `service:NAME`, `docker-image://NAME`.
pub(crate) const CONTEXT: Shape = REMOTE_OR_SERVICE;

const REMOTE_OR_SERVICE: Shape = Shape::Short(&Conversion {
    what: "a string",
    forms: &[],
    lengthen: |node, _, shaper| {
        Some(resolved(node, |text| {
            let kept = is_remote(text) || text.starts_with("service:");
            if kept { text.to_owned() } else { shaper.path(text) }
        }))
    },
    long: Shape::Text,
});

/// Contexts by name.
pub(crate) const CONTEXTS: Shape = Shape::Short(&Conversion {
    what: "a mapping or a list of `NAME=context`",
    forms: &[TEXTS],
    lengthen: contexts,
    long: Shape::Map(&REMOTE_OR_SERVICE),
});

/// A path that a container sees: one of Windows stays as it is.
pub(crate) const MOUNT_PATH: Shape = Shape::Short(&Conversion {
    what: "a string",
    forms: &[],
    lengthen: |node, _, shaper| Some(resolved(node, |text| shaper.mount_path(text))),
    long: Shape::Text,
});

/// A path that is watched.
pub(crate) const WATCH_PATH: Shape = Shape::Short(&Conversion {
    what: "a string",
    forms: &[],
    lengthen: |node, _, shaper| {
        if node.text_value() == Some("") {
            shaper.value(&node, "`path` is empty").help("write the path of a file or folder");
            return None;
        }
        Some(resolved(node, |text| shaper.path(text)))
    },
    long: Shape::Text,
});

/// SSH sockets and keys by name.
pub(crate) const SSH: Shape = Shape::Short(&Conversion {
    what: "a mapping or a list of `ID=path`",
    forms: &[TEXTS],
    lengthen: ssh,
    long: Shape::Map(&Shape::ScalarOrNull),
});

/// The host's own programs, or a root folder.
pub(crate) const ROOTFS: Shape = Shape::Short(&Conversion {
    what: "a string",
    forms: &[],
    lengthen: |node, _, shaper| {
        if node.text_value() == Some("") {
            shaper.value(&node, "`x-rootfs` is empty").help("write `host`, or the path of a root folder");
            return None;
        }
        Some(resolved(node, |text| if text == "host" { text.to_owned() } else { shaper.path(text) }))
    },
    long: Shape::Text,
});

impl Shaper<'_> {
    /// A host path: `~` is the home directory, other relative paths begin at the folder.
    pub fn path(&self, text: &str) -> String {
        if text.is_empty() { String::new() } else { self.absolute(text) }
    }

    /// The same for what is mounted: nothing at all is the folder itself.
    pub fn mount_path(&self, text: &str) -> String {
        if is_windows(text) { text.to_owned() } else { self.absolute(text) }
    }

    fn absolute(&self, text: &str) -> String {
        if !self.resolve_paths {
            return text.to_owned();
        }
        let path = match under_home(text, self.home) {
            Some(path) => path,
            None if text.starts_with('/') => PathBuf::from(text),
            None => clean(&self.folder.join(text)),
        };
        // Relative to the folder itself.
        if path.as_os_str().is_empty() { ".".to_owned() } else { path.display().to_string() }
    }
}

/// A scalar with another text; anything else as it is.
pub(super) fn resolved(mut node: Node, resolve: impl FnOnce(&str) -> String) -> Node {
    if let Some(text) = node.text_value() {
        let text = resolve(text);
        if let Value::Scalar(scalar) = &mut node.value {
            scalar.text = text;
            scalar.plain = false;
        }
    }
    node
}

/// A drive (`C:\\x`), or a share (`\\\\host\\share`).
fn is_windows(text: &str) -> bool {
    let bytes = text.as_bytes();
    let separator = |at: usize| matches!(bytes.get(at), Some(b'\\' | b'/'));
    (bytes.get(1) == Some(&b':') && separator(2)) || (text.starts_with('\\') && separator(1))
}

fn contexts(node: Node, _: &str, shaper: &mut Shaper<'_>) -> Option<Node> {
    let Value::List(items) = &node.value else {
        return Some(node);
    };
    let mut map = Map::new();
    for item in items {
        let text = shaper.item(item, "additional_contexts", "a string")?;
        let Some((name, context)) = text.split_once('=') else {
            shaper
                .value(item, format!("`{text}` has no `=`"))
                .help("write `NAME=context`, such as `base=../base`");
            return None;
        };
        map.insert(name.to_owned(), Entry { key: item.span, node: Node::text(item.span, context) });
    }
    Some(Node { value: Value::Map(map), ..node })
}

fn ssh(mut node: Node, _: &str, shaper: &mut Shaper<'_>) -> Option<Node> {
    super::complete::repetitions(&mut node, 0, shaper.report);
    let mut map = Map::new();
    match &node.value {
        Value::Map(given) => {
            for (id, entry) in given {
                let node = resolved(entry.node.clone(), |text| shaper.mount_path(text));
                map.insert(id.clone(), Entry { key: entry.key, node });
            }
        }
        Value::List(items) => {
            for item in items {
                let text = shaper.item(item, "ssh", "a string")?;
                let (id, value) = match text.split_once('=') {
                    Some((id, path)) => (id, Node::text(item.span, shaper.mount_path(path))),
                    None if text == "default" => (text.as_str(), Node::null(item.span)),
                    None => {
                        shaper
                            .value(item, format!("`{text}` is not an SSH key"))
                            .help("write `default`, or `ID=path` with the path of a socket or a key");
                        return None;
                    }
                };
                map.insert(id.to_owned(), Entry { key: item.span, node: value });
            }
        }
        Value::Scalar(_) => return Some(node),
    }
    Some(Node { value: Value::Map(map), ..node })
}

/// SSH keys as they can be read again: `default`, `ID=path`.
pub(crate) fn shown_ssh(node: &Node) -> Node {
    let mut items: Vec<(&String, Node)> = node
        .entries()
        .map(|(id, entry)| {
            let text = match entry.node.text_value() {
                Some(path) if !path.is_empty() => format!("{id}={path}"),
                _ => id.clone(),
            };
            (id, Node::text(entry.node.span, text))
        })
        .collect();
    items.sort_by_key(|(id, _)| *id);
    Node { value: Value::List(items.into_iter().map(|(_, item)| item).collect()), ..node.clone() }
}
