//! A container's control group: made with its limits before there is a program in it.

use std::os::fd::OwnedFd;
use std::path::Path;

use composer_cgroup::{BlockIo, DeviceIo, DeviceRule, Limits};
use composer_stack::{Block, Resources, Service};

use super::start::{Result, StartError};
use super::{Engine, oom};
use crate::host::disks;

/// Limits as the cgroup crate wants them. Fails for a device that is not there (any more).
pub fn limits(resources: &Resources) -> Result<Limits> {
    let mut devices: Vec<DeviceIo> = Vec::new();
    for device in &resources.io.devices {
        let number = disk(&device.path)?;
        // Two paths may lead to one disk.
        let place = devices.iter().position(|known| known.device == number).unwrap_or_else(|| {
            devices.push(DeviceIo { device: number, ..DeviceIo::default() });
            devices.len() - 1
        });
        let known = &mut devices[place];
        known.weight = device.weight.or(known.weight);
        known.read_bps = device.read_bps.or(known.read_bps);
        known.write_bps = device.write_bps.or(known.write_bps);
        known.read_iops = device.read_iops.or(known.read_iops);
        known.write_iops = device.write_iops.or(known.write_iops);
    }
    Ok(Limits { io: BlockIo { weight: resources.io.weight, devices }, ..all_but_devices(resources) })
}

/// The same of what is in force: a disk that has gone has taken its limits along.
pub fn limits_in_force(resources: &Resources) -> Limits {
    let mut there = resources.clone();
    there.io.devices.retain(|device| disk(&device.path).is_ok());
    limits(&there).unwrap_or_else(|_| all_but_devices(resources))
}

fn disk(path: &Path) -> Result<(u32, u32)> {
    let refuse = |why: &str| Err(StartError::new(format!("the block device {}: {why}", path.display())));
    match disks::look(&path.to_string_lossy()) {
        Block::Disk(major, minor) => Ok((major, minor)),
        Block::Partition(disk) => refuse(&format!("the kernel shares out whole disks: name {disk}")),
        Block::None(why) => refuse(&why),
    }
}

fn all_but_devices(resources: &Resources) -> Limits {
    Limits {
        cpus: resources.cpus,
        cpu_shares: resources.cpu_shares,
        cpuset: resources.cpuset.clone(),
        memory: resources.memory,
        memory_reservation: resources.memory_reservation,
        memory_swap: resources.memory_swap,
        pids: resources.pids,
        cpu_quota: resources.cpu_quota,
        cpu_period: resources.cpu_period,
        cpu_burst: resources.cpu_burst,
        memory_high: resources.memory_high,
        swappiness: resources.swappiness,
        oom_kill_disable: resources.oom_kill_disable,
        cpu_idle: resources.cpu_idle,
        cpu_rt_runtime: resources.cpu_rt_runtime,
        cpu_rt_period: resources.cpu_rt_period,
        cpuset_mems: resources.cpuset_mems.clone(),
        io: BlockIo::default(),
        hugetlb: resources.hugetlb.clone(),
    }
}

impl Engine {
    /// Makes the group of a container, which lets these devices through where it limits any; on cgroup v2, its folder.
    pub(super) fn make_group(
        &self,
        name: &str,
        service: &Service,
        devices: Option<Vec<DeviceRule>>,
    ) -> Result<Option<OwnedFd>> {
        let failed = |what: &'static str| {
            move |error: composer_cgroup::Error| StartError::doing(&format!("{name}: {what}"), &error)
        };
        let group = self.container_group(name);
        let limits = limits(&service.resources)
            .map_err(|error| StartError { message: format!("{name}: {}", error.message), ..error })?;
        let unenforced = group.create(&limits).map_err(failed("set its limits"))?;
        self.warn_unenforced(&service.name, unenforced);
        let at = oom::at_limit(service, service.resources.memory);
        group.at_limit(at).map_err(failed("set what happens at its limit of memory"))?;
        self.warn_low_limits(service);
        if let Some(rules) = devices {
            group.limit_devices(&rules).map_err(failed("limit its devices"))?;
        }
        group.open().map_err(failed("open its cgroup"))
    }

    /// Says which limits are not in force on this host.
    pub(super) fn warn_unenforced(&self, service: &str, unenforced: Vec<composer_cgroup::Unenforced>) {
        for limit in unenforced {
            self.warn_once(service, &format!("{} is not in force: {}", limit.limit, limit.reason));
        }
    }
}
