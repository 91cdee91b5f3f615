//! Members become files, folders, links, devices and overlayfs's whiteouts.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, Timespec, Timestamps, XattrFlags, chmodat, chownat, fchmod, fchown,
    fsetxattr, futimens, linkat, mkdirat, mknodat, openat, symlinkat, utimensat,
};
use rustix::io::Errno;

use super::archive::Head;
use super::member::{Attributes, Kind, Member, Name, refused};
use super::root::{self, Before, Root};
use super::space::Space;
use super::sparse::{self, Holes};
use super::{Error, Limits, xattr};

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
/// What AUFS kept for itself.
const BOOKKEEPING: &[u8] = b".wh..wh.";
const BUFFER: usize = 128 << 10;

pub(super) struct Layer<'a> {
    root: Root<'a>,
    limits: &'a Limits,
    space: Space<'a>,
    entries: u64,
    bytes: u64,
    /// The times of folders, which change with what is made in them: set at the end.
    folders: Vec<(Vec<u8>, Timespec)>,
    names: u64,
    buffer: Box<[u8]>,
}

/// A member whose folder is open.
struct At<'n> {
    folder: OwnedFd,
    name: &'n [u8],
    whole: &'n Name,
}

impl At<'_> {
    /// For `map_err`: what could not be done to this member.
    fn cannot<E: Into<io::Error>>(&self, doing: &'static str) -> impl FnOnce(E) -> Error {
        cannot(doing, self.whole)
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.folder.as_fd()
    }
}

fn cannot<E: Into<io::Error>>(doing: &'static str, name: &Name) -> impl FnOnce(E) -> Error {
    let path = name.show();
    move |source| Error::Member { doing, path, source: source.into() }
}

impl<'a> Layer<'a> {
    pub(super) fn new(folder: BorrowedFd<'a>, limits: &'a Limits) -> Self {
        Self {
            root: Root::new(folder),
            limits,
            space: Space::new(folder),
            entries: 0,
            bytes: 0,
            folders: Vec::new(),
            names: 0,
            buffer: vec![0; BUFFER].into_boxed_slice(),
        }
    }

    /// Adds a member, whose data is what can be read.
    pub(super) fn add(&mut self, head: Head, data: &mut impl Read) -> Result<(), Error> {
        self.entries += 1;
        if self.entries > self.limits.entries {
            return Err(Error::TooMuch { what: "files", limit: self.limits.entries });
        }
        self.space.entry()?;
        let Member { name, kind, attributes } = Member::read(head)?;
        if matches!(kind, Kind::Nothing) {
            return Ok(());
        }
        let Some((parts, last)) = name.split() else {
            return self.own(&name, &kind, attributes);
        };
        if let Some(part) = parts.iter().find(|part| part.starts_with(WHITEOUT)) {
            let part = String::from_utf8_lossy(part);
            return Err(refused(&name.path(), format!("`{part}` marks what is gone and cannot be a folder")));
        }
        let folder = self.root.folder(parts).map_err(cannot("make the folder of", &name))?;
        if let Some(gone) = last.strip_prefix(WHITEOUT) {
            return gone_from(&folder, parts, last, gone, &name, &self.root);
        }
        let at = At { folder, name: last, whole: &name };
        match kind {
            Kind::File { size, holes } => self.file(&at, data, size, holes, &attributes),
            Kind::Folder => self.folder(&at, attributes),
            Kind::Symlink { target } => {
                make_room(&at, false)?;
                symlinkat(&target, &at.folder, at.name).map_err(at.cannot("make the link"))?;
                dress(&at, &attributes, false)
            }
            Kind::Hardlink { target } => self.hardlink(&at, &target),
            Kind::Device { kind: FileType::CharacterDevice, major: 0, minor: 0 } => {
                root::whiteout(at.fd(), at.name).map_err(at.cannot("hide"))
            }
            Kind::Device { kind, major, minor } => {
                node(&at, kind, rustix::fs::makedev(major, minor), &attributes)
            }
            Kind::Fifo => node(&at, FileType::Fifo, 0, &attributes),
            Kind::Nothing => Ok(()),
        }
    }

