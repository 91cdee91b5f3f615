//! `compose config`: what the files mean.

use std::fs;

use composer_stack::Purpose;

use super::context::Context;
use super::{Error, Result, doing};
use crate::options::{Config, ConfigFormat};

/// Checks the files and prints the canonical model, or the names in it.
pub fn run(context: &mut Context, verb: &Config) -> Result {
    let loaded = context.load(Purpose::Config)?;
    if verb.quiet {
        return Ok(0);
    }
    let lines = |names: Vec<String>| names.into_iter().map(|name| name + "\n").collect();
    let text: String = if verb.services {
        lines(loaded.names("services"))
    } else if verb.volumes {
        lines(loaded.names("volumes"))
    } else {
        let written = match verb.format {
            ConfigFormat::Yaml => loaded.to_yaml(),
            ConfigFormat::Json => loaded.to_json(),
        };
        written.map_err(doing("write what the files mean"))?
    };
    match &verb.output {
        Some(path) => fs::write(path, text).map_err(doing(format!("write {}", path.display())))?,
        None => context.out.data(text.as_bytes()).map_err(Error::Output)?,
    }
    Ok(0)
}
