//! Whose turn it is: one operation that changes the stack at a time, and whether it is still wanted when its turn comes.
//!
//! A client asks again when a supervisor has died. What a later command has meanwhile undone is not done again: the
//! times at which commands of each purpose were asked are on disk.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};
use tokio::sync::{MutexGuard, Notify, watch};

use super::Engine;
use super::operations::failure;
use crate::paths::StackPaths;
use crate::protocol::{Action, Failure, Holder, Origin, Purpose, Reply, Request, Subject};
use crate::{clock, diagnose, records};

/// An operation as its client's connection knows it.
pub struct Operation {
    /// Its turn has come.
    pub begun: Cell<bool>,
    /// Raised to make it give up.
    pub cancel: watch::Sender<bool>,
    /// Whether it goes on without its client.
    pub goes_on: bool,
    verb: &'static str,
    purpose: Option<Purpose>,
    origin: Origin,
    /// What its client is to be told beside events.
    notes: RefCell<VecDeque<Reply>>,
    noted: Notify,
}

impl Operation {
    /// One that waits for its turn, where it needs one.
    pub fn of(request: &Request, origin: Origin) -> Self {
        let goes_on = match request {
            Request::Up(_) | Request::Start(_) | Request::Run(_) => false,
            // Left half-way it would have stopped what nobody starts again, and what is to go is to go.
            Request::Down(_)
            | Request::Stop(_)
            | Request::Restart(_)
            | Request::Remove(_)
            | Request::Pause(_) => true,
            // Done at once, or seen to by whoever answers it.
            Request::Kill(_)
            | Request::Status
            | Request::Watch
            | Request::Exec(_)
            | Request::Attach(_)
            | Request::Copy(_) => true,
        };
        Self {
            begun: Cell::new(false),
            cancel: watch::Sender::new(false),
            goes_on,
            verb: request.verb(),
            purpose: request.purpose(),
            origin,
            notes: RefCell::default(),
            noted: Notify::new(),
        }
    }

    /// Whether its client asks once more, as a supervisor has died of which it does not know how far that had come.
    pub fn is_asked_again(&self) -> bool {
        self.origin.again.is_some()
    }

    fn note(&self, reply: Reply) {
        self.notes.borrow_mut().push_back(reply);
        self.noted.notify_one();
    }

    /// What is to be told by now.
    pub fn told(&self) -> Option<Reply> {
        self.notes.borrow_mut().pop_front()
    }

    /// The next thing to be told.
    pub async fn next(&self) -> Reply {
        loop {
            if let Some(reply) = self.told() {
                return reply;
            }
            self.noted.notified().await;
        }
    }
}

/// When the last command of each purpose that has had its turn was asked.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Last {
    /// Tells a stack from one of the same name that was there before a `down`.
    stack: u64,
    times: BTreeMap<Purpose, u64>,
}

/// What is known of turns.
pub(super) struct Turns {
    holder: watch::Sender<Option<Holder>>,
    /// How many have their turn, or wait for it.
    wanted: Cell<usize>,
    last: RefCell<Last>,
}

impl Turns {
    /// As an earlier supervisor left them.
    pub fn new(paths: &StackPaths) -> Self {
        let last = records::read(&paths.turns()).unwrap_or_default();
        Self { holder: watch::Sender::new(None), wanted: Cell::new(0), last: RefCell::new(last) }
    }

    /// Whether nobody has a turn or waits for one.
    pub fn are_idle(&self) -> bool {
        self.wanted.get() == 0
    }

    fn remember(&self, purpose: Purpose, time: u64) {
        let mut last = self.last.borrow_mut();
        let known = last.times.entry(purpose).or_default();
        *known = time.max(*known);
    }

    /// Fails where a later command has gone before one that is asked again.
    fn still_wanted(&self, operation: &Operation) -> Result<(), Failure> {
        let (Origin { again: Some(again), asked, .. }, Some(purpose)) = (operation.origin, operation.purpose)
        else {
            return Ok(());
        };
        let last = self.last.borrow();
        let later = |purpose: &&Purpose| last.times.get(purpose).is_some_and(|time| *time > asked);
        let was_taken_down = purpose != Purpose::End && again.stack.is_some_and(|stack| stack != last.stack);
        if was_taken_down || purpose.yields_to().iter().any(|purpose| later(&purpose)) {
            return Err(failure(crate::protocol::overtaken(operation.verb)));
        }
        Ok(())
    }
}

/// Counts whoever has a turn or waits for one.
struct Wanted<'a>(&'a Engine);

impl<'a> Wanted<'a> {
    fn new(engine: &'a Engine) -> Self {
        engine.turns.wanted.set(engine.turns.wanted.get() + 1);
        Self(engine)
    }
}

