//! Limits and reservations as the file gives them: beside a service, under its `deploy`, or as `x-resources`.

use std::collections::BTreeSet;

use crate::cpuset;
use crate::model::{DeviceIo, Resources};
use crate::size;
use crate::source::Span;
use crate::values::{self, At};
use crate::yaml::Node;

/// So many containers of one service are the most that are run.
pub const MOST_REPLICAS: i64 = 10_000;

/// PID_MAX_LIMIT of linux/threads.h: the kernel's pids.max takes no more on a 64-bit machine.
pub const MOST_PIDS: i64 = 4 << 20;

/// What was given in one place; zero, which is no limit, is left out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Limits {
    pub cpus: Option<At<f64>>,
    pub cpu_shares: Option<At<i64>>,
    pub cpuset: Option<At<BTreeSet<u32>>>,
    pub memory: Option<At<i64>>,
    pub reservation: Option<At<i64>>,
    pub swap: Option<At<i64>>,
    pub pids: Option<At<i64>>,
    pub cpu_quota: Option<At<i64>>,
    pub cpu_period: Option<At<i64>>,
    pub cpu_burst: Option<At<i64>>,
    pub high: Option<At<i64>>,
    /// Of /dev/shm.
    pub shm: Option<At<i64>>,
    pub swappiness: Option<At<i64>>,
    pub oom_kill_disable: bool,
    /// CPU time that is reserved, of which the weight is made.
    pub reserved_cpus: Option<At<f64>>,
    pub cpu_idle: Option<At<bool>>,
    pub rt_runtime: Option<At<i64>>,
    pub rt_period: Option<At<i64>>,
    pub mems: Option<At<BTreeSet<u32>>>,
    pub exclusive: Option<At<i64>>,
    pub io_weight: Option<At<i64>>,
    pub io: Vec<IoLimit>,
    pub hugetlb: Vec<HugeLimit>,
}

/// A weight or a rate of a block device.
#[derive(Clone, Debug)]
pub(crate) struct IoLimit {
    pub kind: IoKind,
    pub path: At<String>,
    pub value: At<i64>,
}

/// What of a block device is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IoKind {
    Weight,
    ReadBps,
    WriteBps,
    ReadIops,
    WriteIops,
}

impl IoKind {
    /// With the lists' keys and those of the values.
    pub const ALL: [(Self, &str, &str); 5] = [
        (Self::Weight, "weight_device", "weight"),
        (Self::ReadBps, "device_read_bps", "rate"),
        (Self::WriteBps, "device_write_bps", "rate"),
        (Self::ReadIops, "device_read_iops", "rate"),
        (Self::WriteIops, "device_write_iops", "rate"),
    ];
}

impl IoLimit {
    /// All that are set for one device.
    fn of(device: &DeviceIo) -> impl Iterator<Item = Self> {
        let DeviceIo { path, weight, read_bps, write_bps, read_iops, write_iops } = device;
        let values = [
            (IoKind::Weight, weight.map(u64::from)),
            (IoKind::ReadBps, *read_bps),
            (IoKind::WriteBps, *write_bps),
            (IoKind::ReadIops, *read_iops),
            (IoKind::WriteIops, *write_iops),
        ];
        values.into_iter().filter_map(|(kind, value)| {
            let path = At { value: path.to_string_lossy().into_owned(), span: Span::NOWHERE };
            Some(Self { kind, path, value: At::nowhere(value?) })
        })
    }
}

/// How much there may be of huge pages of one size.
#[derive(Clone, Debug)]
pub(crate) struct HugeLimit {
    /// As it was given.
    pub size: At<String>,
    pub bytes: At<i64>,
}

impl HugeLimit {
    /// The size of a page in bytes, where it is one.
    pub fn size(&self) -> Option<u64> {
        size::parse(&self.size.value).filter(|size| *size > 0)
    }
}

