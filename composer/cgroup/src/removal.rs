//! Ending what runs in a group, and taking its directories away.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _};
use std::os::fd::AsFd as _;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::hierarchy::{Layout, Other, Root};
use crate::{Controller, Error, control, realtime, v2};

/// How long the kernel may take to let go of processes that have been killed. An exit with gigabytes of memory
/// to give back, in the middle of a disk write, on processors that are busy or with a quota that is used up, takes its time.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest pause between tries on v1.
const V1_PAUSE: Duration = Duration::from_millis(20);

/// Process ids of the group and of all groups inside it, in any hierarchy, sorted.
pub(crate) fn processes(layout: &Layout, path: &str) -> Result<BTreeSet<i32>, Error> {
    let mut found = BTreeSet::new();
    for root in layout.roots() {
        collect(&root.group(path), &mut found)?;
    }
    Ok(found)
}

/// Adds those of one directory and of all below it.
pub(crate) fn collect(directory: &Path, found: &mut BTreeSet<i32>) -> Result<(), Error> {
    found.extend(control::processes(directory)?);
    for child in control::children(directory)? {
        collect(&child, found)?;
    }
    Ok(())
}

/// Sends SIGKILL to every process of the group and of the groups inside it.
pub(crate) fn kill_all(layout: &Layout, path: &str) -> Result<(), Error> {
    if let Some(root) = &layout.v2 {
        // One step for the kernel: nothing can fork away from it (Linux 5.14).
        match control::write(&root.group(path).join("cgroup.kill"), "1") {
            Ok(()) if layout.v1.is_empty() => return Ok(()),
            // With v1 beside it a process may be in a v1 hierarchy alone, left by a join that was cut off.
            Ok(()) => {}
            Err(Error::Write { source, .. }) if control::is_absent(&source) => {}
            Err(error) => return Err(error),
        }
    }
    kill_each(layout, path)
}

/// Rounds of signals until no process appears that has not had one: what was forked before its parent died
/// is found in the next round. Ends, for a process with SIGKILL pending forks no more.
fn kill_each(layout: &Layout, path: &str) -> Result<(), Error> {
    let mut signalled = BTreeSet::new();
    loop {
        let found = processes(layout, path)?;
        let fresh: Vec<i32> = found.difference(&signalled).copied().collect();
        if fresh.is_empty() {
            return Ok(());
        }
        for pid in fresh {
            match kill(Pid::from_raw(pid), Signal::SIGKILL) {
                Ok(()) | Err(Errno::ESRCH) => signalled.insert(pid),
                Err(errno) => {
                    return Err(Error::Kill { pid, group: path.to_owned(), source: errno.into() });
                }
            };
        }
    }
}

/// Removes the group in every hierarchy, the groups inside it first. Goes on after a failure and answers with
/// the first one.
pub(crate) fn remove(layout: &Layout, path: &str) -> Result<(), Error> {
    let mut outcome = Ok(());
    for root in &layout.v1 {
        outcome = outcome.and(give_back(root, path, |directory| remove_tree(directory, &retry_v1)));
    }
    if let Some(root) = &layout.v2 {
        outcome = outcome.and(unprotect(root, path, |directory| remove_tree(directory, &wait_v2)));
    }
    outcome
}

/// The same in hierarchies of which no controller is used. One that refuses is passed over: what could not be
/// made in it is not there either.
pub(crate) fn remove_others<'a>(others: impl Iterator<Item = &'a Other>, path: &str) -> Result<(), Error> {
    let mut outcome = Ok(());
    for other in others {
        let on_busy: OnBusy<'_> = if other.is_v2 { &wait_v2 } else { &retry_v1 };
        match remove_tree(&other.root.group(path), on_busy) {
            Err(Error::Remove { source, .. }) if is_refusal(&source) => {}
            removed => outcome = outcome.and(removed),
        }
    }
    outcome
}

/// Removes the group in every hierarchy in which nothing is in it.
pub(crate) fn remove_if_empty(layout: &Layout, path: &str) -> Result<(), Error> {
    let mut outcome = Ok(());
    for root in &layout.v1 {
        outcome = outcome.and(give_back(root, path, remove_unless_busy));
    }
    if let Some(root) = &layout.v2 {
        outcome = outcome.and(unprotect(root, path, remove_unless_busy));
    }
    outcome
}

/// The same in hierarchies of which no controller is used, as [`remove_others`].
pub(crate) fn remove_others_if_empty(others: &[Other], path: &str) -> Result<(), Error> {
    let mut outcome = Ok(());
    for other in others {
        match remove_unless_busy(&other.root.group(path)) {
            Err(Error::Remove { source, .. }) if is_refusal(&source) => {}
            removed => outcome = outcome.and(removed),
        }
    }
    outcome
}

