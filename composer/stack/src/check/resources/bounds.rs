//! What the kernel, the stack's cap and the host leave room for.

use std::collections::BTreeSet;

use super::shown;
use crate::check::project::Named;
use crate::cpuset;
use crate::diagnostic::Report;
use crate::limits::Limits;
use crate::options::HostFacts;
use crate::values;

/// Docker's least limit of memory, in bytes.
const LEAST_MEMORY: i64 = 6 << 20;
/// The kernel's least quota is 1 ms (`min_cfs_quota_period` in kernel/sched/core.c), in a period of 100 ms.
const LEAST_CPUS: f64 = 0.01;
pub(super) const CAP: &str = "the limit of the whole stack";

/// Limits so low that nothing could start, or beyond what the kernel takes.
pub(super) fn of_one(limits: &Limits, report: &mut Report) {
    if let Some(memory) = limits.memory.filter(|memory| memory.value < LEAST_MEMORY) {
        report
            .error(memory.span, format!("a limit of {} is too low", shown(memory.value)))
            .help(format!("the least is {}", shown(LEAST_MEMORY)));
    }
    if let Some(cpus) = limits.cpus.filter(|cpus| cpus.value < LEAST_CPUS) {
        report
            .error(cpus.span, format!("{} CPUs are too few", cpus.value))
            .help(format!("the least is {LEAST_CPUS}: one millisecond in each tenth of a second"));
    }
    if let Some(shares) = limits.cpu_shares.filter(|shares| !(2..=262_144).contains(&shares.value)) {
        report
            .error(shares.span, format!("`cpu_shares` cannot be {}", shares.value))
            .help("it may be 2 to 262144");
    }
}

/// Ranges of the kernel for a service's other numbers.
const RANGES: [(&str, i64, i64); 5] = [
    ("mem_swappiness", 0, 100),
    ("cpu_period", 1_000, 1_000_000),
    ("cpu_quota", 1_000, i64::MAX),
    ("cpu_rt_period", 1, i64::MAX),
    ("cpu_rt_runtime", 1, i64::MAX),
];

pub(super) fn weights(service: Named<'_>, report: &mut Report) {
    for (key, least, most) in RANGES {
        let Some(node) = service.get(key) else { continue };
        // Zero and -1 leave the default; a swappiness below them is no number of its kind, which has been told.
        let is_checked = |value: &i64| !matches!(value, 0 | -1) && (*value > 0 || key != "mem_swappiness");
        let Some(value) = values::whole(node).filter(is_checked) else { continue };
        if !(least..=most).contains(&value) {
            let help = if most == i64::MAX {
                format!("the least is {least}")
            } else {
                format!("it may be {least} to {most}")
            };
            report.error(node.span, format!("`{key}` cannot be {value}")).help(help);
        }
    }
}

pub(super) fn against_host(limits: &Limits, host: &HostFacts, report: &mut Report) {
    let online = host.cpus_online.len();
    #[expect(clippy::cast_precision_loss, reason = "numbers of CPUs are small")]
    if let Some(cpus) = limits.cpu_time().filter(|cpus| cpus.value > online as f64) {
        report
            .error(cpus.span, format!("{} more than this host has", so_many(cpus.value)))
            .note(has_cpus(host));
    }
    if let Some(cpus) = &limits.cpuset {
        let missing: BTreeSet<u32> = cpus.value.difference(&host.cpus_online).copied().collect();
        if !missing.is_empty() {
            report
                .error(cpus.span, format!("{} not online on this host", are(&missing)))
                .note(has_cpus(host));
        }
    }
    if let (Some(nodes), Some(known)) = (&limits.mems, &host.memory_nodes) {
        let missing: BTreeSet<u32> = nodes.value.difference(known).copied().collect();
        if !missing.is_empty() {
            let word = if missing.len() == 1 { "memory node" } else { "memory nodes" };
            report
                .error(nodes.span, format!("this host has no {word} {}", cpuset::show(&missing)))
                .note(format!("those online are {}", cpuset::show(known)));
        }
    }
    let memory = i64::try_from(host.memory).unwrap_or(i64::MAX);
    for limit in [limits.memory, limits.reservation, limits.high, limits.shm].into_iter().flatten() {
        if limit.value > memory {
            report
                .error(limit.span, format!("{} is more memory than this host has", shown(limit.value)))
                .note(format!("this host has {}", shown(memory)));
        }
    }
}

/// "1 CPU is", "1.5 CPUs are".
#[expect(clippy::float_cmp, reason = "a fraction more is more")]
fn so_many(cpus: f64) -> String {
    if cpus == 1.0 { "1 CPU is".to_owned() } else { format!("{cpus} CPUs are") }
}

/// "CPU 2 is", "CPUs 2-3 are".
fn are(cpus: &BTreeSet<u32>) -> String {
    let shown = cpuset::show(cpus);
    if cpus.len() == 1 { format!("CPU {shown} is") } else { format!("CPUs {shown} are") }
}

pub(super) fn has_cpus(host: &HostFacts) -> String {
    format!("this host has {} online: {}", host.cpus_online.len(), cpuset::show(&host.cpus_online))
}

/// A container's limit beyond the stack's could never be reached.
pub(super) fn against_stack(limits: &Limits, stack: &Limits, report: &mut Report) {
    if let (Some(own), Some(cap)) = (limits.cpu_time(), stack.cpus)
        && own.value > cap.value
    {
        let message = format!("{} more than the whole stack's {}", so_many(own.value), cap.value);
        report.error(own.span, message).also(cap.span, CAP);
    }
    if let (Some(own), Some(cap)) = (limits.memory, stack.memory)
        && own.value > cap.value
    {
        let message =
            format!("a limit of {} is more than the whole stack's {}", shown(own.value), shown(cap.value));
        report.error(own.span, message).also(cap.span, CAP);
    }
    if let (Some(own), Some(cap)) = (limits.pids, stack.pids)
        && own.value > cap.value
        && cap.value > 0
    {
        let message = format!("{} processes are more than the whole stack's {}", own.value, cap.value);
        report.error(own.span, message).also(cap.span, CAP);
    }
    if let (Some(own), Some(cap)) = (&limits.cpuset, &stack.cpuset) {
        let outside: BTreeSet<u32> = own.value.difference(&cap.value).copied().collect();
        if !outside.is_empty() {
            let message =
                format!("{} outside of the whole stack's {}", are(&outside), cpuset::show(&cap.value));
            report.error(own.span, message).also(cap.span, "the CPUs of the whole stack");
        }
    }
    if let (Some(own), Some(cap)) = (&limits.mems, &stack.mems) {
        let outside: BTreeSet<u32> = own.value.difference(&cap.value).copied().collect();
        if !outside.is_empty() {
            let message = format!(
                "memory nodes {} are outside of the whole stack's {}",
                cpuset::show(&outside),
                cpuset::show(&cap.value)
            );
            report.error(own.span, message).also(cap.span, "the memory nodes of the whole stack");
        }
    }
}
