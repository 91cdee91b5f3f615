//! Running out of memory: who is told, what is done about it, and what is said of it.
//!
//! The kernel acts by itself wherever it can (`memory.oom.group`, scores of its killer), so that what a policy asks for
//! holds while no supervisor is there. What only a supervisor can do waits for one: on v1 the rest of a container of which
//! one process was killed, and on both what `pause` and `raise` do at their mark.

mod act;
mod cause;
mod hook;
mod victim;
mod watch;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Instant;

use composer_cgroup::{AtLimit, Limits, Shortage};
use composer_stack::{OomPolicy, Resources, Service};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::container::Container;
use super::start::Result;
use super::{Engine, group};
use crate::paths::ContainerPaths;
use crate::{diagnose, records};

pub(super) use cause::{Before, Death, NAMED, and_more};
pub(super) use victim::StackMemory;

/// The least margin between the mark at which `pause` and `raise` act and the limit.
const LEAST_MARGIN: u64 = 4 << 20;
/// The margin is one part in so many of the limit.
const PARTS: u64 = 16;
/// And no more than this: a program that does nothing else takes somewhat above 1 GiB a second, the kernel clears each page
/// first, so that it passes within 50 ms, the longest that a supervisor is to take.
const MOST_MARGIN: u64 = 64 << 20;

/// How far below a limit it is acted: that much may be taken until the kernel has been told what to do.
fn margin(limit: u64) -> u64 {
    margin_of(limit, PARTS, MOST_MARGIN)
}

/// One part in `parts` of a limit, within bounds.
fn margin_of(limit: u64, parts: u64, most: u64) -> u64 {
    (limit / parts).clamp(LEAST_MARGIN, most).min(limit / 2)
}

/// Where it is acted, below a limit.
fn mark(limit: u64) -> u64 {
    limit - margin(limit)
}

/// What is known of a container's memory while its program runs.
#[derive(Default)]
pub struct Memory {
    /// What outlives this supervisor.
    state: RefCell<State>,
    /// Limit or policy have changed.
    changed: Notify,
    /// Who watches it.
    watch: RefCell<Option<AbortHandle>>,
    /// Whether its processes are those that the kernel is to kill first when the stack's limit is reached; `None` where
    /// nobody has looked yet, as it may have been born so, or an earlier supervisor may have made it so.
    is_victim: Cell<Option<bool>>,
    /// Whether its program is about to run.
    is_coming: Cell<bool>,
    /// Whether it was told that its processes wait at the limit that it has now.
    has_told_waiting: Cell<bool>,
    /// Whether it has been told to end: from then on it is not held, or its end would never come.
    is_leaving: Cell<bool>,
    /// Its hooks.
    hook: Rc<hook::Queue>,
    /// What tells of its limit.
    limit: watch::Heard,
    /// When a kill that it has survived was last told of.
    told: Cell<Option<Instant>>,
}

/// What is known of it beyond this supervisor's life.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct State {
    /// What its limit has been raised to, where it has been.
    raised: Option<u64>,
    /// How many of its processes had been killed when that was last looked at.
    kills: u64,
    /// How often its own limit had been reached then; v2 alone.
    reached: u64,
    /// How often the stack's had been; v2 alone.
    stack_reached: u64,
    /// Why it is held, where that is for want of memory.
    held: Option<Held>,
    /// How it stood then, and what lets it go on.
    short: Option<String>,
    /// Its policy has done what it can, or the user has let it go: at the limit all of it is killed.
    spent: bool,
    /// The last kill in it.
    kill: Option<Kill>,
}

/// A kill for want of memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Kill {
    /// Whether it was told of, as the container goes on without the process that was killed.
    is_told: bool,
    /// How many processes have been killed since that was last told.
    #[serde(default)]
    processes: u64,
    /// When: nanoseconds since the Unix epoch.
    at: u64,
    /// Why, as [`cause`] words it.
    why: String,
}

/// How far holding a container has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Held {
    /// Asked for; the kernel has not all processes yet.
    Pausing,
    /// All stand still.
    Paused,
}

impl Memory {
    /// Whether its container is held for want of memory, and how far that has come.
    pub fn held(&self) -> Option<Held> {
        self.state.borrow().held
    }

    /// Why it is held, where it is, and what lets it go on.
    pub fn short(&self) -> Option<String> {
        self.held().and_then(|_| self.state.borrow().short.clone())
    }
}

impl Container {
    /// Changes what is known of its memory, on disk as well.
    fn change_memory(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.memory.state.borrow_mut();
        let before = state.clone();
        change(&mut state);
        if *state != before
            && let Err(error) = records::write(&self.paths.memory(), &*state)
        {
            diagnose(&format!("what is known of the memory of {}: {error}", self.name()));
        }
    }

    /// What the limits are to be where its service has others: what `raise` has made of them holds on where the limit of
    /// memory is the same.
    pub(super) fn limits_as(&self, resources: &Resources) -> Result<Limits> {
        let is_same = self.record.borrow().service.resources.memory == resources.memory;
        let raised = self.memory.state.borrow().raised.filter(|_| is_same);
        group::limits(&raised_to(resources, raised))
    }

