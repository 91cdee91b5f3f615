//! Limits and reservations: beside the service, under `deploy`, and as `x-resources`.

use std::collections::BTreeSet;

use super::fields::{Fields, at, bad_value, bytes, count, integer, number, string};
use super::project::{At, Deploy, Limits};
use crate::diagnostic::Report;
use crate::yaml::{Node, Resolved, Value};
use crate::{cpuset, keys};

/// PID_MAX_LIMIT of linux/threads.h: the kernel's pids.max takes no more on a 64-bit machine.
const MOST_PIDS: i64 = 4 << 20;

/// Takes the limits that stand beside a service's other keys.
pub(super) fn service(fields: &mut Fields<'_>, report: &mut Report) -> Limits {
    Limits {
        cpus: fields.with("cpus", report, number),
        cpu_shares: fields.with("cpu_shares", report, shares),
        cpuset: fields.with("cpuset", report, cpus),
        memory: fields.with("mem_limit", report, bytes),
        reservation: fields.with("mem_reservation", report, bytes),
        reserved_cpus: None,
        swap: fields.with("memswap_limit", report, swap),
        pids: fields.with("pids_limit", report, pids),
    }
}

/// Decodes `deploy`.
pub(super) fn deploy(name: &str, node: &Node, report: &mut Report) -> Option<Deploy> {
    if node.is_null() {
        return None;
    }
    let mut fields = Fields::open(name, node, report)?;
    let mut out = Deploy { replicas: fields.with("replicas", report, count), ..Deploy::default() };
    if let Some(entry) = fields.take("resources") {
        out.has_resources = true;
        out.limits = resources(&entry.node, false, report);
    }
    out.extensions = fields.finish("`deploy`", keys::DEPLOY, report);
    Some(out)
}

/// Decodes `x-resources`.
pub(super) fn stack(node: &Node, report: &mut Report) -> Limits {
    resources(node, true, report)
}

/// `limits` and `reservations`. `cpuset` is there only for the whole stack: Compose has it beside the service.
fn resources(node: &Node, whole_stack: bool, report: &mut Report) -> Limits {
    let mut out = Limits::default();
    let owner = if whole_stack { "x-resources" } else { "resources" };
    let Some(mut fields) = Fields::open(owner, node, report) else {
        return out;
    };
    if let Some(entry) = fields.take("limits")
        && let Some(mut limits) = Fields::open("limits", &entry.node, report)
    {
        out.cpus = limits.with("cpus", report, number);
        out.memory = limits.with("memory", report, bytes);
        out.pids = limits.with("pids", report, pids);
        if whole_stack {
            out.cpuset = limits.with("cpuset", report, cpus);
        }
        limits.finish("`limits`", keys::DEPLOY_LIMITS, report);
    }
    if let Some(entry) = fields.take("reservations")
        && let Some(mut reservations) = Fields::open("reservations", &entry.node, report)
    {
        out.reserved_cpus = reservations.with("cpus", report, number);
        out.reservation = reservations.with("memory", report, bytes);
        reservations.finish("`reservations`", keys::DEPLOY_RESERVATIONS, report);
    }
    fields.finish(&format!("`{owner}`"), keys::DEPLOY_RESOURCES, report);
    out
}

/// Docker's range; 0 leaves the default.
fn shares(name: &str, node: &Node, report: &mut Report) -> Option<At<u64>> {
    let At { value, span } = integer(name, node, 0..=262_144, report)?;
    if value == 1 {
        bad_value(node, "`cpu_shares` must be 2 to 262144".to_owned(), report);
        return None;
    }
    u64::try_from(value).ok().map(|value| At { value, span })
}

fn pids(name: &str, node: &Node, report: &mut Report) -> Option<At<i64>> {
    integer(name, node, -1..=MOST_PIDS, report)
}

fn swap(name: &str, node: &Node, report: &mut Report) -> Option<At<i64>> {
    if let Value::Scalar(scalar) = &node.value
        && (scalar.text == "-1" || scalar.resolve() == Resolved::Int(-1))
    {
        return Some(at(node, -1));
    }
    let At { value, span } = bytes(name, node, report)?;
    i64::try_from(value).ok().map(|value| At { value, span })
}

fn cpus(name: &str, node: &Node, report: &mut Report) -> Option<At<BTreeSet<u32>>> {
    let text = match &node.value {
        // A single CPU is a number unless it is quoted; nothing is gained by refusing it.
        Value::Scalar(scalar) if matches!(scalar.resolve(), Resolved::Int(_)) => scalar.text.clone(),
        Value::Scalar(_) | Value::List(_) | Value::Map(_) => string(name, node, report)?,
    };
    if text.is_empty() {
        return None;
    }
    let cpus = cpuset::parse(&text);
    if cpus.is_none() {
        let message = format!("`{text}` is not a list of CPUs");
        bad_value(node, message, report).help("write numbers and ranges: `\"0-2,4\"`");
    }
    cpus.map(|cpus| at(node, cpus))
}
