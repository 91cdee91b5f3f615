//! What separates a container's programs from the host, as the sandbox and the control groups have it.

mod described;
mod devices;
mod joined;
mod limits;

use std::path::PathBuf;

use composer_cgroup::DeviceRule;
use composer_sandbox::{
    Confinement, DeviceSpec, IsolationSpec, LimitSpec, NamespaceSpec, ProcessSpec, SeccompProfile, ShmSpec,
};
use composer_stack::{Mount, MountKind, Namespace, NetworkMode, Seccomp, Service};

pub use described::add as add_described;

use super::Engine;
use super::group::limits_in_force;
use super::start::{Result, StartError};
use crate::host::cdi::Edits;
use crate::host::nodes;

/// Docker's default size of /dev/shm, in bytes.
const SHM: u64 = 64 << 20;

/// A program of a service: what it is, with what the service says of all its programs.
pub fn process(service: &Service, argv: Vec<String>, env: Vec<(String, String)>) -> ProcessSpec {
    let isolation = &service.isolation;
    let limits = isolation.ulimits.iter().map(|(name, limit)| LimitSpec {
        name: name.clone(),
        soft: limit.soft,
        hard: limit.hard,
    });
    ProcessSpec {
        argv,
        env,
        cwd: service.working_dir.clone(),
        user: service.user.clone(),
        terminal: false,
        terminal_size: None,
        confinement: confinement(service),
        groups: isolation.group_add.clone(),
        limits: limits.collect(),
        oom_score_adj: isolation.oom_score_adj,
    }
}

fn confinement(service: &Service) -> Confinement {
    let isolation = &service.isolation;
    let security = &isolation.security_opt;
    Confinement {
        privileged: isolation.privileged,
        cap_add: isolation.cap_add.clone(),
        cap_drop: isolation.cap_drop.clone(),
        no_new_privileges: security.no_new_privileges,
        seccomp: match &security.seccomp {
            // As in Docker: who is privileged has all calls, unless a profile is named.
            Seccomp::Default if isolation.privileged => SeccompProfile::Unconfined,
            Seccomp::Default | Seccomp::Builtin => SeccompProfile::Default,
            Seccomp::Unconfined => SeccompProfile::Unconfined,
            Seccomp::Profile(text) => SeccompProfile::Custom(text.clone()),
        },
        unmasked: security.unmasked,
    }
}

/// Whether the container's control group limits devices. Where nothing is asked, mounts do it: no device node works
/// but the few that every container has, and whoever cannot mount cannot undo that. What is mounted of the host's /dev
/// are its nodes, of which those work that `devices` names, as in Docker.
pub fn limits_devices(service: &Service) -> bool {
    let isolation = &service.isolation;
    let mounts = |name: &String| name == "SYS_ADMIN" || name == "ALL";
    let is_of_dev = |mount: &Mount| match &mount.kind {
        MountKind::Bind { source, .. } => source.starts_with("/dev"),
        _ => false,
    };
    !isolation.privileged
        && (!isolation.devices.is_empty()
            || !isolation.device_requests.is_empty()
            || !isolation.device_cgroup_rules.is_empty()
            || isolation.cap_add.iter().any(mounts)
            || service.mounts.iter().any(is_of_dev))
}

/// The devices of a container: their nodes, and what its control group lets through where it limits them.
#[derive(Debug, Default)]
pub struct Devices {
    pub nodes: Vec<DeviceSpec>,
    pub rules: Option<Vec<DeviceRule>>,
    /// What else comes with those that their vendors describe.
    pub edits: Edits,
}

/// Looks at the host's devices that a service has.
pub fn devices(service: &Service) -> Result<Devices> {
    let edits = described::edits(service)?;
    if service.isolation.privileged {
        let nodes = nodes::all().map_err(|error| StartError::doing("look at the host's devices", &error))?;
        return Ok(Devices { nodes, rules: None, edits });
    }
    devices::asked(service, edits, limits_devices(service))
}

/// What separates a container from the host, with these device nodes.
pub fn spec(service: &Service, devices: Vec<DeviceSpec>) -> IsolationSpec {
    let isolation = &service.isolation;
    let sysctls = service.sysctls.iter().filter(|(key, _)| !is_of_network(key));
    IsolationSpec {
        pid: namespace(&isolation.pid),
        ipc: namespace(&isolation.ipc),
        host_uts: isolation.uts,
        host_cgroups: isolation.cgroup,
        shm: match isolation.ipc {
            Namespace::None => ShmSpec::None,
            _ => ShmSpec::Bytes(isolation.shm_size.unwrap_or(SHM)),
        },
        devices,
        open_nodes: isolation.privileged || limits_devices(service),
        sysctls: sysctls.map(|(key, value)| (key.clone(), value.clone())).collect(),
    }
}

impl Engine {
    /// cgroup v1: the files by which a container's programs join its group in each hierarchy.
    pub(super) fn tasks_files(&self, name: &str, service: &Service) -> Vec<PathBuf> {
        let group = self.container_group(name);
        let mut files = group.tasks_files();
        files.extend(group.on_demand_files(&limits_in_force(&service.resources)));
        files.extend(limits_devices(service).then(|| group.devices_file()).flatten());
        files
    }
}

/// Whether a kernel parameter is of the network namespace.
pub fn is_of_network(key: &str) -> bool {
    key.starts_with("net.") || key.starts_with("net/")
}

fn namespace(namespace: &Namespace) -> NamespaceSpec {
    match namespace {
        Namespace::Own | Namespace::None => NamespaceSpec::Own,
        Namespace::Host => NamespaceSpec::Host,
        Namespace::Service(_) | Namespace::Container(_) => NamespaceSpec::Joined,
    }
}

/// The mode of a network by which another's namespace is found.
fn as_network(namespace: &Namespace) -> NetworkMode {
    match namespace {
        Namespace::Own | Namespace::None => NetworkMode::None,
        Namespace::Host => NetworkMode::Host,
        Namespace::Service(name) => NetworkMode::Service(name.clone()),
        Namespace::Container(name) => NetworkMode::Container(name.clone()),
    }
}
