//! Real-time CPU time, which v1 alone gives out, where the kernel is built with `RT_GROUP_SCHED`
//! (sched-rt-group.rst). A group that has none runs no real-time task.
//!
//! What a group gives to those inside it has to be its own at every moment, so the groups around one that asks for some
//! have the sum of what is inside them: more before it gets more, less after it has less.

use std::path::{Path, PathBuf};

use crate::hierarchy::Root;
use crate::{Error, control, v1};

const RUNTIME: &str = "cpu.rt_runtime_us";
const PERIOD: &str = "cpu.rt_period_us";
/// The kernel's period, in microseconds.
const SECOND: u64 = 1_000_000;

/// Gives a group this much in each period. Answers with the key and the file where the kernel has no such thing.
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
    let (new, period) = (runtime.unwrap_or_default(), period.unwrap_or(SECOND));
    let before = given(&directory)?;
    if before == (new, period) {
        return Ok(None);
    }
    let parents = parents(root, &directory);
    let growth = each_second((new, period)).saturating_sub(each_second(before));
    for parent in parents.iter().rev() {
        let sum = inside(parent)?.saturating_add(growth);
        if each_second(given(parent)?) < sum {
            control::write(&parent.join(RUNTIME), &sum.to_string())?;
        }
    }
    if before.1 != period {
        // The share is never more than the old one or the new one.
        if period < before.1 {
            let meanwhile = new.min(before.0.saturating_mul(period) / before.1.max(1));
            control::write(&directory.join(RUNTIME), &meanwhile.to_string())?;
        }
        control::write(&directory.join(PERIOD), &period.to_string())?;
    }
    control::write(&directory.join(RUNTIME), &new.to_string())?;
    for parent in &parents {
        let sum = inside(parent)?;
        if each_second(given(parent)?) > sum {
            control::write(&parent.join(RUNTIME), &sum.to_string())?;
        }
    }
    Ok(None)
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
