//! A folder of the host's registry: JSON files under one lock, readable by root alone. It is there as long as something
//! is in it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::iter;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};

/// A folder of the registry.
#[derive(Debug, Clone)]
pub struct Folder(PathBuf);

impl Folder {
    /// This one, which is made when it is locked first.
    pub fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// Whether a file is there.
    pub fn has(&self, name: &str) -> bool {
        self.0.join(name).exists()
    }

    /// Makes the folder and its parents where they are missing, also while others remove empty ones. That many cannot come
    /// in between: then something else is in the way.
    pub fn make(&self) -> io::Result<()> {
        let make = || fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.0);
        // The parent was removed in this moment; or what was there was gone when it was looked at.
        let between = [io::ErrorKind::NotFound, io::ErrorKind::AlreadyExists];
        let stays = |made: &io::Result<()>| {
            made.as_ref().map_or_else(|error| !between.contains(&error.kind()), |()| true)
        };
        iter::repeat_with(make).take(100).find(stays).unwrap_or_else(make)
    }

    /// Locks the folder for whoever changes what is in it, making it first where it is missing. Readers need no lock: files
    /// are replaced by rename, and they see the one or the other.
    pub fn lock(&self) -> Result<Flock<File>> {
        loop {
            self.make().map_err(|error| self.error("make", error))?;
            let folder = match File::open(&self.0) {
                Ok(folder) => folder,
                // Who held the lock before has removed the folder in this moment.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(self.error("make", error)),
            };
            let lock = Flock::lock(folder, FlockArg::LockExclusive)
                .map_err(|(_, errno)| self.error("lock", errno.into()))?;
            // Who held the lock before may have removed the folder: then this lock guards nothing.
            if self.is_this(&lock).map_err(|error| self.error("look at", error))? {
                return Ok(lock);
            }
        }
    }

    /// Whether this is still the folder.
    fn is_this(&self, opened: &File) -> io::Result<bool> {
        let opened = opened.metadata()?;
        match fs::metadata(&self.0) {
            Ok(now) => Ok((now.dev(), now.ino()) == (opened.dev(), opened.ino())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// What a file holds; a missing one holds nothing.
    pub fn read<T: DeserializeOwned + Default>(&self, name: &str) -> Result<T> {
        let path = self.0.join(name);
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|source| Error::Damaged { path, source }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(T::default()),
            Err(source) => Err(Error::Registry { doing: "read", path, source }),
        }
    }

    /// Replaces a file.
    pub fn write<T: Serialize + ?Sized>(&self, name: &str, content: &T) -> Result<()> {
        let (path, next) = (self.0.join(name), self.0.join(format!("{name}.next")));
        let bytes = serde_json::to_vec_pretty(content)
            .map_err(|source| Error::Damaged { path: path.clone(), source })?;
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let written = options.open(&next).and_then(|mut file| file.write_all(&bytes));
        let replaced = written.and_then(|()| fs::rename(&next, &path));
        replaced.map_err(|source| Error::Registry { doing: "write", path, source })
    }

    /// Removes a file; absent is fine.
    pub fn remove(&self, name: &str) -> Result<()> {
        let path = self.0.join(name);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(Error::Registry { doing: "remove", path, source })
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Removes the folder, unless something else of the host's is in it. For those who have it locked.
    pub fn tidy(&self) -> Result<()> {
        let stays = [io::ErrorKind::DirectoryNotEmpty, io::ErrorKind::NotFound];
        match fs::remove_dir(&self.0) {
            Err(error) if !stays.contains(&error.kind()) => Err(self.error("remove", error)),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// The same for those who have not: where somebody has it locked, nothing is done, as that one may be about to write
    /// into an empty folder.
    pub fn tidy_unlocked(&self) {
        // Again where it has become empty meanwhile: who emptied it found it locked here.
        while fs::read_dir(&self.0).is_ok_and(|mut entries| entries.next().is_none()) {
            let lock = File::open(&self.0).map(|folder| Flock::lock(folder, FlockArg::LockExclusiveNonblock));
            let Ok(Ok(lock)) = lock else { return };
            if self.is_this(&lock).unwrap_or(false) && self.tidy().is_err() {
                return;
            }
        }
    }

    fn error(&self, doing: &'static str, source: io::Error) -> Error {
        Error::Registry { doing, path: self.0.clone(), source }
    }
}

/// The name of a file of what belongs to the network namespace that the thread is in: stacks of others have one of their
/// own.
pub fn of_namespace(what: &str) -> String {
    let namespace = fs::metadata("/proc/thread-self/ns/net").map_or(0, |metadata| metadata.ino());
    format!("{what}-{namespace}.json")
}
