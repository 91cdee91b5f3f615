//! Cores that a container has alone (`x-cpus-exclusive`): picked when it starts, given back when it ends.
//!
//! A container's record says which it has, and they are its own for as long as its group is there: what a crash or a
//! reboot has ended holds none. Stacks pick under one lock, so that nobody gets what another has. Whoever has none gets
//! the rest of the stack's. Other programs of the host, and services of other stacks that ask for none, are not kept off.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::rc::Rc;

use composer_plan::{Plan, Step};
use composer_stack::{Resources, Service, Stack, cpu_list};
use nix::fcntl::{Flock, FlockArg};

use super::Engine;
use super::container::Container;
use super::start::{Result, StartError};
use crate::diagnose;
use crate::host::cpus;
use crate::paths::{self, StackPaths};
use crate::protocol::Action;
use crate::records::ContainerRecord;

type Cpus = BTreeSet<u32>;

/// What there is to pick from.
#[derive(Debug)]
struct Offer<'a> {
    /// The host's cores, each with its threads.
    cores: &'a [Cpus],
    /// Where the container may run.
    pool: Cpus,
    /// What containers of any stack have alone.
    taken: Cpus,
    /// What other services of the stack have by name.
    named: Cpus,
    /// Where others run that have nothing of their own, if there are some: not all of it is given away.
    shared: Option<Cpus>,
}

/// As many whole cores as are asked for, those that it has had first. One of the host is left to everybody.
fn pick(offer: &Offer<'_>, count: usize, before: &Cpus) -> Option<Cpus> {
    let Offer { cores, pool, taken, named, shared } = offer;
    let is_free = |core: &&Cpus| core.is_subset(pool) && core.is_disjoint(taken) && core.is_disjoint(named);
    let mut free: Vec<&Cpus> = cores.iter().filter(is_free).collect();
    // From the end: the host's own work is done by the first ones, more often than not.
    free.sort_by_key(|core| (!core.is_subset(before), std::cmp::Reverse(core.first().copied())));
    let picked: Cpus = free.iter().take(count).flat_map(|core| core.iter().copied()).collect();
    let gone: Cpus = picked.union(taken).copied().collect();
    let leaves_some = cores.iter().any(|core| core.is_disjoint(&gone))
        && shared.as_ref().is_none_or(|shared| shared.difference(&gone).next().is_some());
    (free.len() >= count && leaves_some).then_some(picked)
}

/// As the kernel writes them.
pub fn shown(cpus: &Cpus) -> String {
    let list: Vec<String> = cpus.iter().map(u32::to_string).collect();
    cpu_list(&list.join(",")).unwrap_or_default()
}

fn pool(resources: &Resources) -> Option<Cpus> {
    resources.cpuset.as_deref().and_then(cpus::list)
}

/// What services of a stack are to have of its CPUs.
pub(super) struct Claims<'a> {
    stack: &'a Resources,
    /// By service; those that have no containers claim nothing.
    services: BTreeMap<&'a str, &'a Resources>,
    /// Containers that are about to be taken away.
    pub leaving: BTreeSet<&'a str>,
}

impl<'a> Claims<'a> {
    pub fn new(stack: &'a Resources, services: impl Iterator<Item = &'a Service>) -> Self {
        let services = services.filter(|service| service.replicas > 0);
        Self {
            stack,
            services: services.map(|own| (own.name.as_str(), &own.resources)).collect(),
            leaving: BTreeSet::new(),
        }
    }

    /// The same with other limits of a service's.
    pub fn change(&mut self, service: &str, limits: &'a Resources) {
        if let Some(own) = self.services.get_mut(service) {
            *own = limits;
        }
    }

    /// What a service with these limits may pick from.
    fn offer<'c>(&self, own: &Resources, taken: Cpus, (cores, online): (&'c [Cpus], &Cpus)) -> Offer<'c> {
        let inside = |pool: Option<Cpus>, of: &Cpus| -> Cpus {
            pool.map_or_else(|| of.clone(), |pool| pool.intersection(of).copied().collect())
        };
        let of_stack = inside(pool(self.stack), online);
        let others = || self.services.values().filter(|other| other.cpus_exclusive.is_none());
        Offer {
            cores,
            pool: inside(pool(own), &of_stack),
            taken,
            named: others().filter_map(|other| pool(other)).flatten().collect(),
            shared: others().any(|other| other.cpuset.is_none()).then_some(of_stack),
        }
    }

    /// Those that have CPUs by name: `y has 1`.
    fn by_name(&self) -> impl Iterator<Item = String> {
        let others = self.services.iter().filter(|(_, other)| other.cpus_exclusive.is_none());
        others.filter_map(|(name, other)| Some(format!("{name} has {} by name", other.cpuset.as_deref()?)))
    }
}

