//! Real-time CPU time, of which a host has only so much: `cpu_rt_runtime`.

use crate::check::project::Project;
use crate::diagnostic::Report;
use crate::limits::{self, Limits};
use crate::options::HostFacts;

const SECOND: i64 = 1_000_000;

pub(super) fn check(project: Project<'_>, host: &HostFacts, report: &mut Report) {
    let asking = project.services().filter_map(|service| {
        let limits = Limits::of_service(service.node());
        let period = limits.rt_period.map_or(SECOND, |at| at.value);
        let runtime = limits.rt_runtime.filter(|runtime| runtime.value <= period)?;
        let replicas = limits::replicas(service.node()).map_or(1, |at| at.value.max(0));
        // As the kernel's groups are given it: rounded up.
        let each = runtime.value.saturating_mul(SECOND).saturating_add(period - 1) / period;
        (replicas > 0).then_some((runtime.span, each, each.saturating_mul(replicas)))
    });
    let asking: Vec<_> = asking.collect();
    let Some(look) = host.real_time.filter(|_| !asking.is_empty()) else { return };
    let Some(left) = look(project.name()).map(|left| i64::try_from(left).unwrap_or(i64::MAX)) else { return };
    let note = format!(
        "{left} µs are left of what this host gives real-time tasks (/proc/sys/kernel/sched_rt_runtime_us, and control groups of \
         others)"
    );
    let mut sum = 0_i64;
    for (span, each, all) in asking {
        if each > left {
            let message = format!("{each} µs of real-time CPU time in each second are more than can be had");
            report.error(span, message).note(note.clone());
            return;
        }
        sum = sum.saturating_add(all);
        if sum > left {
            let message = format!(
                "the services' real-time CPU time comes to {sum} µs in each second, more than can be had"
            );
            report.error(span, message).note(note.clone());
            return;
        }
    }
}
