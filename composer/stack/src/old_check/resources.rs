//! Limits: against each other, the stack's cap and the host.

use std::collections::BTreeSet;

use crate::decode::project::{At, Limits, Project, Service};
use crate::diagnostic::Report;
use crate::options::HostFacts;
use crate::{cpuset, size};

/// Docker's least limit of memory, in bytes.
const LEAST_MEMORY: u64 = 6 << 20;
/// The kernel's least quota is 1 ms (`min_cfs_quota_period` in kernel/sched/core.c), in a period of 100 ms.
const LEAST_CPUS: f64 = 0.01;
const CAP: &str = "the limit of the whole stack";

pub(super) fn check(project: &Project, host: Option<&HostFacts>, running: bool, report: &mut Report) {
    let stack = &project.resources;
    if let Some(host) = host {
        against_host(stack, host, report);
    }
    if running {
        least(stack.memory.as_ref(), report);
        least_cpus(stack.cpus.as_ref(), report);
        for service in project.services.values() {
            let memory = service.limit(|limits| limits.memory.as_ref());
            least(memory, report);
            least_cpus(service.limit(|limits| limits.cpus.as_ref()), report);
            for limits in
                std::iter::once(&service.limits).chain(service.deploy.as_ref().map(|deploy| &deploy.limits))
            {
                if let Some(host) = host {
                    against_host(limits, host, report);
                }
                against_stack(limits, stack, report);
            }
        }
    }
    for service in project.services.values() {
        twice(service, report);
        swap(service, report);
        let memory = service.limit(|limits| limits.memory.as_ref());
        let reserved = service.limit(|limits| limits.reservation.as_ref());
        reservation(reserved, memory, report);
    }
    reservation(stack.reservation.as_ref(), stack.memory.as_ref(), report);
    if running {
        reservations(project, report);
    }
}

/// A limit of memory so low that nothing could start.
fn least(memory: Option<&At<u64>>, report: &mut Report) {
    if let Some(memory) = memory.filter(|memory| memory.value > 0 && memory.value < LEAST_MEMORY) {
        report
            .error(memory.span, format!("a limit of {} is too low", size::show(memory.value)))
            .help(format!("the least is {}", size::show(LEAST_MEMORY)));
    }
}

/// A quota below what the kernel takes.
fn least_cpus(cpus: Option<&At<f64>>, report: &mut Report) {
    if let Some(cpus) = cpus.filter(|cpus| cpus.value > 0.0 && cpus.value < LEAST_CPUS) {
        report
            .error(cpus.span, format!("{} CPUs are too few", cpus.value))
            .help(format!("the least is {LEAST_CPUS}: one millisecond in each tenth of a second"));
    }
}

fn against_host(limits: &Limits, host: &HostFacts, report: &mut Report) {
    let online = host.cpus_online.len();
    if let Some(cpus) = limits.cpus.as_ref().filter(|cpus| cpus.value > online as f64) {
        report
            .error(cpus.span, format!("{} CPUs are more than this host has", cpus.value))
            .note(has_cpus(host));
    }
    if let Some(cpus) = &limits.cpuset {
        let missing: BTreeSet<u32> = cpus.value.difference(&host.cpus_online).copied().collect();
        if !missing.is_empty() {
            report
                .error(cpus.span, format!("CPU {} is not online on this host", cpuset::show(&missing)))
                .note(has_cpus(host));
        }
    }
    for memory in [&limits.memory, &limits.reservation].into_iter().flatten() {
        if memory.value > host.memory {
            report
                .error(memory.span, format!("{} is more memory than this host has", size::show(memory.value)))
                .note(format!("this host has {}", size::show(host.memory)));
        }
    }
}

fn has_cpus(host: &HostFacts) -> String {
    format!("this host has {} online: {}", host.cpus_online.len(), cpuset::show(&host.cpus_online))
}

