//! What a container takes, from its control group and its network namespace.

use std::fs;

use composer_cgroup::Hierarchy;

use super::{Error, group, root};
use crate::clock;

/// What a container takes, and has taken since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// When it was looked at: nanoseconds since the Unix epoch.
    pub time: u64,
    /// CPU time in microseconds.
    pub cpu_usec: u64,
    /// Memory in bytes, without page cache that nobody has used lately, as Docker counts it.
    pub memory: u64,
    /// The least of its own memory limit, the stack's and the host's memory, in bytes.
    pub memory_limit: u64,
    /// Bytes that have come in by its links.
    pub received: u64,
    /// Bytes that have gone out by them.
    pub sent: u64,
    /// Bytes that its processes have read from disks.
    pub read: u64,
    /// Bytes that they have written to them.
    pub written: u64,
    /// Processes and threads.
    pub pids: u64,
}

/// The figures of a container whose PID 1 is this one.
///
/// # Errors
/// [`Error::NotRoot`], [`Error::Cgroup`].
pub fn figures(stack: &str, container: &str, pid: i32) -> Result<Figures, Error> {
    root()?;
    let cgroups = Hierarchy::detect()?;
    let own = group(&cgroups, stack, container);
    let usage = own.usage()?;
    let memory = own.memory()?;
    let cap = cgroups.group(&format!("compose/{stack}")).memory()?.limit;
    let limits = [memory.limit, cap, host_memory()];
    let (received, sent) = traffic(&fs::read_to_string(format!("/proc/{pid}/net/dev")).unwrap_or_default());
    let (mut read, mut written) = (0, 0);
    for pid in own.pids()? {
        let io = fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
        read += keyed(&io, "read_bytes:").unwrap_or(0);
        written += keyed(&io, "write_bytes:").unwrap_or(0);
    }
    Ok(Figures {
        time: clock::now(),
        cpu_usec: usage.cpu_usage_usec.unwrap_or(0),
        memory: usage.memory_current.unwrap_or(0).saturating_sub(memory.inactive_file),
        memory_limit: limits.into_iter().flatten().min().unwrap_or(0),
        received,
        sent,
        read,
        written,
        pids: usage.pids_current.unwrap_or(0),
    })
}

fn host_memory() -> Option<u64> {
    let meminfo = fs::read_to_string("/proc/meminfo").ok()?;
    keyed(&meminfo, "MemTotal:").map(|kibibytes| kibibytes * 1024)
}

fn keyed(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// Bytes in and out over all links but the loopback: /proc/net/dev (proc_pid_net(5)).
fn traffic(devices: &str) -> (u64, u64) {
    let (mut received, mut sent) = (0, 0);
    for line in devices.lines() {
        let Some((name, figures)) = line.split_once(':') else { continue };
        if name.trim() == "lo" {
            continue;
        }
        let figures: Vec<u64> =
            figures.split_ascii_whitespace().filter_map(|text| text.parse().ok()).collect();
        received += figures.first().unwrap_or(&0);
        sent += figures.get(8).unwrap_or(&0);
    }
    (received, sent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traffic_is_that_of_all_links_but_the_loopback() {
        let text = "Inter-|   Receive\n face |bytes packets\n    lo: 5 1 0 0 0 0 0 0 5 1 0 0 0 0 0 0\n  \
                    eth0: 100 2 0 0 0 0 0 0 42 1 0 0 0 0 0 0\n eth1:1 1 0 0 0 0 0 0 2 1 0 0 0 0 0 0\n";
        assert_eq!(traffic(text), (101, 44));
    }
}
