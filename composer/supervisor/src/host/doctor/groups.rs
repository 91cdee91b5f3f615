//! Control groups: which version, which controllers, and which limits the kernel takes, by a group that is made for it.

use composer_cgroup::{BlockIo, Controller, Hierarchy, Limits, Unenforced, Version};

use composer_stack::show_bytes;

use super::{Finding, read};
use crate::host::figures::meminfo;

const TOPIC: &str = "Control groups";

/// So much real-time CPU time is tried, in microseconds a second.
const LITTLE: u64 = 1000;

/// A controller, and what is not limited without it.
const CONTROLLERS: [(Controller, &str); 7] = [
    (Controller::Cpu, "CPU time"),
    (Controller::Cpuset, "which cores are used"),
    (Controller::Memory, "memory"),
    (Controller::Pids, "the number of processes"),
    (Controller::Io, "reads and writes of disks"),
    (Controller::Hugetlb, "huge pages"),
    (Controller::Cpuacct, "(CPU time is not shown)"),
];

pub(super) fn look(is_root: bool) -> Vec<Finding> {
    let hierarchy = match Hierarchy::detect() {
        Ok(hierarchy) => hierarchy,
        Err(error) => {
            let advice = "mount it: `mount -t cgroup2 none /sys/fs/cgroup`; systemd does so by itself";
            return vec![Finding::missing(TOPIC, "version", error.to_string(), advice)];
        }
    };
    let mut findings = vec![match hierarchy.version() {
        Version::V2 => Finding::ok(TOPIC, "version", "v2"),
        Version::V1 => old("v1"),
        Version::Hybrid => old("hybrid: v1, and v2 beside it"),
    }];
    let (have, lack): (Vec<_>, Vec<_>) =
        CONTROLLERS.iter().partition(|(controller, _)| hierarchy.has(*controller));
    let names: Vec<String> = have.iter().map(|(controller, _)| controller.to_string()).collect();
    findings.push(Finding::ok(TOPIC, "controllers", names.join(", ")));
    for (controller, what) in lack {
        let advice = format!(
            "nothing limits {what}: mount it, or leave `cgroup_disable={controller}` out of the kernel's command line"
        );
        findings.push(Finding::warning(
            TOPIC,
            &controller.to_string(),
            "the host has no such controller",
            advice,
        ));
    }
    if is_root {
        findings.extend(limits(&hierarchy));
    } else {
        findings.push(Finding::warning(TOPIC, "limits", "not tried", "root is needed to try them"));
    }
    findings.push(swap(&read("/proc/meminfo").unwrap_or_default()));
    findings
}

/// How much swap there is, of which a limit could let some be used (proc_meminfo(5)).
fn swap(text: &str) -> Finding {
    match meminfo(text, "SwapTotal:") {
        Some(bytes) if bytes > 0 => Finding::ok(TOPIC, "swap", show_bytes(bytes)),
        Some(_) | None => Finding::warning(
            TOPIC,
            "swap",
            "none",
            "`memswap_limit`, `mem_swappiness` and the stack's `swap` have nothing to act on: what fills its memory is at its \
             limit at once; `swapon` a partition, a file or zram where services are to have some",
        ),
    }
}

fn old(found: &str) -> Finding {
    let advice = "all works; v2 has pressure of groups, slowing down before the end, and kills no more than it must: boot \
                  with `systemd.unified_cgroup_hierarchy=1` where you can";
    Finding::warning(TOPIC, "version", found, advice)
}

/// Makes a group with every limit, and takes it away.
fn limits(hierarchy: &Hierarchy) -> Vec<Finding> {
    let group = hierarchy.group(&format!("compose-doctor-{}", std::process::id()));
    let handed_down = hierarchy.handed_down();
    // Where others have all of it, nobody else can have some: that is no matter of the kernel's.
    let has_real_time = !group.real_time_left().is_ok_and(|left| left.is_some_and(|left| left < LITTLE));
    let wanted = Limits {
        cpus: Some(1.0),
        cpu_shares: Some(512),
        cpu_burst: Some(1000),
        cpuset: allowed_cpu(),
        memory: Some(64 << 20),
        memory_reservation: Some(16 << 20),
        memory_swap: Some(96 << 20),
        memory_high: Some(48 << 20),
        swappiness: Some(10),
        oom_kill_disable: true,
        pids: Some(64),
        cpu_rt_runtime: has_real_time.then_some(LITTLE),
        io: BlockIo { weight: Some(100), ..BlockIo::default() },
        ..Limits::default()
    };
    let made = group.create(&wanted);
    let removed = group.remove();
    if !hierarchy.group("compose").exists() {
        hierarchy.hand_down_only(&handed_down);
    }
    let mut findings = match made {
        Ok(unenforced) if unenforced.is_empty() => {
            vec![Finding::ok(TOPIC, "limits", "all are in force, by a group made for it")]
        }
        Ok(unenforced) => unenforced.into_iter().map(lacking).collect(),
        Err(error) => vec![Finding::missing(
            TOPIC,
            "limits",
            error.to_string(),
            "within a container or a user's session, have its control group delegated (`Delegate=yes` of systemd)",
        )],
    };
    if let Err(error) = removed {
        findings.push(Finding::warning(TOPIC, "a group made to try", error.to_string(), "remove it"));
    }
    findings
}

fn lacking(Unenforced { limit, reason }: Unenforced) -> Finding {
    let advice = match limit {
        "memswap_limit" => "swap is not limited: boot with `swapaccount=1`, or turn swap off",
        "blkio_config.weight" => {
            "disks are shared as they come; rates (`blkio_config.device_read_bps` and the like) hold all the same"
        }
        "cpu_rt_runtime" => {
            "real-time programs run without it on v2, within /proc/sys/kernel/sched_rt_runtime_us; services that ask for it \
             are told"
        }
        "x-mem-high" => "it needs cgroup v2: services that ask for it are not slowed down",
        "mem_swappiness" | "oom_kill_disable" => {
            "it is one of cgroup v1: services that ask for it go without"
        }
        _ => "services that ask for it are told that it is not in force",
    };
    Finding::warning(TOPIC, limit, reason, advice)
}

/// The first CPU that this process may run on.
fn allowed_cpu() -> Option<String> {
    let status = read("/proc/self/status")?;
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    list.trim().split([',', '-']).next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::doctor::Verdict;

    #[test]
    fn a_host_without_swap_says_what_that_means() {
        let none = swap("MemTotal: 100 kB\nSwapTotal:             0 kB\n");
        assert_eq!((none.verdict, none.advice.is_some()), (Verdict::Warning, true));
        assert_eq!(swap("SwapTotal:       2048 kB\n").found, "2 MiB");
    }
}
