//! Running out of memory: what the kernel does with a group then, when it does, and what it tells of it.
//!
//! At its limit the kernel first reclaims: page cache alone never runs out. What is left is killed for, one process or all
//! of the group, unless the caller wants to be told at a mark below the limit and act by itself. On v2 that is
//! `memory.high`, which slows the group down meanwhile; on v1 a threshold, and nothing is killed at the limit itself: who
//! faults for a page waits there (memcg_test.rst, memory.rst of cgroup-v1), while a system call that needs memory fails.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::hierarchy::{Layout, Root};
use crate::{Controller, Error, control};

/// What the kernel does with a group that has reached its limit of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtLimit {
    /// It kills one process.
    Kill,
    /// It kills all of them. On v1 it kills one, and the others are the caller's to kill.
    KillAll,
    /// Its caller is told when it has so many bytes, and acts.
    Tell {
        /// Below the limit.
        mark: u64,
    },
    /// It has whoever faults for a page wait until there is one. v2, which cannot, kills all of them.
    Wait,
}

/// What a group takes of its limit, and what that has cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Shortage {
    /// In bytes, page cache included.
    pub current: u64,
    /// The part of it that the kernel cannot reclaim, in bytes.
    pub fixed: u64,
    /// The group's own limit in bytes.
    pub limit: Option<u64>,
    /// Processes of it and of the groups inside it that have been killed for want of memory; on v1 of itself alone.
    pub kills: u64,
    /// How often its own limit, or one inside it, could not be kept but by killing; v1 does not count it.
    pub reached: Option<u64>,
    /// How often its own limit alone could not; v1 does not count it.
    pub reached_itself: Option<u64>,
    /// Whether processes of it wait for memory; v1 alone.
    pub waits: bool,
}

/// Tells when something may have changed in a [`Shortage`].
#[derive(Debug)]
pub struct Alarm {
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// v1: readable when it has gone off.
    Counter(EventFd),
    /// v2: `POLLPRI` when its content has changed, until it is read.
    Events(File),
}

impl Alarm {
    /// Whether it goes off as `POLLPRI` and not as `POLLIN`.
    pub fn is_priority(&self) -> bool {
        matches!(self.kind, Kind::Events(_))
    }

    /// Makes it ready to go off again. To be called before the [`Shortage`] is looked at.
    pub fn arm(&self) {
        match &self.kind {
            // Empty where it was read already.
            Kind::Counter(counter) => drop(counter.read()),
            Kind::Events(events) => {
                let mut content = [0; 512];
                let _ = std::os::unix::fs::FileExt::read_at(events, &mut content, 0);
            }
        }
    }

    /// A descriptor of it that can be watched.
    ///
    /// # Errors
    /// The kernel's refusal to have one more.
    pub fn watched(&self) -> std::io::Result<OwnedFd> {
        self.as_fd().try_clone_to_owned()
    }
}

impl AsFd for Alarm {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.kind {
            Kind::Counter(counter) => counter.as_fd(),
            Kind::Events(events) => events.as_fd(),
        }
    }
}

/// Where a group's memory is accounted.
enum Place {
    V1(PathBuf),
    V2(PathBuf),
}

fn place(layout: &Layout, path: &str) -> Option<Place> {
    let has_memory = |root: &&Root| root.has(Controller::Memory);
    if let Some(root) = layout.v1.iter().find(has_memory) {
        return Some(Place::V1(root.group(path)));
    }
    let directory = layout.v2.as_ref().filter(has_memory)?.group(path);
    // Where the controller could not be enabled, there is nothing to keep.
    directory.join(EVENTS).exists().then_some(Place::V2(directory))
}

const EVENTS: &str = "memory.events.local";
const CONTROL: &str = "memory.oom_control";
const USAGE: &str = "memory.usage_in_bytes";

/// Sets what happens at the limit.
pub(crate) fn set(layout: &Layout, path: &str, at: AtLimit) -> Result<(), Error> {
    match place(layout, path) {
        None => Ok(()),
        Some(Place::V1(directory)) => {
            let waits = matches!(at, AtLimit::Tell { .. } | AtLimit::Wait);
            let file = directory.join(CONTROL);
            // Writing wakes whoever waits, so only what differs is written.
            if control::keyed(&file, "oom_kill_disable")? == Some(u64::from(waits)) {
                return Ok(());
            }
            control::write(&file, if waits { "1" } else { "0" })
        }
        Some(Place::V2(directory)) => {
            // Where a jump past the mark has to be killed for, nothing is left half alive.
            let all = if at == AtLimit::Kill { "0" } else { "1" };
            control::write(&directory.join("memory.oom.group"), all)?;
            match at {
                AtLimit::Tell { mark } => control::write(&directory.join("memory.high"), &mark.to_string()),
                AtLimit::Kill | AtLimit::KillAll | AtLimit::Wait => Ok(()),
            }
        }
    }
}

/// Has whoever faults for a page at the limit wait there instead of being killed for; v1 alone.
pub(crate) fn wait(layout: &Layout, path: &str, waits: bool) -> Result<(), Error> {
    match place(layout, path) {
        Some(Place::V1(_)) => set(layout, path, if waits { AtLimit::Wait } else { AtLimit::Kill }),
        Some(Place::V2(_)) | None => Ok(()),
    }
}

/// Takes the mark away, and nothing else.
pub(crate) fn unmark(layout: &Layout, path: &str) -> Result<(), Error> {
    match place(layout, path) {
        Some(Place::V2(directory)) => control::write(&directory.join("memory.high"), "max"),
        Some(Place::V1(_)) | None => Ok(()),
    }
}

