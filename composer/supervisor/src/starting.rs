//! The lock under which a stack's two processes are started, and what they stood on is taken away.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;

use nix::fcntl::{Flock, FlockArg};

use crate::paths::{self, StackPaths};

/// Held by one process at a time.
pub(crate) struct StartLock {
    _file: Flock<File>,
    path: PathBuf,
}

impl StartLock {
    /// Waits for it.
    pub fn take(paths: &StackPaths) -> io::Result<Self> {
        Self::lock(paths, FlockArg::LockExclusive)
    }

    /// `None` where somebody has it.
    pub fn take_if_free(paths: &StackPaths) -> Option<Self> {
        Self::lock(paths, FlockArg::LockExclusiveNonblock).ok()
    }

    /// Whoever ends a stack unlinks the file: one that has been unlinked while it was waited for locks nothing any more.
    fn lock(paths: &StackPaths, how: FlockArg) -> io::Result<Self> {
        let path = paths.start_lock();
        loop {
            if let Some(folder) = path.parent() {
                paths::make(folder)?;
            }
            let mut options = OpenOptions::new();
            let file = match options.write(true).create(true).truncate(false).mode(0o600).open(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                opened => opened?,
            };
            let file = Flock::lock(file, how).map_err(|(_, errno)| io::Error::from(errno))?;
            let ours = file.metadata()?;
            if fs::metadata(&path).is_ok_and(|there| (there.dev(), there.ino()) == (ours.dev(), ours.ino())) {
                return Ok(Self { _file: file, path });
            }
        }
    }

    /// Lets it go with its file, which stays only where a stack does.
    pub fn end(self) {
        let _ = fs::remove_file(&self.path);
    }
}
