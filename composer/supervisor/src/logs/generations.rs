//! A log is kept in generations: each a file for each stream and an index, complete in itself, beginning with a line.
//!
//! The newest is written to; its number is the highest of which there is an index. When it has grown to `max-size` it is
//! left as it is, and the next one begins with what has come of the lines that are not complete yet, as its first two
//! records say: until its index is there under its name, nothing of it counts. A reader locks the index that it reads
//! (flock(2)), and what is locked and newer is not removed: whoever follows misses nothing, up to [`BACKLOG`].

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::Stream;

/// How much is kept for a reader that lags behind, in bytes, where `max-size` and `max-file` ask for less.
pub const BACKLOG: u64 = 64 << 20;
/// The size of a generation while a reader lags, where `max-size` is less: it bounds their number, as each costs a
/// rotation and several files.
pub const KEPT: u64 = 64 << 10;
/// The index of the first generation; those of later ones have a number behind it.
const INDEX: &str = "log.index";

/// A file of a generation.
fn file(folder: &Path, name: &str, generation: u64) -> PathBuf {
    folder.join(if generation == 0 { name.to_owned() } else { format!("{name}.{generation}") })
}

/// The index of a generation.
pub fn index(folder: &Path, generation: u64) -> PathBuf {
    file(folder, INDEX, generation)
}

/// The index of a generation that does not count yet.
pub fn index_aside(folder: &Path) -> PathBuf {
    folder.join("log.new")
}

/// A stream's file in a generation.
pub fn stream(folder: &Path, stream: Stream, generation: u64) -> PathBuf {
    file(folder, stream.file(), generation)
}

/// The generations that there are, the oldest first.
pub fn list(folder: &Path) -> io::Result<Vec<u64>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        found.extend(of_index(&entry?.file_name()));
    }
    found.sort_unstable();
    Ok(found)
}

/// The generation whose index has this name; `None` where it is no index's.
pub fn of_index(name: &OsStr) -> Option<u64> {
    match name.to_str()?.strip_prefix(INDEX)? {
        "" => Some(0),
        rest => rest.strip_prefix('.')?.parse().ok(),
    }
}

/// Opens the index of the oldest generation from this one on that is there, and keeps it there for as long as the file
/// is open.
pub fn open(folder: &Path, from: u64) -> io::Result<Option<(u64, File)>> {
    // Mostly it is there: a folder of many need not be listed.
    if let Some(file) = keep(folder, from)? {
        return Ok(Some((from, file)));
    }
    for generation in list(folder)?.into_iter().filter(|generation| *generation > from) {
        if let Some(file) = keep(folder, generation)? {
            return Ok(Some((generation, file)));
        }
    }
    Ok(None)
}

/// Opens and locks an index; `None` where it is gone.
fn keep(folder: &Path, generation: u64) -> io::Result<Option<File>> {
    let file = match File::open(index(folder, generation)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    // Where it is just being removed, this waits until it has been.
    flock(&file, FlockOperation::LockShared)?;
    Ok(is_there(&file)?.then_some(file))
}

/// Whether a file still has a name.
pub fn is_there(file: &File) -> io::Result<bool> {
    Ok(file.metadata()?.nlink() > 0)
}

/// Removes the oldest of these generations until `files` are left, but none that is being read, nor one after it, unless
/// they may come to more than [`BACKLOG`] or to eight times what is asked for. Returns the oldest that is left.
///
/// The folder is not listed, which would cost more the further a reader lags.
pub fn prune(folder: &Path, (mut oldest, newest): (u64, u64), size: u64, files: u64) -> io::Result<u64> {
    let files = files.max(1);
    let size = size.max(KEPT);
    let most = BACKLOG.max(size.saturating_mul(files).saturating_mul(8));
    loop {
        let left = newest - oldest + 1;
        if left <= files || !remove(folder, oldest, left.saturating_mul(size) > most)? {
            return Ok(oldest);
        }
        oldest += 1;
    }
}

/// Whether it has been removed.
fn remove(folder: &Path, generation: u64, even_if_read: bool) -> io::Result<bool> {
    let path = index(folder, generation);
    let file = match File::open(&path) {
        // Removed, but for what may be left of it.
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        opened => Some(opened?),
    };
    // Whoever opens it waits for this lock until the file is closed here.
    let locked = file.as_ref().map(|file| flock(file, FlockOperation::NonBlockingLockExclusive));
    if matches!(locked, Some(Err(_))) && !even_if_read {
        return Ok(false);
    }
    // The index first: without it the rest does not count.
    remove_if_there(&path)?;
    for stream in Stream::ALL {
        remove_if_there(&self::stream(folder, stream, generation))?;
    }
    Ok(true)
}

/// A file that is not there needs no removal.
pub fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}
