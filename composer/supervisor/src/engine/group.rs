//! A container's control group: made with its limits before there is a program in it.

use std::os::fd::OwnedFd;
use std::path::Path;

use composer_cgroup::{BlockIo, DeviceIo, DeviceRule, Limits};
use composer_stack::{Block, Resources, Service};

use super::container::Container;
use super::start::{Result, StartError};
use super::{Engine, oom};
use crate::host::{cpus, disks};

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
        cpu_weight: resources.cpu_reserved.map(reserving),
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

/// What a reserved CPU weighs, in multiples of the default, beside the default that everybody has.
const RESERVED: f64 = 10.0;
/// The most that all CPUs of the host together weigh so: v2 has no weight above a hundred times its default.
const MOST: f64 = 99.0;

/// The weight of whoever has reserved so many CPUs. Never less than that of one who has not; and on N contended CPUs, of
/// which R are reserved in all, each reservation is had as long as no more than 10 · (N − R) groups want to run.
fn reserving(cpus: f64) -> f64 {
    weight_of(cpus, cpus::online().map_or(1, |online| online.len()))
}

#[expect(clippy::cast_precision_loss, reason = "numbers of CPUs are small")]
fn weight_of(reserved: f64, online: usize) -> f64 {
    1.0 + reserved * RESERVED.min(MOST / online.max(1) as f64)
}

impl Engine {
    /// Limits of the whole stack, to which its services' reservations of CPUs count.
    pub(super) fn with_reservations(&self, mut limits: Limits, own: &Resources) -> Limits {
        let record = self.record.borrow();
        let services = record.iter().flat_map(|record| record.services.values());
        let reserved =
            |service: &Service| service.resources.cpu_reserved.map(|cpus| cpus * f64::from(service.replicas));
        let of_services: f64 = services.filter_map(reserved).sum();
        let all = own.cpu_reserved.unwrap_or_default().max(of_services);
        limits.cpu_weight = Some(all).filter(|cpus| *cpus > 0.0).map(reserving);
        limits
    }

    /// Somebody has written all limits of a container anew: what is not the file's is to be set again.
    pub(super) fn limits_are_unset(&self, container: &Container) {
        container.memory_is_unset();
        self.spread_cores();
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    /// Which part of so many CPUs each of these gets, all of which want to run; 0 is no reservation.
    fn shared(reserved: &[f64], online: usize) -> Vec<f64> {
        let weights: Vec<f64> = reserved.iter().map(|cpus| weight_of(*cpus, online)).collect();
        let sum: f64 = weights.iter().sum();
        weights.iter().map(|weight| weight / sum * online as f64).collect()
    }

    #[test]
    fn a_reservation_is_had_beside_others_and_never_makes_poorer() {
        for online in [1, 2, 4, 16, 64, 512] {
            let half = online as f64 / 2.0;
            // Half of all is reserved, by one that wants little and one that wants the rest.
            let mut all = vec![0.1, half - 0.1];
            all.resize((RESERVED.min(MOST / online as f64) * half) as usize, 0.0);
            let shares = shared(&all, online);
            assert!(
                shares.iter().zip(&all).all(|(share, reserved)| share >= reserved),
                "{online}: {shares:?}"
            );
            let least = shares.iter().skip(2).fold(f64::MAX, |least, share| least.min(*share));
            assert!(shares[0] >= least || all.len() <= 2, "{online}: {shares:?}");
            assert!(weight_of(online as f64, online) <= 100.0, "v2's greatest");
        }
        assert_eq!((weight_of(0.5, 2), weight_of(2.0, 99)), (6.0, 3.0));
    }
}
