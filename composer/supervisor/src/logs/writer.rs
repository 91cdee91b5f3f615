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
use super::generations;
use super::index::{Entry, Index};
use super::seeker::Seeker;
use crate::clock;
use composer_stack::Logging;

/// The most one splice moves.
const MOST: usize = 1 << 20;
/// The least that one splice moves, however little room there is in a generation: a page.
const LEAST: u64 = 1 << 12;
/// What has come of a line moves along into the next generation up to this length, and is a line of its own beyond it.
const TAIL: u64 = 1 << 16;
/// What a pipe is given once a service has filled the kernel's default of 64 KiB: fewer turns a byte.
const BUSY_PIPE: i32 = 1 << 20;
/// How often one turn may begin another generation: with a small `max-size` that costs more than the bytes do.
const ROTATIONS: u64 = 4;
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
    keep: Logging,
    /// The oldest generation that is left, and the one that is written to.
    oldest: u64,
    generation: u64,
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
    pub fn open(folder: &Path, keep: Logging) -> io::Result<Self> {
        crate::paths::make(folder)?;
        let there = generations::list(folder)?;
        let (oldest, generation) = there.first().copied().zip(there.last().copied()).unwrap_or_default();
        let mut index = Index::new(open(&generations::index(folder, generation), true)?);
        let records = index.len()?;
        let indexed = index.before(records)?;
        let mut streams = [None, None];
        for stream in Stream::ALL {
            streams[stream as usize] = match open(&generations::stream(folder, stream, generation), false) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                other => Some(other?),
            };
        }
        let folder = folder.to_owned();
        let (ends, grown) = (indexed, [false; 2]);
        let mut writer = Self {
            folder,
            keep,
            oldest,
            generation,
            streams,
            ends,
            index,
            records,
            grown,
            lost: 0,
            seeker: None,
        };
        if keep == Logging::Nothing {
            // Whatever the last configuration kept is left as it is.
            let nowhere = OpenOptions::new().write(true).open("/dev/null")?;
            writer.streams = [Some(nowhere.try_clone()?), Some(nowhere)];
            return Ok(writer);
        }
        // What was kept for whoever read it then.
        writer.prune()?;
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
    pub fn open_for_run(folder: &Path, keep: Logging) -> io::Result<Self> {
        let mut writer = Self::open(folder, keep)?;
        if keep == Logging::Nothing {
            return Ok(writer);
        }
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
        if self.keep == Logging::Nothing {
            return Ok(());
        }
        self.end_line(stream)?;
        let slot = stream as usize;
        if self.streams[slot].is_none() {
            match open(&generations::stream(&self.folder, stream, self.generation), true) {
                Err(error) if full(&error) => return Ok(()),
                other => self.streams[slot] = Some(other?),
            }
        }
        self.append(slot, &[line, b"\n"].concat())?;
        self.rotate_if_full()
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
        if self.keep == Logging::Nothing {
            return Ok(());
        }
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
        if self.keep == Logging::Nothing {
            return Ok(());
        }
        match self.index.write(self.records, Entry { time, ends: self.ends }) {
            Err(error) if full(&error) => Ok(()),
            other => {
                self.records += 1;
                other
            }
        }
    }

    /// Moves what the pipe holds, at most `budget` bytes and [`ROTATIONS`] generations, so that one busy service does
    /// not starve the others.
    pub fn take(&mut self, stream: Stream, pipe: BorrowedFd<'_>, budget: usize) -> io::Result<Option<Taken>> {
        let slot = stream as usize;
        let mut moved = 0;
        let last = self.generation + ROTATIONS;
        while moved < budget && self.generation < last {
            if self.streams[slot].is_none() {
                if let Some(nothing) = nothing_in(pipe)? {
                    return Ok(Some(nothing));
                }
                match open(&generations::stream(&self.folder, stream, self.generation), true) {
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
            let spliced = match splice(pipe, None, file, Some(&mut offset), self.room(), flags) {
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
                    self.rotate_if_full()?;
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

    /// How much the next splice may move.
    fn room(&self) -> usize {
        let room = self.limit().saturating_sub(self.ends.iter().sum()).max(LEAST);
        usize::try_from(room).unwrap_or(MOST).min(MOST)
    }

    /// How large this generation may grow.
    fn limit(&self) -> u64 {
        match self.keep {
            Logging::Whole | Logging::Nothing => u64::MAX,
            Logging::Rotated { max_size, max_file } => {
                let lags = self.generation - self.oldest >= u64::from(max_file);
                if lags { max_size.max(generations::KEPT) } else { max_size }
            }
        }
    }

    /// Begins the next generation where this one has grown to its size.
    fn rotate_if_full(&mut self) -> io::Result<()> {
        let Logging::Rotated { max_size, .. } = self.keep else { return Ok(()) };
        let size = self.ends.iter().sum::<u64>();
        if size < max_size {
            return Ok(());
        }
        // Whoever lagged may have gone, or come on.
        self.prune()?;
        if size < self.limit() {
            return Ok(());
        }
        match self.rotate(TAIL.min(max_size / 4)) {
            // It goes on growing meanwhile.
            Err(error) if full(&error) => {}
            rotated => rotated?,
        }
        self.prune()
    }

    /// Removes generations beyond those that are to be kept.
    fn prune(&mut self) -> io::Result<()> {
        if let Logging::Rotated { max_size, max_file } = self.keep {
            let span = (self.oldest, self.generation);
            self.oldest = generations::prune(&self.folder, span, max_size, u64::from(max_file))?;
        }
        Ok(())
    }

    /// Begins the next generation with what has come of the lines that are not complete yet, `most` bytes of each at
    /// most. A crash on the way leaves files that do not count.
    fn rotate(&mut self, most: u64) -> io::Result<()> {
        let next = self.generation + 1;
        let mut tails = [Vec::new(), Vec::new()];
        let mut times = [None; 2];
        for slot in Stream::ALL.map(|stream| stream as usize) {
            tails[slot] = self.tail(slot, most)?;
            let begin = self.ends[slot] - tails[slot].len() as u64;
            if !tails[slot].is_empty() {
                let first = self.index.search(|entry| entry.ends[slot] <= begin)?;
                times[slot] = self.index.at(first)?.map(|entry| entry.time);
            }
        }
        let mut streams = [None, None];
        for stream in Stream::ALL {
            let path = generations::stream(&self.folder, stream, next);
            generations::remove_if_there(&path)?;
            let tail = &tails[stream as usize];
            if !tail.is_empty() {
                let file = open(&path, true)?;
                file.write_all_at(tail, 0)?;
                streams[stream as usize] = Some(file);
            }
        }
        let aside = generations::index_aside(&self.folder);
        generations::remove_if_there(&aside)?;
        let index = Index::new(open(&aside, true)?);
        let ends = [tails[0].len() as u64, tails[1].len() as u64];
        let either = times[0].or(times[1]).unwrap_or_else(clock::now);
        index.write(0, Entry { time: times[0].unwrap_or(either), ends: [ends[0], 0] })?;
        index.write(1, Entry { time: times[1].unwrap_or(either), ends })?;
        std::fs::rename(&aside, generations::index(&self.folder, next))?;
        (self.generation, self.streams, self.ends) = (next, streams, ends);
        (self.index, self.records) = (index, 2);
        Ok(())
    }

    /// What lies behind a stream's last newline; nothing where that is more than `most` bytes.
    fn tail(&self, slot: usize, most: u64) -> io::Result<Vec<u8>> {
        let Some(file) = &self.streams[slot] else { return Ok(Vec::new()) };
        let length = self.ends[slot].min(most + 1);
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
        file.read_exact_at(&mut bytes, self.ends[slot] - length)?;
        match memchr::memrchr(b'\n', &bytes) {
            Some(newline) => Ok(bytes.split_off(newline + 1)),
            // All there is: one line from the beginning on.
            None if length <= most => Ok(bytes),
            None => Ok(Vec::new()),
        }
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
