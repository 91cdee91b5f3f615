//! What to make, as it travels from the supervisor to the keeper.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::confinement::Confinement;
use crate::userns::IdRange;

/// A container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ContainerSpec {
    /// Its host name.
    pub hostname: String,
    /// Its NIS domain name.
    pub domainname: Option<String>,
    /// Its network namespace.
    pub network: NamespaceSpec,
    /// Its root filesystem.
    pub root: RootSpec,
    /// The root filesystem cannot be written.
    pub read_only: bool,
    /// Mounts of the user's.
    pub mounts: Vec<MountSpec>,
    /// The text of /etc/hosts (hosts(5)).
    pub hosts: String,
    /// The text of /etc/resolv.conf (resolv.conf(5)).
    pub resolv_conf: String,
    /// What runs as PID 1, or as the child of a small init.
    pub process: ProcessSpec,
    /// PID 1 is a small init.
    pub init: bool,
    /// cgroup v1: the `tasks` file of its group in each hierarchy.
    pub cgroup_tasks: Vec<PathBuf>,
    /// What else separates it from the host.
    pub isolation: IsolationSpec,
    /// The ids of its users on the host, where it has a user namespace of its own.
    #[serde(default)]
    pub userns: Option<IdRange>,
    /// What prepares its root filesystem.
    #[serde(default)]
    pub hooks: Option<HooksSpec>,
}

/// What separates a container from the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IsolationSpec {
    /// Its PID namespace.
    pub pid: NamespaceSpec,
    /// Its IPC namespace.
    pub ipc: NamespaceSpec,
    /// Its host name is the host's (uts_namespaces(7)).
    pub host_uts: bool,
    /// It sees all control groups of the host (cgroup_namespaces(7)).
    pub host_cgroups: bool,
    /// Its /dev/shm, where it is not another's.
    pub shm: ShmSpec,
    /// Devices besides the usual ones.
    pub devices: Vec<DeviceSpec>,
    /// Device nodes that are made inside work: what may be opened is limited elsewhere, or not at all.
    pub open_nodes: bool,
    /// Kernel parameters of the IPC namespace, as in `kernel.shmmax`.
    pub sysctls: Vec<(String, String)>,
}

/// Shared memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ShmSpec {
    /// There is no /dev/shm.
    None,
    /// Of so many bytes.
    Bytes(u64),
}

/// A device node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceSpec {
    /// Absolute path inside the container.
    pub target: PathBuf,
    /// Its kind and permission bits, as in stat(2).
    pub mode: u32,
    /// Its numbers, as in stat(2).
    pub device: u64,
    /// Its owner.
    pub owner: (u32, u32),
}

/// A namespace of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NamespaceSpec {
    /// One of its own.
    Own,
    /// The host's.
    Host,
    /// Another's, which comes along as a descriptor.
    Joined,
}

/// Where a root filesystem comes from. Writes go to `upper` in either case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RootSpec {
    /// Folders over each other, copy-on-write.
    Layers {
        /// The folders, the lowest first.
        layers: Vec<PathBuf>,
        /// What [`crate::prepare_base`] has made.
        base: PathBuf,
        /// overlayfs' upper folder.
        upper: PathBuf,
        /// overlayfs' work folder.
        work: PathBuf,
    },
    /// The host's own programs, copy-on-write.
    Host {
        /// What [`crate::host::current_mask`] has given.
        mask: PathBuf,
        /// overlayfs' upper folder.
        upper: PathBuf,
        /// overlayfs' work folder.
        work: PathBuf,
        /// The caller's PATH: folders outside the system's that its tools are in are visible too.
        path: Vec<PathBuf>,
    },
}

impl RootSpec {
    /// What upper and work folders lie in.
    pub(crate) fn folder(&self) -> &Path {
        let (Self::Layers { upper, .. } | Self::Host { upper, .. }) = self;
        upper.parent().unwrap_or(Path::new("/"))
    }
}

/// Programs of the host's that prepare the root filesystem.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HooksSpec {
    /// What they know the container by.
    pub id: String,
    /// One after another.
    pub hooks: Vec<HookSpec>,
}