    /// Somebody has written all limits anew: what happens at that of memory is to be set again.
    pub(super) fn memory_is_unset(&self) {
        self.memory.changed.notify_one();
    }

    /// The limits that are in force: those of its service, with what `raise` has made of them.
    pub(super) fn limits(&self) -> Limits {
        group::limits_in_force(&self.resources_in_force())
    }

    /// The same as a file has them.
    pub(super) fn resources_in_force(&self) -> Resources {
        raised_to(&self.record.borrow().service.resources, self.memory.state.borrow().raised)
    }
}

/// Limits with memory raised to so many bytes; swap keeps its part.
pub(crate) fn raised_to(resources: &Resources, raised: Option<u64>) -> Resources {
    let mut resources = resources.clone();
    if let (Some(raised), Some(memory)) = (raised, resources.memory) {
        let more = i64::try_from(raised.saturating_sub(memory)).unwrap_or(i64::MAX);
        resources.memory = Some(raised);
        resources.memory_swap =
            resources.memory_swap.map(|total| if total > 0 { total.saturating_add(more) } else { total });
    }
    resources
}

/// What the kernel is to do at the limit of a service's container that has not spent its policy.
pub(super) fn at_limit(service: &Service, limit: Option<u64>) -> AtLimit {
    // The service's own word goes before the stack's policy; beside one of its own it is refused.
    if service.resources.oom_kill_disable {
        return AtLimit::Wait;
    }
    match (service.oom.policy, limit) {
        (OomPolicy::Kill, _) => AtLimit::Kill,
        (OomPolicy::Pause | OomPolicy::Raise { .. }, Some(limit)) => AtLimit::Tell { mark: mark(limit) },
        (OomPolicy::KillGroup | OomPolicy::Pause | OomPolicy::Raise { .. }, _) => AtLimit::KillAll,
    }
}

impl Engine {
    /// Takes up the watch over the memory of a container whose program runs; `fresh` where it has just been exec'd.
    pub(super) fn watch_memory(self: &Rc<Self>, container: &Rc<Container>, fresh: bool) {
        let known = if fresh { None } else { records::read::<State>(&container.paths.memory()) };
        let state = known.unwrap_or_else(|| {
            let stack = self.cgroups.group(&self.group_path()).shortage().unwrap_or_default();
            State { stack_reached: stack.reached_itself.unwrap_or_default(), ..State::default() }
        });
        *container.memory.state.borrow_mut() = State::default();
        container.change_memory(|now| *now = state);
        if container.memory.held().is_some() && !*container.paused.borrow() {
            // Somebody has let it go meanwhile.
            container.change_memory(|state| state.held = None);
        }
        container.memory.is_coming.set(false);
        container.memory.is_leaving.set(false);
        container.memory.is_victim.set(None);
        let (engine, watched) = (Rc::clone(self), Rc::clone(container));
        let task = tokio::task::spawn_local(async move { engine.keep_watch(&watched).await });
        if let Some(before) = container.memory.watch.replace(Some(task.abort_handle())) {
            before.abort();
        }
        self.choose_victim();
    }

    /// A container is about to be told to end, and is let go where it is held: neither a hook nor a signal gets anywhere in
    /// it else, and on v1 it would not die either.
    pub(super) fn takes_leave(&self, container: &Container) -> std::result::Result<(), String> {
        if !container.memory.is_leaving.replace(true) {
            container.memory.changed.notify_one();
        }
        self.unpause(container)
    }

    /// A program has not come to run, or what it stood on is gone.
    pub(super) fn is_not_coming(self: &Rc<Self>, container: &Container) {
        if container.memory.is_coming.replace(false) {
            self.choose_victim();
        }
    }

    /// The program has ended: nobody watches its memory any more.
    pub(super) fn end_watch(&self, container: &Container) {
        if let Some(watch) = container.memory.watch.take() {
            watch.abort();
        }
        container.change_memory(|state| state.held = None);
        container.memory.is_victim.set(None);
    }

    /// The same of one that has ended while no supervisor was there.
    pub(super) fn death_unseen(&self, container: &Container, code: Option<i32>) -> Option<Death> {
        *container.memory.state.borrow_mut() = records::read(&container.paths.memory()).unwrap_or_default();
        self.death(container, code)
    }

    fn shortage(&self, container: &Container) -> Shortage {
        self.container_group(&container.name()).shortage().unwrap_or_else(|error| {
            diagnose(&format!("memory of {}: {error}", container.name()));
            Shortage::default()
        })
    }
}

/// What the limit of memory of a container has been raised to, as its supervisor has written it down.
pub(crate) fn raised(paths: &ContainerPaths) -> Option<u64> {
    records::read::<State>(&paths.memory())?.raised
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_acted_well_below_the_limit() {
        assert_eq!(mark(64 << 20), 60 << 20);
        assert_eq!(mark(1 << 30), (1 << 30) - (64 << 20));
        assert_eq!(mark(6 << 20), 3 << 20);
        assert_eq!(mark(16 << 30), (16 << 30) - (64 << 20), "no more than a program takes meanwhile");
    }
}
