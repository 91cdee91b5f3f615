//! Real-time CPU time, which v1 alone gives out, where the kernel is built with `RT_GROUP_SCHED`
//! (sched-rt-group.rst). A group that has none runs no real-time task.
//!
//! What a group gives to those inside it has to be its own at every moment, so the groups around one that asks for some
//! have the sum of what is inside them: more before it gets more, less after it has less.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use crate::hierarchy::Root;
use crate::{Error, control, v1};

const RUNTIME: &str = "cpu.rt_runtime_us";
const PERIOD: &str = "cpu.rt_period_us";
/// How long a group that is gone may count for its parents: it ends with the kernel's readers, of which it tells nobody, and
/// for which a busy machine takes its time.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest pause between looks.
const LONGEST_PAUSE: Duration = Duration::from_millis(20);
/// The kernel's period, in microseconds.
const SECOND: u64 = 1_000_000;

/// Gives a group this much in each period, or what the groups inside it have where that is more. Answers with the key and
/// the file where the kernel has no such thing.
pub(crate) fn set(
    root: &Root,
    path: &str,
    runtime: Option<u64>,
    period: Option<u64>,
) -> Result<Option<(&'static str, &'static str)>, Error> {
    let directory = root.group(path);
    if v1::lacks(&directory, RUNTIME) {
        return Ok(runtime.or(period).map(|_| ("cpu_rt_runtime", RUNTIME)));
    }
    let period = period.unwrap_or(SECOND);
    if runtime.is_none() && given(&directory)? == (0, period) {
        return Ok(None);
    }
    let _alone = alone(root)?;
    let needed = inside(&directory)?.saturating_mul(period).div_ceil(SECOND);
    let new = runtime.unwrap_or_default().max(needed);
    let before = given(&directory)?;
    if before == (new, period) {
        return Ok(None);
    }
    let parents = parents(root, &directory);
    let growth = each_second((new, period)).saturating_sub(each_second(before));
    let mut outcome = parents.iter().rev().try_for_each(|parent| {
        let sum = inside(parent)?.saturating_add(growth);
        if each_second(given(parent)?) >= sum {
            return Ok(());
        }
        control::write(&parent.join(RUNTIME), &sum.to_string())
    });
    if outcome.is_ok() {
        outcome = change(&directory, before, (new, period));
    }
    // What a refusal leaves of the parents' share goes as well.
    let lowered = lower(&parents);
    outcome.and(lowered).map(|()| None)
}

/// Leaves those of a group and of the groups inside it none in which there is no process: that a group is removed counts
/// for its parents only some time later.
pub(crate) fn take_unused(directory: &Path) -> Result<(), Error> {
    for child in control::children(directory)? {
        take_unused(&child)?;
    }
    if control::processes(directory)?.is_empty() && given(directory)?.0 > 0 {
        // Somebody may be in it in this moment, or have made a group inside it.
        let _ = control::write(&directory.join(RUNTIME), "0");
    }
    Ok(())
}

/// What a group that has just been removed had is taken from the groups around it.
pub(crate) fn give_back(root: &Root, path: &str) -> Result<(), Error> {
    let _alone = alone(root)?;
    let parents = parents(root, &root.group(path));
    let deadline = Instant::now() + PATIENCE;
    let mut pause = Duration::from_micros(500);
    loop {
        match lower(&parents) {
            // It still counts, where its last process was dying when it was to have none.
            Err(Error::Write { source, .. })
                if source.raw_os_error() == Some(Errno::EINVAL as i32) && Instant::now() < deadline =>
            {
                std::thread::sleep(pause);
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            lowered => return lowered,
        }
    }
}

/// Whether a group has some, or had: what its parents have of it is to be given back when it goes.
pub(crate) fn has_some(root: &Root, path: &str) -> bool {
    given(&root.group(path)).is_ok_and(|(runtime, _)| runtime > 0)
}

/// How much of each second, in microseconds, is left for the group `path` and all inside it, beside what others have; `None`
/// where there is no bound.
pub(crate) fn left(root: &Root, path: &str) -> Result<Option<u64>, Error> {
    // -1 is no bound.
    let Ok(Some(runtime)) = control::number(&root.point.join(RUNTIME)) else { return Ok(None) };
    let period = control::number(&root.point.join(PERIOD))?.unwrap_or(SECOND);
    let mut left = runtime.saturating_mul(SECOND) / period.max(1);
    let mut around = root.point.clone();
    for name in path.split('/') {
        let within = around.join(name);
        for other in control::children(&around)?.iter().filter(|child| **child != within) {
            left = left.saturating_sub(each_second(given(other)?));
        }
        around = within;
    }
    Ok(Some(left))
}

/// Holds off others who change the shares of groups: what one gives the parents, another takes for left over.
fn alone(root: &Root) -> Result<Flock<File>, Error> {
    let failed = |source| Error::Open { path: root.point.clone(), source };
    let file = File::open(&root.point).map_err(failed)?;
    Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| failed(errno.into()))
}

fn change(directory: &Path, before: (u64, u64), (new, period): (u64, u64)) -> Result<(), Error> {
    if before.1 != period {
        // The share is never more than the old one or the new one.
        if period < before.1 {
            let meanwhile = new.min(before.0.saturating_mul(period) / before.1.max(1));
            control::write(&directory.join(RUNTIME), &meanwhile.to_string())?;
        }
        control::write(&directory.join(PERIOD), &period.to_string())?;
    }
    control::write(&directory.join(RUNTIME), &new.to_string())
}

/// Leaves groups what those inside them have, the innermost first.
fn lower(groups: &[PathBuf]) -> Result<(), Error> {
    for group in groups {
        let sum = inside(group)?;
        if each_second(given(group)?) > sum {
            match control::write(&group.join(RUNTIME), &sum.to_string()) {
                // Removed with its last group, by somebody else.
                Err(error) if error.is_absence() => {}
                written => written?,
            }
        }
    }
    Ok(())
}

/// The groups around one, the nearest first.
fn parents(root: &Root, directory: &Path) -> Vec<PathBuf> {
    let around = directory.ancestors().skip(1).take_while(|parent| *parent != root.point);
    around.map(Path::to_owned).collect()
}

/// Runtime and period of a group.
fn given(directory: &Path) -> Result<(u64, u64), Error> {
    let number = |file| control::number(&directory.join(file));
    Ok((number(RUNTIME)?.unwrap_or_default(), number(PERIOD)?.unwrap_or(SECOND)))
}

/// What the groups inside one have together, in microseconds a second.
fn inside(directory: &Path) -> Result<u64, Error> {
    let mut sum = 0u64;
    for child in control::children(directory)? {
        sum = sum.saturating_add(each_second(given(&child)?));
    }
    Ok(sum)
}

/// Rounded up: a microsecond too few would be refused.
fn each_second((runtime, period): (u64, u64)) -> u64 {
    runtime.saturating_mul(SECOND).div_ceil(period.max(1))
}
