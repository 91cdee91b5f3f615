//! Reads a container's log in the order in which its bytes came.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::index::{self, Entry};
use super::{Line, Stream};

/// How much of a file is read at once.
const PIECE: u64 = 1 << 18;

/// Reads one container's log, from the beginning, as far as it has been written.
pub struct Reader {
    index: File,
    /// The next record of the index.
    record: u64,
    streams: [Half; 2],
}

/// One stream's file and the line that is not complete yet.
struct Half {
    file: File,
    read: u64,
    partial: Vec<u8>,
    begun: u64,
}

impl Reader {
    /// Opens the log in this folder ([`crate::protocol::ContainerStatus::log`]).
    pub fn open(folder: &Path) -> io::Result<Self> {
        let half = |stream: Stream| -> io::Result<Half> {
            Ok(Half { file: File::open(folder.join(stream.file()))?, read: 0, partial: Vec::new(), begun: 0 })
        };
        let streams = [half(Stream::Stdout)?, half(Stream::Stderr)?];
        Ok(Self { index: File::open(index::path(folder))?, record: 0, streams })
    }

    /// Appends the lines that have been completed since the last call, at most about `budget` bytes; whether
    /// there may be more at once.
    pub fn read(&mut self, budget: usize, lines: &mut Vec<Line>) -> io::Result<bool> {
        let mut left = budget as u64;
        while let Some(entry) = index::at(&self.index, self.record)? {
            let half = &mut self.streams[entry.stream as usize];
            while half.read < entry.end {
                if left == 0 {
                    return Ok(true);
                }
                let got = half.piece(entry, left.min(PIECE), lines)?;
                if got == 0 {
                    // The file is shorter than its index says: a power cut may do that. The rest is not there.
                    half.read = entry.end;
                }
                left = left.saturating_sub(got);
            }
            self.record += 1;
        }
        Ok(false)
    }

    /// The last lines that lack a newline: to be asked once the container has ended.
    pub fn unfinished(&mut self) -> Vec<Line> {
        let rest = |stream: Stream, half: &mut Half| {
            let bytes = std::mem::take(&mut half.partial);
            (!bytes.is_empty()).then_some(Line { time: half.begun, stream, bytes })
        };
        let [out, err] = &mut self.streams;
        rest(Stream::Stdout, out).into_iter().chain(rest(Stream::Stderr, err)).collect()
    }
}

impl Half {
    fn piece(&mut self, entry: Entry, most: u64, lines: &mut Vec<Line>) -> io::Result<u64> {
        let mut piece = vec![0; usize::try_from(most.min(entry.end - self.read)).unwrap_or(0)];
        let got = self.file.read_at(&mut piece, self.read)?;
        self.read += got as u64;
        for part in piece[..got].split_inclusive(|byte| *byte == b'\n') {
            if self.partial.is_empty() {
                self.begun = entry.time;
            }
            match part.split_last() {
                Some((b'\n', line)) => {
                    let mut bytes = std::mem::take(&mut self.partial);
                    bytes.extend_from_slice(line);
                    lines.push(Line { time: self.begun, stream: entry.stream, bytes });
                }
                _ => self.partial.extend_from_slice(part),
            }
        }
        Ok(got as u64)
    }
}
