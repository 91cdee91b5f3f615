//! From a container's pipes to its log, by splice(2): a byte is in the pipe or in the file, so a supervisor
//! that is killed at any moment loses none and doubles none.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SpliceFFlags, fcntl, splice};

use super::Stream;
use super::index::{self, Entry, Index};
use crate::clock;

/// The most one splice moves.
const MOST: usize = 1 << 20;
/// What a pipe is given once a service has filled the kernel's default of 64 KiB: fewer turns a byte.
const BUSY_PIPE: i32 = 1 << 20;

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
    streams: [File; 2],
    ends: [u64; 2],
    index: Index,
    records: u64,
    grown: [bool; 2],
    /// Bytes that a full disk made it throw away since it was last asked.
    lost: u64,
}

impl Writer {
    /// Opens the log in this folder and mends what a crash left of its index.
    pub fn open(folder: &Path) -> io::Result<Self> {
        crate::paths::make(folder)?;
        // Not O_APPEND: splice(2) refuses to write to such a file.
        let open = |name: &Path| {
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(name)
        };
        let streams =
            [open(&folder.join(Stream::Stdout.file()))?, open(&folder.join(Stream::Stderr.file()))?];
        let mut index = Index::new(open(&index::path(folder))?);
        let records = index.len()?;
        let indexed = index.before(records)?;
        let ends = [streams[0].metadata()?.len(), streams[1].metadata()?.len()];
        let mut writer = Self { streams, ends, index, records, grown: [false; 2], lost: 0 };
        for stream in Stream::ALL.map(|stream| stream as usize) {
            if indexed[stream] < ends[stream] {
                let written = writer.streams[stream].metadata()?.modified().map_or(0, clock::since_epoch);
                let mut reached = indexed;
                reached[..=stream].copy_from_slice(&ends[..=stream]);
                writer.note(written, reached)?;
            }
        }
        Ok(writer)
    }

    /// Opens the log for another run of its program: what the last one left of a line stays a line of its own.
    pub fn open_for_run(folder: &Path) -> io::Result<Self> {
        let mut writer = Self::open(folder)?;
        for stream in Stream::ALL.map(|stream| stream as usize) {
            let (file, end) = (&writer.streams[stream], writer.ends[stream]);
            let mut last = [b'\n'];
            if end > 0 {
                file.read_exact_at(&mut last, end - 1)?;
            }
            if last != [b'\n'] {
                match file.write_all_at(b"\n", end) {
                    Err(error) if full(&error) => continue,
                    other => other?,
                }
                writer.ends[stream] += 1;
                writer.note(clock::now(), writer.ends)?;
            }
        }
        Ok(writer)
    }

    fn note(&mut self, time: u64, ends: [u64; 2]) -> io::Result<()> {
        match self.index.write(self.records, Entry { time, ends }) {
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
            let mut offset = i64::try_from(self.ends[slot]).unwrap_or(i64::MAX);
            let flags = SpliceFFlags::SPLICE_F_NONBLOCK | SpliceFFlags::SPLICE_F_MOVE;
            let spliced = match splice(pipe, None, &self.streams[slot], Some(&mut offset), MOST, flags) {
                // Terminals cannot be spliced from.
                Err(Errno::EINVAL) => self.copy(slot, pipe),
                other => other,
            };
            match spliced {
                Ok(0) => return Ok(Some(Taken::Ended)),
                Ok(bytes) => {
                    self.ends[slot] += bytes as u64;
                    moved += bytes;
                    self.note(clock::now(), self.ends)?;
                    self.grow(slot, bytes, pipe);
                }
                // EIO is how a pseudo-terminal says that its last process has gone (tty_ioctl(4)).
                Err(Errno::EIO) => return Ok(Some(Taken::Ended)),
                Err(Errno::EAGAIN) => return Ok(Some(Taken::Drained)),
                Err(Errno::EINTR) => {}
                // A service must not stand still because the log's disk is full.
                Err(Errno::ENOSPC | Errno::EDQUOT | Errno::EFBIG) => moved += self.discard(pipe)?,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(None)
    }

    /// Reads and writes. What a supervisor that is killed between the two has read is lost.
    fn copy(&self, slot: usize, pipe: BorrowedFd<'_>) -> nix::Result<usize> {
        let mut text = [0; 1 << 12];
        let length = nix::unistd::read(pipe, &mut text)?;
        let written = self.streams[slot].write_all_at(&text[..length], self.ends[slot]);
        written.map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO))).map(|()| length)
    }

    fn grow(&mut self, slot: usize, bytes: usize, pipe: BorrowedFd<'_>) {
        if !self.grown[slot] && bytes >= 1 << 16 {
            self.grown[slot] = true;
            // Refused where the user's pipes have reached pipe-user-pages-soft: the small pipe serves as well.
            let _ = fcntl(pipe, FcntlArg::F_SETPIPE_SZ(BUSY_PIPE));
        }
    }

    fn discard(&mut self, pipe: BorrowedFd<'_>) -> io::Result<usize> {
        let mut rubbish = [0; 1 << 16];
        match nix::unistd::read(pipe, &mut rubbish) {
            Ok(bytes) => {
                self.lost += bytes as u64;
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

fn full(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(code) if [libc::ENOSPC, libc::EDQUOT].contains(&code))
}
