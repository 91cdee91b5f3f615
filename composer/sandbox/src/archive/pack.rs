//! A file or folder to a tar stream.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::{self, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{lgetxattr, llistxattr};
use rustix::io::Errno;

use super::{EXTENDED, at, is_portable, sparse};

/// Up to this length a file is read before its length is written: those of /proc say 0, those of /sys 4096, whatever is
/// in them.
const UNSURE: u64 = 4096;
/// So much of a file is read at once at most.
const LIMIT: u64 = 16 << 20;
/// XATTR_LIST_MAX and XATTR_SIZE_MAX of linux/limits.h.
const MOST: usize = 65536;

/// Writes what is at `path` as `name`. Where it is a symbolic link, `follow` means what that leads to; links below it
/// stay links. Sockets are left out: they mean nothing in another place.
pub fn pack(path: &Path, name: &str, follow: bool, out: impl Write) -> io::Result<()> {
    let found = if follow { fs::metadata(path) } else { fs::symlink_metadata(path) };
    let waiting = vec![(path.to_owned(), PathBuf::from(name), found.map_err(at("look at", path))?)];
    let mut builder = tar::Builder::new(out);
    write(&mut builder, waiting, |builder, path, name, metadata| {
        if metadata.is_file() {
            extend(builder, path)?;
        }
        add(builder, path, name, metadata)
    })?;
    builder.into_inner()?.flush()
}

/// Writes what is in a folder, so that it can be made again as it is: with files that have several names, and with what
/// they may do beyond permissions (capabilities(7), "File capabilities") and attributes of the user's.
pub(super) fn whole(folder: &Path, out: impl Write) -> io::Result<()> {
    let mut linked = HashMap::new();
    let mut builder = tar::Builder::new(out);
    let waiting = below(folder, Path::new(""))?;
    write(&mut builder, waiting, |builder, path, name, metadata| {
        add_as_it_is(builder, &mut linked, path, name, metadata)
    })?;
    builder.into_inner()?.flush()
}

/// The same of an upper folder of overlayfs, whose marks of what is gone become those of OCI's layers.
pub(super) fn layer(upper: &Path, out: impl Write) -> io::Result<()> {
    let mut linked = HashMap::new();
    let mut builder = tar::Builder::new(out);
    let waiting = below(upper, Path::new(""))?;
    write(&mut builder, waiting, |builder, path, name, metadata| {
        if metadata.file_type().is_char_device() && metadata.rdev() == 0 {
            let mut gone = std::ffi::OsString::from(".wh.");
            gone.push(name.file_name().unwrap_or_default());
            return mark(builder, &name.with_file_name(gone));
        }
        add_as_it_is(builder, &mut linked, path, name, metadata)?;
        // Nothing of what is below it shows (Documentation/filesystems/overlayfs.rst, "whiteouts and opaque directories").
        let mut value = [0; 1];
        let is_opaque = metadata.is_dir()
            && lgetxattr(path, "trusted.overlay.opaque", &mut value).is_ok_and(|length| length == 1)
            && value == *b"y";
        if is_opaque { mark(builder, &name.join(".wh..wh..opq")) } else { Ok(()) }
    })?;
    builder.into_inner()?.flush()
}

/// With the owners that the container has.
fn describe(header: &mut tar::Header, metadata: &Metadata) {
    header.set_metadata(metadata);
    if let Some(range) = super::ENTERED.get() {
        header.set_uid(range.inside(metadata.uid()).into());
        header.set_gid(range.inside(metadata.gid()).into());
    }
}

fn mark<W: Write>(builder: &mut tar::Builder<W>, name: &Path) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Regular);
    header.set_mode(0);
    header.set_size(0);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    builder.append_data(&mut header, name, io::empty())
}

fn add_as_it_is<W: Write>(
    builder: &mut tar::Builder<W>,
    linked: &mut HashMap<(u64, u64), PathBuf>,
    path: &Path,
    name: &Path,
    metadata: &Metadata,
) -> io::Result<()> {
    if metadata.is_file() && metadata.nlink() > 1 {
        match linked.entry((metadata.dev(), metadata.ino())) {
            Entry::Occupied(first) => return link(builder, first.get(), name, metadata),
            Entry::Vacant(place) => drop(place.insert(name.to_owned())),
        }
    }
    if metadata.file_type().is_socket() {
        return Ok(());
    }
    extend(builder, path)?;
    add(builder, path, name, metadata)
}

/// Puts extended attributes in front of what has them.
fn extend<W: Write>(builder: &mut tar::Builder<W>, path: &Path) -> io::Result<()> {
    let attributes = attributes(path).map_err(at("read the attributes of", path))?;
    builder.append_pax_extensions(attributes.iter().map(|(key, value)| (key.as_str(), value.as_slice())))
}

/// A file or folder, its name in the stream, and what it is.
type Waiting = (PathBuf, PathBuf, Metadata);

