//! `compose image inspect`: what `docker image inspect` prints.

use std::collections::BTreeMap;

use composer_supervisor::host::images::{self, Name, Stored};
use serde_json::{Map, Value, json};

use super::super::context::Context;
use super::super::{Error, Result, doing, inspecting};
use crate::options::ImageInspect;
use crate::time;

/// What all of Docker's fields are like, in their order.
const EXAMPLE: &str = r#"{
    "Id": "", "RepoTags": [], "RepoDigests": [], "Parent": "", "Comment": "", "Created": "", "DockerVersion": "",
    "Author": "",
    "Config": {
        "User": "", "ExposedPorts": {}, "Env": [], "Entrypoint": [], "Cmd": [], "Volumes": {}, "WorkingDir": "",
        "Labels": {}, "StopSignal": "", "ArgsEscaped": false, "Healthcheck": null, "OnBuild": [], "Shell": []
    },
    "Architecture": "", "Variant": "", "Os": "", "OsVersion": "", "Size": 0, "GraphDriver": null,
    "RootFS": { "Type": "", "Layers": [] }, "Metadata": { "LastTagTime": "" }, "Descriptor": null, "Manifests": []
}"#;

/// Prints an array of all that are there; the others are named afterwards.
pub fn run(context: &mut Context, verb: &ImageInspect) -> Result {
    let all = images::list()?;
    let folder = std::env::current_dir().map_err(doing("find the current folder"))?;
    let found = verb.images.iter().map(|name| {
        let found = images::find(&all, name, &folder);
        let image = found.first().ok_or_else(|| Error::Usage(format!("no such image: {name}")))?;
        document(image, &all)
    });
    inspecting::print(context, &verb.format, EXAMPLE, found)
}

/// With Docker's keys.
fn document(image: &Stored, all: &[Stored]) -> Result<Value> {
    let same: Vec<&Stored> = all.iter().filter(|other| other.digest == image.digest).collect();
    let names = same.iter().map(|other| Name::of(&other.reference));
    let tags: Vec<String> =
        names.filter_map(|name| Some(format!("{}:{}", name.repository, name.tag?))).collect();
    let digests: BTreeMap<String, ()> = same
        .iter()
        .map(|other| (format!("{}@{}", Name::of(&other.reference).repository, other.source), ()))
        .collect();
    let platform = image.config.platform.as_ref().unwrap_or(&image.platform).to_string();
    let mut platform = platform.split('/').map(str::to_owned);
    let (os, architecture, variant) = (platform.next(), platform.next(), platform.next());
    let pulled = image.pulled.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let pulled = u64::try_from(pulled.as_nanos()).unwrap_or_default();
    let layers: Vec<String> = image.config.diff_ids.iter().map(ToString::to_string).collect();
    let mut document = json!({
        "Id": image.id.to_string(),
        "RepoTags": tags,
        "RepoDigests": digests.into_keys().collect::<Vec<_>>(),
        "Created": image.config.created,
        "Config": config(image)?,
        "Architecture": architecture,
        "Os": os,
        "Size": image.size,
        "RootFS": { "Type": "layers", "Layers": layers },
        "Metadata": { "LastTagTime": time::with_zone(pulled) },
        "Descriptor": { "digest": image.digest.to_string() },
    });
    if let Some(variant) = variant {
        document["Variant"] = variant.into();
    }
    Ok(document)
}

/// Sets are maps to nothing in Docker's form, and what is empty is not there.
fn config(image: &Stored) -> Result<Value> {
    let mut config = serde_json::to_value(&image.config.run).map_err(doing("write JSON"))?;
    for key in ["Volumes", "ExposedPorts"] {
        let names = config[key].as_array().cloned().unwrap_or_default();
        let names = names.iter().filter_map(Value::as_str);
        config[key] = names.map(|name| (name.to_owned(), json!({}))).collect::<Map<_, _>>().into();
    }
    if let Value::Object(map) = &mut config {
        map.retain(|_, value| match value {
            Value::Null => false,
            Value::String(text) => !text.is_empty(),
            Value::Array(items) => !items.is_empty(),
            Value::Object(entries) => !entries.is_empty(),
            Value::Bool(_) | Value::Number(_) => true,
        });
    }
    Ok(config)
}
