//! Cores that a container has alone (`x-cpus-exclusive`): picked when it starts, given back when it ends.
//!
//! A container's record says which it has, and they are its own for as long as its group is there: what a crash or a
//! reboot has ended holds none. Stacks pick under one lock, so that nobody gets what another has. Whoever has none gets
//! the rest of the stack's. Other programs of the host, and services of other stacks that ask for none, are not kept off.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;

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

/// A container that is to have cores alone.
struct Asking<'a> {
    name: &'a str,
    service: &'a Service,
    count: u32,
    /// Those that it has, or has had.
    before: &'a Cpus,
}

impl Asking<'_> {
    /// Its cores, in a stack with these limits and services, where these are taken.
    fn picked(
        &self,
        (resources, services): (&Resources, &BTreeMap<String, Service>),
        holders: &[(String, Cpus)],
    ) -> Result<Cpus> {
        let Self { name, service, count, before } = self;
        let refuse = |why: String| {
            Err(StartError {
                at: ["services", &service.name, "x-cpus-exclusive"].map(str::to_owned).into(),
                help: Some("ask for fewer, or stop whoever has them".to_owned()),
                ..StartError::new(format!("{name}: {why}"))
            })
        };
        let Some(online) = cpus::online() else {
            return refuse("/sys does not tell which CPUs are online".to_owned());
        };
        let taken: Cpus = holders.iter().flat_map(|(_, cores)| cores.iter().copied()).collect();
        let inside = |pool: Option<Cpus>, of: &Cpus| -> Cpus {
            pool.map_or_else(|| of.clone(), |pool| pool.intersection(of).copied().collect())
        };
        let of_stack = inside(pool(resources), &online);
        let others = || {
            services.values().filter(|other| other.resources.cpus_exclusive.is_none() && other.replicas > 0)
        };
        let cores = cpus::cores();
        let offer = Offer {
            cores: &cores,
            pool: inside(pool(&service.resources), &of_stack),
            taken,
            named: others().filter_map(|other| pool(&other.resources)).flatten().collect(),
            shared: others().any(|other| other.resources.cpuset.is_none()).then(|| of_stack.clone()),
        };
        if let Some(picked) = pick(&offer, *count as usize, before) {
            return Ok(picked);
        }
        let had: Vec<String> =
            holders.iter().map(|(holder, cores)| format!("{holder} has {}", shown(cores))).collect();
        let rest = if had.is_empty() { String::new() } else { format!(": {}", had.join(", ")) };
        let (word, pool) = (if *count == 1 { "core" } else { "cores" }, shown(&offer.pool));
        refuse(format!("{count} {word} of CPUs {pool} cannot be had for itself alone{rest}"))
    }
}

/// As the kernel writes them.
pub fn shown(cpus: &Cpus) -> String {
    let list: Vec<String> = cpus.iter().map(u32::to_string).collect();
    cpu_list(&list.join(",")).unwrap_or_default()
}

fn pool(resources: &Resources) -> Option<Cpus> {
    resources.cpuset.as_deref().and_then(cpus::list)
}

impl Engine {
    /// Gives a container, whose group has just been made or whose configuration has just changed, the cores that it is
    /// to have, and the rest to the others.
    pub(super) fn settle_cores(&self, container: &Container, service: &Service) -> Result<()> {
        let (before, wanted) = (container.record.borrow().cores.clone(), service.resources.cpus_exclusive);
        if before.is_empty() && wanted.is_none() && !self.has_exclusive() {
            return Ok(());
        }
        let failed = |error: io::Error| {
            StartError::doing(&format!("{}: take cores for itself", container.name()), &error)
        };
        let stacks = File::open(paths::stacks_folder()).map_err(failed)?;
        let _lock =
            Flock::lock(stacks, FlockArg::LockExclusive).map_err(|(_, errno)| failed(errno.into()))?;
        let cores = match wanted {
            None => Cpus::new(),
            Some(count) => self.find_cores(container, service, count, &before)?,
        };
        if cores != before {
            container.record.borrow_mut().cores = cores;
            container.record.borrow().rewrite(&container.paths).map_err(failed)?;
        }
        self.share_cores(&container.name());
        Ok(())
    }

    fn find_cores(
        &self,
        container: &Container,
        service: &Service,
        count: u32,
        before: &Cpus,
    ) -> Result<Cpus> {
        let name = container.name();
        let record = self.record.borrow();
        let Some(record) = record.as_ref() else { return Ok(Cpus::new()) };
        let asking = Asking { name: &name, service, count, before };
        let holders = self.holders(|stack, other| stack == self.stack && other == name);
        asking.picked((&record.resources, &record.services), &holders)
    }

    /// Fails where containers that a plan starts or changes could not all have the cores that they are to have alone,
    /// before anything is stopped for them.
    pub(super) fn check_cores(&self, plan: &Plan, stack: &Stack) -> Result<()> {
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
            stack == self.stack && (changed.contains(name) || wanted.iter().any(|one| one == name))
        });
        for name in wanted {
            let known = self.container(&name);
            let of_known = || known.as_ref().map(|known| known.record.borrow().service.name.clone());
            let service = services.get(&name).cloned().or_else(of_known);
            let Some(service) = service.and_then(|service| stack.services.get(&service)) else { continue };
            let Some(count) = service.resources.cpus_exclusive else { continue };
            let before = known.map(|known| known.record.borrow().cores.clone()).unwrap_or_default();
            let asking = Asking { name: &name, service, count, before: &before };
            let cores = asking.picked((&stack.resources, &stack.services), &holders)?;
            holders.push((name, cores));
        }
        Ok(())
    }

    /// What containers of all stacks have alone, but for some.
    fn holders(&self, but: impl Fn(&str, &str) -> bool) -> Vec<(String, Cpus)> {
        let mut found = Vec::new();
        for stack in paths::stacks() {
            let paths = StackPaths::new(&stack);
            let Ok(containers) = fs::read_dir(paths.containers()) else { continue };
            let names = containers.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
            for name in names.filter(|name| !but(&stack, name)) {
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
        let asks = |container: &std::rc::Rc<Container>| {
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
