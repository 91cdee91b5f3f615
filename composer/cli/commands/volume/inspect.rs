//! `compose volume inspect`: what `docker volume inspect` prints.

use composer_supervisor::host::volumes::{self, Shown};
use serde_json::{Value, json};

use super::super::context::Context;
use super::super::filtered::SCOPE;
use super::super::{Error, Result, doing};
use super::DRIVER;
use crate::options::VolumeInspect;
use crate::time;

/// Prints an array of all that are there; the others are named afterwards.
pub fn run(context: &mut Context, verb: &VolumeInspect) -> Result {
    let all = volumes::list()?;
    let (mut documents, mut missing) = (Vec::new(), Vec::new());
    for name in &verb.names {
        match all.iter().find(|shown| shown.volume.name == *name) {
            Some(shown) => documents.push(document(shown)),
            None => missing.push(name),
        }
    }
    let text = serde_json::to_string_pretty(&documents).map_err(doing("write JSON"))? + "\n";
    context.out.data(text.as_bytes()).map_err(Error::Output)?;
    let told =
        missing.into_iter().map(|name| context.tell(&Error::Usage(format!("volume {name} not found"))));
    Ok(told.last().unwrap_or(0))
}

/// With Docker's keys, where nothing is `null` as there.
fn document(shown: &Shown) -> Value {
    let labels = shown.labels();
    let options = &shown.volume.driver_opts;
    json!({
        "CreatedAt": time::rfc3339(shown.volume.created),
        "Driver": DRIVER,
        "Labels": if labels.is_empty() { Value::Null } else { json!(labels) },
        "Mountpoint": shown.place.display().to_string(),
        "Name": shown.volume.name,
        "Options": if options.is_empty() { Value::Null } else { json!(options) },
        "Scope": SCOPE,
    })
}
