//! The processes of a container as ps(1) shows them, from proc(5).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Duration;

use composer_cgroup::Hierarchy;
use nix::unistd::{SysconfVar, sysconf};

use super::figures::host_memory;
use super::{Error, group, root};

/// A process.
#[derive(Clone, Debug, PartialEq)]
pub struct Process {
    /// In the host's PID namespace.
    pub pid: i32,
    /// Its parent's, in the same.
    pub parent: i32,
    /// Whose rights it has: a user's name on this host, or a number where the host knows none.
    pub user: String,
    /// Its start: nanoseconds since the Unix epoch.
    pub started: u64,
    /// CPU time that it has used.
    pub cpu: Duration,
    /// CPU time in percent of its life, rounded down.
    pub percent: u64,
    /// CPU time in percent of what its container has used so far, those that have ended included.
    pub cpu_share: f64,
    /// Memory in bytes: what is shared with others counts in parts (proc_pid_smaps(5), Pss).
    pub memory: u64,
    /// The same in percent of what its container may have: its own limit, its stack's, or the host's memory.
    pub memory_share: f64,
    /// Its terminal, such as `pts/0`.
    pub terminal: Option<String>,
    /// Its command line, or its name in brackets where it has none.
    pub command: String,
}

/// The processes of a container, by pid; none where it does not run.
///
/// # Errors
/// [`Error::NotRoot`], [`Error::Cgroup`].
pub fn processes(stack: &str, container: &str) -> Result<Vec<Process>, Error> {
    root()?;
    let cgroups = Hierarchy::detect()?;
    let group = group(&cgroups, stack, container);
    let limits = [group.shortage()?.limit, cgroups.group(&format!("compose/{stack}")).shortage()?.limit];
    let memory = limits.into_iter().flatten().chain(host_memory()).min().unwrap_or_default();
    let pids: BTreeSet<i32> = group.pids()?.into_iter().collect();
    let used = group.usage()?.cpu_usage_usec.map(Duration::from_micros).unwrap_or_default();
    let users = users(&fs::read_to_string("/etc/passwd").unwrap_or_default());
    let Some(clock) = Clock::read() else { return Ok(Vec::new()) };
    // One that ends meanwhile is none of them.
    let mut found: Vec<Process> = pids.into_iter().filter_map(|pid| process(pid, &users, &clock)).collect();
    let share = |part: f64, whole: f64| if whole > 0.0 { (part / whole * 100.0).min(100.0) } else { 0.0 };
    for process in &mut found {
        process.cpu_share = share(process.cpu.as_secs_f64(), used.as_secs_f64());
        process.memory_share = share(process.memory as f64, memory as f64);
    }
    Ok(found)
}

/// What times in proc(5) are counted by.
struct Clock {
    /// Ticks in a second.
    hertz: u64,
    /// The boot, in seconds since the Unix epoch.
    boot: u64,
    /// Since the boot.
    uptime: Duration,
}

impl Clock {
    fn read() -> Option<Self> {
        let hertz = sysconf(SysconfVar::CLK_TCK).ok().flatten().and_then(|hertz| u64::try_from(hertz).ok());
        let stat = fs::read_to_string("/proc/stat").ok()?;
        let boot = stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
        let uptime = fs::read_to_string("/proc/uptime").ok()?;
        let uptime =
            uptime.split(' ').next()?.parse().ok().and_then(|up| Duration::try_from_secs_f64(up).ok())?;
        Some(Self { hertz: hertz.filter(|hertz| *hertz > 0)?, boot, uptime })
    }

    fn duration(&self, ticks: u64) -> Duration {
        Duration::from_millis(ticks.saturating_mul(1000) / self.hertz)
    }
}

