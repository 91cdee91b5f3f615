//! Why the kernel has killed: whose limit was reached, and who had how much.

use composer_cgroup::Shortage;
use composer_stack::show_bytes;

use super::super::Engine;
use super::super::container::Container;
use super::Kill;
use crate::clock;
use crate::protocol::{Outcome, Shortage as Told};

/// An end so soon after a kill that its container had survived is by it all the same; and so long it is remembered on v1
/// that a limit was reached.
const BY_IT: u64 = 10_000_000_000;
/// How near to its limit the most that a group of v1 has had is where that limit was reached: the kernel charges in lots.
pub(super) const LOT: u64 = 1 << 20;
/// How many other containers are named.
const NAMED: usize = 4;

/// What a container's kills had come to when a program of `exec` was started in it.
#[derive(Clone, Copy)]
pub(in super::super) struct Before {
    /// How many of its processes had been killed; `None` where that is not known.
    kills: Option<u64>,
    /// When, as [`clock`] has it.
    at: u64,
}

impl Before {
    /// Of a program that an earlier supervisor has started: what was killed lately was it.
    pub(in super::super) fn an_earlier_supervisor() -> Self {
        Self { kills: None, at: clock::now().saturating_sub(BY_IT) }
    }
}

/// Whose limit was reached.
enum Whose {
    Own(u64),
    Stack(u64),
    Host,
}

impl Engine {
    /// Notes that a process of a container was killed, and why, as long as that can be told.
    pub(super) fn note_kill(&self, container: &Container, now: &Shortage) {
        let stack = self.stack_shortage();
        // All of a group are counted one by one, and the limit is reached but once.
        let earlier = container.memory.state.borrow().kill.clone().filter(|kill| !kill.is_told);
        let why = earlier.map_or_else(|| self.why(container, now, &stack), |kill| kill.why);
        container.change_memory(|state| {
            state.counted(now, &stack);
            state.kill = Some(Kill { is_told: false, at: clock::now(), why });
        });
    }

    /// What is told of the end of a container with this code where it was by a kill for want of memory.
    pub(in super::super) fn death(&self, container: &Container, code: Option<i32>) -> Option<Told> {
        if code == Some(0) {
            return None;
        }
        let now = self.shortage(container);
        if now.kills > container.memory.state.borrow().kills {
            self.note_kill(container, &now);
        }
        let kill = container.memory.state.borrow().kill.clone()?;
        if kill.is_told && clock::now().saturating_sub(kill.at) > BY_IT {
            return None;
        }
        let called = self.called(container);
        let what = if kill.is_told || code.is_some_and(|code| code != 137) {
            // It has taken the end of one of its processes for its own.
            format!("a process of {called} was killed")
        } else {
            format!("{called} was killed")
        };
        Some(Told { outcome: Outcome::Killed, text: format!("{what}: {}", kill.why) })
    }

    /// What is known of a container's memory before a program is started beside its own.
    pub(in super::super) fn memory_before(&self, container: &Container) -> Before {
        Before { kills: Some(self.shortage(container).kills), at: clock::now() }
    }

    /// Why a program beside the container's own has ended with this code, where it was by a kill for want of memory. What
    /// is known of the container's kills stays as it is: its watch acts by that.
    pub(in super::super) fn death_beside(
        &self,
        container: &Container,
        code: i32,
        before: Before,
    ) -> Option<String> {
        if code != 137 {
            return None;
        }
        let known = container.memory.state.borrow().clone();
        let why = match known.kill.filter(|kill| kill.at >= before.at) {
            Some(kill) => kill.why,
            None => {
                let now = self.shortage(container);
                let is_killed = now.kills > before.kills.unwrap_or(known.kills);
                is_killed.then(|| self.why(container, &now, &self.stack_shortage()))?
            }
        };
        Some(format!("a process of {} was killed: {why}", self.called(container)))
    }

    /// What a user calls a container: its service, where that has no other.
    pub(super) fn called(&self, container: &Container) -> String {
        let record = container.record.borrow();
        let is_only = record.oneoff.is_none() && record.service.replicas == 1;
        if is_only { record.service.name.clone() } else { record.name.clone() }
    }

    /// How a container stands to its limit, for one that is held, and what lets it go on.
    pub(super) fn what_is_short(&self, container: &Container) -> String {
        let limit = container.limits().memory.unwrap_or_default();
        let now = self.shortage(container);
        let (has, limit) = (show_bytes(now.fixed), show_bytes(limit));
        let record = container.record.borrow();
        let service = &record.service.name;
        // `set` and `unpause` are for services; a container of `run` goes on when memory becomes free.
        if record.oneoff.is_some() {
            return format!("it has {has} of its limit of {limit}");
        }
        format!(
            "it has {has} of its limit of {limit}; `compose set {service} --memory …` gives it more, `compose unpause \
             {service}` lets it go on as it is"
        )
    }

