//! Removing images: by name, or all that no container stands on.

use std::path::Path;

use composer_image::{Digest, Image, Reference, Store};

use super::known::{self, Name, Use};
use super::{Registries, store};
use crate::host;

/// The fewest digits that stand for an image.
const SHORTEST_ID: usize = 4;

/// What has been removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gone {
    /// Names, as one would type them.
    pub references: Vec<String>,
    /// Images that have no name any more and that no container stands on.
    pub ids: Vec<String>,
    /// How much their files held.
    pub bytes: u64,
}

/// Removes an image by its name or by the beginning of its id. One that containers stand on is refused, but where only a
/// name of several goes, or `force` says that the name alone is to go. Places on disk begin at `folder`.
///
/// # Errors
/// [`host::Error::Removal`], and those of the store.
pub fn remove(name: &str, folder: &Path, force: bool) -> Result<Gone, host::Error> {
    host::root()?;
    let refused = |why: String| host::Error::Removal { name: name.to_owned(), why };
    let store = store(Registries::default())?;
    let images = store.list()?;
    let found = find(&images, name, folder);
    if found.is_empty() {
        return Err(host::Error::NoImage { name: name.to_owned() });
    }
    let mut ids: Vec<&Digest> = found.iter().map(|image| &image.id).collect();
    ids.sort();
    ids.dedup();
    if ids.len() > 1 && !is_named(&found, name, folder) {
        return Err(refused(format!("{} images begin with it", ids.len())));
    }
    let uses = known::in_use()?;
    for image in &found {
        let of_image: Vec<&Use> =
            uses.iter().filter(|used| used.digest == image.digest.to_string()).collect();
        let stays = images.iter().any(|other| {
            other.digest == image.digest && !found.iter().any(|goes| goes.reference == other.reference)
        });
        if let (false, false, [first, rest @ ..]) = (force, stays, of_image.as_slice()) {
            let more = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
            let (container, stack) = (&first.container, &first.stack);
            return Err(refused(format!("container {container} of stack {stack}{more} stands on it")));
        }
    }
    let mut gone = Gone::default();
    for image in &found {
        let freed = store.remove(&reference(image)?, &image.platform, used)?;
        gone.references.extend(freed.references);
        gone.bytes += freed.bytes;
    }
    gone.of(&store, &images)
}

/// Removes what no name leads to; with `all`, every image too that no container stands on and that `goes` agrees to.
///
/// # Errors
/// [`host::Error::NotRoot`], and those of the store.
pub fn prune(all: bool, goes: &dyn Fn(&Image) -> bool) -> Result<Gone, host::Error> {
    host::root()?;
    let store = store(Registries::default())?;
    let images = store.list()?;
    let freed = store.prune_where(used, &|image| all && goes(image))?;
    Gone { references: freed.references, ids: Vec::new(), bytes: freed.bytes }.of(&store, &images)
}

impl Gone {
    /// With the ids that were there before and are not now.
    fn of(mut self, store: &Store, before: &[Image]) -> Result<Self, host::Error> {
        let after = store.list()?;
        let uses = known::in_use()?;
        let mut ids: Vec<String> = before
            .iter()
            .filter(|image| !after.iter().any(|other| other.id == image.id))
            .map(|image| image.id.to_string())
            .filter(|id| !uses.iter().any(|used| used.id == *id))
            .collect();
        ids.sort();
        ids.dedup();
        self.ids = ids;
        for name in &mut self.references {
            let parts = Name::of(name);
            let tag = parts.tag.map(|tag| format!(":{tag}")).unwrap_or_default();
            let digest = parts.digest.map(|digest| format!("@{digest}")).unwrap_or_default();
            *name = format!("{}{tag}{digest}", parts.repository);
        }
        self.references.dedup();
        Ok(self)
    }
}

/// The images of a name on all platforms; where there are none, those whose id begins so. Places on disk begin at `folder`.
#[must_use]
pub fn find<'a>(images: &'a [Image], name: &str, folder: &Path) -> Vec<&'a Image> {
    let named: Vec<&Image> = images.iter().filter(|image| is_of(image, name, folder)).collect();
    if !named.is_empty() {
        return named;
    }
    let digits = name.strip_prefix("sha256:").unwrap_or(name);
    if digits.len() < SHORTEST_ID {
        return Vec::new();
    }
    images.iter().filter(|image| image.id.hex().starts_with(digits)).collect()
}

fn is_named(found: &[&Image], name: &str, folder: &Path) -> bool {
    found.iter().any(|image| is_of(image, name, folder))
}

fn is_of(image: &Image, name: &str, folder: &Path) -> bool {
    Reference::parse(name, folder).is_ok_and(|wanted| wanted.to_string() == image.reference)
}

fn reference(image: &Image) -> Result<Reference, host::Error> {
    Ok(Reference::parse(&image.reference, Path::new("/"))?)
}

/// The manifests of the images that containers stand on in this moment.
fn used() -> Result<Vec<Digest>, host::Error> {
    Ok(known::in_use()?.iter().map(|used| Digest::parse(&used.digest)).collect::<Result<_, _>>()?)
}
