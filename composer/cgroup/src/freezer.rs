//! Holding every process of a group where it is.
//!
//! On v2 that is `cgroup.freeze` of the group itself. On v1 it is a hierarchy of its own in which a group has no
//! directory until it is held for the first time, so that starting costs nothing: it is made, told to freeze while it is
//! empty, and the group's processes are moved into it, each of which is held as it arrives and forks no more. What was
//! forked meanwhile is found in the next round.

use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::gather::gather;
use crate::hierarchy::{Layout, Other};
use crate::{Error, control, v1};

/// How long the kernel may take. A process in the middle of a disk write is held when that has come to its end.
const PATIENCE: Duration = Duration::from_secs(5);

const V1: &str = "freezer.state";
const V2: &str = "cgroup.freeze";
const EVENTS: &str = "cgroup.events";
const FROZEN: &str = "frozen 1";

/// Where a group is held.
enum Place {
    V1(PathBuf),
    V2 {
        directory: PathBuf,
        /// Whether the group's processes are in it from their start on.
        is_home: bool,
    },
}

fn place(layout: &Layout, path: &str) -> Option<Place> {
    if let Some(other) = layout.others.iter().find(|other| other.is_freezer) {
        return Some(Place::V1(other.root.group(path)));
    }
    if let Some(root) = &layout.v2 {
        return Some(Place::V2 { directory: root.group(path), is_home: true });
    }
    let unified = layout.others.iter().find(|other| other.is_v2)?;
    Some(Place::V2 { directory: unified.root.group(path), is_home: false })
}

/// Whether groups that were held have a directory in this hierarchy.
pub(crate) fn is_place(layout: &Layout, other: &Other) -> bool {
    let has_freezer = || layout.others.iter().any(|other| other.is_freezer);
    other.is_freezer || (other.is_v2 && layout.v2.is_none() && !has_freezer())
}

/// Holds every process of the group and returns when all stand still.
pub(crate) fn freeze(layout: &Layout, path: &str) -> Result<(), Error> {
    let held = begin(layout, path).and_then(|()| match place(layout, path) {
        None => Err(Error::NoFreezer),
        Some(Place::V1(directory)) => wait_v1(&directory),
        Some(Place::V2 { directory, .. }) => wait_v2(&directory),
    });
    if held.is_err() {
        // Half of a service held is worse than none. The first error is the one to tell of.
        let _ = thaw(layout, path);
    }
    held
}

/// Has every process of the group held, and does not wait until all stand still.
pub(crate) fn begin(layout: &Layout, path: &str) -> Result<(), Error> {
    match place(layout, path) {
        None => Err(Error::NoFreezer),
        Some(Place::V1(directory)) => {
            make(layout, path, &directory)?;
            control::write(&directory.join(V1), "FROZEN").and_then(|()| gather_all(layout, path, &directory))
        }
        Some(Place::V2 { directory, is_home }) => {
            if !is_home {
                std::fs::create_dir_all(&directory)
                    .map_err(|source| Error::Create { path: directory.clone(), source })?;
            }
            control::write(&directory.join(V2), "1")?;
            if is_home { Ok(()) } else { gather_all(layout, path, &directory) }
        }
    }
}

/// Whether all stand still.
pub(crate) fn is_still(layout: &Layout, path: &str) -> Result<bool, Error> {
    match place(layout, path) {
        None => Ok(false),
        Some(Place::V1(directory)) => {
            let state = control::read_if_there(&directory.join(V1))?;
            Ok(state.is_some_and(|state| state.trim_end() == "FROZEN"))
        }
        Some(Place::V2 { directory, .. }) => {
            let events = control::read_if_there(&directory.join(EVENTS))?.unwrap_or_default();
            Ok(events.lines().any(|line| line == FROZEN))
        }
    }
}

/// What is `POLLPRI` when that has changed.
pub(crate) fn events(layout: &Layout, path: &str) -> Result<Option<File>, Error> {
    match place(layout, path) {
        None | Some(Place::V1(_)) => Ok(None),
        Some(Place::V2 { directory, .. }) => {
            let path = directory.join(EVENTS);
            File::open(&path).map(Some).map_err(|source| Error::Read { path, source })
        }
    }
}

