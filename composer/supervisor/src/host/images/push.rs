//! `push`, and one more name for an image.

use std::path::Path;

use composer_image::Reference;

use super::{Error, Event, Registries, Stop, Wanted, at_once, find, store};
use crate::host;

/// An image that is to be pushed to the registry of its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Push {
    /// As it was written.
    pub reference: String,
    /// `OS/ARCHITECTURE[/VARIANT]`; the host's own where absent.
    pub platform: Option<String>,
}

impl Push {
    /// Of an image for a platform.
    #[must_use]
    pub fn new(reference: &str, platform: Option<&str>) -> Self {
        Self { reference: reference.to_owned(), platform: platform.map(str::to_owned) }
    }
}

/// Pushes images, all at once: the digests of their manifests in the registry, in their order. Progress is told with an
/// image's place among them, from several threads. Blocks until all is done or `stop` ends it.
///
/// # Errors
/// Those of opening the store. What is wrong with one image is its own result.
pub fn push(
    pushes: &[Push],
    registries: Registries,
    stop: &Stop,
    progress: &(dyn Fn(usize, Event<'_>) + Sync),
) -> Result<Vec<Result<String, Error>>, host::Error> {
    host::root()?;
    let store = store(registries)?.with_stop(stop.clone());
    Ok(at_once(pushes, |place, push| {
        let wanted = Wanted::parse(&push.reference, push.platform.as_deref(), Path::new("/"))?;
        let digest = store.push(&wanted.reference, &wanted.platform, &|event| progress(place, event))?;
        Ok(digest.to_string())
    }))
}

/// Gives an image one more name. Whatever had the name loses it. Places on disk begin at `folder`.
///
/// # Errors
/// [`host::Error::NoImage`], and when the new name is none of a registry's.
pub fn tag(source: &str, target: &str, folder: &Path) -> Result<(), host::Error> {
    host::root()?;
    let reference = Reference::parse(target, Path::new("/"))?;
    let store = store(Registries::default())?;
    let images = store.list()?;
    let found = find(&images, source, folder);
    if found.is_empty() {
        return Err(host::Error::NoImage { name: source.to_owned() });
    }
    for image in found {
        store.tag(image, &reference)?;
    }
    Ok(())
}
