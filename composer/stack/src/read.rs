//! Texts from disk: Compose files, each read and parsed once, and env files.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use rustix::fs::{Mode, OFlags};

use crate::diagnostic::{Found, Report};
use crate::options::LoadOptions;
use crate::source::{Source, Span};
use crate::stdin::Stdin;
use crate::yaml::{self, Node, limits};

/// Device number of `/dev/null`, which stands for an empty file.
const NULL_DEVICE: u64 = (1 << 8) | 3;

/// The Compose files of a load.
#[derive(Debug)]
pub(crate) struct Reader {
    current: PathBuf,
    parsed: HashMap<PathBuf, Option<Rc<Vec<Node>>>>,
    /// In the order of reading.
    order: Vec<PathBuf>,
    stdin: Option<Stdin>,
    env_files: HashMap<PathBuf, Numbered>,
}

/// A text that was read, with its number among the sources.
pub(crate) type Numbered = (u32, Arc<Source>);

impl Reader {
    pub fn new(options: &LoadOptions) -> Self {
        Self {
            current: options.current_dir.clone(),
            parsed: HashMap::new(),
            order: Vec::new(),
            stdin: options.stdin.clone(),
            env_files: HashMap::new(),
        }
    }

    /// The documents of a file; `None` where it is not YAML, which has been reported.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn documents(&mut self, path: &Path, report: &mut Report) -> io::Result<Option<Rc<Vec<Node>>>> {
        if let Some(known) = self.parsed.get(path) {
            return Ok(known.clone());
        }
        let text = match &self.stdin {
            Some(stdin) if is_stdin(path) => stdin.text()?,
            None if is_stdin(path) => return Err(io::Error::other("there is no standard input")),
            Some(_) | None => text(path)?,
        };
        let documents = yaml::parse(&self.shown(path), text, report).map(Rc::new);
        self.parsed.insert(path.to_owned(), documents.clone());
        self.order.push(path.to_owned());
        Ok(documents)
    }

    /// The text of an env file. What is wrong in one that is used again is then wrong at the same place, and told once.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn env_file(&mut self, path: &Path, report: &mut Report) -> io::Result<Numbered> {
        if let Some(known) = self.env_files.get(path) {
            return Ok(known.clone());
        }
        let read = report.sources.add(&self.shown(path), text(path)?);
        self.env_files.insert(path.to_owned(), read.clone());
        Ok(read)
    }

    /// Every document that was read, as it was written.
    pub fn all(&self) -> impl Iterator<Item = &Node> {
        self.order
            .iter()
            .filter_map(|path| self.parsed.get(path)?.as_ref())
            .flat_map(|documents| documents.iter())
    }

    /// A path as messages have it: relative to the current directory where it lies below it.
    pub fn shown(&self, path: &Path) -> PathBuf {
        shown(path, &self.current)
    }
}

pub(crate) fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// A path relative to `current` where it lies below it.
pub(crate) fn shown(path: &Path, current: &Path) -> PathBuf {
    match path.strip_prefix(current) {
        Ok(rest) if !rest.as_os_str().is_empty() => rest.to_owned(),
        Ok(_) | Err(_) => path.to_owned(),
    }
}

/// Reads a text: of a file or of a pipe, for anything else might never end.
///
/// # Errors
/// When it is neither, is too large, or the system says so.
pub(crate) fn text(path: &Path) -> io::Result<String> {
    as_text(bytes(path)?)
}

/// The same of what need not be text.
///
/// # Errors
/// As those of [`text`].
pub(crate) fn bytes(path: &Path) -> io::Result<Vec<u8>> {
    // Looked at before it is opened as well: opening a device may do something.
    let metadata = fs::metadata(path)?;
    if is_null(&metadata) {
        return Ok(Vec::new());
    }
    regular(&metadata)?;
    let file = if metadata.file_type().is_fifo() { pipe(path)? } else { File::open(path)? };
    regular(&file.metadata()?)?;
    bounded_bytes(file)
}

/// Opens a pipe. Where nobody writes to it, its text is empty: to wait for somebody may take for ever (fifo(7)).
fn pipe(path: &Path) -> io::Result<File> {
    let pipe = rustix::fs::open(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?;
    // Whoever writes may take their time.
    rustix::fs::fcntl_setfl(&pipe, OFlags::empty())?;
    Ok(pipe.into())
}

/// A text that is not larger than any that somebody wrote.
///
/// # Errors
/// When it is larger, or the system says so.
pub(crate) fn bounded(from: impl Read) -> io::Result<String> {
    as_text(bounded_bytes(from)?)
}

fn bounded_bytes(from: impl Read) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    from.take(limits::TEXT as u64 + 1).read_to_end(&mut text)?;
    if text.len() > limits::TEXT {
        return Err(io::Error::other(format!("it is larger than {} MiB", limits::TEXT >> 20)));
    }
    Ok(text)
}

fn as_text(bytes: Vec<u8>) -> io::Result<String> {
    String::from_utf8(bytes).map_err(|_| io::Error::other("it is not text in UTF-8"))
}

fn is_null(metadata: &Metadata) -> bool {
    metadata.file_type().is_char_device() && metadata.rdev() == NULL_DEVICE
}

fn regular(metadata: &Metadata) -> io::Result<()> {
    let kind = metadata.file_type();
    let what = if kind.is_dir() {
        "it is a folder"
    } else if kind.is_block_device() || kind.is_char_device() {
        "it is a device"
    } else if kind.is_socket() {
        "it is a socket"
    } else {
        return Ok(());
    };
    Err(io::Error::other(what))
}

/// Reports a file that cannot be read, at the place that names it.
pub(crate) fn cannot(path: &Path, error: &io::Error, at: Option<Span>, report: &mut Report) {
    let message = format!("cannot read {}: {error}", path.display());
    let found = match at {
        Some(at) => report.error(at, message),
        None => report.error_without_place(message),
    };
    instead(found, path, error, "");
}

/// Says what may have been meant by a file that cannot be read, or else another way out where it is not there.
pub(crate) fn instead<'a>(found: Found<'a>, path: &Path, error: &io::Error, otherwise: &str) -> Found<'a> {
    if !found.is_kept() {
        return found;
    }
    if path.is_dir() {
        return found.help("name a file in it");
    }
    let (Some(folder), Some(wanted)) = (path.parent(), path.file_name().and_then(OsStr::to_str)) else {
        return found;
    };
    if error.kind() != io::ErrorKind::NotFound {
        return found;
    }
    let Ok(entries) = fs::read_dir(folder) else {
        return found.help(if folder.exists() {
            otherwise.to_owned()
        } else {
            format!("there is no folder {}", folder.display())
        });
    };
    // A link that leads nowhere is there itself.
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<String> = names.filter(|name| name != wanted).take(4096).collect();
    names.sort();
    found.meant(wanted, names.iter().map(String::as_str), otherwise)
}

/// Whether a path names something that would have to be fetched.
pub(crate) fn is_remote(path: &str) -> bool {
    path.contains("://") || path.starts_with("git@") || path.starts_with("github.com/")
}

/// Said of what [`is_remote`].
pub(crate) const NOT_FETCHED: &str = "files from elsewhere are not fetched";
pub(crate) const FETCH_IT: &str = "fetch it yourself, and name the local file";
