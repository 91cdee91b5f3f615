//! cgroup v1: one hierarchy a controller. Directories and memory nodes are ours, limits are written by the
//! controllers of `cgroups-rs`.

use std::error::Error as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use cgroups_rs::fs::MaxValue;
use cgroups_rs::fs::cpu::CpuController;
use cgroups_rs::fs::error::{Error as CrateError, ErrorKind};
use cgroups_rs::fs::memory::MemController;
use cgroups_rs::fs::pid::PidController;

use nix::errno::Errno;

use crate::hierarchy::Root;
use crate::limits::{CpuTime, Setting, swap_alone, weight};
use crate::{Controller, Error, control};

/// v1's default of `cpu.shares`.
const CPU_SHARES: u64 = 1024;
/// What v1 takes for "no limit".
const UNLIMITED: i64 = -1;
const SWAPPINESS: &str = "memory.swappiness";
const IDLE: &str = "cpu.idle";
const CPUS: &str = "cpuset.cpus";
const MEMS: &str = "cpuset.mems";

/// Makes the group with its parents; `true` when it was not there before.
pub(crate) fn make(root: &Root, path: &str) -> Result<bool, Error> {
    let leaf = root.group(path);
    let is_new = match control::make_directory(&leaf) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make_parents(root, &leaf)?;
            control::make_directory(&leaf)
        }
        made => made,
    }
    .map_err(|source| Error::Create { path: leaf.clone(), source })?;
    if root.has(Controller::Cpuset) {
        fill_cpuset(root, &leaf)?;
    }
    Ok(is_new)
}

fn make_parents(root: &Root, leaf: &Path) -> Result<(), Error> {
    let inside = |path: &&Path| path.starts_with(&root.point) && *path != root.point;
    let mut parents: Vec<&Path> = leaf.ancestors().skip(1).take_while(inside).collect();
    parents.reverse();
    for parent in parents {
        let is_new = control::make_directory(parent)
            .map_err(|source| Error::Create { path: parent.to_owned(), source })?;
        if !is_new {
            continue;
        }
        if root.has(Controller::Cpuset) {
            fill_cpuset(root, parent)?;
            // From here on the kernel fills a new child's cpuset itself, at mkdir (cgroup-v1/cgroups.rst).
            control::write(&parent.join("cgroup.clone_children"), "1")?;
        }
        if root.has(Controller::Memory) {
            make_hierarchical(parent)?;
        }
    }
    Ok(())
}

/// A parent's memory limit holds its children only with `use_hierarchy`, which kernels before 5.11 leave off
/// and which cannot be changed any more once there are children.
fn make_hierarchical(directory: &Path) -> Result<(), Error> {
    let file = directory.join("memory.use_hierarchy");
    match control::number(&file)? {
        Some(0) => control::write(&file, "1"),
        Some(_) | None => Ok(()),
    }
}

/// A v1 cpuset takes no process before it has cores and memory nodes. Gives it its parent's where empty.
fn fill_cpuset(root: &Root, directory: &Path) -> Result<(), Error> {
    // The nodes alone are looked at: both are given together, here and by clone_children.
    if !control::read(&directory.join("cpuset.mems"))?.trim_end().is_empty() {
        return Ok(());
    }
    let Some(parent) = directory.parent().filter(|parent| parent.starts_with(&root.point)) else {
        return Ok(());
    };
    fill_cpuset(root, parent)?;
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let inherited = control::read(&parent.join(file))?;
        control::write(&directory.join(file), inherited.trim_end())?;
    }
    Ok(())
}