fn process(pid: i32, users: &BTreeMap<u32, String>, clock: &Clock) -> Option<Process> {
    let file = |name: &str| fs::read(format!("/proc/{pid}/{name}")).ok();
    let stat = String::from_utf8_lossy(&file("stat")?).into_owned();
    // The name in parentheses may hold anything, parentheses too.
    let (front, back) = stat.rsplit_once(')')?;
    let name = front.split_once('(')?.1;
    let fields: Vec<&str> = back.split_ascii_whitespace().collect();
    // By their numbers in proc_pid_stat(5), where the state is the third.
    let field = |number: usize| fields.get(number - 3).and_then(|text| text.parse::<i64>().ok());
    let ticks = |number: usize| field(number).and_then(|ticks| u64::try_from(ticks).ok());
    let cpu = clock.duration(ticks(14)?.saturating_add(ticks(15)?));
    let since_boot = clock.duration(ticks(22)?);
    let life = clock.uptime.saturating_sub(since_boot);
    let status = String::from_utf8_lossy(&file("status")?).into_owned();
    let ids = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    let user: u32 = ids.split_ascii_whitespace().nth(1)?.parse().ok()?;
    let started = Duration::from_secs(clock.boot).saturating_add(since_boot);
    Some(Process {
        pid,
        parent: i32::try_from(field(4)?).ok()?,
        user: users.get(&user).cloned().unwrap_or_else(|| user.to_string()),
        started: u64::try_from(started.as_nanos()).ok()?,
        cpu,
        percent: if life.is_zero() {
            0
        } else {
            (cpu.as_millis() * 100 / life.as_millis().max(1)).try_into().unwrap_or(u64::MAX)
        },
        cpu_share: 0.0,
        memory: memory(pid).unwrap_or_default(),
        memory_share: 0.0,
        terminal: terminal(field(7)?),
        command: command(&file("cmdline")?).unwrap_or_else(|| format!("[{name}]")),
    })
}

/// In bytes. A kernel without smaps_rollup (before Linux 4.14) tells what is in memory, shared or not.
fn memory(pid: i32) -> Option<u64> {
    let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).ok();
    let keyed = |text: String, key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key))?;
        line.split_ascii_whitespace().next()?.parse::<u64>().ok()
    };
    let part = read("smaps_rollup").and_then(|text| keyed(text, "Pss:"));
    let kibibytes = part.or_else(|| read("status").and_then(|text| keyed(text, "VmRSS:")));
    kibibytes.map(|kibibytes| kibibytes * 1024)
}

/// A terminal by its device number, as the kernel packs it into one: the minor in bits 31 to 20 and 7 to 0.
fn terminal(device: i64) -> Option<String> {
    let (major, minor) = ((device >> 8) & 0xfff, (device & 0xff) | ((device >> 12) & 0xf_ff00));
    match (major, minor) {
        (0, 0) => None,
        // Unix98 pseudo-terminals (devices.txt).
        (136..=143, minor) => Some(format!("pts/{}", (major - 136) * 256 + minor)),
        (4, 64..) => Some(format!("ttyS{}", minor - 64)),
        (4, _) => Some(format!("tty{minor}")),
        (5, 1) => Some("console".to_owned()),
        _ => Some("?".to_owned()),
    }
}

/// One line, whatever arguments hold; `None` for a process without a command line.
fn command(cmdline: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(cmdline);
    let text = text.trim_end_matches('\0');
    let one_line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    (!text.is_empty()).then_some(one_line)
}

/// Names of users by their numbers, from the text of passwd(5): the first of a number counts.
fn users(passwd: &str) -> BTreeMap<u32, String> {
    let mut users = BTreeMap::new();
    for line in passwd.lines() {
        let mut fields = line.split(':');
        if let (Some(name), Some(Ok(number))) = (fields.next(), fields.nth(1).map(str::parse)) {
            users.entry(number).or_insert_with(|| name.to_owned());
        }
    }
    users
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_seen_as_it_is() {
        let clock = Clock::read().unwrap();
        let pid = i32::try_from(std::process::id()).unwrap();
        let users = users("root:x:0:0::/root:/bin/sh\ntoor:x:0:0::/root:/bin/sh\n");
        let own = process(pid, &users, &clock).unwrap();
        assert_eq!(own.parent, nix::unistd::getppid().as_raw());
        if nix::unistd::geteuid().is_root() {
            assert_eq!(own.user, "root");
        }
        let now = crate::clock::now();
        assert!(
            own.started <= now + 1_000_000_000 && now - own.started.min(now) < 3_600_000_000_000,
            "{own:?}"
        );
        assert!(own.command.contains("composer_supervisor"), "{}", own.command);
    }

    #[test]
    fn terminals_and_command_lines() {
        assert_eq!(terminal(0), None);
        assert_eq!(terminal(136 << 8), Some("pts/0".to_owned()));
        assert_eq!(terminal((136 << 8) | 3), Some("pts/3".to_owned()));
        assert_eq!(terminal((4 << 8) | 65), Some("ttyS1".to_owned()));
        assert_eq!(command(b"sh\0-c\0one\ntwo\0"), Some("sh -c one two".to_owned()));
        assert_eq!(command(b""), None);
    }
}
