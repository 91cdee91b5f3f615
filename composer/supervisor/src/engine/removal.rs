//! Removing what containers have written, on a thread of its own: they may have made as many files as they liked, and
//! whoever does nothing but wait for it holds nobody else up.

use std::io;
use std::path::Path;

/// Removes what is at a path, a folder with all that is in it; nothing where there is nothing.
pub async fn remove(path: &Path) -> io::Result<()> {
    let path = path.to_owned();
    off_thread(move || composer_sandbox::remove(&path)).await
}

/// Does on a thread of its own what may take long.
pub async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}
