//! What an empty volume gets when it is first mounted: what the root filesystem has at that place, with its owners,
//! permissions, extended attributes, links and times.
//!
//! A copy may be killed at any moment, and others may write to the volume meanwhile. So it is made in a folder of the
//! volume itself, on whose filesystem alone a rename is one step: [`PART`] while it is made, [`WHOLE`] once it is on disk.
//! What is whole is moved up, and a move that was killed is gone on with. What is a part is thrown away. Both are root's
//! alone: what a program of another user has put under such a name is its own, and is left alone.

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::fcntl::{Flock, FlockArg};
use nix::unistd::setfsuid;
use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, RawMode, RenameFlags, ResolveFlags, Stat, Timespec,
    Timestamps, Uid, XattrFlags, chownat, fchmod, fchown, fgetxattr, flistxattr, fsetxattr, fstat, fstatfs,
    futimens, lgetxattr, linkat, llistxattr, lsetxattr, mkdirat, mknodat, openat, openat2, readlinkat,
    renameat_with, statat, symlinkat, syncfs, unlinkat, utimensat,
};
use rustix::io::Errno;

use crate::descriptor;
use crate::spec::Fill;
use crate::tree::Tree;

/// A copy that is being made.
const PART: &CStr = c".compose-filling";
/// A copy that is on disk.
const WHOLE: &CStr = c".compose-filled";
/// OVERLAYFS_SUPER_MAGIC of linux/magic.h: what a root filesystem is.
const OVERLAY: i64 = 0x794c_7630;
const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// What the names of a file's attributes rarely go beyond.
const FEW: usize = 1024;
/// XATTR_LIST_MAX and XATTR_SIZE_MAX of linux/limits.h.
const MOST: usize = 65536;
/// Permission bits, with those of chmod(2) above them.
const BITS: RawMode = 0o7777;

/// Fills a volume where it is to be filled. Whoever does it has locked a file, for containers may start at once with the
/// same volume.
pub fn fill(
    tree: &Tree,
    target: &str,
    volume: impl FnOnce() -> io::Result<OwnedFd>,
    spec: &Fill,
) -> io::Result<()> {
    // The root filesystem has no such folder, as is usual: nothing else is looked at.
    let Some(source) = source(tree, target)? else { return Ok(()) };
    let volume = openat(volume()?, c".", FOLDER, Mode::empty())?;
    // Nobody waits for a volume that is in use.
    match state(&volume)? {
        State::InUse => return Ok(()),
        State::Empty if !spec.empty => return Ok(()),
        State::Empty | State::Part | State::Whole => {}
    }
    let lock = File::open(&spec.lock)?;
    let _lock = Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, errno)| io::Error::from(errno))?;
    let filled = filled(&source, &volume);
    if filled.is_err() {
        // The next try does it otherwise.
        let _ = remove(volume.as_fd(), PART);
    }
    match filled {
        // It is read-only by itself, and is as it is.
        Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => Ok(()),
        other => other,
    }
}

/// What the root filesystem has there, where that is a folder.
fn source(tree: &Tree, target: &str) -> io::Result<Option<OwnedFd>> {
    let found = match tree.find(target) {
        Ok(found) => found,
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)) => return Ok(None),
        Err(error) => return Err(error),
    };
    // /dev, /proc and /sys are the kernel's, whatever lies there.
    if fstatfs(&found)?.f_type != OVERLAY {
        return Ok(None);
    }
    match openat(&found, c".", FOLDER, Mode::empty()) {
        Ok(folder) => Ok(Some(folder)),
        Err(Errno::NOTDIR) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// What there is of a volume.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Empty,
    /// A copy was begun.
    Part,
    /// A copy was made and not moved up, or not all of it.
    Whole,
    InUse,
}

