//! A tar stream to a file or folder.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, chown, lchown, symlink};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime};

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use rustix::fs::{XattrFlags, fsetxattr};
use rustix::io::Errno;
use tar::{Entry, EntryType};

use super::records::{OfEntry, Records};
use super::{Owner, Rule, at, sparse};
use crate::removal;
use crate::userns;

/// Reads the stream to its end and makes what is in it at `target`. A file takes the place of one that is there in one
/// moment. Returned are the entries that were left out, devices, which a container has no use for.
pub fn unpack(target: &str, rule: &Rule, owner: Owner, input: impl Read) -> io::Result<Vec<String>> {
    let (input, extended) = Records::new(input);
    let mut archive = tar::Archive::new(input);
    let mut unpacked = Unpacked { owner, extended, root: None, folders: Vec::new(), left_out: Vec::new() };
    for entry in archive.entries().map_err(damaged)? {
        unpacked.entry(target, rule, &mut entry.map_err(damaged)?)?;
    }
    if unpacked.root.is_none() && *rule == Rule::Extract {
        folder(Path::new(target))?;
    }
    // Last, and the innermost first: what is made in a folder changes its times, and may need its write permission.
    for folder in unpacked.folders.iter().rev() {
        folder.settle(owner)?;
    }
    Ok(unpacked.left_out)
}

struct Unpacked {
    owner: Owner,
    /// Extended attributes of the entry that is read.
    extended: OfEntry,
    /// Where the entries go, once the first one is known.
    root: Option<PathBuf>,
    folders: Vec<Attributes>,
    left_out: Vec<String>,
}

/// What is set last.
struct Attributes {
    path: PathBuf,
    mode: u32,
    time: u64,
    user: u32,
    group: u32,
    /// Extended ones, of a file.
    extended: Vec<(String, Vec<u8>)>,
}

impl Unpacked {
    fn entry(&mut self, target: &str, rule: &Rule, entry: &mut Entry<'_, impl Read>) -> io::Result<()> {
        let name = entry.path().map_err(damaged)?.into_owned();
        let kind = entry.header().entry_type();
        let root = match &self.root {
            Some(root) => root.clone(),
            None => self.root.insert(place(target, rule, kind)?).clone(),
        };
        let path = below(&root, rule, &name)?;
        let extended = self.extended.take();
        let header = entry.header();
        let attributes = Attributes {
            extended,
            mode: header.mode().map_err(damaged)? & 0o7777,
            time: header.mtime().map_err(damaged)?,
            user: u32::try_from(header.uid().map_err(damaged)?).unwrap_or(u32::MAX),
            group: u32::try_from(header.gid().map_err(damaged)?).unwrap_or(u32::MAX),
            path: path.clone(),
        };
        match kind {
            EntryType::Directory => {
                make_folder(&path, rule)?;
                self.folders.push(attributes);
                return Ok(());
            }
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                let length = entry.size();
                make_way(&path, rule, false)?;
                let holes = kind == EntryType::GNUSparse;
                return file(&path, entry, (length, holes), &attributes, self.owner);
            }
            EntryType::Symlink => {
                let leads = leads(entry, &name)?;
                clear(&path, rule)?;
                symlink(leads, &path).map_err(at("make the link", &path))?;
                let (user, group) = attributes.ids(self.owner)?;
                return lchown(&path, Some(user), Some(group)).map_err(at("set the owner of", &path));
            }
            EntryType::Link => {
                let leads = below(&root, rule, &leads(entry, &name)?)?;
                clear(&path, rule)?;
                return fs::hard_link(leads, &path).map_err(at("make the link", &path));
            }
            EntryType::Fifo => {
                clear(&path, rule)?;
                mkfifo(&path, Mode::from_bits_truncate(0o600))
                    .map_err(|errno| at("make the FIFO", &path)(errno.into()))?;
                return attributes.settle(self.owner);
            }
            // What the crate has not taken in by itself says something of other entries alone.
            EntryType::XGlobalHeader
            | EntryType::XHeader
            | EntryType::GNULongName
            | EntryType::GNULongLink => {}
            _ => self.left_out.push(name.display().to_string()),
        }
        Ok(())
    }
}