impl Limits {
    /// Beside a service's other keys.
    pub fn beside(service: &Node) -> Self {
        Self {
            cpus: number(service.get("cpus")),
            cpu_shares: whole(service.get("cpu_shares")),
            cpuset: cpus(service.get("cpuset")),
            memory: positive(service.get("mem_limit")),
            reservation: positive(service.get("mem_reservation")),
            swap: whole(service.get("memswap_limit")),
            pids: whole(service.get("pids_limit")),
            cpu_quota: whole(service.get("cpu_quota")),
            cpu_period: positive(service.get("cpu_period")),
            cpu_burst: positive(service.get("x-cpu-burst")),
            high: positive(service.get("x-mem-high")),
            shm: positive(service.get("shm_size")),
            // Zero is a value of it, and -1 leaves the host's.
            swappiness: any(service.get("mem_swappiness")).filter(|at| at.value >= 0),
            oom_kill_disable: values::flag(service.get("oom_kill_disable")),
            reserved_cpus: None,
            cpu_idle: service
                .get("x-cpu-idle")
                .map(|node| At::new(node, node.bool_value().unwrap_or(false)))
                .filter(|at| at.value),
            rt_runtime: positive(service.get("cpu_rt_runtime")),
            rt_period: positive(service.get("cpu_rt_period")),
            mems: cpus(service.get("x-cpuset-mems")),
            exclusive: positive(service.get("x-cpus-exclusive")),
            io_weight: service.get("blkio_config").and_then(|io| whole(io.get("weight"))),
            io: io(service.get("blkio_config")),
            hugetlb: hugetlb(service.get("x-hugetlb")),
        }
    }

    /// Below `deploy`.
    pub fn deployed(service: &Node) -> Self {
        service
            .get("deploy")
            .and_then(|deploy| deploy.get("resources"))
            .map(Self::resources)
            .unwrap_or_default()
    }

    /// A service's, whichever place they were given in.
    pub fn of_service(service: &Node) -> Self {
        let (own, other) = (Self::beside(service), Self::deployed(service));
        Self {
            cpus: own.cpus.or(other.cpus),
            memory: own.memory.or(other.memory),
            reservation: own.reservation.or(other.reservation),
            pids: own.pids.or(other.pids),
            reserved_cpus: other.reserved_cpus,
            ..own
        }
    }

    /// Those that are in force or are to be, without places.
    pub fn of(resources: &Resources) -> Self {
        fn at<T>(value: T) -> At<T> {
            At { value, span: Span::NOWHERE }
        }
        let set = |list: &Option<String>| cpuset::parse(list.as_deref()?).map(at);
        let Resources { io, hugetlb, .. } = resources;
        Self {
            cpus: resources.cpus.map(at),
            cpu_shares: resources.cpu_shares.map(At::nowhere),
            cpuset: set(&resources.cpuset),
            memory: resources.memory.map(At::nowhere),
            // It is a container's, and does not change.
            shm: None,
            reservation: resources.memory_reservation.map(At::nowhere),
            swap: resources.memory_swap.map(at),
            pids: resources.pids.map(at),
            cpu_quota: resources.cpu_quota.map(at),
            cpu_period: resources.cpu_period.map(At::nowhere),
            cpu_burst: resources.cpu_burst.map(At::nowhere),
            high: resources.memory_high.map(At::nowhere),
            swappiness: resources.swappiness.map(At::nowhere),
            oom_kill_disable: resources.oom_kill_disable,
            reserved_cpus: resources.cpu_reserved.map(at),
            cpu_idle: Some(at(true)).filter(|_| resources.cpu_idle),
            rt_runtime: resources.cpu_rt_runtime.map(At::nowhere),
            rt_period: resources.cpu_rt_period.map(At::nowhere),
            mems: set(&resources.cpuset_mems),
            exclusive: resources.cpus_exclusive.map(|count| At::nowhere(count.into())),
            io_weight: io.weight.map(|weight| At::nowhere(weight.into())),
            io: io.devices.iter().flat_map(IoLimit::of).collect(),
            hugetlb: hugetlb
                .iter()
                .map(|(size, bytes)| HugeLimit { size: at(size.to_string()), bytes: At::nowhere(*bytes) })
                .collect(),
        }
    }

