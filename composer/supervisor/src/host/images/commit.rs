//! `commit`: an image of what a container has made of its own.

use std::io::Read;
use std::time::Duration;

use composer_image::{Commit, Digest, Image, Platform, Reference};
use composer_stack::{Healthcheck, MountKind, Rootfs, Service, Test, signal, split_words};
use serde_json::{Map, Value, json};

use super::{Registries, store};
use crate::host;
use crate::paths::StackPaths;
use crate::records::ContainerRecord;

/// An instruction of a Dockerfile that changes what a container of an image runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    key: &'static str,
    values: Vec<(String, Value)>,
}

/// Makes an image of the one that a container stands on and of a layer with what it has changed. The image runs what the
/// container does, where no change says otherwise.
///
/// # Errors
/// [`host::Error::NotRoot`], [`host::Error::StandsOnNone`], and those of the store.
pub fn commit(
    stack: &str,
    container: &str,
    layer: impl Read,
    said: &Commit,
    changes: &[Change],
) -> Result<Image, host::Error> {
    host::root()?;
    let record = ContainerRecord::read(&StackPaths::new(stack).container(container));
    let service = record.map(|record| record.service);
    let Some((service, Rootfs::Image(image))) = service.as_ref().map(|service| (service, &service.rootfs))
    else {
        return Err(host::Error::StandsOnNone { container: container.to_owned() });
    };
    let (base, platform) = (Digest::parse(&image.digest)?, Platform::parse(&image.platform)?);
    let change = |config: &mut Map<String, Value>| {
        as_it_runs(config, service);
        changes.iter().for_each(|change| change.apply(config));
    };
    Ok(store(Registries::default())?.commit(&base, &platform, layer, said, change)?)
}

/// The reference of a new image: of a registry, and by no digest, which only its content gives it.
///
/// # Errors
/// What is wrong with it.
pub fn new_name(text: &str) -> Result<Reference, String> {
    match Reference::parse(text, std::path::Path::new("/")).map_err(|error| error.to_string())? {
        Reference::Registry(named) if named.digest().is_none() => Ok(Reference::Registry(named)),
        _ => Err(format!("`{text}` cannot be the name of a new image: write REPOSITORY[:TAG]")),
    }
}

fn as_it_runs(config: &mut Map<String, Value>, service: &Service) {
    let env: Vec<String> = service.environment.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let words = |words: &Option<Vec<String>>| words.clone().filter(|words| !words.is_empty());
    for (key, value) in [
        ("Env", json!(env)),
        ("Entrypoint", json!(words(&service.entrypoint))),
        ("Cmd", json!(words(&service.command))),
        ("WorkingDir", json!(service.working_dir.as_deref().unwrap_or_default())),
        ("User", json!(service.user.as_deref().unwrap_or_default())),
        ("Labels", json!(service.labels)),
    ] {
        config.insert(key.to_owned(), value);
    }
    if service.stop_signal != signal::TERM || config.contains_key("StopSignal") {
        let named = signal::names().find(|name| signal::parse(name) == Some(service.stop_signal));
        let signal = named.map_or_else(|| service.stop_signal.to_string(), |name| format!("SIG{name}"));
        config.insert("StopSignal".to_owned(), json!(signal));
    }
    if let Some(check) = service.healthcheck.as_ref().and_then(healthcheck) {
        config.insert("Healthcheck".to_owned(), check);
    }
    let places = service.mounts.iter().filter(|mount| mount.kind == MountKind::Anonymous);
    let ports = service
        .expose
        .iter()
        .map(|port| if port.contains('/') { port.clone() } else { format!("{port}/tcp") });
    add(config, "Volumes", places.map(|mount| mount.target.clone()));
    add(config, "ExposedPorts", ports);
}

/// Adds to a set, which is a map to nothing.
fn add(config: &mut Map<String, Value>, key: &str, names: impl Iterator<Item = String>) {
    let mut set = config.get(key).and_then(Value::as_object).cloned().unwrap_or_default();
    set.extend(names.map(|name| (name, json!({}))));
    if !set.is_empty() {
        config.insert(key.to_owned(), Value::Object(set));
    }
}

/// What images can say of it: a probe of ours is none of theirs.
fn healthcheck(check: &Healthcheck) -> Option<Value> {
    let Test::Command(words) = &check.test else { return None };
    let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    Some(json!({
        "Test": std::iter::once("CMD").chain(words.iter().map(String::as_str)).collect::<Vec<_>>(),
        "Interval": nanoseconds(check.interval),
        "Timeout": nanoseconds(check.timeout),
        "StartPeriod": nanoseconds(check.start_period),
        "StartInterval": check.start_interval.map_or(0, nanoseconds),
        "Retries": check.retries,
    }))
}

