//! What a group may take, as the Compose file says it, and what of that is not in force.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::io::BlockIo;
use crate::{Controller, Error};

/// Length of the period in which a CPU quota is shared out, in microseconds: the kernel's default, and
/// what Docker uses for `cpus`.
pub(crate) const CPU_PERIOD_USEC: u64 = 100_000;

/// Limits of one group. `None` leaves the kernel's default: no limit of the group's own.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// CPU time in CPUs (`cpus`): 1.5 is 150 ms in each period of 100 ms.
    pub cpus: Option<f64>,
    /// Weight against the sibling groups (`cpu_shares`): 2 to 262144, 1024 where not given.
    pub cpu_shares: Option<u64>,
    /// The same in multiples of the weight of who is given none (`deploy.resources.reservations.cpus`). Not beside
    /// `cpu_shares`, which goes first.
    pub cpu_weight: Option<f64>,
    /// The cores that may be used (`cpuset`), as in `0-1,3`.
    pub cpuset: Option<String>,
    /// Memory in bytes (`mem_limit`).
    pub memory: Option<u64>,
    /// Memory in bytes that is reclaimed from last (`mem_reservation`).
    pub memory_reservation: Option<u64>,
    /// Memory and swap together in bytes (`memswap_limit`), -1 for unlimited. Needs `memory`. Where not given
    /// or 0 it is twice `memory`, as Docker has it; a host that cannot account for swap then says nothing.
    pub memory_swap: Option<i64>,
    /// Number of tasks (`pids_limit`), -1 for unlimited.
    pub pids: Option<i64>,
    /// CPU time in each period in microseconds (`cpu_quota`), -1 for unlimited. Not beside `cpus`.
    pub cpu_quota: Option<i64>,
    /// That period in microseconds (`cpu_period`); a tenth of a second where not given.
    pub cpu_period: Option<u64>,
    /// Unused CPU time in microseconds that may be saved up (`x-cpu-burst`), at most the quota.
    pub cpu_burst: Option<u64>,
    /// Memory in bytes above which it is reclaimed and processes are slowed down (`x-mem-high`). v2 alone.
    pub memory_high: Option<u64>,
    /// How readily memory is swapped out (`mem_swappiness`), 0 to 100. v1 alone.
    pub swappiness: Option<u64>,
    /// Processes wait for memory instead of being killed (`oom_kill_disable`). v1 alone.
    pub oom_kill_disable: bool,
    /// Nothing but what others leave of the CPUs (`x-cpu-idle`). Not beside `cpu_shares`.
    pub cpu_idle: bool,
    /// Real-time CPU time in each period in microseconds (`cpu_rt_runtime`). v1 alone, where the kernel shares it out.
    pub cpu_rt_runtime: Option<u64>,
    /// That period in microseconds (`cpu_rt_period`); a second where not given.
    pub cpu_rt_period: Option<u64>,
    /// The memory nodes that may be used (`x-cpuset-mems`), as in `0-1,3`.
    pub cpuset_mems: Option<String>,
    /// Block devices (`blkio_config`).
    pub io: BlockIo,
    /// Bytes of huge pages by the size of a page (`x-hugetlb`).
    pub hugetlb: BTreeMap<u64, u64>,
}

/// A limit that was asked for and is not in force on this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unenforced {
    /// The compose key, such as `mem_limit`.
    pub limit: &'static str,
    /// Why not, such as a controller that is not mounted.
    pub reason: String,
}

