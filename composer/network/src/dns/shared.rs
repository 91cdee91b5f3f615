//! Names on a network that several stacks are on: each writes those of its containers into a file of the network's
//! folder, and takes the others' from theirs as soon as they are written (inotify(7)).

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use serde::{Deserialize, Serialize};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::task::{JoinHandle, spawn_local};

use super::zone::{Entry, Zone};
use crate::error::{Error, Result};
use crate::folder::Folder;

const SUFFIX: &str = ".json";

/// A stack's file.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Names {
    /// By container.
    containers: BTreeMap<String, Entry>,
}

/// A stack's part in a network that others are on as well: what is in the zone is told to them by
/// [`publish`](Self::publish), what they tell is in the zone until this is dropped.
#[derive(Debug)]
pub struct Neighbours {
    folder: PathBuf,
    stack: String,
    zone: Rc<Zone>,
    following: JoinHandle<()>,
}

impl Drop for Neighbours {
    fn drop(&mut self) {
        self.following.abort();
        self.zone.set_neighbours(BTreeMap::new());
    }
}

impl Neighbours {
    /// Takes up in the zone what other stacks have in the network's folder, which is made where it is missing, and
    /// follows it. Must be called within a `LocalSet`.
    ///
    /// # Errors
    /// When the folder cannot be made, watched or read.
    pub fn join(folder: &Path, stack: &str, zone: Rc<Zone>) -> Result<Self> {
        let (inotify, zone) = watch(folder)
            .and_then(|inotify| {
                // Watched first: what is written from now on is read again.
                zone.set_neighbours(read(folder, stack)?);
                Ok((inotify, zone))
            })
            .map_err(|source| failed("read", folder, source))?;
        let following = spawn_local(follow(inotify, folder.to_owned(), stack.to_owned(), Rc::clone(&zone)));
        Ok(Self { folder: folder.to_owned(), stack: stack.to_owned(), zone, following })
    }

    /// Tells the others which names the zone has of this stack's containers. To be called after each change of the
    /// zone.
    ///
    /// # Errors
    /// When the stack's file cannot be written.
    pub fn publish(&self) -> Result<()> {
        let names = Names { containers: self.zone.own() };
        let path = file(&self.folder, &self.stack);
        write(&self.folder, &path, &names).map_err(|source| failed("write", &path, source))
    }

    /// Has the others forget this stack's names; to be called when nothing of it is on the network any more.
    ///
    /// # Errors
    /// When the stack's file cannot be removed.
    pub fn leave(self) -> Result<()> {
        Self::forget(&self.folder, &self.stack)
    }

    /// The same for a stack that does not follow the network any more, as it has died there.
    ///
    /// # Errors
    /// When the stack's file cannot be removed.
    pub fn forget(folder: &Path, stack: &str) -> Result<()> {
        let path = file(folder, stack);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(failed("remove", &path, source)),
            _ => Ok(()),
        }
    }
}

fn failed(doing: &'static str, path: &Path, source: io::Error) -> Error {
    Error::kernel(doing, path.display().to_string(), source)
}

fn file(folder: &Path, stack: &str) -> PathBuf {
    folder.join(format!("{stack}{SUFFIX}"))
}

/// nix's type knows the newer trait alone, the runtime the older.
#[derive(Debug)]
struct Watch(Inotify);

impl AsRawFd for Watch {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

fn watch(folder: &Path) -> io::Result<AsyncFd<Watch>> {
    Folder::new(folder).make()?;
    let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
    let changes = AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_MOVED_FROM | AddWatchFlags::IN_DELETE;
    inotify.add_watch(folder, changes | AddWatchFlags::IN_ONLYDIR)?;
    // Deprecated for types whose AsRawFd may lie, which this one's does not; what replaces it is unsafe.
    #[allow(deprecated)]
    AsyncFd::with_interest(Watch(inotify), Interest::READABLE)
}

async fn follow(inotify: AsyncFd<Watch>, folder: PathBuf, own: String, zone: Rc<Zone>) {
    loop {
        let Ok(mut ready) = inotify.readable().await else { return };
        let events = match inotify.get_ref().0.read_events() {
            Ok(events) => events,
            Err(Errno::EAGAIN) => {
                ready.clear_ready();
                continue;
            }
            Err(_) => return,
        };
        let own_file = format!("{own}{SUFFIX}");
        // One without a name tells that some were lost.
        let is_others =
            |name: &std::ffi::OsString| *name != *own_file && name.to_string_lossy().ends_with(SUFFIX);
        if events.iter().any(|event| event.name.as_ref().is_none_or(is_others)) {
            // A folder that is gone has nobody's names in it.
            zone.follow_neighbours(read(&folder, &own).unwrap_or_default());
        }
    }
}

/// What the other stacks have written. A file that cannot be read says nothing: its stack may have removed it
/// in this moment.
fn read(folder: &Path, own: &str) -> io::Result<BTreeMap<String, BTreeMap<String, Entry>>> {
    let mut stacks = BTreeMap::new();
    for entry in fs::read_dir(folder)?.flatten() {
        let name = entry.file_name();
        let Some(stack) = name.to_str().and_then(|name| name.strip_suffix(SUFFIX)) else {
            continue;
        };
        if stack == own {
            continue;
        }
        let names = fs::read(entry.path()).ok().and_then(|text| serde_json::from_slice::<Names>(&text).ok());
        if let Some(names) = names {
            stacks.insert(stack.to_owned(), names.containers);
        }
    }
    Ok(stacks)
}

/// Writes the file in one step: it is moved into its place.
fn write(folder: &Path, path: &Path, names: &Names) -> io::Result<()> {
    let text = serde_json::to_vec(names).map_err(io::Error::other)?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = folder.join(name);
    fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)?
        .write_all(&text)?;
    fs::rename(new, path)
}
