//! The checked stack: what a Compose file means once it has been read.
//!
//! Nothing here remembers where in a file it came from: every question that needs a place is asked before a
//! [`Stack`] exists. All values are final: interpolated, merged, relative paths made absolute.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

mod image;
mod io;
mod isolation;
mod mounts;
mod network;
mod oom;

pub use crate::contents::Content;
pub use image::{CheckTimes, Image, ImagePlace, ImageSource, ImageUse, PullPolicy};
pub use io::{BlockIo, DeviceIo};
pub use isolation::{Device, DeviceRequest, Isolation, Namespace, Requested, Seccomp, Security, Ulimit};
pub use mounts::{FileMount, Mount, MountKind, MountOptions, Propagation, Recursion, Volume, VolumesFrom};
pub use network::{
    Attachment, Bandwidth, Driver, ExternalLink, ExtraHost, GatewayMode, HostAddress, IpNet, IpvlanFlag,
    IpvlanMode, Mac, MacvlanMode, Network, NetworkMode, Pool, Port, PortMode, Protocol, ServiceLink,
};
pub use oom::{Oom, OomPolicy, Victim};

/// What one set of Compose files describes (Compose says *project*).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stack {
    /// The project's name: lower-case letters, digits, `-` and `_`, beginning with a letter or digit.
    pub name: String,
    /// The project directory, absolute: what relative paths in the file were resolved against.
    pub directory: PathBuf,
    /// The Compose files that were read, absolute, in order.
    pub files: Vec<PathBuf>,
    /// `x-resources`: the limits of the parent cgroup.
    pub resources: Resources,
    /// Services by name.
    pub services: BTreeMap<String, Service>,
    /// Named volumes by the key used in the file.
    pub volumes: BTreeMap<String, Volume>,
    /// Networks by the key used in the file; only those that a service is on.
    #[serde(default)]
    pub networks: BTreeMap<String, Network>,
    /// `x-resources.limits.bandwidth`: of all services together.
    #[serde(default, skip_serializing_if = "Bandwidth::is_none")]
    pub bandwidth: Bandwidth,
    /// `x-oom.victim`: who goes first when the stack's limit of memory is reached; `None` leaves it to the kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub victim: Option<Victim>,
    /// What the services' secrets and configs hold, by digest. It is in no record: see [`FileMount::digest`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub contents: BTreeMap<String, Content>,
}