/// A container's limit beyond the stack's could never be reached.
fn against_stack(limits: &Limits, stack: &Limits, report: &mut Report) {
    if let (Some(own), Some(cap)) = (&limits.cpus, &stack.cpus)
        && own.value > cap.value
        && cap.value > 0.0
    {
        let message = format!("{} CPUs are more than the whole stack's {}", own.value, cap.value);
        report.error(own.span, message).also(cap.span, CAP);
    }
    if let (Some(own), Some(cap)) = (&limits.memory, &stack.memory)
        && own.value > cap.value
        && cap.value > 0
    {
        let message = format!(
            "a limit of {} is more than the whole stack's {}",
            size::show(own.value),
            size::show(cap.value)
        );
        report.error(own.span, message).also(cap.span, CAP);
    }
    if let (Some(own), Some(cap)) = (&limits.pids, &stack.pids)
        && own.value > cap.value
        && cap.value > 0
    {
        let message = format!("{} processes are more than the whole stack's {}", own.value, cap.value);
        report.error(own.span, message).also(cap.span, CAP);
    }
    if let (Some(own), Some(cap)) = (&limits.cpuset, &stack.cpuset) {
        let outside: BTreeSet<u32> = own.value.difference(&cap.value).copied().collect();
        if !outside.is_empty() {
            let message = format!(
                "CPU {} is outside of the whole stack's {}",
                cpuset::show(&outside),
                cpuset::show(&cap.value)
            );
            report.error(own.span, message).also(cap.span, "the CPUs of the whole stack");
        }
    }
}

/// The same limit in both places must have one value.
fn twice(service: &Service, report: &mut Report) {
    let Some(deploy) = &service.deploy else {
        return;
    };
    let (own, other) = (&service.limits, &deploy.limits);
    clash(service.scale.as_ref(), deploy.replicas.as_ref(), "`scale` and `deploy.replicas`", report);
    clash(own.cpus.as_ref(), other.cpus.as_ref(), "`cpus` and `deploy.resources.limits.cpus`", report);
    clash(
        own.memory.as_ref(),
        other.memory.as_ref(),
        "`mem_limit` and `deploy.resources.limits.memory`",
        report,
    );
    clash(own.pids.as_ref(), other.pids.as_ref(), "`pids_limit` and `deploy.resources.limits.pids`", report);
    let names = "`mem_reservation` and `deploy.resources.reservations.memory`";
    clash(own.reservation.as_ref(), other.reservation.as_ref(), names, report);
}

fn clash<T: PartialEq>(own: Option<&At<T>>, other: Option<&At<T>>, names: &str, report: &mut Report) {
    if let (Some(own), Some(other)) = (own, other)
        && own.value != other.value
    {
        report
            .error(own.span, format!("{names} have different values"))
            .also(other.span, "the other value")
            .help("keep one of them");
    }
}

fn swap(service: &Service, report: &mut Report) {
    let Some(swap) = service.limits.swap.as_ref().filter(|swap| swap.value > 0) else {
        return;
    };
    match service.limit(|limits| limits.memory.as_ref()) {
        Some(memory) if u64::try_from(swap.value).is_ok_and(|swap| swap < memory.value) => {
            report
                .error(swap.span, "`memswap_limit` is lower than the limit of memory")
                .note("it counts memory and swap together")
                .also(memory.span, "the limit of memory");
        }
        Some(_) => {}
        None => {
            report
                .error(swap.span, "`memswap_limit` needs a limit of memory")
                .help("set `mem_limit` as well");
        }
    }
}

fn reservation(reserved: Option<&At<u64>>, memory: Option<&At<u64>>, report: &mut Report) {
    if let (Some(reserved), Some(memory)) = (reserved, memory)
        && memory.value > 0
        && reserved.value > memory.value
    {
        report
            .error(
                reserved.span,
                format!("more memory is reserved than the limit of {}", size::show(memory.value)),
            )
            .also(memory.span, "the limit of memory");
    }
}

/// All containers' reservations together must fit into the stack's memory.
fn reservations(project: &Project, report: &mut Report) {
    let Some(cap) = project.resources.memory.as_ref().filter(|cap| cap.value > 0) else {
        return;
    };
    let mut sum = 0_u64;
    let mut first = None;
    for service in project.services.values() {
        if let Some(reserved) = service.limit(|limits| limits.reservation.as_ref()) {
            let replicas = service.replicas().map_or(1, |at| at.value);
            sum = sum.saturating_add(reserved.value.saturating_mul(u64::from(replicas)));
            first = first.or(Some(reserved.span));
        }
    }
    if let Some(span) = first.filter(|_| sum > cap.value) {
        let message = format!(
            "the services reserve {} together, more than the stack's {}",
            size::show(sum),
            size::show(cap.value)
        );
        report.error(cap.span, message).label(CAP).also(span, "the first reservation");
    }
}
