//! Sparse files as GNU tar writes them: in its old format, and in POSIX's (its versions 0.1 and 1.0).

use std::io::{self, Read};

use super::Error;
use super::member::refused;

/// The most pieces of one file.
const MOST_PIECES: usize = 1 << 20;
const BLOCK: usize = 512;

/// Where a file has no data.
pub(super) enum Holes {
    /// Nowhere.
    None,
    /// Between these pieces (offset, length) of a file of this size.
    Listed { pieces: Vec<(u64, u64)>, size: u64 },
    /// Between pieces that a map before the data lists.
    Mapped { size: u64 },
}

impl Holes {
    pub(super) fn size(&self) -> Option<u64> {
        match self {
            Self::None => None,
            Self::Listed { size, .. } | Self::Mapped { size } => Some(*size),
        }
    }
}

/// What the extended header says.
#[derive(Default)]
pub(super) struct Header {
    pub name: Option<Vec<u8>>,
    version: (Option<u64>, Option<u64>),
    size: Option<u64>,
    map: Option<Vec<u8>>,
    oldest: bool,
}

impl Header {
    pub(super) fn take(&mut self, key: &[u8], value: &[u8]) {
        let number = || std::str::from_utf8(value).ok()?.parse().ok();
        match key {
            b"name" => self.name = Some(value.to_vec()),
            b"major" => self.version.0 = number(),
            b"minor" => self.version.1 = number(),
            b"realsize" | b"size" => self.size = number(),
            b"map" => self.map = Some(value.to_vec()),
            b"offset" | b"numbytes" => self.oldest = true,
            _ => {}
        }
    }

    pub(super) fn holes(&mut self, path: &[u8]) -> Result<Holes, Error> {
        let version = (self.version.0, self.version.1);
        match (version, self.size, self.map.take()) {
            ((None, None), None, None) if !self.oldest => Ok(Holes::None),
            ((Some(1), Some(0)), Some(size), None) => Ok(Holes::Mapped { size }),
            ((None, None) | (Some(0), Some(1)), Some(size), Some(map)) => {
                let numbers: Option<Vec<u64>> = map
                    .split(|byte| *byte == b',')
                    .map(|number| std::str::from_utf8(number).ok()?.parse().ok())
                    .collect();
                let numbers = numbers.ok_or_else(|| refused(path, "its map of holes has no numbers"))?;
                let pieces =
                    numbers.chunks(2).map(|pair| (pair[0], pair.get(1).copied().unwrap_or_default()));
                Ok(Holes::Listed { pieces: checked(pieces.collect(), size, path)?, size })
            }
            _ => Err(refused(path, "it is a sparse file in a form that is not known")),
        }
    }
}

/// Reads the map before the data: the number of pieces, then offset and length of each, a line each, padded to a block.
pub(super) fn map(data: &mut impl Read, size: u64, path: &[u8]) -> Result<Vec<(u64, u64)>, Error> {
    let mut numbers = Lines { data, block: [0; BLOCK], at: BLOCK };
    let mut next = || {
        numbers.number().map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData => refused(path, "its map of holes has no numbers"),
            _ => Error::Stream(error),
        })
    };
    let count = next()?;
    if count > MOST_PIECES as u64 {
        return Err(refused(path, format!("it has more than {MOST_PIECES} holes")));
    }
    let mut pieces = Vec::new();
    for _ in 0..count {
        pieces.push((next()?, next()?));
    }
    checked(pieces, size, path)
}

/// Pieces that follow one another and end in the file.
pub(super) fn checked(pieces: Vec<(u64, u64)>, size: u64, path: &[u8]) -> Result<Vec<(u64, u64)>, Error> {
    let mut end = 0;
    for (offset, length) in &pieces {
        if *offset < end {
            return Err(refused(path, "its map of holes is out of order"));
        }
        end = offset
            .checked_add(*length)
            .filter(|end| *end <= size)
            .ok_or_else(|| refused(path, "its map of holes leads beyond its end"))?;
    }
    Ok(pieces)
}

struct Lines<'a, R> {
    data: &'a mut R,
    block: [u8; BLOCK],
    at: usize,
}

impl<R: Read> Lines<'_, R> {
    fn number(&mut self) -> io::Result<u64> {
        let mut number: Option<u64> = None;
        loop {
            if self.at == BLOCK {
                self.data.read_exact(&mut self.block)?;
                self.at = 0;
            }
            let byte = self.block[self.at];
            self.at += 1;
            let next = match (byte, number) {
                (b'\n', Some(number)) => return Ok(number),
                (b'0'..=b'9', number) => number
                    .unwrap_or_default()
                    .checked_mul(10)
                    .and_then(|number| number.checked_add(u64::from(byte - b'0'))),
                _ => None,
            };
            number = Some(next.ok_or(io::ErrorKind::InvalidData)?);
        }
    }
}
