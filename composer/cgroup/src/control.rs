//! Control files: read and written whole, with errors that name the file and the value.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::Error;

pub(crate) fn read(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })
}

/// The content of a file that older kernels or other hierarchies may not have.
pub(crate) fn read_if_there(path: &Path) -> Result<Option<String>, Error> {
    match read(path) {
        Ok(content) => Ok(Some(content)),
        // ENODEV: the group was removed while the file was open.
        Err(Error::Read { source, .. }) if is_absent(&source) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether the kernel says that a group or its file is not there (any more).
pub(crate) fn is_absent(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(Errno::ENODEV as i32)
}

/// A number alone in its file; `None` without the file or when it says `max`.
pub(crate) fn number(path: &Path) -> Result<Option<u64>, Error> {
    let Some(content) = read_if_there(path)? else {
        return Ok(None);
    };
    match content.trim_end() {
        "max" => Ok(None),
        text => text.parse().map(Some).map_err(|_| unexpected(path, &content)),
    }
}

/// The number behind `key` in a file of `key value` lines; `None` without the file or the key.
pub(crate) fn keyed(path: &Path, key: &str) -> Result<Option<u64>, Error> {
    let Some(content) = read_if_there(path)? else {
        return Ok(None);
    };
    let value = content.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
    value.map(|text| text.parse().map_err(|_| unexpected(path, &content))).transpose()
}

fn unexpected(path: &Path, content: &str) -> Error {
    Error::Content { path: path.to_owned(), content: content.to_owned() }
}

/// Writes `value` by one write(2): the kernel takes each write as a whole command.
pub(crate) fn write(path: &Path, value: &str) -> Result<(), Error> {
    OpenOptions::new()
        .write(true)
        .open(path)
        .and_then(|mut file| file.write_all(value.as_bytes()))
        .map_err(|source| Error::Write { path: path.to_owned(), value: value.to_owned(), source })
}

/// Process ids in `cgroup.procs`, of this group alone; none without the group.
pub(crate) fn processes(directory: &Path) -> Result<Vec<i32>, Error> {
    let path = directory.join("cgroup.procs");
    let content = read_if_there(&path)?.unwrap_or_default();
    let ids = content.lines().map(|line| line.parse().map_err(|_| unexpected(&path, &content)));
    // A process of a PID namespace that is not ours shows as 0: it has no number to signal it by.
    ids.filter(|id| !matches!(id, Ok(0))).collect()
}

/// Directories of the groups inside a group; none without the group.
pub(crate) fn children(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    let failed = |source| Error::Read { path: directory.to_owned(), source };
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(source) if is_absent(&source) => return Ok(Vec::new()),
        Err(source) => return Err(failed(source)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        if entry.file_type().map_err(failed)?.is_dir() {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// Makes one directory; `false` when it was there.
pub(crate) fn make_directory(path: &Path) -> io::Result<bool> {
    match fs::create_dir(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}
