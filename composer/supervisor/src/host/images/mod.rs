//! The images of this host: one store, which all stacks share.

mod apply;
mod commit;
mod known;
mod pins;
mod pull;
mod push;
mod registries;
mod removal;
mod resolve;

use std::path::Path;

use composer_image::{Hold, Image, Platform, Policy, Reference, Store};

pub use commit::{Change, commit, new_name};
pub use composer_image::{
    Commit, Error, Event, Image as Stored, Kept, Policy as PullPolicy, Registries, Stop,
};
pub use known::{Name, Use, in_use, list, of_manifest};
pub use pins::pins;
pub use pull::{Pull, pull};
pub use push::{Push, push, tag};
pub use registries::registries;
pub use removal::{Gone, find, prune, remove};
pub use resolve::{Choice, Failed, Looked};

use crate::paths;

/// An image that is asked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Wanted {
    /// Where it comes from.
    pub reference: Reference,
    /// What it is to run on.
    pub platform: Platform,
}

impl Wanted {
    /// As it is written in files and on command lines; places on disk begin at `folder`. Without a platform it is the host's
    /// own.
    fn parse(reference: &str, platform: Option<&str>, folder: &Path) -> Result<Self, Error> {
        let platform = platform.map_or_else(|| Ok(Platform::host()), Platform::parse)?;
        Ok(Self { reference: Reference::parse(reference, folder)?, platform })
    }
}

impl Wanted {
    /// An error that is about the store, with the image for which it was looked at.
    fn named(&self, error: Error) -> Error {
        match error {
            Error::File { .. } => Error::Pull { image: self.reference.familiar(), source: Box::new(error) },
            error => error,
        }
    }
}

/// As long as it is held, no image is removed: from finding one until a container's record says that it is in use.
#[derive(Debug)]
pub struct Held(#[expect(dead_code, reason = "it is let go of by being dropped")] Hold);

/// Opens the store, and makes it where there is none.
pub(crate) fn store(registries: Registries) -> Result<Store, Error> {
    Ok(Store::open(&paths::images())?.with_registries(registries))
}

/// Brings images, all at once: what has become of each, in their order. Progress is told with an image's place among
/// them, from several threads. Blocks.
pub(crate) fn bring(
    store: &Store,
    wanted: &[(Wanted, Policy)],
    progress: &(dyn Fn(usize, Event<'_>) + Sync),
) -> Vec<Result<Image, Error>> {
    at_once(wanted, |place, (wanted, policy)| {
        store.pull(&wanted.reference, &wanted.platform, *policy, &|event| progress(place, event))
    })
}

/// Does something with each item on a thread of its own: the results in the items' order.
fn at_once<T: Sync, R: Send>(items: &[T], one: impl Fn(usize, &T) -> R + Sync) -> Vec<R> {
    let one = &one;
    std::thread::scope(|scope| {
        let work: Vec<_> =
            items.iter().enumerate().map(|(place, item)| scope.spawn(move || one(place, item))).collect();
        let done = work.into_iter().map(|work| work.join());
        done.map(|result| result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    })
}