/// Stacks pick one after the other.
fn lock_cores() -> Result<Flock<File>> {
    let failed = |error: io::Error| StartError::doing("share out cores", &error);
    let stacks = File::open(paths::stacks_folder()).map_err(failed)?;
    Flock::lock(stacks, FlockArg::LockExclusive).map_err(|(_, errno)| failed(errno.into()))
}

/// Keeps which cores a container has.
fn take(container: &Container, cores: Cpus) -> Result<()> {
    if cores == container.record.borrow().cores {
        return Ok(());
    }
    container.record.borrow_mut().cores = cores;
    container
        .record
        .borrow()
        .rewrite(&container.paths)
        .map_err(|error| StartError::doing(&format!("{}: take cores for itself", container.name()), &error))
}

/// So many cores for a container of a service, as far as possible those that it has.
fn find(
    claims: &Claims<'_>,
    name: &str,
    (service, limits): (&str, &Resources),
    (count, before): (u32, &Cpus),
    holders: Vec<(String, Cpus)>,
) -> Result<Cpus> {
    let refuse = |why: String| {
        Err(StartError {
            at: ["services", service, "x-cpus-exclusive"].map(str::to_owned).into(),
            help: Some("ask for fewer, or stop whoever has them".to_owned()),
            ..StartError::new(format!("{name}: {why}"))
        })
    };
    let Some(online) = cpus::online() else {
        return refuse("/sys does not tell which CPUs are online".to_owned());
    };
    let cores = cpus::cores();
    let taken = holders.iter().flat_map(|(_, cores)| cores.iter().copied()).collect();
    let offer = claims.offer(limits, taken, (&cores, &online));
    if let Some(picked) = pick(&offer, count as usize, before) {
        return Ok(picked);
    }
    let had = holders.iter().map(|(holder, cores)| format!("{holder} has {}", shown(cores)));
    let had: Vec<String> = had.chain(claims.by_name()).collect();
    let rest = if had.is_empty() { String::new() } else { format!(": {}", had.join(", ")) };
    let (word, pool) = (if count == 1 { "core" } else { "cores" }, shown(&offer.pool));
    refuse(format!("{count} {word} of CPUs {pool} cannot be had for itself alone{rest}"))
}

impl Engine {
    /// Gives a container, whose group has just been made or whose configuration has just changed, the cores that it is
    /// to have, and the rest to the others.
    pub(super) fn settle_cores(&self, container: &Container, service: &Service) -> Result<()> {
        let (before, wanted) = (container.record.borrow().cores.clone(), service.resources.cpus_exclusive);
        if before.is_empty() && wanted.is_none() && !self.has_exclusive() {
            return Ok(());
        }
        let _lock = lock_cores()?;
        let record = self.record.borrow();
        let none = Resources::default();
        let claims = match &*record {
            Some(record) => Claims::new(&record.resources, record.services.values()),
            None => Claims::new(&none, std::iter::empty()),
        };
        let cores = match wanted {
            None => Cpus::new(),
            Some(count) => {
                let name = container.name();
                let holders = self.holders(|stack, holder| stack != self.stack || holder != name);
                find(&claims, &name, (&service.name, &service.resources), (count, &before), holders)?
            }
        };
        take(container, cores)?;
        for (other, cores) in self.moves(&claims)? {
            take(&other, cores)?;
        }
        drop(record);
        self.share_cores(&container.name());
        Ok(())
    }