/// A program of the host's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookSpec {
    /// Absolute path on the host.
    pub path: PathBuf,
    /// Its arguments, beginning with its name.
    pub args: Vec<String>,
    /// Its whole environment, `NAME=VALUE`.
    pub env: Vec<String>,
    /// Seconds that it may take.
    pub timeout: Option<u32>,
}

/// A mount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountSpec {
    /// Absolute path inside the container; made where it is missing.
    pub target: String,
    /// It cannot be written.
    pub read_only: bool,
    /// What is mounted.
    pub kind: MountKind,
}

/// How a volume gets what the root filesystem has at its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fill {
    /// The file that is locked meanwhile.
    pub lock: PathBuf,
    /// Where it is empty; else only where a copy has been begun and is not done.
    pub empty: bool,
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountKind {
    /// A file or folder of the host.
    Bind {
        /// Absolute path on the host.
        source: PathBuf,
        /// How mounts below it pass between host and container.
        propagation: Propagation,
        /// Whether what is mounted below it comes along.
        recursion: Recursion,
    },
    /// A volume.
    Volume {
        /// Its folder: absolute path on the host.
        source: PathBuf,
        /// What of it is mounted; no link in it leads out of the volume.
        subpath: Option<PathBuf>,
        /// Whether it gets what the root filesystem has there.
        fill: Option<Fill>,
    },
    /// The files of an image, which nobody can write.
    Image {
        /// The folders of its layers, the lowest first.
        layers: Vec<PathBuf>,
        /// What of it is mounted; no link in it leads out of the image.
        subpath: Option<PathBuf>,
    },
    /// A file of the container's own, in its memory, that nobody can write.
    File(FileSpec),
    /// Memory.
    Tmpfs {
        /// Bytes; half of the memory where absent (tmpfs(5)).
        size: Option<u64>,
        /// Permission bits; 01777 where absent.
        mode: Option<u32>,
    },
}

/// How what is mounted below a bind mount's source passes between host and container (mount_namespaces(7)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Propagation {
    /// Not at all.
    #[default]
    Private,
    /// From the host to the container.
    Slave,
    /// Both ways.
    Shared,
}

/// What of a bind mount's source is mounted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Recursion {
    /// It with all that is mounted below it; where it is read-only, all of that is.
    #[default]
    Whole,
    /// It alone.
    Alone,
    /// It with all that is mounted below it, which stays writable.
    Writable,
}

/// A file of a container's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileSpec {
    /// The file of the host whose content it gets.
    pub content: PathBuf,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Permission bits.
    pub mode: u32,
}

/// A program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessSpec {
    /// It and its arguments.
    pub argv: Vec<String>,
    /// Its whole environment, but for PATH, HOME and TERM where they are missing.
    pub env: Vec<(String, String)>,
    /// Its working folder, made where it is missing; `/` where absent.
    pub cwd: Option<String>,
    /// `UID`, `NAME`, `UID:GID` or `NAME:GROUP`, by the root filesystem's own files; root where absent.
    pub user: Option<String>,
    /// It has a terminal of the container's own.
    pub terminal: bool,
    /// The terminal's rows and columns; it learns them later where absent.
    pub terminal_size: Option<(u16, u16)>,
    /// What it may do.
    pub confinement: Confinement,
    /// Further groups, by name or number.
    pub groups: Vec<String>,
    /// Limits over those of whoever started the stack (setrlimit(2)).
    pub limits: Vec<LimitSpec>,
    /// How readily the kernel kills it when memory runs out (proc_pid_oom_score_adj(5)); inherited where absent.
    pub oom_score_adj: Option<i32>,
}

/// A limit of processes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitSpec {
    /// As Docker spells it: `nofile`.
    pub name: String,
    /// The limit that holds; `None` is no limit.
    pub soft: Option<u64>,
    /// Up to which it can be raised.
    pub hard: Option<u64>,
}

/// A program in a container that runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecSpec {
    /// The program.
    pub process: ProcessSpec,
    /// cgroup v1: the `tasks` file of the container's group in each hierarchy.
    pub cgroup_tasks: Vec<PathBuf>,
    /// It keeps all capabilities.
    pub privileged: bool,
    /// The ids of the container's users on the host, where it has a user namespace of its own.
    #[serde(default)]
    pub userns: Option<IdRange>,
}
