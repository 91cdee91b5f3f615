//! Decoded project to [`Stack`]: places are dropped, defaults filled in, both ways to give a limit made one.

use std::path::PathBuf;
use std::time::Duration;

use crate::cpuset;
use crate::decode::project::{self, At, Limits, MountKind as Kind, Project};
use crate::model::{Dependency, Healthcheck, Mount, MountKind, Resources, Rootfs, Service, Stack, Volume};
use crate::signal;

/// The stack of what can be run: services with a root filesystem.
pub(crate) fn stack(project: &Project, directory: PathBuf, files: Vec<PathBuf>) -> Stack {
    let services = project.services.iter().filter_map(|(name, decoded)| {
        let rootfs = decoded.rootfs.as_ref()?.value.clone();
        Some((name.clone(), service(name, decoded, rootfs)))
    });
    let volumes = project.volumes.iter().map(|(key, volume)| {
        let project::Volume { name, external, labels, .. } = volume;
        (key.clone(), Volume { name: name.value.clone(), external: *external, labels: labels.clone() })
    });
    Stack {
        name: project.name.clone(),
        directory,
        files,
        resources: resources(&project.resources, None),
        services: services.collect(),
        volumes: volumes.collect(),
    }
}

fn service(name: &str, decoded: &project::Service, rootfs: Rootfs) -> Service {
    let words = |at: &Option<At<Vec<String>>>| at.as_ref().map(|at| at.value.clone());
    let environment = decoded.environment.iter();
    let depends_on = decoded.depends_on.iter().map(|(name, dependency)| {
        let project::Dependency { condition, required, restart, .. } = *dependency;
        (name.clone(), Dependency { condition, required, restart })
    });
    Service {
        name: name.to_owned(),
        rootfs,
        entrypoint: words(&decoded.entrypoint),
        command: words(&decoded.command),
        environment: environment.filter_map(|(key, value)| Some((key.clone(), value.clone()?))).collect(),
        working_dir: decoded.working_dir.clone(),
        user: decoded.user.as_ref().map(|at| at.value.clone()),
        hostname: decoded.hostname.clone(),
        domainname: decoded.domainname.clone(),
        labels: decoded.labels.clone(),
        container_name: decoded.container_name.as_ref().map(|at| at.value.clone()),
        replicas: decoded.replicas().map_or(1, |at| at.value),
        stop_signal: decoded.stop_signal.as_ref().map_or(signal::TERM, |at| at.value.1),
        stop_grace_period: decoded.stop_grace_period,
        aliases: decoded.networks.aliases.iter().cloned().collect(),
        mounts: mounts(decoded),
        init: decoded.init.unwrap_or(false),
        tty: decoded.tty,
        stdin_open: decoded.stdin_open,
        read_only: decoded.read_only,
        depends_on: depends_on.collect(),
        healthcheck: decoded.healthcheck.as_ref().and_then(healthcheck),
        resources: resources(&decoded.limits, decoded.deploy.as_ref().map(|deploy| &deploy.limits)),
        attach: decoded.attach.unwrap_or(true),
    }
}

/// The limits of `first`, else of `second`. Zero means "no limit" to Compose, as an absent limit does here.
fn resources(first: &Limits, second: Option<&Limits>) -> Resources {
    fn pick<'a, T>(
        first: &'a Limits,
        second: Option<&'a Limits>,
        field: impl Fn(&'a Limits) -> &'a Option<At<T>>,
    ) -> Option<&'a T> {
        field(first).as_ref().or_else(|| field(second?).as_ref()).map(|at| &at.value)
    }
    Resources {
        cpus: pick(first, second, |limits| &limits.cpus).copied().filter(|cpus| *cpus > 0.0),
        cpu_shares: pick(first, second, |limits| &limits.cpu_shares).copied().filter(|shares| *shares > 0),
        cpuset: pick(first, second, |limits| &limits.cpuset).map(cpuset::show),
        memory: pick(first, second, |limits| &limits.memory).copied().filter(|memory| *memory > 0),
        memory_reservation: pick(first, second, |limits| &limits.reservation)
            .copied()
            .filter(|memory| *memory > 0),
        memory_swap: pick(first, second, |limits| &limits.swap).copied().filter(|swap| *swap != 0),
        pids: pick(first, second, |limits| &limits.pids).copied().filter(|pids| *pids != 0),
    }
}

fn mounts(decoded: &project::Service) -> Vec<Mount> {
    let volumes = decoded.volumes.iter().map(|At { value: mount, .. }| {
        let kind = match &mount.kind {
            Kind::Bind { source, create_host_path, .. } => {
                MountKind::Bind { source: source.clone(), create_host_path: *create_host_path }
            }
            Kind::Volume { source: Some(source), .. } => MountKind::Volume { source: source.clone() },
            Kind::Volume { source: None, .. } => MountKind::Anonymous,
            Kind::Tmpfs { size, mode, .. } => MountKind::Tmpfs { size: *size, mode: *mode },
        };
        Mount { target: mount.target.clone(), read_only: mount.read_only, kind }
    });
    let tmpfs = decoded.tmpfs.iter().map(|At { value, .. }| Mount {
        target: value.target.clone(),
        read_only: value.read_only,
        kind: MountKind::Tmpfs { size: value.size, mode: value.mode },
    });
    volumes.chain(tmpfs).collect()
}

/// Docker's defaults; zero means the default as well.
fn healthcheck(decoded: &project::Healthcheck) -> Option<Healthcheck> {
    let words = decoded.test.as_ref().filter(|_| !decoded.disable)?;
    let test = match words.split_first() {
        Some((kind, rest)) if kind == "CMD" => rest.to_vec(),
        Some((kind, rest)) if kind == "CMD-SHELL" => {
            ["/bin/sh", "-c"].into_iter().map(str::to_owned).chain(rest.iter().cloned()).collect()
        }
        Some(_) | None => return None,
    };
    let or = |value: Option<Duration>, default: u64| {
        value.filter(|value| !value.is_zero()).unwrap_or(Duration::from_secs(default))
    };
    Some(Healthcheck {
        test,
        interval: or(decoded.interval, 30),
        timeout: or(decoded.timeout, 30),
        retries: decoded.retries.filter(|retries| *retries > 0).unwrap_or(3),
        start_period: decoded.start_period.unwrap_or_default(),
        start_interval: decoded.start_interval.filter(|interval| !interval.is_zero()),
    })
}
