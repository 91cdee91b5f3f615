//! Control groups: which version, which controllers, and which limits the kernel takes, by a group that is made for it.

use composer_cgroup::{Controller, Hierarchy, Limits, Unenforced, Version};

use super::{Finding, read};

const TOPIC: &str = "Control groups";

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
    findings
}

fn old(found: &str) -> Finding {
    let advice = "all works; v2 has pressure of groups, slowing down before the end, and kills no more than it must: boot \
                  with `systemd.unified_cgroup_hierarchy=1` where you can";
    Finding::warning(TOPIC, "version", found, advice)
}

/// Makes a group with every limit, and takes it away.
fn limits(hierarchy: &Hierarchy) -> Vec<Finding> {
    let group = hierarchy.group(&format!("compose-doctor-{}", std::process::id()));
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
        ..Limits::default()
    };
    let made = group.create(&wanted);
    let removed = group.remove();
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