    /// Fails where containers that a plan starts or changes could not all have the cores that they are to have alone,
    /// before anything is stopped for them.
    pub(super) fn check_cores(&self, plan: &Plan, claims: &Claims<'_>, stack: &Stack) -> Result<()> {
        if stack.services.values().all(|service| service.resources.cpus_exclusive.is_none()) {
            return Ok(());
        }
        let (mut services, mut wanted, mut changed) = (BTreeMap::new(), Vec::new(), BTreeSet::new());
        for id in plan.steps() {
            match &plan.get(id).step {
                Step::Create { container, service, .. } => {
                    services.insert(container.clone(), service.clone());
                }
                Step::Recreate { container, old, service, .. } => {
                    services.insert(container.clone(), service.clone());
                    changed.insert(old.clone());
                }
                Step::Start { container } => wanted.push(container.clone()),
                Step::Update { container, service } => {
                    services.insert(container.clone(), service.clone());
                    let runs = self.container(container).is_some_and(|known| known.live.borrow().is_some());
                    wanted.extend(runs.then(|| container.clone()));
                }
                Step::Stop { container } | Step::Remove { container, .. } => {
                    changed.insert(container.clone());
                }
                Step::Group
                | Step::Widen(_)
                | Step::Network(_)
                | Step::LeaveNetwork(_)
                | Step::Plug { .. }
                | Step::Volume(_)
                | Step::Await { .. }
                | Step::RemoveNetworks
                | Step::RemoveVolume(_)
                | Step::RemoveGroup => {}
            }
        }
        wanted.sort();
        wanted.dedup();
        let mut holders = self.holders(|stack, name| {
            stack != self.stack || !(changed.contains(name) || wanted.iter().any(|one| one == name))
        });
        for name in wanted {
            let known = self.container(&name);
            let of_known = || known.as_ref().map(|known| known.record.borrow().service.name.clone());
            let service = services.get(&name).cloned().or_else(of_known);
            let Some(service) = service.and_then(|service| stack.services.get(&service)) else { continue };
            let Some(count) = service.resources.cpus_exclusive else { continue };
            let before = known.map(|known| known.record.borrow().cores.clone()).unwrap_or_default();
            let asked = (service.name.as_str(), &service.resources);
            let cores = find(claims, &name, asked, (count, &before), holders.clone())?;
            holders.push((name, cores));
        }
        Ok(())
    }

    /// Moves containers from cores that others are to have by name, before those come to them. What comes back is what
    /// they had.
    pub(super) fn make_way(&self, claims: &Claims<'_>) -> Result<Vec<(Rc<Container>, Cpus)>> {
        if !self.has_exclusive() {
            return Ok(Vec::new());
        }
        let _lock = lock_cores()?;
        let mut moved = Vec::new();
        for (container, cores) in self.moves(claims)? {
            let before = container.record.borrow().cores.clone();
            take(&container, cores)?;
            moved.push((container, before));
        }
        if !moved.is_empty() {
            self.share_cores("");
        }
        Ok(moved)
    }

    /// Takes a [`Self::make_way`] back, as far as nobody else has come meanwhile.
    pub(super) fn move_back(&self, moved: Vec<(Rc<Container>, Cpus)>) {
        if moved.is_empty() {
            return;
        }
        let back = || -> Result<()> {
            let _lock = lock_cores()?;
            let theirs = self.holders(|stack, _| stack != self.stack);
            let is_free = |before: &Cpus| theirs.iter().all(|(_, cores)| cores.is_disjoint(before));
            for (container, before) in moved.into_iter().filter(|(_, before)| is_free(before)) {
                take(&container, before)?;
            }
            Ok(())
        };
        if let Err(error) = back() {
            diagnose(&error.to_string());
        }
        self.share_cores("");
    }

    /// Where containers that have cores alone are to go, as those are not theirs by these claims; fails where there is
    /// no other place.
    pub(super) fn moves(&self, claims: &Claims<'_>) -> Result<Vec<(Rc<Container>, Cpus)>> {
        let mut having = Vec::new();
        for container in self.containers.borrow().values() {
            let record = container.record.borrow();
            let own = claims.services.get(record.service.name.as_str()).copied();
            let own = own.unwrap_or(&record.service.resources).clone();
            if let Some(count) = own.cpus_exclusive.filter(|_| !record.cores.is_empty())
                && !claims.leaving.contains(record.name.as_str())
                && self.container_group(&container.name()).exists()
            {
                having.push((Rc::clone(container), own, count));
            }
        }
        let (mut holders, mut moves) = (self.holders(|stack, _| stack != self.stack), Vec::new());
        let mut homeless = Vec::new();
        for (container, own, count) in having {
            let before = container.record.borrow().cores.clone();
            let service = container.record.borrow().service.name.clone();
            match find(claims, &container.name(), (&service, &own), (count, &before), Vec::new()) {
                // Whoever can stay does, before others look for a place.
                Ok(cores) if cores == before => holders.push((container.name(), cores)),
                Ok(_) | Err(_) => homeless.push((container, service, own, (count, before))),
            }
        }
        for (container, service, own, (count, before)) in homeless {
            let cores = find(claims, &container.name(), (&service, &own), (count, &before), holders.clone())?;
            holders.push((container.name(), cores.clone()));
            moves.push((container, cores));
        }
        Ok(moves)
    }

    /// What containers of all stacks have alone, of those that are asked for by stack and name.
    fn holders(&self, is_asked: impl Fn(&str, &str) -> bool) -> Vec<(String, Cpus)> {
        let mut found = Vec::new();
        for stack in paths::stacks() {
            let paths = StackPaths::new(&stack);
            for name in paths.container_names().filter(|name| is_asked(&stack, name)) {
                let Some(record) = ContainerRecord::read(&paths.container(&name)) else { continue };
                if !record.cores.is_empty() && self.cgroups.group(&format!("compose/{stack}/{name}")).exists()
                {
                    found.push((name, record.cores));
                }
            }
        }
        found
    }

