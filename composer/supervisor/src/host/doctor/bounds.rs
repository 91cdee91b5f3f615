//! Bounds of the host that hundreds of containers come up against.

use super::{Finding, read};
use nix::sys::resource::{Resource, getrlimit};

const TOPIC: &str = "Bounds";

/// A file of the kernel's with a number, the least that hundreds of containers get along with, and what runs out.
const NUMBERS: [(&str, &str, u64, &str); 5] = [
    ("pid_max", "/proc/sys/kernel/pid_max", 32_768, "processes and threads"),
    ("threads-max", "/proc/sys/kernel/threads-max", 16_384, "processes and threads"),
    ("inotify instances", "/proc/sys/fs/inotify/max_user_instances", 128, "programs that watch files"),
    ("inotify watches", "/proc/sys/fs/inotify/max_user_watches", 8_192, "files that are watched"),
    ("keys", "/proc/sys/kernel/keys/root_maxkeys", 200, "keyrings, of which each container has one"),
];
/// The least number of open files.
const FILES: u64 = 4096;

pub(super) fn look() -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let found = format!("{hard} (hard limit)");
        findings.push(if hard >= FILES {
            Finding::ok(TOPIC, "open files", found)
        } else {
            let advice = format!("at least {FILES} are needed for hundreds of containers: raise it by `ulimit -Hn` or systemd's LimitNOFILE");
            Finding::warning(TOPIC, "open files", found, advice)
        });
    }
    for (name, path, least, what) in NUMBERS {
        let Some(number) = read(path).and_then(|text| text.parse::<u64>().ok()) else { continue };
        findings.push(if number >= least {
            Finding::ok(TOPIC, name, number.to_string())
        } else {
            let key = path.trim_start_matches("/proc/sys/").replace('/', ".");
            Finding::warning(
                TOPIC,
                name,
                number.to_string(),
                format!("{what} may run out: `sysctl -w {key}={least}` or more"),
            )
        });
    }
    findings
}
