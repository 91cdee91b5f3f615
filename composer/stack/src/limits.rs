//! Limits and reservations as the file gives them: beside a service, under its `deploy`, or as `x-resources`.

use std::collections::BTreeSet;

use crate::cpuset;
use crate::values::{self, At};
use crate::yaml::Node;

/// So many containers of one service are the most that are run.
pub const MOST_REPLICAS: i64 = 10_000;

/// What was given in one place; zero, which is no limit, is left out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Limits {
    pub cpus: Option<At<f64>>,
    pub cpu_shares: Option<At<i64>>,
    pub cpuset: Option<At<BTreeSet<u32>>>,
    pub memory: Option<At<i64>>,
    pub reservation: Option<At<i64>>,
    pub swap: Option<At<i64>>,
    pub pids: Option<At<i64>>,
    pub cpu_quota: Option<At<i64>>,
    pub cpu_period: Option<At<i64>>,
    pub cpu_burst: Option<At<i64>>,
    pub high: Option<At<i64>>,
    pub swappiness: Option<At<i64>>,
    pub oom_kill_disable: bool,
}

impl Limits {
    /// Beside a service's other keys.
    pub fn beside(service: &Node) -> Self {
        Self {
            cpus: number(service.get("cpus")),
            cpu_shares: whole(service.get("cpu_shares")),
            cpuset: cpus(service.get("cpuset")),
            memory: positive(service.get("mem_limit")),
            reservation: positive(service.get("mem_reservation")),
            swap: whole(service.get("memswap_limit")),
            pids: whole(service.get("pids_limit")),
            cpu_quota: whole(service.get("cpu_quota")),
            cpu_period: positive(service.get("cpu_period")),
            cpu_burst: positive(service.get("x-cpu-burst")),
            high: positive(service.get("x-mem-high")),
            // Zero is a value of it, and -1 leaves the host's.
            swappiness: any(service.get("mem_swappiness")).filter(|at| at.value >= 0),
            oom_kill_disable: values::flag(service.get("oom_kill_disable")),
        }
    }

    /// Below `deploy`.
    pub fn deployed(service: &Node) -> Self {
        service
            .get("deploy")
            .and_then(|deploy| deploy.get("resources"))
            .map(Self::resources)
            .unwrap_or_default()
    }

    /// A service's, whichever place they were given in.
    pub fn of_service(service: &Node) -> Self {
        let (own, other) = (Self::beside(service), Self::deployed(service));
        Self {
            cpus: own.cpus.or(other.cpus),
            memory: own.memory.or(other.memory),
            reservation: own.reservation.or(other.reservation),
            pids: own.pids.or(other.pids),
            ..own
        }
    }

    /// Those of the whole stack.
    pub fn of_stack(root: &Node) -> Self {
        root.get("x-resources").map(Self::resources).unwrap_or_default()
    }

    /// `limits` and `reservations`; `cpuset` is there for the whole stack alone.
    fn resources(node: &Node) -> Self {
        let limit = |key: &str| node.get("limits").and_then(|limits| limits.get(key));
        let reserved = |key: &str| node.get("reservations").and_then(|reserved| reserved.get(key));
        Self {
            cpus: number(limit("cpus")),
            cpuset: cpus(limit("cpuset")),
            memory: positive(limit("memory")),
            reservation: positive(reserved("memory")),
            pids: whole(limit("pids")),
            swap: together(limit("memory"), limit("swap")),
            ..Self::default()
        }
    }
}

/// How many containers a service has, with the place where that is said.
pub(crate) fn replicas(service: &Node) -> Option<At<i64>> {
    let deployed = service.get("deploy").and_then(|deploy| deploy.get("replicas"));
    let node = deployed.or_else(|| service.get("scale"))?;
    Some(At::new(node, values::whole(node)?))
}

fn number(node: Option<&Node>) -> Option<At<f64>> {
    let node = node?;
    Some(At::new(node, values::number(node)?)).filter(|at| at.value > 0.0)
}

fn any(node: Option<&Node>) -> Option<At<i64>> {
    let node = node?;
    Some(At::new(node, values::whole(node)?))
}

fn whole(node: Option<&Node>) -> Option<At<i64>> {
    any(node).filter(|at| at.value != 0)
}

/// Memory and swap together, of the two. Without a limit of memory it is swap alone, which is refused.
fn together(memory: Option<&Node>, swap: Option<&Node>) -> Option<At<i64>> {
    let swap = any(swap)?;
    let memory = positive(memory).map_or(0, |at| at.value);
    Some(At { value: if swap.value < 0 { -1 } else { memory.saturating_add(swap.value) }, ..swap })
}

fn positive(node: Option<&Node>) -> Option<At<i64>> {
    whole(node).filter(|at| at.value > 0)
}

fn cpus(node: Option<&Node>) -> Option<At<BTreeSet<u32>>> {
    let node = node?;
    Some(At::new(node, cpuset::parse(&values::scalar(node)?)?))
}