    /// Whether a container has cores, is to have some, or had some since this process began.
    fn has_exclusive(&self) -> bool {
        let asks = |container: &Rc<Container>| {
            let record = container.record.borrow();
            !record.cores.is_empty() || record.service.resources.cpus_exclusive.is_some()
        };
        if self.containers.borrow().values().any(asks) {
            self.shares_cores.set(true);
        }
        self.shares_cores.get()
    }

    /// Gives back what a container has whose program has ended.
    pub(super) fn give_back_cores(&self, container: &Container) {
        if container.record.borrow().cores.is_empty() {
            return;
        }
        self.shares_cores.set(true);
        container.record.borrow_mut().cores.clear();
        if let Err(error) = container.record.borrow().rewrite(&container.paths) {
            diagnose(&format!("cores of {}: {error}", container.name()));
        }
        self.spread_cores();
    }

    /// Gives everybody who has no cores alone what is left of the stack's, where that may have changed.
    pub(super) fn spread_cores(&self) {
        if self.has_exclusive() {
            self.share_cores("");
        }
    }

    /// The same of every container with a group; `newcomer` is one that may not be among them yet.
    fn share_cores(&self, newcomer: &str) {
        let containers: Vec<_> = self.containers.borrow().values().cloned().collect();
        let there: Vec<_> = containers
            .into_iter()
            .filter(|container| {
                container.name() == newcomer || self.container_group(&container.name()).exists()
            })
            .collect();
        let given: Cpus = there.iter().flat_map(|one| one.record.borrow().cores.clone()).collect();
        let of_stack = self.record.borrow().as_ref().and_then(|record| pool(&record.resources));
        let Some(of_stack) = of_stack.or_else(cpus::online) else { return };
        for container in &there {
            let record = container.record.borrow();
            let own = pool(&record.service.resources);
            let rest: Cpus = own.as_ref().unwrap_or(&of_stack).difference(&given).copied().collect();
            let list = match (record.cores.is_empty(), given.is_empty()) {
                (false, _) => Some(shown(&record.cores)),
                (true, false) if !rest.is_empty() => Some(shown(&rest)),
                (true, _) => record.service.resources.cpuset.clone(),
            };
            drop(record);
            if let Err(error) = self.container_group(&container.name()).set_cpuset(list.as_deref()) {
                self.announce_container(
                    container,
                    Action::Warning(format!("its cores stay as they are: {error}")),
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(cpus: &[u32]) -> Cpus {
        cpus.iter().copied().collect()
    }

    fn offer(cores: &[Cpus]) -> Offer<'_> {
        let pool = cores.iter().flatten().copied().collect();
        Offer { cores, pool, taken: set(&[]), named: set(&[]), shared: None }
    }

    #[test]
    fn whole_cores_with_all_their_threads() {
        let cores = [set(&[0, 4]), set(&[1, 5]), set(&[2, 6]), set(&[3, 7])];
        let none = Cpus::new();
        assert_eq!(pick(&offer(&cores), 2, &none), Some(set(&[2, 3, 6, 7])));
        let taken = Offer { taken: set(&[3, 7]), named: set(&[6]), ..offer(&cores) };
        assert_eq!(pick(&taken, 1, &none), Some(set(&[1, 5])));
        assert_eq!(pick(&taken, 1, &set(&[0, 4])), Some(set(&[0, 4])), "those that it has had");
        let half = Offer { pool: set(&[0, 1, 2, 4]), ..offer(&cores) };
        assert_eq!(pick(&half, 1, &none), Some(set(&[0, 4])));
        assert_eq!(pick(&half, 2, &none), None);
    }

    #[test]
    fn something_is_left() {
        let cores = [set(&[0]), set(&[1]), set(&[2])];
        let none = Cpus::new();
        assert_eq!(pick(&offer(&cores), 3, &none), None, "all of the host's");
        let taken = Offer { taken: set(&[2]), ..offer(&cores) };
        assert_eq!(pick(&taken, 2, &none), None, "the last of the host's");
        let shared = Offer { pool: set(&[1, 2]), shared: Some(set(&[1, 2])), ..offer(&cores) };
        assert_eq!(pick(&shared, 2, &none), None, "others of the stack run there");
        assert_eq!(pick(&shared, 1, &none), Some(set(&[2])));
    }
}
