//! Taking away what is at a path, and nothing that a link leads to.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, ResolveFlags, openat, openat2, unlinkat};
use rustix::io::Errno;

use super::at;

/// Removes what is at `path`, a file, a link or a folder with all that is in it; that it is gone is no error. Links lead
/// on as far as to `top`, which was named by somebody; below it whoever writes there must not choose what is removed.
pub fn remove(path: &Path, top: &Path) -> io::Result<()> {
    let Some(name) = path.file_name() else {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("remove {}: it has no name", path.display()),
        ));
    };
    let removed = match parent(path, top) {
        Ok(parent) => remove_at(parent.as_fd(), name),
        Err(errno) => Err(errno),
    };
    match removed {
        // A file or a link in the place of a folder above it has taken it along.
        Ok(()) | Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(()),
        Err(errno) => Err(at("remove", path)(errno.into())),
    }
}

/// The folder that a path is in.
fn parent(path: &Path, top: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = path.parent().unwrap_or(Path::new("/"));
    let Ok(below) = folder.strip_prefix(top) else {
        return openat(CWD, folder, flags, Mode::empty());
    };
    let top = openat(CWD, top, flags, Mode::empty())?;
    if below.components().all(|part| part == Component::CurDir) {
        return Ok(top);
    }
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    loop {
        match openat2(&top, below, flags, Mode::empty(), resolve) {
            // Something was renamed meanwhile; the kernel asks to try again.
            Err(Errno::AGAIN) => {}
            other => return other,
        }
    }
}

fn remove_at(parent: BorrowedFd<'_>, name: &OsStr) -> Result<(), Errno> {
    match unlinkat(parent, name, AtFlags::empty()) {
        Err(Errno::ISDIR) => {}
        other => return other,
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = openat(parent, name, flags, Mode::empty())?;
    for entry in Dir::read_from(&folder)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name == b"." || name == b".." {
            continue;
        }
        match remove_at(folder.as_fd(), OsStr::from_bytes(name)) {
            // Somebody else was faster.
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
    unlinkat(parent, name, AtFlags::REMOVEDIR)
}
