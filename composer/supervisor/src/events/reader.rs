//! Reads the journal of a stack and follows it, over the end of the stack and its coming again.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use super::Happening;
use crate::paths::StackPaths;

/// How many of the folders above the journal are watched for being made: the stack's, all stacks', ours, and the one
/// that is the system's.
const FOLDERS: usize = 4;

/// Reads one stack's journal from its beginning on.
pub struct Reader {
    paths: StackPaths,
    inotify: Inotify,
    /// The file that is being read.
    file: Option<File>,
    /// A line that is not complete yet.
    partial: Vec<u8>,
}

impl Reader {
    /// Opens the journal of a stack, whether it is there or not.
    ///
    /// # Errors
    /// Of inotify(7).
    pub fn open(stack: &str) -> io::Result<Self> {
        Self::at(StackPaths::new(stack))
    }

    pub(super) fn at(paths: StackPaths) -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        let reader = Self { paths, inotify, file: None, partial: Vec::new() };
        reader.watch()?;
        Ok(reader)
    }

    /// Watches the folders that are there, the outermost first: one that comes meanwhile is told of by its parent.
    fn watch(&self) -> io::Result<()> {
        let state = self.paths.state();
        let mut folders: Vec<&Path> = state.ancestors().take(FOLDERS).collect();
        folders.reverse();
        for folder in folders {
            let flags = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO | AddWatchFlags::IN_ONLYDIR;
            // Only in the stack's own does it matter that a file has grown.
            let grows = if folder == state { AddWatchFlags::IN_MODIFY } else { AddWatchFlags::empty() };
            match self.inotify.add_watch(folder, flags | grows) {
                Ok(_) => {}
                Err(Errno::ENOENT) => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Takes the pending wake-ups; to be called before [`Reader::read`].
    ///
    /// # Errors
    /// Of inotify(7).
    pub fn woken(&mut self) -> io::Result<()> {
        match self.inotify.read_events() {
            Ok(_) | Err(Errno::EAGAIN) => self.watch(),
            Err(error) => Err(error.into()),
        }
    }

    /// Appends everything that has happened since the last call.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn read(&mut self, happenings: &mut Vec<Happening>) -> io::Result<()> {
        loop {
            if self.file.is_none() {
                self.file = match open(&self.paths.earlier_events())? {
                    Some(earlier) => Some(earlier),
                    None => open(&self.paths.events())?,
                };
            }
            let Some(file) = &mut self.file else { return Ok(()) };
            read(file, &mut self.partial, happenings)?;
            let Some(current) = open(&self.paths.events())? else { return Ok(()) };
            if is_same(file, &current)? {
                return Ok(());
            }
            // Nothing is written to it any more, and what was has been written by now.
            read(file, &mut self.partial, happenings)?;
            self.partial.clear();
            let next = match open(&self.paths.earlier_events())? {
                Some(earlier) if !is_same(file, &earlier)? => earlier,
                Some(_) | None => current,
            };
            self.file = Some(next);
        }
    }
}

impl AsFd for Reader {
    /// Readable when [`Reader::woken`] has something to take.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

fn open(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        opened => opened.map(Some),
    }
}

fn is_same(one: &File, other: &File) -> io::Result<bool> {
    // An inode's number is not given to another file while this one is open.
    let (one, other) = (one.metadata()?, other.metadata()?);
    Ok((one.dev(), one.ino()) == (other.dev(), other.ino()))
}

/// Reads to the end, and takes in the whole lines.
fn read(file: &mut File, partial: &mut Vec<u8>, happenings: &mut Vec<Happening>) -> io::Result<()> {
    file.read_to_end(partial)?;
    let Some(end) = memchr::memrchr(b'\n', partial) else { return Ok(()) };
    let lines = partial.drain(..=end).collect::<Vec<u8>>();
    // One that a crash cut short, or that a later version wrote, tells nothing.
    happenings
        .extend(lines.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()));
    Ok(())
}