/// Applies one setting to the group's directory in its controller's hierarchy. Answers with the key and the
/// file of a part that this kernel does not offer.
pub(crate) fn set(
    directory: &Path,
    setting: &Setting<'_>,
) -> Result<Option<(&'static str, &'static str)>, Error> {
    let path = || directory.to_owned();
    let failed = |error| written(directory, error);
    match *setting {
        Setting::CpuTime(time) => return set_time(directory, &time),
        Setting::CpuWeight { shares, multiple, idle } => {
            if !set_idle(directory, idle)? {
                return Ok(Some(("x-cpu-idle", IDLE)));
            }
            if !idle {
                let reckoned = || multiple.map(|multiple| weight(multiple, CPU_SHARES, 2..=262_144));
                CpuController::new(path(), PathBuf::new(), false)
                    .set_shares(shares.or_else(reckoned).unwrap_or(CPU_SHARES))
                    .map_err(failed)?;
            }
        }
        // Those need the hierarchy, or say more than one thing: `Group` calls them.
        Setting::CpuRealTime { .. } | Setting::Io(_) | Setting::Hugetlb(_) => {}
        Setting::Cpuset(cpus) => set_cpuset(directory, CPUS, cpus)?,
        Setting::CpusetMems(nodes) => {
            // As v2 does: what is in memory moves along.
            control::write(
                &directory.join("cpuset.memory_migrate"),
                if nodes.is_some() { "1" } else { "0" },
            )?;
            set_cpuset(directory, MEMS, nodes)?;
        }
        Setting::Memory { limit, swap } => return set_memory(directory, limit, swap),
        Setting::MemoryReservation(bytes) => MemController::new(path(), PathBuf::new(), false)
            .set_soft_limit(bytes.map_or(UNLIMITED, signed))
            .map_err(failed)?,
        Setting::MemoryHigh(None) => {}
        Setting::MemoryHigh(Some(_)) => return Ok(Some(("x-mem-high", "memory.high"))),
        Setting::Swappiness(value) => {
            // A group has its parent's until it is given one.
            let of_parent = || control::number(&directory.parent().unwrap_or(directory).join(SWAPPINESS));
            if let Some(value) = value.map_or_else(of_parent, |value| Ok(Some(value)))? {
                control::write(&directory.join(SWAPPINESS), &value.to_string())?;
            }
        }
        Setting::OomKillDisable(is_disabled) => {
            control::write(&directory.join("memory.oom_control"), if is_disabled { "1" } else { "0" })?;
        }
        Setting::Pids(count) => {
            let max = match count {
                Some(count) if count >= 0 => MaxValue::Value(count),
                Some(_) | None => MaxValue::Max,
            };
            PidController::new(path(), PathBuf::new(), false).set_pid_max(max).map_err(failed)?;
        }
    }
    Ok(None)
}

/// Whether the group is, or is no more, run only when nobody else wants a CPU; `false` where the kernel cannot (it can
/// since Linux 5.15). A group that comes out of it has the kernel's own weight.
pub(crate) fn set_idle(directory: &Path, idle: bool) -> Result<bool, Error> {
    if lacks(directory, IDLE) {
        return Ok(!idle);
    }
    let file = directory.join(IDLE);
    let is_idle = control::number(&file)? == Some(1);
    if is_idle != idle {
        control::write(&file, if idle { "1" } else { "0" })?;
    }
    Ok(true)
}

/// The kernel refuses, at every moment, a share above the parent's and a burst above the quota: what is saved up goes
/// first, and where the period changes the quota is none for that moment.
fn set_time(directory: &Path, time: &CpuTime) -> Result<Option<(&'static str, &'static str)>, Error> {
    const BURST: &str = "cpu.cfs_burst_us";
    let failed = |error| written(directory, error);
    let controller = CpuController::new(directory.to_owned(), PathBuf::new(), false);
    // Since Linux 5.14.
    let saves = !lacks(directory, BURST);
    if saves && control::number(&directory.join(BURST))? != Some(0) {
        control::write(&directory.join(BURST), "0")?;
    }
    match time.share()? {
        None => controller.set_cfs_quota(UNLIMITED).map_err(failed)?,
        Some((quota, period)) => {
            if control::number(&directory.join("cpu.cfs_period_us"))? != Some(period) {
                controller.set_cfs_quota(UNLIMITED).map_err(failed)?;
                controller.set_cfs_period(period).map_err(failed)?;
            }
            controller.set_cfs_quota(quota).map_err(failed)?;
        }
    }
    match time.burst {
        Some(_) if !saves => Ok(Some(("x-cpu-burst", BURST))),
        Some(burst) => control::write(&directory.join(BURST), &burst.to_string()).map(|()| None),
        None => Ok(None),
    }
}

