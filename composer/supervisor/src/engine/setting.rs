//! `compose set`: limits over those of the file, in force at once, and until the file says something else of them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::rc::Rc;

use composer_cgroup::{Group, Limits};
use composer_stack::{LimitChange, Resources, Settable, Stack, known_services, show_bytes};

use super::container::Container;
use super::cores::Claims;
use super::operations::{Operation, failure};
use super::start::StartError;
use super::{Engine, group};
use crate::protocol::{Action, Failure, Reply, Set, Subject};
use crate::records::{Over, Overs, StackRecord};

/// What is to be changed: one service, or the stack's cap.
struct Target {
    /// `None` is the stack.
    service: Option<String>,
    containers: Vec<Rc<Container>>,
    new: Settable,
    /// What stands over the file from now on.
    over: Option<Over>,
    /// Whether its limit of memory was named: it is that then, whatever `raise` had made of it.
    is_memory_named: bool,
}

/// A group whose limits are changed.
struct Place {
    /// For users.
    name: String,
    group: Group,
    /// `None` is the stack.
    container: Option<Rc<Container>>,
    /// What is recorded of its limits.
    old: Settable,
}

/// A group whose limits have been changed, and what they were.
#[derive(Clone)]
struct Changed {
    group: Group,
    old: Limits,
    new: Limits,
}

impl Target {
    /// What a container of it has now: where its limit of memory becomes another, the one that is in force.
    fn before(&self, container: &Container) -> Settable {
        let mut given = Settable::of_service(&container.record.borrow().service);
        if self.is_memory_named || given.resources.memory != self.new.resources.memory {
            given.resources = container.resources_in_force();
        }
        given
    }
}

impl Engine {
    /// Changes limits of what runs, of all that are named or of none. The plan of a dry run is the answer.
    pub(super) async fn set_limits(
        self: &Rc<Self>,
        request: Set,
        operation: &Operation,
    ) -> Result<Option<Reply>, Failure> {
        let _turn = self.take_turn_unless(request.dry_run, operation).await?;
        let targets = self.targets(&request)?;
        self.check_together(&targets)?;
        if request.dry_run {
            self.with_claims(&targets, |claims| self.moves(claims))?;
            return Ok(Some(Reply::Plan(self.as_plan(&targets))));
        }
        let moved = self.with_claims(&targets, |claims| self.make_way(claims))?;
        let mut changed: Vec<Changed> = Vec::new();
        for target in &targets {
            for place in self.places(target) {
                // What happens when memory runs out is for whoever watches it.
                if place.old.resources == target.new.resources {
                    continue;
                }
                match self.enforce(&place, target, request.force).await {
                    Ok(change) => changed.push(change),
                    Err(why) => {
                        undo(changed).await;
                        self.move_back(moved);
                        for container in targets.iter().flat_map(|target| &target.containers) {
                            self.limits_are_unset(container);
                        }
                        return Err(failure(format!("{}: {why}; nothing has been changed", place.name)));
                    }
                }
            }
        }
        self.record_limits(targets)?;
        self.spread_cores();
        Ok(None)
    }

    fn targets(&self, request: &Set) -> Result<Vec<Target>, Failure> {
        let record = self.record.borrow();
        let record = record.as_ref().ok_or_else(|| failure(format!("stack {} is not up", self.stack)))?;
        let over = |known: Option<&Over>, now: &Settable| {
            let file = known.map_or_else(|| now.clone(), Over::file);
            if request.reset {
                return (file, None);
            }
            let set = known.map(|over| over.set.clone()).unwrap_or_default().and_then(&request.limits);
            // What the file says by itself does not stand over it.
            (request.limits.over(now), Over::new(set.beside(&file), file))
        };
        let is_memory_named = request.limits.memory.is_some();
        if request.services.is_empty() {
            let now = Settable::of_stack(&record.resources, record.victim);
            let (new, over) = over(record.overs.stack.as_ref(), &now);
            return Ok(vec![Target { service: None, containers: Vec::new(), new, over, is_memory_named }]);
        }
        let target = |service: &String| {
            let containers = self.of_services(std::slice::from_ref(service));
            let now = record.services.get(service).map(Settable::of_service);
            let of_container = || {
                containers.first().map(|container| Settable::of_service(&container.record.borrow().service))
            };
            let now = now.or_else(of_container).ok_or_else(|| {
                let known = known_services("the stack", service, record.services.keys().map(String::as_str));
                failure(format!("no such service: {service}{known}"))
            })?;
            let (new, over) = over(record.overs.services.get(service), &now);
            Ok(Target { service: Some(service.clone()), containers, new, over, is_memory_named })
        };
        request.services.iter().map(target).collect()
    }