/// Where a link leads.
fn leads(entry: &Entry<'_, impl Read>, name: &Path) -> io::Result<PathBuf> {
    let leads = entry.link_name().map_err(damaged)?;
    let leads = leads.ok_or_else(|| wrong("a link that leads nowhere", name))?;
    Ok(leads.into_owned())
}

/// Where the first entry of the stream goes, by the rules of cp(1).
fn place(target: &str, rule: &Rule, kind: EntryType) -> io::Result<PathBuf> {
    let path = Path::new(target);
    let (name, contents) = match rule {
        Rule::Copy { name, contents } => (name, contents),
        Rule::Extract => return folder(path).map(|()| path.to_owned()),
        Rule::Exact { top } => return make_parents(path, Path::new(top), rule).map(|()| path.to_owned()),
    };
    let is_folder = kind == EntryType::Directory;
    let refused = |why: &str| io::Error::new(io::ErrorKind::InvalidInput, format!("{target}: {why}"));
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => {
            Ok(if is_folder && *contents { path.to_owned() } else { path.join(name) })
        }
        Ok(_) if is_folder => Err(refused("a folder cannot take the place of a file")),
        Ok(_) if target.ends_with('/') => Err(refused("it is a file, not a folder")),
        // A link to a file stays, and what it leads to is written.
        Ok(_) => fs::canonicalize(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if target.ends_with('/') && !is_folder {
                return Err(refused("there is no such folder"));
            }
            match path.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => folder(parent)?,
                Some(_) | None => {}
            }
            Ok(path.to_owned())
        }
        Err(error) => Err(at("look at", path)(error)),
    }
}

/// Makes the folders above a target. Those above `top` are the container's own, and links among them hold.
fn make_parents(path: &Path, top: &Path, rule: &Rule) -> io::Result<()> {
    let Some(parent) = path.parent() else { return Ok(()) };
    let (above, below) = match (parent.strip_prefix(top), top.parent()) {
        (Ok(below), Some(above)) => (above, Some(below)),
        (Ok(_) | Err(_), _) => (parent, None),
    };
    fs::DirBuilder::new().recursive(true).mode(0o755).create(above).map_err(at("make the folder", above))?;
    let Some(below) = below else { return Ok(()) };
    let mut folder = top.to_owned();
    make_folder(&folder, rule)?;
    for part in below {
        folder.push(part);
        make_folder(&folder, rule)?;
    }
    Ok(())
}

fn folder(path: &Path) -> io::Result<()> {
    let found = fs::metadata(path).map_err(at("look at the folder", path))?;
    let refused = || io::Error::new(io::ErrorKind::NotADirectory, format!("{} is no folder", path.display()));
    if found.is_dir() { Ok(()) } else { Err(refused()) }
}

/// The path of an entry. One that would leave the target is refused.
fn below(root: &Path, rule: &Rule, name: &Path) -> io::Result<PathBuf> {
    let mut parts = Vec::new();
    for part in name.components() {
        match part {
            Component::Normal(part) => parts.push(part),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                return Err(wrong("an entry that would leave its folder", name));
            }
        }
    }
    let skipped = match rule {
        // Its own name, in place of which it has another here.
        Rule::Copy { .. } | Rule::Exact { .. } => 1,
        Rule::Extract => 0,
    };
    let mut path = root.to_owned();
    let mut rest = parts.into_iter().skip(skipped).peekable();
    while let Some(part) = rest.next() {
        path.push(part);
        // A link among the entries must not lead those after it out.
        if rest.peek().is_some() && fs::symlink_metadata(&path).is_ok_and(|found| found.is_symlink()) {
            return Err(wrong("an entry below a link", name));
        }
    }
    Ok(path)
}

fn wrong(what: &str, name: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the archive has {what}: {}", name.display()))
}

/// What the crate says of a stream that is no archive has that stream's bytes in it, whatever they are.
fn damaged(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::Other | io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput
            if error.raw_os_error().is_none() =>
        {
            let text =
                "this is no tar archive, or it is damaged; one that is compressed is to be unpacked first";
            io::Error::new(io::ErrorKind::InvalidData, text)
        }
        _ => error,
    }
}

fn make_folder(path: &Path, rule: &Rule) -> io::Result<()> {
    make_way(path, rule, true)?;
    match fs::DirBuilder::new().mode(0o755).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        other => other.map_err(at("make the folder", path)),
    }
}

