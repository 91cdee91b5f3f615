//! Follows a container's log byte by byte, in the order in which its bytes came: a terminal's are no lines.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::Stream;
use super::generations;
use super::index::Index;

/// How much is read at once, in bytes.
const PIECE: usize = 1 << 16;

/// Makes the files of both streams, so that whoever opens them before the first byte keeps them whatever becomes of
/// their folder.
pub(crate) fn make_streams(folder: &Path) -> io::Result<()> {
    for stream in Stream::ALL {
        let options = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).clone();
        drop(options.open(folder.join(stream.file()))?);
    }
    Ok(())
}

/// Follows one container's log.
pub struct Bytes {
    folder: PathBuf,
    generation: u64,
    index: Index,
    /// The next record of the index.
    record: u64,
    read: [u64; 2],
    /// Open as soon as they are there.
    files: [Option<File>; 2],
}

impl Bytes {
    /// Opens the log in this folder: at its beginning, or at its end where only what comes from now on is wanted.
    pub fn open(folder: &Path, at_end: bool) -> io::Result<Self> {
        let from = if at_end { generations::list(folder)?.pop().unwrap_or(0) } else { 0 };
        let opened = generations::open(folder, from)?;
        let (generation, index) = opened.ok_or(io::ErrorKind::NotFound)?;
        let mut index = Index::new(index);
        let record = if at_end { index.len()? } else { 0 };
        let read = index.before(record)?;
        Ok(Self::at(folder, generation, index, record, read))
    }

    fn at(folder: &Path, generation: u64, index: Index, record: u64, read: [u64; 2]) -> Self {
        let open = |stream| File::open(generations::stream(folder, stream, generation)).ok();
        let files = Stream::ALL.map(open);
        Self { folder: folder.to_owned(), generation, index, record, read, files }
    }

    /// Hands over what has come since the last call, at most `budget` bytes; whether there may be more at once.
    ///
    /// # Errors
    /// Those of the files, and those of `take`.
    pub fn read<E: From<io::Error>>(
        &mut self,
        budget: usize,
        mut take: impl FnMut(Stream, &[u8]) -> Result<(), E>,
    ) -> Result<bool, E> {
        if self.read_here(budget, &mut take)? {
            return Ok(true);
        }
        Ok(self.go_on()?)
    }

    /// The same of this generation alone.
    fn read_here<E: From<io::Error>>(
        &mut self,
        budget: usize,
        take: &mut impl FnMut(Stream, &[u8]) -> Result<(), E>,
    ) -> Result<bool, E> {
        let mut left = budget;
        let mut piece = vec![0; PIECE.min(budget)];
        while let Some(entry) = self.index.at(self.record)? {
            for stream in Stream::ALL {
                let slot = stream as usize;
                while self.read[slot] < entry.ends[slot] {
                    if left == 0 {
                        return Ok(true);
                    }
                    let wanted = usize::try_from(entry.ends[slot] - self.read[slot]).unwrap_or(PIECE);
                    let file = match &mut self.files[slot] {
                        Some(file) => file,
                        none => none.insert(File::open(generations::stream(
                            &self.folder,
                            stream,
                            self.generation,
                        ))?),
                    };
                    let got = file.read_at(&mut piece[..wanted.min(left).min(PIECE)], self.read[slot])?;
                    if got == 0 {
                        // The file is shorter than its index says: a power cut may do that. The rest is not there.
                        self.read[slot] = entry.ends[slot];
                        break;
                    }
                    self.read[slot] += got as u64;
                    left -= got;
                    take(stream, &piece[..got])?;
                }
            }
            self.record += 1;
        }
        Ok(false)
    }

    /// Goes on to the next generation where this one has been read; whether there may be more to read.
    fn go_on(&mut self) -> io::Result<bool> {
        let next = generations::index(&self.folder, self.generation + 1);
        if !next.try_exists()? && generations::is_there(self.index.file())? {
            return Ok(false);
        }
        // Nothing is written to this one any more, but something may have been since it was read.
        if self.index.at(self.record)?.is_some() {
            return Ok(true);
        }
        let opened = match generations::open(&self.folder, self.generation + 1) {
            // The container has been removed with its folder.
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            opened => opened?,
        };
        let Some((generation, index)) = opened else { return Ok(false) };
        let mut index = Index::new(index);
        // It begins with what had come of unfinished lines, by its first two records: that has been handed over.
        let carried = index.at(1)?.unwrap_or_default().ends;
        *self = Self::at(&self.folder, generation, index, 2, carried);
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::super::Writer;
    use super::*;

    fn all(bytes: &mut Bytes) -> Vec<(Stream, String)> {
        let mut seen = Vec::new();
        let mut read = |budget| {
            bytes.read(budget, |stream, piece| {
                seen.push((stream, String::from_utf8_lossy(piece).into_owned()));
                Ok::<(), io::Error>(())
            })
        };
        while read(PIECE).unwrap() {}
        seen
    }

    #[test]
    fn bytes_come_in_order_whole_or_not_and_from_a_folder_that_is_gone() {
        let folder = std::env::temp_dir().join(format!("compose-bytes-{}", std::process::id()));
        let mut writer = Writer::open(&folder, composer_stack::Logging::Whole).unwrap();
        make_streams(&folder).unwrap();
        let (read, write) = nix::unistd::pipe().unwrap();
        let mut say = |stream, text: &str| {
            nix::unistd::write(&write, text.as_bytes()).unwrap();
            writer.take(stream, read.as_fd(), 1 << 20).unwrap();
        };
        let mut whole = Bytes::open(&folder, false).unwrap();
        say(Stream::Stdout, "name? ");
        assert_eq!(all(&mut whole), [(Stream::Stdout, "name? ".to_owned())]);
        let mut late = Bytes::open(&folder, true).unwrap();
        let mut slow = Bytes::open(&folder, false).unwrap();
        say(Stream::Stderr, "oh\n");
        say(Stream::Stdout, "bye");
        let mut pieces = Vec::new();
        let mut keep = |_, piece: &[u8]| {
            pieces.push(String::from_utf8_lossy(piece).into_owned());
            Ok::<(), io::Error>(())
        };
        while slow.read(4, &mut keep).unwrap() {}
        assert_eq!(pieces, ["name", "? ", "oh", "\n", "bye"]);
        std::fs::remove_dir_all(&folder).unwrap();
        let rest = [(Stream::Stderr, "oh\n".to_owned()), (Stream::Stdout, "bye".to_owned())];
        assert_eq!(all(&mut whole), rest);
        assert_eq!(all(&mut late), rest);
    }
}
