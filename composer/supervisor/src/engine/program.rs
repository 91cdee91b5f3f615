//! What the kernel tells about a running program (proc(5)).

use std::fs;

/// How the keeper's command line begins.
const KEEPER: &[u8] = b"compose-keeper\0";

/// When a process was started, in clock ticks since boot: field 22 of proc_pid_stat(5).
pub fn ticks(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the name in parentheses and may hold anything, parentheses too.
    let rest = stat.rsplit_once(')')?.1;
    rest.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// This boot, told from every other.
pub fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned()).unwrap_or_default()
}

/// The program that a process runs and its arguments: changes with every exec of another.
pub fn identity(pid: i32) -> Option<(std::path::PathBuf, Vec<u8>)> {
    Some((fs::read_link(format!("/proc/{pid}/exe")).ok()?, fs::read(format!("/proc/{pid}/cmdline")).ok()?))
}

/// Whether a process is still the keeper's copy of itself, on its way to exec. One that has ended, of which nothing
/// can be read any more, is not: its code and its last output count.
pub fn is_on_its_way(pid: i32) -> bool {
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
