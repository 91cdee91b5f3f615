//! `logging`: drivers and options of Docker's that say how much is kept.

use crate::model::Logging;
use crate::size;
use crate::values;
use crate::yaml::Node;

/// What Docker's `local` keeps by itself.
const LOCAL: (u64, u32) = (20_000_000, 5);

/// Options of `json-file` and `local`. Those beside the first two say how Docker writes a file or names a stream, which
/// changes nothing of what `logs` shows.
pub(crate) const OPTIONS: [&str; 10] = [
    "max-size",
    "max-file",
    "compress",
    "labels",
    "labels-regex",
    "env",
    "env-regex",
    "tag",
    "mode",
    "max-buffer-size",
];

/// Where output goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Driver<'a> {
    /// `json-file`, the default.
    JsonFile,
    /// `local`.
    Local,
    /// `none`.
    Nowhere,
    /// Another, which is not here.
    Other(&'a str),
}

/// The driver of a `logging`.
pub(crate) fn driver(node: &Node) -> Driver<'_> {
    match node.get("driver").and_then(Node::text_value).unwrap_or_default() {
        "" | "json-file" => Driver::JsonFile,
        "local" => Driver::Local,
        "none" => Driver::Nowhere,
        other => Driver::Other(other),
    }
}

/// An option's text; `None` where it is not given or empty.
pub(crate) fn option(node: &Node, name: &str) -> Option<String> {
    node.get("options")?.get(name).and_then(values::scalar).filter(|text| !text.is_empty())
}

/// What `max-size` means: no limit where it is -1; an error where it is no amount.
pub(crate) fn max_size(text: &str) -> Result<Option<u64>, ()> {
    if text == "-1" {
        return Ok(None);
    }
    size::parse_decimal(text).filter(|bytes| *bytes > 0).map(Some).ok_or(())
}

/// What `max-file` means.
pub(crate) fn max_file(text: &str) -> Result<u32, ()> {
    text.parse().ok().filter(|files| *files > 0).ok_or(())
}

/// What is kept.
pub(crate) fn lower(node: &Node) -> Logging {
    let default = match driver(node) {
        Driver::Nowhere => return Logging::Nothing,
        Driver::Local => Some(LOCAL),
        // Kept as if nothing were said: its options are another driver's.
        Driver::Other(_) => return Logging::Whole,
        Driver::JsonFile => None,
    };
    let size = match option(node, "max-size") {
        Some(text) => max_size(&text).ok().flatten(),
        None => default.map(|(size, _)| size),
    };
    let files = option(node, "max-file").and_then(|text| max_file(&text).ok());
    let files = files.or(default.map(|(_, files)| files)).unwrap_or(1);
    size.map_or(Logging::Whole, |max_size| Logging::Rotated { max_size, max_file: files })
}
