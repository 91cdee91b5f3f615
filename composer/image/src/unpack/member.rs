//! One member of the archive: its name in the layer, what it is, and its attributes.

use rustix::fs::{Gid, Mode, Timespec, Uid};

use super::archive::Head;
use super::sparse::{self, Holes};
use super::{Error, xattr};

/// A member as the layer will have it.
pub(super) struct Member {
    pub name: Name,
    pub kind: Kind,
    pub attributes: Attributes,
}

pub(super) enum Kind {
    File {
        size: u64,
        holes: sparse::Holes,
    },
    Folder,
    Symlink {
        target: Vec<u8>,
    },
    Hardlink {
        target: Name,
    },
    Device {
        kind: rustix::fs::FileType,
        major: u32,
        minor: u32,
    },
    Fifo,
    /// Nothing to be made: a header for all that follow.
    Nothing,
}

pub(super) struct Attributes {
    pub mode: Mode,
    pub uid: Uid,
    pub gid: Gid,
    pub modified: Timespec,
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// A path in the layer, without `.`, `..` and slashes at its ends. Empty is the layer's own folder.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Name {
    parts: Vec<Vec<u8>>,
}

impl Name {
    /// Absolute paths are meant from the layer's folder; those that lead above it are refused.
    pub(super) fn parse(path: &[u8]) -> Result<Self, Error> {
        let mut parts: Vec<Vec<u8>> = Vec::new();
        if path.contains(&0) {
            return Err(refused(path, "its name has a NUL byte in it"));
        }
        for part in path.split(|byte| *byte == b'/') {
            match part {
                b"" | b"." => {}
                b".." => {
                    if parts.pop().is_none() {
                        return Err(refused(path, "it leads out of the layer"));
                    }
                }
                part => parts.push(part.to_vec()),
            }
        }
        Ok(Self { parts })
    }

    /// The folder it is in and its last part; `None` of the layer's own folder.
    pub(super) fn split(&self) -> Option<(&[Vec<u8>], &[u8])> {
        let (last, folder) = self.parts.split_last()?;
        Some((folder, last))
    }

    pub(super) fn path(&self) -> Vec<u8> {
        self.parts.join(&b'/')
    }

    pub(super) fn show(&self) -> String {
        format!("/{}", String::from_utf8_lossy(&self.path()))
    }
}

pub(super) fn refused(path: &[u8], reason: impl Into<String>) -> Error {
    Error::Refused { path: String::from_utf8_lossy(path).into_owned(), reason: reason.into() }
}

impl Member {
    pub(super) fn read(head: Head) -> Result<Self, Error> {
        let mut extensions = Extensions::default();
        for (key, value) in &head.extensions {
            extensions.take(key, value);
        }
        let path = extensions.sparse.name.take().unwrap_or_else(|| head.path.clone());
        let kind = kind(&head, &path, &mut extensions)?;
        let name = match kind {
            Kind::Nothing => Name { parts: Vec::new() },
            _ => Name::parse(&path)?,
        };
        Ok(Self { name, kind, attributes: extensions.attributes(&head.header, &path)? })
    }
}

fn kind(head: &Head, path: &[u8], extensions: &mut Extensions) -> Result<Kind, Error> {
    use tar::EntryType;
    let target = || match &head.link {
        Some(target) if !target.is_empty() => Ok(target.clone()),
        Some(_) | None => Err(refused(path, "it is a link to nothing")),
    };
    Ok(match head.header.entry_type() {
        // Archives older than POSIX mark a folder by the slash at its end alone.
        EntryType::Regular if path.ends_with(b"/") => Kind::Folder,
        EntryType::Regular | EntryType::Continuous => {
            let holes = extensions.sparse.holes(path)?;
            Kind::File { size: holes.size().unwrap_or(head.size), holes }
        }
        EntryType::GNUSparse => {
            let (pieces, size) = head.sparse.clone().unwrap_or_default();
            Kind::File { size, holes: Holes::Listed { pieces: sparse::checked(pieces, size, path)?, size } }
        }
        EntryType::Directory => Kind::Folder,
        EntryType::Symlink => Kind::Symlink { target: target()? },
        EntryType::Link => Kind::Hardlink { target: Name::parse(&target()?)? },
        EntryType::Char => device(&head.header, rustix::fs::FileType::CharacterDevice)?,
        EntryType::Block => device(&head.header, rustix::fs::FileType::BlockDevice)?,
        EntryType::Fifo => Kind::Fifo,
        EntryType::XGlobalHeader => Kind::Nothing,
        other => {
            return Err(refused(
                path,
                format!("it is of the unknown kind {:?}", char::from(other.as_byte())),
            ));
        }
    })
}