/// One entry under `services:`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Service {
    /// Its key under `services:`.
    pub name: String,
    /// Where the root filesystem comes from.
    pub rootfs: Rootfs,
    /// `entrypoint`, split into words; `None` where the file does not set it.
    pub entrypoint: Option<Vec<String>>,
    /// `command`, split into words; `None` where the file does not set it.
    pub command: Option<Vec<String>>,
    /// `env_file` and `environment` merged; a key without a value that the caller's environment lacks is absent.
    pub environment: BTreeMap<String, String>,
    /// `working_dir`.
    pub working_dir: Option<String>,
    /// `user`: `UID`, `NAME`, `UID:GID` or `NAME:GROUP`; looked up inside the root filesystem.
    pub user: Option<String>,
    /// `hostname`; the container's short id where the file does not set it.
    pub hostname: Option<String>,
    /// `domainname`.
    pub domainname: Option<String>,
    /// `labels`.
    pub labels: BTreeMap<String, String>,
    /// `container_name`: replaces the derived name of the only replica.
    pub container_name: Option<String>,
    /// `scale` or `deploy.replicas`.
    pub replicas: u32,
    /// `stop_signal` as a number (signal(7)); SIGTERM where the file does not set it.
    pub stop_signal: i32,
    /// `stop_grace_period`; `None` where the file does not set it (then 10 s).
    pub stop_grace_period: Option<Duration>,
    /// `networks` or `network_mode`. Left out where it is the stack's own network alone, as what follows is where
    /// nothing is asked: what was written before they were known stays what it was.
    #[serde(default, skip_serializing_if = "NetworkMode::is_plain")]
    pub network: NetworkMode,
    /// `ports`: what is published on the host.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<Port>,
    /// `expose`: for people.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expose: Vec<String>,
    /// `links`: names of other services that this one alone knows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<ServiceLink>,
    /// `external_links`: names of containers of any stack that this one alone knows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub external_links: Vec<ExternalLink>,
    /// `dns`: servers that are asked instead of the host's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dns: Vec<IpAddr>,
    /// `dns_search`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dns_search: Vec<String>,
    /// `dns_opt`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dns_opt: Vec<String>,
    /// `extra_hosts`, in the file's order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extra_hosts: Vec<ExtraHost>,
    /// `mac_address`: of the interface on the first network that has none of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac_address: Option<Mac>,
    /// `sysctls`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sysctls: BTreeMap<String, String>,
    /// `x-bandwidth`.
    #[serde(default, skip_serializing_if = "Bandwidth::is_none")]
    pub bandwidth: Bandwidth,
    /// `volumes` and `tmpfs`, in the file's order.
    pub mounts: Vec<Mount>,
    /// `volumes_from` of containers; of services it is among `mounts`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes_from: Vec<VolumesFrom>,
    /// `secrets`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<FileMount>,
    /// `configs`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub configs: Vec<FileMount>,
    /// `init`: PID 1 is a small init that reaps and forwards signals.
    pub init: bool,
    /// `tty`: standard streams are a pseudo-terminal.
    pub tty: bool,
    /// `stdin_open`: standard input stays open.
    pub stdin_open: bool,
    /// `read_only`: the root filesystem is read-only.
    pub read_only: bool,
    /// `depends_on` by service.
    pub depends_on: BTreeMap<String, Dependency>,
    /// `healthcheck` or `x-probe`; `None` where there is neither or it is disabled.
    pub healthcheck: Option<Healthcheck>,
    /// `pre_start`: what runs to its end, in containers of its own, before the first program is started.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pre_start: Vec<PreStart>,
    /// `post_start`: what is run inside once the program has been started.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub post_start: Vec<Hook>,
    /// `pre_stop`: what is run inside before the program is told to stop.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pre_stop: Vec<Hook>,
    /// Limits and reservations of each container.
    pub resources: Resources,
    /// `x-oom`, or what the stack's says of services without one. Left out where nothing is asked, as above.
    #[serde(default, skip_serializing_if = "Oom::is_default")]
    pub oom: Oom,
    /// `attach`: whether `up` shows this service's logs.
    pub attach: bool,
    /// `x-run`. Left out where nothing is asked: what was written before it was known stays what it was.
    #[serde(default, skip_serializing_if = "Run::is_always")]
    pub run: Run,
    /// `restart` or `deploy.restart_policy`. Left out where nothing is asked: what was written before there were
    /// policies stays what it was.
    #[serde(default, skip_serializing_if = "Restart::is_none")]
    pub restart: Restart,
    /// `logging`: what is kept of its output.
    #[serde(default, skip_serializing_if = "Logging::is_whole")]
    pub logging: Logging,
    /// `develop.watch`: what is done when files change.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub watch: Vec<Trigger>,
    /// What its programs may do and see.
    #[serde(flatten)]
    pub isolation: Isolation,
}

/// `x-run`: what `up` makes of a container whose program has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Run {
    /// It is started again.
    #[default]
    Always,
    /// One that has succeeded with the configuration it has is not run again.
    Once,
}

impl Run {
    /// Whether nothing is asked.
    pub fn is_always(&self) -> bool {
        *self == Self::Always
    }
}

/// Whether and when a container that has ended is started again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restart {
    /// After which ends.
    pub policy: RestartPolicy,
    /// How many starts in a row may fail, the first one not counted; `None` is no limit.
    pub max_attempts: Option<u32>,
    /// Between an end and the next start; `None` is a back-off that doubles.
    pub delay: Option<Duration>,
    /// A start has succeeded once the program has lived for this long; `None` is 10 s.
    pub window: Option<Duration>,
}

/// After which ends a container is started again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartPolicy {
    /// None.
    #[default]
    No,
    /// Those with another code than 0.
    OnFailure,
    /// All, and after a reboot in any case.
    Always,
    /// All, and after a reboot unless a user had stopped it.
    UnlessStopped,
}

impl Restart {
    /// Whether nothing is asked.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// What is kept of a container's output: `logging`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Logging {
    /// All of it.
    #[default]
    Whole,
    /// `driver: none`: nothing.
    Nothing,
    /// The last of it, in files.
    Rotated {
        /// `max-size`: what a file grows to, in bytes.
        max_size: u64,
        /// `max-file`: how many files there are.
        max_file: u32,
    },
}