/// Makes room for what is neither a folder nor a file.
fn clear(path: &Path, rule: &Rule) -> io::Result<()> {
    make_way(path, rule, false)?;
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(at("replace", path)),
    }
}

/// Takes away what is of another kind, where the rule has it so. A link that stayed would be written through, to a
/// place that nobody has named.
fn make_way(path: &Path, rule: &Rule, is_folder: bool) -> io::Result<()> {
    let Rule::Exact { top } = rule else { return Ok(()) };
    let is_top = path == Path::new(top);
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => match is_folder || is_top {
            // A file that was to go into that folder, more likely than one that was to go in its place.
            true => Ok(()),
            false => removal::remove(path),
        },
        // Where the container has laid it, it was named.
        Ok(_) if is_folder && is_top && path.is_dir() => Ok(()),
        Ok(_) if is_folder => fs::remove_file(path),
        Ok(_) | Err(_) => Ok(()),
    };
    removed.map_err(at("replace", path))
}

/// Writes a file beside its place and puts it there, so that whoever reads it finds the old one or the new one. It has
/// this length, and holes where it is sparse.
fn file(
    path: &Path,
    entry: &mut impl Read,
    (length, sparse): (u64, bool),
    attributes: &Attributes,
    owner: Owner,
) -> io::Result<()> {
    if fs::symlink_metadata(path).is_ok_and(|found| found.is_dir()) {
        let text = format!("{}: a file cannot take the place of a folder", path.display());
        return Err(io::Error::new(io::ErrorKind::IsADirectory, text));
    }
    let aside = aside(path);
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside);
    let written = made.and_then(|mut file| {
        let copied = if sparse { sparse::write(entry, &file)? } else { io::copy(entry, &mut file)? };
        if copied < length {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the archive ends in the middle of it"));
        }
        attributes.apply(&file, owner)?;
        fs::rename(&aside, path)
    });
    match written {
        Ok(()) => Ok(()),
        // A single file that is mounted cannot be replaced, only written.
        Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
            let overwritten = fs::copy(&aside, path).map(drop).map_err(at("write", path));
            fs::remove_file(&aside).and(overwritten)
        }
        Err(error) => {
            let _ = fs::remove_file(&aside);
            Err(at("write", path)(error))
        }
    }
}

/// A name in the same folder that nobody else uses.
fn aside(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}.compose", std::process::id()));
    // Names are 255 bytes at most (path_resolution(7)); a longer one is cut at its front.
    let bytes = name.as_encoded_bytes();
    match bytes.len() {
        0..=255 => path.with_file_name(name),
        _ => path.with_file_name(format!(".{}.{}.compose", std::process::id(), bytes.len())),
    }
}

impl Attributes {
    fn ids(&self, owner: Owner) -> io::Result<(u32, u32)> {
        let (user, group) = match owner {
            Owner::Kept => (self.user, self.group),
            Owner::Set(user, group) => (user, group),
        };
        let range = super::ENTERED.get();
        Ok((userns::outside(range, user)?, userns::outside(range, group)?))
    }

    fn modified(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(self.time)
    }

    /// The owner first: setting it takes the set-user-ID bit and capabilities away (chown(2)).
    fn apply(&self, file: &File, owner: Owner) -> io::Result<()> {
        let (user, group) = self.ids(owner)?;
        std::os::unix::fs::fchown(file, Some(user), Some(group))?;
        for (name, value) in &self.extended {
            match fsetxattr(file, name, value, XattrFlags::empty()) {
                // Who copies out may be nobody in particular, to a filesystem that has none.
                Err(Errno::OPNOTSUPP | Errno::PERM) => {}
                other => other?,
            }
        }
        file.set_permissions(Permissions::from_mode(self.mode))?;
        file.set_modified(self.modified())
    }

    fn settle(&self, owner: Owner) -> io::Result<()> {
        let (user, group) = self.ids(owner)?;
        let settled = chown(&self.path, Some(user), Some(group))
            .and_then(|()| fs::set_permissions(&self.path, Permissions::from_mode(self.mode)));
        settled.map_err(at("set the owner and mode of", &self.path))?;
        if self.path.is_dir() {
            let folder = File::open(&self.path).and_then(|folder| folder.set_modified(self.modified()));
            folder.map_err(at("set the time of", &self.path))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
