//! cgroup v2: one hierarchy, controllers handed down level by level (cgroup-v2.rst).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::hierarchy::Root;
use crate::limits::{self, CpuTime, Setting, swap_alone};
use crate::{Controller, Error, control};

const SUBTREE: &str = "cgroup.subtree_control";
/// The kernel's default of `cpu.weight`.
const CPU_WEIGHT: u64 = 100;
const LOW: &str = "memory.low";
const HIGH: &str = "memory.high";
const MAX: &str = "memory.max";

/// A group as it stands after [`make`].
pub(crate) struct Made {
    /// Whether it was not there before.
    pub(crate) is_new: bool,
    /// Controllers in force in it.
    pub(crate) controllers: Vec<Controller>,
    /// Why the hierarchy's other controllers are not.
    pub(crate) refused: Vec<(Controller, Error)>,
}

/// Makes the group with its parents and enables the hierarchy's controllers down to it.
pub(crate) fn make(root: &Root, path: &str) -> Result<Made, Error> {
    let leaf = root.group(path);
    let failed = |source| Error::Create { path: leaf.clone(), source };
    let is_new = match control::make_directory(&leaf) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if let Some(parent) = leaf.parent() {
                fs::create_dir_all(parent).map_err(failed)?;
            }
            control::make_directory(&leaf)
        }
        made => made,
    }
    .map_err(failed)?;
    let mut controllers = enabled(&leaf)?;
    let mut refused = Vec::new();
    // A group that a crash left without its controllers is completed here too.
    if root.controllers.iter().any(|wanted| !controllers.contains(wanted)) {
        refused = enable_down_to(root, &leaf)?;
        controllers = enabled(&leaf)?;
    }
    Ok(Made { is_new, controllers, refused })
}

/// The file by which the outermost group hands controllers down.
pub(crate) fn subtree(root: &Root) -> PathBuf {
    root.point.join(SUBTREE)
}

/// The controllers in force in a group.
pub(crate) fn enabled(directory: &Path) -> Result<Vec<Controller>, Error> {
    let text = control::read(&directory.join("cgroup.controllers"))?;
    Ok(Controller::among(text.split_whitespace()))
}

fn enable_down_to(root: &Root, leaf: &Path) -> Result<Vec<(Controller, Error)>, Error> {
    let inside = |path: &&Path| path.starts_with(&root.point);
    let mut parents: Vec<&Path> = leaf.ancestors().skip(1).take_while(inside).collect();
    parents.reverse();
    let mut refused: Vec<(Controller, Error)> = Vec::new();
    for parent in parents {
        let file = parent.join(SUBTREE);
        let mut available = enabled(parent)?;
        available.retain(|controller| root.has(*controller));
        let all: Vec<String> = available.iter().map(|controller| format!("+{controller}")).collect();
        if all.is_empty() || control::write(&file, &all.join(" ")).is_ok() {
            continue;
        }
        // The kernel takes all of a write or nothing of it: one by one tells which is refused, and why.
        for (controller, word) in available.iter().zip(&all) {
            if let Err(error) = control::write(&file, word) {
                refused.push((*controller, error));
            }
        }
    }
    Ok(refused)
}

