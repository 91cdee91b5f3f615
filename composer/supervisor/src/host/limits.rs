//! The limits that are in force: what containers and their stack may take, who has said so, and what the kernel has of it.

use composer_cgroup::{Controller, Group, Hierarchy, page_size};
use composer_stack::{Resources, Setting, ShownLimit, limits_of_stack};

use super::{Error, group, root};
use crate::engine::oom;
use crate::paths::StackPaths;
use crate::records::{self, ContainerRecord, Over, StackRecord};

/// Limits of one container, or of the whole stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The container's name, or the stack's.
    pub name: String,
    /// The container's service; `None` is the stack.
    pub service: Option<String>,
    /// What is given.
    pub limits: Vec<InForce>,
}

/// A limit that is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InForce {
    /// Its name in the model.
    pub field: String,
    /// Its key in the file.
    pub key: String,
    /// What it is, for users.
    pub value: String,
    /// Who has said so.
    pub source: Source,
    /// The files of the control group that have it, and what they say.
    pub kernel: Vec<(String, String)>,
}

/// Where a limit comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The Compose file.
    File,
    /// `compose set`.
    Set,
    /// `x-oom: raise`.
    Raised,
}

/// The limits of a stack's containers of these services; without any, of the stack as a whole. `None` where nothing is
/// known of the stack.
///
/// # Errors
/// [`Error::NotRoot`], [`Error::Cgroup`].
pub fn limits(stack: &str, services: &[String]) -> Result<Option<Vec<Held>>, Error> {
    root()?;
    let cgroups = Hierarchy::detect()?;
    let paths = StackPaths::new(stack);
    let Some(record) = records::read::<StackRecord>(&paths.record()) else { return Ok(None) };
    if services.is_empty() {
        let group = cgroups.group(&format!("compose/{stack}"));
        let shown = limits_of_stack(&record.resources, record.bandwidth, record.victim);
        let limits = in_force(shown, record.overs.stack.as_ref(), &record.resources, &group);
        return Ok(Some(vec![Held { name: stack.to_owned(), service: None, limits }]));
    }
    let mut all: Vec<Held> = ContainerRecord::all(&paths)
        .filter(|record| services.contains(&record.service.name))
        .map(|ContainerRecord { name, mut service, .. }| {
            let raised = oom::raised(&paths.container(&name)).filter(|_| service.resources.memory.is_some());
            service.resources = oom::raised_to(&service.resources, raised);
            let over = record.overs.services.get(&service.name);
            let mut limits =
                in_force(service.limits(), over, &service.resources, &group(&cgroups, stack, &name));
            for limit in limits.iter_mut().filter(|limit| raised.is_some() && limit.field == "memory") {
                limit.source = Source::Raised;
            }
            Held { name, service: Some(service.name), limits }
        })
        .collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Some(all))
}

fn in_force(
    shown: Vec<ShownLimit>,
    over: Option<&Over>,
    resources: &Resources,
    group: &Group,
) -> Vec<InForce> {
    let set = over.map(|over| &over.set).map(Setting::fields).unwrap_or_default();
    let of_one = |ShownLimit { field, key, value }| InForce {
        source: if set.contains(&field) { Source::Set } else { Source::File },
        kernel: kernel(&field, resources, group),
        field,
        key,
        value,
    };
    shown.into_iter().map(of_one).collect()
}

/// By the names of the model: controllers with the file of v2 and that of v1; none where it has none.
const FILES: &[(&str, Controller, &str, &str)] = &[
    ("cpus", Controller::Cpu, "cpu.max", "cpu.cfs_quota_us"),
    ("cpus", Controller::Cpu, "", "cpu.cfs_period_us"),
    ("cpu_quota", Controller::Cpu, "cpu.max", "cpu.cfs_quota_us"),
    ("cpu_period", Controller::Cpu, "cpu.max", "cpu.cfs_period_us"),
    ("cpu_burst", Controller::Cpu, "cpu.max.burst", "cpu.cfs_burst_us"),
    ("cpu_shares", Controller::Cpu, "cpu.weight", "cpu.shares"),
    ("cpu_reserved", Controller::Cpu, "cpu.weight", "cpu.shares"),
    ("cpu_idle", Controller::Cpu, "cpu.idle", "cpu.idle"),
    ("cpu_rt_runtime", Controller::Cpu, "", "cpu.rt_runtime_us"),
    ("cpu_rt_period", Controller::Cpu, "", "cpu.rt_period_us"),
    ("cpuset", Controller::Cpuset, "cpuset.cpus", "cpuset.cpus"),
    ("cpus_exclusive", Controller::Cpuset, "cpuset.cpus", "cpuset.cpus"),
    ("cpuset_mems", Controller::Cpuset, "cpuset.mems", "cpuset.mems"),
    ("memory", Controller::Memory, "memory.max", "memory.limit_in_bytes"),
    ("memory_reservation", Controller::Memory, "memory.low", "memory.soft_limit_in_bytes"),
    ("memory_swap", Controller::Memory, "memory.swap.max", "memory.memsw.limit_in_bytes"),
    ("memory_high", Controller::Memory, "memory.high", ""),
    ("swappiness", Controller::Memory, "", "memory.swappiness"),
    ("oom_kill_disable", Controller::Memory, "", "memory.oom_control"),
    ("pids", Controller::Pids, "pids.max", "pids.max"),
    ("io", Controller::Io, "io.weight", "blkio.weight"),
    ("io", Controller::Io, "io.bfq.weight", "blkio.bfq.weight"),
    ("io", Controller::Io, "io.max", "blkio.throttle.read_bps_device"),
    ("io", Controller::Io, "", "blkio.throttle.write_bps_device"),
    ("io", Controller::Io, "", "blkio.throttle.read_iops_device"),
    ("io", Controller::Io, "", "blkio.throttle.write_iops_device"),
];

/// What the kernel has of a limit: those of its files that are there and say something, each in one line.
fn kernel(field: &str, resources: &Resources, group: &Group) -> Vec<(String, String)> {
    let files = FILES.iter().filter(|(name, ..)| *name == field);
    let read = files.filter_map(|(_, controller, v2, v1)| group.control(*controller, v2, v1));
    let sizes = resources.hugetlb.keys().filter(|_| field == "hugetlb").map(|size| page_size(*size));
    let pages = sizes.filter_map(|size| {
        let (v2, v1) = (format!("hugetlb.{size}.max"), format!("hugetlb.{size}.limit_in_bytes"));
        group.control(Controller::Hugetlb, &v2, &v1)
    });
    let line = |(file, text): (String, String)| (file, text.lines().collect::<Vec<_>>().join("; "));
    read.chain(pages).map(line).filter(|(_, text)| !text.is_empty()).collect()
}
