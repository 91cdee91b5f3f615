//! `storage_opt: {size: …}`: how much a container may write over its root filesystem.

use std::io;
use std::path::Path;

use composer_network::Folder;
use composer_sandbox::project;

use crate::paths::{self, ContainerPaths};

/// Has what a container writes take no more than so many bytes. `upper` is there, and empty when it is limited first.
///
/// # Errors
/// [`io::ErrorKind::Unsupported`] where its filesystem has no project quotas.
pub(crate) fn limit(upper: &Path, bytes: u64) -> io::Result<()> {
    let folder = Folder::new(&paths::registry());
    // Two that look for a free id at once would find the same.
    let _lock = folder.lock().map_err(io::Error::other)?;
    let limited = project::limit(upper, bytes);
    folder.tidy().map_err(io::Error::other)?;
    limited
}

/// Gives a container's limit back, before its files are removed.
pub(crate) fn lift(folders: &ContainerPaths) -> io::Result<()> {
    project::lift(&folders.upper())
}
