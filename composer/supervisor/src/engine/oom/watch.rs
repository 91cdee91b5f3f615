//! Waits for the kernel to say that a container is short of memory, and has done what its policy asks for.

use std::cell::{Cell, RefCell};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::rc::Rc;
use std::time::{Duration, Instant};

use composer_cgroup::{Alarm, AtLimit, Group, Shortage};
use composer_stack::{OomPolicy, show_bytes};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::super::Engine;
use super::super::container::Container;
use super::{Held, Kill, State, at_limit, margin, mark};
use crate::engine::{asyncfd, program};
use crate::protocol::{Action, Outcome, Shortage as Told};
use crate::{clock, diagnose};

/// On v1 an alarm goes off just before the kill, and nothing after it: it is looked for after this long, and each time
/// twice as long, until [`LONG`].
const SOON: Duration = Duration::from_millis(1);
const LONG: Duration = Duration::from_millis(600);
/// Between two looks at a container that is at its mark with page cache, which goes off all the time.
const PACE: Duration = Duration::from_millis(20);
/// The kernel counts a kill just before it sends the signal.
const SENT: Duration = Duration::from_millis(20);
/// A container whose processes are killed one after the other is told of as often.
const TOLD: Duration = Duration::from_secs(1);
/// The kernel does not tell of memory that becomes free: how often one that is held, or let go, is looked at.
const NOW_AND_THEN: Duration = Duration::from_secs(1);

/// What a look has come to.
enum Next {
    /// Nothing more until the next alarm.
    Wait,
    /// Another look then.
    Again(Duration),
    /// The mark has moved.
    Rearm,
}

/// The bell of a group's limit, and when it was last heard; v1 alone needs that.
#[derive(Default)]
pub(super) struct Heard {
    bell: RefCell<Option<Rc<Bell>>>,
    /// As [`clock`] has it.
    last: Cell<Option<u64>>,
}

impl Heard {
    /// There is another bell, or none any more.
    pub(super) fn listen_to(&self, bell: Option<&Rc<Bell>>) {
        *self.bell.borrow_mut() = bell.map(Rc::clone);
    }

    /// It has rung in this moment.
    pub(super) fn now(&self) {
        self.last.set(Some(clock::now()));
    }

    /// When v1 has last told that memory is short.
    pub(super) fn last(&self) -> Option<u64> {
        // Told before there is a kill, though whoever watches may not have come to it.
        let rings = self.bell.borrow().as_ref().is_some_and(|bell| bell.is_ringing());
        if rings { Some(clock::now()) } else { self.last.get() }
    }
}

/// An alarm in the supervisor's loop.
pub(super) struct Bell {
    alarm: Alarm,
    fd: AsyncFd<OwnedFd>,
}

impl Bell {
    /// That of a group, at its limit and at a mark; `None` where memory is not accounted.
    pub(super) fn of(group: &Group, mark: Option<u64>) -> Result<Option<Self>, String> {
        let Some(alarm) = group.alarm(mark).map_err(|error| error.to_string())? else { return Ok(None) };
        alarm.arm();
        let fd = alarm
            .watched()
            .and_then(|fd| if alarm.is_priority() { asyncfd::priority(fd) } else { asyncfd::readable(fd) });
        Ok(Some(Self { fd: fd.map_err(|error| error.to_string())?, alarm }))
    }

    /// Whether it has gone off, and nobody has heard it.
    pub(super) fn is_ringing(&self) -> bool {
        let flags = if self.alarm.is_priority() { PollFlags::POLLPRI } else { PollFlags::POLLIN };
        poll(&mut [PollFd::new(self.alarm.as_fd(), flags)], PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
    }

    /// Returns when it has gone off, and makes it ready for the next time.
    pub(super) async fn rings(&self) {
        rings(&self.fd, self.alarm.is_priority()).await;
        self.alarm.arm();
    }
}

async fn rings(fd: &AsyncFd<OwnedFd>, is_priority: bool) {
    let interest = if is_priority { Interest::PRIORITY } else { Interest::READABLE };
    match fd.ready(interest).await {
        Ok(mut ready) => ready.clear_ready(),
        // The loop is about to end.
        Err(_) => std::future::pending().await,
    }
}

impl Engine {
    /// Watches over a container until it is aborted.
    pub(super) async fn keep_watch(self: Rc<Self>, container: &Rc<Container>) {
        loop {
            let mark = self.set_at_limit(container);
            let bell = match Bell::of(&self.container_group(&container.name()), mark) {
                Ok(Some(bell)) => Rc::new(bell),
                // Memory is not accounted on this host.
                Ok(None) => return,
                Err(error) => return diagnose(&format!("watch the memory of {}: {error}", container.name())),
            };
            container.memory.limit.listen_to(Some(&bell));
            self.watch_at(container, mark, &bell).await;
        }
    }

