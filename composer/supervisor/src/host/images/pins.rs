//! Names of images that mean the same for ever.

use std::path::Path;

use composer_image::{Reference, digest};

use super::{Error, Registries, at_once};

/// Each name with the digest that it stands for now, in full: `docker.io/library/nginx:1.29@sha256:…`. All are asked for at
/// once; a name that has its digest is only written in full, and one of a place on disk stays what it is.
pub fn pins(names: &[String], registries: &Registries) -> Vec<Result<String, Error>> {
    at_once(names, |_, name| pin(name, registries))
}

fn pin(name: &str, registries: &Registries) -> Result<String, Error> {
    let reference = Reference::parse(name, Path::new("/"))?;
    match &reference {
        Reference::Registry(named) if named.digest().is_some() => Ok(named.to_string()),
        Reference::Registry(named) => {
            let found = digest(&reference, registries)?;
            Ok(found.map_or_else(|| named.to_string(), |digest| named.pinned(digest).to_string()))
        }
        Reference::Id(_) | Reference::Layout(_) | Reference::OciArchive(_) | Reference::DockerArchive(_) => {
            Ok(name.to_owned())
        }
    }
}
