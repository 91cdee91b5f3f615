//! Removing what a container may have written: a folder with all that is in it, however deep and wide.
//!
//! Folders are moved up before they are emptied, so neither descriptors nor the stack nor the length of a path grow with
//! a depth that a stranger chose. Symbolic links are removed and never followed, and what is mounted somewhere below is
//! neither entered nor taken away. Others may remove and make things there meanwhile.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, openat, openat2, renameat, unlinkat,
};
use rustix::io::Errno;

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// How often a folder may turn out not to be empty: somebody else fills it as fast as it is emptied.
const MOST_REFILLS: u32 = 1000;

/// Removes what is at a path, a folder with all that is in it; nothing where there is nothing. It may take long: a
/// container can make millions of files.
///
/// # Errors
/// The first of unlinkat(2), openat2(2) and renameat(2): EXDEV and EBUSY where something is mounted below.
pub fn remove(path: &Path) -> io::Result<()> {
    if unlinked(CWD, path)? {
        return Ok(());
    }
    let top = match openat(CWD, path, FOLDER, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(()),
        opened => opened?,
    };
    let mut removal = Removal { top, moved: 0, refilled: 0 };
    while removal.pass()? {}
    match unlinkat(CWD, path, AtFlags::REMOVEDIR) {
        Err(Errno::NOENT) => Ok(()),
        other => Ok(other?),
    }
}

struct Removal {
    top: OwnedFd,
    /// How many names have been tried for folders that were moved to the top.
    moved: u64,
    refilled: u32,
}

impl Removal {
    /// Removes every entry of the top, and moves there what is two levels below; whether there was any.
    fn pass(&mut self) -> Result<bool, Errno> {
        let (mut any, mut done, mut stuck) = (false, false, None);
        for entry in Dir::read_from(&self.top)? {
            let entry = entry?;
            let name = entry.file_name();
            if is_dot(name) {
                continue;
            }
            any = true;
            if entry.file_type() != FileType::Directory && unlinked(self.top.as_fd(), name)? {
                done = true;
                continue;
            }
            match self.empty(name) {
                // The top can hold no more folders (ext3, 32,000): those that are there go first.
                Err(errno @ (Errno::MLINK | Errno::NOSPC)) => stuck = Some(errno),
                Err(errno) => return Err(errno),
                Ok(()) => done |= self.unlink_folder(name)?,
            }
        }
        match stuck {
            Some(errno) if !done => Err(errno),
            Some(_) | None => Ok(any),
        }
    }

    /// Removes the files of a folder of the top and moves its folders to the top.
    fn empty(&mut self, name: &CStr) -> Result<(), Errno> {
        let beneath = ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS | ResolveFlags::BENEATH;
        let folder = loop {
            match openat2(&self.top, name, FOLDER, Mode::empty(), beneath) {
                Err(Errno::NOENT) => return Ok(()),
                // Something was renamed meanwhile; the kernel asks to try again.
                Err(Errno::AGAIN) => {}
                opened => break opened?,
            }
        };
        for entry in Dir::read_from(&folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let stays = || entry.file_type() == FileType::Directory;
            if !is_dot(name) && (stays() || !unlinked(folder.as_fd(), name)?) {
                self.move_up(&folder, name)?;
            }
        }
        Ok(())
    }

    fn move_up(&mut self, folder: &OwnedFd, name: &CStr) -> Result<(), Errno> {
        loop {
            self.moved += 1;
            match renameat(folder, name, &self.top, format!(".{}", self.moved)) {
                Ok(()) | Err(Errno::NOENT) => return Ok(()),
                // The name is taken. An empty folder of that name has been replaced, which is as well.
                Err(Errno::EXIST | Errno::NOTEMPTY | Errno::NOTDIR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }

    /// Removes a folder that has just been emptied; whether it is gone.
    fn unlink_folder(&mut self, name: &CStr) -> Result<bool, Errno> {
        match unlinkat(&self.top, name, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(true),
            Err(Errno::EXIST | Errno::NOTEMPTY) if self.refilled < MOST_REFILLS => {
                self.refilled += 1;
                Ok(false)
            }
            Err(errno) => Err(errno),
        }
    }
}

/// Removes what is no folder; whether it is gone.
fn unlinked(at: BorrowedFd<'_>, name: impl rustix::path::Arg) -> Result<bool, Errno> {
    match unlinkat(at, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(Errno::ISDIR) => Ok(false),
        Err(errno) => Err(errno),
    }
}

fn is_dot(name: &CStr) -> bool {
    matches!(name.to_bytes(), b"." | b"..")
}

#[cfg(test)]
mod tests;
