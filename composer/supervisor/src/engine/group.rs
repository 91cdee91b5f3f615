//! A container's control group: made with its limits before there is a program in it.

use std::os::fd::OwnedFd;

use composer_cgroup::{DeviceRule, Limits};
use composer_stack::{Resources, Service};

use super::start::{Result, StartError};
use super::{Engine, oom};

/// Limits as the cgroup crate wants them.
pub fn limits(resources: &Resources) -> Limits {
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
        let unenforced = group.create(&limits(&service.resources)).map_err(failed("set its limits"))?;
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
