//! What a stack is made of and how its parts hang together, for people to look at: services that this version cannot
//! run among them, which a [`crate::Stack`] does not have.

use std::collections::BTreeMap;

use crate::model::{Dependency, NetworkMode};

/// What one set of Compose files describes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Graph {
    /// The project's name.
    pub name: String,
    /// The project directory, absolute.
    pub directory: String,
    /// Services by name.
    pub services: BTreeMap<String, Service>,
    /// Networks by their keys in the file.
    pub networks: BTreeMap<String, Network>,
    /// Named volumes by their keys in the file.
    pub volumes: BTreeMap<String, Volume>,
    /// `configs` by their keys in the file.
    pub configs: BTreeMap<String, Content>,
    /// `secrets` by their keys in the file.
    pub secrets: BTreeMap<String, Content>,
}

/// One entry under `services:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Where its programs come from.
    pub root: Root,
    /// How many containers it has.
    pub replicas: u32,
    /// `profiles`.
    pub profiles: Vec<String>,
    /// `depends_on`, as other keys imply it too, by service. Their services need not be there: those of inactive
    /// profiles are not.
    pub needs: BTreeMap<String, Need>,
    /// `networks` or `network_mode`.
    pub network: NetworkMode,
    /// `ports`, one item a port.
    pub ports: Vec<Port>,
    /// `volumes` and `tmpfs`, in the file's order.
    pub mounts: Vec<Mount>,
    /// Containers of elsewhere whose mounts are taken over.
    pub volumes_from: Vec<String>,
    /// `configs`.
    pub configs: Vec<FileMount>,
    /// `secrets`.
    pub secrets: Vec<FileMount>,
}

/// Where a service's programs come from. All that it names is as the file has it, paths absolute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Root {
    /// `x-rootfs`.
    Rootfs(String),
    /// `image`.
    Image(String),
    /// `build`: the context.
    Build(String),
    /// `provider`: its type.
    Provider(String),
    /// The file does not say.
    Unknown,
}

/// Why a service needs another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// On which terms.
    pub terms: Dependency,
    /// What it has of the other.
    pub uses: Vec<Use>,
}

/// What a service has of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// `links`: a name.
    Name,
    /// `volumes_from`: its mounts.
    Mounts,
    /// `network_mode: service:NAME`.
    Network,
    /// `ipc: service:NAME`.
    Ipc,
    /// `pid: service:NAME`.
    Processes,
    /// `uts: service:NAME`.
    HostName,
    /// `cgroup: service:NAME`.
    Cgroup,
}

/// A published port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// `host_ip`; every address of the host where it is not given.
    pub address: Option<String>,
    /// The first and last port of a range, of which one is taken; any free one where it is not given.
    pub published: Option<(u16, u16)>,
    /// The container's port.
    pub target: u16,
    /// `tcp`, `udp` or `sctp`.
    pub protocol: String,
}

/// A mount of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// What is mounted.
    pub source: Source,
    /// Where in the container.
    pub target: String,
    /// `read_only` or `:ro`.
    pub read_only: bool,
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A path of the host, absolute.
    Bind(String),
    /// A named volume: a key of [`Graph::volumes`].
    Volume(String),
    /// A volume without a name.
    Anonymous,
    /// Memory.
    Tmpfs,
    /// Another type, and what it names.
    Other(String, String),
}

/// A config or secret that a service gets as a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileMount {
    /// Its key in the file.
    pub source: String,
    /// Where in the container.
    pub target: String,
}

/// One entry under `networks:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// The name on the host.
    pub name: String,
    /// Made and removed by somebody else.
    pub external: bool,
    /// Nothing outside of it is reached.
    pub internal: bool,
    /// `driver`; `bridge` where it is not given.
    pub driver: String,
    /// The subnets that the file chooses.
    pub subnets: Vec<String>,
}

/// One entry under `volumes:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// The name on the host.
    pub name: String,
    /// Made and removed by somebody else.
    pub external: bool,
    /// `driver`; `local` where it is not given.
    pub driver: String,
}

/// Where a config or secret comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// `file`, absolute.
    File(String),
    /// `environment`: a variable.
    Variable(String),
    /// `content`: the file has it.
    Inline,
    /// `external`: it is kept elsewhere under this name.
    External(String),
    /// The file does not say.
    Unknown,
}