impl Logging {
    fn is_whole(&self) -> bool {
        *self == Self::Whole
    }
}

/// Where a service's root filesystem comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rootfs {
    /// `x-rootfs: host`: the host's own programs, copy-on-write.
    Host,
    /// `x-rootfs: PATH`: a folder, copy-on-write; absolute.
    Path(PathBuf),
    /// `image` as the file has it. It has to be brought and looked at before it can be run.
    Source(Box<ImageSource>),
    /// `image`, once it is there and the service has what it says of itself.
    Image(Box<Image>),
}

/// One entry of `depends_on`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dependency {
    /// What must hold before the dependent starts.
    pub condition: Condition,
    /// Whether a dependency that is missing or failed stops the dependent.
    pub required: bool,
    /// Whether the dependent is restarted when the dependency is.
    pub restart: bool,
}

/// `depends_on.<service>.condition`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Condition {
    /// Its program has been exec'd.
    #[serde(rename = "service_started")]
    Started,
    /// Its health check has passed.
    #[serde(rename = "service_healthy")]
    Healthy,
    /// It has ended with status 0.
    #[serde(rename = "service_completed_successfully")]
    CompletedSuccessfully,
}

/// `healthcheck`, with Docker's defaults filled in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Healthcheck {
    /// What is tried.
    pub test: Test,
    /// Between two probes (default 30 s).
    pub interval: Duration,
    /// After which a probe counts as failed (default 30 s).
    pub timeout: Duration,
    /// Failures in a row that make it unhealthy (default 3).
    pub retries: u32,
    /// Failures do not count for this long after the start (default 0).
    pub start_period: Duration,
    /// Between two probes during the start period (default 5 s); `None` where the file does not set it.
    pub start_interval: Option<Duration>,
}

/// How it is found out whether a service is well. On disk a command is what it was before there were probes: a list of
/// words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Test {
    /// `healthcheck.test`: a program and its arguments, run inside (`CMD-SHELL` is `/bin/sh -c` already).
    Command(Vec<String>),
    /// `x-probe`: tried from outside, in this order; each must pass. There is at least one.
    Probes(Vec<Probe>),
}

/// One test of `x-probe`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Probe {
    /// A line of its log has contained this since it was started.
    Log(String),
    /// This port takes a connection.
    Tcp(u16),
    /// A request is answered with a status from 200 to 399.
    Http {
        /// The port.
        port: u16,
        /// The path, with its leading slash, and the query.
        path: String,
    },
}

/// An item of `post_start` or `pre_stop`, and what `develop.watch` runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// User over the service's.
    pub user: Option<String>,
    /// All capabilities.
    pub privileged: bool,
    /// Working folder over the service's.
    pub working_dir: Option<String>,
    /// Variables over the service's environment.
    pub environment: BTreeMap<String, String>,
}

/// An item of `pre_start`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreStart {
    /// What is run.
    pub hook: Hook,
    /// Once for each container instead of once for the service.
    pub per_replica: bool,
    /// `image`: what it runs in instead of the service's root filesystem. Once that is there, the step itself has what it
    /// says of the program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageUse>,
}

/// One entry of `develop.watch`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trigger {
    /// What is watched: a file, or a folder with all below it; absolute.
    pub path: PathBuf,
    /// What is done when something there changes.
    pub action: TriggerAction,
    /// `include`: only paths that match one of these patterns count; all where there is none.
    pub include: Vec<String>,
    /// `ignore`: paths that match these patterns do not count; the last match decides, `!` takes one back.
    pub ignore: Vec<String>,
}

/// `develop.watch[].action`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TriggerAction {
    /// The image is built and the service made anew.
    Rebuild,
    /// The service is restarted.
    Restart,
    /// What has changed is copied into the containers.
    Sync {
        /// Where the watched path is in them.
        target: String,
        /// Whether all of it is copied when watching begins.
        initial: bool,
        /// What is done after it.
        then: AfterSync,
    },
}

/// What is done once files are copied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AfterSync {
    /// `sync`.
    Nothing,
    /// `sync+restart`.
    Restart,
    /// `sync+exec`.
    Exec(Hook),
}

