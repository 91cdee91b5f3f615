//! What is told while an image is being pulled.

use crate::digest::Digest;
use crate::error::Error;

/// Whom it is told to. Called from several threads.
pub type Progress<'a> = &'a (dyn Fn(Event<'_>) + Sync);

/// What has happened. Layers are named by the digest of what is downloaded.
#[derive(Debug)]
pub enum Event<'a> {
    /// The image is known, and with it what must be brought.
    Resolved {
        /// Its manifest.
        manifest: &'a Digest,
        /// Its layers, the lowest first: digest, size as it is downloaded, whether it is there.
        layers: Vec<(&'a Digest, u64, bool)>,
    },
    /// Another process is bringing this layer.
    Waiting {
        /// The layer.
        layer: &'a Digest,
    },
    /// So much of a layer has been downloaded and unpacked.
    Advanced {
        /// The layer.
        layer: &'a Digest,
        /// How many bytes in all.
        bytes: u64,
    },
    /// A download broke off and goes on where it was.
    Retrying {
        /// The layer.
        layer: &'a Digest,
        /// Why.
        reason: &'a str,
    },
    /// A layer is there.
    Done {
        /// The layer.
        layer: &'a Digest,
    },
    /// The image is there, all of it.
    Pulled,
    /// The image could not be brought.
    Failed {
        /// Why.
        error: &'a Error,
    },
}
