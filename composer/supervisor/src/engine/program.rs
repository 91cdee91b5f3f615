//! What the kernel tells about a running program (proc(5)).

use std::fs;
use std::os::fd::{AsRawFd, BorrowedFd};

/// How the keeper's command line begins.
const KEEPER: &[u8] = b"compose-keeper\0";

/// When a process was started, in clock ticks since boot: field 22 of proc_pid_stat(5).
pub fn ticks(pid: i32) -> Option<u64> {
    field(&stat(pid)?, 22)?.parse().ok()
}

/// The parent of a process: field 4.
pub fn parent(pid: i32) -> Option<i32> {
    field(&stat(pid)?, 4)?.parse().ok()
}

/// The code of a process that has ended, as long as nobody has reaped it: field 52.
pub fn code(pid: i32) -> Option<i32> {
    let stat = stat(pid)?;
    let status: i32 = field(&stat, 52)?.parse().ok()?;
    is_zombie(&stat).then(|| {
        if libc::WIFSIGNALED(status) { 128 + libc::WTERMSIG(status) } else { libc::WEXITSTATUS(status) }
    })
}

/// Whether a process has been killed, or has ended: what was killed shows it until it is gone.
pub fn is_dying(pid: i32) -> bool {
    // PF_EXITING and PF_SIGNALED of include/linux/sched.h.
    const FLAGS: u64 = 0x4 | 0x400;
    let (Some(stat), Ok(status)) = (stat(pid), fs::read_to_string(format!("/proc/{pid}/status"))) else {
        return true;
    };
    let flags = field(&stat, 9).and_then(|flags| flags.parse::<u64>().ok()).unwrap_or_default();
    let pending = mask(&status, "SigPnd:") | mask(&status, "ShdPnd:");
    is_zombie(&stat) || flags & FLAGS != 0 || pending & (1 << (libc::SIGKILL - 1)) != 0
}

/// Whether somebody has reaped a process, so that its number may be another's.
pub fn is_reaped(pidfd: BorrowedFd<'_>) -> bool {
    number(pidfd) == Some(-1)
}

/// The number of a process; -1 of one that has been reaped.
pub fn number(pidfd: BorrowedFd<'_>) -> Option<i32> {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd())).ok()?;
    info.lines().find_map(|line| line.strip_prefix("Pid:\t"))?.parse().ok()
}

fn stat(pid: i32) -> Option<String> {
    // The name may hold anything.
    Some(String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/stat")).ok()?).into_owned())
}

/// A field by its number in proc_pid_stat(5), from 3.
fn field(stat: &str, number: usize) -> Option<&str> {
    // The second field is the name in parentheses, and parentheses may be in it.
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(number - 3)
}

fn is_zombie(stat: &str) -> bool {
    field(stat, 3) == Some("Z")
}

/// This boot, told from every other.
pub fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned()).unwrap_or_default()
}

/// The program that a process runs and its arguments: changes with every exec of another.
pub fn identity(pid: i32) -> Option<(std::path::PathBuf, Vec<u8>)> {
    Some((fs::read_link(format!("/proc/{pid}/exe")).ok()?, fs::read(format!("/proc/{pid}/cmdline")).ok()?))
}

/// Whether a process is still the keeper's copy of itself, on its way to exec, or has ended as that. Of one that has
/// ended nothing is left but its name, and a container's init (`init: true`) has that of the keeper too.
pub fn is_on_its_way(pid: i32, init: bool) -> bool {
    if stat(pid).is_some_and(|stat| is_zombie(&stat)) {
        let name = |pid: &str| fs::read(format!("/proc/{pid}/comm")).ok();
        return !init && name("self") == name(&pid.to_string());
    }
    let own = fs::metadata("/proc/self/exe").map(|file| inode(&file));
    let its = fs::metadata(format!("/proc/{pid}/exe")).map(|file| inode(&file));
    // A container's init is the same program too, under another name.
    let named = fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.starts_with(KEEPER));
    matches!((own, its), (Ok(own), Ok(its)) if own == its) && named
}

fn inode(file: &fs::Metadata) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt;
    (file.dev(), file.ino())
}

/// Whether PID 1 of a container neither handles nor awaits a signal. The kernel never delivers such a signal to
/// the init of a PID namespace (pid_namespaces(7)): waiting for it to end would be in vain.
pub fn is_deaf(pid: i32, signal: i32) -> bool {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return false;
    };
    let bit = 1_u64 << (signal - 1).clamp(0, 63);
    for task in tasks.flatten() {
        let Ok(status) = fs::read_to_string(task.path().join("status")) else {
            return false;
        };
        if mask(&status, "SigCgt:") & bit != 0 || mask(&status, "SigBlk:") & bit != 0 {
            return false;
        }
        // A program in sigwait(3) shows the signal in neither mask: only its system call tells.
        let call = fs::read_to_string(task.path().join("syscall")).unwrap_or_default();
        let number = call.split_ascii_whitespace().next().and_then(|word| word.parse::<i64>().ok());
        if number == Some(libc::SYS_rt_sigtimedwait) {
            return false;
        }
    }
    true
}

fn mask(status: &str, field: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0)
}
