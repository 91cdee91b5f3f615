//! `compose version`.

use composer_supervisor::protocol::VERSION;

use super::context::Context;
use super::{Error, Result};
use crate::options::{Version, VersionFormat};

/// Prints the version.
pub fn run(context: &mut Context, verb: &Version) -> Result {
    let text = match (verb.short, verb.format) {
        (true, _) => VERSION.to_owned(),
        (false, VersionFormat::Pretty) => format!("compose version {VERSION}"),
        (false, VersionFormat::Json) => serde_json::json!({ "version": VERSION }).to_string(),
    };
    context.out.line(&text).map_err(Error::Output)?;
    Ok(0)
}
