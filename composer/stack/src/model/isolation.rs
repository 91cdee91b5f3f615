//! What separates a service's programs from the host and from each other.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What a service's programs may do and see. What nothing is asked of is left out where it is written down: a service
/// without such keys is what it was before they were known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Isolation {
    /// `privileged`: all capabilities and devices, no system call filter, nothing hidden or locked.
    #[serde(skip_serializing_if = "is_off")]
    pub privileged: bool,
    /// `cap_add`: in capital letters, without `CAP_`; `ALL` are all of them (capabilities(7)).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cap_add: Vec<String>,
    /// `cap_drop`, likewise.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cap_drop: Vec<String>,
    /// `security_opt`.
    #[serde(skip_serializing_if = "Security::is_default")]
    pub security_opt: Security,
    /// `group_add`: names and numbers of further groups; looked up inside the root filesystem.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub group_add: Vec<String>,
    /// `ulimits` by Docker's names: `nofile`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub ulimits: BTreeMap<String, Ulimit>,
    /// `oom_score_adj`: -1000 to 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom_score_adj: Option<i32>,
    /// `shm_size`: bytes; 64 MiB where the file does not set it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shm_size: Option<u64>,
    /// `devices`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<Device>,
    /// `gpus`, `deploy.resources.reservations.devices`, and names of the Container Device Interface in `devices`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub device_requests: Vec<DeviceRequest>,
    /// `device_cgroup_rules`: `c 1:3 rwm`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub device_cgroup_rules: Vec<String>,
    /// `pid`.
    #[serde(skip_serializing_if = "Namespace::is_own")]
    pub pid: Namespace,
    /// `ipc`.
    #[serde(skip_serializing_if = "Namespace::is_own")]
    pub ipc: Namespace,
    /// `uts: host`.
    #[serde(skip_serializing_if = "is_off")]
    pub uts: bool,
    /// `cgroup: host`.
    #[serde(skip_serializing_if = "is_off")]
    pub cgroup: bool,
    /// `x-userns: auto`: root inside is nobody outside.
    #[serde(skip_serializing_if = "is_off")]
    pub userns: bool,
    /// `annotations`: kept for people.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// `security_opt`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Security {
    /// `no-new-privileges`: programs gain nothing by set-user-ID bits and file capabilities.
    #[serde(skip_serializing_if = "is_off")]
    pub no_new_privileges: bool,
    /// `seccomp=…`.
    #[serde(skip_serializing_if = "Seccomp::is_default")]
    pub seccomp: Seccomp,
    /// `systempaths=unconfined`: nothing of /proc is hidden or locked.
    #[serde(skip_serializing_if = "is_off")]
    pub unmasked: bool,
}

/// Requested system calls there are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Seccomp {
    /// Those of the default profile; not of a privileged container, which has all.
    #[default]
    Default,
    /// Those of the default profile, also of a privileged container: `seccomp=builtin`.
    Builtin,
    /// All of them.
    Unconfined,
    /// Those of this profile, in Docker's JSON format: the text, so that a changed file is another configuration.
    Profile(String),
}

/// Both limits of one kind; `None` is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ulimit {
    /// The limit that holds.
    pub soft: Option<u64>,
    /// Up to which a process may raise it.
    pub hard: Option<u64>,
}

/// An item of `devices`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// A device of the host's, or a folder of devices.
    pub source: PathBuf,
    /// Absolute path inside the container.
    pub target: String,
    /// `r`, `w` and `m`: what may be done with it.
    pub permissions: String,
}

/// Devices that their vendor has described, with what programs need to use them (Container Device Interface).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRequest {
    /// The value of the file, as keys and places in lists below the service.
    pub at: Vec<String>,
    /// Whose they are: `nvidia`; `cdi` where they have their whole names; anybody's where absent.
    pub driver: Option<String>,
    /// What they must be able to do, of which their class is one: `gpu`.
    pub capabilities: Vec<String>,
    /// Requested of them.
    pub which: Requested,
}

/// Requested devices are asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Requested {
    /// Every one.
    All,
    /// So many.
    Count(u64),
    /// By their names among the driver's: `0`, `GPU-…`.
    Named(Vec<String>),
    /// By whole names: `nvidia.com/gpu=0`.
    Whole(Vec<String>),
}

/// A namespace of processes or of their shared memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Namespace {
    /// One of its own.
    #[default]
    Own,
    /// `none`: one of its own, and no /dev/shm.
    None,
    /// The host's.
    Host,
    /// `service:NAME`: that of the service's first container.
    Service(String),
    /// `container:NAME`: that of any container of the host.
    Container(String),
}

impl Namespace {
    /// Whether nothing is asked.
    pub fn is_own(&self) -> bool {
        *self == Self::Own
    }
}

impl Security {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Seccomp {
    fn is_default(&self) -> bool {
        *self == Self::Default
    }
}

fn is_off(flag: &bool) -> bool {
    !flag
}
