//! What a group has taken, in the kernel's own figures.

use std::path::Path;

use crate::hierarchy::{Layout, Root};
use crate::{Controller, Error, control};

/// Figures of one group with all groups inside it (but for v1's `oom_kills`). `None` where the host has no
/// such figure: the controller is missing or the kernel is too old.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Memory now, in bytes, page cache included.
    pub memory_current: Option<u64>,
    /// Most memory ever, in bytes; on v2 from Linux 5.19 on.
    pub memory_peak: Option<u64>,
    /// CPU time in microseconds.
    pub cpu_usage_usec: Option<u64>,
    /// Processes that the kernel has killed for want of memory; on v1 those of this very group, without
    /// the groups inside it. Zero where memory is not accounted.
    pub oom_kills: u64,
}

/// Page cache of the group `path` that nobody has used lately, in bytes; 0 where that is not told.
pub(crate) fn inactive_file(layout: &Layout, path: &str) -> Result<u64, Error> {
    let has_memory = |root: &&Root| root.has(Controller::Memory);
    let read = |root: &Root, key| control::keyed(&root.group(path).join("memory.stat"), key);
    let inactive = match (layout.v1.iter().find(has_memory), layout.v2.as_ref().filter(has_memory)) {
        (Some(root), _) => read(root, "total_inactive_file")?,
        (None, Some(root)) => read(root, "inactive_file")?,
        (None, None) => None,
    };
    Ok(inactive.unwrap_or_default())
}

/// Reads the figures of the group `path`; all are absent without the group.
pub(crate) fn read(layout: &Layout, path: &str) -> Result<Usage, Error> {
    let mut usage = Usage::default();
    for root in &layout.v1 {
        let directory = root.group(path);
        for controller in &root.controllers {
            read_v1(&mut usage, *controller, &directory)?;
        }
    }
    if let Some(root) = &layout.v2 {
        read_v2(&mut usage, &root.group(path), &root.controllers)?;
    }
    Ok(usage)
}

fn read_v1(usage: &mut Usage, controller: Controller, directory: &Path) -> Result<(), Error> {
    let number = |file| control::number(&directory.join(file));
    match controller {
        Controller::Memory => {
            usage.memory_current = number("memory.usage_in_bytes")?;
            usage.memory_peak = number("memory.max_usage_in_bytes")?;
            let kills = control::keyed(&directory.join("memory.oom_control"), "oom_kill")?;
            usage.oom_kills = kills.unwrap_or_default();
        }
        Controller::Cpuacct => {
            let nanoseconds = number("cpuacct.usage")?;
            usage.cpu_usage_usec = nanoseconds.map(|time| time / 1000);
        }
        Controller::Cpu | Controller::Cpuset | Controller::Pids | Controller::Io | Controller::Hugetlb => {}
    }
    Ok(())
}

fn read_v2(usage: &mut Usage, directory: &Path, controllers: &[Controller]) -> Result<(), Error> {
    // In a hybrid layout a v1 figure is kept: the v2 file of that name belongs to no controller here.
    if controllers.contains(&Controller::Memory) {
        usage.memory_current = control::number(&directory.join("memory.current"))?;
        usage.memory_peak = control::number(&directory.join("memory.peak"))?;
        let kills = control::keyed(&directory.join("memory.events"), "oom_kill")?;
        usage.oom_kills = kills.unwrap_or_default();
    }
    if usage.cpu_usage_usec.is_none() {
        usage.cpu_usage_usec = control::keyed(&directory.join("cpu.stat"), "usage_usec")?;
    }
    Ok(())
}
