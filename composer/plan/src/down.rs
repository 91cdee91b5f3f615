//! From what exists to nothing, or to nothing running: dependents first.

use std::collections::{BTreeMap, BTreeSet};

use crate::edges::Edges;
use crate::graph::{Plan, Step, StepId};
use crate::observed::{Found, Observed};

/// What `down` was asked to do.
#[derive(Clone, Debug, Default)]
pub struct DownOptions {
    /// The services named on the command line; empty means all, with network and cgroup.
    pub services: Vec<String>,
    /// Whether volumes go as well: those without a name with their containers, the stack's with all of it.
    pub volumes: bool,
}

/// What `rm` was asked to do.
#[derive(Clone, Debug, Default)]
pub struct RemoveOptions {
    /// The services named on the command line; empty means all.
    pub services: Vec<String>,
    /// The only containers that are meant, where there are any.
    pub named: Vec<String>,
    /// Whether those that run are stopped first.
    pub stop: bool,
    /// Whether their volumes without a name go as well.
    pub volumes: bool,
}

/// The steps that take the stack away. It reads nothing but what exists, so it works without the file.
pub fn down(observed: &Observed, options: &DownOptions) -> Plan {
    let mut plan = Plan::new();
    let cause = "the stack is taken down";
    let chosen = chosen(observed, &options.services);
    let stops = stops(&mut plan, observed, &chosen, cause);
    let removes = removes(&mut plan, &chosen, &stops, options.volumes, cause);
    if !options.services.is_empty() {
        return plan;
    }
    // Links go in one sweep, once nothing uses them: see composer_network::Host::remove_group.
    let network = plan.add(Step::RemoveNetworks, cause);
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
    let cause = if services.is_empty() { "the stack is stopped" } else { "its service is stopped" };
    stops(&mut plan, observed, &chosen(observed, services), cause);
    plan
}

/// The steps that take away containers of these services that do not run; with `stop` the others too. `named` are the
/// only ones where there are any: what has been started since they were looked at stays.
pub fn remove(observed: &Observed, options: &RemoveOptions) -> Plan {
    let RemoveOptions { services, named, stop, volumes } = options;
    let mut plan = Plan::new();
    let cause = "stopped containers are removed";
    let names: BTreeSet<&str> = named.iter().map(String::as_str).collect();
    let mut chosen = chosen(observed, services);
    chosen.retain(|found| {
        (names.is_empty() || names.contains(found.name)) && (*stop || !found.container.runs())
    });
    let stops = stops(&mut plan, observed, &chosen, cause);
    removes(&mut plan, &chosen, &stops, *volumes, cause);
    plan
}

fn chosen<'a>(observed: &'a Observed, services: &[String]) -> Vec<Found<'a>> {
    let services: BTreeSet<&str> = services.iter().map(String::as_str).collect();
    let chosen = observed.containers.iter().map(|(name, container)| Found { name, container });
    chosen.filter(|found| services.is_empty() || services.contains(found.container.service())).collect()
}

fn removes(
    plan: &mut Plan,
    chosen: &[Found<'_>],
    stops: &BTreeMap<&str, StepId>,
    volumes: bool,
    cause: &str,
) -> Vec<StepId> {
    let remove = |found: &Found<'_>| {
        let remove = plan.add(Step::Remove { container: found.name.to_owned(), volumes }, cause);
        if let Some(stop) = stops.get(found.name) {
            plan.order(*stop, remove);
        }
        remove
    };
    chosen.iter().map(remove).collect()
}

/// A container stops as soon as every running container that depends on its service has stopped.
fn stops<'a>(
    plan: &mut Plan,
    observed: &'a Observed,
    chosen: &[Found<'a>],
    cause: &str,
) -> BTreeMap<&'a str, StepId> {
    let mut stops = BTreeMap::new();
    let mut of_service: BTreeMap<&str, Vec<StepId>> = BTreeMap::new();
    for found in chosen.iter().filter(|found| found.container.runs()) {
        let stop = plan.add(Step::Stop { container: found.name.to_owned() }, cause);
        stops.insert(found.name, stop);
        of_service.entry(found.container.service()).or_default().push(stop);
    }
    stop_dependents_first(plan, &Edges::of_containers(observed), &of_service);
    stops
}

/// Orders the steps that stop the containers of each service: those of dependents come first.
pub(crate) fn stop_dependents_first(plan: &mut Plan, edges: &Edges<'_>, stops: &BTreeMap<&str, Vec<StepId>>) {
    for (service, first) in stops {
        let nearest = edges.nearest(service, |name| stops.contains_key(name));
        for then in nearest.into_iter().filter_map(|name| stops.get(name)) {
            for (stop, next) in first.iter().flat_map(|stop| then.iter().map(move |next| (stop, next))) {
                plan.order(*stop, *next);
            }
        }
    }
}
