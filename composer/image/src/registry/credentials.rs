//! Credentials as Docker keeps them: in `config.json`, or with a program that it names.

mod helper;
mod keep;

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::config::nullable;
use crate::error::{Error, Result};
use helper::Answer;
pub use keep::{Kept, Owner};
pub(super) use keep::{forget, keep};

/// Under which Docker keeps what belongs to its own registry.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";
/// The user under which helpers give identity tokens out.
const TOKEN: &str = "<token>";

/// A user and their secret.
#[derive(Clone)]
pub(super) struct Credentials {
    pub user: String,
    pub secret: String,
}

impl Credentials {
    /// Those that an identity token is.
    pub fn of_identity(secret: String) -> Self {
        Self { user: TOKEN.to_owned(), secret }
    }

    /// The identity token that it is, if it is one.
    pub fn identity(&self) -> Option<&str> {
        (self.user == TOKEN).then_some(self.secret.as_str())
    }
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct File {
    #[serde(deserialize_with = "nullable")]
    auths: BTreeMap<String, Auth>,
    #[serde(deserialize_with = "nullable")]
    creds_store: String,
    #[serde(deserialize_with = "nullable")]
    cred_helpers: BTreeMap<String, String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Auth {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
}

/// What a helper answers.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Given {
    username: String,
    secret: String,
}

/// The credentials for a registry, if there are any.
pub(super) fn find(path: &Path, registry: &str) -> Result<Option<Credentials>> {
    let wrong = |message: String| Error::Credentials {
        registry: registry.to_owned(),
        path: path.to_owned(),
        message,
    };
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(wrong(error.to_string())),
    };
    let file: File = serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
    let helper = file.cred_helpers.iter().find(|(key, _)| host(key) == registry).map(|(_, helper)| helper);
    if let Some(helper) = helper.or(Some(&file.creds_store)).filter(|helper| !helper.is_empty())
        && let Some(found) = ask(helper, registry)?
    {
        return Ok(Some(found));
    }
    let Some((_, auth)) = file.auths.iter().find(|(key, _)| host(key) == registry) else {
        return Ok(None);
    };
    if let Some(token) = auth.identitytoken.as_ref().filter(|token| !token.is_empty()) {
        return Ok(Some(Credentials { user: TOKEN.to_owned(), secret: token.clone() }));
    }
    if let (Some(user), Some(secret)) = (&auth.username, &auth.password) {
        return Ok(Some(Credentials { user: user.clone(), secret: secret.clone() }));
    }
    let Some(encoded) = auth.auth.as_ref().filter(|auth| !auth.is_empty()) else {
        return Ok(None);
    };
    let decoded = STANDARD.decode(encoded).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    match decoded.as_deref().and_then(|text| text.split_once(':')) {
        Some((user, secret)) => {
            Ok(Some(Credentials { user: user.to_owned(), secret: secret.trim_end_matches('\0').to_owned() }))
        }
        None => Err(wrong("its `auth` is not USER:PASSWORD in base64".to_owned())),
    }
}

/// Under which key of Docker's a registry is.
fn key(registry: &str) -> &str {
    if registry == "docker.io" { DOCKER_HUB } else { registry }
}

/// The registry that a key of Docker's stands for: `https://HOST/v1/` is HOST.
pub(super) fn host(key: &str) -> &str {
    if key == DOCKER_HUB {
        return "docker.io";
    }
    let key = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    match key.split('/').next().unwrap_or(key) {
        "index.docker.io" | "registry-1.docker.io" => "docker.io",
        host => host,
    }
}

