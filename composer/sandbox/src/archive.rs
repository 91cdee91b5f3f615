//! Files into and out of a place, as a tar stream: see [`pack`] and [`unpack`], and for a container's [`inside`] while it
//! runs, [`at_rest`] while it does not.
//!
//! The stream's first entry is the file or folder itself, under a name of its own; the entries of a folder follow.

mod pack;
mod records;
mod remove;
mod sparse;
mod unpack;

use std::cell::Cell;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::Path;

use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::stat::{Mode, umask};
use serde::{Deserialize, Serialize};

use crate::failure::Result as Started;
use crate::spec::{MountSpec, RootSpec};
use crate::userns::{self, IdRange};
use crate::{mount, root, volumes};

pub use pack::pack;
pub use remove::remove;
pub use unpack::unpack;

thread_local! {
    /// The ids of the container that this thread has entered, as its files have them here.
    static ENTERED: Cell<Option<IdRange>> = const { Cell::new(None) };
}

/// What the names of extended attributes begin with in a pax header.
const EXTENDED: &str = "SCHILY.xattr.";

/// Whether an extended attribute means something elsewhere.
fn is_portable(name: &str) -> bool {
    name == "security.capability" || name.starts_with("user.")
}

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
/// `userns` are the ids of its users, where it has a user namespace: those of a stream are the container's own.
pub fn inside<T: Send + 'static>(
    process: OwnedFd,
    userns: Option<IdRange>,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
    done: impl FnOnce(io::Result<T>) + Send + 'static,
) -> io::Result<()> {
    let enter = move || {
        // A thread that shares its root and working folder with others cannot enter a mount namespace (setns(2)).
        unshare(CloneFlags::CLONE_FS)?;
        setns(process, CloneFlags::CLONE_NEWNS)?;
        umask(Mode::empty());
        if let Some(range) = userns {
            // This thread alone.
            userns::make_files_as_root(range).map_err(io::Error::other)?;
        }
        ENTERED.set(userns);
        Ok(())
    };
    let thread = std::thread::Builder::new().name("archive".to_owned());
    thread.spawn(move || done(enter().and_then(|()| work()))).map(drop)
}

/// A root filesystem on which nothing runs.
pub struct AtRest {
    /// What it is made of. Nobody else has it mounted.
    pub root: RootSpec,
    /// It cannot be written.
    pub read_only: bool,
    /// What is mounted in it; what is only memory is left out.
    pub mounts: Vec<MountSpec>,
}

/// Runs `work` where paths are those of such a root filesystem, on a thread and in a mount namespace of its own. Nothing
/// is mounted any more when `done` is called.
pub fn at_rest<T: Send + 'static>(
    place: AtRest,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
    done: impl FnOnce(io::Result<T>) + Send + 'static,
) -> io::Result<()> {
    let enter = move || -> Started<()> {
        root::make_private()?;
        // No program of the container's opens a device here.
        let tree = root::mount(&place.root, false, None)?;
        volumes::mount_at_rest(&tree, &place.mounts)?;
        root::enter(&tree, place.read_only)?;
        umask(Mode::empty());
        Ok(())
    };
    let run = move || {
        let outside = File::open("/proc/thread-self/ns/mnt")?;
        unshare(CloneFlags::CLONE_FS | CloneFlags::CLONE_NEWNS)?;
        let result = enter().map_err(io::Error::other).and_then(|()| work());
        // The last to leave a mount namespace unmounts what is in it before it goes on; one that ends in it leaves that to
        // the kernel, which does it some time later.
        setns(outside, CloneFlags::CLONE_NEWNS)?;
        result
    };
    let thread = std::thread::Builder::new().name("archive".to_owned());
    thread.spawn(move || done(run())).map(drop)
}

/// Writes the whole root filesystem that this thread has entered, and nothing that is mounted in it.
pub fn export(out: impl Write) -> io::Result<()> {
    let alone = mount::copy(rustix::fs::CWD, "/", false)?;
    nix::unistd::fchdir(&alone)?;
    pack::whole(Path::new("."), out)
}

/// Writes what is in overlayfs' upper folder as a layer of an image (OCI's image-spec, layer.md).
pub fn layer(upper: &Path, out: impl Write) -> io::Result<()> {
    pack::layer(upper, out)
}

/// Words an error with the path that it is about.
fn at(what: &'static str, path: &std::path::Path) -> impl FnOnce(io::Error) -> io::Error {
    let path = path.display().to_string();
    move |error| io::Error::new(error.kind(), format!("{what} {path}: {error}"))
}