/// One control to set; `None` means the kernel's default.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Setting<'a> {
    CpuTime(CpuTime),
    /// One setting, for the kernel refuses a weight of what is idle.
    CpuWeight {
        shares: Option<u64>,
        multiple: Option<f64>,
        idle: bool,
    },
    CpuRealTime {
        runtime: Option<u64>,
        period: Option<u64>,
    },
    Cpuset(Option<&'a str>),
    CpusetMems(Option<&'a str>),
    /// One setting, for on v1 the kernel ties the two together: memory is at most memory and swap.
    Memory {
        limit: Option<u64>,
        /// As it was asked for, never 0.
        swap: Option<i64>,
    },
    MemoryReservation(Option<u64>),
    /// In bytes.
    MemoryHigh(Option<u64>),
    Swappiness(Option<u64>),
    OomKillDisable(bool),
    Pids(Option<i64>),
    Io(&'a BlockIo),
    Hugetlb(&'a BTreeMap<u64, u64>),
}

/// CPU time, as it was asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct CpuTime {
    pub cpus: Option<f64>,
    pub quota: Option<i64>,
    pub period: Option<u64>,
    /// In microseconds.
    pub burst: Option<u64>,
}

impl CpuTime {
    /// Quota and period in microseconds; `None` is no limit.
    pub(crate) fn share(&self) -> Result<Option<(i64, u64)>, Error> {
        let period = self.period.unwrap_or(CPU_PERIOD_USEC);
        match (self.cpus, self.quota) {
            (Some(cpus), _) => Ok(Some((quota(cpus)?, CPU_PERIOD_USEC))),
            (None, Some(quota)) if quota > 0 => Ok(Some((quota, period))),
            (None, _) => Ok(None),
        }
    }
}

impl Setting<'_> {
    pub(crate) fn controller(&self) -> Controller {
        match self {
            Setting::CpuTime(_) | Setting::CpuWeight { .. } | Setting::CpuRealTime { .. } => Controller::Cpu,
            Setting::Cpuset(_) | Setting::CpusetMems(_) => Controller::Cpuset,
            Setting::Memory { .. }
            | Setting::MemoryReservation(_)
            | Setting::MemoryHigh(_)
            | Setting::Swappiness(_)
            | Setting::OomKillDisable(_) => Controller::Memory,
            Setting::Pids(_) => Controller::Pids,
            Setting::Io(_) => Controller::Io,
            Setting::Hugetlb(_) => Controller::Hugetlb,
        }
    }

    /// The compose keys that ask for something with this setting.
    pub(crate) fn keys(&self) -> Vec<&'static str> {
        let asked = match *self {
            Setting::CpuTime(time) => vec![
                ("cpus", time.cpus.is_some()),
                ("cpu_quota", time.quota.is_some()),
                ("cpu_period", time.period.is_some()),
                ("x-cpu-burst", time.burst.is_some()),
            ],
            Setting::CpuWeight { shares, multiple, idle } => vec![
                ("cpu_shares", shares.is_some()),
                ("deploy.resources.reservations.cpus", multiple.is_some()),
                ("x-cpu-idle", idle),
            ],
            Setting::CpuRealTime { runtime, period } => {
                vec![("cpu_rt_runtime", runtime.is_some()), ("cpu_rt_period", period.is_some())]
            }
            Setting::Cpuset(value) => vec![("cpuset", value.is_some())],
            Setting::CpusetMems(value) => vec![("x-cpuset-mems", value.is_some())],
            Setting::Memory { limit, swap } => {
                vec![("mem_limit", limit.is_some()), ("memswap_limit", swap.is_some())]
            }
            Setting::MemoryReservation(value) => vec![("mem_reservation", value.is_some())],
            Setting::MemoryHigh(value) => vec![("x-mem-high", value.is_some())],
            Setting::Swappiness(value) => vec![("mem_swappiness", value.is_some())],
            Setting::OomKillDisable(value) => vec![("oom_kill_disable", value)],
            Setting::Pids(value) => vec![("pids_limit", value.is_some())],
            Setting::Io(io) => vec![("blkio_config", !io.is_none())],
            Setting::Hugetlb(sizes) => vec![("x-hugetlb", !sizes.is_empty())],
        };
        asked.into_iter().filter(|(_, is_asked)| *is_asked).map(|(key, _)| key).collect()
    }
}

