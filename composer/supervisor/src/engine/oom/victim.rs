//! Who goes first when the stack's own limit is reached.
//!
//! A supervisor that is woken just below it kills whom the file names. Should the limit itself come first, or no supervisor
//! be there, the kernel chooses by scores (oom_score_adj of proc(5)): the processes of the one that is to go have the
//! highest there is. Scores alone do not do: while a process that was killed gives its memory back, the kernel passes it
//! over (`MMF_OOM_SKIP`) and may kill another for what is still short. On v2 the others are slowed down in that time, as
//! they are past `memory.high`; on v1, which has nothing like it, they wait at the limit (`oom_kill_disable`).

use std::cell::RefCell;
use std::fs;
use std::rc::Rc;
use std::time::Duration;

use composer_cgroup::Shortage;
use composer_stack::Victim;
use tokio::task::AbortHandle;

use super::super::Engine;
use super::super::container::{Container, Status};
use super::cause::LOT;
use super::watch::{Bell, Heard};
use super::{Kill, LEAST_MARGIN, margin_of};
use crate::{clock, diagnose};

/// The highest score: whoever has it goes first.
const FIRST: i32 = 1000;
/// Whom the kernel never kills.
const NEVER: i32 = -1000;
/// The kernel does not tell when the memory of what was killed has become free: how often it is looked for it.
const OFTEN: Duration = Duration::from_millis(10);
/// Between two looks at a stack that is at its mark with page cache, which goes off all the time.
const PACE: Duration = Duration::from_millis(20);
/// Which part of the stack's limit the margin below it is: less than of a container's own, as only one kill has to fit into
/// it. And the most: four programs may take memory as fast as they can at the same time.
const PARTS: u64 = 32;
const MOST_MARGIN: u64 = 256 << 20;
/// In how many rounds all processes of a container must have been found: more means that they fork faster.
const ROUNDS: usize = 20;

/// What is known of the memory of the whole stack.
#[derive(Default)]
pub struct StackMemory {
    /// Who watches it, and at which mark.
    watch: RefCell<Option<(AbortHandle, Watched)>>,
    /// What tells of its limit.
    pub(super) limit: Heard,
    /// Who is being killed for the others, by the pid of its first process.
    killing: RefCell<Option<(Rc<Container>, i32)>>,
}

/// What the stack's group is watched for.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Watched {
    mark: Option<u64>,
}

impl Engine {
    /// Has the kernel kill first whom the file wants to go first.
    pub(in super::super) fn choose_victim(self: &Rc<Self>) {
        self.watch_stack();
        self.score();
    }

    fn by(&self) -> Option<Victim> {
        let record = self.record.borrow();
        let record = record.as_ref()?;
        record.resources.memory?;
        record.victim
    }

    fn score(&self) {
        // Who is the biggest when it comes to it is not known before.
        let by = self.by().filter(|by| *by != Victim::Biggest);
        let chosen = by.and_then(|by| self.chosen(by, |_| false));
        let containers: Vec<_> = self.containers.borrow().values().cloned().collect();
        for container in containers.iter().filter(|container| container.live.borrow().is_some()) {
            let is_victim = chosen.as_ref().is_some_and(|chosen| Rc::ptr_eq(chosen, container));
            if container.memory.is_victim.get() != Some(is_victim) {
                self.score_one(container, is_victim);
            }
            container.memory.is_victim.set(Some(is_victim));
        }
    }

    /// Who goes first of those that run or are on their way, and of these others.
    fn chosen(&self, by: Victim, or: impl Fn(&Container) -> bool) -> Option<Rc<Container>> {
        // Whoever does not run yet was started last.
        let started = |container: &Container| container.started().unwrap_or(u64::MAX);
        let containers = self.containers.borrow();
        let all = containers.values().filter(|container| {
            let is_up = container.live.borrow().is_some() || container.memory.is_coming.get();
            (is_up || or(container)) && own_score(container) != NEVER
        });
        match by {
            Victim::Newest => all.max_by_key(|container| started(container)),
            Victim::Priority => all.min_by_key(|container| {
                (container.record.borrow().service.oom.priority, std::cmp::Reverse(started(container)))
            }),
            Victim::Biggest => all.max_by_key(|container| self.shortage(container).fixed),
        }
        .cloned()
    }

