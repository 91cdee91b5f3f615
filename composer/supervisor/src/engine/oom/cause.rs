//! Why the kernel has killed: whose limit was reached, and who had how much.

use std::rc::Rc;

use composer_cgroup::Shortage;
use composer_stack::show_bytes;

use super::super::Engine;
use super::super::container::Container;
use super::Kill;
use crate::clock;
use crate::protocol::{Outcome, Shortage as Told};

/// An end so soon after a kill that its container had survived is by it all the same, unless the user has asked for it;
/// in nanoseconds.
const BY_IT: u64 = 1_000_000_000;
/// So long it is remembered on v1 that a limit was reached, in nanoseconds.
const REMEMBERED: u64 = 10_000_000_000;
/// What v1 tells a container so much later than it has told the stack, in nanoseconds, is of the container's own limit:
/// that of the stack it tells all at once.
const LATER: u64 = 50_000_000;
/// How near to its limit the most that a group of v1 has had is where that limit was reached: the kernel charges in lots.
pub(super) const LOT: u64 = 1 << 20;
/// How many containers are named beside the one that it is about.
pub(in super::super) const NAMED: usize = 4;

/// Those that are not named.
pub(in super::super) fn and_more(containers: usize) -> Option<String> {
    match containers {
        0 => None,
        1 => Some("and 1 more container".to_owned()),
        more => Some(format!("and {more} more containers")),
    }
}

/// The end of a container in which the kernel has killed.
pub(in super::super) struct Death {
    /// What was killed, and why.
    told: Told,
    /// Whether nobody has been told yet.
    is_new: bool,
    /// Whether it is what the container has ended of.
    is_cause: bool,
}

impl Death {
    /// What is told of the end, where it is that.
    pub fn reason(death: Option<&Self>) -> Option<String> {
        death.filter(|death| death.is_cause).map(|death| death.told.text.clone())
    }
}

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
        let more = now.kills - container.memory.state.borrow().kills;
        let (why, processes) = match earlier {
            Some(kill) => (kill.why, kill.processes + more),
            None => (self.why(container, now, &stack), more),
        };
        container.change_memory(|state| {
            state.counted(now, &stack);
            state.kill = Some(Kill { is_told: false, processes, at: clock::now(), why });
        });
    }

    /// What is told of the end of a container with this code where it was by a kill for want of memory.
    pub(in super::super) fn death(&self, container: &Container, code: Option<i32>) -> Option<Death> {
        let now = self.shortage(container);
        if now.kills > container.memory.state.borrow().kills {
            self.note_kill(container, &now);
        }
        container.memory.limit.listen_to(None);
        let kill = container.memory.state.borrow().kill.clone()?;
        let is_asked = container.memory.is_leaving.get();
        if kill.is_told && (is_asked || clock::now().saturating_sub(kill.at) > BY_IT) {
            return None;
        }
        let what = if kill.is_told || code.is_some_and(|code| code != 137) {
            // It may have taken the end of one of its processes for its own.
            self.what_was_killed(container, &kill)
        } else {
            format!("{} was killed", self.called(container))
        };
        let told = Told { outcome: Outcome::Killed, text: format!("{what}: {}", kill.why) };
        Some(Death { told, is_new: !kill.is_told, is_cause: code != Some(0) })
    }

    /// Tells of an end what nobody has been told yet.
    pub(in super::super) fn tell_death(self: &Rc<Self>, container: &Rc<Container>, death: Option<Death>) {
        if let Some(death) = death.filter(|death| death.is_new) {
            self.tell_shortage(container, death.told);
        }
    }

    /// Of a container that may go on without them.
    pub(super) fn what_was_killed(&self, container: &Container, kill: &Kill) -> String {
        let called = self.called(container);
        match kill.processes {
            0 | 1 => format!("a process of {called} was killed"),
            more => format!("{more} processes of {called} were killed"),
        }
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
    pub(in super::super) fn called(&self, container: &Container) -> String {
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

    /// Why one is killed for the others where the stack has come to the mark below its limit.
    pub(super) fn why_at_mark(&self, container: &Container, now: &Shortage, mark: u64) -> String {
        let Some(limit) = now.limit.filter(|limit| now.current.saturating_add(LOT) < *limit) else {
            return self.why_of_stack(container, now.limit.unwrap_or(mark));
        };
        format!(
            "the stack's limit of {} was about to be reached: it had {}, past the mark of {}; {}",
            show_bytes(limit),
            show_bytes(now.current),
            show_bytes(mark),
            self.took_all(container)
        )
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
        let recently = |at: Option<u64>| at.is_some_and(|at| clock::now().saturating_sub(at) < REMEMBERED);
        let own = is_full(now, &format!("{}/{}", self.group_path(), container.name()));
        let of_stack = is_full(stack, &self.group_path());
        let (own_at, stack_at) = (container.memory.limit.last(), self.memory.limit.last());
        let is_own = matches!((own_at, stack_at), (Some(own), Some(stack)) if own > stack + LATER);
        let stack_alarmed = recently(stack_at) && !(is_own && own.is_some());
        let known = recently(own_at) || stack_alarmed;
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
        let more = and_more(more).map(|more| format!(", {more}")).unwrap_or_default();
        format!("{own}{}{more}", named.collect::<String>())
    }
}
