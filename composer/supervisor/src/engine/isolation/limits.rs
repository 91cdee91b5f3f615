//! Limits of processes that whoever runs the stack may not raise: the sandbox gives as much as there is.

use std::fs;

use composer_stack::Service;
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};

use super::super::Engine;

/// CAP_SYS_RESOURCE of capabilities(7).
const SYS_RESOURCE: u64 = 1 << 24;

impl Engine {
    /// Says of which limits of a service there is less to be had than it asks for.
    pub(in super::super) fn warn_low_limits(&self, service: &Service) {
        for (name, limit) in &service.isolation.ulimits {
            let wanted = limit.hard.unwrap_or(RLIM_INFINITY);
            let Some(most) = most(name).filter(|most| wanted > *most) else { continue };
            let shown =
                |limit: u64| if limit == RLIM_INFINITY { "no limit".to_owned() } else { limit.to_string() };
            let text = format!(
                "ulimits: `{name}` is {} in place of {}: no more is allowed here",
                shown(most),
                shown(wanted)
            );
            self.warn_once(&service.name, &text);
        }
    }
}

/// How high a hard limit can be set; `None` where there is no bound.
fn most(name: &str) -> Option<u64> {
    // Beyond it the kernel lets nobody go (proc(5), fs.nr_open).
    let files = || fs::read_to_string("/proc/sys/fs/nr_open").ok()?.trim().parse::<u64>().ok();
    let highest = if name == "nofile" { files() } else { None };
    if may_raise() {
        return highest;
    }
    let resource = match name {
        "core" => Resource::RLIMIT_CORE,
        "cpu" => Resource::RLIMIT_CPU,
        "data" => Resource::RLIMIT_DATA,
        "fsize" => Resource::RLIMIT_FSIZE,
        "locks" => Resource::RLIMIT_LOCKS,
        "memlock" => Resource::RLIMIT_MEMLOCK,
        "msgqueue" => Resource::RLIMIT_MSGQUEUE,
        "nice" => Resource::RLIMIT_NICE,
        "nofile" => Resource::RLIMIT_NOFILE,
        "nproc" => Resource::RLIMIT_NPROC,
        "rss" => Resource::RLIMIT_RSS,
        "rtprio" => Resource::RLIMIT_RTPRIO,
        "rttime" => Resource::RLIMIT_RTTIME,
        "sigpending" => Resource::RLIMIT_SIGPENDING,
        "stack" => Resource::RLIMIT_STACK,
        _ => return None,
    };
    getrlimit(resource).ok().map(|(_, hard)| hard)
}

fn may_raise() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:\t"));
    effective.and_then(|text| u64::from_str_radix(text, 16).ok()).is_none_or(|set| set & SYS_RESOURCE != 0)
}
