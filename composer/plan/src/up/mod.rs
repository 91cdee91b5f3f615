//! From what exists to what the file asks for.

mod choice;

use std::collections::{BTreeMap, BTreeSet};

use composer_stack::{MountKind, Network, Service, Stack};
use serde::{Deserialize, Serialize};

use crate::down::stop_dependents_first;
use crate::edges::Edges;
use crate::gates::Gates;
use crate::graph::{Plan, Step, StepId};
use crate::observed::{Found, Lack, Observed, ObservedState};
use choice::{Choice, Fate, Slot};

/// What `up` was asked to do.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct UpOptions {
    /// The services named on the command line; empty means all. Their dependencies come along.
    pub services: Vec<String>,
    /// Which containers of these services are made anew.
    pub recreate: Recreate,
    /// Which containers of their dependencies are.
    pub recreate_dependencies: Recreate,
    /// Dependencies are left as they are, and not waited for.
    pub no_deps: bool,
    /// Containers are made, and not started.
    pub no_start: bool,
    /// Anonymous volumes are made anew with their containers.
    pub renew_volumes: bool,
    /// What becomes of containers of services that the file does not have.
    pub orphans: Orphans,
    /// Services that the file has and no active profile wants: their containers are no orphans.
    pub disabled: BTreeSet<String>,
}

/// Which containers are made anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Recreate {
    /// Those whose configuration has changed.
    #[default]
    Changed,
    /// All.
    Always,
    /// None.
    Never,
}

/// What becomes of containers of services that the file does not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Orphans {
    /// They are named.
    #[default]
    Name,
    /// Nothing is said.
    Ignore,
    /// They are removed.
    Remove,
}

/// The steps that bring the stack up. Planning again from any state in between converges.
pub fn up(stack: &Stack, observed: &Observed, options: &UpOptions) -> Plan {
    planned(stack, observed, options, None)
}

/// The steps of `run`: what the only service of these options, which has no replicas in this stack, stands on and depends
/// on, then its own container.
pub fn run(stack: &Stack, observed: &Observed, options: &UpOptions, container: &str) -> Plan {
    planned(stack, observed, options, Some(container))
}

fn planned(stack: &Stack, observed: &Observed, options: &UpOptions, oneoff: Option<&str>) -> Plan {
    let edges = Edges::of_stack(stack);
    let wanted = if options.no_deps {
        edges.named(&options.services).into_iter().collect()
    } else {
        edges.with_dependencies(&options.services)
    };
    let found = observed.by_service();
    let named: BTreeSet<&str> = options.services.iter().map(String::as_str).collect();
    let changed = changed(stack, observed);
    let choices = edges.order().iter().filter(|name| wanted.contains(*name)).map(|name| {
        let is_named = named.is_empty() || named.contains(name);
        let recreate = if is_named { options.recreate } else { options.recreate_dependencies };
        let found = found.get(name).map(Vec::as_slice).unwrap_or_default();
        Choice::new(stack, &stack.services[*name], found, recreate, &changed)
    });
    let mut choices: Vec<Choice<'_>> = choices.collect();
    if options.renew_volumes {
        renew_borrowers(&mut choices);
    }
    let mut up = Up {
        stack,
        observed,
        options,
        edges: &edges,
        plan: Plan::new(),
        gates: Gates::default(),
        stops: BTreeMap::new(),
        removes: BTreeMap::new(),
        renewals: BTreeMap::new(),
        restarted: restarted(&edges, &choices, options),
        yielding: Vec::new(),
        updates: Vec::new(),
    };
    let base = up.foundations(&choices);
    up.clear(&choices);
    for choice in &choices {
        up.service(choice, &base, &wanted);
    }
    if let (Some(container), Some(choice)) =
        (oneoff, choices.iter().find(|choice| options.services.contains(&choice.service.name)))
    {
        up.oneoff(choice.service, container, &base, &wanted);
    }
    up.vacate(&changed, &base);
    if oneoff.is_none() {
        up.leave();
    }
    stop_dependents_first(&mut up.plan, &edges, &up.stops);
    // On cgroup v1 a group may never have more CPU time or other cores than its parent.
    if up.tightens() {
        up.yielding.iter().for_each(|step| up.plan.order(*step, base.group));
        up.widen();
    }
    up.plan
}

