//! Limits that change while containers run, by the checks of the file.

use super::{bounds, burst, high, idle, io, pages, real_time, reservation, swap, times, weights};
use crate::check::oom;
use crate::diagnostic::Report;
use crate::limits::Limits;
use crate::model::Resources;
use crate::set::Settable;

/// Why limits cannot hold together, and with what is done when memory runs out, where they cannot.
pub(crate) fn contradiction(settable: &Settable) -> Option<String> {
    let (limits, mut report) = (Limits::of(&settable.resources), Report::default());
    bounds::of_one(&limits, &mut report);
    io::of_one(&limits, None, &mut report);
    pages::of_one(&limits, None, &mut report);
    for check in [swap, reservation, times, burst, high, weights, idle, real_time] {
        check(&limits, &mut report);
    }
    oom::of_changed(settable, &limits, &mut report);
    first(report)
}

/// Which of a service's limits is beyond this cap of the whole stack.
pub(crate) fn beyond(cap: &Resources, own: &Settable) -> Option<String> {
    let (cap, limits, mut report) = (Limits::of(cap), Limits::of(&own.resources), Report::default());
    bounds::against_stack(&limits, &cap, &mut report);
    io::against_stack(&limits, &cap, &mut report);
    pages::against_stack(&limits, &cap, &mut report);
    oom::changed_within(&own.oom, &cap, &mut report);
    first(report)
}

/// In words, as there is no place to show.
fn first(report: Report) -> Option<String> {
    let found = report.found.into_iter().next()?;
    let words = [Some(found.message), found.note, found.help];
    Some(words.into_iter().flatten().collect::<Vec<_>>().join("; "))
}
