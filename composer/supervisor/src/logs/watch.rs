//! Wakes when any of some logs grows (inotify(7)).

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use super::index;

/// Wakes when any of some logs grows.
pub struct Watch {
    inotify: Inotify,
}

impl Watch {
    /// Watches nothing yet.
    pub fn new() -> io::Result<Self> {
        Ok(Self { inotify: Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)? })
    }

    /// Watches the log in this folder; to be called before its first [`super::Reader::read`].
    pub fn add(&mut self, folder: &Path) -> io::Result<()> {
        // The index alone: a reader goes no further than it reaches.
        self.inotify.add_watch(&index::path(folder), AddWatchFlags::IN_MODIFY)?;
        Ok(())
    }

    /// Takes the pending wake-ups.
    pub fn drain(&mut self) -> io::Result<()> {
        match self.inotify.read_events() {
            Ok(_) | Err(Errno::EAGAIN) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}
