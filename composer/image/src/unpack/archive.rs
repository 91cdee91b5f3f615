//! The members of a tar file, one after the other: headers of POSIX and GNU that say more of the next member are read
//! with it. The framing is ours as the library's takes no line feed in an extended attribute, which capabilities have.

use std::io::{self, Read};

/// The most that the headers of one member may take in memory: long names and extended attributes.
const LARGEST_HEADERS: u64 = 4 << 20;
const BLOCK: u64 = 512;

pub(super) struct Archive<R> {
    inner: R,
    /// Of the present member's data.
    left: u64,
    padding: u64,
}

/// A member before it is understood.
pub(super) struct Head {
    pub header: tar::Header,
    pub path: Vec<u8>,
    pub link: Option<Vec<u8>>,
    /// What the extended header says, later ones last.
    pub extensions: Vec<(Vec<u8>, Vec<u8>)>,
    /// Pieces and size of a sparse file in GNU's old form.
    pub sparse: Option<(Vec<(u64, u64)>, u64)>,
    /// Of the data in the archive.
    pub size: u64,
}

/// What stands before a member.
#[derive(Default)]
struct Before {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    extensions: Vec<(Vec<u8>, Vec<u8>)>,
    bytes: u64,
}

fn broken(message: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

impl<R: Read> Archive<R> {
    pub(super) fn new(inner: R) -> Self {
        Self { inner, left: 0, padding: 0 }
    }

    pub(super) fn into_inner(self) -> R {
        self.inner
    }

    /// The next member; its data can be read from the archive then.
    pub(super) fn next(&mut self) -> io::Result<Option<Head>> {
        let mut before = Before::default();
        loop {
            self.skip()?;
            let Some(header) = self.header()? else {
                return match before.bytes {
                    0 => Ok(None),
                    _ => Err(broken("it ends after a header that speaks of a next member")),
                };
            };
            self.begin(header.entry_size()?);
            match header.entry_type() {
                tar::EntryType::XHeader => before.extensions.extend(pax(&self.text(&mut before.bytes)?)?),
                tar::EntryType::GNULongName => before.path = Some(name(self.text(&mut before.bytes)?)),
                tar::EntryType::GNULongLink => before.link = Some(name(self.text(&mut before.bytes)?)),
                _ => return self.member(header, before).map(Some),
            }
        }
    }

    fn member(&mut self, header: tar::Header, before: Before) -> io::Result<Head> {
        let said = |key: &[u8]| {
            before.extensions.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value.clone())
        };
        let size = match said(b"size") {
            Some(size) => std::str::from_utf8(&size)
                .ok()
                .and_then(|size| size.parse().ok())
                .ok_or_else(|| broken("an extended header has a size that is no number"))?,
            None => header.entry_size()?,
        };
        let path = said(b"path").or(before.path).unwrap_or_else(|| header.path_bytes().into_owned());
        let link = said(b"linkpath").or(before.link).or_else(|| Some(header.link_name_bytes()?.into_owned()));
        // The pieces that do not fit the header come before the data, and do not count as such.
        let sparse = match header.entry_type() {
            tar::EntryType::GNUSparse => Some(self.sparse(&header)?),
            _ => None,
        };
        self.begin(size);
        Ok(Head { header, path, link, extensions: before.extensions, sparse, size })
    }

    fn begin(&mut self, size: u64) {
        self.left = size;
        self.padding = (BLOCK - size % BLOCK) % BLOCK;
    }

    /// Reads what is left of the present member.
    fn skip(&mut self) -> io::Result<()> {
        let rest = self.left.saturating_add(self.padding);
        let skipped = io::copy(&mut self.inner.by_ref().take(rest), &mut io::sink())?;
        // Some archives lack the padding of the last member.
        if skipped < self.left {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        (self.left, self.padding) = (0, 0);
        Ok(())
    }

    fn header(&mut self) -> io::Result<Option<tar::Header>> {
        let mut header = tar::Header::new_old();
        let mut read = 0;
        while read < header.as_bytes().len() {
            match self.inner.read(&mut header.as_mut_bytes()[read..])? {
                0 if read == 0 => return Ok(None),
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => read += count,
            }
        }
        if header.as_bytes().iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        // As if the sum itself were spaces.
        let bytes = header.as_bytes();
        let sum = bytes[..148].iter().chain(&bytes[156..]).map(|byte| u32::from(*byte)).sum::<u32>() + 8 * 32;
        if header.cksum()? != sum {
            return Err(broken("the checksum of a header is wrong"));
        }
        Ok(Some(header))
    }

    /// The data of a header that speaks of the next member.
    fn text(&mut self, bytes: &mut u64) -> io::Result<Vec<u8>> {
        *bytes = bytes.saturating_add(self.left).saturating_add(BLOCK);
        if *bytes > LARGEST_HEADERS {
            return Err(broken("the headers of a member are larger than 4 MiB"));
        }
        let mut text = Vec::new();
        let wanted = self.left;
        self.read_to_end(&mut text)?;
        if text.len() as u64 != wanted {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(text)
    }

    fn sparse(&mut self, header: &tar::Header) -> io::Result<(Vec<(u64, u64)>, u64)> {
        let gnu = header.as_gnu().ok_or_else(|| broken("a sparse file has no header of GNU's"))?;
        let mut pieces = Vec::new();
        let mut take = |found: &[tar::GnuSparseHeader]| -> io::Result<()> {
            for piece in found.iter().filter(|piece| !piece.is_empty()) {
                pieces.push((piece.offset()?, piece.length()?));
            }
            if pieces.len() as u64 * 16 > LARGEST_HEADERS {
                return Err(broken("a sparse file has too many holes"));
            }
            Ok(())
        };
        take(&gnu.sparse)?;
        let mut more = gnu.is_extended();
        while more {
            let mut extended = tar::GnuExtSparseHeader::new();
            self.inner.read_exact(extended.as_mut_bytes())?;
            take(&extended.sparse)?;
            more = extended.is_extended();
        }
        Ok((pieces, gnu.real_size()?))
    }
}

impl<R: Read> Read for Archive<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.inner.read(&mut buffer[..most])?;
        self.left -= count as u64;
        Ok(count)
    }
}

