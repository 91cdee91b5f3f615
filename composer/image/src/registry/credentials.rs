//! Credentials as Docker keeps them: in `config.json`, or with a program that it names.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::config::nullable;
use crate::error::{Error, Result};

/// Under which Docker keeps what belongs to its own registry.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";
/// The user under which helpers give tokens out.
const TOKEN: &str = "<token>";

/// A user and their secret.
pub(crate) struct Credentials {
    pub user: String,
    pub secret: String,
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
pub(crate) fn find(path: &Path, registry: &str) -> Result<Option<Credentials>> {
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
    if auth.identitytoken.as_ref().is_some_and(|token| !token.is_empty()) {
        return Err(wrong(
            "an identity token is not supported; log in with a password or an access token".to_owned(),
        ));
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

/// The registry that a key of Docker's stands for: `https://HOST/v1/` is HOST.
fn host(key: &str) -> &str {
    if key == DOCKER_HUB {
        return "docker.io";
    }
    let key = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    match key.split('/').next().unwrap_or(key) {
        "index.docker.io" | "registry-1.docker.io" => "docker.io",
        host => host,
    }
}

/// Asks the program `docker-credential-HELPER`: the registry on its input, JSON on its output.
fn ask(helper: &str, registry: &str) -> Result<Option<Credentials>> {
    let program = PathBuf::from(format!("docker-credential-{helper}"));
    let wrong = |message: String| Error::Credentials {
        registry: registry.to_owned(),
        path: program.clone(),
        message,
    };
    if helper.contains('/') {
        return Err(wrong("a helper is named without a path".to_owned()));
    }
    let mut child = Command::new(&program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| wrong(format!("it cannot be started: {error}")))?;
    if let Some(mut input) = child.stdin.take() {
        let key = if registry == "docker.io" { DOCKER_HUB } else { registry };
        // One that ends without reading says why on its output.
        let _ = input.write_all(key.as_bytes());
    }
    let output = child.wait_with_output().map_err(|error| wrong(error.to_string()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stdout);
        // The protocol has no other way to say that there are none.
        if said.contains("credentials not found") {
            return Ok(None);
        }
        return Err(wrong(format!(
            "it says: {} {}",
            said.trim(),
            String::from_utf8_lossy(&output.stderr).trim()
        )));
    }
    let given: Given = serde_json::from_slice(&output.stdout).map_err(|error| wrong(error.to_string()))?;
    if given.username == TOKEN {
        return Err(wrong(
            "an identity token is not supported; log in with a password or an access token".to_owned(),
        ));
    }
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
        assert_eq!(from("{}", "quay.io").unwrap(), None);
        assert!(find(Path::new("/nowhere/config.json"), "quay.io").unwrap().is_none());
    }

    #[test]
    fn what_cannot_be_read() {
        for (text, says) in [
            ("{", "EOF"),
            (r#"{"auths":{"a.io":{"auth":"!"}}}"#, "base64"),
            (r#"{"auths":{"a.io":{"auth":"YW5u"}}}"#, "base64"),
            (r#"{"auths":{"a.io":{"identitytoken":"x"}}}"#, "identity token"),
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
        assert!(from(text, "docker.io").unwrap_err().to_string().contains("identity token"));
        assert!(from(text, "c.io").unwrap_err().to_string().contains("the keychain is locked"));
    }
}
