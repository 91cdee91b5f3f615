//! How a layer is compressed: its first bytes say, whatever its media type claims.

use std::io::{self, BufRead, BufReader, Read};

const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
const BUFFER: usize = 128 << 10;

/// The bytes of `stream` without compression. Reads `stream` to its end, trailing bytes included, so that its digest
/// can be known.
pub(super) fn plain<'a>(stream: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let mut stream = BufReader::with_capacity(BUFFER, stream);
    let mut start = Vec::with_capacity(ZSTD.len());
    // The first read may bring less than is asked for.
    stream.by_ref().take(ZSTD.len() as u64).read_to_end(&mut start)?;
    let is = |magic: &[u8]| start.starts_with(magic);
    let (gzip, zstd) = (is(GZIP), is(ZSTD));
    let stream = BufReader::with_capacity(BUFFER, io::Cursor::new(start).chain(stream));
    Ok(if gzip {
        Box::new(flate2::bufread::MultiGzDecoder::new(stream))
    } else if zstd {
        Box::new(zstd::stream::read::Decoder::with_buffer(stream)?)
    } else {
        Box::new(stream)
    })
}

/// Whether a file that begins so is compressed.
pub(crate) fn is_compressed(start: &[u8]) -> bool {
    start.starts_with(GZIP) || start.starts_with(ZSTD)
}

/// The first bytes of what is in a reader.
pub(crate) fn start(reader: &mut impl BufRead) -> io::Result<&[u8]> {
    let start = reader.fill_buf()?;
    Ok(&start[..start.len().min(ZSTD.len())])
}
