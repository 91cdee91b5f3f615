//! What all containers together are promised and may take, against the stack's cap and the host.

use super::{bounds, shown};
use crate::check::project::Project;
use crate::diagnostic::Report;
use crate::limits::{self, Limits};
use crate::options::HostFacts;
use crate::source::Span;
use crate::values::At;

/// How many containers count a service's limits.
fn each(project: Project<'_>) -> impl Iterator<Item = (Limits, i64)> + use<'_> {
    project.services().map(|service| {
        let replicas = limits::replicas(service.node()).map_or(1, |at| at.value.max(0));
        (Limits::of_service(service.node()), replicas)
    })
}

/// A sum over all containers, with the place of the first summand.
fn sum<T: Copy>(
    project: Project<'_>,
    of: impl Fn(&Limits) -> Option<At<T>>,
    number: impl Fn(T) -> f64,
) -> Option<(f64, Span)> {
    let mut first = None;
    let mut total = 0.0;
    for (limits, replicas) in each(project) {
        if let Some(at) = of(&limits) {
            first.get_or_insert(at.span);
            #[expect(clippy::cast_precision_loss, reason = "there are not that many containers")]
            {
                total += number(at.value) * replicas as f64;
            }
        }
    }
    first.map(|span| (total, span))
}

#[expect(clippy::cast_precision_loss, reason = "nobody reads that many digits")]
fn float(value: i64) -> f64 {
    value as f64
}

#[expect(clippy::cast_possible_truncation, reason = "what is beyond is the greatest")]
fn bytes(value: f64) -> String {
    shown(value as i64)
}

fn plain(value: f64) -> String {
    // Sums of decimals are no decimals.
    ((value * 1000.0).round() / 1000.0).to_string()
}

/// All containers' reservations together must fit into the stack's cap, and the host.
pub(super) fn reservations(
    project: Project<'_>,
    stack: &Limits,
    host: Option<&HostFacts>,
    report: &mut Report,
) {
    if let (Some(cap), Some((sum, first))) = (stack.memory, sum(project, |own| own.reservation, float))
        && sum > float(cap.value)
    {
        let message = format!(
            "the services reserve {} together, more than the stack's {}",
            bytes(sum),
            shown(cap.value)
        );
        report.error(cap.span, message).label(bounds::CAP).also(first, "the first reservation");
    }
    let Some((sum, first)) = sum(project, |own| own.reserved_cpus, |cpus| cpus) else { return };
    match (stack.cpus, host) {
        (Some(cap), _) if sum > cap.value => {
            let message = format!(
                "the services reserve {} CPUs together, more than the stack's {}",
                plain(sum),
                cap.value
            );
            report.error(cap.span, message).label(bounds::CAP).also(first, "the first reservation");
        }
        #[expect(clippy::cast_precision_loss, reason = "numbers of CPUs are small")]
        (_, Some(host)) if sum > host.cpus_online.len() as f64 => {
            report
                .error(first, format!("the services reserve {} CPUs together", plain(sum)))
                .note(bounds::has_cpus(host));
        }
        (Some(_) | None, _) => {}
    }
}

/// The limits of all containers may come to more than the stack's: then not all can take theirs at the same time.
pub(super) fn overcommitment(project: Project<'_>, stack: &Limits, report: &mut Report) {
    let mut tell =
        |cap: Option<(Span, f64)>, sum: Option<(f64, Span)>, show: fn(f64) -> String, what: &str| {
            if let (Some((span, cap)), Some((sum, first))) = (cap, sum)
                && sum > cap
            {
                let message = format!(
                    "the services' limits come to {}{what} together, {} above the stack's {}",
                    show(sum),
                    show(sum - cap),
                    show(cap)
                );
                report
                    .warning(span, message)
                    .note("that is allowed: they cannot all reach theirs at the same time")
                    .also(first, "the first of them");
            }
        };
    let whole = |at: At<i64>| (at.span, float(at.value));
    tell(stack.memory.map(whole), sum(project, |own| own.memory, float), bytes, " of memory");
    tell(stack.cpus.map(|at| (at.span, at.value)), sum(project, |own| own.cpus, |cpus| cpus), plain, " CPUs");
    tell(
        stack.pids.filter(|at| at.value > 0).map(whole),
        sum(project, |own| own.pids.filter(|at| at.value > 0), float),
        plain,
        " processes",
    );
}
