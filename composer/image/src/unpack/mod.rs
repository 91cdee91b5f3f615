//! A layer's tar stream becomes a folder for overlayfs. Whoever made the stream is a stranger: every name is resolved
//! by the kernel below the folder's descriptor ([`root`]), and what it may take is limited.

mod archive;
mod decode;
mod layer;
mod limits;
mod member;
mod root;
mod space;
mod sparse;
#[cfg(test)]
pub(crate) mod tests;
mod xattr;

use std::cell::Cell;
use std::io::{self, BufReader, Read};
use std::os::fd::BorrowedFd;
use std::rc::Rc;

use crate::digest::{Digest, Hasher, Hashing};

pub(crate) use decode::{is_compressed, start};
pub use limits::Limits;

/// How much is read at once.
const BUFFER: usize = 256 << 10;

/// Why a layer could not be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A member of the archive that no layer may have.
    #[error("`{path}` in the layer: {reason}")]
    Refused {
        /// The member.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The system refused something.
    #[error("cannot {doing} `{path}` of the layer: {source}")]
    Member {
        /// The step.
        doing: &'static str,
        /// The member.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// More than the limits.
    #[error("it is larger than allowed: more than {limit} {what}")]
    TooMuch {
        /// Of what.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// What is left of the disk is kept for others.
    #[error("No space left on device: an image may not have the last {kept} {what} of it")]
    Full {
        /// How many.
        kept: u64,
        /// Of what.
        what: &'static str,
    },
    /// The stream broke off, or is no archive.
    #[error("the archive cannot be read: {0}")]
    Stream(io::Error),
}

/// A layer that has been unpacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unpacked {
    /// The digest of the archive without its compression.
    pub diff_id: Digest,
    /// How much its files hold.
    pub bytes: u64,
    /// How many members it had.
    pub entries: u64,
}

/// Unpacks `stream`, compressed or not, into the empty folder `into`. The digest is computed as `like` was. What has
/// been made when it fails is the caller's to remove.
pub(crate) fn unpack(
    stream: impl Read,
    into: BorrowedFd<'_>,
    limits: &Limits,
    like: &Digest,
) -> Result<Unpacked, Error> {
    let plain = decode::plain(stream).map_err(Error::Stream)?;
    let exceeded = Rc::new(Cell::new(false));
    let limited = limits::Capped::new(plain, limits.bytes, Rc::clone(&exceeded));
    let hashing = Hashing::new(limited, Hasher::like(like));
    match members(hashing, into, limits) {
        Err(Error::Stream(_)) if exceeded.get() => Err(Error::TooMuch { what: "bytes", limit: limits.bytes }),
        result => result,
    }
}

fn members(hashing: Hashing<impl Read>, into: BorrowedFd<'_>, limits: &Limits) -> Result<Unpacked, Error> {
    let mut archive = archive::Archive::new(BufReader::with_capacity(BUFFER, hashing));
    let mut layer = layer::Layer::new(into, limits);
    while let Some(head) = archive.next().map_err(Error::Stream)? {
        layer.add(head, &mut archive)?;
    }
    let (bytes, entries) = layer.finish()?;
    // What follows the end of the archive belongs to its digest.
    let mut rest = archive.into_inner();
    io::copy(&mut rest, &mut io::sink()).map_err(Error::Stream)?;
    let (diff_id, _) = rest.into_inner().finish();
    Ok(Unpacked { diff_id, bytes, entries })
}
