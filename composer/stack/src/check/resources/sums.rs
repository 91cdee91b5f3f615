//! What all containers together are promised and may take, against the stack's cap and the host.

use super::{bounds, shown};
use crate::check::project::Project;
use crate::diagnostic::Report;
use crate::limits::{self, Limits};
use crate::options::HostFacts;
use crate::size;
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

/// All containers' reservations together must fit into the stack's cap, its own reservations, and the host.
#[expect(clippy::cast_precision_loss, reason = "nobody reads that many digits")]
pub(super) fn reservations(
    project: Project<'_>,
    stack: &Limits,
    host: Option<&HostFacts>,
    report: &mut Report,
) {
    if let Some(sum) = sum(project, |own| own.reservation, float) {
        let bound = |at: Option<At<i64>>| at.map(|at| (at.span, float(at.value)));
        let memory = Promise { what: " of memory", sum, show: bytes };
        let there =
            host.map(|host| (host.memory as f64, format!("this host has {}", size::show(host.memory))));
        memory.check(bound(stack.memory), bound(stack.reservation), there, report);
    }
    if let Some(sum) = sum(project, |own| own.reserved_cpus, |cpus| cpus) {
        let bound = |at: Option<At<f64>>| at.map(|at| (at.span, at.value));
        let cpus = Promise { what: " CPUs", sum, show: plain };
        let there = host.map(|host| (host.cpus_online.len() as f64, bounds::has_cpus(host)));
        cpus.check(bound(stack.cpus), bound(stack.reserved_cpus), there, report);
    }
}

/// What all containers are promised together, with the place of the first promise.
struct Promise {
    what: &'static str,
    sum: (f64, Span),
    show: fn(f64) -> String,
}

impl Promise {
    /// Holds it against the stack's limit, what the stack itself is promised, and what this host has, in words too.
    fn check(
        self,
        limit: Option<(Span, f64)>,
        promised: Option<(Span, f64)>,
        there: Option<(f64, String)>,
        report: &mut Report,
    ) {
        let Self { what, sum: (sum, first), show } = self;
        let reserve = format!("the services reserve {}{what} together", show(sum));
        let above = |bound: Option<(Span, f64)>| bound.filter(|(_, bound)| sum > *bound);
        if let Some((span, cap)) = above(limit) {
            report
                .error(span, format!("{reserve}, more than the stack's {}", show(cap)))
                .label(bounds::CAP)
                .also(first, "the first reservation");
        } else if let Some((span, own)) = above(promised) {
            report
                .error(span, format!("{reserve}, more than the {} that the stack reserves", show(own)))
                .also(first, "the first reservation")
                .help("raise it to their sum, or lower theirs");
        } else if let Some((_, words)) = there.filter(|(there, _)| sum > *there) {
            report.error(first, reserve).label("the first reservation").note(words);
        }
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
                    .note(span, message)
                    .note("that is allowed: they cannot all reach theirs at the same time")
                    .also(first, "the first of them");
            }
        };
    let whole = |at: At<i64>| (at.span, float(at.value));
    tell(stack.memory.map(whole), sum(project, |own| own.memory, float), bytes, " of memory");
    tell(
        stack.cpus.map(|at| (at.span, at.value)),
        sum(project, Limits::cpu_time, |cpus| cpus),
        plain,
        " CPUs",
    );
    tell(
        stack.pids.filter(|at| at.value > 0).map(whole),
        sum(project, |own| own.pids.filter(|at| at.value > 0), float),
        plain,
        " processes",
    );
}
