//! Images: a reference becomes verified, unpacked layers and a configuration.
//!
//! A [`Store`] keeps them; [`Store::pull`] brings what is missing, from a registry or from disk. Nothing is believed but
//! by its digest, and what an archive says of paths is resolved by the kernel below the layer's own folder.

mod commit;
mod config;
mod digest;
mod error;
mod manifest;
mod pack;
mod platform;
mod progress;
mod pull;
mod push;
mod reference;
mod registry;
mod source;
mod stop;
mod store;
#[cfg(test)]
mod testing;
mod tree;
mod unpack;

pub use commit::Commit;
pub use config::{Config, Healthcheck, Run};
pub use digest::Digest;
pub use error::{Error, Result};
pub use platform::Platform;
pub use progress::{Event, Progress};
pub use pull::Policy;
pub use reference::{Local, Named, Reference};
pub use registry::{Kept, Mirror, Owner, Proxies, Registries};
pub use source::digest;
pub use stop::Stop;
pub use store::{Freed, Hold, Image, Store};
pub use unpack::{Error as UnpackError, Limits};
