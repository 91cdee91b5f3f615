//! What to load, and with which surroundings: nothing is read from the process itself.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;

use crate::model::{DeviceRequest, IpNet};
use crate::stdin::Stdin;

/// What to load and with which surroundings.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of `config`")]
pub struct LoadOptions {
    /// `-f`, in order; `-` is standard input. Empty: `COMPOSE_FILE`, else the files are searched for.
    pub files: Vec<PathBuf>,
    /// Standard input, for a file named `-`: not read before one is met.
    pub stdin: Option<Stdin>,
    /// `-p`.
    pub project_name: Option<String>,
    /// `--project-directory`; the first file's folder where absent.
    pub project_directory: Option<PathBuf>,
    /// `--env-file`; `COMPOSE_ENV_FILES`, else `.env` in the project directory where empty.
    pub env_files: Vec<PathBuf>,
    /// `--profile`; `COMPOSE_PROFILES` where empty.
    pub profiles: Vec<String>,
    /// Services named on the command line: their profiles are on, and they and what they depend on is all that is
    /// loaded. Empty: all.
    pub services: Vec<String>,
    /// Services whose profiles are on besides, with nothing else left out for it.
    pub enabled: Vec<String>,
    /// Variables are put in.
    pub interpolate: bool,
    /// Names, networks and defaults that the file leaves open are filled in.
    pub normalize: bool,
    /// Relative paths become absolute.
    pub resolve_paths: bool,
    /// References between sections are checked.
    pub check_consistency: bool,
    /// `env_file` is read into `environment`.
    pub resolve_environment: bool,
    /// What no service uses is kept.
    pub all_resources: bool,
    /// A warning is an error.
    pub strict: bool,
    /// Where relative paths on the command line begin; absolute.
    pub current_dir: PathBuf,
    /// The caller's environment.
    pub environment: BTreeMap<String, String>,
    /// What `~` stands for.
    pub home: Option<PathBuf>,
    /// What the stack is for.
    pub purpose: Purpose,
    /// The host, for checks of limits; they are left out where absent.
    pub host: Option<HostFacts>,
}

/// What a stack is loaded for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To be shown: services that this version cannot run are fine, and not part of [`crate::Loaded::stack`].
    Config,
    /// To be run: every service needs a root filesystem and something to execute.
    Run,
}

/// What a host may lack for `x-oom`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lacking {
    /// A controller of memory in its control groups.
    Memory,
    /// A freezer.
    Freezer,
}

/// Looks for something on a host, and says why it cannot be had.
pub type Look<T> = fn(&T) -> Result<(), String>;

/// What a file is held against.
#[derive(Clone, Debug, Default)]
pub struct HostFacts {
    /// CPUs that are online, by number.
    pub cpus_online: BTreeSet<u32>,
    /// The threads of each core that is online; a CPU that is in none is a core by itself.
    pub cores: Vec<BTreeSet<u32>>,
    /// Bytes of memory.
    pub memory: u64,
    /// Memory nodes that are online, where they are known.
    pub memory_nodes: Option<BTreeSet<u32>>,
    /// The sizes of huge pages, where they are known.
    pub huge_pages: Option<BTreeSet<u64>>,
    /// How many microseconds of each second are left for real-time tasks of the stack with this name; `None` where there is
    /// no bound.
    pub real_time: Option<fn(&str) -> Option<u64>>,
    /// Looks at the path of a block device.
    pub block: Option<fn(&str) -> Block>,
    /// Looks at the path of an item of `devices`: why it is none.
    pub device: Option<Look<str>>,
    /// Looks for devices that their vendor has described: why they cannot be had.
    pub described: Option<Look<DeviceRequest>>,
    /// Why the kernel has no IPv6, where it has none.
    pub no_ipv6: Option<String>,
    /// What it lacks to limit memory or to hold processes, in words; empty where it can do both.
    pub lacks: Vec<Lacking>,
    /// Its network interfaces, but those of stacks, where they are known.
    pub interfaces: Option<BTreeSet<String>>,
    /// The addresses that it has, where they are known.
    pub addresses: Option<fn() -> Option<BTreeSet<IpAddr>>>,
    /// The narrowest route by somebody else of which a subnet is a part.
    pub route: Option<fn(IpNet) -> Option<IpNet>>,
    /// The networks that a stack can join, where they are known.
    pub networks: Option<fn() -> Option<BTreeSet<String>>>,
    /// The volumes that there are, where they are known.
    pub volumes: Option<BTreeSet<String>>,
}

/// What is at the path of a block device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Block {
    /// A disk, by its major and minor number.
    Disk(u32, u32),
    /// A part of the disk at this path.
    Partition(String),
    /// Something else or nothing, and why.
    None(String),
}

impl Default for LoadOptions {
    /// The files of the root folder, to be shown, with an empty environment.
    fn default() -> Self {
        Self {
            files: Vec::new(),
            stdin: None,
            project_name: None,
            project_directory: None,
            env_files: Vec::new(),
            profiles: Vec::new(),
            services: Vec::new(),
            enabled: Vec::new(),
            interpolate: true,
            normalize: true,
            resolve_paths: true,
            check_consistency: true,
            resolve_environment: true,
            all_resources: false,
            strict: false,
            current_dir: PathBuf::from("/"),
            environment: BTreeMap::new(),
            home: None,
            purpose: Purpose::Config,
            host: None,
        }
    }
}
