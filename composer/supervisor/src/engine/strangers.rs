//! What hooks of `x-oom` have started and left behind: it is in the control group of the two processes behind the stack.

use std::fs;
use std::os::fd::AsFd;

use composer_sandbox::pidfd;

use super::{Engine, program};
use crate::{diagnose, paths};

impl Engine {
    /// Ends what is neither of the two processes nor about to become a container: when a supervisor takes up its work, as
    /// nobody waits any more for the hooks of the one before, and when the stack has gone.
    pub(super) fn end_strangers(&self) {
        let Some(keeper) = self.link.keeper() else { return };
        let groups = |pid: &str| fs::read(format!("/proc/{pid}/cgroup")).ok();
        let own = groups("self");
        let found = self.cgroups.group(&paths::engine_group(&self.stack)).members();
        let found = found.unwrap_or_else(|error| {
            diagnose(&format!("what hooks have left: {error}"));
            Vec::new()
        });
        for pid in found {
            let is_ours = pid == std::process::id().cast_signed() || pid == keeper;
            // On v1 a child of the keeper's is here until it joins its container's groups.
            if is_ours || program::parent(pid) == Some(keeper) {
                continue;
            }
            // It cannot be another's once it is held by its descriptor and still here.
            let Ok(process) = pidfd::open(pid) else { continue };
            if groups(&pid.to_string()) == own {
                let _ = pidfd::signal(process.as_fd(), libc::SIGKILL);
            }
        }
    }
}
