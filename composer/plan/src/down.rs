//! From what exists to nothing, or to nothing running: dependents first.

use std::collections::{BTreeMap, BTreeSet};

use crate::graph::{Plan, Step, StepId};
use crate::observed::{Observed, ObservedState};

/// What `down` was asked to do.
#[derive(Clone, Debug, Default)]
pub struct DownOptions {
    /// The services named on the command line; empty means all, with network and cgroup.
    pub services: Vec<String>,
    /// Whether the stack's volumes go as well.
    pub volumes: bool,
}

/// The steps that take the stack away. It reads nothing but what exists, so it works without the file.
pub fn down(observed: &Observed, options: &DownOptions) -> Plan {
    let mut plan = Plan::new();
    let cause = "the stack is taken down";
    let stops = stops(&mut plan, observed, &options.services, cause);
    let mut removes = Vec::new();
    for name in chosen(observed, &options.services) {
        let remove = plan.add(Step::Remove { container: name.to_owned() }, cause);
        if let Some(stop) = stops.get(name) {
            plan.order(*stop, remove);
        }
        removes.push(remove);
    }
    if !options.services.is_empty() {
        return plan;
    }
    // Links go in one sweep, once nothing uses them: see composer_network::Host::remove_group.
    let network = plan.add(Step::RemoveNetwork, cause);
    let group = plan.add(Step::RemoveGroup, cause);
    let mut last = vec![network, group];
    if options.volumes {
        for name in &observed.volumes {
            last.push(plan.add(Step::RemoveVolume(name.clone()), "volumes were asked to go too"));
        }
    }
    for remove in &removes {
        last.iter().for_each(|step| plan.order(*remove, *step));
    }
    plan
}

/// The steps that end the programs and leave their containers.
pub fn stop(observed: &Observed, services: &[String]) -> Plan {
    let mut plan = Plan::new();
    stops(&mut plan, observed, services, "the stack is stopped");
    plan
}

fn chosen<'a>(observed: &'a Observed, services: &[String]) -> Vec<&'a str> {
    let chosen =
        observed.containers.iter().filter(|(_, c)| services.is_empty() || services.contains(&c.service));
    chosen.map(|(name, _)| name.as_str()).collect()
}

/// A container stops as soon as every running container that depends on its service has stopped.
fn stops<'a>(
    plan: &mut Plan,
    observed: &'a Observed,
    services: &[String],
    cause: &str,
) -> BTreeMap<&'a str, StepId> {
    let mut stops = BTreeMap::new();
    for name in chosen(observed, services) {
        if observed.containers[name].state == ObservedState::Running {
            stops.insert(name, plan.add(Step::Stop { container: name.to_owned() }, cause));
        }
    }
    // Records may come from different versions of a file: an edge that would close a cycle is left out.
    let mut after: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (dependent, step) in &stops {
        for (dependency, then) in &stops {
            let wants = observed.containers[*dependent]
                .depends_on
                .contains(&observed.containers[*dependency].service);
            if wants && dependent != dependency && !reaches(&after, dependency, dependent) {
                plan.order(*step, *then);
                after.entry(dependent).or_default().insert(dependency);
            }
        }
    }
    stops
}

fn reaches(after: &BTreeMap<&str, BTreeSet<&str>>, from: &str, to: &str) -> bool {
    let mut seen = BTreeSet::new();
    let mut queue = vec![from];
    while let Some(name) = queue.pop() {
        if name == to {
            return true;
        }
        if seen.insert(name) {
            queue.extend(after.get(name).into_iter().flatten());
        }
    }
    false
}
