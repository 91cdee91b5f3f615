//! Canonical tree to [`Stack`]: places are dropped, defaults filled in, both ways to give a limit made one.

mod graph;
mod health;
mod image;
mod isolation;
pub(crate) mod mounts;
mod network;
mod oom;
mod ports;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::contents::Contents;
use crate::limits::{self, IoKind, Limits};
use crate::model::{
    AfterSync, BlockIo, Condition, Dependency, DeviceIo, Hook, PreStart, Resources, Rootfs, Run, Service,
    Stack, Trigger, TriggerAction,
};
use crate::yaml::Node;
use crate::{cpuset, logging, restart, signal, values};

pub(crate) use graph::graph;
pub use network::PREDEFINED_NETWORKS;
pub(crate) use network::{external_name, network, predefined};
pub(crate) use ports::published;

/// The stack of what can be run: services with a root filesystem.
pub(crate) fn stack(
    root: &Node,
    name: String,
    directory: PathBuf,
    files: Vec<PathBuf>,
    contents: Contents,
) -> Stack {
    let section = |key: &str| root.get(key).into_iter().flat_map(Node::entries);
    let services = section("services").filter_map(|(name, entry)| {
        let own = entry.node.get("x-rootfs").and_then(rootfs);
        let rootfs = own.or_else(|| image::source(&entry.node))?;
        Some((name.clone(), service((root, name), &entry.node, rootfs, &directory, &contents)))
    });
    let volumes =
        section("volumes").map(|(key, entry)| (key.clone(), mounts::volume(&name, key, &entry.node)));
    let mut services: BTreeMap<String, Service> = services.collect();
    let limits = root.get("x-resources").and_then(|resources| resources.get("limits"));
    let networks = network::used(root, &name, &services);
    services.values_mut().for_each(|service| network::bind(service, &networks));
    Stack {
        resources: resources(&Limits::of_stack(root)),
        networks,
        bandwidth: network::bandwidth(limits.and_then(|limits| limits.get("bandwidth"))),
        victim: oom::victim(root),
        services,
        volumes: volumes.collect(),
        contents: contents.into_contents(),
        name,
        directory,
        files,
    }
}

fn rootfs(node: &Node) -> Option<Rootfs> {
    match node.text_value()? {
        "" => None,
        "host" => Some(Rootfs::Host),
        path => Some(Rootfs::Path(path.into())),
    }
}

fn service(
    (root, name): (&Node, &str),
    node: &Node,
    rootfs: Rootfs,
    folder: &Path,
    contents: &Contents,
) -> Service {
    let words = |key: &str| node.get(key).and_then(values::texts);
    let flag = |key: &str| values::flag(node.get(key));
    let text = |key: &str| values::text(node.get(key)).filter(|text| !text.is_empty());
    let replicas = limits::replicas(node).map_or(1, |at| at.value);
    let stop_signal = node.get("stop_signal").and_then(values::scalar);
    Service {
        name: name.to_owned(),
        rootfs,
        entrypoint: words("entrypoint"),
        command: words("command"),
        environment: environment(node),
        working_dir: text("working_dir"),
        user: text("user"),
        hostname: text("hostname"),
        domainname: text("domainname"),
        labels: pairs(node.get("labels")),
        container_name: text("container_name"),
        replicas: u32::try_from(replicas.clamp(0, limits::MOST_REPLICAS)).unwrap_or_default(),
        stop_signal: stop_signal.and_then(|text| signal::parse(&text)).unwrap_or(signal::TERM),
        stop_grace_period: node.get("stop_grace_period").and_then(values::time),
        network: network::mode(node, root),
        ports: ports::of_service(node),
        expose: words("expose").unwrap_or_default(),
        links: network::links(node),
        external_links: network::external_links(node),
        dns: network::servers(node),
        dns_search: words("dns_search").unwrap_or_default(),
        dns_opt: words("dns_opt").unwrap_or_default(),
        extra_hosts: network::hosts(node),
        mac_address: network::mac(node),
        sysctls: pairs(node.get("sysctls")),
        bandwidth: network::bandwidth(node.get("x-bandwidth")),
        mounts: mounts::all(root, node),
        volumes_from: mounts::containers(node),
        secrets: mounts::files(node, "secrets", "/run/secrets/", contents),
        configs: mounts::files(node, "configs", "/", contents),
        init: flag("init"),
        tty: flag("tty"),
        stdin_open: flag("stdin_open"),
        read_only: flag("read_only"),
        depends_on: dependencies(node),
        healthcheck: health::check(node),
        pre_start: hooks(node, "pre_start").map(|step| pre_start(node, step)).collect(),
        post_start: hooks(node, "post_start").map(hook).collect(),
        pre_stop: hooks(node, "pre_stop").map(hook).collect(),
        resources: resources(&Limits::of_service(node)),
        oom: oom::of_service(root, node),
        logging: node.get("logging").map(logging::lower).unwrap_or_default(),
        attach: node.get("attach").and_then(Node::bool_value).unwrap_or(true),
        run: match node.get("x-run").and_then(Node::text_value) {
            Some("once") => Run::Once,
            Some(_) | None => Run::Always,
        },
        restart: restart::of_service(node).map(|at| at.value).unwrap_or_default(),
        watch: triggers(node),
        isolation: isolation::isolation(node, folder),
    }
}