fn make(layout: &Layout, path: &str, directory: &Path) -> Result<(), Error> {
    match layout.others.iter().find(|other| other.is_freezer) {
        Some(other) => v1::make(&other.root, path).map(|_| ()),
        None => Err(Error::Create { path: directory.to_owned(), source: io::ErrorKind::NotFound.into() }),
    }
}

/// Lets every process of the group go on; one that is not held is none the worse for it.
pub(crate) fn thaw(layout: &Layout, path: &str) -> Result<(), Error> {
    let written = match place(layout, path) {
        None => return Ok(()),
        Some(Place::V1(directory)) => control::write(&directory.join(V1), "THAWED"),
        Some(Place::V2 { directory, .. }) => control::write(&directory.join(V2), "0"),
    };
    match written {
        Err(error) if error.is_absence() => Ok(()),
        other => other,
    }
}

/// Lets the group and every group inside it go on, so that what was killed can die: on v1 nothing does while it is held.
pub(crate) fn thaw_all(layout: &Layout, path: &str) -> Result<(), Error> {
    if let Some(Place::V1(directory)) = place(layout, path) {
        return thaw_tree(&directory);
    }
    Ok(())
}

fn thaw_tree(directory: &Path) -> Result<(), Error> {
    match control::write(&directory.join(V1), "THAWED") {
        Err(error) if error.is_absence() => {}
        written => written?,
    }
    control::children(directory)?.iter().try_for_each(|child| thaw_tree(child))
}

/// Whether the group is held, or about to be.
pub(crate) fn is_frozen(layout: &Layout, path: &str) -> Result<bool, Error> {
    match place(layout, path) {
        None => Ok(false),
        Some(Place::V1(directory)) => {
            let state = control::read_if_there(&directory.join(V1))?;
            Ok(state.is_some_and(|state| state.trim_end() != "THAWED"))
        }
        Some(Place::V2 { directory, .. }) => Ok(control::number(&directory.join(V2))? == Some(1)),
    }
}

/// Moves the group's processes into the directory in which they are held.
fn gather_all(layout: &Layout, path: &str, directory: &Path) -> Result<(), Error> {
    let here = || Ok(control::processes(directory)?.into_iter().collect());
    if gather(layout, path, directory, here)? {
        return Ok(());
    }
    Err(Error::Freeze { group: path.to_owned(), reason: "its processes fork faster than they can be held" })
}

/// v1 tells nobody when all are held: it looks at them when its file is read. So a few looks, the pauses doubling from
/// a tenth of a millisecond.
fn wait_v1(directory: &Path) -> Result<(), Error> {
    let deadline = Instant::now() + PATIENCE;
    let mut pause = Duration::from_micros(100);
    loop {
        let state = control::read(&directory.join(V1))?;
        if state.trim_end() == "FROZEN" {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(stuck(directory));
        }
        std::thread::sleep(pause);
        pause *= 2;
    }
}

/// v2 tells by `cgroup.events`.
fn wait_v2(directory: &Path) -> Result<(), Error> {
    let path = directory.join(EVENTS);
    let failed = |source| Error::Read { path: path.clone(), source };
    let deadline = Instant::now() + PATIENCE;
    let mut events = File::open(&path).map_err(failed)?;
    loop {
        // Reading arms the file: a change from here on is a POLLPRI.
        let mut content = String::new();
        events.rewind().and_then(|()| events.read_to_string(&mut content)).map_err(failed)?;
        if content.lines().any(|line| line == FROZEN) {
            return Ok(());
        }
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(events.as_fd(), PollFlags::POLLPRI)], timeout) {
            Ok(0) => return Err(stuck(directory)),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(failed(errno.into())),
        }
    }
}

fn stuck(directory: &Path) -> Error {
    let reason = "a process did not stand still within 5 s (one that waits for a disk cannot)";
    Error::Freeze { group: directory.display().to_string(), reason }
}
