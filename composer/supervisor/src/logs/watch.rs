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
        self.add_newest(folder)
    }

    /// The index alone: a reader goes no further than it reaches.
    fn add_newest(&self, folder: &Path) -> io::Result<()> {
        let newest = generations::list(folder)?.last().copied().unwrap_or(0);
        match self.inotify.add_watch(&generations::index(folder, newest), AddWatchFlags::IN_MODIFY) {
            // Gone already where the next is there, which is told of by its folder.
            Err(Errno::ENOENT) if newest > 0 => Ok(()),
            other => Ok(other.map(drop)?),
        }
    }

    /// Takes the pending wake-ups; to be called before [`super::Reader::read`].
    pub fn drain(&mut self) -> io::Result<()> {
        match self.inotify.read_events() {
            Ok(events) => {
                let moved = events.iter().filter(|event| event.mask.contains(AddWatchFlags::IN_MOVED_TO));
                for folder in moved.filter_map(|event| self.folders.get(&event.wd)) {
                    match self.add_newest(folder) {
                        // The container has been removed.
                        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                        added => added?,
                    }
                }
                Ok(())
            }
            Err(Errno::EAGAIN) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}
