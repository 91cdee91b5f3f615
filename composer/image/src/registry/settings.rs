//! What is known of registries before one is asked: which may do without TLS, which have mirrors, where a proxy is.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use serde::Deserialize;

use super::is_loopback;
use crate::config::nullable;
use crate::error::{Error, Result};

/// Docker Hub, the only one that Docker's `registry-mirrors` are of.
const DOCKER_HUB: &str = "docker.io";

/// What is known of registries.
#[derive(Debug, Clone, Default)]
pub struct Registries {
    /// Those (`HOST[:PORT]`, or networks as `10.0.0.0/8`) that may do without TLS or with a certificate that nobody vouches
    /// for. Loopback always may do without TLS.
    pub insecure: Vec<String>,
    /// What is asked before a registry, by the registry.
    pub mirrors: BTreeMap<String, Vec<Mirror>>,
    /// The ways out.
    pub proxies: Proxies,
    /// Docker's `config.json`, which has credentials or says who has them.
    pub docker_config: Option<PathBuf>,
    /// A folder in which `HOST[:PORT]/*.crt` are authorities to be trusted, as Docker's `/etc/docker/certs.d`.
    pub certificates: Option<PathBuf>,
    /// How long a registry may say nothing; 20 seconds where it is not given.
    pub silence: Option<Duration>,
}

/// A registry that has what another has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// `HOST[:PORT]`.
    pub host: String,
    /// Whether it is spoken to without TLS.
    pub http: bool,
}

/// Proxies as the environment names them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    /// For HTTPS: `HTTPS_PROXY`.
    pub https: Option<String>,
    /// For HTTP: `HTTP_PROXY`.
    pub http: Option<String>,
    /// Hosts, domains and networks that are reached without: `NO_PROXY`.
    pub none: Option<String>,
}

/// Docker's daemon.json, and our own file of the same form.
#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case", default)]
struct File {
    #[serde(deserialize_with = "nullable")]
    insecure_registries: Vec<String>,
    /// Of Docker Hub.
    #[serde(deserialize_with = "nullable")]
    registry_mirrors: Vec<String>,
    /// Of any registry; Docker has no such key.
    #[serde(deserialize_with = "nullable")]
    mirrors: BTreeMap<String, Vec<String>>,
}

impl Registries {
    /// Adds what a file says, if there is one: `insecure-registries` and `registry-mirrors` as in Docker's daemon.json, and
    /// `mirrors`, a list for each registry. What has been added first is asked first.
    ///
    /// # Errors
    /// When the file cannot be read or says something impossible.
    pub fn with_file(mut self, path: &Path) -> Result<Self> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(self),
            Err(error) => return Err(Error::file("read", path)(error)),
        };
        let wrong = |message: String| Error::document(format!("`{}`", path.display()), message);
        let file: File = serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
        self.insecure.extend(file.insecure_registries.iter().map(|name| bare(name).to_owned()));
        let hub = (DOCKER_HUB.to_owned(), file.registry_mirrors);
        for (registry, mirrors) in std::iter::once(hub).chain(file.mirrors) {
            let registry = match bare(&registry) {
                "index.docker.io" | "registry-1.docker.io" => DOCKER_HUB.to_owned(),
                registry => registry.to_owned(),
            };
            for mirror in mirrors {
                let mirror = Mirror::parse(&mirror).map_err(wrong)?;
                let known = self.mirrors.entry(registry.clone()).or_default();
                if !known.contains(&mirror) {
                    known.push(mirror);
                }
            }
        }
        Ok(self)
    }

    /// Whether a registry may do without TLS, or with a certificate that nobody vouches for.
    pub(super) fn is_insecure(&self, registry: &str) -> bool {
        if self.insecure.iter().any(|name| name == registry) {
            return true;
        }
        let networks: Vec<IpNet> = self.insecure.iter().filter_map(|name| name.parse().ok()).collect();
        if networks.is_empty() {
            return false;
        }
        let within = |address: IpAddr| networks.iter().any(|network| network.contains(&address));
        let host = host(registry);
        match host.parse() {
            Ok(address) => within(address),
            // As Docker does: by any of its addresses.
            Err(_) => (host, 443).to_socket_addrs().is_ok_and(|mut found| found.any(|at| within(at.ip()))),
        }
    }
}

