//! Programs that keep credentials: `docker-credential-HELPER get|store|erase`, with a document on the input and one on the
//! output (docker-credential-helpers).

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::error::{Error, Result};

/// What a helper has said.
pub(super) enum Answer {
    Done(String),
    Refused(String),
}

/// Why a helper is of no help.
pub(super) fn wrong(helper: &str, registry: &str, message: String) -> Error {
    let path = PathBuf::from(format!("docker-credential-{helper}"));
    Error::Credentials { registry: registry.to_owned(), path, message }
}

/// Runs a helper for a registry.
pub(super) fn run(helper: &str, verb: &str, registry: &str, input: &str) -> Result<Answer> {
    let wrong = |message: String| wrong(helper, registry, message);
    if helper.contains('/') {
        return Err(wrong("a helper is named without a path".to_owned()));
    }
    let mut child = Command::new(format!("docker-credential-{helper}"))
        .arg(verb)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| wrong(format!("it cannot be started: {error}")))?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that ends without reading says why on its output.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().map_err(|error| wrong(error.to_string()))?;
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if output.status.success() {
        return Ok(Answer::Done(said));
    }
    let more = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Ok(Answer::Refused(format!("{said} {more}").trim().to_owned()))
}
