//! Extended attributes of a tar stream, which may hold anything: the `tar` crate takes the end of a line in a value for the
//! end of its record. They are taken from the stream on its way to the crate, which gets values without ends of lines.

use std::cell::RefCell;
use std::io::{self, Cursor, Read};
use std::rc::Rc;

use tar::{EntryType, Header};

use super::{EXTENDED, is_portable};

const BLOCK: usize = 512;
/// The longest extended header that is looked into: what the kernel lets a file have is far less.
const LONGEST: u64 = 4 << 20;
/// Where a block of a sparse file's map says that another follows (`isextended` of tar(5)).
const IS_EXTENDED: usize = 504;

/// Names and values.
pub type Found = Vec<(String, Vec<u8>)>;

/// The attributes of the entry that the crate has come to.
#[derive(Clone, Default)]
pub struct OfEntry(Rc<RefCell<Found>>);

impl OfEntry {
    pub fn take(&self) -> Found {
        self.0.take()
    }
}

/// A stream on its way to the crate.
pub struct Records<R> {
    inner: R,
    /// Read, and to be handed on first.
    ready: Cursor<Vec<u8>>,
    /// So much is handed on as it comes, up to the next header.
    left: u64,
    /// What an extended header has said of the next entry: its attributes, and its size.
    next: (Found, Option<u64>),
    found: OfEntry,
}

impl<R: Read> Records<R> {
    pub fn new(inner: R) -> (Self, OfEntry) {
        let found = OfEntry::default();
        let ready = Cursor::new(Vec::new());
        (Self { inner, ready, left: 0, next: Default::default(), found: found.clone() }, found)
    }

    /// Reads a header, and what belongs to it. What is none is the crate's to complain of.
    fn header(&mut self) -> io::Result<()> {
        let mut read = self.some(BLOCK as u64)?;
        let size = Some(&read).filter(|read| read.len() == BLOCK && read.iter().any(|byte| *byte != 0));
        let size = size.and_then(|block| Header::from_byte_slice(block).entry_size().ok());
        if let Some(size) = size {
            let header = Header::from_byte_slice(&read).clone();
            self.left = padded(size);
            match header.entry_type() {
                EntryType::XHeader if size <= LONGEST => {
                    let mut text = self.some(self.left)?;
                    self.left = 0;
                    self.next = records(&mut text, size);
                    read.append(&mut text);
                }
                EntryType::XHeader
                | EntryType::XGlobalHeader
                | EntryType::GNULongName
                | EntryType::GNULongLink => {}
                kind => {
                    let (attributes, longer) = std::mem::take(&mut self.next);
                    self.found.0.replace(attributes);
                    self.left = padded(longer.unwrap_or(size));
                    let mut more = header.as_gnu().is_some_and(tar::GnuHeader::is_extended);
                    while kind == EntryType::GNUSparse && more {
                        let mut map = self.some(BLOCK as u64)?;
                        more = map.get(IS_EXTENDED) == Some(&1);
                        read.append(&mut map);
                    }
                }
            }
        }
        self.ready = Cursor::new(read);
        Ok(())
    }

    /// So many bytes, fewer where the stream ends.
    fn some(&mut self, length: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.inner.by_ref().take(length).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

impl<R: Read> Read for Records<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let ready = self.ready.read(buffer)?;
        if ready > 0 || buffer.is_empty() {
            return Ok(ready);
        }
        if self.left == 0 {
            self.header()?;
            return self.ready.read(buffer);
        }
        let read = self.inner.by_ref().take(self.left).read(buffer)?;
        self.left -= read as u64;
        Ok(read)
    }
}

/// With what fills its last block.
fn padded(size: u64) -> u64 {
    size.checked_next_multiple_of(BLOCK as u64).unwrap_or(u64::MAX)
}

/// The attributes in an extended header, whose values lose their ends of lines there, and the size of the next entry; as
/// far as it is well-formed.
fn records(text: &mut [u8], size: u64) -> (Found, Option<u64>) {
    let (mut found, mut of_entry) = (Vec::new(), None);
    // Less where the stream ends in it.
    let length = usize::try_from(size).map_or(text.len(), |size| size.min(text.len()));
    let mut rest = &mut text[..length];
    while let Some((record, after)) = split(rest) {
        rest = after;
        let Some(equals) = record.iter().position(|byte| *byte == b'=') else { break };
        let (key, value) = record.split_at_mut(equals);
        let value = &mut value[1..];
        if let Some(name) = std::str::from_utf8(key).ok().and_then(|key| key.strip_prefix(EXTENDED)) {
            if is_portable(name) {
                found.push((name.to_owned(), value.to_vec()));
            }
            value.iter_mut().filter(|byte| **byte == b'\n').for_each(|byte| *byte = b' ');
        } else if key == b"size" {
            of_entry = std::str::from_utf8(value).ok().and_then(|size| size.parse().ok());
        }
    }
    (found, of_entry)
}

/// `LENGTH KEY=VALUE\n`, without its length and its end, and what follows it.
fn split(text: &mut [u8]) -> Option<(&mut [u8], &mut [u8])> {
    let space = text.iter().take(20).position(|byte| *byte == b' ')?;
    let length: usize = std::str::from_utf8(&text[..space]).ok()?.parse().ok()?;
    let (record, rest) = text.split_at_mut_checked(length)?;
    let record = record.get_mut(space + 1..)?;
    let (end, record) = record.split_last_mut()?;
    (*end == b'\n').then_some((record, rest))
}
