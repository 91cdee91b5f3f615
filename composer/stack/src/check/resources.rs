//! Limits: the same one given twice, against each other, the stack's cap and the host.

use super::project::{Named, Project};
use crate::diagnostic::Report;
use crate::limits::Limits;
use crate::options::HostFacts;
use crate::size;
use crate::values;

pub(crate) use changed::{beyond, contradiction};

mod bounds;
mod changed;
mod exclusive;
mod io;
mod pages;
mod realtime;
mod sums;

pub(super) fn check(project: Project<'_>, report: &mut Report) {
    for service in project.services() {
        twice(service, report);
    }
    let stack = Limits::of_stack(project.root);
    // A file means the same on every host.
    let host = project.options.host.as_ref().filter(|_| project.running());
    let before = report.errors();
    of_stack(&stack, host, report);
    for service in project.services() {
        let limits = Limits::of_service(service.node());
        // Docker Compose shows these, and only the engine refuses them.
        report.doubting(!project.running(), |report| theirs(service, &limits, host, report));
        ours(service, &limits, &stack, host, report);
    }
    sums::reservations(project, &stack, host, report);
    if let Some(host) = host {
        exclusive::check(project, &stack, host, report);
        realtime::check(project, host, report);
    }
    if !project.running() && report.errors() == before {
        sums::overcommitment(project, &stack, report);
    }
}

/// What `x-resources` says by itself.
fn of_stack(stack: &Limits, host: Option<&HostFacts>, report: &mut Report) {
    bounds::of_one(stack, report);
    io::of_one(stack, host, report);
    pages::of_one(stack, host, report);
    if let Some(host) = host {
        bounds::against_host(stack, host, report);
    }
    reservation(stack, report);
    if let Some(swap) = stack.swap.filter(|_| stack.memory.is_none()) {
        report
            .error(swap.span, "a limit of swap needs one of memory")
            .note("the kernel counts memory and swap together")
            .help("set `memory` as well");
    }
}

/// A service's limits in the keys of the specification.
fn theirs(service: Named<'_>, limits: &Limits, host: Option<&HostFacts>, report: &mut Report) {
    bounds::weights(service, report);
    bounds::of_one(limits, report);
    io::of_one(limits, host, report);
    for limits in [&Limits::beside(service.node()), &Limits::deployed(service.node())] {
        if let Some(host) = host {
            bounds::against_host(limits, host, report);
        }
    }
    swap(limits, report);
    reservation(limits, report);
    times(limits, report);
    weights(limits, report);
    real_time(limits, report);
}

/// Those in keys of our own, and all of them against the stack's.
fn ours(service: Named<'_>, limits: &Limits, stack: &Limits, host: Option<&HostFacts>, report: &mut Report) {
    pages::of_one(limits, host, report);
    io::against_stack(limits, stack, report);
    pages::against_stack(limits, stack, report);
    for limits in [&Limits::beside(service.node()), &Limits::deployed(service.node())] {
        bounds::against_stack(limits, stack, report);
    }
    burst(limits, report);
    high(limits, report);
    idle(limits, report);
}

/// A limit of a service, and the same one below `deploy.resources`.
const PAIRS: [(&str, &str, &str); 4] = [
    ("cpus", "limits", "cpus"),
    ("mem_limit", "limits", "memory"),
    ("pids_limit", "limits", "pids"),
    ("mem_reservation", "reservations", "memory"),
];

/// The same limit in both places must have one value. Docker Compose takes what `deploy.resources.limits` leaves out
/// for a value too.
fn twice(service: Named<'_>, report: &mut Report) {
    for (key, group, below) in PAIRS {
        let Some(own) = service.get(key) else { continue };
        let Some(value) = values::number(own).filter(|value| *value != 0.0) else { continue };
        let Some(others) = service.at(&["deploy", "resources", group]) else { continue };
        match others.get(below).filter(|other| !other.is_null()) {
            Some(other) if values::number(other) == Some(value) => {}
            Some(other) => {
                report
                    .error(
                        own.span,
                        format!("`{key}` and `deploy.resources.{group}.{below}` have different values"),
                    )
                    .also(other.span, "the other value")
                    .help("keep one of them");
            }
            None => {
                report
                    .error(
                        own.span,
                        format!("`{key}` is given, but `deploy.resources.{group}` has no `{below}`"),
                    )
                    .also(others.span, "with this there, every limit belongs into it")
                    .help(format!("move it there, as `{below}`"));
            }
        }
    }
}