/// Has these written by `add`, and all that is below them.
fn write<W: Write>(
    builder: &mut tar::Builder<W>,
    mut waiting: Vec<Waiting>,
    mut add: impl FnMut(&mut tar::Builder<W>, &Path, &Path, &Metadata) -> io::Result<()>,
) -> io::Result<()> {
    while let Some((path, name, metadata)) = waiting.pop() {
        add(builder, &path, &name, &metadata)?;
        if metadata.is_dir() {
            waiting.append(&mut below(&path, &name)?);
        }
    }
    Ok(())
}

/// What is in a folder, the first name last.
fn below(folder: &Path, name: &Path) -> io::Result<Vec<Waiting>> {
    let entries = fs::read_dir(folder).map_err(at("list", folder))?;
    let mut entries = entries.collect::<io::Result<Vec<_>>>().map_err(at("list", folder))?;
    entries.sort_by_key(|entry| std::cmp::Reverse(entry.file_name()));
    let mut below = Vec::new();
    for entry in entries {
        match entry.metadata() {
            Ok(metadata) => below.push((entry.path(), name.join(entry.file_name()), metadata)),
            // It has gone since the folder was listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(at("look at", &entry.path())(error)),
        }
    }
    Ok(below)
}

/// A further name of a file.
fn link<W: Write>(
    builder: &mut tar::Builder<W>,
    first: &Path,
    name: &Path,
    metadata: &Metadata,
) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    describe(&mut header, metadata);
    header.set_entry_type(tar::EntryType::Link);
    header.set_size(0);
    builder.append_link(&mut header, name, first)
}

/// Extended attributes that mean something elsewhere, by their names in a pax header.
fn attributes(path: &Path) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut names = vec![0; MOST];
    let length = match llistxattr(path, &mut names) {
        // It has gone meanwhile, or its filesystem has none.
        Err(Errno::NOENT | Errno::OPNOTSUPP) => return Ok(Vec::new()),
        other => other?,
    };
    let names = names[..length].split(|byte| *byte == 0).filter_map(|name| std::str::from_utf8(name).ok());
    let mut attributes = Vec::new();
    for name in names.filter(|name| is_portable(name)) {
        let mut value = vec![0; MOST];
        match lgetxattr(path, name, &mut value) {
            Ok(length) => {
                value.truncate(length);
                if name == "security.capability" {
                    as_inside(&mut value);
                }
                attributes.push((format!("{EXTENDED}{name}"), value));
            }
            Err(Errno::NOENT | Errno::NODATA) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(attributes)
}

/// `VFS_CAP_REVISION_2` and `3` of linux/capability.h, in the first word's upper byte.
const FOR_ALL: u8 = 2;
const FOR_A_NAMESPACE: u8 = 3;

/// What programs get from a file that was marked in a user namespace says of whose root: outside by another id than inside,
/// and inside, of its own root, not at all (capabilities(7), "Namespaced file capabilities").
fn as_inside(capability: &mut Vec<u8>) {
    let Some(range) = super::ENTERED.get() else { return };
    if capability.get(3) != Some(&FOR_A_NAMESPACE) {
        return;
    }
    let Some(root) = capability.last_chunk().map(|root| range.inside(u32::from_le_bytes(*root))) else {
        return;
    };
    capability.truncate(capability.len() - size_of::<u32>());
    if root == 0 {
        capability[3] = FOR_ALL;
    } else {
        capability.extend(root.to_le_bytes());
    }
}

fn add<W: Write>(
    builder: &mut tar::Builder<W>,
    path: &Path,
    name: &Path,
    metadata: &Metadata,
) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    describe(&mut header, metadata);
    let kind = metadata.file_type();
    if kind.is_socket() {
        return Ok(());
    }
    if kind.is_symlink() {
        let target = fs::read_link(path).map_err(at("read the link", path))?;
        header.set_size(0);
        return builder.append_link(&mut header, name, target);
    }
    if !kind.is_file() {
        header.set_size(0);
        return builder.append_data(&mut header, name, io::empty());
    }
    // One that has been put in its place meanwhile may block, or lead elsewhere.
    let flags = libc::O_NONBLOCK | libc::O_CLOEXEC;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(at("open", path))?;
    let metadata = file.metadata().map_err(at("look at", path))?;
    if !metadata.is_file() {
        return Ok(());
    }
    describe(&mut header, &metadata);
    if metadata.len() <= UNSURE {
        let mut bytes = Vec::new();
        file.take(LIMIT + 1).read_to_end(&mut bytes).map_err(at("read", path))?;
        if bytes.len() as u64 > LIMIT {
            let text =
                format!("{}: it does not tell its length, and 16 MiB is not all of it", path.display());
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
        }
        header.set_size(bytes.len() as u64);
        return builder.append_data(&mut header, name, bytes.as_slice());
    }
    if let Some(segments) = sparse::segments(&file).map_err(at("look for holes in", path))? {
        return sparse::append(builder, &mut header, name, &file, &segments);
    }
    // The stream has its length in front: one that shrinks meanwhile is filled up, one that grows is cut.
    let length = metadata.len();
    builder.append_data(&mut header, name, file.chain(io::repeat(0)).take(length))
}
