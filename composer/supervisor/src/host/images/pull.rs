//! `pull`: images are brought without a stack being made of them.

use std::path::Path;

use composer_image::{Image, Policy};

use super::{Error, Event, Registries, Stop, Wanted, bring, store};
use crate::host;

/// An image that is to be pulled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pull {
    /// As it was written.
    pub reference: String,
    /// `OS/ARCHITECTURE[/VARIANT]`; the host's own where absent.
    pub platform: Option<String>,
    /// When it is pulled.
    pub policy: Policy,
}

/// Pulls images, all at once: what has become of each, in their order. Relative places on disk begin at `folder`. Progress
/// is told with an image's place among them, from several threads. Blocks until all is done or `stop` ends it.
///
/// # Errors
/// Those of opening the store. What is wrong with one image is its own result.
pub fn pull(
    pulls: &[Pull],
    folder: &Path,
    registries: Registries,
    stop: &Stop,
    progress: &(dyn Fn(usize, Event<'_>) + Sync),
) -> Result<Vec<Result<Image, Error>>, host::Error> {
    host::root()?;
    let store = store(registries)?.with_stop(stop.clone());
    let (mut results, mut places, mut wanted) = (Vec::new(), Vec::new(), Vec::new());
    for (place, pull) in pulls.iter().enumerate() {
        match Wanted::parse(&pull.reference, pull.platform.as_deref(), folder) {
            Ok(one) => {
                places.push(place);
                wanted.push((one, pull.policy));
            }
            Err(error) => results.push((place, Err(error))),
        }
    }
    let brought = bring(&store, &wanted, &|one, event| progress(places[one], event));
    results.extend(places.iter().copied().zip(brought));
    results.sort_by_key(|(place, _)| *place);
    Ok(results.into_iter().map(|(_, result)| result).collect())
}