/// The networks that have to be made anew.
fn changed<'a>(stack: &'a Stack, observed: &Observed) -> BTreeSet<&'a str> {
    let differs = |(key, network): &(&String, &Network)| {
        observed.networks.get(*key).is_some_and(|found| !found.config.becomes(network))
    };
    stack.networks.iter().filter(differs).map(|(key, _)| key.as_str()).collect()
}

/// Services that want to be restarted because one that they depend on is made anew.
fn restarted<'a>(edges: &Edges<'a>, choices: &[Choice<'a>], options: &UpOptions) -> BTreeSet<&'a str> {
    if options.no_start {
        return BTreeSet::new();
    }
    let mut services: BTreeSet<&str> =
        choices.iter().filter(|choice| choice.renews()).map(|choice| choice.service.name.as_str()).collect();
    edges.add_restarted(&mut services);
    services
}

/// Whoever has the anonymous volumes of a container that gets new ones gets those too.
fn renew_borrowers(choices: &mut [Choice<'_>]) {
    let lends = |choice: &&Choice<'_>| {
        choice.renews() && choice.service.mounts.iter().any(|mount| mount.kind == MountKind::Anonymous)
    };
    let lenders: BTreeSet<String> =
        choices.iter().filter(lends).map(|choice| choice.service.name.clone()).collect();
    for choice in choices {
        let lender = choice.service.mounts.iter().find_map(|mount| match &mount.kind {
            MountKind::Borrowed { service, .. } => Some(service).filter(|service| lenders.contains(*service)),
            MountKind::Anonymous
            | MountKind::Bind { .. }
            | MountKind::Volume { .. }
            | MountKind::Image(_)
            | MountKind::Tmpfs { .. } => None,
        });
        if let Some(lender) = lender {
            choice.renew(&format!("the volumes that it has of {lender} are made anew"));
        }
    }
}

struct Up<'a> {
    stack: &'a Stack,
    observed: &'a Observed,
    options: &'a UpOptions,
    edges: &'a Edges<'a>,
    plan: Plan,
    gates: Gates<'a>,
    /// The steps that stop containers of each service.
    stops: BTreeMap<&'a str, Vec<StepId>>,
    /// The steps that remove containers, by their names.
    removes: BTreeMap<&'a str, StepId>,
    /// The steps that make containers anew, by the names of those in whose place they are.
    renewals: BTreeMap<&'a str, StepId>,
    /// Services that are made anew, or restarted with others.
    restarted: BTreeSet<&'a str>,
    /// The steps after which containers that exist stand no more in the way of the parent's new limits.
    yielding: Vec<StepId>,
    /// Those of them that change limits in place.
    updates: Vec<StepId>,
}

/// The steps that every container of a stack stands on.
struct Foundations<'a> {
    group: StepId,
    networks: BTreeMap<&'a str, StepId>,
    volumes: BTreeMap<String, StepId>,
}

impl<'a> Foundations<'a> {
    /// Those of a service's networks.
    fn on(&self, service: &Service) -> Vec<StepId> {
        service.network.attachments().filter_map(|(key, _)| self.networks.get(key).copied()).collect()
    }
}

