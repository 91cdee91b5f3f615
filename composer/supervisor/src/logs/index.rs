//! The index: one record for every move of bytes from a pipe to a file.
//!
//! A record is 24 bytes, little-endian: the time in nanoseconds since the Unix epoch, then how long standard output
//! and standard error are after the move. Bytes beyond the last record came while nobody wrote the index: the next
//! writer gives them one.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
/// Length of a record in bytes.
const RECORD: u64 = 24;
/// How many records are read at once.
const CHUNK: u64 = 1 << 12;

/// When the streams reached a length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    pub time: u64,
    /// The streams' lengths in bytes after the move, by [`super::Stream`].
    pub ends: [u64; 2],
}

impl Entry {
    fn encode(self) -> Vec<u8> {
        [self.time, self.ends[0], self.ends[1]].into_iter().flat_map(u64::to_le_bytes).collect()
    }

    fn decode(bytes: &[u8]) -> Self {
        let mut words = bytes.chunks_exact(8).map(|word| {
            let mut copy = [0; 8];
            copy.copy_from_slice(word);
            u64::from_le_bytes(copy)
        });
        let mut next = || words.next().unwrap_or(0);
        Self { time: next(), ends: [next(), next()] }
    }
}

/// A log's index, with a window of records in memory.
pub struct Index {
    file: File,
    window: Vec<u8>,
    /// Number of the window's first record.
    first: u64,
}

impl Index {
    /// An open file as an index.
    pub const fn new(file: File) -> Self {
        Self { file, window: Vec::new(), first: 0 }
    }

    /// The file.
    pub const fn file(&self) -> &File {
        &self.file
    }

    /// The number of whole records: one that a crash cut short does not count.
    pub fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len() / RECORD)
    }

    /// The record with this number, or `None` where the index has not come so far.
    pub fn at(&mut self, record: u64) -> io::Result<Option<Entry>> {
        if let Some(entry) = self.in_window(record) {
            return Ok(Some(entry));
        }
        self.window.resize(usize::try_from(CHUNK * RECORD).unwrap_or(0), 0);
        let mut filled = 0;
        while filled < self.window.len() {
            match self.file.read_at(&mut self.window[filled..], record * RECORD + filled as u64) {
                Ok(0) => break,
                Ok(more) => filled += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.window.truncate(filled);
        self.first = record;
        Ok(self.in_window(record))
    }

    fn in_window(&self, record: u64) -> Option<Entry> {
        let from = usize::try_from(record.checked_sub(self.first)? * RECORD).ok()?;
        self.window.get(from..from + usize::try_from(RECORD).ok()?).map(Entry::decode)
    }

    /// How far the streams were before this record.
    pub fn before(&mut self, record: u64) -> io::Result<[u64; 2]> {
        match record.checked_sub(1) {
            Some(last) => Ok(self.at(last)?.unwrap_or_default().ends),
            None => Ok([0; 2]),
        }
    }

    /// The first record that does not come before what is sought; the records' number where all do. The records
    /// must be in the order of that question.
    pub fn search(&self, is_before: impl Fn(Entry) -> bool) -> io::Result<u64> {
        let (mut from, mut to) = (0, self.len()?);
        let mut bytes = [0; RECORD as usize];
        while from < to {
            let middle = from + (to - from) / 2;
            self.file.read_exact_at(&mut bytes, middle * RECORD)?;
            if is_before(Entry::decode(&bytes)) {
                from = middle + 1;
            } else {
                to = middle;
            }
        }
        Ok(from)
    }

    /// Writes the record with this number.
    pub fn write(&self, record: u64, entry: Entry) -> io::Result<()> {
        self.file.write_all_at(&entry.encode(), record * RECORD)
    }
}
