//! From what exists to what the file asks for.

use std::collections::{BTreeMap, BTreeSet};

use composer_stack::{Condition, Service, Stack, config_hash};

use crate::graph::{Plan, Step, StepId};
use crate::observed::{Observed, ObservedContainer, ObservedState};

/// What `up` was asked to do.
#[derive(Clone, Debug, Default)]
pub struct UpOptions {
    /// The services named on the command line; empty means all. Their dependencies come along.
    pub services: Vec<String>,
}

/// The steps that bring the stack up. Planning again from any state in between converges.
pub fn up(stack: &Stack, observed: &Observed, options: &UpOptions) -> Plan {
    let wanted = closure(stack, &options.services);
    let mut up = Up { stack, observed, plan: Plan::new(), started: BTreeMap::new(), gates: BTreeMap::new() };
    let base = up.foundations(&wanted);
    for name in dependency_order(stack, &wanted) {
        up.service(&stack.services[name], &base, &wanted);
    }
    up.surplus(&wanted);
    up.plan
}

/// The named services and everything they depend on; all where none is named.
fn closure<'a>(stack: &'a Stack, named: &[String]) -> BTreeSet<&'a str> {
    let mut wanted = BTreeSet::new();
    let mut queue: Vec<&str> = stack
        .services
        .keys()
        .map(String::as_str)
        .filter(|key| named.is_empty() || named.iter().any(|n| n == key))
        .collect();
    while let Some(name) = queue.pop() {
        if let Some(service) = stack.services.get(name)
            && wanted.insert(service.name.as_str())
        {
            queue.extend(service.depends_on.keys().map(String::as_str));
        }
    }
    wanted
}

/// Services so that dependencies come before dependents.
fn dependency_order<'a>(stack: &'a Stack, wanted: &BTreeSet<&'a str>) -> Vec<&'a str> {
    fn visit<'a>(stack: &'a Stack, name: &'a str, seen: &mut BTreeSet<&'a str>, order: &mut Vec<&'a str>) {
        let Some(service) = stack.services.get(name) else {
            return;
        };
        if !seen.insert(name) {
            return;
        }
        for dependency in service.depends_on.keys() {
            visit(stack, dependency, seen, order);
        }
        order.push(&service.name);
    }
    let (mut seen, mut order) = (BTreeSet::new(), Vec::new());
    for name in wanted {
        visit(stack, name, &mut seen, &mut order);
    }
    order
}

struct Up<'a> {
    stack: &'a Stack,
    observed: &'a Observed,
    plan: Plan,
    /// The start steps of each service in this plan.
    started: BTreeMap<&'a str, Vec<StepId>>,
    /// One waiting step for each (service, condition, required), shared by all dependents.
    gates: BTreeMap<(&'a str, Condition, bool), StepId>,
}

/// The steps that every container of a stack stands on.
struct Foundations {
    common: Vec<StepId>,
    volumes: BTreeMap<String, StepId>,
}

impl<'a> Up<'a> {
    fn foundations(&mut self, wanted: &BTreeSet<&'a str>) -> Foundations {
        let busy = wanted.iter().any(|name| self.needs_work(&self.stack.services[*name]));
        let mut common = Vec::new();
        // The parent's limits may have changed while no container has: this step is cheap and converges.
        let cause =
            if self.observed.group { "its limits are brought up to date" } else { "it does not exist" };
        common.push(self.plan.add(Step::Group, cause));
        if !self.observed.network {
            common.push(self.plan.add(Step::Network, "it does not exist"));
        } else if busy {
            common.push(self.plan.add(Step::Network, "it is checked before containers join it"));
        }
        let used: BTreeSet<&String> = wanted
            .iter()
            .flat_map(|name| &self.stack.services[*name].mounts)
            .filter_map(|mount| match &mount.kind {
                composer_stack::MountKind::Volume { source } => Some(source),
                composer_stack::MountKind::Bind { .. }
                | composer_stack::MountKind::Anonymous
                | composer_stack::MountKind::Tmpfs { .. } => None,
            })
            .collect();
        let mut volumes = BTreeMap::new();
        for (key, volume) in &self.stack.volumes {
            if used.contains(key) && !volume.external && !self.observed.volumes.contains(&volume.name) {
                volumes.insert(key.clone(), self.plan.add(Step::Volume(key.clone()), "it does not exist"));
            }
        }
        Foundations { common, volumes }
    }

