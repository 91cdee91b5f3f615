//! Wakes when any of some logs grows (inotify(7)).

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};

use super::generations;

/// Wakes when any of some logs grows.
pub struct Watch {
    inotify: Inotify,
    folders: HashMap<WatchDescriptor, PathBuf>,
}

impl Watch {
    /// Watches nothing yet.
    pub fn new() -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        Ok(Self { inotify, folders: HashMap::new() })
    }

    /// Watches the log in this folder; to be called before its first [`super::Reader::read`].
    pub fn add(&mut self, folder: &Path) -> io::Result<()> {
        // A new generation's index is moved into its place.
        let of_folder = self.inotify.add_watch(folder, AddWatchFlags::IN_MOVED_TO)?;
        self.folders.insert(of_folder, folder.to_owned());
        self.add_index(folder, generations::list(folder)?.last().copied().unwrap_or(0))
    }

    /// The index alone: a reader goes no further than it reaches.
    fn add_index(&self, folder: &Path, generation: u64) -> io::Result<()> {
        match self.inotify.add_watch(&generations::index(folder, generation), AddWatchFlags::IN_MODIFY) {
            // Gone already where the next is there, which is told of by its folder.
            Err(Errno::ENOENT) if generation > 0 => Ok(()),
            other => Ok(other.map(drop)?),
        }
    }

    /// Takes the pending wake-ups; to be called before [`super::Reader::read`].
    pub fn drain(&mut self) -> io::Result<()> {
        let events = match self.inotify.read_events() {
            Err(Errno::EAGAIN) => return Ok(()),
            events => events?,
        };
        // Of many generations that came at once, only the newest is written to.
        let mut newest: HashMap<&Path, u64> = HashMap::new();
        for event in events.iter().filter(|event| event.mask.contains(AddWatchFlags::IN_MOVED_TO)) {
            let moved = event.name.as_deref().and_then(generations::of_index);
            if let Some((folder, generation)) = self.folders.get(&event.wd).zip(moved) {
                let known = newest.entry(folder).or_default();
                *known = generation.max(*known);
            }
        }
        for (folder, generation) in newest {
            self.add_index(folder, generation)?;
        }
        Ok(())
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}