fn swap(limits: &Limits, report: &mut Report) {
    let Some(swap) = limits.swap.filter(|swap| swap.value > 0) else {
        return;
    };
    match limits.memory {
        Some(memory) if swap.value < memory.value => {
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

/// `cpus` is a quota in a period of its own.
fn times(limits: &Limits, report: &mut Report) {
    for (key, other) in [("cpu_quota", limits.cpu_quota), ("cpu_period", limits.cpu_period)] {
        if let (Some(cpus), Some(other)) = (limits.cpus, other) {
            report
                .error(other.span, format!("`{key}` and `cpus` are both given"))
                .also(cpus.span, "this is quota by period already")
                .help("keep one of them");
        }
    }
}

/// It is saved up of a quota.
fn burst(limits: &Limits, report: &mut Report) {
    let Some(burst) = limits.cpu_burst else { return };
    let quota = limits.cpu_quota.filter(|quota| quota.value > 0).map(|at| (at.span, at.value));
    #[expect(clippy::cast_possible_truncation, reason = "checked to be no more CPUs than there are")]
    let by_cpus = || limits.cpus.map(|at| (at.span, (at.value * 100_000.0) as i64));
    match quota.or_else(by_cpus) {
        Some((span, quota)) if burst.value > quota => {
            report
                .error(
                    burst.span,
                    format!("a burst of {} µs is more than the quota of {quota} µs", burst.value),
                )
                .also(span, "the quota in each period");
        }
        Some(_) => {}
        None => {
            report
                .error(burst.span, "`x-cpu-burst` needs a limit of CPU time, of which it is saved up")
                .help("set `cpus` or `cpu_quota` as well");
        }
    }
}

/// Slowing down has to come before the end.
fn high(limits: &Limits, report: &mut Report) {
    if let (Some(high), Some(memory)) = (limits.high, limits.memory)
        && high.value >= memory.value
    {
        report
            .error(
                high.span,
                format!("`x-mem-high` is never reached: the limit of memory is {}", shown(memory.value)),
            )
            .also(memory.span, "the limit of memory");
    }
}

fn reservation(limits: &Limits, report: &mut Report) {
    if let (Some(reserved), Some(memory)) = (limits.reservation, limits.memory)
        && reserved.value > memory.value
    {
        report
            .error(
                reserved.span,
                format!("more memory is reserved than the limit of {}", shown(memory.value)),
            )
            .also(memory.span, "the limit of memory");
    }
    if let (Some(reserved), Some(cpus)) = (limits.reserved_cpus, limits.cpu_time())
        && reserved.value > cpus.value
    {
        report
            .error(reserved.span, format!("more CPUs are reserved than the limit of {}", cpus.value))
            .also(cpus.span, "the limit of CPU time");
    }
}

/// A weight that is given is none that is reckoned.
fn weights(limits: &Limits, report: &mut Report) {
    if let (Some(shares), Some(reserved)) = (limits.cpu_shares, limits.reserved_cpus) {
        report
            .error(shares.span, "`cpu_shares` and `deploy.resources.reservations.cpus` are both weights")
            .also(reserved.span, "of what is reserved a weight is made")
            .help("keep one of them");
    }
}

/// What is idle has no weight.
fn idle(limits: &Limits, report: &mut Report) {
    let other = limits.cpu_shares.map(|at| at.span).or(limits.reserved_cpus.map(|at| at.span));
    if let (Some(idle), Some(other)) = (limits.cpu_idle, other) {
        report
            .error(idle.span, "`x-cpu-idle` is the least weight that there is, and another is given")
            .also(other, "the other weight")
            .help("keep one of them");
    }
}

fn real_time(limits: &Limits, report: &mut Report) {
    let period = limits.rt_period.map_or(1_000_000, |at| at.value);
    match (limits.rt_runtime, limits.rt_period) {
        (Some(runtime), _) if runtime.value > period => {
            let message =
                format!("a real-time runtime of {} µs is more than its period of {period} µs", runtime.value);
            report.error(runtime.span, message);
        }
        (None, Some(period)) => {
            report
                .error(period.span, "`cpu_rt_period` says nothing without `cpu_rt_runtime`")
                .help("set `cpu_rt_runtime` as well");
        }
        (Some(_) | None, _) => {}
    }
}

/// An amount of bytes for users.
fn shown(bytes: i64) -> String {
    size::show(u64::try_from(bytes).unwrap_or_default())
}