/// Applies one setting to the group. Answers with the key and the file of a part that this kernel does not
/// offer.
pub(crate) fn set(
    directory: &Path,
    setting: &Setting<'_>,
) -> Result<Option<(&'static str, &'static str)>, Error> {
    let write = |file: &str, value: &str| control::write(&directory.join(file), value);
    match *setting {
        Setting::CpuTime(time) => return set_time(directory, &time),
        Setting::CpuWeight { shares, multiple, idle } => {
            if !crate::v1::set_idle(directory, idle)? {
                return Ok(Some(("x-cpu-idle", "cpu.idle")));
            }
            if !idle {
                // What is reckoned goes by the straight line: the curve is that of `cpu_shares`.
                let reckoned = || multiple.map(|multiple| limits::weight(multiple, CPU_WEIGHT, 1..=10_000));
                let weight = shares.map(weight).or_else(reckoned).unwrap_or(CPU_WEIGHT);
                write("cpu.weight", &weight.to_string())?;
            }
        }
        // v2 gives out no real-time CPU time.
        Setting::CpuRealTime { runtime, period } => {
            return Ok(runtime.or(period).map(|_| ("cpu_rt_runtime", "cpu.rt_runtime_us")));
        }
        Setting::Cpuset(cpus) => set_cpuset(directory, "cpuset.cpus", cpus)?,
        Setting::CpusetMems(nodes) => set_cpuset(directory, "cpuset.mems", nodes)?,
        // They say more than one thing: `Group` calls them.
        Setting::Io(_) | Setting::Hugetlb(_) => {}
        Setting::Memory { limit, swap } => {
            let swap_max = swap_alone(limit, swap)?;
            let is_offered = !crate::v1::lacks(directory, "memory.swap.max");
            if is_offered {
                write("memory.swap.max", &bytes_or_max(swap_max))?;
            }
            match limit {
                Some(bytes) => lower(directory, bytes)?,
                None => write("memory.max", "max")?,
            }
            // Docker's default, which nobody asked for by name, is not missed.
            if !is_offered && swap.is_some() {
                return Ok(Some(("memswap_limit", "memory.swap.max")));
            }
        }
        Setting::MemoryReservation(bytes) => {
            let bytes = bytes.unwrap_or_default().max(protection_inside(directory)?);
            write(LOW, &bytes.to_string())?;
        }
        // One that is asked for is in force only below the limit; `lower` puts it back where it uses it.
        Setting::MemoryHigh(bytes) => write(HIGH, &bytes_or_max(bytes))?,
        // v2 has neither: memory is swapped out as the host does, and what waits for memory is killed.
        Setting::Swappiness(None) | Setting::OomKillDisable(false) => {}
        Setting::Swappiness(Some(_)) => return Ok(Some(("mem_swappiness", "memory.swappiness"))),
        Setting::OomKillDisable(true) => return Ok(Some(("oom_kill_disable", "memory.oom_control"))),
        Setting::Pids(count) => {
            write("pids.max", &bytes_or_max(count.and_then(|count| u64::try_from(count).ok())))?;
        }
    }
    Ok(None)
}

/// Gives a group a list of its own, or none: then it has what the group around it has. Linux 6.1 refuses to
/// empty that of a group with processes in it, which gets a copy then.
fn set_cpuset(directory: &Path, file: &str, list: Option<&str>) -> Result<(), Error> {
    let path = directory.join(file);
    // A newline alone empties the set; a write of no bytes never reaches the kernel.
    let written = control::write(&path, &format!("{}\n", list.unwrap_or_default()));
    match (written, directory.parent()) {
        (Err(Error::Write { source, .. }), Some(parent))
            if list.is_none() && source.raw_os_error() == Some(Errno::ENOSPC as i32) =>
        {
            let around = control::read(&parent.join(format!("{file}.effective")))?;
            control::write(&path, around.trim_end())
        }
        (written, _) => written,
    }
}

/// What is saved up is at most the quota at every moment: it goes before the quota changes, and comes after.
fn set_time(directory: &Path, time: &CpuTime) -> Result<Option<(&'static str, &'static str)>, Error> {
    const BURST: &str = "cpu.max.burst";
    let write = |file: &str, value: &str| control::write(&directory.join(file), value);
    // Since Linux 5.14.
    let saves = !crate::v1::lacks(directory, BURST);
    if saves && control::number(&directory.join(BURST))? != Some(0) {
        write(BURST, "0")?;
    }
    match time.share()? {
        None => write("cpu.max", "max")?,
        Some((quota, period)) => write("cpu.max", &format!("{quota} {period}"))?,
    }
    match time.burst {
        Some(_) if !saves => Ok(Some(("x-cpu-burst", BURST))),
        Some(burst) => write(BURST, &burst.to_string()).map(|()| None),
        None => Ok(None),
    }
}