    /// Fails where limits contradict each other, are beyond the stack's cap, or leave the cap too low for the services.
    fn check_together(&self, targets: &[Target]) -> Result<(), Failure> {
        let record = self.record.borrow();
        let Some(record) = record.as_ref() else { return Ok(()) };
        let of_stack = targets.iter().find(|target| target.service.is_none());
        let cap = of_stack.map_or_else(
            || Settable::of_stack(&record.resources, record.victim),
            |target| target.new.clone(),
        );
        let mut services: BTreeMap<&str, (Settable, u64)> = record
            .services
            .values()
            .map(|own| (own.name.as_str(), (Settable::of_service(own), u64::from(own.replicas))))
            .collect();
        for target in targets {
            let name = target.service.as_deref().unwrap_or("the stack");
            if let Some(service) = &target.service {
                services.entry(service).or_insert_with(|| (Settable::default(), 1)).0 = target.new.clone();
            }
            if let Some(why) = target.new.contradiction() {
                return Err(failure(format!("{name}: {why}")));
            }
            let is_policy_set = target.over.as_ref().is_some_and(|over| over.set.oom.is_some());
            if is_policy_set && target.new.resources.oom_kill_disable {
                let why = "it has `oom_kill_disable`, beside which nothing goes by `x-oom`";
                return Err(failure(format!("{name}: {why}: remove it from the file first")));
            }
        }
        for (name, (own, _)) in &services {
            let concerned =
                of_stack.is_some() || targets.iter().any(|one| one.service.as_deref() == Some(name));
            let Some(why) = cap.beyond(own).filter(|_| concerned) else { continue };
            let way_out = if of_stack.is_some() {
                format!("lower that service's first, with `compose set {name} …`")
            } else {
                "raise that first, with `compose set --stack …`".to_owned()
            };
            return Err(failure(format!("{name}: {why}: {way_out}")));
        }
        let reserved = services
            .values()
            .map(|(own, count)| own.resources.memory_reservation.unwrap_or_default().saturating_mul(*count));
        let reserved = reserved.fold(0, u64::saturating_add);
        let above = |bound: Option<u64>| bound.filter(|bound| reserved > *bound).map(show_bytes);
        let why = match (above(cap.resources.memory), above(cap.resources.memory_reservation)) {
            (Some(cap), _) => format!("more than the stack's {cap}"),
            (None, Some(promised)) => format!("more than the {promised} that the stack reserves"),
            (None, None) => return Ok(()),
        };
        Err(failure(format!("the services reserve {} of memory together, {why}", show_bytes(reserved))))
    }