/// As few entries are read as tell. What has such a name and is no folder is not ours.
fn state(volume: &OwnedFd) -> io::Result<State> {
    for (name, state) in [(WHOLE, State::Whole), (PART, State::Part)] {
        match statat(volume, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if is_folder_of_ours(&stat) => return Ok(state),
            Ok(_) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(if names(volume.as_fd()).next().is_some() { State::InUse } else { State::Empty })
}

fn is_folder_of_ours(stat: &Stat) -> bool {
    // Asked for what cannot be, the kernel tells who it is for files.
    let own = setfsuid(nix::unistd::Uid::from_raw(u32::MAX));
    FileType::from_raw_mode(stat.st_mode).is_dir() && stat.st_uid == own.as_raw()
}

fn filled(source: &OwnedFd, volume: &OwnedFd) -> io::Result<()> {
    match state(volume)? {
        State::InUse => return Ok(()),
        State::Whole => return moved_up(source, volume),
        State::Part => remove(volume.as_fd(), PART)?,
        State::Empty => {}
    }
    if names(volume.as_fd()).next().is_some() {
        // Somebody has written to it beside a copy that was never made.
        return Ok(());
    }
    if names(source.as_fd()).next().is_none() {
        // Its owner and permissions alone.
        return likeness(source.as_fd(), volume.as_fd());
    }
    let part = folder_in(volume.as_fd(), PART, Mode::RWXU)?;
    let device = fstat(source)?.st_dev;
    Copy { device, linked: HashMap::new(), top: part.as_fd() }.entries(source.as_fd(), part.as_fd(), c"")?;
    syncfs(&part)?;
    renameat_with(volume, PART, volume, WHOLE, RenameFlags::NOREPLACE)?;
    moved_up(source, volume)
}

/// Moves a copy to where it belongs. What somebody has put there meanwhile stays.
fn moved_up(source: &OwnedFd, volume: &OwnedFd) -> io::Result<()> {
    let whole = openat(volume, WHOLE, FOLDER, Mode::empty())?;
    for name in names(whole.as_fd()) {
        let name = name?;
        match renameat_with(&whole, &name, volume, &name, RenameFlags::NOREPLACE) {
            Ok(()) => {}
            Err(Errno::EXIST) => remove(whole.as_fd(), &name)?,
            // A filesystem that knows no such rename, as NFS.
            Err(Errno::INVAL) if statat(volume, &name, AtFlags::SYMLINK_NOFOLLOW).is_err() => {
                rustix::fs::renameat(&whole, &name, volume, &name)?;
            }
            Err(errno) => return Err(errno.into()),
        }
    }
    unlinkat(volume, WHOLE, AtFlags::REMOVEDIR)?;
    likeness(source.as_fd(), volume.as_fd())
}

/// The names in a folder. They are read anew from its beginning, whoever has read them before.
fn names(folder: BorrowedFd<'_>) -> impl Iterator<Item = io::Result<CString>> {
    let opened = openat(folder, c".", FOLDER, Mode::empty()).and_then(Dir::new);
    let (entries, failed) = match opened {
        Ok(entries) => (Some(entries), None),
        Err(errno) => (None, Some(Err(errno.into()))),
    };
    let names = entries.into_iter().flatten().filter_map(|entry| match entry {
        Ok(entry) if matches!(entry.file_name().to_bytes(), b"." | b"..") => None,
        Ok(entry) => Some(Ok(entry.file_name().to_owned())),
        Err(errno) => Some(Err(errno.into())),
    });
    failed.into_iter().chain(names)
}

/// Removes what has this name in a folder, with all below it; nothing where it is gone.
fn remove(parent: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
    match unlinkat(parent, name, AtFlags::empty()) {
        Err(Errno::ISDIR) => {}
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(errno) => return Err(errno.into()),
    }
    let folder = openat(parent, name, FOLDER, Mode::empty())?;
    for inner in names(folder.as_fd()) {
        remove(folder.as_fd(), &inner?)?;
    }
    Ok(unlinkat(parent, name, AtFlags::REMOVEDIR)?)
}

fn folder_in(parent: BorrowedFd<'_>, name: &CStr, mode: Mode) -> io::Result<OwnedFd> {
    mkdirat(parent, name, mode)?;
    Ok(openat(parent, name, FOLDER, Mode::empty())?)
}

/// The first name of a copy of a file with several.
struct First {
    /// Below the top.
    path: CString,
    /// Of the copy.
    device: u64,
    inode: u64,
}

/// A copy in its making.
struct Copy<'a> {
    /// Of the folders that are copied: what is mounted below is not.
    device: u64,
    /// Files with several names, by inode.
    linked: HashMap<u64, First>,
    top: BorrowedFd<'a>,
}

impl Copy<'_> {
    /// Copies what is in a folder; `path` is where that is below the top.
    fn entries(&mut self, from: BorrowedFd<'_>, to: BorrowedFd<'_>, path: &CStr) -> io::Result<()> {
        for name in names(from) {
            let name = name?;
            let inner = below(path, &name);
            let stat = statat(from, &name, AtFlags::SYMLINK_NOFOLLOW)?;
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory if stat.st_dev == self.device => {
                    let source = openat(from, &name, FOLDER, Mode::empty())?;
                    let copy = folder_in(to, &name, Mode::RWXU)?;
                    self.entries(source.as_fd(), copy.as_fd(), &inner)?;
                    likeness(source.as_fd(), copy.as_fd())?;
                }
                FileType::Directory => drop(folder_in(to, &name, Mode::from_raw_mode(0o755))?),
                FileType::RegularFile => self.file(from, to, &name, inner, &stat)?,
                kind => self.other(from, to, &name, inner, &stat, kind)?,
            }
        }
        Ok(())
    }

    /// Whether another name of the same file has been copied, which this one then is too.
    fn known(&self, to: BorrowedFd<'_>, name: &CStr, stat: &Stat) -> io::Result<bool> {
        let Some(first) = self.linked.get(&stat.st_ino).filter(|_| stat.st_nlink > 1) else {
            return Ok(false);
        };
        // A container that has the volume may have put something else there, such as a link to a folder of the host's.
        let resolve = ResolveFlags::BENEATH
            | ResolveFlags::NO_SYMLINKS
            | ResolveFlags::NO_MAGICLINKS
            | ResolveFlags::NO_XDEV;
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let Ok(copy) = openat2(self.top, &first.path, flags, Mode::empty(), resolve) else {
            return Ok(false);
        };
        let found = fstat(&copy)?;
        if (found.st_dev, found.st_ino) != (first.device, first.inode) {
            return Ok(false);
        }
        linkat(&copy, c"", to, name, AtFlags::EMPTY_PATH)?;
        Ok(true)
    }

    /// Keeps in mind that a file with several names has been copied.
    fn note(&mut self, path: CString, of: &Stat, copy: &Stat) {
        if of.st_nlink > 1 {
            self.linked.insert(of.st_ino, First { path, device: copy.st_dev, inode: copy.st_ino });
        }
    }

    fn file(
        &mut self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        name: &CStr,
        path: CString,
        stat: &Stat,
    ) -> io::Result<()> {
        if self.known(to, name, stat)? {
            return Ok(());
        }
        let reading = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let writing = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mut source = File::from(openat(from, name, reading, Mode::empty())?);
        let mut copy = File::from(openat(to, name, writing, Mode::RUSR | Mode::WUSR)?);
        self.note(path, stat, &fstat(&copy)?);
        io::copy(&mut source, &mut copy)?;
        likeness(source.as_fd(), copy.as_fd())
    }

    /// A symbolic link, a named pipe, a socket, a device, which cannot be opened or are not to be.
    fn other(
        &mut self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        name: &CStr,
        path: CString,
        stat: &Stat,
        kind: FileType,
    ) -> io::Result<()> {
        if self.known(to, name, stat)? {
            return Ok(());
        }
        if kind == FileType::Symlink {
            symlinkat(readlinkat(from, name, Vec::new())?, to, name)?;
        } else {
            let mode = Mode::from_raw_mode(stat.st_mode & BITS);
            mknodat(to, name, kind, mode, stat.st_rdev)?;
        }
        self.note(path, stat, &statat(to, name, AtFlags::SYMLINK_NOFOLLOW)?);
        let (uid, gid) = owner(stat);
        chownat(to, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
        let (source, copy) = (in_folder(from, name), in_folder(to, name));
        copy_attributes(
            |list| llistxattr(&source, list),
            |name, value| lgetxattr(&source, name, value),
            |name, value| lsetxattr(&copy, name, value, XattrFlags::empty()),
        )?;
        Ok(utimensat(to, name, &times(stat), AtFlags::SYMLINK_NOFOLLOW)?)
    }
}