/// Sets `memory.max`. Where more is in use the kernel would kill for it (cgroup-v2.rst), so the group is first made to
/// give back by `memory.high`, which only reclaims, and holds until the limit does.
fn lower(directory: &Path, limit: u64) -> Result<(), Error> {
    let set = || control::write(&directory.join(MAX), &limit.to_string());
    let is_over = || Ok::<_, Error>(usage(directory)?.filter(|usage| *usage > limit));
    if is_over()?.is_none() {
        return set();
    }
    let high = directory.join(HIGH);
    let before = control::read(&high)?;
    control::write(&high, &limit.to_string())?;
    let outcome = match is_over() {
        Ok(None) => set(),
        Ok(Some(usage)) => Err(Error::InUse { path: directory.to_owned(), key: "mem_limit", limit, usage }),
        Err(error) => Err(error),
    };
    let restored = control::write(&high, before.trim_end());
    outcome.and(restored)
}

fn usage(directory: &Path) -> Result<Option<u64>, Error> {
    control::number(&directory.join("memory.current"))
}

/// Gives the groups around `path` what the groups inside them have of `memory.low`: a group's own is in force
/// only up to its parent's (cgroup-v2.rst). No more than that, for with `memory_recursiveprot`, systemd's mount
/// option, what no child claims protects them all.
///
/// The outermost group has no reservation of its own and gets the very sum. One in between may have one, which
/// looks the same in its file, so that is raised only; setting its limits anew lowers it.
pub(crate) fn protect_parents(root: &Root, path: &str) -> Result<(), Error> {
    let leaf = root.group(path);
    for parent in leaf.ancestors().skip(1).take_while(|parent| *parent != root.point) {
        let is_outermost = parent.parent() == Some(&root.point);
        let mut now = protection(parent)?;
        // Until it agrees, for others make and remove groups at the same time: who writes last looks last.
        loop {
            let sum = protection_inside(parent)?;
            if now == sum || (now > sum && !is_outermost) {
                break;
            }
            match control::write(&parent.join(LOW), &sum.to_string()) {
                // Removed with its last group, by somebody else.
                Err(error) if error.is_absence() => break,
                outcome => outcome?,
            }
            now = sum;
        }
    }
    Ok(())
}

/// A group's `memory.low` in bytes; 0 without the group.
pub(crate) fn protection(directory: &Path) -> Result<u64, Error> {
    let content = control::read_if_there(&directory.join(LOW))?;
    // `max` is the one word that it may hold.
    Ok(content.map_or(0, |content| content.trim_end().parse().unwrap_or(u64::MAX)))
}

fn protection_inside(directory: &Path) -> Result<u64, Error> {
    let mut sum = 0u64;
    for child in control::children(directory)? {
        sum = sum.saturating_add(protection(&child)?);
    }
    Ok(sum)
}

fn bytes_or_max(value: Option<u64>) -> String {
    value.map_or_else(|| "max".to_owned(), |value| value.to_string())
}

/// `cpu.weight` (1 to 10000, default 100) for v1's `cpu.shares` (2 to 262144, default 1024).
///
/// The curve through least, default and greatest of both that runc (from 1.3.2, opencontainers/cgroups#20)
/// and crun (from 1.23, containers/crun#1767) use. The straight line that they used before makes 39 of the
/// default 1024, where the kernel's own default is 100.
fn weight(shares: u64) -> u64 {
    match shares {
        0..=2 => 1,
        262_144.. => 10_000,
        _ => {
            let log = (shares as f64).log2();
            let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
            10f64.powf(exponent).ceil() as u64
        }
    }
}

#[cfg(test)]
mod tests {
    use super::weight;

    #[test]
    fn weight_agrees_with_runc() {
        // 2000 -> 170 is the value in opencontainers/runc#4896.
        let pairs = [(0, 1), (2, 1), (1024, 100), (2000, 170), (262_144, 10_000), (u64::MAX, 10_000)];
        for (shares, expected) in pairs {
            assert_eq!(weight(shares), expected, "{shares} shares");
        }
    }
}