    /// Does something about the CPUs that services are to have.
    fn with_claims<T>(
        &self,
        targets: &[Target],
        act: impl FnOnce(&Claims<'_>) -> Result<T, StartError>,
    ) -> Result<T, Failure> {
        let (record, none) = (self.record.borrow(), Resources::default());
        let cap = targets.iter().find(|target| target.service.is_none()).map(|target| &target.new.resources);
        let cap = cap.or(record.as_ref().map(|record| &record.resources)).unwrap_or(&none);
        let mut claims = Claims::new(cap, record.iter().flat_map(|record| record.services.values()));
        for target in targets {
            if let Some(service) = &target.service {
                claims.change(service, &target.new.resources);
            }
        }
        act(&claims).map_err(|error| failure(format!("{error}; nothing has been changed")))
    }

    /// Each group that a target has.
    fn places(&self, target: &Target) -> Vec<Place> {
        if target.service.is_some() {
            let live = target.containers.iter().filter(|container| container.live.borrow().is_some());
            return live
                .map(|container| Place {
                    name: container.name(),
                    group: self.container_group(&container.name()),
                    container: Some(Rc::clone(container)),
                    old: target.before(container),
                })
                .collect();
        }
        let group = self.cgroups.group(&self.group_path());
        let old = self.settable_of_stack();
        let stack = Place { name: format!("stack {}", self.stack), group, container: None, old };
        if stack.group.exists() { vec![stack] } else { Vec::new() }
    }

    /// What the stack has now.
    fn settable_of_stack(&self) -> Settable {
        let record = self.record.borrow();
        let of = |record: &StackRecord| Settable::of_stack(&record.resources, record.victim);
        record.as_ref().map(of).unwrap_or_default()
    }

    /// Has the kernel take new limits for one group.
    async fn enforce(&self, place: &Place, target: &Target, force: bool) -> Result<Changed, String> {
        let words = |error: StartError| error.to_string();
        let new = &target.new.resources;
        let (old, limits) = match &place.container {
            Some(container) if !target.is_memory_named => {
                (container.limits(), container.limits_as(new).map_err(words)?)
            }
            Some(container) => (container.limits(), group::limits(new).map_err(words)?),
            None => {
                let was = &place.old.resources;
                let (old, limits) = (group::limits_in_force(was), group::limits(new).map_err(words)?);
                (self.with_reservations(old, was), self.with_reservations(limits, new))
            }
        };
        let change = Changed { group: place.group.clone(), old, new: limits };
        let lower = change.new.memory.filter(|new| change.old.memory.is_none_or(|old| *new < old));
        // Reclaiming takes its time; others are served meanwhile.
        let asked = change.clone();
        let lowering = self.own_doing.begins();
        let done = tokio::task::spawn_blocking(move || {
            if let Some(limit) = lower {
                make_room(&asked.group, limit, force)?;
            }
            asked.group.update(&asked.old, &asked.new).map_err(|error| error.to_string())
        });
        let done = done.await;
        drop(lowering);
        let unenforced = done.map_err(|error| error.to_string()).flatten()?;
        let changes = place.old.changes(&target.new, place.container.is_none());
        for limit in unenforced {
            if changes.iter().any(|change| change.limit == limit.limit) {
                let text = format!("{}: {} is not in force: {}", place.name, limit.limit, limit.reason);
                self.announce(Subject::Group, Action::Warning(text));
            }
        }
        Ok(change)
    }

    /// Keeps what is in force now, and tells of it.
    fn record_limits(self: &Rc<Self>, targets: Vec<Target>) -> Result<(), Failure> {
        let failed =
            |error: std::io::Error| failure(format!("keep the limits that are in force now: {error}"));
        for target in targets {
            let befores: Vec<Settable> = target.containers.iter().map(|one| target.before(one)).collect();
            let Target { service, containers, new, over, .. } = target;
            let mut stack_changes = Vec::new();
            if let Some(record) = self.record.borrow_mut().as_mut() {
                match &service {
                    Some(service) => {
                        if let Some(known) = record.services.get_mut(service) {
                            new.give_to(known);
                        }
                        record.overs.put(service, over);
                    }
                    None => {
                        let before = Settable::of_stack(&record.resources, record.victim);
                        stack_changes = before.changes(&new, true);
                        record.resources.clone_from(&new.resources);
                        record.victim = new.victim;
                        record.overs.stack = over;
                    }
                }
            }
            for (container, before) in containers.into_iter().zip(befores) {
                let changes = before.changes(&new, false);
                if changes.is_empty() {
                    continue;
                }
                let mut record = container.record.borrow_mut();
                let is_limit = before.resources.memory != new.resources.memory;
                new.give_to(&mut record.service);
                record.rewrite(&container.paths).map_err(failed)?;
                drop(record);
                self.memory_has_changed(&container, is_limit);
                self.spread_cores();
                self.announce_container(&container, Action::Updated { limits: changes });
            }
            if !stack_changes.is_empty() {
                // With the limits, the mark below them was written anew.
                self.unwatch_stack();
                self.choose_victim();
                self.spread_cores();
                self.announce_stack(Action::Updated { limits: stack_changes });
            }
        }
        self.save().map_err(failed)
    }

    /// As a plan is printed.
    fn as_plan(&self, targets: &[Target]) -> String {
        let mut lines = Vec::new();
        for target in targets {
            let mut line = |name: &str, old: &Settable| {
                let changes = old.changes(&target.new, target.service.is_none());
                if !changes.is_empty() {
                    lines.push(format!("update {name}: {}", worded(&changes)));
                }
            };
            match &target.service {
                Some(_) => target.containers.iter().for_each(|container| {
                    line(&container.name(), &target.before(container));
                }),
                None => line("the stack's cgroup", &self.settable_of_stack()),
            }
        }
        if lines.is_empty() {
            return composer_plan::NOTHING.to_owned();
        }
        (1..).zip(lines).fold(String::new(), |mut text, (number, line)| {
            let _ = writeln!(text, "{number:>3}. {line}");
            text
        })
    }

    /// Puts what `set` has changed over a file, where that says of it what it said then; what is left of it, and what a
    /// user is to know of it.
    pub(super) fn overlay(&self, stack: &mut Stack) -> (Overs, Vec<String>) {
        let mut overs = Overs::default();
        let mut notes = Vec::new();
        let Some(StackRecord { overs: known, .. }) = self.record.borrow().clone() else {
            return (overs, notes);
        };
        let mut note = |changes: Vec<LimitChange>, of: &str| {
            let (was, verb) = (worded(&changes), "compose set --reset");
            notes.push(format!(
                "`compose set` has changed limits of {of}, which stand ({was}): `{verb}{}` takes the file's",
                match of {
                    "the stack" => String::new(),
                    service => format!(" {service}"),
                }
            ));
        };
        let file = Settable::of_stack(&stack.resources, stack.victim);
        if let Some(over) = known.stack.and_then(|over| over.onto(&file)) {
            let new = over.set.over(&file);
            let has_room = |service| new.beyond(&Settable::of_service(service)).is_none();
            if new.contradiction().is_none() && stack.services.values().all(has_room) {
                note(file.changes(&new, true), "the stack");
                (stack.resources, stack.victim) = (new.resources, new.victim);
                overs.stack = Some(over);
            }
        }
        let cap = Settable::of_stack(&stack.resources, stack.victim);
        for (name, over) in known.services {
            let Some(service) = stack.services.get_mut(&name) else {
                overs.services.insert(name, over);
                continue;
            };
            let file = Settable::of_service(service);
            let Some(over) = over.onto(&file) else { continue };
            let new = over.set.over(&file);
            // What an edited file leaves no room for is the file's again.
            if new.contradiction().is_none() && cap.beyond(&new).is_none() {
                note(file.changes(&new, false), &name);
                new.give_to(service);
                overs.services.insert(name, over);
            }
        }
        (overs, notes)
    }
}

/// `mem_limit 64 MiB -> 128 MiB, cpus 1 -> 2`.
pub(super) fn worded(changes: &[LimitChange]) -> String {
    let words = changes.iter().map(|change| format!("{} {} -> {}", change.limit, change.from, change.to));
    words.collect::<Vec<_>>().join(", ")
}

/// Fails where a group uses more memory than it is to have; by `force` the kernel first reclaims what it can.
fn make_room(group: &Group, limit: u64, force: bool) -> Result<(), String> {
    let words = |error: composer_cgroup::Error| error.to_string();
    if force {
        group.reclaim(limit).map_err(words)?;
    }
    let Some(used) = group.usage().map_err(words)?.memory_current else { return Ok(()) };
    let cache = group.inactive_file().map_err(words)?.min(used);
    // Cache that nobody has used lately goes by itself.
    if used - cache <= limit {
        return Ok(());
    }
    let (limit, used, cache) = (show_bytes(limit), show_bytes(used), show_bytes(cache));
    let used = format!("{used} are in use ({cache} of it page cache), more than the new limit of {limit}");
    Err(if force {
        format!("{used}, and the kernel could not reclaim enough of it")
    } else {
        format!("{used}: `--force` has the kernel reclaim what it can")
    })
}

/// Puts back what was changed before something was refused, the last first. What held a moment ago can hold again.
async fn undo(changed: Vec<Changed>) {
    let undone = tokio::task::spawn_blocking(move || {
        for Changed { group, old, new } in changed.iter().rev() {
            let _ = group.update(new, old);
        }
    });
    // The refusal is what the caller has to hear of.
    let _ = undone.await;
}
