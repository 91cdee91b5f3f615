//! The folder of a layer, and the ways into it. The kernel resolves every path below the folder's descriptor
//! (openat2, RESOLVE_IN_ROOT): a symbolic link of the layer, absolute or with `..`, leads to a place in the layer or
//! nowhere. The last part of a path is never followed.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat, XattrFlags, chmodat, fsetxattr, mkdirat, mknodat,
    openat, openat2, statat, unlinkat,
};
use rustix::io::Errno;

use crate::tree;

pub(super) const OPAQUE: &[u8] = b"trusted.overlay.opaque";

pub(super) struct Root<'a> {
    folder: BorrowedFd<'a>,
}

/// What was where something new has come.
#[derive(PartialEq, Eq)]
pub(super) enum Before {
    Nothing,
    /// A folder, which stays.
    Folder,
    /// A whiteout of this layer: what lower layers have there stays hidden.
    Whiteout,
}

impl<'a> Root<'a> {
    pub(super) fn new(folder: BorrowedFd<'a>) -> Self {
        Self { folder }
    }

    /// Opens the folder `path`, which symbolic links may lead to.
    pub(super) fn open(&self, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
        let path = if path.is_empty() { b".".as_slice() } else { path };
        loop {
            let opened = openat2(
                self.folder,
                path,
                flags | OFlags::DIRECTORY | OFlags::CLOEXEC,
                Mode::empty(),
                ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV,
            );
            match opened {
                // A rename anywhere on the host while `..` was looked at: the kernel cannot tell, and wants to be
                // asked again.
                Err(Errno::AGAIN) => {}
                result => return result,
            }
        }
    }

    /// The folder of these names; what is missing of it is made.
    pub(super) fn folder(&self, parts: &[Vec<u8>]) -> Result<OwnedFd, Errno> {
        let open = |depth: usize| self.open(&parts[..depth].join(&b'/'), OFlags::PATH);
        match open(parts.len()) {
            Err(Errno::NOENT | Errno::NOTDIR) => {}
            result => return result,
        }
        // The deepest that is there, halving: a path has up to two thousand parts, each of which the kernel walks anew.
        let (mut there, mut missing) = (0, parts.len());
        while missing - there > 1 {
            let depth = there.midpoint(missing);
            match open(depth) {
                Ok(_) => there = depth,
                Err(Errno::NOENT | Errno::NOTDIR) => missing = depth,
                Err(error) => return Err(error),
            }
        }
        let mut folder = open(there)?;
        for (number, name) in parts[there..].iter().enumerate() {
            let was_gone = number == 0
                && match stat(folder.as_fd(), name) {
                    Ok(found) => is_whiteout(&found),
                    Err(Errno::NOENT) => false,
                    Err(error) => return Err(error),
                };
            if was_gone {
                unlinkat(&folder, name, AtFlags::empty())?;
            }
            make_folder(folder.as_fd(), name)?;
            if was_gone {
                set_opaque(folder.as_fd(), name)?;
            }
            folder = open_folder(folder.as_fd(), name)?;
        }
        Ok(folder)
    }
}

fn make_folder(at: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    let mode = Mode::from_raw_mode(0o755);
    mkdirat(at, name, mode)?;
    // Whatever the umask is.
    chmodat(at, name, mode, AtFlags::empty())
}

pub(super) fn stat(at: BorrowedFd<'_>, name: &[u8]) -> Result<Stat, Errno> {
    statat(at, name, AtFlags::SYMLINK_NOFOLLOW)
}

/// Makes room for something new at `name`. A folder stays for a folder.
pub(super) fn make_room(at: BorrowedFd<'_>, name: &[u8], for_folder: bool) -> Result<Before, Errno> {
    let found = match stat(at, name) {
        Ok(found) => found,
        Err(Errno::NOENT) => return Ok(Before::Nothing),
        Err(error) => return Err(error),
    };
    if is_whiteout(&found) {
        unlinkat(at, name, AtFlags::empty())?;
        return Ok(Before::Whiteout);
    }
    if FileType::from_raw_mode(found.st_mode) != FileType::Directory {
        unlinkat(at, name, AtFlags::empty())?;
        return Ok(Before::Nothing);
    }
    if for_folder {
        return Ok(Before::Folder);
    }
    tree::remove(at, name)?;
    Ok(Before::Nothing)
}

/// Hides what lower layers have at `name`, and not what this one has.
pub(super) fn whiteout(at: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    match stat(at, name) {
        Ok(found) if FileType::from_raw_mode(found.st_mode) == FileType::Directory => set_opaque(at, name),
        Ok(_) => Ok(()),
        Err(Errno::NOENT) => mknodat(at, name, FileType::CharacterDevice, Mode::empty(), 0),
        Err(error) => Err(error),
    }
}

/// Hides what lower layers have in the folder `name`.
pub(super) fn set_opaque(at: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
    let folder = open_folder(at, name)?;
    fsetxattr(&folder, OPAQUE, b"y", XattrFlags::empty())
}

/// Opens the folder `name` itself.
pub(super) fn open_folder(at: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(at, name, flags, Mode::empty())
}

/// Sets an extended attribute of what cannot be opened: a link, a device, a FIFO. There is no call that takes a folder's
/// descriptor and a name.
pub(super) fn set_xattr(at: BorrowedFd<'_>, name: &[u8], key: &[u8], value: &[u8]) -> Result<(), Errno> {
    let mut path = format!("/proc/self/fd/{}/", at.as_raw_fd()).into_bytes();
    path.extend(name);
    rustix::fs::lsetxattr(path, key, value, XattrFlags::empty())
}

/// As overlayfs has it: a character device of number 0:0.
pub(super) fn is_whiteout(found: &Stat) -> bool {
    FileType::from_raw_mode(found.st_mode) == FileType::CharacterDevice && found.st_rdev == 0
}