    /// Has the kernel do at the limit what is asked for now; the mark, where there is one.
    fn set_at_limit(&self, container: &Container) -> Option<u64> {
        let limit = container.limits().memory;
        container.memory.has_told_waiting.set(false);
        let at = match at_limit(&container.record.borrow().service, limit) {
            AtLimit::Tell { .. } if is_beyond_help(container) => AtLimit::KillAll,
            at => at,
        };
        let group = self.container_group(&container.name());
        let has_own_high = container.record.borrow().service.resources.memory_high.is_some();
        let set = match at {
            // What an earlier policy may have left.
            AtLimit::Kill | AtLimit::KillAll | AtLimit::Wait if !has_own_high => group.mark(None),
            AtLimit::Kill | AtLimit::KillAll | AtLimit::Wait | AtLimit::Tell { .. } => Ok(()),
        };
        if let Err(error) = set.and_then(|()| group.at_limit(at)) {
            diagnose(&format!("what happens at the limit of {}: {error}", container.name()));
        }
        match at {
            AtLimit::Tell { mark } => Some(mark),
            AtLimit::Kill | AtLimit::KillAll | AtLimit::Wait => None,
        }
    }

    /// Returns when the mark has moved.
    async fn watch_at(self: &Rc<Self>, container: &Rc<Container>, mark: Option<u64>, bell: &Bell) {
        let (mut rung, mut soon) = (false, SOON);
        loop {
            let next = self.look(container, mark, rung, &mut soon).await;
            let again = match next {
                Next::Rearm => return,
                Next::Wait => None,
                Next::Again(after) => Some(after),
            };
            if rung && mark.is_some() {
                tokio::time::sleep(PACE).await;
            }
            let still = match container.memory.held() {
                Some(Held::Pausing) => self.stillness(container),
                Some(Held::Paused) | None => None,
            };
            rung = tokio::select! {
                () = bell.rings() => {
                    container.memory.limit.now();
                    soon = SOON;
                    true
                }
                () = container.memory.changed.notified() => return,
                () = async {
                    match &still {
                        Some(still) => rings(still, true).await,
                        None => std::future::pending().await,
                    }
                } => false,
                () = async {
                    match again {
                        Some(after) => tokio::time::sleep(after).await,
                        None => std::future::pending().await,
                    }
                } => false,
            };
        }
    }

    /// What tells that a container stands still, where the kernel tells it.
    fn stillness(&self, container: &Container) -> Option<AsyncFd<OwnedFd>> {
        let events = self.container_group(&container.name()).stillness().ok()??;
        // Looked at once, it tells of what comes after.
        let _ = events.read_at(&mut [0; 64], 0);
        asyncfd::priority(events.into()).ok()
    }

    async fn look(
        self: &Rc<Self>,
        container: &Rc<Container>,
        mark: Option<u64>,
        rung: bool,
        soon: &mut Duration,
    ) -> Next {
        if container.live.borrow().is_none() {
            return Next::Wait;
        }
        let now = self.shortage(container);
        let policy = container.record.borrow().service.oom.policy;
        let known = container.memory.state.borrow().clone();
        if now.kills > known.kills {
            self.note_kill(container, &now);
            if policy == OomPolicy::Kill {
                return Next::Again(SENT);
            }
            if let Err(error) = self.container_group(&container.name()).kill() {
                diagnose(&format!("kill the rest of {}: {error}", container.name()));
            }
            return Next::Wait;
        }
        if policy == OomPolicy::Kill && known.kill.as_ref().is_some_and(|kill| !kill.is_told) {
            let told = container.memory.told.get().map(|told| told.elapsed());
            if let Some(left) = told.and_then(|told| TOLD.checked_sub(told)) {
                return Next::Again(left);
            }
            self.tell_survived(container);
        }
        if now.waits && mark.is_none() {
            self.tell_waiting(container);
        }
        if known.held.is_none() && *container.paused.borrow() {
            // The user's doing, and the user's to undo: it takes no memory meanwhile.
            return Next::Wait;
        }
        match (known.held, mark) {
            // Let go since the mark was set, and not to be held at it again.
            (None, Some(_)) if is_beyond_help(container) => Next::Rearm,
            (Some(held), _) => self.look_at_held(container, held, &now, soon),
            (None, Some(mark)) if now.waits || now.fixed >= mark => self.act(container, &now).await,
            (None, None) if known.spent && policy == OomPolicy::Pause => self.look_at_spent(container, &now),
            // v1 has told of a kill that is about to come.
            (None, None) if now.reached.is_none() && (rung || *soon > SOON) && *soon < LONG => {
                *soon *= 2;
                Next::Again(*soon / 2)
            }
            (None, _) => Next::Wait,
        }
    }

