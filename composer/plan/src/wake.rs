//! Starting what exists, and starting it anew: no container is made, and the file is not needed.

use std::collections::{BTreeMap, BTreeSet};

use composer_stack::Dependency;

use crate::down::stop_dependents_first;
use crate::edges::Edges;
use crate::gates::Gates;
use crate::graph::{Plan, Step, StepId};
use crate::observed::{Found, Observed, ObservedState};

/// The steps that start the containers of these services, and of what they depend on, in the order of the graph.
pub fn start(observed: &Observed, services: &[String]) -> Plan {
    let edges = Edges::of_containers(observed);
    let chosen = edges.with_dependencies(services);
    let found = observed.by_service();
    let mut wake = Wake::new(observed);
    for service in edges.order().iter().filter(|service| chosen.contains(*service)) {
        let (mut starts, found) = (Vec::new(), &found[service]);
        for found in found.iter().filter(|found| !found.container.runs() || found.container.unfinished) {
            let cause = match found.container.runs() {
                true => "its `post_start` has not run to a good end",
                false => "it is to be started",
            };
            starts.push(wake.start(*found, cause));
        }
        wake.after_dependencies(service, starts, edges.of(service).filter(|(name, _)| chosen.contains(name)));
    }
    wake.plan
}

/// A service that would be started and a dependency which it cannot be without, and of which there is no container,
/// though it is none of those that are to have `none`.
pub fn missing_dependency(
    observed: &Observed,
    services: &[String],
    none: &BTreeSet<String>,
) -> Option<(String, String)> {
    let edges = Edges::of_containers(observed);
    let chosen = edges.with_dependencies(services);
    let found = observed.by_service();
    let sleeping = observed
        .containers
        .values()
        .filter(|container| chosen.contains(container.service()) && !container.runs());
    let mut missing = sleeping.flat_map(|container| {
        let wanted = container.config.depends_on.iter().filter(|(_, terms)| terms.required);
        wanted.map(move |(dependency, _)| (container.service(), dependency))
    });
    let (service, dependency) = missing
        .find(|(_, dependency)| !found.contains_key(dependency.as_str()) && !none.contains(*dependency))?;
    Some((service.to_owned(), dependency.clone()))
}

/// The steps that stop and start the containers of these services, and, unless `no_deps`, of those that want to be
/// restarted with them (`depends_on.restart`). One that does not run is started.
pub fn restart(observed: &Observed, services: &[String], no_deps: bool) -> Plan {
    let edges = Edges::of_containers(observed);
    let named: BTreeSet<&str> = edges.named(services).into_iter().collect();
    let mut chosen = named.clone();
    if !no_deps {
        edges.add_restarted(&mut chosen);
    }
    let found = observed.by_service();
    let mut wake = Wake::new(observed);
    let mut stops: BTreeMap<&str, Vec<StepId>> = BTreeMap::new();
    for service in edges.order().iter().filter(|service| chosen.contains(*service)) {
        let cause = if named.contains(service) {
            "its service is restarted".to_owned()
        } else {
            let mut restarted =
                edges.of(service).filter(|(name, terms)| terms.restart && chosen.contains(name));
            let name = restarted.next().map(|(name, _)| name).unwrap_or_default();
            format!("service {name}, which it depends on with `restart: true`, is restarted")
        };
        let mut starts = Vec::new();
        for found in &found[service] {
            let stop = found
                .container
                .runs()
                .then(|| wake.plan.add(Step::Stop { container: found.name.to_owned() }, cause.clone()));
            let start = wake.start(*found, &cause);
            if let Some(stop) = stop {
                wake.plan.order(stop, start);
                stops.entry(service).or_default().push(stop);
            }
            starts.push(start);
        }
        wake.after_dependencies(service, starts, edges.of(service).filter(|(name, _)| chosen.contains(name)));
    }
    stop_dependents_first(&mut wake.plan, &edges, &stops);
    wake.plan
}

struct Wake<'a> {
    observed: &'a Observed,
    plan: Plan,
    /// What every start stands on, once there is one.
    foundations: Option<Vec<StepId>>,
    gates: Gates<'a>,
}

impl<'a> Wake<'a> {
    fn new(observed: &'a Observed) -> Self {
        Self { observed, plan: Plan::new(), foundations: None, gates: Gates::default() }
    }

    fn start(&mut self, found: Found<'a>, cause: &str) -> StepId {
        let foundations = self.foundations.get_or_insert_with(|| {
            let mut steps = Vec::new();
            if !self.observed.group {
                steps.push(self.plan.add(Step::Group, "it does not exist"));
            }
            if !self.observed.network {
                steps.push(self.plan.add(Step::Network, "it does not exist"));
            }
            steps
        });
        let cause = match found.container.state {
            ObservedState::Running | ObservedState::Created => cause.to_owned(),
            ObservedState::Exited(code) => format!("{cause}; it has ended with code {code}"),
        };
        let start = self.plan.add(Step::Start { container: found.name.to_owned() }, cause);
        foundations.iter().for_each(|step| self.plan.order(*step, start));
        start
    }

    /// Lets these start once what their service depends on is as they want it.
    fn after_dependencies(
        &mut self,
        service: &'a str,
        starts: Vec<StepId>,
        dependencies: impl Iterator<Item = (&'a str, &'a Dependency)>,
    ) {
        if !starts.is_empty() {
            for (name, terms) in dependencies {
                self.gates.order(&mut self.plan, (name, terms), service, &starts);
            }
        }
        self.gates.started(service, starts);
    }
}