/// A name as GNU has it, without the NUL at its end.
fn name(mut text: Vec<u8>) -> Vec<u8> {
    let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
    text.truncate(end);
    text
}

/// The records of an extended header: `LENGTH KEY=VALUE\n`, where the length counts itself. A value is any bytes.
fn pax(mut text: &[u8]) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let wrong = || broken("an extended header is malformed");
    let mut records = Vec::new();
    // Some writers fill up with NULs.
    while !text.is_empty() && text[0] != 0 {
        let space = text.iter().take(20).position(|byte| *byte == b' ').ok_or_else(wrong)?;
        let length: usize =
            std::str::from_utf8(&text[..space]).ok().and_then(|n| n.parse().ok()).ok_or_else(wrong)?;
        let record = text.get(space + 1..length).ok_or_else(wrong)?;
        let record = record.strip_suffix(b"\n").ok_or_else(wrong)?;
        let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(wrong)?;
        records.push((record[..equals].to_vec(), record[equals + 1..].to_vec()));
        text = &text[length..];
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records() {
        let of = |text: &str| pax(text.as_bytes()).ok();
        let pair = |key: &str, value: &str| (key.as_bytes().to_vec(), value.as_bytes().to_vec());
        assert_eq!(of("9 a=b=\nc\n"), Some(vec![pair("a", "b=\nc")]));
        assert_eq!(of("6 a=b\n7 cc=d\n\0\0"), Some(vec![pair("a", "b"), pair("cc", "d")]));
        for text in
            ["6 a=b", "5 a=b\n", "7 a=b\n", "99999999999999999999999 a=b\n", "6 ab \n", "0 a=b\n", "x"]
        {
            assert_eq!(of(text), None, "{text:?}");
        }
    }
}