/// Limits and reservations of a container or, as `x-resources`, of the whole stack.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Resources {
    /// `cpus`, `deploy.resources.limits.cpus`: CPU time in CPUs.
    pub cpus: Option<f64>,
    /// `cpu_shares`: relative weight, 2 to 262144, 1024 being neutral.
    pub cpu_shares: Option<u64>,
    /// `deploy.resources.reservations.cpus`: CPUs that it is to have of those that are contended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_reserved: Option<f64>,
    /// `cpuset`: CPUs the processes may run on, as the kernel writes lists (`0-2,4`).
    pub cpuset: Option<String>,
    /// `mem_limit`, `deploy.resources.limits.memory`: bytes.
    pub memory: Option<u64>,
    /// `mem_reservation`, `deploy.resources.reservations.memory`: bytes protected under pressure.
    pub memory_reservation: Option<u64>,
    /// `memswap_limit`: memory and swap together in bytes; -1 is no limit.
    pub memory_swap: Option<i64>,
    /// `pids_limit`, `deploy.resources.limits.pids`; -1 is no limit.
    pub pids: Option<i64>,
    /// `cpu_quota`: CPU time in each `cpu_period`, in microseconds; -1 is no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_quota: Option<i64>,
    /// `cpu_period` in microseconds; a tenth of a second where the file does not set it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_period: Option<u64>,
    /// `x-cpu-burst`: microseconds of unused CPU time that may be saved up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_burst: Option<u64>,
    /// `x-mem-high`: bytes above which memory is reclaimed and processes are slowed down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_high: Option<u64>,
    /// `mem_swappiness`, 0 to 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swappiness: Option<u64>,
    /// `oom_kill_disable`: processes wait for memory instead of being killed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub oom_kill_disable: bool,
    /// `x-cpu-idle`: it has what others leave of the CPUs.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cpu_idle: bool,
    /// `cpu_rt_runtime`: real-time CPU time in each `cpu_rt_period`, in microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_rt_runtime: Option<u64>,
    /// `cpu_rt_period` in microseconds; a second where the file does not set it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_rt_period: Option<u64>,
    /// `x-cpuset-mems`: memory nodes that may be used, as the kernel writes lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpuset_mems: Option<String>,
    /// `x-cpus-exclusive`: so many cores that nobody else of the stacks has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpus_exclusive: Option<u32>,
    /// `blkio_config`.
    #[serde(default, skip_serializing_if = "BlockIo::is_none")]
    pub io: BlockIo,
    /// `x-hugetlb`: bytes of huge pages by the size of a page.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub hugetlb: BTreeMap<u64, u64>,
}

impl Test {
    /// The text that a line of the log has to contain, where there is one.
    pub fn sought(&self) -> Option<&str> {
        match self {
            Self::Command(_) => None,
            Self::Probes(probes) => probes.iter().find_map(|probe| match probe {
                Probe::Log(text) => Some(text.as_str()),
                Probe::Tcp(_) | Probe::Http { .. } => None,
            }),
        }
    }

    /// Whether it cannot fail any more once it has passed.
    pub fn is_final(&self) -> bool {
        match self {
            Self::Command(_) => false,
            Self::Probes(probes) => probes.iter().all(|probe| matches!(probe, Probe::Log(_))),
        }
    }
}

impl Service {
    /// The keys of the named volumes that it mounts.
    pub fn named_volumes(&self) -> impl Iterator<Item = &str> {
        self.mounts.iter().filter_map(|mount| match &mount.kind {
            MountKind::Volume { source } => Some(source.as_str()),
            MountKind::Bind { .. }
            | MountKind::Anonymous
            | MountKind::Borrowed { .. }
            | MountKind::Image(_)
            | MountKind::Tmpfs { .. } => None,
        })
    }

    /// What is executed: entrypoint, then command.
    pub fn argv(&self) -> Vec<String> {
        self.entrypoint.iter().flatten().chain(self.command.iter().flatten()).cloned().collect()
    }
}

impl Stack {
    /// The name of a container: `container_name`, or `STACK-SERVICE-INDEX` (indexes begin at 1).
    pub fn container_name(&self, service: &Service, index: u32) -> String {
        match &service.container_name {
            Some(name) => name.clone(),
            None => format!("{}-{}-{index}", self.name, service.name),
        }
    }
}
