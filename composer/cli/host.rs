//! What a file is held against: the host's CPUs, memory and networks.

use std::collections::BTreeSet;

use composer_stack::{HostFacts, Lacking};
use composer_supervisor::host::{cdi, cpus, disks, host_memory, networks, nodes, volumes};

/// Asks the kernel; `None` where /proc or /sys does not tell, and then limits are not checked against the host.
pub fn facts() -> Option<HostFacts> {
    Some(HostFacts {
        cpus_online: cpus::online()?,
        cores: cpus::cores(),
        memory: host_memory()?,
        memory_nodes: std::fs::read_to_string("/sys/devices/system/node/online")
            .ok()
            .and_then(|nodes| cpus::list(&nodes)),
        huge_pages: Some(huge_pages()),
        real_time: Some(composer_supervisor::host::real_time_left),
        block: Some(disks::look),
        device: Some(nodes::look),
        described: Some(cdi::look),
        no_ipv6: networks::has_ipv6().err().map(str::to_owned),
        lacks: lacking(),
        interfaces: interfaces(),
        addresses: Some(|| networks::addresses_of_host().ok()),
        route: Some(networks::route_around),
        networks: Some(networks::known),
        volumes: volumes::known(),
    })
}

/// What is said where control groups cannot be looked at is for `up` to say.
fn lacking() -> Vec<Lacking> {
    let (memory, freezer) = composer_supervisor::host::memory_and_freezer().unwrap_or((true, true));
    let lacks = [(Lacking::Memory, memory), (Lacking::Freezer, freezer)];
    lacks.into_iter().filter(|(_, has)| !has).map(|(what, _)| what).collect()
}

/// The names of those that stacks have not made (proc_pid_net(5)): /sys has those of the namespace that it was mounted in.
fn interfaces() -> Option<BTreeSet<String>> {
    let devices = std::fs::read_to_string("/proc/self/net/dev").ok()?;
    let names = devices.lines().filter_map(|line| Some(line.split_once(':')?.0.trim().to_owned()));
    Some(names.filter(|name| !networks::is_ours(name)).collect())
}

/// The sizes of huge pages, in bytes: `hugepages-2048kB` (hugetlbpage.rst).
fn huge_pages() -> BTreeSet<u64> {
    let folders = std::fs::read_dir("/sys/kernel/mm/hugepages").into_iter().flatten().flatten();
    let sizes = folders.filter_map(|folder| {
        let name = folder.file_name().into_string().ok()?;
        let kibibytes: u64 = name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
        Some(kibibytes << 10)
    });
    sizes.collect()
}