    /// Tells, once for a limit, of processes that wait at it because the file wants that; others wait for a moment.
    fn tell_waiting(&self, container: &Container) {
        let waits = container.record.borrow().service.resources.oom_kill_disable;
        if waits && !container.memory.has_told_waiting.replace(true) {
            let limit = show_bytes(container.limits().memory.unwrap_or_default());
            let details = format!(
                "processes of it wait at its limit of {limit} (`oom_kill_disable`) until it is raised, or others of them give \
                 some back"
            );
            let of = "memory".to_owned();
            self.announce_container(container, Action::Pressure { of, share: None, details: Some(details) });
        }
    }

    /// Tells of a kill that is not the end of its container; what is its end is told then.
    fn tell_survived(self: &Rc<Self>, container: &Rc<Container>) {
        let first = container.live.borrow().as_ref().map(|live| live.pid);
        if first.is_none_or(program::is_dying) {
            return;
        }
        let Some(kill) = container.memory.state.borrow().kill.clone() else { return };
        container.change_memory(|state| {
            state.kill = Some(Kill { is_told: true, processes: 0, ..kill.clone() });
        });
        container.memory.told.set(Some(Instant::now()));
        let text = format!("{}: {}", self.what_was_killed(container, &kill), kill.why);
        self.tell_shortage(container, Told { outcome: Outcome::Killed, text });
    }

    /// Does what the policy asks for at its mark.
    async fn act(self: &Rc<Self>, container: &Rc<Container>, now: &Shortage) -> Next {
        let policy = container.record.borrow().service.oom.policy;
        match policy {
            OomPolicy::Raise { step, max } => self.raise(container, step, max),
            OomPolicy::Pause => {
                self.hold(container, now).await;
                return Next::Again(SOON);
            }
            OomPolicy::Kill | OomPolicy::KillGroup => {}
        }
        Next::Rearm
    }

    /// One that is held is told of when it stands still, and let go when there is room for it.
    fn look_at_held(
        self: &Rc<Self>,
        container: &Rc<Container>,
        held: Held,
        now: &Shortage,
        soon: &mut Duration,
    ) -> Next {
        if self.let_go_with_room(container, now) {
            return Next::Rearm;
        }
        if held == Held::Paused {
            return Next::Again(NOW_AND_THEN);
        }
        let group = self.container_group(&container.name());
        match group.is_still() {
            Ok(true) => {
                let short = self.what_is_short(container);
                let text = format!("{} is paused: {short}", self.called(container));
                container.change_memory(|state| {
                    (state.held, state.short) = (Some(Held::Paused), Some(short));
                });
                self.tell_shortage(container, Told { outcome: Outcome::Paused, text });
                Next::Again(NOW_AND_THEN)
            }
            // v1 looks at the processes when it is asked, and tells nobody. One that waits for memory takes as long as that.
            Ok(false) => {
                *soon = (*soon * 2).min(NOW_AND_THEN);
                Next::Again(*soon)
            }
            Err(error) => {
                diagnose(&format!("whether {} stands still: {error}", container.name()));
                Next::Again(NOW_AND_THEN)
            }
        }
    }

    /// One that the user has let go is watched as before once it has room again.
    fn look_at_spent(&self, container: &Rc<Container>, now: &Shortage) -> Next {
        let limit = container.limits().memory.unwrap_or(u64::MAX);
        if has_room(now, limit) {
            container.change_memory(|state| state.spent = false);
            return Next::Rearm;
        }
        Next::Again(NOW_AND_THEN)
    }

    /// Lets a container go on that was held for want of memory, where it is short no more; whether it does.
    pub(in super::super) fn let_go_with_room(&self, container: &Rc<Container>, now: &Shortage) -> bool {
        let limit = container.limits().memory.unwrap_or(u64::MAX);
        if container.memory.held().is_none() || !has_room(now, limit) {
            return false;
        }
        match self.thaw(container) {
            Ok(()) => true,
            Err(error) => {
                diagnose(&error);
                false
            }
        }
    }
}

/// Whether a container is killed at its limit, whatever its policy: the user has let it go there, or wants its end.
fn is_beyond_help(container: &Container) -> bool {
    container.memory.state.borrow().spent || container.memory.is_leaving.get()
}

/// Whether a container is so far from its mark that it does not come back to it at once.
fn has_room(now: &Shortage, limit: u64) -> bool {
    !now.waits && now.fixed.saturating_add(margin(limit) / 2) < mark(limit)
}

impl State {
    /// Takes in what the kernel has counted.
    pub(super) fn counted(&mut self, now: &Shortage, stack: &Shortage) {
        self.kills = now.kills;
        self.reached = now.reached.unwrap_or_default();
        self.stack_reached = stack.reached_itself.unwrap_or_default();
    }
}