    /// Sets the times of folders. Returns the bytes and members of the layer.
    pub(super) fn finish(self) -> Result<(u64, u64), Error> {
        // A folder that was listed twice has the time that came last.
        let mut done = std::collections::HashSet::new();
        for (path, modified) in self.folders.iter().rev() {
            if !done.insert(path) {
                continue;
            }
            match self.root.open(path, OFlags::RDONLY | OFlags::NOFOLLOW) {
                Ok(folder) => set_times(&folder, *modified).map_err(|source| Error::Member {
                    doing: "set the time of",
                    path: show(path),
                    source: source.into(),
                })?,
                // Replaced by something else since.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                Err(source) => {
                    return Err(Error::Member { doing: "open", path: show(path), source: source.into() });
                }
            }
        }
        Ok((self.bytes, self.entries))
    }

    /// The layer's own folder.
    fn own(&mut self, name: &Name, kind: &Kind, attributes: Attributes) -> Result<(), Error> {
        if !matches!(kind, Kind::Folder) {
            return Err(refused(b"/", "the root of a layer is a folder and nothing else"));
        }
        let folder = self.root.open(b"", OFlags::RDONLY).map_err(cannot("open", name))?;
        dress_open(&folder, &attributes, name)?;
        self.folders.push((Vec::new(), attributes.modified));
        Ok(())
    }

    fn folder(&mut self, at: &At<'_>, attributes: Attributes) -> Result<(), Error> {
        let before = make_room(at, true)?;
        if before != Before::Folder {
            mkdirat(&at.folder, at.name, Mode::RWXU).map_err(at.cannot("make the folder"))?;
        }
        if before == Before::Whiteout {
            root::set_opaque(at.fd(), at.name).map_err(at.cannot("hide what is under"))?;
        }
        let folder = root::open_folder(at.fd(), at.name).map_err(at.cannot("open"))?;
        dress_open(&folder, &attributes, at.whole)?;
        let path = at.whole.path();
        self.names += path.len() as u64;
        if self.names > self.limits.names {
            return Err(Error::TooMuch { what: "bytes of names of folders", limit: self.limits.names });
        }
        self.folders.push((path, attributes.modified));
        Ok(())
    }

    fn hardlink(&mut self, at: &At<'_>, target: &Name) -> Result<(), Error> {
        let Some((parts, last)) = target.split() else {
            return Err(refused(&at.whole.path(), "it is a hard link to a folder"));
        };
        if target == at.whole {
            return Err(refused(&at.whole.path(), "it is a hard link to itself"));
        }
        let shown = target.show();
        let missing = |error: Errno| match error {
            Errno::NOENT | Errno::NOTDIR | Errno::LOOP => refused(
                &at.whole.path(),
                format!("it is a hard link to `{shown}`, which is not in the layer"),
            ),
            error => at.cannot("link")(error),
        };
        let folder = self.root.open(&parts.join(&b'/'), OFlags::PATH).map_err(missing)?;
        let found = root::stat(folder.as_fd(), last).map_err(missing)?;
        if FileType::from_raw_mode(found.st_mode) == FileType::Directory {
            return Err(refused(&at.whole.path(), "it is a hard link to a folder"));
        }
        if root::is_whiteout(&found) {
            return Err(missing(Errno::NOENT));
        }
        make_room(at, false)?;
        linkat(&folder, last, &at.folder, at.name, AtFlags::empty()).map_err(missing)
    }

    fn file<R: Read>(
        &mut self,
        at: &At<'_>,
        data: &mut R,
        size: u64,
        holes: Holes,
        attributes: &Attributes,
    ) -> Result<(), Error> {
        self.bytes = self.bytes.saturating_add(size);
        if self.bytes > self.limits.bytes {
            return Err(Error::TooMuch { what: "bytes", limit: self.limits.bytes });
        }
        make_room(at, false)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(&at.folder, at.name, flags, Mode::RUSR | Mode::WUSR).map_err(at.cannot("make"))?;
        let mut file = File::from(file);
        match holes {
            Holes::None => self.copy(at, data, &mut file, size)?,
            Holes::Listed { ref pieces, .. } => self.pieces(at, data, &mut file, pieces)?,
            Holes::Mapped { .. } => {
                let pieces = sparse::map(data, size, &at.whole.path())?;
                self.pieces(at, data, &mut file, &pieces)?;
            }
        }
        if !matches!(holes, Holes::None) {
            file.set_len(size).map_err(at.cannot("set the size of"))?;
        }
        let file = OwnedFd::from(file);
        dress_open(&file, attributes, at.whole)?;
        set_times(&file, attributes.modified).map_err(at.cannot("set the time of"))
    }

    fn pieces<R: Read>(
        &mut self,
        at: &At<'_>,
        data: &mut R,
        file: &mut File,
        pieces: &[(u64, u64)],
    ) -> Result<(), Error> {
        for (offset, length) in pieces {
            file.seek(SeekFrom::Start(*offset)).map_err(at.cannot("write"))?;
            self.copy(at, data, file, *length)?;
        }
        Ok(())
    }

    /// Copies `size` bytes.
    fn copy<R: Read>(&mut self, at: &At<'_>, data: &mut R, file: &mut File, size: u64) -> Result<(), Error> {
        let mut left = size;
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(BUFFER).min(BUFFER);
            let count = data.read(&mut self.buffer[..most]).map_err(Error::Stream)?;
            if count == 0 {
                return Err(Error::Stream(io::ErrorKind::UnexpectedEof.into()));
            }
            left -= count as u64;
            self.space.take(count as u64)?;
            let bytes = &self.buffer[..count];
            file.write_all(bytes).map_err(at.cannot("write"))?;
        }
        Ok(())
    }
}

