//! The index: one record for every move of bytes from a pipe to a file.
//!
//! A record is 16 bytes, little-endian: the time in nanoseconds since the Unix epoch, then the stream's length
//! after the move, doubled, plus 1 for standard error. Bytes beyond the last record came while nobody wrote the
//! index: the next writer gives them one.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::Stream;

/// Length of a record in bytes.
pub const RECORD: usize = 16;

/// When a stream reached a length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    pub time: u64,
    pub stream: Stream,
    /// The stream's length in bytes after the move.
    pub end: u64,
}

impl Entry {
    pub fn encode(self) -> [u8; RECORD] {
        let mut bytes = [0; RECORD];
        bytes[..8].copy_from_slice(&self.time.to_le_bytes());
        let place = self.end << 1 | u64::from(self.stream == Stream::Stderr);
        bytes[8..].copy_from_slice(&place.to_le_bytes());
        bytes
    }

    pub fn decode(bytes: &[u8; RECORD]) -> Self {
        let word = |from: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&bytes[from..from + 8]);
            u64::from_le_bytes(word)
        };
        let place = word(8);
        let stream = if place & 1 == 1 { Stream::Stderr } else { Stream::Stdout };
        Self { time: word(0), stream, end: place >> 1 }
    }
}

/// The file's path in a log's folder.
pub fn path(folder: &Path) -> PathBuf {
    folder.join("index")
}

/// How far the index reaches in each stream, and the number of whole records: a record that a crash cut short
/// does not count.
pub fn reach(index: &File) -> io::Result<([u64; 2], u64)> {
    let mut ends = [0; 2];
    let records = index.metadata()?.len() / RECORD as u64;
    let mut reader = io::BufReader::new(index.try_clone()?);
    io::Seek::seek(&mut reader, io::SeekFrom::Start(0))?;
    let mut bytes = [0; RECORD];
    for _ in 0..records {
        reader.read_exact(&mut bytes)?;
        let entry = Entry::decode(&bytes);
        ends[entry.stream as usize] = entry.end;
    }
    Ok((ends, records))
}

/// The record at this place, or `None` where the index has not come so far.
pub fn at(index: &File, record: u64) -> io::Result<Option<Entry>> {
    let mut bytes = [0; RECORD];
    match index.read_exact_at(&mut bytes, record * RECORD as u64) {
        Ok(()) => Ok(Some(Entry::decode(&bytes))),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}
