//! A layer's folder becomes a layer again: what overlayfs hides is marked as an archive marks it (image-spec, layer.md,
//! "Whiteouts"). The same folder gives the same bytes.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata};
use std::io::{self, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{lgetxattr, llistxattr, major, minor};
use tar::{Builder, EntryType, Header};

const OPAQUE: &[u8] = b"trusted.overlay.opaque";
/// How archives name attributes in PAX headers.
const SCHILY: &str = "SCHILY.xattr.";
/// The longest attribute that the kernel keeps (xattr(7)).
const LONGEST: usize = 64 << 10;

/// Writes the archive of a layer's folder. Nobody may change the folder meanwhile.
pub(crate) fn pack(folder: &Path, out: impl Write) -> io::Result<()> {
    let mut packer = Packer { tar: Builder::new(out), seen: HashMap::new() };
    let root = fs::symlink_metadata(folder)?;
    packer.member(folder, Path::new("./"), &root, EntryType::Directory)?;
    packer.children(folder, Path::new(""))?;
    packer.tar.into_inner()?.flush()
}

struct Packer<W: Write> {
    tar: Builder<W>,
    /// Where files with several names were met first.
    seen: HashMap<(u64, u64), PathBuf>,
}

impl<W: Write> Packer<W> {
    fn children(&mut self, folder: &Path, below: &Path) -> io::Result<()> {
        let entries = fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name()));
        let mut names: Vec<OsString> = entries.collect::<io::Result<_>>()?;
        names.sort_unstable();
        // What is under an opaque folder is gone before anything is put into it.
        if below != Path::new("") && is_opaque(folder)? {
            self.marker(&below.join(".wh..wh..opq"))?;
        }
        for name in names {
            self.one(&folder.join(&name), &below.join(&name), &name)?;
        }
        Ok(())
    }

    fn one(&mut self, path: &Path, place: &Path, name: &OsStr) -> io::Result<()> {
        let found = fs::symlink_metadata(path)?;
        let kind = found.file_type();
        if kind.is_dir() {
            self.member(path, place, &found, EntryType::Directory)?;
            return self.children(path, place);
        }
        if kind.is_char_device() && found.rdev() == 0 {
            let marked = [b".wh.", name.as_bytes()].concat();
            return self.marker(&place.with_file_name(OsString::from_vec(marked)));
        }
        if found.nlink() > 1 {
            match self.seen.get(&(found.dev(), found.ino())).cloned() {
                Some(first) => {
                    let mut header = header(&found, EntryType::Link);
                    return self.tar.append_link(&mut header, place, first);
                }
                None => {
                    self.seen.insert((found.dev(), found.ino()), place.to_owned());
                }
            }
        }
        let entry = if kind.is_symlink() {
            EntryType::Symlink
        } else if kind.is_char_device() {
            EntryType::Char
        } else if kind.is_block_device() {
            EntryType::Block
        } else if kind.is_fifo() {
            EntryType::Fifo
        } else if kind.is_file() {
            EntryType::Regular
        } else {
            // A socket is nothing without whoever listens.
            return Ok(());
        };
        self.member(path, place, &found, entry)
    }

    fn member(&mut self, path: &Path, place: &Path, found: &Metadata, kind: EntryType) -> io::Result<()> {
        self.extensions(path, found)?;
        let mut header = header(found, kind);
        match kind {
            EntryType::Regular => {
                header.set_size(found.len());
                self.tar.append_data(&mut header, place, File::open(path)?)
            }
            EntryType::Symlink => self.tar.append_link(&mut header, place, fs::read_link(path)?),
            EntryType::Char | EntryType::Block => {
                header.set_device_major(major(found.rdev()))?;
                header.set_device_minor(minor(found.rdev()))?;
                self.tar.append_data(&mut header, place, io::empty())
            }
            _ => self.tar.append_data(&mut header, place, io::empty()),
        }
    }

    /// What a header has no room for: the fraction of a second of the time, and attributes.
    fn extensions(&mut self, path: &Path, found: &Metadata) -> io::Result<()> {
        let mut records: Vec<(String, Vec<u8>)> = Vec::new();
        if found.mtime_nsec() != 0 && found.mtime() >= 0 {
            records.push(("mtime".to_owned(), format!("{}.{:09}", found.mtime(), found.mtime_nsec()).into()));
        }
        for name in attributes(path)?.into_iter().filter(|name| *name != OPAQUE) {
            let mut value = vec![0; LONGEST];
            let length = lgetxattr(path, name.as_slice(), value.as_mut_slice())?;
            value.truncate(length);
            records.push((format!("{SCHILY}{}", String::from_utf8_lossy(&name)), value));
        }
        if records.is_empty() {
            return Ok(());
        }
        let records = records.iter().map(|(name, value)| (name.as_str(), value.as_slice()));
        self.tar.append_pax_extensions(records)
    }

    /// An empty file whose name says what is hidden.
    fn marker(&mut self, place: &Path) -> io::Result<()> {
        let mut header = Header::new_gnu();
        header.set_size(0);
        header.set_mode(0);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        self.tar.append_data(&mut header, place, io::empty())
    }
}

