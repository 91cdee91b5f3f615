//! What secrets and configs hold. It is read by whoever calls, when the stack is to be run: what a variable or a file of
//! theirs holds is not for the supervisor to find.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::diagnostic::Report;
use crate::environment::Environment;
use crate::hash;
use crate::read;
use crate::yaml::{Entry, Node};

/// The sections at the top level, and what an entry of them is called.
const SECTIONS: [(&str, &str); 2] = [("secrets", "secret"), ("configs", "config")];

/// What a secret or config holds.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content(Form);

/// Text travels as it is; what is none is as many numbers.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
enum Form {
    Text(String),
    Bytes(Vec<u8>),
}

impl Content {
    fn new(bytes: Vec<u8>) -> Self {
        Self(String::from_utf8(bytes).map_or_else(|error| Form::Bytes(error.into_bytes()), Form::Text))
    }

    /// The bytes of the file.
    pub fn bytes(&self) -> &[u8] {
        match &self.0 {
            Form::Text(text) => text.as_bytes(),
            Form::Bytes(bytes) => bytes,
        }
    }
}

/// Nobody's log is to have a secret in it.
impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Content({} bytes)", self.bytes().len())
    }
}

/// What the secrets and configs hold that services get, by section and key; none of a file that is only to be shown.
#[derive(Default)]
pub(crate) struct Contents(BTreeMap<(String, String), (String, Content)>);

impl Contents {
    /// Reads them, and says which cannot be read.
    pub fn read(root: &Node, environment: &Environment, folder: &Path, report: &mut Report) -> Self {
        let mut found = Self::default();
        for (section, kind) in SECTIONS {
            let services = root.get("services").into_iter().flat_map(Node::entries);
            let mounts = services
                .flat_map(|(_, service)| service.node.get(section).map(Node::items).unwrap_or_default());
            for key in mounts.filter_map(|mount| mount.get("source")?.text_value()) {
                let place = (section.to_owned(), key.to_owned());
                let entry = root.get(section).and_then(|all| all.as_map()?.get(key));
                // One that is not defined has been told of.
                let Some(entry) = entry.filter(|_| !found.0.contains_key(&place)) else { continue };
                let bytes = content(kind, key, entry, environment, folder, report).unwrap_or_default();
                let digest =
                    hash::sha256_of(&[section.as_bytes(), b"/", key.as_bytes(), b"\n", &bytes].concat());
                found.0.insert(place, (digest, Content::new(bytes)));
            }
        }
        found
    }

    /// The digest of one.
    pub fn digest(&self, section: &str, key: &str) -> Option<&str> {
        let (digest, _) = self.0.get(&(section.to_owned(), key.to_owned()))?;
        Some(digest)
    }

    /// All of them by digest.
    pub fn into_contents(self) -> BTreeMap<String, Content> {
        self.0.into_values().collect()
    }
}

fn content(
    kind: &str,
    name: &str,
    entry: &Entry,
    environment: &Environment,
    folder: &Path,
    report: &mut Report,
) -> Option<Vec<u8>> {
    let given = |key: &str| {
        let node = entry.node.get(key)?;
        Some((node, node.text_value().filter(|text| !text.is_empty())?))
    };
    if let Some(external) = entry.node.get("external").filter(|node| node.bool_value() == Some(true)) {
        report
            .error(
                external.span,
                format!("the {kind} `{name}` is external, and there is no store that it could be in"),
            )
            .help("give it a `file` or an `environment` in place of `external`");
        return None;
    }
    if let Some((node, file)) = given("file") {
        let path = folder.join(file);
        return match read::bytes(&path) {
            Ok(bytes) => Some(bytes),
            Err(error) => {
                let message = format!("cannot read the {kind} `{name}`, {}: {error}", path.display());
                let found = report.error(node.span, message);
                if path.is_dir() {
                    found.help("mount a folder with `volumes`: `./FOLDER:/run/FOLDER:ro`");
                } else {
                    read::instead(found, &path, &error, "");
                }
                None
            }
        };
    }
    if let Some((node, variable)) = given("environment") {
        return match environment.get(variable) {
            Some(value) => Some(value.as_bytes().to_vec()),
            None => {
                let message = format!("the variable `{variable}` that holds the {kind} `{name}` is not set");
                report
                    .error(node.span, message)
                    .help(format!("set it: `{variable}=… compose up`, or in `.env`"));
                None
            }
        };
    }
    // An empty one is as good as another.
    Some(entry.node.get("content").and_then(Node::text_value).unwrap_or_default().as_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_text_travels_too_and_is_never_shown() {
        for bytes in [&b"hush"[..], b"", b"\xff\x00\xfe"] {
            let content = Content::new(bytes.to_vec());
            let text = serde_json::to_string(&content).unwrap();
            assert_eq!(serde_json::from_str::<Content>(&text).unwrap().bytes(), bytes);
            assert_eq!(format!("{content:?}"), format!("Content({} bytes)", bytes.len()));
        }
    }
}
