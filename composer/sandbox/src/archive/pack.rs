//! A file or folder to a tar stream.

use std::fs::{self, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::{at, sparse};

/// Up to this length a file is read before its length is written: those of /proc say 0, those of /sys 4096, whatever is
/// in them.
const UNSURE: u64 = 4096;
/// So much of a file is read at once at most.
const LIMIT: u64 = 16 << 20;

/// Writes what is at `path` as `name`. Where it is a symbolic link, `follow` means what that leads to; links below it
/// stay links. Sockets are left out: they mean nothing in another place.
pub fn pack(path: &Path, name: &str, follow: bool, out: impl Write) -> io::Result<()> {
    let found = if follow { fs::metadata(path) } else { fs::symlink_metadata(path) };
    let mut builder = tar::Builder::new(out);
    let mut waiting = vec![(path.to_owned(), PathBuf::from(name), found.map_err(at("look at", path))?)];
    while let Some((path, name, metadata)) = waiting.pop() {
        add(&mut builder, &path, &name, &metadata)?;
        if !metadata.is_dir() {
            continue;
        }
        let entries = fs::read_dir(&path).map_err(at("list", &path))?;
        let mut below = entries.collect::<io::Result<Vec<_>>>().map_err(at("list", &path))?;
        below.sort_by_key(|entry| std::cmp::Reverse(entry.file_name()));
        for entry in below {
            match entry.metadata() {
                Ok(metadata) => waiting.push((entry.path(), name.join(entry.file_name()), metadata)),
                // It has gone since the folder was listed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(at("look at", &entry.path())(error)),
            }
        }
    }
    builder.into_inner()?.flush()
}

fn add<W: Write>(
    builder: &mut tar::Builder<W>,
    path: &Path,
    name: &Path,
    metadata: &Metadata,
) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_metadata(metadata);
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
    header.set_metadata(&metadata);
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
