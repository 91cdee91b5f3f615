//! Weights and rates of block devices: `blkio_config` and `x-resources.limits.io`.

use std::collections::HashMap;

use super::bounds::CAP;
use crate::diagnostic::Report;
use crate::limits::{IoKind, IoLimit, Limits};
use crate::options::{Block, HostFacts};
use crate::source::Span;

const WEIGHTS: std::ops::RangeInclusive<i64> = 10..=1000;

pub(super) fn of_one(limits: &Limits, host: Option<&HostFacts>, report: &mut Report) {
    let single = limits.io.iter().filter(|limit| limit.kind == IoKind::Weight).map(|limit| limit.value);
    for weight in limits.io_weight.into_iter().chain(single) {
        if !WEIGHTS.contains(&weight.value) {
            report
                .error(weight.span, format!("a weight of {} is out of range", weight.value))
                .help("it may be 10 to 1000, or 0, which leaves the default");
        }
    }
    let mut seen: HashMap<(&str, String), Span> = HashMap::new();
    for limit in &limits.io {
        let Some(device) = device(limit, host, report) else { continue };
        let list = list_of(limit.kind);
        if let Some(first) = seen.insert((list, device), limit.path.span) {
            report
                .error(limit.path.span, format!("`{}` is in `{list}` twice", limit.path.value))
                .also(first, "the first time")
                .help("keep one of them");
        }
    }
}

/// What a path leads to, as far as two can be told apart; `None` where it has been refused.
fn device(limit: &IoLimit, host: Option<&HostFacts>, report: &mut Report) -> Option<String> {
    let (path, span) = (&limit.path.value, limit.path.span);
    if !path.starts_with('/') {
        report
            .error(span, format!("`{path}` is not the path of a block device"))
            .help("a path begins with `/`: `/dev/sda`");
        return None;
    }
    match host.and_then(|host| host.block).map(|look| look(path)) {
        None => Some(path.clone()),
        Some(Block::Disk(major, minor)) => Some(format!("{major}:{minor}")),
        Some(Block::Partition(disk)) => {
            report
                .error(span, format!("`{path}` is a partition, and the kernel shares out whole disks"))
                .help(format!("name the disk that it is on: `{disk}`"));
            None
        }
        Some(Block::None(why)) => {
            report
                .error(span, format!("`{path}` is no block device of this host: {why}"))
                .help("`lsblk --nodeps --paths` lists them");
            None
        }
    }
}

fn list_of(kind: IoKind) -> &'static str {
    IoKind::ALL.iter().find(|(other, ..)| *other == kind).map_or("", |(_, list, _)| list)
}

/// A rate beyond the stack's could never be reached.
pub(super) fn against_stack(limits: &Limits, stack: &Limits, report: &mut Report) {
    for own in limits.io.iter().filter(|limit| limit.kind != IoKind::Weight) {
        let cap = stack.io.iter().find(|cap| cap.kind == own.kind && cap.path.value == own.path.value);
        if let Some(cap) = cap.filter(|cap| own.value.value > cap.value.value) {
            let message =
                format!("{} a second are more than the whole stack's {}", own.value.value, cap.value.value);
            report.error(own.value.span, message).also(cap.value.span, CAP);
        }
    }
}