    /// The score that a container is to be born with, which is about to be started; `None` leaves what its service says.
    /// Its program may take memory long before anybody has come to look at it.
    pub(in super::super) fn score_at_birth(&self, container: &Container) -> Option<i32> {
        container.memory.is_coming.set(true);
        let by = self.by().filter(|by| *by != Victim::Biggest)?;
        self.score();
        // Others that the same command starts may be on their way a moment later.
        let may_come = |other: &Container| match *other.status.borrow() {
            Status::Created | Status::Starting | Status::Restarting(_) => true,
            Status::Running(_) | Status::Exited(_) => false,
        };
        let chosen = match by {
            Victim::Newest => return Some(FIRST),
            Victim::Priority | Victim::Biggest => self.chosen(by, may_come)?,
        };
        std::ptr::eq(Rc::as_ptr(&chosen), container).then_some(FIRST)
    }

    /// Gives the processes of a container the score of the victim, or takes it from them. What a program has set by itself
    /// stays.
    fn score_one(&self, container: &Container, is_victim: bool) {
        let own = own_score(container);
        let (from, to) = if is_victim { (own, FIRST) } else { (FIRST, own) };
        if from == to {
            return;
        }
        let group = self.container_group(&container.name());
        for _ in 0..ROUNDS {
            let mut has_changed = false;
            for pid in group.pids().unwrap_or_default() {
                let file = format!("/proc/{pid}/oom_score_adj");
                // One that has ended has none.
                let Ok(text) = fs::read_to_string(&file) else { continue };
                if text.trim().parse() != Ok(from) {
                    continue;
                }
                match fs::write(&file, to.to_string()) {
                    Ok(()) => has_changed = true,
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                    Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                    Err(error) => return diagnose(&format!("write {to} to {file}: {error}")),
                }
            }
            // What is forked has its parent's score: once nothing was to be changed, nothing is left.
            if !has_changed {
                return;
            }
        }
        diagnose(&format!("the processes of {} fork faster than their scores can be set", container.name()));
    }

    fn watch_stack(self: &Rc<Self>) {
        let cap = self.record.borrow().as_ref().and_then(|record| record.resources.memory);
        let Some(cap) = cap else {
            return self.unwatch_stack();
        };
        let wanted = Watched { mark: self.by().map(|_| mark(cap)) };
        let is_watched = self
            .memory
            .watch
            .borrow()
            .as_ref()
            .is_some_and(|(task, watched)| *watched == wanted && !task.is_finished());
        if is_watched {
            return;
        }
        self.unwatch_stack();
        let engine = Rc::clone(self);
        let task = tokio::task::spawn_local(async move { engine.keep_stack_watch(wanted.mark).await });
        *self.memory.watch.borrow_mut() = Some((task.abort_handle(), wanted));
    }

    /// Nobody watches the stack's memory any more.
    pub(in super::super) fn unwatch_stack(&self) {
        let Some((watch, watched)) = self.memory.watch.take() else { return };
        watch.abort();
        self.memory.limit.listen_to(None);
        if watched.mark.is_some() {
            let group = self.cgroups.group(&self.group_path());
            if let Err(error) = group.mark(None).and(group.wait_at_limit(false))
                && group.exists()
            {
                diagnose(&format!("memory of the stack: {error}"));
            }
        }
    }

