//! What is known of registries, from Docker's files, ours and the caller's environment.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use composer_image::Proxies;

use super::{Error, Registries};

/// Ours: `insecure-registries`, `registry-mirrors` and `mirrors`.
const OWN: &str = "/etc/compose/registries.json";
/// Docker's, of which the first two keys are read.
const DAEMON: &str = "/etc/docker/daemon.json";
/// Authorities of one registry's own, where Docker keeps them.
const CERTIFICATES: &str = "/etc/docker/certs.d";

/// Docker's `config.json` of the caller; `None` where nobody knows where their home is.
pub fn docker_config(environment: &BTreeMap<String, String>, home: Option<&Path>) -> Option<PathBuf> {
    let set = environment.get("DOCKER_CONFIG").filter(|folder| !folder.is_empty()).map(PathBuf::from);
    Some(set.or_else(|| Some(home?.join(".docker")))?.join("config.json"))
}

/// What is known of registries to a caller with this environment and home.
///
/// # Errors
/// When a file is there that cannot be read or understood.
pub fn registries(environment: &BTreeMap<String, String>, home: Option<&Path>) -> Result<Registries, Error> {
    let registries = Registries {
        proxies: Proxies::from_environment(environment),
        docker_config: docker_config(environment, home),
        certificates: Some(CERTIFICATES.into()),
        ..Registries::default()
    };
    registries.with_file(Path::new(OWN))?.with_file(Path::new(DAEMON))
}
