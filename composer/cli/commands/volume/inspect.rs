//! `compose volume inspect`: what `docker volume inspect` prints.

use composer_supervisor::host::volumes::{self, Shown};
use serde_json::{Value, json};

use super::super::context::Context;
use super::super::filtered::SCOPE;
use super::super::{Error, Result, inspecting};
use super::DRIVER;
use crate::options::VolumeInspect;
use crate::time;

/// What all of Docker's fields are like, in their order.
const EXAMPLE: &str = r#"{
    "CreatedAt": "", "Driver": "", "Labels": {}, "Mountpoint": "", "Name": "", "Options": {}, "Scope": "", "Status": {},
    "UsageData": null, "ClusterVolume": null
}"#;

/// Prints an array of all that are there; the others are named afterwards.
pub fn run(context: &mut Context, verb: &VolumeInspect) -> Result {
    let all = volumes::list()?;
    let found = verb.names.iter().map(|name| {
        let shown = all.iter().find(|shown| shown.volume.name == *name);
        shown.map(document).ok_or_else(|| Error::Usage(format!("volume {name} not found")))
    });
    inspecting::print(context, &verb.format, EXAMPLE, found)
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
