//! What can go wrong with images: each error names the image or file, the step, and what the other side said.

use std::io;
use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::platform::Platform;
use crate::unpack;

/// The result of what is done with images.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why something with an image failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The text is no reference to an image.
    #[error("{message}: {help}")]
    Reference {
        /// What is wrong.
        message: String,
        /// A way out.
        help: String,
    },
    /// The text is no platform.
    #[error(
        "`{text}` is not a platform: write OS/ARCHITECTURE or OS/ARCHITECTURE/VARIANT, as in `linux/arm64`"
    )]
    Platform {
        /// What was read.
        text: String,
    },
    /// The text is no digest.
    #[error("`{text}` is not a digest: a digest is `sha256:` and 64 hexadecimal digits")]
    Digest {
        /// What was read.
        text: String,
    },
    /// Content is not what its digest promises.
    #[error("{what} is not what was asked for: its digest is {found}, expected {expected}")]
    Mismatch {
        /// What was read.
        what: String,
        /// What was promised.
        expected: Digest,
        /// What came.
        found: Digest,
    },
    /// A file of the store or of a source.
    #[error("cannot {doing} `{}`: {source}", path.display())]
    File {
        /// The step.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A document (manifest, configuration, index) that cannot be understood.
    #[error("{} cannot be used: {}", line(what), line(message))]
    Document {
        /// The document.
        what: String,
        /// What is wrong with it.
        message: String,
    },
    /// Nothing in the image is for the platform.
    #[error("`{image}` is not made for {wanted}; it is made for {}", line(list(has)))]
    NoPlatform {
        /// The image.
        image: String,
        /// What was asked for.
        wanted: Platform,
        /// What there is.
        has: Vec<String>,
    },
    /// The image is not there, and may not be pulled.
    #[error("no image `{image}` here for {platform}, and it may not be pulled ({reason})")]
    Absent {
        /// The image.
        image: String,
        /// The platform asked for.
        platform: Platform,
        /// Why it may not be pulled.
        reason: &'static str,
    },
    /// What a registry answered.
    #[error("cannot {doing} `{image}`: {}", line(message))]
    Registry {
        /// The step.
        doing: &'static str,
        /// The image.
        image: String,
        /// The registry's own words, or why it could not be reached.
        message: String,
    },
    /// Credentials that cannot be read.
    #[error("cannot read the credentials of {registry} from `{}`: {message}", path.display())]
    Credentials {
        /// Whose.
        registry: String,
        /// The file or program.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// A layer that could not be unpacked.
    #[error("cannot unpack layer {layer} of `{image}`: {}", line(source))]
    Layer {
        /// The image.
        image: String,
        /// The layer, by the digest of what is downloaded.
        layer: Digest,
        /// Why.
        source: unpack::Error,
    },
    /// A file of the store or of the image's source.
    #[error("cannot pull `{image}`: {source}")]
    Pull {
        /// The image.
        image: String,
        /// Why.
        source: Box<Self>,
    },
    /// A file of the store.
    #[error("cannot push `{image}`: {source}")]
    Push {
        /// The image.
        image: String,
        /// Why.
        source: Box<Self>,
    },
    /// Whoever asked for it wants it no more.
    #[error("stopped")]
    Stopped,
    /// Another layer of the same image failed first.
    #[error("given up, as another layer failed")]
    Cancelled,
}

impl Error {
    /// For `map_err`: what was being done to which file.
    pub(crate) fn file(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { doing, path, source }
    }

    /// As [`Error::file`], of rustix's errors.
    pub(crate) fn os(doing: &'static str, path: &Path) -> impl FnOnce(rustix::io::Errno) -> Self {
        let path = path.to_owned();
        move |source| Self::File { doing, path, source: source.into() }
    }

    pub(crate) fn document(what: impl Into<String>, message: impl ToString) -> Self {
        Self::Document { what: what.into(), message: message.to_string() }
    }
}

/// What a stranger has written, in one line: nothing in it looks like the next message, or does anything to a terminal.
fn line(text: impl ToString) -> String {
    let mut line = String::new();
    for letter in text.to_string().chars() {
        match letter.is_control() {
            true => line.extend(letter.escape_default()),
            false => line.push(letter),
        }
    }
    line
}

fn list(has: &[String]) -> String {
    if has.is_empty() { "no platform at all".to_owned() } else { has.join(", ") }
}
