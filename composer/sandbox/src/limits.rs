//! Resource limits of the processes behind a stack, and of what they start.

use std::fs::File;
use std::io::{self, Read};
use std::sync::OnceLock;

use nix::errno::Errno;
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};
use rustix::fs::OFlags;

use crate::failure::{Doing, Result, StartFailure};
use crate::spec::LimitSpec;
use crate::tree;

/// The limits, soft and hard, before they were raised.
static ORIGINAL: OnceLock<(u64, u64)> = OnceLock::new();

/// Raises this process's limits of open descriptors as far as it may (getrlimit(2)): the processes behind a stack hold
/// several for each container and each published port. What they start gets the original limits.
///
/// # Errors
/// Those of setrlimit(2).
pub fn raise_descriptor_limit() -> io::Result<()> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    ORIGINAL.get_or_init(|| (soft, hard));
    // It takes CAP_SYS_RESOURCE.
    let highest = highest_descriptors().filter(|highest| *highest > hard);
    if highest.is_some_and(|highest| setrlimit(Resource::RLIMIT_NOFILE, highest, highest).is_ok()) {
        return Ok(());
    }
    Ok(setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?)
}

/// Back to the limits from before.
pub(crate) fn restore_descriptor_limit() -> io::Result<()> {
    let Some((soft, hard)) = ORIGINAL.get() else {
        return Ok(());
    };
    Ok(setrlimit(Resource::RLIMIT_NOFILE, *soft, *hard)?)
}

/// The limits by Docker's names (go-units, `ulimit.go`), which are those of limits.conf(5).
const RESOURCES: [(&str, Resource); 15] = [
    ("core", Resource::RLIMIT_CORE),
    ("cpu", Resource::RLIMIT_CPU),
    ("data", Resource::RLIMIT_DATA),
    ("fsize", Resource::RLIMIT_FSIZE),
    ("locks", Resource::RLIMIT_LOCKS),
    ("memlock", Resource::RLIMIT_MEMLOCK),
    ("msgqueue", Resource::RLIMIT_MSGQUEUE),
    ("nice", Resource::RLIMIT_NICE),
    ("nofile", Resource::RLIMIT_NOFILE),
    ("nproc", Resource::RLIMIT_NPROC),
    ("rss", Resource::RLIMIT_RSS),
    ("rtprio", Resource::RLIMIT_RTPRIO),
    ("rttime", Resource::RLIMIT_RTTIME),
    ("sigpending", Resource::RLIMIT_SIGPENDING),
    ("stack", Resource::RLIMIT_STACK),
];

/// Sets limits of this process. One whose hard limit may not be raised by whoever runs the stack (it takes
/// CAP_SYS_RESOURCE in the first user namespace) gets as much as there is: Docker's engine has that right everywhere, so
/// files ask for much.
pub(crate) fn set(limits: &[LimitSpec]) -> Result<()> {
    for limit in limits {
        let failed = |why: String| {
            StartFailure::because("set the limit", &limit.name, why).at(&["ulimits", &limit.name])
        };
        let resource = RESOURCES.iter().find(|(name, _)| *name == limit.name);
        let (_, resource) = resource.ok_or_else(|| failed("there is no such limit".to_owned()))?;
        let hard = limit.hard.unwrap_or(RLIM_INFINITY);
        let soft = limit.soft.unwrap_or(RLIM_INFINITY);
        match setrlimit(*resource, soft, hard) {
            Err(Errno::EPERM) => {
                let most = most(*resource).map_err(|errno| failed(errno.to_string()))?;
                setrlimit(*resource, soft.min(most), most.min(hard))
            }
            other => other,
        }
        .map_err(|errno| failed(errno.to_string()))?;
    }
    Ok(())
}

/// What a hard limit may be at most.
fn most(resource: Resource) -> nix::Result<u64> {
    let (_, hard) = getrlimit(resource)?;
    if resource != Resource::RLIMIT_NOFILE {
        return Ok(hard);
    }
    // Beyond it the kernel lets nobody go (proc(5), fs.nr_open); up to it, it may.
    match highest_descriptors().filter(|highest| *highest > hard) {
        Some(highest) if setrlimit(resource, hard, highest).is_ok() => Ok(highest),
        Some(_) | None => Ok(hard),
    }
}

/// `fs.nr_open`, where /proc is the kernel's: a volume may lie over it, with anything in it.
fn highest_descriptors() -> Option<u64> {
    let file = tree::inside("/proc/sys/fs/nr_open", OFlags::RDONLY | OFlags::NONBLOCK).ok()?;
    let is_proc = rustix::fs::fstatfs(&file).is_ok_and(|stat| stat.f_type == rustix::fs::PROC_SUPER_MAGIC);
    let mut text = String::new();
    File::from(file).take(32).read_to_string(&mut text).ok().filter(|_| is_proc)?;
    text.trim().parse().ok()
}

/// Sets how readily the kernel kills this process, and what it starts, when memory runs out. To be called before
/// the container's root is entered, in which anything may lie over /proc.
pub(crate) fn set_oom_score(score: i32) -> Result<()> {
    std::fs::write("/proc/self/oom_score_adj", score.to_string())
        .doing("set oom_score_adj to", score)
        .map_err(|failure| failure.at(&["oom_score_adj"]))
}