fn header(found: &Metadata, kind: EntryType) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(0);
    header.set_mode(found.mode() & 0o7777);
    header.set_uid(found.uid().into());
    header.set_gid(found.gid().into());
    header.set_mtime(u64::try_from(found.mtime()).unwrap_or(0));
    header
}

fn is_opaque(folder: &Path) -> io::Result<bool> {
    Ok(attributes(folder)?.iter().any(|name| name == OPAQUE))
}

/// The names of a file's attributes, sorted.
fn attributes(path: &Path) -> io::Result<Vec<Vec<u8>>> {
    let mut list = vec![0; LONGEST];
    let length = match llistxattr(path, list.as_mut_slice()) {
        Ok(length) => length,
        Err(rustix::io::Errno::NOTSUP) => 0,
        Err(error) => return Err(error.into()),
    };
    let names = list[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    let mut names: Vec<Vec<u8>> = names.map(<[u8]>::to_vec).collect();
    names.sort_unstable();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unpack::tests::{Tar, With, World};

    #[test]
    fn what_is_packed_is_what_was_unpacked() {
        let long = format!("d/{}/{}", "x".repeat(120), "y".repeat(120));
        let owned = With { mode: Some(0o4750), owner: (7, 5_000_000), modified: 9, ..With::default() };
        let archive = Tar::default()
            .folder("d")
            .member(b"d/su", b'0', b"#!", &owned)
            .pax(&[("mtime", b"5.25"), ("SCHILY.xattr.user.note", b"a\0b")])
            .file("d/noted", "n")
            .pax(&[("path", long.as_bytes())])
            .file("d/long", "l")
            .hardlink("d/again", "d/su")
            .symlink("d/link", "su")
            .device("d/null", b'3', 1, 3)
            .file("d/.wh.gone", "")
            .folder("d/fresh")
            .file("d/fresh/.wh..wh..opq", "")
            .file("d/fresh/in", "i")
            .end();
        let (first, second) = (World::new(), World::new());
        first.unpack(&archive).unwrap();
        let mut packed = Vec::new();
        pack(&first.layer(), &mut packed).unwrap();
        second.unpack(&packed).unwrap();
        let mut again = Vec::new();
        pack(&second.layer(), &mut again).unwrap();
        assert!(packed == again, "the same comes out of it");
        let at = |name: &str| fs::symlink_metadata(second.layer().join(name)).unwrap();
        assert_eq!(
            (at("d/su").mode() & 0o7777, at("d/su").gid(), at("d/su").nlink()),
            (0o4750, 5_000_000, 2)
        );
        assert_eq!((at("d/noted").mtime(), at("d/noted").mtime_nsec()), (5, 250_000_000));
        assert_eq!(attributes(&second.layer().join("d/noted")).unwrap(), [b"user.note"]);
        assert_eq!(fs::read(second.layer().join(long)).unwrap(), b"l");
        assert_eq!((at("d/gone").rdev(), at("d/gone").file_type().is_char_device()), (0, true));
        assert!(is_opaque(&second.layer().join("d/fresh")).unwrap());
        assert!(!is_opaque(&second.layer().join("d")).unwrap());
    }
}