    /// CPU time in CPUs, in whichever words it was given.
    pub fn cpu_time(&self) -> Option<At<f64>> {
        let period = self.cpu_period.map_or(100_000, |at| at.value);
        #[expect(clippy::cast_precision_loss, reason = "microseconds that the kernel takes")]
        let by_quota = |at: At<i64>| At { value: at.value as f64 / period as f64, span: at.span };
        self.cpus.or_else(|| self.cpu_quota.filter(|at| at.value > 0).map(by_quota))
    }

    /// Those of the whole stack.
    pub fn of_stack(root: &Node) -> Self {
        root.get("x-resources").map(Self::resources).unwrap_or_default()
    }

    /// `limits` and `reservations`; cores, nodes, disks and huge pages are there for the whole stack alone.
    fn resources(node: &Node) -> Self {
        let limit = |key: &str| node.get("limits").and_then(|limits| limits.get(key));
        let reserved = |key: &str| node.get("reservations").and_then(|reserved| reserved.get(key));
        Self {
            cpus: number(limit("cpus")),
            cpuset: cpus(limit("cpuset")),
            memory: positive(limit("memory")),
            reservation: positive(reserved("memory")),
            pids: whole(limit("pids")),
            swap: together(limit("memory"), limit("swap")),
            reserved_cpus: number(reserved("cpus")),
            mems: cpus(limit("cpuset_mems")),
            io_weight: limit("io").and_then(|io| whole(io.get("weight"))),
            io: io(limit("io")),
            hugetlb: hugetlb(limit("hugetlb")),
            ..Self::default()
        }
    }
}

/// How many containers a service has, with the place where that is said.
pub(crate) fn replicas(service: &Node) -> Option<At<i64>> {
    let deployed = service.get("deploy").and_then(|deploy| deploy.get("replicas"));
    let node = deployed.or_else(|| service.get("scale"))?;
    Some(At::new(node, values::whole(node)?))
}

fn number(node: Option<&Node>) -> Option<At<f64>> {
    let node = node?;
    Some(At::new(node, values::number(node)?)).filter(|at| at.value > 0.0)
}

fn any(node: Option<&Node>) -> Option<At<i64>> {
    let node = node?;
    Some(At::new(node, values::whole(node)?))
}

fn whole(node: Option<&Node>) -> Option<At<i64>> {
    any(node).filter(|at| at.value != 0)
}

/// Memory and swap together, of the two. Without a limit of memory it is swap alone, which is refused.
fn together(memory: Option<&Node>, swap: Option<&Node>) -> Option<At<i64>> {
    let swap = any(swap)?;
    let memory = positive(memory).map_or(0, |at| at.value);
    Some(At { value: if swap.value < 0 { -1 } else { memory.saturating_add(swap.value) }, ..swap })
}

fn positive(node: Option<&Node>) -> Option<At<i64>> {
    whole(node).filter(|at| at.value > 0)
}

fn cpus(node: Option<&Node>) -> Option<At<BTreeSet<u32>>> {
    let node = node?;
    Some(At::new(node, cpuset::parse(&values::scalar(node)?)?))
}

/// Of `blkio_config`; a rate of zero is no limit.
fn io(node: Option<&Node>) -> Vec<IoLimit> {
    let Some(node) = node else { return Vec::new() };
    let lists = IoKind::ALL.iter().flat_map(|(kind, list, key)| {
        let items = node.get(list).map(Node::items).unwrap_or_default();
        items.iter().filter_map(move |item| {
            let path = item.get("path")?;
            let value = whole(item.get(key))?;
            Some(IoLimit { kind: *kind, path: At::new(path, values::scalar(path)?), value })
        })
    });
    lists.collect()
}

/// Zero is a limit here: none may be used.
fn hugetlb(node: Option<&Node>) -> Vec<HugeLimit> {
    let entries = node.into_iter().flat_map(Node::entries);
    let limits = entries.filter_map(|(size, entry)| {
        let size = At { value: size.clone(), span: entry.key };
        Some(HugeLimit { size, bytes: any(Some(&entry.node))? })
    });
    limits.collect()
}