impl Change {
    /// Reads `INSTRUCTION ARGUMENTS`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (name, rest) = text.trim().split_once(char::is_whitespace).unwrap_or((text.trim(), ""));
        let rest = rest.trim();
        if rest.is_empty() {
            return Err(format!("`{text}` says nothing: write for example `CMD [\"nginx\"]`"));
        }
        let split = || split_words(rest).ok_or_else(|| format!("`{text}` has a quote that does not end"));
        let set = |words: Vec<String>| words.into_iter().map(|word| (word, json!({}))).collect();
        let one = |value: Value| vec![(String::new(), value)];
        let (key, values) = match name.to_uppercase().as_str() {
            "CMD" => ("Cmd", one(json!(program(rest)))),
            "ENTRYPOINT" => ("Entrypoint", one(json!(program(rest)))),
            "USER" => ("User", one(json!(rest))),
            "WORKDIR" => ("WorkingDir", one(json!(rest))),
            "ONBUILD" => ("OnBuild", one(json!(rest))),
            "ENV" => ("Env", pairs(rest, split()?)),
            "LABEL" => ("Labels", pairs(rest, split()?)),
            "VOLUME" => ("Volumes", set(listed(rest).map_or_else(split, Ok)?)),
            "EXPOSE" => {
                let ports = split()?.into_iter();
                let ports = ports.map(|port| if port.contains('/') { port } else { format!("{port}/tcp") });
                ("ExposedPorts", set(ports.collect()))
            }
            _ => {
                let known = "CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, ONBUILD, USER, VOLUME and WORKDIR";
                return Err(format!("`{name}` is no change of an image: {known} are"));
            }
        };
        Ok(Self { key, values })
    }

    fn apply(&self, config: &mut Map<String, Value>) {
        let place = config.entry(self.key).or_insert(Value::Null);
        for (name, value) in &self.values {
            match self.key {
                "Env" => {
                    let mut list = place.as_array().cloned().unwrap_or_default();
                    let begin = format!("{name}=");
                    list.retain(|known| !known.as_str().is_some_and(|known| known.starts_with(&begin)));
                    list.push(json!(format!("{begin}{}", value.as_str().unwrap_or_default())));
                    *place = Value::Array(list);
                }
                "OnBuild" => {
                    let mut list = place.as_array().cloned().unwrap_or_default();
                    list.push(value.clone());
                    *place = Value::Array(list);
                }
                "Labels" | "Volumes" | "ExposedPorts" => {
                    let mut map = place.as_object().cloned().unwrap_or_default();
                    map.insert(name.clone(), value.clone());
                    *place = Value::Object(map);
                }
                _ => *place = value.clone(),
            }
        }
        if self.key == "Entrypoint" {
            // As in a Dockerfile: the command was the old entrypoint's.
            config.insert("Cmd".to_owned(), Value::Null);
        }
    }
}

/// A list in JSON.
fn listed(text: &str) -> Option<Vec<String>> {
    serde_json::from_str(text).ok()
}

/// A list in JSON, or a line for the shell.
fn program(text: &str) -> Vec<String> {
    listed(text).unwrap_or_else(|| ["/bin/sh", "-c", text].map(str::to_owned).to_vec())
}

/// `KEY=VALUE …`, or `KEY VALUE`.
fn pairs(rest: &str, words: Vec<String>) -> Vec<(String, Value)> {
    if words.first().is_some_and(|word| !word.contains('=')) {
        let (key, value) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        return vec![(key.to_owned(), json!(value.trim()))];
    }
    let pair = |word: String| {
        let (key, value) = word.split_once('=').unwrap_or((&word, ""));
        (key.to_owned(), json!(value))
    };
    words.into_iter().map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_as_a_dockerfile_has_them() {
        let mut config = Map::new();
        config.insert("Env".to_owned(), json!(["A=1", "AB=2"]));
        config.insert("Cmd".to_owned(), json!(["old"]));
        for line in [
            "ENTRYPOINT [\"/e\", \"x y\"]",
            "cmd echo  $HOME",
            "ENV A=3 C=\"d e\"",
            "ENV D e f",
            "LABEL a=b",
            "EXPOSE 80 53/udp",
            "VOLUME [\"/a b\"]",
            "VOLUME /c",
            "USER app:more",
            "WORKDIR /w",
            "ONBUILD RUN true",
        ] {
            Change::parse(line).unwrap().apply(&mut config);
        }
        let expected = json!({
            "Entrypoint": ["/e", "x y"],
            "Cmd": ["/bin/sh", "-c", "echo  $HOME"],
            "Env": ["AB=2", "A=3", "C=d e", "D=e f"],
            "Labels": {"a": "b"},
            "ExposedPorts": {"80/tcp": {}, "53/udp": {}},
            "Volumes": {"/a b": {}, "/c": {}},
            "User": "app:more",
            "WorkingDir": "/w",
            "OnBuild": ["RUN true"],
        });
        assert_eq!(Value::Object(config), expected);
        for (line, why) in [("RUN a", "no change"), ("CMD", "says nothing"), ("ENV 'a=b", "quote")] {
            assert!(Change::parse(line).unwrap_err().contains(why), "{line}");
        }
        assert!(new_name("shop/api:1").is_ok() && new_name("oci:/x").is_err() && new_name("A b").is_err());
    }
}