/// Asks a helper.
fn ask(helper: &str, registry: &str) -> Result<Option<Credentials>> {
    let said = match helper::run(helper, "get", registry, key(registry))? {
        Answer::Done(said) => said,
        // The protocol has no other way to say that there are none.
        Answer::Refused(said) if said.contains("credentials not found") => return Ok(None),
        Answer::Refused(said) => return Err(helper::wrong(helper, registry, format!("it says: {said}"))),
    };
    let wrong = |message: String| helper::wrong(helper, registry, message);
    let given: Given = serde_json::from_str(&said).map_err(|error| wrong(error.to_string()))?;
    Ok(Some(Credentials { user: given.username, secret: given.secret }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Scratch;

    const HELPED: &str = "COMPOSER_IMAGE_TEST_HELPED";

    fn from(text: &str, registry: &str) -> Result<Option<(String, String)>> {
        let scratch = Scratch::new();
        let path = scratch.path().join("config.json");
        std::fs::write(&path, text).unwrap();
        Ok(find(&path, registry)?.map(|found| (found.user, found.secret)))
    }

    #[test]
    fn docker_s_file() {
        // ann:a:secret
        let text = r#"{"auths":{"https://index.docker.io/v1/":{"auth":"YW5uOmE6c2VjcmV0"},
            "http://localhost:5000":{"username":"bob","password":"b"},"ghcr.io":{}},"credsStore":null}"#;
        let pair = |user: &str, secret: &str| Some((user.to_owned(), secret.to_owned()));
        assert_eq!(from(text, "docker.io").unwrap(), pair("ann", "a:secret"));
        assert_eq!(from(text, "localhost:5000").unwrap(), pair("bob", "b"));
        assert_eq!(from(text, "ghcr.io").unwrap(), None);
        assert_eq!(from(text, "quay.io").unwrap(), None);
        let text = r#"{"auths":{"a.io":{"auth":"YW5uOnNlY3JldA==","identitytoken":"x"}}}"#;
        assert_eq!(from(text, "a.io").unwrap(), pair(TOKEN, "x"), "the token counts, as with Docker");
        assert_eq!(from("{}", "quay.io").unwrap(), None);
        assert!(find(Path::new("/nowhere/config.json"), "quay.io").unwrap().is_none());
    }

    #[test]
    fn what_cannot_be_read() {
        for (text, says) in [
            ("{", "EOF"),
            (r#"{"auths":{"a.io":{"auth":"!"}}}"#, "base64"),
            (r#"{"auths":{"a.io":{"auth":"YW5u"}}}"#, "base64"),
            (r#"{"credHelpers":{"a.io":"../../bin/sh"}}"#, "without a path"),
            (r#"{"credHelpers":{"a.io":"that-nobody-has"}}"#, "cannot be started"),
        ] {
            let error = from(text, "a.io").unwrap_err().to_string();
            assert!(error.contains("credentials of a.io") && error.contains(says), "{error}");
        }
    }

    /// What a helper is asked and answers.
    #[test]
    fn a_helper() {
        // A helper is looked for where the process's environment says, so this test is once more another process.
        if std::env::var_os(HELPED).is_some() {
            return helped();
        }
        use std::os::unix::fs::PermissionsExt;
        let scratch = Scratch::new();
        let program = scratch.path().join("docker-credential-test");
        let script = r#"#!/bin/sh
read -r registry
case "$1 $registry" in
"get a.io") echo '{"ServerURL":"a.io","Username":"ann","Secret":"s"}' ;;
"get https://index.docker.io/v1/") echo '{"Username":"<token>","Secret":"s"}' ;;
"store {"*) echo "$registry" > "$STORED" ;;
"erase a.io") : > "$STORED" ;;
"get b.io") echo "credentials not found in native keychain"; exit 1 ;;
*) echo "the keychain is locked"; exit 1 ;;
esac
"#;
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
        let run = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "registry::credentials::tests::a_helper"])
            .env("PATH", scratch.path())
            .env(HELPED, "1")
            .env("STORED", scratch.path().join("stored"))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&run.stdout);
        assert!(run.status.success() && said.contains("1 passed"), "{said}");
    }

    /// With a helper in the PATH.
    fn helped() {
        let text = r#"{"credsStore":"test","auths":{"b.io":{"username":"bob","password":"b"}}}"#;
        let pair = |user: &str, secret: &str| Some((user.to_owned(), secret.to_owned()));
        assert_eq!(from(text, "a.io").unwrap(), pair("ann", "s"));
        assert_eq!(from(text, "b.io").unwrap(), pair("bob", "b"), "the file has what the helper has not");
        let own = text.replace("credsStore", "credHelpers").replace("\"test\"", r#"{"a.io":"test"}"#);
        assert_eq!(from(&own, "a.io").unwrap(), pair("ann", "s"));
        assert_eq!(from(text, "docker.io").unwrap(), pair(TOKEN, "s"));
        let scratch = Scratch::new();
        let path = scratch.path().join("config.json");
        std::fs::write(&path, r#"{"credsStore":"test"}"#).unwrap();
        let ann = Credentials { user: "ann".to_owned(), secret: "s".to_owned() };
        assert_eq!(keep(&path, "a.io", &ann, None).unwrap(), Kept::Helper("test".to_owned()));
        let stored = std::env::var_os("STORED").unwrap();
        let told = std::fs::read_to_string(&stored).unwrap();
        assert_eq!(told.trim(), r#"{"Secret":"s","ServerURL":"a.io","Username":"ann"}"#);
        assert!(!std::fs::read_to_string(&path).unwrap().contains("\"auth\""), "the secret is the helper's");
        assert!(forget(&path, "a.io", None).unwrap() && std::fs::read(&stored).unwrap().is_empty());
        assert!(from(text, "c.io").unwrap_err().to_string().contains("the keychain is locked"));
    }
}