/// A member that only says what is gone from the layers below.
fn gone_from(
    folder: &OwnedFd,
    parts: &[Vec<u8>],
    last: &[u8],
    gone: &[u8],
    name: &Name,
    root: &Root<'_>,
) -> Result<(), Error> {
    if last == OPAQUE {
        // The folder by its own descriptor: it may be the layer's.
        let folder = root.open(&parts.join(&b'/'), OFlags::RDONLY).map_err(cannot("open", name))?;
        return fsetxattr(&folder, root::OPAQUE, b"y", XattrFlags::empty())
            .map_err(cannot("hide what is beside", name));
    }
    if last.starts_with(BOOKKEEPING) {
        return Ok(());
    }
    if matches!(gone, b"" | b"." | b"..") {
        return Err(refused(&name.path(), "it marks nothing that can be gone"));
    }
    root::whiteout(folder.as_fd(), gone).map_err(cannot("hide what is marked by", name))
}

fn make_room(at: &At<'_>, for_folder: bool) -> Result<Before, Error> {
    root::make_room(at.fd(), at.name, for_folder).map_err(at.cannot("replace"))
}

fn node(at: &At<'_>, kind: FileType, device: u64, attributes: &Attributes) -> Result<(), Error> {
    make_room(at, false)?;
    mknodat(&at.folder, at.name, kind, Mode::empty(), device).map_err(at.cannot("make"))?;
    dress(at, attributes, true)
}

/// Owner, mode, attributes and time of what cannot be opened. Changing the owner takes away setuid, so that goes first.
fn dress(at: &At<'_>, attributes: &Attributes, has_mode: bool) -> Result<(), Error> {
    let (uid, gid) = (Some(attributes.uid), Some(attributes.gid));
    chownat(&at.folder, at.name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)
        .map_err(at.cannot("set the owner of"))?;
    if has_mode {
        // Follows links, but this is the node that has just been made.
        chmodat(&at.folder, at.name, attributes.mode, AtFlags::empty())
            .map_err(at.cannot("set the mode of"))?;
    }
    for (key, value) in &attributes.xattrs {
        let set = root::set_xattr(at.fd(), at.name, key, value);
        xattr_result(key, set).map_err(at.cannot("set an extended attribute of"))?;
    }
    utimensat(&at.folder, at.name, &times(attributes.modified), AtFlags::SYMLINK_NOFOLLOW)
        .map_err(at.cannot("set the time of"))
}

/// As [`dress`], without the time, of what is open.
fn dress_open(file: &OwnedFd, attributes: &Attributes, name: &Name) -> Result<(), Error> {
    fchown(file, Some(attributes.uid), Some(attributes.gid)).map_err(cannot("set the owner of", name))?;
    fchmod(file, attributes.mode).map_err(cannot("set the mode of", name))?;
    for (key, value) in &attributes.xattrs {
        let set = fsetxattr(file, key.as_slice(), value, XattrFlags::empty());
        xattr_result(key, set).map_err(cannot("set an extended attribute of", name))?;
    }
    Ok(())
}

fn xattr_result(key: &[u8], set: Result<(), Errno>) -> Result<(), Errno> {
    match set {
        // Links and devices have no attributes of users, some file systems none at all.
        Err(Errno::NOTSUP | Errno::PERM) if xattr::is_optional(key) => Ok(()),
        result => result,
    }
}

fn times(modified: Timespec) -> Timestamps {
    Timestamps { last_access: modified, last_modification: modified }
}

fn set_times(file: &OwnedFd, modified: Timespec) -> Result<(), Errno> {
    futimens(file, &times(modified))
}

fn show(path: &[u8]) -> String {
    format!("/{}", String::from_utf8_lossy(path))
}
