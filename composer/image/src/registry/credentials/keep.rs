//! Keeping credentials where Docker keeps them: with a helper, or in `config.json` for nobody else to read.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, chown, fchown};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::helper::{self, Answer};
use super::{Credentials, host, key};
use crate::error::{Error, Result};

/// User and group to whom what is written is to belong.
pub type Owner = (u32, u32);

/// Where credentials have been put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// In this file, encoded and not encrypted.
    File(PathBuf),
    /// With this helper.
    Helper(String),
}

/// Puts credentials where the next pull finds them.
pub(in super::super) fn keep(
    path: &Path,
    registry: &str,
    credentials: &Credentials,
    owner: Option<Owner>,
) -> Result<Kept> {
    let mut config = read(path, registry)?;
    let (kept, entry) = match helper_of(&config, registry) {
        Some(helper) => {
            let (user, secret) = (&credentials.user, &credentials.secret);
            let document = json!({ "ServerURL": key(registry), "Username": user, "Secret": secret });
            if let Answer::Refused(said) = helper::run(&helper, "store", registry, &document.to_string())? {
                return Err(helper::wrong(&helper, registry, format!("it says: {said}")));
            }
            (Kept::Helper(helper), json!({}))
        }
        None => {
            let entry = match credentials.identity() {
                Some(token) => json!({ "identitytoken": token }),
                None => {
                    let auth = STANDARD.encode(format!("{}:{}", credentials.user, credentials.secret));
                    json!({ "auth": auth })
                }
            };
            (Kept::File(path.to_owned()), entry)
        }
    };
    let auths = config.entry("auths").or_insert_with(|| json!({}));
    match auths {
        Value::Object(auths) => {
            auths.retain(|name, _| host(name) != registry);
            auths.insert(key(registry).to_owned(), entry);
        }
        other => *other = json!({ key(registry): entry }),
    }
    write(path, &config, owner).map_err(Error::file("write", path))?;
    Ok(kept)
}

/// Takes credentials away; whether there were any.
pub(in super::super) fn forget(path: &Path, registry: &str, owner: Option<Owner>) -> Result<bool> {
    let mut config = read(path, registry)?;
    let mut found = false;
    if let Some(helper) = helper_of(&config, registry) {
        match helper::run(&helper, "erase", registry, key(registry))? {
            Answer::Done(_) => found = true,
            Answer::Refused(said) if said.contains("credentials not found") => {}
            Answer::Refused(said) => {
                return Err(helper::wrong(&helper, registry, format!("it says: {said}")));
            }
        }
    }
    if let Some(Value::Object(auths)) = config.get_mut("auths") {
        let before = auths.len();
        auths.retain(|name, _| host(name) != registry);
        if auths.len() < before {
            found = true;
            write(path, &config, owner).map_err(Error::file("write", path))?;
        }
    }
    Ok(found)
}

/// What is there, with all that others have written.
fn read(path: &Path, registry: &str) -> Result<Map<String, Value>> {
    let wrong = |message: String| Error::Credentials {
        registry: registry.to_owned(),
        path: path.to_owned(),
        message,
    };
    match fs::read(path) {
        Ok(bytes) if bytes.trim_ascii().is_empty() => Ok(Map::new()),
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Map::new()),
        Err(error) => Err(wrong(error.to_string())),
    }
}

/// The helper that keeps the credentials of a registry.
fn helper_of(config: &Map<String, Value>, registry: &str) -> Option<String> {
    let own = config.get("credHelpers").and_then(Value::as_object).into_iter().flatten();
    let own = own.filter(|(name, _)| host(name) == registry).map(|(_, helper)| helper).next();
    let helper = own.or_else(|| config.get("credsStore")).and_then(Value::as_str)?;
    (!helper.is_empty()).then(|| helper.to_owned())
}

/// As Docker writes it, whole or not at all.
fn write(path: &Path, config: &Map<String, Value>, owner: Option<Owner>) -> io::Result<()> {
    // A link stays one.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let folder = target.parent().unwrap_or(Path::new("/"));
    if !folder.is_dir() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        if let Some((user, group)) = owner {
            chown(folder, Some(user), Some(group))?;
        }
    }
    let mut text = Vec::new();
    let indent = serde_json::ser::PrettyFormatter::with_indent(b"\t");
    let mut writer = serde_json::Serializer::with_formatter(&mut text, indent);
    serde::Serialize::serialize(config, &mut writer)?;
    let new = folder.join(format!(".config.json.{}", std::process::id()));
    let written = (|| {
        let mut file: File = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        let there = fs::metadata(&target).ok().map(|there| (there.uid(), there.gid()));
        if let Some((user, group)) = there.or(owner) {
            fchown(&file, Some(user), Some(group))?;
        }
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(&new, &target)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::super::find;
    use super::*;
    use crate::testing::Scratch;

    fn of(user: &str) -> Credentials {
        Credentials { user: user.to_owned(), secret: "s:1".to_owned() }
    }

    #[test]
    fn what_is_kept_is_found_and_forgotten() {
        let scratch = Scratch::new();
        let path = scratch.path().join("new/config.json");
        for registry in ["docker.io", "localhost:5000"] {
            assert!(!forget(&path, registry, None).unwrap());
            assert_eq!(keep(&path, registry, &of("ann"), None).unwrap(), Kept::File(path.clone()));
            let found = find(&path, registry).unwrap().unwrap();
            assert_eq!((found.user.as_str(), found.secret.as_str()), ("ann", "s:1"));
        }
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let folder = fs::metadata(path.parent().unwrap()).unwrap();
        assert_eq!(folder.permissions().mode() & 0o777, 0o700);
        assert!(fs::read_to_string(&path).unwrap().contains("\"https://index.docker.io/v1/\": {"));
        assert!(forget(&path, "docker.io", None).unwrap());
        assert!(find(&path, "docker.io").unwrap().is_none());
        assert!(find(&path, "localhost:5000").unwrap().is_some());
    }

    #[test]
    fn what_others_have_written_stays() {
        let scratch = Scratch::new();
        let path = scratch.path().join("config.json");
        fs::write(&path, r#"{"auths":{"https://a.io/v1/":{"auth":"x"}},"detachKeys":"ctrl-x","proxies":{}}"#)
            .unwrap();
        chown(&path, Some(1000), Some(1000)).unwrap();
        let link = scratch.path().join("link.json");
        std::os::unix::fs::symlink("config.json", &link).unwrap();
        keep(&link, "a.io", &of("bob"), Some((5, 5))).unwrap();
        let text: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        assert_eq!(text["detachKeys"], "ctrl-x");
        assert_eq!(text["auths"], json!({ "a.io": { "auth": STANDARD.encode("bob:s:1") } }));
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::metadata(&path).unwrap().uid(), 1000);
        // A file that is wrong is not written over.
        fs::write(&path, "{").unwrap();
        let error = keep(&path, "a.io", &of("bob"), None).unwrap_err().to_string();
        assert!(error.contains("credentials of a.io") && fs::read(&path).unwrap() == b"{", "{error}");
    }
}
