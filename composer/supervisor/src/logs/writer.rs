//! From a container's pipes to its log, by splice(2): a byte is in the pipe or in the file, so a supervisor
//! that is killed at any moment loses none and doubles none.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SpliceFFlags, fcntl, splice};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::Stream;
use super::index::{self, Entry, Index};
use super::seeker::Seeker;
use crate::clock;

/// The most one splice moves.
const MOST: usize = 1 << 20;
/// What a pipe is given once a service has filled the kernel's default of 64 KiB: fewer turns a byte.
const BUSY_PIPE: i32 = 1 << 20;

/// How much of what was moved is looked at in one go.
const PIECE: usize = 1 << 16;

/// What a call to [`Writer::take`] came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken {
    /// The pipe is empty for now.
    Drained,
    /// Nobody can write to the pipe any more.
    Ended,
}

/// Writes one container's log.
pub struct Writer {
    folder: PathBuf,
    /// Open as soon as something has come on them.
    streams: [Option<File>; 2],
    ends: [u64; 2],
    index: Index,
    records: u64,
    grown: [bool; 2],
    /// Bytes that a full disk made it throw away since it was last asked.
    lost: u64,
    /// Looks at what comes until it has found something.
    seeker: Option<Seeker>,
}

impl Writer {
    /// Opens the log in this folder and mends what a crash left of its index.
    pub fn open(folder: &Path) -> io::Result<Self> {
        crate::paths::make(folder)?;
        let mut index = Index::new(open(&index::path(folder), true)?);
        let records = index.len()?;
        let indexed = index.before(records)?;
        let mut streams = [None, None];
        for stream in Stream::ALL {
            streams[stream as usize] = match open(&folder.join(stream.file()), false) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                other => Some(other?),
            };
        }
        let folder = folder.to_owned();
        let mut writer =
            Self { folder, streams, ends: indexed, index, records, grown: [false; 2], lost: 0, seeker: None };
        for stream in Stream::ALL.map(|stream| stream as usize) {
            let Some(file) = &writer.streams[stream] else {
                continue;
            };
            let metadata = file.metadata()?;
            if indexed[stream] < metadata.len() {
                writer.ends[stream] = metadata.len();
                writer.note(metadata.modified().map_or(0, clock::since_epoch))?;
            }
        }
        Ok(writer)
    }

    /// Opens the log for another run of its program: what the last one left of a line stays a line of its own.
    pub fn open_for_run(folder: &Path) -> io::Result<Self> {
        let mut writer = Self::open(folder)?;
        for stream in Stream::ALL {
            writer.end_line(stream)?;
        }
        Ok(writer)
    }

    /// Ends a stream's last line where it lacks its newline.
    fn end_line(&mut self, stream: Stream) -> io::Result<()> {
        let slot = stream as usize;
        let (Some(file), end) = (&self.streams[slot], self.ends[slot]) else {
            return Ok(());
        };
        let mut last = [b'\n'];
        if end > 0 {
            file.read_exact_at(&mut last, end - 1)?;
        }
        if last == [b'\n'] { Ok(()) } else { self.append(slot, b"\n") }
    }

    /// Writes a line of our own: what a hook prints.
    pub fn line(&mut self, stream: Stream, line: &[u8]) -> io::Result<()> {
        self.end_line(stream)?;
        let slot = stream as usize;
        if self.streams[slot].is_none() {
            match open(&self.folder.join(stream.file()), true) {
                Err(error) if full(&error) => return Ok(()),
                other => self.streams[slot] = Some(other?),
            }
        }
        self.append(slot, &[line, b"\n"].concat())
    }

    /// Writes at the end of a stream that has a file, where the disk has room.
    fn append(&mut self, slot: usize, bytes: &[u8]) -> io::Result<()> {
        let Some(file) = &self.streams[slot] else { return Ok(()) };
        match file.write_all_at(bytes, self.ends[slot]) {
            Err(error) if full(&error) => return Ok(()),
            other => other?,
        }
        self.ends[slot] += bytes.len() as u64;
        self.note(clock::now())
    }

    /// Has what comes from now on looked at, and the end of what has come already where `tails`.
    pub fn seek(&mut self, mut seeker: Seeker, tails: bool) -> io::Result<()> {
        for slot in Stream::ALL.map(|stream| stream as usize).into_iter().filter(|_| tails) {
            let end = self.ends[slot];
            let length = end.min(seeker.overlap() as u64);
            if let Some(file) = &self.streams[slot] {
                let mut tail = vec![0; usize::try_from(length).unwrap_or(0)];
                file.read_exact_at(&mut tail, end - length)?;
                seeker.look(slot, &tail);
            }
        }
        self.seeker = Some(seeker);
        Ok(())
    }

    /// Has the bytes that have just been moved looked at.
    fn look(&mut self, slot: usize, from: u64) -> io::Result<()> {
        let (Some(seeker), Some(file)) = (&mut self.seeker, &self.streams[slot]) else { return Ok(()) };
        let mut piece = vec![0; PIECE];
        let mut at = from;
        while at < self.ends[slot] {
            let length = usize::try_from(self.ends[slot] - at).unwrap_or(PIECE).min(PIECE);
            file.read_exact_at(&mut piece[..length], at)?;
            at += length as u64;
            if seeker.look(slot, &piece[..length]) {
                self.seeker = None;
                break;
            }
        }
        Ok(())
    }

    /// Writes how far the streams have come.
    fn note(&mut self, time: u64) -> io::Result<()> {
        match self.index.write(self.records, Entry { time, ends: self.ends }) {
            Err(error) if full(&error) => Ok(()),
            other => {
                self.records += 1;
                other
            }
        }
    }

    /// Moves what the pipe holds, at most `budget` bytes, so that one busy service does not starve the others.
    pub fn take(&mut self, stream: Stream, pipe: BorrowedFd<'_>, budget: usize) -> io::Result<Option<Taken>> {
        let slot = stream as usize;
        let mut moved = 0;
        while moved < budget {
            if self.streams[slot].is_none() {
                if let Some(nothing) = nothing_in(pipe)? {
                    return Ok(Some(nothing));
                }
                match open(&self.folder.join(stream.file()), true) {
                    Err(error) if full(&error) => {}
                    other => self.streams[slot] = Some(other?),
                }
            }
            let Some(file) = &self.streams[slot] else {
                moved += self.discard(slot, pipe)?;
                continue;
            };
            let mut offset = i64::try_from(self.ends[slot]).unwrap_or(i64::MAX);
            let flags = SpliceFFlags::SPLICE_F_NONBLOCK | SpliceFFlags::SPLICE_F_MOVE;
            let spliced = match splice(pipe, None, file, Some(&mut offset), MOST, flags) {
                // Terminals cannot be spliced from.
                Err(Errno::EINVAL) => copy(pipe, file, self.ends[slot]),
                other => other,
            };
            match spliced {
                Ok(0) => return Ok(Some(Taken::Ended)),
                Ok(bytes) => {
                    self.ends[slot] += bytes as u64;
                    moved += bytes;
                    self.note(clock::now())?;
                    self.look(slot, self.ends[slot] - bytes as u64)?;
                    self.grow(slot, bytes, pipe);
                }
                // EIO is how a pseudo-terminal says that its last process has gone (tty_ioctl(4)).
                Err(Errno::EIO) => return Ok(Some(Taken::Ended)),
                Err(Errno::EAGAIN) => return Ok(Some(Taken::Drained)),
                Err(Errno::EINTR) => {}
                // A service must not stand still because the log's disk is full.
                Err(Errno::ENOSPC | Errno::EDQUOT | Errno::EFBIG) => {
                    moved += self.discard(slot, pipe)?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(None)
    }

    fn grow(&mut self, slot: usize, bytes: usize, pipe: BorrowedFd<'_>) {
        if !self.grown[slot] && bytes >= 1 << 16 {
            self.grown[slot] = true;
            // Refused where the user's pipes have reached pipe-user-pages-soft: the small pipe serves as well.
            let _ = fcntl(pipe, FcntlArg::F_SETPIPE_SZ(BUSY_PIPE));
        }
    }

    fn discard(&mut self, slot: usize, pipe: BorrowedFd<'_>) -> io::Result<usize> {
        let mut rubbish = [0; 1 << 16];
        match nix::unistd::read(pipe, &mut rubbish) {
            Ok(bytes) => {
                self.lost += bytes as u64;
                if self.seeker.as_mut().is_some_and(|seeker| seeker.look(slot, &rubbish[..bytes])) {
                    self.seeker = None;
                }
                Ok(bytes)
            }
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    /// How many bytes a full disk has cost since the last call.
    pub fn lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }
}

/// A file of the log. Not O_APPEND: splice(2) refuses to write to such a file.
fn open(path: &Path, create: bool) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(create).truncate(false).mode(0o600).open(path)
}

/// What an empty pipe came to; `None` where it holds something.
fn nothing_in(pipe: BorrowedFd<'_>) -> io::Result<Option<Taken>> {
    let mut fds = [PollFd::new(pipe, PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::ZERO)?;
    let events = fds[0].revents().unwrap_or(PollFlags::empty());
    Ok(if events.contains(PollFlags::POLLIN) {
        None
    } else if events.is_empty() {
        Some(Taken::Drained)
    } else {
        Some(Taken::Ended)
    })
}

/// Reads and writes. What a supervisor that is killed between the two has read is lost.
fn copy(pipe: BorrowedFd<'_>, file: &File, at: u64) -> nix::Result<usize> {
    let mut text = [0; 1 << 12];
    let length = nix::unistd::read(pipe, &mut text)?;
    let written = file.write_all_at(&text[..length], at);
    written.map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO))).map(|()| length)
}

fn full(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(code) if [libc::ENOSPC, libc::EDQUOT].contains(&code))
}