    fn stack_shortage(&self) -> Shortage {
        self.cgroups.group(&self.group_path()).shortage().unwrap_or_default()
    }

    fn why(&self, container: &Container, now: &Shortage, stack: &Shortage) -> String {
        match self.whose(container, now, stack) {
            Whose::Own(limit) => {
                let raised = container.memory.state.borrow().raised;
                let given = container.record.borrow().service.resources.memory;
                let raised = match (raised, given) {
                    (Some(_), Some(given)) => format!(", raised from {},", show_bytes(given)),
                    _ => String::new(),
                };
                format!(
                    "its limit of {}{raised} was reached; {}",
                    show_bytes(limit),
                    self.took(container, "it")
                )
            }
            Whose::Stack(limit) => self.why_of_stack(container, limit),
            Whose::Host => format!("this host ran out of memory; {}", self.took(container, "it")),
        }
    }

    /// Why one is killed for the limit of all.
    pub(super) fn why_of_stack(&self, container: &Container, limit: u64) -> String {
        format!("the stack's limit of {} was reached; {}", show_bytes(limit), self.took_all(container))
    }

    fn whose(&self, container: &Container, now: &Shortage, stack: &Shortage) -> Whose {
        let state = container.memory.state.borrow();
        if let (Some(own), Some(of_stack)) = (now.reached, stack.reached_itself) {
            return match (now.limit, stack.limit) {
                (Some(limit), _) if own > state.reached => Whose::Own(limit),
                (_, Some(limit)) if of_stack > state.stack_reached => Whose::Stack(limit),
                _ => Whose::Host,
            };
        }
        // v1 counts nothing: it tells all containers of a stack whose limit is reached, and one of its own.
        let is_full = |shortage: &Shortage, path: &str| {
            let peak = self.cgroups.group(path).usage().ok().and_then(|usage| usage.memory_peak);
            shortage.limit.filter(|limit| peak.unwrap_or_default().saturating_add(LOT) >= *limit)
        };
        let recently = |at: Option<u64>| at.is_some_and(|at| clock::now().saturating_sub(at) < BY_IT);
        let own = is_full(now, &format!("{}/{}", self.group_path(), container.name()));
        let of_stack = is_full(stack, &self.group_path());
        let stack_alarmed = recently(self.memory.alarmed());
        let known = recently(container.memory.alarmed.get()) || stack_alarmed;
        match (own, of_stack) {
            (_, Some(limit)) if known && stack_alarmed => Whose::Stack(limit),
            (Some(limit), _) if !stack_alarmed => Whose::Own(limit),
            (_, Some(limit)) if !known => Whose::Stack(limit),
            _ => Whose::Host,
        }
    }

    /// "it had peaked at 60 MiB", or what it had last where this kernel keeps no peak.
    fn took(&self, container: &Container, called: &str) -> String {
        match self.peak(container) {
            Some((bytes, true)) => format!("{called} had peaked at {}", show_bytes(bytes)),
            Some((bytes, false)) => format!("{called} last had {}", show_bytes(bytes)),
            None => format!("what {called} had is not known"),
        }
    }

    fn peak(&self, container: &Container) -> Option<(u64, bool)> {
        let usage = self.container_group(&container.name()).usage().ok()?;
        let peak = usage.memory_peak.map(|bytes| (bytes, true));
        peak.or(usage.memory_current.map(|bytes| (bytes, false)))
    }

    /// The one that was killed, then those who run, the greatest first.
    fn took_all(&self, killed: &Container) -> String {
        let own = self.took(killed, &self.called(killed));
        let containers = self.containers.borrow();
        let others = containers.values().filter(|other| {
            let is_same = std::ptr::eq(std::rc::Rc::as_ptr(other), killed);
            !is_same && other.live.borrow().is_some()
        });
        let mut others: Vec<_> =
            others.filter_map(|other| Some((self.called(other), self.peak(other)?))).collect();
        others.sort_by_key(|(_, (bytes, _))| std::cmp::Reverse(*bytes));
        let more = others.len().saturating_sub(NAMED);
        let named = others.iter().take(NAMED).map(|(name, (bytes, is_peak))| {
            let word = if *is_peak { "at" } else { "last had" };
            format!(", {name} {word} {}", show_bytes(*bytes))
        });
        let more = if more > 0 { format!(", and {more} more containers") } else { String::new() };
        format!("{own}{}{more}", named.collect::<String>())
    }
}