impl Limits {
    /// Each setting of these limits, with whether it differs from `old`. Nothing is known of a group
    /// without `old`: all of it counts as different.
    pub(crate) fn settings<'a>(&'a self, old: Option<&Limits>) -> [(Setting<'a>, bool); 13] {
        let differs = |same: fn(&Limits, &Limits) -> bool| old.is_none_or(|old| !same(old, self));
        [
            (Setting::Cpuset(self.cpuset.as_deref()), differs(|a, b| a.cpuset == b.cpuset)),
            (Setting::CpuTime(self.cpu_time()), differs(|a, b| a.cpu_time() == b.cpu_time())),
            (
                Setting::CpusetMems(self.cpuset_mems.as_deref()),
                differs(|a, b| a.cpuset_mems == b.cpuset_mems),
            ),
            (
                Setting::CpuWeight {
                    shares: self.cpu_shares,
                    multiple: self.cpu_weight,
                    idle: self.cpu_idle,
                },
                differs(|a, b| {
                    (a.cpu_shares, a.cpu_weight, a.cpu_idle) == (b.cpu_shares, b.cpu_weight, b.cpu_idle)
                }),
            ),
            (
                Setting::CpuRealTime { runtime: self.cpu_rt_runtime, period: self.cpu_rt_period },
                differs(|a, b| (a.cpu_rt_runtime, a.cpu_rt_period) == (b.cpu_rt_runtime, b.cpu_rt_period)),
            ),
            (
                Setting::Memory { limit: self.memory, swap: self.swap() },
                differs(|a, b| (a.memory, a.swap()) == (b.memory, b.swap())),
            ),
            (
                Setting::MemoryReservation(self.memory_reservation),
                differs(|a, b| a.memory_reservation == b.memory_reservation),
            ),
            (Setting::MemoryHigh(self.memory_high), differs(|a, b| a.memory_high == b.memory_high)),
            (Setting::Swappiness(self.swappiness), differs(|a, b| a.swappiness == b.swappiness)),
            (
                Setting::OomKillDisable(self.oom_kill_disable),
                differs(|a, b| a.oom_kill_disable == b.oom_kill_disable),
            ),
            (Setting::Pids(self.pids), differs(|a, b| a.pids == b.pids)),
            (Setting::Io(&self.io), differs(|a, b| a.io == b.io)),
            (Setting::Hugetlb(&self.hugetlb), differs(|a, b| a.hugetlb == b.hugetlb)),
        ]
    }

    /// Whether something is asked of a controller that few groups have limits of.
    pub(crate) fn asks(&self, controller: Controller) -> bool {
        match controller {
            Controller::Io => !self.io.is_none(),
            Controller::Hugetlb => !self.hugetlb.is_empty(),
            Controller::Cpu
            | Controller::Cpuacct
            | Controller::Cpuset
            | Controller::Memory
            | Controller::Pids => true,
        }
    }

    fn cpu_time(&self) -> CpuTime {
        CpuTime { cpus: self.cpus, quota: self.cpu_quota, period: self.cpu_period, burst: self.cpu_burst }
    }

    fn swap(&self) -> Option<i64> {
        self.memory_swap.filter(|total| *total != 0)
    }
}

/// A weight that is a multiple of `default`, within the kernel's bounds.
pub(crate) fn weight(multiple: f64, default: u64, bounds: std::ops::RangeInclusive<u64>) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast stays within u64")]
    let weight = (multiple * default as f64).round() as u64;
    weight.clamp(*bounds.start(), *bounds.end())
}

/// CPU time in microseconds for each period of [`CPU_PERIOD_USEC`].
pub(crate) fn quota(cpus: f64) -> Result<i64, Error> {
    // v1 takes a negative quota as "no limit", so a wrong sign must not reach it.
    if !cpus.is_finite() || cpus <= 0.0 {
        return Err(Error::Limit { limit: "cpus", value: cpus.to_string(), reason: "must be above zero" });
    }
    Ok((cpus * CPU_PERIOD_USEC as f64).round() as i64)
}

/// Swap alone in bytes, `None` for unlimited, from memory and swap together. Without those it is as much as
/// memory: Docker's default.
pub(crate) fn swap_alone(limit: Option<u64>, swap: Option<i64>) -> Result<Option<u64>, Error> {
    let refuse =
        |value: i64, reason| Err(Error::Limit { limit: "memswap_limit", value: value.to_string(), reason });
    let Some(total) = swap else { return Ok(limit) };
    let Ok(bytes) = u64::try_from(total) else {
        return Ok(None);
    };
    match limit {
        None => refuse(total, "counts memory and swap together, so it needs mem_limit too"),
        Some(limit) => match bytes.checked_sub(limit) {
            Some(swap) => Ok(Some(swap)),
            None => refuse(total, "counts memory and swap together, so it cannot be below mem_limit"),
        },
    }
}