fn below(path: &CStr, name: &CStr) -> CString {
    if path.is_empty() {
        return name.to_owned();
    }
    // Neither has a zero within.
    CString::new([path.to_bytes(), b"/", name.to_bytes()].concat()).unwrap_or_default()
}

/// A path of this process's to what a folder has under a name: attributes of what is not opened are set by path alone.
fn in_folder(folder: BorrowedFd<'_>, name: &CStr) -> Vec<u8> {
    [descriptor::path(folder).as_bytes(), b"/", name.to_bytes()].concat()
}

fn owner(stat: &Stat) -> (Uid, Gid) {
    (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid))
}

fn times(stat: &Stat) -> Timestamps {
    let time = |seconds: i64, nanoseconds: u64| Timespec {
        tv_sec: seconds,
        tv_nsec: i64::try_from(nanoseconds).unwrap_or_default(),
    };
    Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    }
}

/// Gives a copy the owner, permissions, attributes and times of what it was made from. The owner comes first: giving a
/// file away takes its set-user-ID bit and its capabilities.
fn likeness(of: BorrowedFd<'_>, copy: BorrowedFd<'_>) -> io::Result<()> {
    let stat = fstat(of)?;
    let (uid, gid) = owner(&stat);
    fchown(copy, Some(uid), Some(gid))?;
    fchmod(copy, Mode::from_raw_mode(stat.st_mode & BITS))?;
    copy_attributes(
        |list| flistxattr(of, list),
        |name, value| fgetxattr(of, name, value),
        |name, value| fsetxattr(copy, name, value, XattrFlags::empty()),
    )?;
    Ok(futimens(copy, &times(&stat))?)
}

