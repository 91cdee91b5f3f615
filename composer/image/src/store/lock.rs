//! Locks between processes (flock), which the kernel lets go when their holder dies.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::stop::{Making, Stop};

/// A lock on the whole store. Who reads or adds shares it; who removes has it alone.
#[derive(Debug)]
pub struct Hold {
    _file: File,
}

impl Hold {
    pub(super) fn shared(path: &Path) -> Result<Self> {
        Self::take(path, FlockOperation::LockShared)
    }

    pub(super) fn alone(path: &Path) -> Result<Self> {
        Self::take(path, FlockOperation::LockExclusive)
    }

    /// Nothing where somebody else is at work.
    pub(super) fn alone_if_free(path: &Path) -> Result<Option<Self>> {
        let file = open(path)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Self { _file: file })),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(Error::os("lock", path)(error)),
        }
    }

    fn take(path: &Path, operation: FlockOperation) -> Result<Self> {
        let file = open(path)?;
        wait(&file, operation, path)?;
        Ok(Self { _file: file })
    }
}

/// A lock on one layer, whose file is there only while somebody has or wants it.
#[derive(Debug)]
pub(super) struct LayerLock {
    path: PathBuf,
    _file: File,
    _making: Making,
}

impl LayerLock {
    /// Takes the lock; calls `waiting` when somebody else has it.
    pub(super) fn take(path: PathBuf, stop: &Stop, waiting: impl FnOnce()) -> Result<Self> {
        let mut waiting = Some(waiting);
        loop {
            let file = open(&path)?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => {
                    if let Some(waiting) = waiting.take() {
                        waiting();
                    }
                    wait(&file, FlockOperation::LockExclusive, &path)?;
                }
                Err(error) => return Err(Error::os("lock", &path)(error)),
            }
            // Its last holder has removed the file: whoever comes next locks another.
            let held = file.metadata().map_err(Error::file("look at", &path))?;
            if std::fs::metadata(&path).is_ok_and(|named| named.ino() == held.ino()) {
                let making = match stop.begin() {
                    Ok(making) => making,
                    Err(stopped) => {
                        let _ = std::fs::remove_file(&path);
                        return Err(stopped);
                    }
                };
                return Ok(Self { path, _file: file, _making: making });
            }
        }
    }
}

impl Drop for LayerLock {
    fn drop(&mut self) {
        // While it is locked. What stays is taken by the next.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn open(path: &Path) -> Result<File> {
    File::options().create(true).truncate(false).write(true).open(path).map_err(Error::file("open", path))
}

fn wait(file: &File, operation: FlockOperation, path: &Path) -> Result<()> {
    loop {
        match flock(file, operation) {
            Err(Errno::INTR) => {}
            result => return result.map_err(Error::os("lock", path)),
        }
    }
}
