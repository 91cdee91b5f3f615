//! Removing a folder with all that is in it, however deep: subfolders are moved up before they are emptied, so neither
//! descriptors nor the stack grow with the depth that a stranger chose.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, RenameFlags, openat, renameat_with, statat, unlinkat,
};
use rustix::io::Errno;

use crate::error::{Error, Result};

/// Removes the folder `name` of the folder `at`. Links in it are removed, never followed.
pub(crate) fn remove(at: BorrowedFd<'_>, name: &[u8]) -> std::result::Result<(), Errno> {
    let top = open(at, name)?;
    let mut next: u64 = 0;
    loop {
        let names = list(&top)?;
        if names.is_empty() {
            break;
        }
        for name in &names {
            if is_folder(&top, name)? {
                empty(&top, name, &mut next)?;
                unlinkat(&top, name, AtFlags::REMOVEDIR)?;
            } else {
                unlinkat(&top, name, AtFlags::empty())?;
            }
        }
    }
    unlinkat(at, name, AtFlags::REMOVEDIR)
}

/// Removes the folder `path`, if there is one.
pub(crate) fn remove_path(path: &Path) -> Result<()> {
    use std::os::unix::ffi::OsStrExt;
    match remove(CWD, path.as_os_str().as_bytes()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(Error::os("remove", path)(error)),
    }
}

/// Removes the files of a folder of `top` and moves its folders to `top`.
fn empty(top: &OwnedFd, name: &CString, next: &mut u64) -> std::result::Result<(), Errno> {
    let folder = open(top.as_fd(), name.as_bytes())?;
    for name in list(&folder)? {
        if !is_folder(&folder, &name)? {
            unlinkat(&folder, &name, AtFlags::empty())?;
            continue;
        }
        loop {
            *next += 1;
            match renameat_with(&folder, &name, top, format!("{next}"), RenameFlags::NOREPLACE) {
                Err(Errno::EXIST) => {}
                result => break result?,
            }
        }
    }
    Ok(())
}

fn open(at: BorrowedFd<'_>, name: &[u8]) -> std::result::Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(at, name, flags, Mode::empty())
}

fn list(folder: &OwnedFd) -> std::result::Result<Vec<CString>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.push(entry.file_name().to_owned());
        }
    }
    Ok(names)
}

fn is_folder(at: &OwnedFd, name: &CString) -> std::result::Result<bool, Errno> {
    let found = statat(at, name, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(FileType::from_raw_mode(found.st_mode) == FileType::Directory)
}