    fn replicas(&self, service: &'a Service) -> impl Iterator<Item = (u32, String)> + use<'a> {
        let stack = self.stack;
        (1..=service.replicas).map(move |index| (index, stack.container_name(service, index)))
    }

    fn needs_work(&self, service: &'a Service) -> bool {
        let hash = config_hash(service);
        self.replicas(service).any(|(_, name)| match self.observed.containers.get(&name) {
            Some(found) => found.config_hash != hash || found.state != ObservedState::Running,
            None => true,
        })
    }

    fn service(&mut self, service: &'a Service, base: &Foundations, wanted: &BTreeSet<&'a str>) {
        let hash = config_hash(service);
        let mut starts = Vec::new();
        for (index, container) in self.replicas(service) {
            let found = self.observed.containers.get(&container);
            let Some((created, cause)) = self.made(service, index, &container, found, &hash) else {
                continue;
            };
            let start = self.plan.add(Step::Start { container }, cause);
            for step in created.iter().chain(&base.common) {
                self.plan.order(*step, start);
            }
            for mount in &service.mounts {
                if let composer_stack::MountKind::Volume { source } = &mount.kind
                    && let Some(step) = base.volumes.get(source)
                {
                    self.plan.order(*step, start);
                }
            }
            for (dependency, terms) in &service.depends_on {
                if let Some((name, _)) = self.stack.services.get_key_value(dependency)
                    && wanted.contains(name.as_str())
                {
                    let gate = self.gate(name, terms.condition, terms.required, &service.name);
                    self.plan.order(gate, start);
                }
            }
            starts.push(start);
        }
        self.started.insert(&service.name, starts);
    }

    /// The step after which the container may start and the cause of starting it; `None` where it runs as asked.
    fn made(
        &mut self,
        service: &Service,
        index: u32,
        container: &str,
        found: Option<&ObservedContainer>,
        hash: &str,
    ) -> Option<(Option<StepId>, String)> {
        let create = Step::Create { container: container.to_owned(), service: service.name.clone(), index };
        let Some(found) = found else {
            let step = self.plan.add(create, format!("service {} has no container {index}", service.name));
            return Some((Some(step), format!("service {} asks for it", service.name)));
        };
        if found.config_hash != hash {
            let cause = format!("the configuration of service {} has changed", service.name);
            let mut before = None;
            if found.state == ObservedState::Running {
                before = Some(self.plan.add(Step::Stop { container: container.to_owned() }, cause.clone()));
            }
            let remove = self.plan.add(Step::Remove { container: container.to_owned() }, cause.clone());
            let create = self.plan.add(create, cause.clone());
            before.into_iter().for_each(|stop| self.plan.order(stop, remove));
            self.plan.order(remove, create);
            return Some((Some(create), cause));
        }
        match found.state {
            ObservedState::Running => None,
            ObservedState::Created => Some((None, format!("service {} asks for it", service.name))),
            ObservedState::Exited(code) => Some((None, format!("it has ended with code {code}"))),
        }
    }

    fn gate(&mut self, service: &'a str, condition: Condition, required: bool, dependent: &str) -> StepId {
        if let Some(step) = self.gates.get(&(service, condition, required)) {
            return *step;
        }
        let step = self.plan.add(
            Step::Await { service: service.to_owned(), condition, required },
            format!("service {dependent} depends on it"),
        );
        for start in self.started.get(service).into_iter().flatten() {
            self.plan.order(*start, step);
        }
        self.gates.insert((service, condition, required), step);
        step
    }

    /// Replicas beyond the number asked for go; containers of services that the file no longer has are named.
    fn surplus(&mut self, wanted: &BTreeSet<&'a str>) {
        let mut orphans = Vec::new();
        for (name, found) in &self.observed.containers {
            match self.stack.services.get(&found.service) {
                None => orphans.push(name.as_str()),
                Some(service) if wanted.contains(service.name.as_str()) => {
                    if self.replicas(service).any(|(_, container)| container == *name) {
                        continue;
                    }
                    let cause = format!("service {} asks for {} of them", service.name, service.replicas);
                    let remove = self.plan.add(Step::Remove { container: name.clone() }, cause.clone());
                    if found.state == ObservedState::Running {
                        let stop = self.plan.add(Step::Stop { container: name.clone() }, cause);
                        self.plan.order(stop, remove);
                    }
                }
                Some(_) => {}
            }
        }
        if !orphans.is_empty() {
            self.plan.notes.push(format!(
                "found orphan containers ({}) for services that the file no longer has; `compose down` takes them away",
                orphans.join(", ")
            ));
        }
    }
}
