//! What the decoder makes: the file's own terms, typed, with places for the checks.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use indexmap::IndexMap;

use crate::model::{Condition, Rootfs};
use crate::source::Span;
use crate::yaml::Node;

/// A value with its place.
#[derive(Clone, Debug)]
pub(crate) struct At<T> {
    pub value: T,
    pub span: Span,
}

/// Keys that begin with `x-`, as written.
pub(crate) type Extensions = IndexMap<String, Node>;

#[derive(Debug, Default)]
pub(crate) struct Project {
    pub name: String,
    pub services: BTreeMap<String, Service>,
    pub volumes: BTreeMap<String, Volume>,
    /// `x-resources`.
    pub resources: Limits,
    pub extensions: Extensions,
}

#[derive(Debug)]
pub(crate) struct Volume {
    /// With the place of `name`, or of its key.
    pub name: At<String>,
    pub external: bool,
    pub labels: BTreeMap<String, String>,
    pub extensions: Extensions,
}

#[derive(Debug)]
pub(crate) struct Service {
    /// The place of its key.
    pub key: Span,
    /// `extends` or `provider` was given: not supported, but a reason to miss neither image nor command.
    pub borrows: bool,
    pub attach: Option<bool>,
    pub build: Option<At<Build>>,
    pub command: Option<At<Vec<String>>>,
    pub container_name: Option<At<String>>,
    pub depends_on: BTreeMap<String, Dependency>,
    pub deploy: Option<Deploy>,
    pub domainname: Option<String>,
    pub entrypoint: Option<At<Vec<String>>>,
    pub environment: BTreeMap<String, Option<String>>,
    pub healthcheck: Option<Healthcheck>,
    pub hostname: Option<String>,
    pub image: Option<At<String>>,
    pub init: Option<bool>,
    pub labels: BTreeMap<String, String>,
    pub limits: Limits,
    pub networks: ServiceNetworks,
    pub read_only: bool,
    pub restart: Option<At<String>>,
    pub rootfs: Option<At<Rootfs>>,
    pub scale: Option<At<u32>>,
    pub stdin_open: bool,
    pub stop_grace_period: Option<Duration>,
    pub stop_signal: Option<At<(String, i32)>>,
    pub tmpfs: Vec<At<Tmpfs>>,
    pub tty: bool,
    pub user: Option<At<String>>,
    pub volumes: Vec<At<Mount>>,
    pub working_dir: Option<String>,
    pub extensions: Extensions,
}

/// `networks` of a service: only the default network is there.
#[derive(Debug, Default)]
pub(crate) struct ServiceNetworks {
    pub aliases: Vec<String>,
    /// `default: {}` was written, which `config` shows.
    pub explicit: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Build {
    pub context: Option<String>,
    pub dockerfile: Option<String>,
    pub dockerfile_inline: Option<String>,
    pub args: BTreeMap<String, Option<String>>,
    pub labels: BTreeMap<String, String>,
    pub target: Option<String>,
    pub extensions: Extensions,
}

#[derive(Debug, Default)]
pub(crate) struct Deploy {
    pub replicas: Option<At<u32>>,
    pub limits: Limits,
    pub has_resources: bool,
    pub extensions: Extensions,
}

/// Limits in the place where they were given: beside the service, under `deploy`, or as `x-resources`.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    pub cpus: Option<At<f64>>,
    pub cpu_shares: Option<At<u64>>,
    pub cpuset: Option<At<BTreeSet<u32>>>,
    pub memory: Option<At<u64>>,
    pub reservation: Option<At<u64>>,
    /// Read and shown; as in Docker outside a swarm nothing follows from it.
    pub reserved_cpus: Option<At<f64>>,
    pub swap: Option<At<i64>>,
    pub pids: Option<At<i64>>,
}

#[derive(Debug)]
pub(crate) struct Dependency {
    pub key: Span,
    pub condition: Condition,
    pub required: bool,
    pub restart: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Healthcheck {
    /// As written: `["CMD", …]`, `["CMD-SHELL", …]` or `["NONE"]`.
    pub test: Option<Vec<String>>,
    pub disable: bool,
    pub interval: Option<Duration>,
    pub timeout: Option<Duration>,
    pub retries: Option<u32>,
    pub start_period: Option<Duration>,
    pub start_interval: Option<Duration>,
    pub extensions: Extensions,
}

#[derive(Clone, Debug)]
pub(crate) struct Tmpfs {
    /// As written.
    pub text: String,
    pub target: String,
    pub read_only: bool,
    pub size: Option<u64>,
    pub mode: Option<u32>,
}

#[derive(Debug)]
pub(crate) struct Mount {
    pub target: String,
    pub read_only: bool,
    pub kind: MountKind,
    pub extensions: Extensions,
}

#[derive(Debug)]
pub(crate) enum MountKind {
    Bind { source: PathBuf, create_host_path: bool, selinux: Option<char>, options: bool },
    Volume { source: Option<String>, nocopy: bool, options: bool },
    Tmpfs { size: Option<u64>, mode: Option<u32>, options: bool },
}

impl Service {
    /// Replicas of both ways to say it.
    pub fn replicas(&self) -> Option<&At<u32>> {
        self.scale.as_ref().or_else(|| self.deploy.as_ref()?.replicas.as_ref())
    }

    /// A limit of either place, the service's own first.
    pub fn limit<T>(&self, field: impl Fn(&Limits) -> Option<&At<T>>) -> Option<&At<T>> {
        field(&self.limits).or_else(|| field(&self.deploy.as_ref()?.limits))
    }
}