/// Removes what is empty of the groups inside this one.
pub(crate) fn remove_empty_inside(layout: &Layout, others: &[Other], path: &str) -> Result<(), Error> {
    let mut outcome = Ok(());
    for root in layout.roots() {
        for group in control::children(&root.group(path))? {
            outcome = outcome.and(remove_unless_busy(&group));
        }
    }
    for other in others {
        for group in control::children(&other.root.group(path))? {
            match remove_unless_busy(&group) {
                Err(Error::Remove { source, .. }) if is_refusal(&source) => {}
                removed => outcome = outcome.and(removed),
            }
        }
    }
    outcome
}

fn remove_unless_busy(directory: &Path) -> Result<(), Error> {
    match remove_directory(directory) {
        Err(source) if !is_busy(&source) => Err(Error::Remove { path: directory.to_owned(), source }),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Removes a v2 group, and takes its share out of its parents' protection.
fn unprotect(root: &Root, path: &str, remove: impl FnOnce(&Path) -> Result<(), Error>) -> Result<(), Error> {
    let directory = root.group(path);
    let was_protected =
        root.has(Controller::Memory) && v2::protection(&directory).is_ok_and(|bytes| bytes > 0);
    remove(&directory)?;
    if was_protected { v2::protect_parents(root, path) } else { Ok(()) }
}

/// Removes a v1 group, and takes its real-time CPU time from its parents.
fn give_back(root: &Root, path: &str, remove: impl FnOnce(&Path) -> Result<(), Error>) -> Result<(), Error> {
    let had_some = root.has(Controller::Cpu) && realtime::has_some(root, path);
    if had_some {
        realtime::take_unused(&root.group(path))?;
    }
    let removed = remove(&root.group(path));
    // Also where it could not be removed: it has none any more, so that the next try would give nothing back.
    if had_some { removed.and(realtime::give_back(root, path)) } else { removed }
}

type OnBusy<'a> = &'a dyn Fn(&Path) -> io::Result<()>;

fn remove_tree(directory: &Path, on_busy: OnBusy<'_>) -> Result<(), Error> {
    let failed = |source| Error::Remove { path: directory.to_owned(), source };
    // Most groups have none inside: the kernel says so faster than a listing.
    match remove_directory(directory) {
        Err(error) if is_busy(&error) => {}
        outcome => return outcome.map_err(failed),
    }
    let mut outcome = Ok(());
    for child in control::children(directory)? {
        outcome = outcome.and(remove_tree(&child, on_busy));
    }
    outcome?;
    match remove_directory(directory) {
        Err(error) if is_busy(&error) => on_busy(directory).map_err(failed),
        outcome => outcome.map_err(failed),
    }
}

fn remove_directory(directory: &Path) -> io::Result<()> {
    match fs::remove_dir(directory) {
        Err(error) if control::is_absent(&error) => Ok(()),
        outcome => outcome,
    }
}

fn is_busy(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::EBUSY as i32)
}

fn is_refusal(error: &io::Error) -> bool {
    let refusals = [Errno::EROFS, Errno::EACCES, Errno::EPERM];
    error.raw_os_error().is_some_and(|errno| refusals.contains(&Errno::from_raw(errno)))
}

/// Waits until `cgroup.events` says that no process is left, then removes. Gives up after [`PATIENCE`].
fn wait_v2(directory: &Path) -> io::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let mut events = match File::open(directory.join("cgroup.events")) {
        Ok(file) => file,
        Err(error) if control::is_absent(&error) => return Ok(()),
        Err(error) => return Err(error),
    };
    loop {
        // Reading arms the file: a change from here on is a POLLPRI.
        let mut content = String::new();
        events.rewind()?;
        match events.read_to_string(&mut content) {
            Err(error) if control::is_absent(&error) => return Ok(()),
            read => read?,
        };
        if content.lines().any(|line| line == "populated 0") {
            return remove_directory(directory);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        let mut watched = [PollFd::new(events.as_fd(), PollFlags::POLLPRI)];
        match poll(&mut watched, timeout) {
            Ok(0) => return Err(Errno::EBUSY.into()),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// v1 tells nobody when a group empties: `notify_on_release` starts a program of the host's choice, and a
/// pidfd becomes readable before the kernel has unlinked the process from its groups. So a few tries, the
/// pauses doubling from half a millisecond to [`V1_PAUSE`]. Gives up after [`PATIENCE`], as on v2.
fn retry_v1(directory: &Path) -> io::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let mut pause = Duration::from_micros(500);
    loop {
        match remove_directory(directory) {
            Err(error) if is_busy(&error) && Instant::now() < deadline => {
                std::thread::sleep(pause);
                pause = (pause * 2).min(V1_PAUSE);
            }
            outcome => return outcome,
        }
    }
}
