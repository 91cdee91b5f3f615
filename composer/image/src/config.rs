//! The configuration of an image: what runs in it and how, and which layers it stands on.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::platform::Platform;

/// What an image says of itself. Of the OCI image configuration what a container is made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Config {
    /// The platform it is made for; `None` where the image does not say.
    pub platform: Option<Platform>,
    /// What a container of it runs.
    pub run: Run,
    /// The layers, unpacked, the lowest first.
    pub diff_ids: Vec<Digest>,
    /// When it was made, as it says.
    pub created: Option<String>,
}

/// What a container of an image runs, under the keys that Docker has given them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Run {
    /// The program and what always follows it.
    #[serde(deserialize_with = "nullable")]
    pub entrypoint: Vec<String>,
    /// What follows the entrypoint unless something else is given.
    #[serde(deserialize_with = "nullable")]
    pub cmd: Vec<String>,
    /// `NAME=VALUE`.
    #[serde(deserialize_with = "nullable")]
    pub env: Vec<String>,
    /// Where the program starts; made where it is not there.
    #[serde(deserialize_with = "nullable")]
    pub working_dir: String,
    /// `USER[:GROUP]`, by name or number.
    #[serde(deserialize_with = "nullable")]
    pub user: String,
    /// Places that are volumes.
    #[serde(deserialize_with = "keys")]
    pub volumes: Vec<String>,
    /// `PORT/PROTOCOL`.
    #[serde(deserialize_with = "keys")]
    pub exposed_ports: Vec<String>,
    /// What the image is labelled with.
    #[serde(deserialize_with = "nullable")]
    pub labels: BTreeMap<String, String>,
    /// The signal that asks the program to end.
    #[serde(deserialize_with = "nullable")]
    pub stop_signal: String,
    /// The shell of `CMD-SHELL`.
    #[serde(deserialize_with = "nullable")]
    pub shell: Vec<String>,
    /// How the image wants its health looked at.
    pub healthcheck: Option<Healthcheck>,
}

/// An image's healthcheck. Durations are in nanoseconds, 0 is the default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Healthcheck {
    /// `["NONE"]`, `["CMD", …]` or `["CMD-SHELL", …]`; empty inherits.
    #[serde(deserialize_with = "nullable")]
    pub test: Vec<String>,
    /// Between two looks.
    pub interval: i64,
    /// After which a look has failed.
    pub timeout: i64,
    /// In which failures do not count.
    pub start_period: i64,
    /// Between two looks in that time.
    pub start_interval: i64,
    /// How many failures in a row make it unhealthy.
    pub retries: i64,
}

/// The document as it is written.
#[derive(Deserialize)]
struct Document {
    #[serde(default, deserialize_with = "nullable")]
    os: String,
    #[serde(default, deserialize_with = "nullable")]
    architecture: String,
    #[serde(default)]
    variant: Option<String>,
    #[serde(default, deserialize_with = "nullable")]
    config: Run,
    rootfs: RootFs,
    #[serde(default)]
    created: Option<String>,
}

#[derive(Deserialize)]
struct RootFs {
    #[serde(default, deserialize_with = "nullable")]
    diff_ids: Vec<Digest>,
}

impl Config {
    pub(crate) fn parse(bytes: &[u8], what: impl FnOnce() -> String) -> Result<Self> {
        let document: Document =
            serde_json::from_slice(bytes).map_err(|error| Error::document(what(), error))?;
        let platform = (!document.os.is_empty() && !document.architecture.is_empty())
            .then(|| Platform::new(&document.os, &document.architecture, document.variant.as_deref()));
        Ok(Self {
            platform,
            run: document.config,
            diff_ids: document.rootfs.diff_ids,
            created: document.created,
        })
    }
}

/// Go writes what is empty as `null`.
pub(crate) fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    reader: D,
) -> std::result::Result<T, D::Error> {
    Ok(Option::deserialize(reader)?.unwrap_or_default())
}

/// A set in Go is a map to nothing.
fn keys<'de, D: Deserializer<'de>>(reader: D) -> std::result::Result<Vec<String>, D::Error> {
    let map: Option<BTreeMap<String, serde::de::IgnoredAny>> = Option::deserialize(reader)?;
    Ok(map.unwrap_or_default().into_keys().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_it_and_nothing_of_it() {
        let hash = "ab".repeat(32);
        let text = format!(
            r#"{{"os":"linux","architecture":"arm64","variant":"v8","created":"2026-01-01T00:00:00Z",
            "config":{{"Entrypoint":["/e"],"Cmd":null,"Env":["A=b"],"WorkingDir":"/w","User":"u:g",
            "Volumes":{{"/data":{{}}}},"ExposedPorts":{{"80/tcp":{{}},"53/udp":{{}}}},"Labels":{{"a":"b"}},
            "StopSignal":"SIGQUIT","Healthcheck":{{"Test":["CMD","true"],"Interval":5000000000,"Retries":3}},
            "OnBuild":null,"ArgsEscaped":true}},
            "rootfs":{{"type":"layers","diff_ids":["sha256:{hash}"]}},"history":[]}}"#
        );
        let config = Config::parse(text.as_bytes(), String::new).unwrap();
        assert_eq!(config.platform, Some(Platform::parse("linux/arm64").unwrap()));
        assert_eq!(config.run.entrypoint, ["/e"]);
        assert_eq!(config.run.cmd, [""; 0]);
        assert_eq!(config.run.volumes, ["/data"]);
        assert_eq!(config.run.exposed_ports, ["53/udp", "80/tcp"]);
        assert_eq!(config.run.stop_signal, "SIGQUIT");
        let check = config.run.healthcheck.unwrap();
        assert_eq!((check.interval, check.retries, check.start_period), (5_000_000_000, 3, 0));
        assert_eq!(config.diff_ids[0].hex(), hash);

        let config = Config::parse(br#"{"config":null,"rootfs":{"diff_ids":null}}"#, String::new).unwrap();
        assert_eq!((config.platform, config.run, config.diff_ids), (None, Run::default(), vec![]));
    }

    #[test]
    fn what_is_no_configuration() {
        for text in ["", "[]", "{}", r#"{"rootfs":{"diff_ids":["sha256:../../x"]}}"#] {
            let error = Config::parse(text.as_bytes(), || "the config".to_owned()).unwrap_err();
            assert!(error.to_string().starts_with("the config cannot be used: "), "{error}");
        }
    }
}
