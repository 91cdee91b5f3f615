//! The files of a folder, or of a tar file without unpacking it.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use crate::error::{Error, Result};
use crate::manifest::LARGEST_DOCUMENT;
use crate::unpack::is_compressed;

pub(super) enum Files {
    Folder(PathBuf),
    Archive(Archive),
}

pub(super) struct Archive {
    path: PathBuf,
    members: HashMap<String, Member>,
}

enum Member {
    /// Where its data begins, and its length.
    Data(u64, u64),
    /// Docker of old wrote a layer once, and links to it.
    Link(String),
}

/// Links that lead to links.
const MOST_LINKS: usize = 8;

impl Files {
    pub(super) fn archive(path: &Path) -> Result<Self> {
        let mut file = open(path)?;
        let mut start = [0; 4];
        let read = file.read(&mut start).map_err(Error::file("read", path))?;
        if is_compressed(&start[..read]) {
            return Err(Error::document(
                path.display().to_string(),
                "it is compressed: unpack it with gunzip or unzstd",
            ));
        }
        file.rewind().map_err(Error::file("read", path))?;
        let length = file.metadata().map_err(Error::file("read", path))?.len();
        let mut archive = tar::Archive::new(file);
        let members = members(&mut archive, length).map_err(|error| match error.kind() {
            // What the crate says of a file that is no archive has that file's bytes in it, whatever they are.
            io::ErrorKind::Other | io::ErrorKind::InvalidData if error.raw_os_error().is_none() => {
                Error::document(path.display().to_string(), "this is no tar archive, or it is damaged")
            }
            _ => Error::file("read the archive", path)(error),
        })?;
        Ok(Self::Archive(Archive { path: path.to_owned(), members }))
    }

    pub(super) fn show(&self, name: &str) -> String {
        match self {
            Self::Folder(folder) => folder.join(name).display().to_string(),
            Self::Archive(archive) => format!("{name} in {}", archive.path.display()),
        }
    }

    /// A file and its size.
    pub(super) fn open(&self, name: &str) -> Result<(io::Take<File>, u64)> {
        match self {
            Self::Folder(folder) => {
                let path = folder.join(name);
                let file = open(&path)?;
                let size = file.metadata().map_err(Error::file("read", &path))?.len();
                Ok((file.take(size), size))
            }
            Self::Archive(archive) => {
                let missing = || {
                    Error::document(archive.path.display().to_string(), format!("there is no `{name}` in it"))
                };
                let (at, size) = archive.find(name).ok_or_else(missing)?;
                let mut file = open(&archive.path)?;
                file.seek(SeekFrom::Start(at)).map_err(Error::file("read", &archive.path))?;
                Ok((file.take(size), size))
            }
        }
    }

    /// A document whose digest nobody has promised.
    pub(super) fn read(&self, name: &str) -> Result<Vec<u8>> {
        let (reader, size) = self.open(name)?;
        if size > LARGEST_DOCUMENT {
            return Err(Error::document(self.show(name), format!("it has {size} bytes")));
        }
        let mut bytes = Vec::new();
        reader
            .take(LARGEST_DOCUMENT)
            .read_to_end(&mut bytes)
            .map_err(|error| Error::document(self.show(name), error))?;
        Ok(bytes)
    }
}

impl Archive {
    fn find(&self, name: &str) -> Option<(u64, u64)> {
        let mut name = normal(name);
        for _ in 0..MOST_LINKS {
            match self.members.get(&name)? {
                Member::Data(at, size) => return Some((*at, *size)),
                Member::Link(target) => name.clone_from(target),
            }
        }
        None
    }
}

/// Opens a file. What is none is refused: a named pipe would be waited for, and a device has no end.
fn open(path: &Path) -> Result<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty()).map_err(Error::os("open", path))?);
    let kind = file.metadata().map_err(Error::file("read", path))?.file_type();
    if kind.is_file() {
        return Ok(file);
    }
    let what = match () {
        () if kind.is_dir() => "a folder",
        () if kind.is_fifo() => "a named pipe",
        () => "a device",
    };
    Err(Error::document(path.display().to_string(), format!("it is {what}, not a file")))
}

fn members(archive: &mut tar::Archive<File>, length: u64) -> io::Result<HashMap<String, Member>> {
    let mut members = HashMap::new();
    for entry in archive.entries_with_seek()? {
        let entry = entry?;
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let is_plain = entry.header().entry_type() == tar::EntryType::Regular;
        if is_plain && entry.raw_file_position() + entry.size() > length {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!("it is cut short, in the middle of `{path}`: copy or save it again"),
            ));
        }
        let target = entry.link_name_bytes().map(|target| String::from_utf8_lossy(&target).into_owned());
        let member = match (entry.header().entry_type(), target) {
            (tar::EntryType::Regular, _) => Member::Data(entry.raw_file_position(), entry.size()),
            (tar::EntryType::Link, Some(target)) => Member::Link(normal(&target)),
            (tar::EntryType::Symlink, Some(target)) => {
                let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
                Member::Link(normal(&format!("{folder}/{target}")))
            }
            _ => continue,
        };
        members.insert(normal(&path), member);
    }
    Ok(members)
}

/// A path without `.` and `..`. It is a key in a map and leads nowhere.
fn normal(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}