/// A key without a value, as the caller's environment left it, is absent.
fn environment(node: &Node) -> BTreeMap<String, String> {
    let pairs = node.get("environment").into_iter().flat_map(Node::entries);
    pairs.filter_map(|(key, entry)| Some((key.clone(), values::scalar(&entry.node)?))).collect()
}

/// Labels: a missing value is an empty one.
fn pairs(node: Option<&Node>) -> BTreeMap<String, String> {
    let pairs = node.into_iter().flat_map(Node::entries);
    pairs.map(|(key, entry)| (key.clone(), values::scalar(&entry.node).unwrap_or_default())).collect()
}

fn dependencies(node: &Node) -> BTreeMap<String, Dependency> {
    let entries = node.get("depends_on").into_iter().flat_map(Node::entries);
    let dependencies = entries.map(|(name, entry)| {
        let condition = match entry.node.get("condition").and_then(Node::text_value) {
            Some("service_healthy") => Condition::Healthy,
            Some("service_completed_successfully") => Condition::CompletedSuccessfully,
            Some(_) | None => Condition::Started,
        };
        let required = entry.node.get("required").and_then(Node::bool_value).unwrap_or(true);
        let restart = values::flag(entry.node.get("restart"));
        (name.clone(), Dependency { condition, required, restart })
    });
    dependencies.collect()
}

fn resources(limits: &Limits) -> Resources {
    Resources {
        cpus: limits.cpus.map(|at| at.value),
        cpu_shares: limits.cpu_shares.and_then(|at| u64::try_from(at.value).ok()),
        cpu_reserved: limits.reserved_cpus.map(|at| at.value),
        cpuset: limits.cpuset.as_ref().map(|at| cpuset::show(&at.value)),
        memory: limits.memory.and_then(|at| u64::try_from(at.value).ok()),
        memory_reservation: limits.reservation.and_then(|at| u64::try_from(at.value).ok()),
        memory_swap: limits.swap.map(|at| at.value),
        pids: limits.pids.map(|at| at.value),
        cpu_quota: limits.cpu_quota.map(|at| at.value),
        cpu_period: limits.cpu_period.and_then(|at| u64::try_from(at.value).ok()),
        cpu_burst: limits.cpu_burst.and_then(|at| u64::try_from(at.value).ok()),
        memory_high: limits.high.and_then(|at| u64::try_from(at.value).ok()),
        swappiness: limits.swappiness.and_then(|at| u64::try_from(at.value).ok()),
        oom_kill_disable: limits.oom_kill_disable,
        cpu_idle: limits.cpu_idle.is_some(),
        cpu_rt_runtime: limits.rt_runtime.and_then(|at| u64::try_from(at.value).ok()),
        cpu_rt_period: limits.rt_period.and_then(|at| u64::try_from(at.value).ok()),
        cpuset_mems: limits.mems.as_ref().map(|at| cpuset::show(&at.value)),
        cpus_exclusive: limits.exclusive.and_then(|at| u32::try_from(at.value).ok()),
        io: block_io(limits),
        hugetlb: limits
            .hugetlb
            .iter()
            .filter_map(|limit| Some((limit.size()?, u64::try_from(limit.bytes.value).ok()?)))
            .collect(),
    }
}

