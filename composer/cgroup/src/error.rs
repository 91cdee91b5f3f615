//! What can go wrong between us and the cgroup file systems.

use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

/// A failed operation on a control group; names what was being done, on which file, and the reason.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No cgroup file system with a controller that is used here is mounted.
    #[error(
        "find control groups: neither cgroup2 nor a cgroup v1 controller is mounted (see /proc/self/mountinfo)"
    )]
    NotMounted,
    /// A group's name that would leave the hierarchy or that the kernel cannot hold.
    #[error("name a control group {path:?}: {reason}")]
    Name {
        /// The name as given.
        path: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A limit whose value has no meaning, found before anything was written.
    #[error("set {limit} to {value}: {reason}")]
    Limit {
        /// The compose key.
        limit: &'static str,
        /// The value as given.
        value: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A file or directory could not be read.
    #[error("read {}: {source}", path.display())]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A file's content is not what the kernel documents.
    #[error("read {}: unexpected content {content:?}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What it held.
        content: String,
    },
    /// The kernel refused a value.
    #[error("write {value:?} to {}: {source}{}", path.display(), explained(path, source))]
    Write {
        /// The control file.
        path: PathBuf,
        /// What was written.
        value: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A limit of memory below what is in use, of which the kernel could not reclaim enough.
    #[error(
        "set {key} to {limit} bytes: the group uses {usage} bytes and the kernel could not reclaim enough of it ({})",
        path.display()
    )]
    InUse {
        /// The group's directory.
        path: PathBuf,
        /// The compose key.
        key: &'static str,
        /// The limit, in bytes.
        limit: u64,
        /// What is in use, in bytes.
        usage: u64,
    },
    /// A group could not be made.
    #[error("create control group {}: {source}", path.display())]
    Create {
        /// Its directory.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A group's directory could not be opened.
    #[error("open control group {}: {source}", path.display())]
    Open {
        /// Its directory.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A group could not be removed.
    #[error("remove control group {}: {source}", path.display())]
    Remove {
        /// Its directory.
        path: PathBuf,
        /// The kernel's answer; `EBUSY` when processes are left in it.
        source: io::Error,
    },
    /// No hierarchy that can limit devices is mounted.
    #[error("limit devices: neither cgroup2 nor the devices controller of cgroup v1 is mounted")]
    NoDevices,
    /// A group's devices could not be limited on v2.
    #[error("limit the devices of control group {}: {source}", path.display())]
    Devices {
        /// Its directory.
        path: PathBuf,
        /// The kernel's answer to bpf(2).
        source: io::Error,
    },
    /// No hierarchy that can hold processes is mounted.
    #[error("freeze a control group: neither cgroup2 nor the freezer of cgroup v1 is mounted")]
    NoFreezer,
    /// A group's processes could not all be held.
    #[error("freeze control group {group}: {reason}")]
    Freeze {
        /// The group's name or its directory.
        group: String,
        /// What kept them going.
        reason: &'static str,
    },
    /// A group's processes could not all be brought into another hierarchy.
    #[error("move processes into control group {}: they fork faster than they can be moved", path.display())]
    Gather {
        /// Its directory.
        path: PathBuf,
    },
    /// A process of a group could not be signalled.
    #[error("kill process {pid} of control group {group:?}: {source}")]
    Kill {
        /// The process.
        pid: i32,
        /// The group's name.
        group: String,
        /// The kernel's answer.
        source: io::Error,
    },
}

impl Error {
    /// Whether a directory or its file was not there (any more).
    pub(crate) fn is_absence(&self) -> bool {
        match self {
            Self::Read { source, .. } | Self::Write { source, .. } | Self::Create { source, .. } => {
                crate::control::is_absent(source)
            }
            Self::NotMounted
            | Self::Name { .. }
            | Self::Limit { .. }
            | Self::InUse { .. }
            | Self::Content { .. }
            | Self::Open { .. }
            | Self::Remove { .. }
            | Self::NoFreezer
            | Self::Freeze { .. }
            | Self::NoDevices
            | Self::Devices { .. }
            | Self::Gather { .. }
            | Self::Kill { .. } => false,
        }
    }
}

/// Why the kernel refuses a value, where its error number alone says too little. The causes are those of
/// `kernel/sched/core.c`, `kernel/cgroup/cpuset.c` and `mm/memcontrol*.c`.
fn explained(path: &Path, source: &io::Error) -> &'static str {
    let file = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let errno = source.raw_os_error().map(Errno::from_raw);
    match (file, errno) {
        ("cpu.cfs_quota_us", Some(Errno::EINVAL)) => {
            " (below 0.01 CPU, or above what the parent group may use)"
        }
        ("cpu.max", Some(Errno::EINVAL)) => " (below 0.01 CPU)",
        ("cpuset.cpus", Some(Errno::EINVAL | Errno::ERANGE)) => {
            " (not a list of cores as in 0-1,3, or cores that this host does not have)"
        }
        ("cpuset.cpus", Some(Errno::EACCES)) => " (outside the parent's cores)",
        ("cpuset.cpus", Some(Errno::EBUSY)) => " (a group inside this one uses cores outside the new set)",
        ("cpuset.mems", Some(Errno::EINVAL | Errno::ERANGE)) => {
            " (not a list of memory nodes as in 0-1,3, or nodes that this host does not have)"
        }
        ("cpuset.mems", Some(Errno::EACCES)) => " (outside the parent's memory nodes)",
        ("cpuset.mems", Some(Errno::EBUSY)) => " (a group inside this one uses nodes outside the new set)",
        ("cpu.rt_runtime_us", Some(Errno::EINVAL)) => {
            " (more real-time CPU time than the host has left to give: /proc/sys/kernel/sched_rt_runtime_us)"
        }
        ("cpu.rt_runtime_us", Some(Errno::EBUSY)) => " (a real-time task runs in the group)",
        ("io.max", Some(Errno::ENODEV)) => {
            " (no such disk, or a partition: the kernel shares out whole disks)"
        }
        ("io.max", Some(Errno::ERANGE)) => " (a rate is at least 1)",
        ("memory.limit_in_bytes" | "memory.memsw.limit_in_bytes", Some(Errno::EBUSY)) => {
            " (the group uses more than that and the kernel could not reclaim it)"
        }
        ("cgroup.subtree_control", Some(Errno::EBUSY)) => {
            " (processes live in this group: a v2 group with processes cannot hand controllers down)"
        }
        (file, Some(Errno::ENODEV)) if file.starts_with("blkio.") => {
            " (no such disk, or a partition: the kernel shares out whole disks)"
        }
        _ => "",
    }
}