impl Mirror {
    /// `[http://|https://]HOST[:PORT][/]`.
    fn parse(text: &str) -> std::result::Result<Self, String> {
        let (http, host) = match text.split_once("://") {
            Some(("http", host)) => (true, host),
            Some(("https", host)) => (false, host),
            Some((scheme, _)) => {
                return Err(format!("the mirror `{text}` is reached by `{scheme}`, not HTTPS"));
            }
            None => (is_loopback(text), text),
        };
        let host = host.strip_suffix('/').unwrap_or(host);
        if host.is_empty() || host.contains(['/', '@', '?', '#']) || host.contains(char::is_whitespace) {
            return Err(format!("`{text}` is not a mirror: write `https://HOST[:PORT]`, without a path"));
        }
        Ok(Self { host: host.to_owned(), http })
    }
}

impl Proxies {
    /// From variables, those in capitals first, as Docker reads them.
    #[must_use]
    pub fn from_environment(environment: &BTreeMap<String, String>) -> Self {
        let get = |names: &[&str]| {
            let mut values = names.iter().filter_map(|name| environment.get(*name));
            values.find(|value| !value.is_empty()).cloned()
        };
        Self {
            https: get(&["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]),
            http: get(&["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"]),
            none: get(&["NO_PROXY", "no_proxy"]),
        }
    }

    /// Those for one registry. Loopback has none, as in Go's programs: the proxy's loopback is another.
    pub(super) fn of(&self, registry: &str) -> Self {
        if is_loopback(registry) || self.none.as_deref().is_some_and(|none| none.trim() == "*") {
            // What is set is not used for anything, and not set means what this process finds in its own environment.
            let never = Some("http://127.0.0.1:9".to_owned());
            return Self { https: never.clone(), http: never, none: Some(host(registry).to_owned()) };
        }
        self.clone()
    }
}

/// A registry without a scheme and what follows its name.
fn bare(name: &str) -> &str {
    let name = name.split_once("://").map_or(name, |(_, rest)| rest);
    // A network has a slash too.
    if name.parse::<IpNet>().is_ok() { name } else { name.split('/').next().unwrap_or(name) }
}

/// Without the port.
pub(super) fn host(registry: &str) -> &str {
    match registry.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => registry.split_once(':').map_or(registry, |(host, _)| host),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Scratch;

    fn read(text: &str) -> Result<Registries> {
        let scratch = Scratch::new();
        let path = scratch.path().join("daemon.json");
        fs::write(&path, text).unwrap();
        Registries::default().with_file(&path)
    }

    #[test]
    fn docker_s_file_and_ours() {
        let found = read(
            r#"{"log-level":"info","insecure-registries":["https://a.io/","10.0.0.0/8"],
            "registry-mirrors":["https://m.io/","http://n.io:5000"],"mirrors":{"ghcr.io":["m.io"]}}"#,
        )
        .unwrap();
        let mirror = |host: &str, http| Mirror { host: host.to_owned(), http };
        assert_eq!(found.mirrors["docker.io"], [mirror("m.io", false), mirror("n.io:5000", true)]);
        assert_eq!(found.mirrors["ghcr.io"], [mirror("m.io", false)]);
        assert!(found.is_insecure("a.io") && found.is_insecure("10.1.2.3:5000"));
        assert!(!found.is_insecure("b.io:1") && !found.is_insecure("11.0.0.1"));
        let both = found.with_file(Path::new("/nowhere/registries.json")).unwrap();
        assert_eq!(both.insecure, ["a.io", "10.0.0.0/8"]);
    }

    #[test]
    fn what_cannot_be() {
        for (text, says) in [
            ("{", "EOF"),
            (r#"{"registry-mirrors":["https://m.io/v2/x"]}"#, "without a path"),
            (r#"{"registry-mirrors":["ftp://m.io"]}"#, "`ftp`"),
            (r#"{"registry-mirrors":[""]}"#, "is not a mirror"),
            (r#"{"insecure-registries":"a.io"}"#, "invalid type"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains("daemon.json` cannot be used") && error.contains(says), "{error}");
        }
    }

    #[test]
    fn proxies() {
        let variables =
            [("https_proxy", "http://low"), ("HTTPS_PROXY", "http://p:3128"), ("NO_PROXY", ".b.io")];
        let environment = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let found = Proxies::from_environment(&environment);
        assert_eq!((found.https.as_deref(), found.http.as_deref()), (Some("http://p:3128"), None));
        assert_eq!(found.of("a.io"), found);
        assert_eq!(found.of("localhost:5000").none.as_deref(), Some("localhost"));
    }
}
