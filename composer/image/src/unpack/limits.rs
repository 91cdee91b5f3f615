//! How much a layer may take, of the disk and of memory.

use std::cell::Cell;
use std::io::{self, Read};
use std::rc::Rc;

/// What one layer may take at most.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Files, folders and links.
    pub entries: u64,
    /// Bytes without compression; holes of sparse files count.
    pub bytes: u64,
    /// Bytes in the names of folders, which are kept in memory until their times can be set.
    pub names: u64,
}

impl Default for Limits {
    /// Far more than the layers that people publish, and less than a disk.
    fn default() -> Self {
        Self { entries: 4_000_000, bytes: 256 << 30, names: 128 << 20 }
    }
}

/// Ends with an error when more than `left` has been read.
pub(super) struct Capped<R> {
    inner: R,
    left: u64,
    exceeded: Rc<Cell<bool>>,
}

impl<R> Capped<R> {
    pub(super) fn new(inner: R, left: u64, exceeded: Rc<Cell<bool>>) -> Self {
        Self { inner, left, exceeded }
    }
}

impl<R: Read> Read for Capped<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        match self.left.checked_sub(count as u64) {
            Some(left) => self.left = left,
            None => {
                self.exceeded.set(true);
                return Err(io::Error::from(io::ErrorKind::FileTooLarge));
            }
        }
        Ok(count)
    }
}