/// Sets the mark alone, for whoever only wants to be told.
pub(crate) fn mark(layout: &Layout, path: &str, bytes: u64) -> Result<(), Error> {
    match place(layout, path) {
        Some(Place::V2(directory)) => control::write(&directory.join("memory.high"), &bytes.to_string()),
        Some(Place::V1(_)) | None => Ok(()),
    }
}

/// What goes off when the group runs out of memory, or has `mark` bytes of it; `None` where memory is not accounted.
pub(crate) fn alarm(layout: &Layout, path: &str, mark: Option<u64>) -> Result<Option<Alarm>, Error> {
    let kind = match place(layout, path) {
        None => return Ok(None),
        Some(Place::V1(directory)) => Kind::Counter(counter(&directory, mark)?),
        Some(Place::V2(directory)) => {
            let file = directory.join(EVENTS);
            Kind::Events(File::open(&file).map_err(|source| Error::Read { path: file, source })?)
        }
    };
    Ok(Some(Alarm { kind }))
}

/// Registers an eventfd, which is unregistered when it is closed (memory.rst of cgroup-v1, 9 and 10).
fn counter(directory: &Path, mark: Option<u64>) -> Result<EventFd, Error> {
    let failed = |source: std::io::Error| Error::Write {
        path: directory.join("cgroup.event_control"),
        value: CONTROL.to_owned(),
        source,
    };
    let counter = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)
        .map_err(|errno| failed(errno.into()))?;
    let register = |file: &str, argument: &str| {
        let path = directory.join(file);
        let opened = File::open(&path).map_err(|source| Error::Read { path, source })?;
        let (event, file) = (descriptor(counter.as_fd()), descriptor(opened.as_fd()));
        let value = format!("{event} {file} {argument}");
        control::write(&directory.join("cgroup.event_control"), value.trim_end())
    };
    register(CONTROL, "")?;
    if let Some(bytes) = mark {
        register(USAGE, &bytes.to_string())?;
    }
    Ok(counter)
}

/// The number that the kernel's file is to be told.
fn descriptor(fd: BorrowedFd<'_>) -> i32 {
    std::os::fd::AsRawFd::as_raw_fd(&fd)
}

/// Looks at a group; one that is not there, or whose memory is not accounted, has nothing.
pub(crate) fn read(layout: &Layout, path: &str) -> Result<Shortage, Error> {
    match place(layout, path) {
        None => Ok(Shortage::default()),
        Some(Place::V1(directory)) => read_v1(&directory),
        Some(Place::V2(directory)) => read_v2(&directory),
    }
}

fn read_v1(directory: &Path) -> Result<Shortage, Error> {
    let number = |file: &str| control::number(&directory.join(file));
    let current = number(USAGE)?.unwrap_or_default();
    let stat = control::read_if_there(&directory.join("memory.stat"))?.unwrap_or_default();
    let sum = |keys: &[&str]| keys.iter().filter_map(|key| keyed(&stat, key)).sum::<u64>();
    let left = || {
        let (limit, both) = (number("memory.memsw.limit_in_bytes")?, number("memory.memsw.usage_in_bytes")?);
        Ok::<_, Error>(limit.zip(both).map_or(0, |(limit, both)| limit.saturating_sub(both)))
    };
    let swappable = swappable(sum(&["total_inactive_anon", "total_active_anon"]), left)?;
    let control = directory.join(CONTROL);
    // Without a limit it reads as the greatest number of pages.
    let limit = number("memory.limit_in_bytes")?.filter(|bytes| *bytes < 1 << 62);
    Ok(Shortage {
        current,
        fixed: current
            .saturating_sub(sum(&["total_inactive_file", "total_active_file"]))
            .saturating_sub(swappable),
        limit,
        kills: control::keyed(&control, "oom_kill")?.unwrap_or_default(),
        reached: None,
        reached_itself: None,
        waits: control::keyed(&control, "under_oom")? == Some(1),
    })
}

fn read_v2(directory: &Path) -> Result<Shortage, Error> {
    let number = |file: &str| control::number(&directory.join(file));
    let current = number("memory.current")?.unwrap_or_default();
    let stat = control::read_if_there(&directory.join("memory.stat"))?.unwrap_or_default();
    let sum = |keys: &[&str]| keys.iter().filter_map(|key| keyed(&stat, key)).sum::<u64>();
    let left = || {
        let mut least = u64::MAX;
        for group in directory.ancestors() {
            let Some(used) = control::number(&group.join("memory.swap.current"))? else { break };
            if let Some(max) = control::number(&group.join("memory.swap.max"))? {
                least = least.min(max.saturating_sub(used));
            }
        }
        Ok::<_, Error>(least)
    };
    let swappable = swappable(sum(&["inactive_anon", "active_anon"]), left)?;
    let events = control::read_if_there(&directory.join("memory.events"))?.unwrap_or_default();
    let own = control::read_if_there(&directory.join(EVENTS))?.unwrap_or_default();
    Ok(Shortage {
        current,
        fixed: current
            .saturating_sub(sum(&["inactive_file", "active_file", "slab_reclaimable"]))
            .saturating_sub(swappable),
        limit: number("memory.max")?,
        kills: keyed(&events, "oom_kill").unwrap_or_default(),
        reached: keyed(&events, "oom"),
        reached_itself: keyed(&own, "oom"),
        waits: false,
    })
}

/// How much of so many bytes without a file could still go to swap.
fn swappable(anonymous: u64, left: impl FnOnce() -> Result<u64, Error>) -> Result<u64, Error> {
    let free = keyed_colon(&control::read(Path::new("/proc/meminfo"))?, "SwapFree");
    match free.unwrap_or_default() * 1024 {
        0 => Ok(0),
        free => Ok(anonymous.min(free).min(left()?)),
    }
}

fn keyed(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.parse().ok())
}

fn keyed_colon(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}