fn block_io(limits: &Limits) -> BlockIo {
    let weight = |value: i64| u16::try_from(value).ok();
    let mut devices: Vec<DeviceIo> = Vec::new();
    for limit in &limits.io {
        let path = Path::new(&limit.path.value);
        let place = devices.iter().position(|device| device.path == path).unwrap_or_else(|| {
            devices.push(DeviceIo { path: path.to_owned(), ..DeviceIo::default() });
            devices.len() - 1
        });
        let (device, rate) = (&mut devices[place], u64::try_from(limit.value.value).ok());
        match limit.kind {
            IoKind::Weight => device.weight = weight(limit.value.value),
            IoKind::ReadBps => device.read_bps = rate,
            IoKind::WriteBps => device.write_bps = rate,
            IoKind::ReadIops => device.read_iops = rate,
            IoKind::WriteIops => device.write_iops = rate,
        }
    }
    BlockIo { weight: limits.io_weight.and_then(|at| weight(at.value)), devices }
}

fn hooks<'a>(service: &'a Node, key: &str) -> impl Iterator<Item = &'a Node> + use<'a> {
    service.get(key).map(Node::items).unwrap_or_default().iter()
}

fn hook(node: &Node) -> Hook {
    let text = |key: &str| values::text(node.get(key)).filter(|text| !text.is_empty());
    Hook {
        command: node.get("command").and_then(values::texts).unwrap_or_default(),
        user: text("user"),
        privileged: values::flag(node.get("privileged")),
        working_dir: text("working_dir"),
        environment: environment(node),
    }
}

fn pre_start(service: &Node, node: &Node) -> PreStart {
    let text = |node: &Node, key: &str| values::text(node.get(key)).filter(|text| !text.is_empty());
    PreStart {
        hook: hook(node),
        per_replica: values::flag(node.get("per_replica")),
        image: text(node, "image").map(|image| image::other(&image, text(service, "platform"))),
    }
}

fn triggers(service: &Node) -> Vec<Trigger> {
    let list = service.get("develop").and_then(|develop| develop.get("watch"));
    list.map(Node::items).unwrap_or_default().iter().filter_map(trigger).collect()
}

fn trigger(node: &Node) -> Option<Trigger> {
    let patterns = |key: &str| node.get(key).and_then(values::texts).unwrap_or_default();
    let sync = |then: AfterSync| {
        let target = values::text(node.get("target"))?;
        Some(TriggerAction::Sync { target, initial: values::flag(node.get("initial_sync")), then })
    };
    let action = match node.get("action")?.text_value()? {
        "rebuild" => TriggerAction::Rebuild,
        "restart" => TriggerAction::Restart,
        "sync" => sync(AfterSync::Nothing)?,
        "sync+restart" => sync(AfterSync::Restart)?,
        "sync+exec" => sync(AfterSync::Exec(node.get("exec").map(hook).unwrap_or_default()))?,
        _ => return None,
    };
    Some(Trigger {
        path: node.get("path")?.text_value()?.into(),
        action,
        include: patterns("include"),
        ignore: patterns("ignore"),
    })
}

#[cfg(test)]
mod tests;