impl<'a> Up<'a> {
    fn foundations(&mut self, choices: &[Choice<'a>]) -> Foundations<'a> {
        // The parent's limits may have changed while no container has: this step is cheap and converges.
        let group = if !self.observed.group {
            self.plan.add(Step::Group, "it does not exist")
        } else if self.observed.resources == self.stack.resources
            && self.observed.bandwidth == self.stack.bandwidth
        {
            self.plan.add_check(Step::Group, "its limits are brought up to date")
        } else {
            self.plan.add(Step::Group, "its limits are brought up to date")
        };
        let networks = self.networks(choices);
        let used: BTreeSet<&str> = choices.iter().flat_map(|choice| choice.service.named_volumes()).collect();
        let mut made = BTreeMap::new();
        for (key, volume) in &self.stack.volumes {
            if used.contains(key.as_str())
                && !volume.external
                && !self.observed.volumes.contains(&volume.name)
            {
                made.insert(key.clone(), self.plan.add(Step::Volume(key.clone()), "it does not exist"));
            }
        }
        Foundations { group, networks, volumes: made }
    }

    /// The steps that see to the networks of these services.
    fn networks(&mut self, choices: &[Choice<'a>]) -> BTreeMap<&'a str, StepId> {
        let used = choices.iter().flat_map(|choice| choice.service.network.attachments()).map(|(key, _)| key);
        let used: BTreeSet<&str> = used.collect();
        let steps = used.into_iter().filter_map(|key| {
            let wanted = self.stack.networks.get(key)?;
            let step = Step::Network(key.to_owned());
            Some((
                key,
                match self.observed.networks.get(key) {
                    Some(found) if !found.config.becomes(wanted) => {
                        self.plan.add(step, "its configuration has changed")
                    }
                    Some(found) if found.up && !wanted.external && !found.config.serves(wanted) => {
                        self.plan.add(step, "its rules have changed")
                    }
                    Some(found) if found.up => self.plan.add_check(step, "it is brought up to date"),
                    Some(_) | None => self.plan.add(step, "it does not exist"),
                },
            ))
        });
        steps.collect()
    }

    /// Takes everybody off the networks that are made anew; who is not made anew with them is started again.
    fn vacate(&mut self, changed: &BTreeSet<&'a str>, base: &Foundations<'a>) {
        for (key, step) in base.networks.iter().filter(|(key, _)| changed.contains(*key)) {
            let is_on = |found: &Found<'a>| {
                found.container.runs()
                    && found.container.config.network.attachments().any(|(other, _)| other == *key)
            };
            let all = self.observed.containers.iter().map(|(name, container)| Found { name, container });
            for found in all.filter(is_on).collect::<Vec<_>>() {
                let service = found.container.service();
                if !self.stops.contains_key(service) {
                    let cause = format!("the configuration of network {key} has changed");
                    self.stop(found, &cause);
                    let start = self.plan.add(Step::Start { container: found.name.to_owned() }, cause);
                    self.plan.order(*step, start);
                }
                for stop in self.stops.get(service).into_iter().flatten() {
                    self.plan.order(*stop, *step);
                }
            }
        }
    }

    /// Leaves what stacks share and no container of this one is on any more: it is there for as long as one of them is on
    /// it. What it has alone goes with `down`, as in Docker Compose.
    fn leave(&mut self) {
        let observed = self.observed;
        let left = observed
            .networks
            .iter()
            .filter(|(key, found)| found.config.external && !self.stack.networks.contains_key(*key));
        for (key, _) in left {
            let on = observed.containers.iter().filter(|(_, container)| {
                container.config.network.attachments().any(|(other, _)| other == key)
            });
            let gone: Option<Vec<StepId>> = on
                .map(|(name, _)| {
                    let name = name.as_str();
                    self.removes.get(name).or_else(|| self.renewals.get(name)).copied()
                })
                .collect();
            let Some(gone) = gone else { continue };
            let leave = self.plan.add(Step::LeaveNetwork(key.clone()), "no service is on it any more");
            gone.into_iter().for_each(|step| self.plan.order(step, leave));
        }
    }

    /// Removes what is too many, orphans where they are to go, and whoever has the name of one that is to be made.
    fn clear(&mut self, choices: &[Choice<'a>]) {
        for choice in choices {
            let service = choice.service;
            for found in &choice.surplus {
                self.remove(
                    *found,
                    &format!("service {} asks for {} of them", service.name, service.replicas),
                );
            }
        }
        let mut orphans = Vec::new();
        for (name, container) in &self.observed.containers {
            let service = container.service();
            if self.stack.services.contains_key(service) || self.options.disabled.contains(service) {
                continue;
            }
            orphans.push(name.as_str());
            if self.options.orphans == Orphans::Remove {
                self.remove(
                    Found { name, container },
                    "its service is not in the file, and orphans are to go",
                );
            }
        }
        if self.options.orphans == Orphans::Name && !orphans.is_empty() {
            self.plan.notes.push(format!(
                "found orphan containers ({}) of services that the file does not have: if you have removed or renamed \
                 them there, run this command with --remove-orphans to take them away",
                orphans.join(", ")
            ));
        }
        for choice in choices {
            for slot in &choice.slots {
                if let Some((name, container)) = self.observed.containers.get_key_value(&slot.name)
                    && slot.found.is_none_or(|found| found.name != name)
                {
                    self.remove(
                        Found { name, container },
                        &format!("service {} has a container of its name", choice.service.name),
                    );
                }
            }
        }
    }

    /// Whether the parent gets less of anything than it has.
    fn tightens(&self) -> bool {
        self.observed.group && self.stack.resources.tightens(&self.observed.resources)
    }

    /// Where the parent gets more of something else, that comes before the containers have their new limits.
    fn widen(&mut self) {
        let (old, new) = (&self.observed.resources, &self.stack.resources);
        if self.updates.is_empty() || !old.tightens(new) {
            return;
        }
        let cause = "some of its limits rise and others fall";
        let widen = self.plan.add(Step::Widen(Box::new(old.widest(new))), cause);
        self.updates.iter().for_each(|update| self.plan.order(widen, *update));
    }

    fn remove(&mut self, found: Found<'a>, cause: &str) {
        if self.removes.contains_key(found.name) {
            return;
        }
        let remove = self.plan.add(Step::Remove { container: found.name.to_owned(), volumes: false }, cause);
        if let Some(stop) = self.stop(found, cause) {
            self.plan.order(stop, remove);
        }
        self.removes.insert(found.name, remove);
        self.yielding.push(remove);
    }

    /// The step that stops a container, where it runs.
    fn stop(&mut self, found: Found<'a>, cause: &str) -> Option<StepId> {
        found.container.runs().then(|| {
            let stop = self.plan.add(Step::Stop { container: found.name.to_owned() }, cause);
            self.stops.entry(found.container.service()).or_default().push(stop);
            stop
        })
    }

    fn service(&mut self, choice: &Choice<'a>, base: &Foundations<'a>, wanted: &BTreeSet<&'a str>) {
        let service = choice.service;
        let mut starts = Vec::new();
        for slot in &choice.slots {
            let Some((before, cause)) = self.prepared(service, slot, base) else {
                continue;
            };
            if self.options.no_start {
                continue;
            }
            starts.push(self.start(service, &slot.name, cause, before, base));
        }
        self.open(service, &starts, wanted);
        self.gates.started(&service.name, starts);
    }

    /// A start that waits for `before` and for what every container stands on.
    fn start(
        &mut self,
        service: &Service,
        container: &str,
        cause: String,
        before: Option<StepId>,
        base: &Foundations<'a>,
    ) -> StepId {
        let start = self.plan.add(Step::Start { container: container.to_owned() }, cause);
        let volumes = service.named_volumes().filter_map(|key| base.volumes.get(key).copied());
        let before = before.into_iter().chain([base.group]).chain(base.on(service)).chain(volumes);
        before.for_each(|step| self.plan.order(step, start));
        start
    }

    /// Lets these start once what their service depends on is as it wants it.
    fn open(&mut self, service: &'a Service, starts: &[StepId], wanted: &BTreeSet<&'a str>) {
        if starts.is_empty() {
            return;
        }
        for (name, terms) in self.edges.of(&service.name).filter(|(name, _)| wanted.contains(name)) {
            self.gates.order(&mut self.plan, (name, terms), &service.name, starts);
        }
    }

    fn oneoff(
        &mut self,
        service: &'a Service,
        container: &str,
        base: &Foundations<'a>,
        wanted: &BTreeSet<&'a str>,
    ) {
        let cause = "`run` asks for it";
        let (name, container) = (service.name.clone(), container.to_owned());
        let create = Step::Create { container: container.clone(), service: name, index: 1 };
        let create = self.plan.add(create, cause);
        let start = self.start(service, &container, cause.to_owned(), Some(create), base);
        self.open(service, &[start], wanted);
    }

    /// The step after which the container may start, and the cause of starting it; `None` where it needs no start.
    fn prepared(
        &mut self,
        service: &'a Service,
        slot: &Slot<'a>,
        base: &Foundations<'a>,
    ) -> Option<(Option<StepId>, String)> {
        match (&slot.fate, slot.found) {
            (Fate::Make, _) | (Fate::Renew(_), None) => {
                let cause = format!("service {} has no container {}", service.name, slot.index);
                let create = self.create(service, slot, &cause);
                Some((Some(create), format!("service {} asks for it", service.name)))
            }
            (Fate::Renew(cause), Some(found)) => {
                Some((Some(self.recreate(service, slot, found, cause)), cause.clone()))
            }
            (Fate::Keep { update, done }, found) => {
                let found = found?;
                let update = update.as_ref().map(|cause| {
                    let (container, service) = (slot.name.clone(), service.name.clone());
                    let update = self.plan.add(Step::Update { container, service }, cause.clone());
                    // A container's limits are within its parent's.
                    if self.tightens() {
                        self.yielding.push(update);
                        self.updates.push(update);
                    } else {
                        self.plan.order(base.group, update);
                    }
                    update
                });
                self.woken(service, found, *done, update, base)
            }
        }
    }

    fn create(&mut self, service: &Service, slot: &Slot<'_>, cause: &str) -> StepId {
        let (container, service) = (slot.name.clone(), service.name.clone());
        let create = self.plan.add(Step::Create { container, service, index: slot.index }, cause);
        if let Some(remove) = self.removes.get(slot.name.as_str()) {
            self.plan.order(*remove, create);
        }
        create
    }

    fn recreate(&mut self, service: &Service, slot: &Slot<'a>, found: Found<'a>, cause: &str) -> StepId {
        if let Some(remove) = self.removes.get(found.name).copied() {
            // Another container is to have its name, so it cannot wait for its successor.
            let create = self.create(service, slot, cause);
            self.plan.order(remove, create);
            return create;
        }
        let stop = self.stop(found, cause);
        let step = Step::Recreate {
            container: slot.name.clone(),
            old: found.name.to_owned(),
            service: service.name.clone(),
            index: slot.index,
            renew_volumes: self.options.renew_volumes,
        };
        let recreate = self.plan.add(step, cause);
        self.renewals.insert(found.name, recreate);
        let before = stop.into_iter().chain(self.removes.get(slot.name.as_str()).copied());
        before.for_each(|step| self.plan.order(step, recreate));
        self.yielding.push(recreate);
        recreate
    }

    /// As [`Up::prepared`], of a container that stays.
    fn woken(
        &mut self,
        service: &'a Service,
        found: Found<'a>,
        done: bool,
        update: Option<StepId>,
        base: &Foundations<'a>,
    ) -> Option<(Option<StepId>, String)> {
        match found.container.state {
            ObservedState::Running => {
                let lack = found.container.lack.filter(|_| !self.restarted.contains(service.name.as_str()));
                if let Some(lack) = lack {
                    let container = found.name.to_owned();
                    let cause = match lack {
                        Lack::Link => "a link of it is gone or down",
                        Lack::Limit => "what limits its bandwidth is gone",
                    };
                    let plug = self.plan.add(Step::Plug { container }, cause);
                    let before = base.on(service).into_iter().chain([base.group]);
                    before.for_each(|step| self.plan.order(step, plug));
                }
                if !self.restarted.contains(service.name.as_str()) {
                    let cause = "its `post_start` has not run to a good end";
                    return found.container.unfinished.then(|| (update, cause.to_owned()));
                }
                let mut edges = self.edges.of(&service.name);
                let name = edges.find(|(name, terms)| terms.restart && self.restarted.contains(name));
                let (name, _) = name?;
                let cause = format!(
                    "service {name}, which it depends on with `restart: true`, is made anew or restarted"
                );
                let stop = self.stop(found, &cause)?;
                update.into_iter().for_each(|update| self.plan.order(update, stop));
                Some((Some(stop), cause))
            }
            ObservedState::Created => Some((update, format!("service {} asks for it", service.name))),
            ObservedState::Exited(_) if done => None,
            ObservedState::Exited(code) => Some((update, format!("it has ended with code {code}"))),
        }
    }
}