fn device(header: &tar::Header, kind: rustix::fs::FileType) -> Result<Kind, Error> {
    let number =
        |number: std::io::Result<Option<u32>>| number.map(Option::unwrap_or_default).map_err(Error::Stream);
    Ok(Kind::Device { kind, major: number(header.device_major())?, minor: number(header.device_minor())? })
}

/// What the extended headers of POSIX say of one member, names and sizes aside.
#[derive(Default)]
struct Extensions {
    modified: Option<Timespec>,
    uid: Option<u64>,
    gid: Option<u64>,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    sparse: sparse::Header,
}

impl Extensions {
    fn take(&mut self, key: &[u8], value: &[u8]) {
        if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
            if xattr::is_wanted(name) {
                self.xattrs.push((name.to_vec(), value.to_vec()));
            }
        } else if key == b"mtime" {
            self.modified = std::str::from_utf8(value).ok().and_then(time);
        } else if key == b"uid" {
            self.uid = std::str::from_utf8(value).ok().and_then(|id| id.parse().ok());
        } else if key == b"gid" {
            self.gid = std::str::from_utf8(value).ok().and_then(|id| id.parse().ok());
        } else if let Some(name) = key.strip_prefix(b"GNU.sparse.") {
            self.sparse.take(name, value);
        }
    }

    fn attributes(self, header: &tar::Header, path: &[u8]) -> Result<Attributes, Error> {
        let id = |said: Option<u64>, field: std::io::Result<u64>| {
            u32::try_from(said.map_or(field, Ok).map_err(Error::Stream)?)
                .ok()
                .filter(|id| *id != u32::MAX)
                .ok_or_else(|| refused(path, "its owner has a number that no user can have"))
        };
        // A time before 1970 that is not in an extended header cannot be told from a broken one.
        let modified = || Timespec { tv_sec: seconds(header.mtime().unwrap_or_default()), tv_nsec: 0 };
        Ok(Attributes {
            mode: Mode::from_raw_mode(header.mode().map_err(Error::Stream)? & 0o7777),
            uid: Uid::from_raw(id(self.uid, header.uid())?),
            gid: Gid::from_raw(id(self.gid, header.gid())?),
            modified: self.modified.unwrap_or_else(modified),
            xattrs: self.xattrs,
        })
    }
}

/// The latest time that every file system can keep.
const LATEST: u64 = (1 << 34) - 1;

fn seconds(seconds: u64) -> i64 {
    i64::try_from(seconds.min(LATEST)).unwrap_or_default()
}

/// `SECONDS[.FRACTION]`, possibly negative.
fn time(text: &str) -> Option<Timespec> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let (negative, whole) = match whole.strip_prefix('-') {
        Some(whole) => (true, whole),
        None => (false, whole),
    };
    let whole = seconds(whole.parse().ok()?);
    let digits: String = fraction.chars().chain(std::iter::repeat('0')).take(9).collect();
    let nanoseconds: i64 = digits.parse().ok().filter(|nanoseconds| *nanoseconds >= 0)?;
    Some(match (negative, nanoseconds) {
        (false, _) => Timespec { tv_sec: whole, tv_nsec: nanoseconds },
        (true, 0) => Timespec { tv_sec: -whole, tv_nsec: 0 },
        (true, _) => Timespec { tv_sec: -whole - 1, tv_nsec: 1_000_000_000 - nanoseconds },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let of = |text| time(text).map(|time| (time.tv_sec, time.tv_nsec));
        assert_eq!(of("5"), Some((5, 0)));
        assert_eq!(of("5.25"), Some((5, 250_000_000)));
        assert_eq!(of("5.1234567891"), Some((5, 123_456_789)));
        assert_eq!(of("-5"), Some((-5, 0)));
        assert_eq!(of("-0.25"), Some((-1, 750_000_000)));
        assert_eq!(of("99999999999999999"), Some(((1 << 34) - 1, 0)));
        assert_eq!(of("x"), None);
        assert_eq!(of("1.-5"), None);
    }

    #[test]
    fn names() {
        let of = |text: &str| Name::parse(text.as_bytes()).map(|name| name.show()).ok();
        assert_eq!(of("./a//b/."), Some("/a/b".to_owned()));
        assert_eq!(of("/a/../b"), Some("/b".to_owned()));
        assert_eq!(of("a/.."), Some("/".to_owned()));
        assert_eq!(of("a/../../b"), None);
        assert_eq!(of("a\0b"), None);
    }
}