impl Drop for Wanted<'_> {
    fn drop(&mut self) {
        self.0.turns.wanted.set(self.0.turns.wanted.get() - 1);
        self.0.stirred.notify_waiters();
    }
}

/// The turn of an operation. Its end is announced, so that whoever follows a container that is stopped learns whether it
/// comes again.
pub(super) struct Turn<'a> {
    engine: &'a Engine,
    _turn: MutexGuard<'a, ()>,
    _wanted: Wanted<'a>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.engine.turns.holder.send_replace(None);
        self.engine.settle_ports();
        self.engine.announce(Subject::Group, Action::Settled);
    }
}

impl Engine {
    /// Waits for the turn of an operation, and tells its client for whom it waits.
    pub(super) async fn take_turn(&self, operation: &Operation) -> Result<Turn<'_>, Failure> {
        let wanted = Wanted::new(self);
        let turn = self.wait_for_turn(operation).await;
        self.turns.still_wanted(operation)?;
        self.begin(operation);
        Ok(Turn { engine: self, _turn: turn, _wanted: wanted })
    }

    /// The same of one that may only look, which needs no turn.
    pub(super) async fn take_turn_unless(
        &self,
        dry_run: bool,
        operation: &Operation,
    ) -> Result<Option<Turn<'_>>, Failure> {
        if dry_run { Ok(None) } else { self.take_turn(operation).await.map(Some) }
    }

    /// Of an operation that does its work at once, whoever has the turn.
    pub(super) fn need_no_turn(&self, operation: &Operation) -> Result<(), Failure> {
        self.turns.still_wanted(operation)?;
        self.remember(operation.purpose, operation.origin.asked);
        Ok(())
    }

    /// Makes the operation under way give up, and waits for its turn. Where `whole`, nothing is to be left running.
    pub(super) async fn preempt(&self, whole: bool, operation: &Operation) -> Result<Turn<'_>, Failure> {
        self.turns.still_wanted(operation)?;
        self.remember(operation.purpose, operation.origin.asked);
        self.overtake(whole);
        self.take_turn(operation).await
    }

    pub(super) fn overtake(&self, whole: bool) {
        if whole {
            self.remember(Some(Purpose::End), clock::now());
        }
        self.endings.set(self.endings.get() + u64::from(whole));
        self.interrupt.send_modify(|count| *count += 1);
    }

    /// Fails where a command that goes before it has come while this one waited for its turn.
    pub(super) fn not_overtaken(&self, interrupt: &watch::Receiver<u64>) -> Result<(), Failure> {
        match interrupt.has_changed() {
            Ok(true) => Err(failure("interrupted by a later command: nothing has been started".to_owned())),
            Ok(false) | Err(_) => Ok(()),
        }
    }

    async fn wait_for_turn(&self, operation: &Operation) -> MutexGuard<'_, ()> {
        if let Ok(turn) = self.turn.try_lock() {
            return turn;
        }
        let mut holder = self.turns.holder.subscribe();
        let turn = self.turn.lock();
        tokio::pin!(turn);
        loop {
            let busy = holder.borrow_and_update().clone();
            // Whoever tidies up has no name, and is soon done.
            if let Some(busy) = busy {
                operation.note(Reply::Waits(busy));
            }
            tokio::select! {
                biased;
                turn = &mut turn => return turn,
                // Fails only when the engine itself is gone.
                _ = holder.changed() => {}
            }
        }
    }

    /// The turn of an operation has come.
    fn begin(&self, operation: &Operation) {
        operation.begun.set(true);
        let Origin { pid, asked, .. } = operation.origin;
        self.turns.holder.send_replace(Some(Holder {
            verb: operation.verb.to_owned(),
            pid,
            since: clock::now(),
        }));
        if operation.purpose == Some(Purpose::Start)
            && let Err(error) = self.paths.make()
        {
            diagnose(&format!("make the folders of {}: {error}", self.stack));
        }
        if !self.paths.turns().exists() {
            self.turns.last.borrow_mut().stack = clock::now();
        }
        self.remember(operation.purpose, asked);
        operation.note(Reply::Begun { stack: self.turns.last.borrow().stack });
    }

    /// Keeps when a command of this purpose was asked, where anything is kept of the stack.
    fn remember(&self, purpose: Option<Purpose>, time: u64) {
        let Some(purpose) = purpose else { return };
        self.turns.remember(purpose, time);
        if self.paths.state().is_dir()
            && let Err(error) = records::write(&self.paths.turns(), &*self.turns.last.borrow())
        {
            diagnose(&format!("write {}: {error}", self.paths.turns().display()));
        }
    }
}
