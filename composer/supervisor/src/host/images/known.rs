//! Which images are here, and which containers stand on them.

use std::path::Path;

use composer_image::{Config, Digest, Image, Reference};
use composer_stack::{self as stack, ImagePlace};

use super::{Registries, store};
use crate::host;
use crate::paths::{self, StackPaths};
use crate::records::ContainerRecord;

/// A container that stands on an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use {
    /// Its stack.
    pub stack: String,
    /// Its name.
    pub container: String,
    /// Its service.
    pub service: String,
    /// Whether it has the image besides its own: mounted, or for a step before its start.
    pub is_beside: bool,
    /// The image, as the file has it.
    pub reference: String,
    /// The digest of its manifest.
    pub digest: String,
    /// The digest of its configuration.
    pub id: String,
    /// `OS/ARCHITECTURE[/VARIANT]`.
    pub platform: String,
}

/// A reference in the parts that Docker shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// `nginx`, `localhost:5000/shop/api`; a place on disk as a whole.
    pub repository: String,
    /// `1.29`.
    pub tag: Option<String>,
    /// `sha256:…`, where the reference has one.
    pub digest: Option<String>,
}

impl Name {
    /// Of a reference, in whatever form; one that is none counts as a repository.
    #[must_use]
    pub fn of(reference: &str) -> Self {
        let whole = |repository: String| Self { repository, tag: None, digest: None };
        match Reference::parse(reference, Path::new("/")) {
            Ok(Reference::Registry(named)) => {
                let familiar = Reference::Registry(named.clone()).familiar();
                let (name, digest) = match familiar.split_once('@') {
                    Some((name, digest)) => (name, Some(digest.to_owned())),
                    None => (familiar.as_str(), None),
                };
                let tag = named.tag().map(str::to_owned);
                let suffix = tag.as_ref().map(|tag| format!(":{tag}")).unwrap_or_default();
                let repository = name.strip_suffix(&suffix).unwrap_or(name).to_owned();
                Self { repository, tag, digest }
            }
            // A place on disk, as it was written.
            Ok(_) | Err(_) => whole(reference.to_owned()),
        }
    }
}

/// Every image that is here whole, by reference and platform.
///
/// # Errors
/// [`host::Error::NotRoot`], and those of the store.
pub fn list() -> Result<Vec<Image>, host::Error> {
    host::root()?;
    Ok(store(Registries::default())?.list()?)
}

/// What the image of a manifest says of itself, and its size, whether or not it has a name still.
///
/// # Errors
/// [`host::Error::NotRoot`], and those of the store.
pub fn of_manifest(digest: &str) -> Result<Option<(Config, u64)>, host::Error> {
    host::root()?;
    Ok(store(Registries::default())?.of_manifest(&Digest::parse(digest)?)?)
}

/// The containers of all stacks that stand on images.
///
/// # Errors
/// [`host::Error::NotRoot`].
pub fn in_use() -> Result<Vec<Use>, host::Error> {
    host::root()?;
    let mut found = Vec::new();
    for stack in paths::stacks() {
        let paths = StackPaths::new(&stack);
        found.extend(ContainerRecord::all(&paths).flat_map(|record| of_container(&stack, &record)));
    }
    found.sort_by(|a, b| (&a.stack, &a.container).cmp(&(&b.stack, &b.container)));
    Ok(found)
}

fn of_container(stack: &str, record: &ContainerRecord) -> Vec<Use> {
    let one = |(place, image): (ImagePlace, &stack::Image)| Use {
        stack: stack.to_owned(),
        container: record.name.clone(),
        service: record.service.name.clone(),
        is_beside: place != ImagePlace::Root,
        reference: image.reference.clone(),
        digest: image.digest.clone(),
        id: image.id.clone(),
        platform: image.platform.clone(),
    };
    record.service.images().into_iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_parts() {
        let hash = format!("sha256:{}", "ab".repeat(32));
        for (text, repository, tag, digest) in [
            ("docker.io/library/nginx:1.29", "nginx", Some("1.29"), None),
            ("nginx", "nginx", Some("latest"), None),
            ("localhost:5000/a/b:c", "localhost:5000/a/b", Some("c"), None),
            (&format!("ghcr.io/a@{hash}"), "ghcr.io/a", None, Some(hash.as_str())),
            (&format!("a:1@{hash}"), "a", Some("1"), Some(hash.as_str())),
            ("oci:/srv/image:v1", "oci:/srv/image:v1", None, None),
            ("oci:./image", "oci:./image", None, None),
        ] {
            let name = Name::of(text);
            assert_eq!(
                (name.repository.as_str(), name.tag.as_deref(), name.digest.as_deref()),
                (repository, tag, digest)
            );
        }
    }
}
