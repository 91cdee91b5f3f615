//! Reads a container's log in the order in which its bytes came, from its beginning or from anywhere in it.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use memchr::{memchr_iter, memrchr};

use super::generations;
use super::index::{Entry, Index};
use super::{Line, Stream};

/// How much of a file is read at once.
const PIECE: u64 = 1 << 18;
/// How much of the end of a log is looked at first for its last lines.
const TAIL: u64 = 1 << 16;

/// Reads one container's log as far as it has been written.
pub struct Reader {
    folder: PathBuf,
    generation: u64,
    index: Index,
    /// The next record of the index.
    record: u64,
    streams: [Half; 2],
}

/// One stream's file and the line that is not complete yet.
struct Half {
    path: PathBuf,
    /// Open as soon as there is something to read.
    file: Option<File>,
    read: u64,
    /// What has been read of the file already, up to `read` and beyond.
    piece: Vec<u8>,
    /// How much of that is beyond.
    ahead: usize,
    partial: Vec<u8>,
    begun: u64,
}

impl Reader {
    /// Opens the log in this folder ([`crate::protocol::ContainerStatus::log`]) at its beginning.
    pub fn open(folder: &Path) -> io::Result<Self> {
        Self::at(folder, 0)?.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Opens the oldest generation from this one on; `None` where there is none.
    fn at(folder: &Path, from: u64) -> io::Result<Option<Self>> {
        let Some((generation, index)) = generations::open(folder, from)? else { return Ok(None) };
        let streams = Stream::ALL.map(|stream| Half {
            path: generations::stream(folder, stream, generation),
            file: None,
            read: 0,
            piece: Vec::new(),
            ahead: 0,
            partial: Vec::new(),
            begun: 0,
        });
        let index = Index::new(index);
        Ok(Some(Self { folder: folder.to_owned(), generation, index, record: 0, streams }))
    }

    /// Goes to the first line of this time (nanoseconds since the Unix epoch) or later; lines that had begun before
    /// and were completed after come as well. A clock that was set back makes this an estimate.
    pub fn seek(&mut self, time: u64) -> io::Result<()> {
        let mut here = Self::open(&self.folder)?;
        loop {
            let last = here.index.len()?.checked_sub(1);
            let last = last.map(|last| here.index.at(last)).transpose()?.flatten();
            if last.is_none_or(|entry| entry.time >= time) {
                break;
            }
            match Self::at(&here.folder, here.generation + 1)? {
                Some(later) => here = later,
                None => break,
            }
        }
        *self = here;
        let record = self.index.search(|entry| entry.time < time)?;
        self.go_to(record)
    }

    /// Goes to the end, and returns the last lines of those that `is_wanted`, at most `count`. `ended`: a last line
    /// without a newline counts.
    pub fn last(
        &mut self,
        count: usize,
        ended: bool,
        is_wanted: impl Fn(&Line) -> bool,
    ) -> io::Result<VecDeque<Line>> {
        let mut older = generations::list(&self.folder)?;
        let newest = older.pop().unwrap_or(0);
        *self = Self::at(&self.folder, newest)?.ok_or(io::ErrorKind::NotFound)?;
        let mut found = self.last_here(count, [ended; 2], &is_wanted)?;
        let mut begins_with = self.carried()?;
        while found.len() < count
            && let Some(generation) = older.pop()
        {
            // One that has been removed meanwhile was the last.
            let Some(mut reader) = Self::at(&self.folder, generation)?.filter(|r| r.generation == generation)
            else {
                break;
            };
            let cut = begins_with.map(|length| length == 0);
            let mut lines = reader.last_here(count - found.len(), cut, &is_wanted)?;
            lines.append(&mut found);
            found = lines;
            begins_with = reader.carried()?;
        }
        Ok(found)
    }

    /// How much of each stream the generation has begun with: lines that had begun in the one before.
    fn carried(&mut self) -> io::Result<[u64; 2]> {
        if self.generation == 0 { Ok([0; 2]) } else { Ok(self.index.at(1)?.unwrap_or_default().ends) }
    }

    /// The last lines of this generation alone, as [`Reader::last`]; `ended` by stream.
    fn last_here(
        &mut self,
        count: usize,
        ended: [bool; 2],
        is_wanted: impl Fn(&Line) -> bool,
    ) -> io::Result<VecDeque<Line>> {
        let records = self.index.len()?;
        let total: u64 = self.index.before(records)?.iter().sum();
        let mut looked_at = if count == 0 { 0 } else { TAIL };
        loop {
            let from = total.saturating_sub(looked_at);
            let record = self.index.search(|entry| entry.ends.iter().sum::<u64>() <= from)?;
            self.go_to(record)?;
            // A long line goes further back than was asked for.
            let begin: u64 = self.streams.iter().map(|half| half.read - half.partial.len() as u64).sum();
            let mut last = VecDeque::new();
            let mut lines = Vec::new();
            let mut more = true;
            while more {
                more = self.read_here(usize::try_from(PIECE).unwrap_or(usize::MAX), &mut lines)?;
                if !more {
                    lines.extend(self.unfinished_of(ended));
                }
                last.extend(lines.drain(..).filter(&is_wanted));
                last.drain(..last.len().saturating_sub(count));
            }
            if last.len() >= count || begin == 0 {
                return Ok(last);
            }
            looked_at = (total - begin).saturating_mul(4);
        }
    }

    /// Goes to a record, in each stream to the beginning of the line that it is in there.
    fn go_to(&mut self, record: u64) -> io::Result<()> {
        let ends = self.index.before(record)?;
        for stream in Stream::ALL {
            let slot = stream as usize;
            let half = &mut self.streams[slot];
            half.ahead = 0;
            half.partial = half.line_before(ends[slot])?;
            half.read = ends[slot];
            let begin = ends[slot] - half.partial.len() as u64;
            let first = self.index.search(|entry| entry.ends[slot] <= begin)?;
            half.begun = self.index.at(first)?.unwrap_or_default().time;
        }
        self.record = record;
        Ok(())
    }

    /// Appends the lines that have been completed since the last call, at most about `budget` bytes; whether
    /// there may be more at once.
    pub fn read(&mut self, budget: usize, lines: &mut Vec<Line>) -> io::Result<bool> {
        if self.read_here(budget, lines)? {
            return Ok(true);
        }
        self.go_on(lines)
    }

    /// The same of this generation alone.
    fn read_here(&mut self, budget: usize, lines: &mut Vec<Line>) -> io::Result<bool> {
        let mut left = budget as u64;
        while let Some(entry) = self.index.at(self.record)? {
            for stream in Stream::ALL {
                let half = &mut self.streams[stream as usize];
                while half.read < entry.ends[stream as usize] {
                    if left == 0 {
                        return Ok(true);
                    }
                    let got = half.advance(stream, entry, left, lines)?;
                    left = left.saturating_sub(got);
                }
            }
            self.record += 1;
        }
        Ok(false)
    }

    /// Goes on to the next generation where this one has been read; whether there may be more to read.
    fn go_on(&mut self, lines: &mut Vec<Line>) -> io::Result<bool> {
        let next = generations::index(&self.folder, self.generation + 1);
        if !next.try_exists()? && generations::is_there(self.index.file())? {
            return Ok(false);
        }
        // Nothing is written to this one any more, but something may have been since it was read.
        if self.index.at(self.record)?.is_some() {
            return Ok(true);
        }
        let next = match Self::at(&self.folder, self.generation + 1) {
            // The container has been removed with its folder.
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            opened => opened?,
        };
        let Some(mut next) = next else { return Ok(false) };
        // What has moved along is read there.
        let cut = next.carried()?.map(|length| length == 0);
        lines.extend(self.unfinished_of(cut));
        *self = next;
        Ok(true)
    }

    /// The last lines that lack a newline: to be asked once the container has ended.
    pub fn unfinished(&mut self) -> Vec<Line> {
        self.unfinished_of([true; 2])
    }

    /// The same of some streams.
    fn unfinished_of(&mut self, wanted: [bool; 2]) -> Vec<Line> {
        let rest = |stream: Stream, half: &mut Half| {
            if !wanted[stream as usize] {
                return None;
            }
            let bytes = std::mem::take(&mut half.partial);
            (!bytes.is_empty()).then_some(Line { time: half.begun, stream, bytes })
        };
        let [out, err] = &mut self.streams;
        rest(Stream::Stdout, out).into_iter().chain(rest(Stream::Stderr, err)).collect()
    }
}

impl Half {
    /// Takes at most `most` bytes of those that a record stands for; how many it took.
    fn advance(&mut self, stream: Stream, entry: Entry, most: u64, lines: &mut Vec<Line>) -> io::Result<u64> {
        let wanted = most.min(entry.ends[stream as usize] - self.read);
        if self.ahead == 0 {
            self.piece.resize(usize::try_from(PIECE).unwrap_or(0), 0);
            let got = match opened(&mut self.file, &self.path) {
                // Removed, as this reader lags too far behind: the rest is not there.
                Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
                file => file?.read_at(&mut self.piece, self.read)?,
            };
            self.piece.truncate(got);
            self.ahead = got;
        }
        if self.ahead == 0 {
            // The file is shorter than its index says: a power cut may do that. The rest is not there.
            self.read += wanted;
            return Ok(wanted);
        }
        let take = usize::try_from(wanted).unwrap_or(usize::MAX).min(self.ahead);
        let piece = &self.piece[self.piece.len() - self.ahead..][..take];
        let mut from = 0;
        for newline in memchr_iter(b'\n', piece) {
            let mut bytes = std::mem::take(&mut self.partial);
            let time = if bytes.is_empty() { entry.time } else { self.begun };
            bytes.extend_from_slice(&piece[from..newline]);
            lines.push(Line { time, stream, bytes });
            from = newline + 1;
        }
        if from < piece.len() {
            if self.partial.is_empty() {
                self.begun = entry.time;
            }
            self.partial.extend_from_slice(&piece[from..]);
        }
        self.ahead -= take;
        self.read += take as u64;
        Ok(take as u64)
    }

    /// What lies between the last newline before a place and that place.
    fn line_before(&mut self, place: u64) -> io::Result<Vec<u8>> {
        let mut pieces = Vec::new();
        let mut from = place;
        while from > 0 {
            let length = from.min(PIECE);
            from -= length;
            let mut piece = vec![0; usize::try_from(length).unwrap_or(0)];
            opened(&mut self.file, &self.path)?.read_exact_at(&mut piece, from)?;
            let newline = memrchr(b'\n', &piece);
            piece.drain(..newline.map_or(0, |newline| newline + 1));
            pieces.push(piece);
            if newline.is_some() {
                break;
            }
        }
        pieces.reverse();
        Ok(pieces.concat())
    }
}

fn opened<'a>(file: &'a mut Option<File>, path: &Path) -> io::Result<&'a File> {
    Ok(match file {
        Some(file) => file,
        None => file.insert(File::open(path)?),
    })
}