/// The kernel keeps memory ≤ memory and swap at every moment, so which of the two goes first depends on
/// where the second one is now.
fn set_memory(
    directory: &Path,
    limit: Option<u64>,
    swap: Option<i64>,
) -> Result<Option<(&'static str, &'static str)>, Error> {
    const BOTH: &str = "memory.memsw.limit_in_bytes";
    let swap_max = swap_alone(limit, swap)?;
    let failed = |error| written(directory, error);
    let controller = MemController::new(directory.to_owned(), PathBuf::new(), false);
    let memory = limit.map_or(UNLIMITED, signed);
    let Some(now) = control::number(&directory.join(BOTH))? else {
        controller.set_limit(memory).map_err(|error| in_use(directory, MEMORY, memory, failed(error)))?;
        // Docker's default, which nobody asked for by name, is not missed.
        return Ok(swap.map(|_| ("memswap_limit", BOTH)));
    };
    let both = swap_max.map_or(UNLIMITED, |swap| signed(limit.unwrap_or_default().saturating_add(swap)));
    // Unlimited reads as the greatest page-aligned number, which no written value exceeds but "unlimited".
    if limit.is_some_and(|bytes| bytes <= now) {
        controller.set_limit(memory).map_err(|error| in_use(directory, MEMORY, memory, failed(error)))?;
        controller.set_memswap_limit(both).map_err(|error| in_use(directory, SWAP, both, failed(error)))?;
    } else {
        controller.set_memswap_limit(both).map_err(|error| in_use(directory, SWAP, both, failed(error)))?;
        controller.set_limit(memory).map_err(|error| in_use(directory, MEMORY, memory, failed(error)))?;
    }
    Ok(None)
}

/// A limit by its key, and the file that tells what is in use of it.
type Counter = (&'static str, &'static str);
const MEMORY: Counter = ("mem_limit", "memory.usage_in_bytes");
const SWAP: Counter = ("memswap_limit", "memory.memsw.usage_in_bytes");

/// The kernel reclaims what it can by itself, kills nothing, and refuses a limit that is still exceeded.
fn in_use(directory: &Path, (key, file): Counter, limit: i64, error: Error) -> Error {
    let busy = Some(Errno::EBUSY as i32);
    let is_busy = matches!(&error, Error::Write { source, .. } if source.raw_os_error() == busy);
    match (is_busy, u64::try_from(limit), control::number(&directory.join(file))) {
        (true, Ok(limit), Ok(Some(usage))) => Error::InUse { path: directory.to_owned(), key, limit, usage },
        _ => error,
    }
}

/// Gives a group and the groups inside it that share its cores or nodes a new set; `None` is the parent's. The kernel
/// demands that a child is within its parent at every moment: first the group gets old and new together, then the
/// children move, then the old ones go.
fn set_cpuset(directory: &Path, file: &str, list: Option<&str>) -> Result<(), Error> {
    let wanted = match list {
        Some(list) => list.to_owned(),
        None => match directory.parent() {
            Some(parent) => control::read(&parent.join(file))?.trim_end().to_owned(),
            None => return Ok(()),
        },
    };
    let write = |path: &Path, value: &str| control::write(&path.join(file), value);
    let followers = followers(directory, file)?;
    if !followers.is_empty() {
        let old = control::read(&directory.join(file))?;
        write(directory, &format!("{},{wanted}", old.trim_end()))?;
        for follower in &followers {
            write(follower, &wanted)?;
        }
    }
    write(directory, &wanted)
}

/// Groups inside `directory` with the same set as it, parents before children. On v1 a group without a set of its own
/// holds a copy of its parent's, and nothing but the value tells so.
fn followers(directory: &Path, file: &str) -> Result<Vec<PathBuf>, Error> {
    let list = control::read(&directory.join(file))?;
    let mut found = Vec::new();
    for child in control::children(directory)? {
        if control::read_if_there(&child.join(file))?.as_ref() == Some(&list) {
            let below = followers(&child, file)?;
            found.push(child);
            found.extend(below);
        }
    }
    Ok(found)
}

/// Bytes as v1's writers take them. What is above `i64::MAX` is no limit on any machine.
fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// The error of a `cgroups-rs` controller as ours: the crate keeps the kernel's answer as its cause and, once
/// the file is open, its bare name.
fn written(directory: &Path, error: CrateError) -> Error {
    let errno = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
    let source = match errno.and_then(io::Error::raw_os_error) {
        Some(errno) => io::Error::from_raw_os_error(errno),
        None => io::Error::other(error.to_string()),
    };
    match error.kind() {
        ErrorKind::WriteFailed(file, value) => Error::Write {
            // Joining an absolute path answers with that path.
            path: directory.join(file),
            value: value.clone(),
            source,
        },
        _ => Error::Write { path: directory.to_owned(), value: String::new(), source },
    }
}

/// Whether the group's directory is there while the file of a control is not.
pub(crate) fn lacks(directory: &Path, file: &str) -> bool {
    fs::exists(directory).unwrap_or(false) && !fs::exists(directory.join(file)).unwrap_or(true)
}