    async fn keep_stack_watch(self: &Rc<Self>, mark: Option<u64>) {
        let group = self.cgroups.group(&self.group_path());
        let bells = Bell::of(&group, None).and_then(|limit| Ok((limit, Bell::of(&group, mark)?)));
        let (at_limit, at_mark) = match bells {
            Ok((Some(at_limit), Some(at_mark))) => (Rc::new(at_limit), at_mark),
            Ok(_) => return,
            Err(error) => return diagnose(&format!("watch the memory of the stack: {error}")),
        };
        self.memory.limit.listen_to(Some(&at_limit));
        if let Err(error) = group.mark(mark).and(group.wait_at_limit(mark.is_some())) {
            diagnose(&format!("memory of the stack: {error}"));
        }
        let mut has_rung = false;
        loop {
            let is_killing = mark.is_some_and(|mark| self.kill_at(mark));
            if has_rung && !is_killing {
                tokio::time::sleep(PACE).await;
            }
            let again = async {
                if is_killing {
                    tokio::time::sleep(OFTEN).await;
                } else {
                    std::future::pending::<()>().await;
                }
            };
            has_rung = tokio::select! {
                () = at_limit.rings() => {
                    self.memory.limit.now();
                    false
                }
                () = at_mark.rings(), if mark.is_some() => true,
                () = again => false,
            };
        }
    }

    /// Kills whom the file names where the stack has come to its mark, one after the other; whether one is being killed, or
    /// about to be.
    fn kill_at(&self, mark: u64) -> bool {
        let group = self.cgroups.group(&self.group_path());
        let killing = self.memory.killing.borrow().clone();
        if let Some((killed, pid)) = killing {
            let runs = killed.live.borrow().as_ref().map(|live| live.pid);
            let is_another = runs.is_some_and(|runs| runs != pid);
            if !is_another && (runs.is_some() || self.shortage(&killed).fixed > LEAST_MARGIN) {
                return true;
            }
            self.memory.killing.take();
        }
        // Who waits goes on once there is room, and is counted as waiting until then.
        let waits = |now: &Shortage| {
            now.waits && now.limit.is_some_and(|limit| now.current.saturating_add(LOT) >= limit)
        };
        let now = match group.shortage() {
            Ok(now) if now.fixed >= mark || waits(&now) => now,
            Ok(_) | Err(_) => return false,
        };
        let chosen = self.by().and_then(|by| self.chosen(by, |_| false));
        if chosen.is_none()
            && let Err(error) = group.wait_at_limit(false)
        {
            // There is nobody who may be killed, and waiting would have no end.
            diagnose(&format!("memory of the stack: {error}"));
        }
        if chosen.as_ref().is_some_and(|chosen| chosen.live.borrow().is_none()) {
            // It is on its way: as soon as its program runs.
            return true;
        }
        let pid = |container: &Container| container.live.borrow().as_ref().map(|live| live.pid);
        let Some((chosen, pid)) = chosen.and_then(|chosen| Some((Rc::clone(&chosen), pid(&chosen)?))) else {
            return false;
        };
        let why = self.why_at_mark(&chosen, &now, mark);
        chosen.change_memory(|state| {
            state.kill = Some(Kill { is_told: false, processes: 1, at: clock::now(), why })
        });
        if let Err(error) = self.container_group(&chosen.name()).kill() {
            diagnose(&format!("kill {}: {error}", chosen.name()));
            chosen.change_memory(|state| state.kill = None);
            return false;
        }
        *self.memory.killing.borrow_mut() = Some((chosen, pid));
        true
    }
}

/// Where somebody is killed, below the stack's limit.
fn mark(cap: u64) -> u64 {
    cap - margin_of(cap, PARTS, MOST_MARGIN)
}

/// The score that the programs of a container have by their service; without one they inherit ours.
fn own_score(container: &Container) -> i32 {
    container.record.borrow().service.isolation.oom_score_adj.unwrap_or_else(|| {
        let text = fs::read_to_string("/proc/self/oom_score_adj").unwrap_or_default();
        text.trim().parse().unwrap_or_default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_margin_grows_with_the_limit_and_has_an_end() {
        assert_eq!(mark(256 << 20), 248 << 20);
        assert_eq!(mark(8 << 30), (8 << 30) - (256 << 20));
        assert_eq!(mark(64 << 30), (64 << 30) - (256 << 20));
        assert_eq!(mark(6 << 20), 3 << 20);
    }
}