/// Those of users, file capabilities and access control lists: the rest is the host's and overlayfs's own (xattr(7)).
fn is_copied(name: &[u8]) -> bool {
    let named = [&b"security.capability"[..], b"system.posix_acl_access", b"system.posix_acl_default"];
    named.contains(&name) || (name.starts_with(b"user.") && !name.starts_with(b"user.overlay."))
}

fn copy_attributes(
    list: impl Fn(&mut [u8]) -> rustix::io::Result<usize>,
    get: impl Fn(&CStr, &mut [u8]) -> rustix::io::Result<usize>,
    set: impl Fn(&CStr, &[u8]) -> rustix::io::Result<()>,
) -> io::Result<()> {
    let none = |error: &Errno| matches!(*error, Errno::OPNOTSUPP | Errno::NODATA);
    let mut text = vec![0; FEW];
    let mut listed = list(&mut text);
    if listed == Err(Errno::RANGE) {
        text.resize(MOST, 0);
        listed = list(&mut text);
    }
    let length = match listed {
        Ok(0) => return Ok(()),
        Ok(length) => length,
        Err(errno) if none(&errno) => return Ok(()),
        Err(errno) => return Err(errno.into()),
    };
    let mut value = vec![0; MOST];
    for name in text[..length].split_inclusive(|byte| *byte == 0) {
        let Ok(name) = CStr::from_bytes_with_nul(name) else { continue };
        if !is_copied(name.to_bytes()) {
            continue;
        }
        let length = get(name, &mut value)?;
        match set(name, &value[..length]) {
            // What nobody is let in by may be missing where the volume's filesystem has no such attributes.
            Err(errno) if none(&errno) && name.to_bytes().starts_with(b"user.") => {}
            other => other?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
