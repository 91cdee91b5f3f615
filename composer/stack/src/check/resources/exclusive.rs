//! Cores that a service has alone: `x-cpus-exclusive`.

use std::collections::BTreeSet;

use crate::check::project::{Named, Project};
use crate::cpuset;
use crate::diagnostic::Report;
use crate::limits::{self, Limits};
use crate::options::HostFacts;
use crate::values::At;

/// A service, and what it has said of cores.
struct Asking<'a> {
    service: Named<'a>,
    limits: Limits,
    /// How many cores each container takes.
    each: At<i64>,
    /// All of them together.
    all: usize,
}

pub(super) fn check(project: Project<'_>, stack: &Limits, host: &HostFacts, report: &mut Report) {
    let (mut asking, mut others) = (Vec::new(), Vec::new());
    for service in project.services() {
        let limits = Limits::of_service(service.node());
        let replicas = limits::replicas(service.node()).map_or(1, |at| at.value.max(0));
        match limits.exclusive {
            Some(each) => {
                let all = usize::try_from(each.value.saturating_mul(replicas)).unwrap_or(usize::MAX);
                asking.push(Asking { service, limits, each, all });
            }
            None if replicas > 0 => others.push((service, limits)),
            None => {}
        }
    }
    if asking.is_empty() {
        return;
    }
    let cores = cores(host);
    let inside = |list: Option<&At<BTreeSet<u32>>>, cpus: &BTreeSet<u32>| -> BTreeSet<u32> {
        list.map_or_else(|| cpus.clone(), |list| cpus.intersection(&list.value).copied().collect())
    };
    let pool = inside(stack.cpuset.as_ref(), &host.cpus_online);
    // What others have by name is theirs.
    let named = others.iter().filter_map(|(_, limits)| limits.cpuset.as_ref());
    let kept: BTreeSet<u32> = named.clone().flat_map(|list| list.value.iter().copied()).collect();
    let free = |pool: &BTreeSet<u32>| {
        let is_free = |core: &&BTreeSet<u32>| core.is_subset(pool) && core.is_disjoint(&kept);
        cores.iter().filter(is_free).count()
    };
    let before = report.mark();
    let mut sum = 0_usize;
    for one in &asking {
        let own = inside(one.limits.cpuset.as_ref(), &pool);
        sum = sum.saturating_add(one.all);
        let there = free(&own);
        if one.all > there {
            let message = format!(
                "`{}` asks for {}, and {} of CPUs {} can be given away",
                one.service.name,
                count(one.all),
                if there == 0 { "no core".to_owned() } else { count(there) },
                cpuset::show(&own)
            );
            let found = report.error(one.each.span, message);
            if let Some(list) = named.clone().find(|list| !list.value.is_disjoint(&own)) {
                found.also(list.span, "these are another service's by name");
            }
        }
    }
    let (Some(last), true) = (asking.last(), report.mark() == before) else { return };
    let there = free(&pool);
    if sum > there {
        let message = format!(
            "the services ask for {} of their own together, and the stack has {}",
            count(sum),
            count(there)
        );
        report.error(last.each.span, message);
    } else if sum >= cores.len() {
        report
            .error(last.each.span, format!("{} are all that this host has", count(sum)))
            .note(
                "one has to be left: the host's own programs run on it, and those that watch over the stack",
            )
            .help("ask for fewer, or share the cores: `cpuset`");
    } else if sum == cores.iter().filter(|core| core.is_subset(&pool)).count()
        && let Some((other, _)) = others.iter().find(|(_, limits)| limits.cpuset.is_none())
    {
        let message = format!("no core of CPUs {} is left for `{}`", cpuset::show(&pool), other.name);
        report.error(last.each.span, message).also(other.entry.key, "it shares what is left with others");
    }
}

/// The host's cores, each with its threads.
fn cores(host: &HostFacts) -> Vec<BTreeSet<u32>> {
    let mut cores = host.cores.clone();
    let is_alone = |cpu: &&u32| !host.cores.iter().any(|core| core.contains(cpu));
    cores.extend(host.cpus_online.iter().filter(is_alone).map(|cpu| BTreeSet::from([*cpu])));
    cores
}

fn count(cores: usize) -> String {
    if cores == 1 { "1 core".to_owned() } else { format!("{cores} cores") }
}
