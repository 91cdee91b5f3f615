//! `compose config`: what the files mean.

use std::fs;

use composer_stack::{Loaded, Purpose};

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
        lines(names(&loaded, "services"))
    } else if verb.volumes {
        lines(names(&loaded, "volumes"))
    } else {
        match verb.format {
            ConfigFormat::Yaml => ended(loaded.to_yaml()),
            ConfigFormat::Json => ended(loaded.to_json()),
        }
    };
    match &verb.output {
        Some(path) => fs::write(path, text).map_err(doing(format!("write {}", path.display())))?,
        None => context.out.data(text.as_bytes()).map_err(Error::Output)?,
    }
    Ok(0)
}

/// The keys of a part of the model. The canonical model has them all, those of services too that cannot be run.
pub fn names(loaded: &Loaded, part: &str) -> Vec<String> {
    let model: serde_json::Value = serde_json::from_str(&loaded.to_json()).unwrap_or_default();
    let part = model.get(part).and_then(serde_json::Value::as_object);
    part.map(|part| part.keys().cloned().collect()).unwrap_or_default()
}

fn ended(mut text: String) -> String {
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}
