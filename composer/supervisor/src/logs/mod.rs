//! Logs on disk: `log.stdout` and `log.stderr` hold the bytes as they came, `log.index` says when and in which order.
//! A stream on which nothing has come has no file. Where `logging` limits their size there are several generations of them.
//!
//! The supervisor moves bytes by splice(2) ([`Writer`]); any process that may read the folder reads them with
//! [`Reader`] (lines) or [`Bytes`], and follows them with [`Watch`].

mod bytes;
mod generations;
mod index;
mod reader;
mod seeker;
#[cfg(test)]
mod tests;
mod watch;
mod writer;

pub use bytes::Bytes;
pub(crate) use bytes::make_streams;
pub use reader::Reader;
pub(crate) use seeker::Seeker;
pub use watch::Watch;
pub(crate) use writer::{Taken, Writer};

/// Which standard stream a line came on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output, and everything a terminal shows.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    /// Both, in the order of their numbers in the index.
    pub const ALL: [Self; 2] = [Self::Stdout, Self::Stderr];

    /// The name of its file.
    pub const fn file(self) -> &'static str {
        match self {
            Self::Stdout => "log.stdout",
            Self::Stderr => "log.stderr",
        }
    }
}

/// One line of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// When its first byte was taken from the pipe: nanoseconds since the Unix epoch.
    pub time: u64,
    /// Its stream.
    pub stream: Stream,
    /// Its bytes without the newline; not necessarily UTF-8.
    pub bytes: Vec<u8>,
}
