//! A group's processes brought into another hierarchy, where they are one by one.

use std::collections::BTreeSet;
use std::path::Path;

use nix::errno::Errno;

use crate::hierarchy::Layout;
use crate::{Error, control, removal};

/// In how many rounds all processes must have been found: more means that they fork faster than they can be moved.
const ROUNDS: usize = 100;

/// Moves the group's processes into a directory, but for those that `here` finds there; whether all of them came.
pub(crate) fn gather(
    layout: &Layout,
    path: &str,
    directory: &Path,
    here: impl Fn() -> Result<BTreeSet<i32>, Error>,
) -> Result<bool, Error> {
    let procs = directory.join("cgroup.procs");
    for _ in 0..ROUNDS {
        let here = here()?;
        let all = removal::processes(layout, path)?;
        let missing: Vec<i32> = all.difference(&here).copied().collect();
        if missing.is_empty() {
            return Ok(true);
        }
        for pid in missing {
            match control::write(&procs, &pid.to_string()) {
                // It has ended.
                Err(Error::Write { source, .. }) if source.raw_os_error() == Some(Errno::ESRCH as i32) => {}
                written => written?,
            }
        }
    }
    Ok(false)
}
