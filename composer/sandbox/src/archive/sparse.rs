//! Files with holes: they keep them in a stream (GNU tar's sparse entries) and on the way out of it.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;
use tar::{EntryType, GnuExtSparseHeader, Header};

/// In what pieces it is looked for zeros: the blocks of most filesystems.
const BLOCK: usize = 4096;
/// How much is read at once.
const BUFFER: usize = 16 * BLOCK;

/// What of a file there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    offset: u64,
    length: u64,
}

/// What there is of a file that has holes; `None` of one that has none.
pub(super) fn segments(file: &File) -> io::Result<Option<Vec<Segment>>> {
    let metadata = file.metadata()?;
    let length = metadata.len();
    if metadata.blocks() * 512 >= length {
        return Ok(None);
    }
    let mut found = Vec::new();
    let mut end = 0;
    while end < length {
        let offset = match seek(file, SeekFrom::Data(end)) {
            Ok(offset) => offset.min(length),
            // Nothing comes any more.
            Err(Errno::NXIO) => length,
            // The filesystem knows of no holes.
            Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        };
        end = match offset < length {
            true => seek(file, SeekFrom::Hole(offset))?.min(length),
            false => length,
        };
        // The last one ends where the file does, be it empty.
        found.push(Segment { offset, length: end - offset });
    }
    let is_whole = found == [Segment { offset: 0, length }];
    Ok((!is_whole).then_some(found))
}

/// Writes what there is of a file. What the file loses meanwhile comes as zeros.
pub(super) fn append<W: Write>(
    builder: &mut tar::Builder<W>,
    header: &mut Header,
    name: &Path,
    file: &File,
    segments: &[Segment],
) -> io::Result<()> {
    let length = segments.last().map_or(0, |last| last.offset + last.length);
    header.set_entry_type(EntryType::GNUSparse);
    header.set_size(segments.iter().map(|segment| segment.length).sum());
    let gnu = header.as_gnu_mut().ok_or_else(|| io::Error::other("no header of GNU tar"))?;
    gnu.set_real_size(length);
    let mut rest = segments.iter().copied().peekable();
    for place in &mut gnu.sparse {
        let Some(segment) = rest.next() else { break };
        place.set_offset(segment.offset);
        place.set_length(segment.length);
    }
    gnu.set_is_extended(rest.peek().is_some());
    // What has no room in the header follows it, in blocks of its own that its size does not count.
    let mut further = Vec::new();
    while rest.peek().is_some() {
        let mut block = GnuExtSparseHeader::new();
        for place in &mut block.sparse {
            let Some(segment) = rest.next() else { break };
            place.set_offset(segment.offset);
            place.set_length(segment.length);
        }
        block.set_is_extended(rest.peek().is_some());
        further.extend_from_slice(block.as_bytes());
    }
    let data = Data { file, rest: segments.to_vec().into() };
    builder.append_data(header, name, further.as_slice().chain(data))
}

/// The bytes of segments, one after the other.
struct Data<'a> {
    file: &'a File,
    rest: VecDeque<Segment>,
}

impl Read for Data<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.rest.front().is_some_and(|segment| segment.length == 0) {
            self.rest.pop_front();
        }
        let Some(segment) = self.rest.front_mut() else { return Ok(0) };
        let room = usize::try_from(segment.length).unwrap_or(usize::MAX).min(buffer.len());
        let mut read = self.file.read_at(&mut buffer[..room], segment.offset)?;
        if read == 0 {
            buffer[..room].fill(0);
            read = room;
        }
        segment.offset += read as u64;
        segment.length -= read as u64;
        Ok(read)
    }
}

/// Writes what comes to an empty file, zeros as holes; how much came.
pub(super) fn write(input: &mut impl Read, file: &File) -> io::Result<u64> {
    let mut buffer = [0; BUFFER];
    let mut length = 0;
    loop {
        let filled = fill(input, &mut buffer)?;
        for (block, at) in buffer[..filled].chunks(BLOCK).zip((length..).step_by(BLOCK)) {
            if block.iter().any(|byte| *byte != 0) {
                file.write_all_at(block, at)?;
            }
        }
        length += filled as u64;
        if filled < buffer.len() {
            file.set_len(length)?;
            return Ok(length);
        }
    }
}

/// Reads until the buffer is full, or to the end.
fn fill(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match input.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
