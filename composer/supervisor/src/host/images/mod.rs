//! The images of this host: one store, which all stacks share.

use composer_image::{Image, Platform, Policy, Reference, Registries, Store};

pub use composer_image::{Error, Event, Policy as PullPolicy};

use crate::paths;

/// An image that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// As it stands in the file; paths in it are absolute.
    pub reference: String,
    /// `OS/ARCHITECTURE[/VARIANT]`; the host's own where absent.
    pub platform: Option<String>,
    /// When it is pulled.
    pub policy: Policy,
}

/// Opens the store, and makes it where there is none.
pub(crate) fn store(registries: Registries) -> Result<Store, Error> {
    Ok(Store::open(&paths::images())?.with_registries(registries))
}

/// Brings images, all at once: what has become of each, in their order. Progress is told with an image's place among
/// them, from several threads. Blocks.
///
/// # Errors
/// Those of opening the store. What is wrong with one image is its own result.
pub fn bring(
    wanted: &[Wanted],
    registries: Registries,
    progress: &(dyn Fn(usize, Event<'_>) + Sync),
) -> Result<Vec<Result<Image, Error>>, Error> {
    let store = store(registries)?;
    let one = |place: usize, wanted: &Wanted| {
        let reference = Reference::parse(&wanted.reference, "/".as_ref())?;
        let platform = match &wanted.platform {
            Some(platform) => Platform::parse(platform)?,
            None => Platform::host(),
        };
        store.pull(&reference, &platform, wanted.policy, &|event| progress(place, event))
    };
    let (store_one, mut results) = (&one, Vec::with_capacity(wanted.len()));
    std::thread::scope(|scope| {
        let work: Vec<_> = wanted
            .iter()
            .enumerate()
            .map(|(place, wanted)| scope.spawn(move || store_one(place, wanted)))
            .collect();
        for done in work {
            results.push(done.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
    });
    Ok(results)
}
