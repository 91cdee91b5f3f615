//! Writing so that a crash leaves the old or the new, and never a half: beside, to the disk, then renamed into place.

use std::fs::{self, DirBuilder, File};
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::stop::{Making, Stop};
use crate::tree;

/// A folder for what is being made. What is in it goes with it.
pub(crate) struct Temporary {
    path: PathBuf,
    /// Once it has been moved its name may be another's.
    placed: bool,
    _making: Making,
}

impl Temporary {
    /// A new folder in `among`.
    pub(super) fn new(among: &Path, stop: &Stop) -> Result<Self> {
        let making = stop.begin()?;
        let process = std::process::id();
        let mut number: u64 = 0;
        loop {
            let path = among.join(format!("{process}-{number}"));
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Self { path, placed: false, _making: making }),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(Error::file("make", &path)(error)),
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Moves the folder itself to where it belongs, for good.
    pub(super) fn place(mut self, to: &Path) -> Result<()> {
        fs::rename(&self.path, to).map_err(Error::file("move into place", to))?;
        self.placed = true;
        sync_parent(to)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.placed {
            // Whatever stays is swept by the next who has the store alone.
            let _ = tree::remove_path(&self.path);
        }
    }
}

/// Makes a file that has all of `bytes`, or leaves what was there.
pub(super) fn write(among: &Path, to: &Path, bytes: &[u8], stop: &Stop) -> Result<()> {
    let temporary = Temporary::new(among, stop)?;
    let path = temporary.path().join("file");
    let mut file = File::create_new(&path).map_err(Error::file("make", &path))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(Error::file("write", to))?;
    fs::rename(&path, to).map_err(Error::file("move into place", to))?;
    sync_parent(to)
}

/// Makes sure that the name of `path` is on the disk.
pub(super) fn sync_parent(path: &Path) -> Result<()> {
    let Some(folder) = path.parent() else { return Ok(()) };
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(Error::file("flush", folder))
}

/// Makes a folder that root alone may look into: there are setuid programs in it.
pub(super) fn make_folder(path: &Path) -> Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(Error::file("make", path))
}
