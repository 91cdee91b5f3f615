//! Files into and out of a place, as a tar stream: see [`pack`] and [`unpack`], and [`inside`] for a container's.
//!
//! The stream's first entry is the file or folder itself, under a name of its own; the entries of a folder follow.

mod pack;
mod remove;
mod sparse;
mod unpack;

use std::io;
use std::os::fd::OwnedFd;

use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::stat::{Mode, umask};
use serde::{Deserialize, Serialize};

pub use pack::pack;
pub use remove::remove;
pub use unpack::unpack;

/// Where the entries of a stream go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rule {
    /// As cp(1) has it: into the target where that is a folder, else in its place.
    Copy {
        /// What it is called in a folder.
        name: String,
        /// Of a folder only what is in it goes into a folder that is there (`SOURCE/.`).
        contents: bool,
    },
    /// To the target itself; folders above it are made. What is of another kind gives way: a file or link to a folder, a
    /// folder to a file. So do files and links among the folders below `top`, never what `top` itself leads to.
    Exact {
        /// The folder or file in the container that is kept as one outside is.
        top: String,
    },
    /// Every entry under its own name below the target, a folder.
    Extract,
}

/// Whose the files are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Owner {
    /// Of the user and group in the stream.
    Kept,
    /// Of these.
    Set(u32, u32),
}

/// Runs `work` where paths are those of the container with this PID 1 (a pidfd), on a thread that ends with it: one
/// that has entered a namespace does not come back. `done` is called on that thread.
pub fn inside<T: Send + 'static>(
    process: OwnedFd,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
    done: impl FnOnce(io::Result<T>) + Send + 'static,
) -> io::Result<()> {
    let enter = move || {
        // A thread that shares its root and working folder with others cannot enter a mount namespace (setns(2)).
        unshare(CloneFlags::CLONE_FS)?;
        setns(process, CloneFlags::CLONE_NEWNS)?;
        umask(Mode::empty());
        Ok(())
    };
    let thread = std::thread::Builder::new().name("archive".to_owned());
    thread.spawn(move || done(enter().and_then(|()| work()))).map(drop)
}

/// Words an error with the path that it is about.
fn at(what: &'static str, path: &std::path::Path) -> impl FnOnce(io::Error) -> io::Error {
    let path = path.display().to_string();
    move |error| io::Error::new(error.kind(), format!("{what} {path}: {error}"))
}
