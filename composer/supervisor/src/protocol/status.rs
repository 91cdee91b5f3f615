//! What `ps` shows.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// What a container is doing, in Docker's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Made, not started.
    Created,
    /// Its program runs.
    Running,
    /// Its program has ended and is about to be started again.
    Restarting,
    /// Its program is about to be held, as it has run out of memory.
    Pausing,
    /// Its program is held where it is.
    Paused,
    /// Its program has ended.
    Exited,
}

impl State {
    /// Whether it counts as running, as in Docker: also one that is held, or about to be started again.
    pub fn is_live(self) -> bool {
        match self {
            Self::Running | Self::Pausing | Self::Paused | Self::Restarting => true,
            Self::Created | Self::Exited => false,
        }
    }
}

/// Docker's words for health.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// No probe has passed yet.
    Starting,
    /// The last probe passed.
    Healthy,
    /// `retries` probes failed in a row.
    Unhealthy,
}

/// A port of a container, and where on the host it is published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publisher {
    /// The host's address; `None` where it is not published.
    pub address: Option<IpAddr>,
    /// The container's port.
    pub target: u16,
    /// How many ports follow it of which the same is true. Only where it is not published.
    #[serde(default)]
    pub more: u16,
    /// The host's port; 0 where it is not published.
    pub published: u16,
    /// `tcp` or `udp`.
    pub protocol: String,
}

/// One line of `ps`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ContainerStatus {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its service.
    pub service: String,
    /// Which replica, from 1.
    pub index: u32,
    /// What stands in an image's place: `host` or the root folder.
    pub rootfs: String,
    /// What was executed.
    pub argv: Vec<String>,
    /// Labels of the service.
    pub labels: BTreeMap<String, String>,
    /// What is mounted: names of volumes, paths of the host; the target of what has no name.
    pub mounts: Vec<String>,
    /// The volumes among them.
    pub local_volumes: u32,
    /// What it does.
    pub state: State,
    /// Its health where it has a check.
    pub health: Option<Health>,
    /// The code it has ended with; `None` while it runs, or where nobody can know it any more.
    pub exit_code: Option<i32>,
    /// Why it ended or did not start, where that is not its own doing.
    pub reason: Option<String>,
    /// Whether it is held, or has last ended, for want of memory.
    #[serde(default)]
    pub out_of_memory: bool,
    /// How often its restart policy has started it since an operation did.
    pub restarts: u32,
    /// Its PID 1 in the host's PID namespace while it runs.
    pub pid: Option<i32>,
    /// The CPUs that it has alone, as the kernel writes lists (`x-cpus-exclusive`).
    #[serde(default)]
    pub cores: Option<String>,
    /// The first of its addresses.
    pub address: Option<IpAddr>,
    /// The names of the networks that it is on.
    pub networks: Vec<String>,
    /// Its ports, while it runs.
    #[serde(default)]
    pub publishers: Vec<Publisher>,
    /// When it was made: nanoseconds since the Unix epoch.
    pub created: u64,
    /// When its program was last started.
    pub started: Option<u64>,
    /// When its program ended.
    pub finished: Option<u64>,
    /// Whether `up` shows its logs (`attach`).
    pub attach: bool,
    /// Whether `run` has made it: it is none of its service's replicas.
    pub oneoff: bool,
    /// Where its logs are: see `logs::Reader`.
    pub log: std::path::PathBuf,
    /// Whether anything is kept in it (`logging`).
    pub keeps_log: bool,
}
