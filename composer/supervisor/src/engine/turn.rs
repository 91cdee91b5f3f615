//! Whose turn it is: one operation that changes the stack at a time, and whether it is still wanted when its turn comes.
//!
//! A client asks again when a supervisor has died. What a later command has meanwhile undone is not done again.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use tokio::sync::{MutexGuard, Notify, watch};

use super::Engine;
use super::operations::failure;
use super::overtaken::{LastAsked, concerned};
use crate::paths::StackPaths;
use crate::protocol::{Action, Failure, Holder, Origin, Purpose, Reply, Request, Subject};
use crate::{clock, diagnose, records};

/// An operation as its client's connection knows it.
pub struct Operation {
    /// Its turn has come.
    pub begun: Cell<bool>,
    /// Raised to make it give up.
    pub cancel: watch::Sender<bool>,
    alone: Alone,
    verb: &'static str,
    purpose: Option<Purpose>,
    /// The services that it is about; none where it is about all.
    services: Vec<String>,
    origin: Origin,
    /// What its client is to be told beside events.
    notes: RefCell<VecDeque<Reply>>,
    noted: Notify,
}

/// How far an operation goes on without its client.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Alone {
    Never,
    /// Left half-way it would have stopped what nobody starts again.
    Begun,
    /// What is to end is to end.
    Always,
}

impl Operation {
    /// One that waits for its turn, where it needs one.
    pub fn of(request: &Request, origin: Origin, engine: &Engine) -> Self {
        let record = engine.record.borrow();
        let alone = match request {
            Request::Up(_) | Request::Start(_) | Request::Run(_) => Alone::Never,
            Request::Restart(_) | Request::Remove(_) | Request::Pause(_) | Request::Set(_) => Alone::Begun,
            Request::Down(_) | Request::Stop(_) => Alone::Always,
            // Done at once, or seen to by whoever answers it.
            Request::Kill(_)
            | Request::Share(_)
            | Request::Status
            | Request::Watch
            | Request::Exec(_)
            | Request::Attach(_)
            | Request::Copy(_) => Alone::Always,
        };
        Self {
            begun: Cell::new(false),
            cancel: watch::Sender::new(false),
            alone,
            verb: request.verb(),
            purpose: request.purpose(),
            services: concerned(request, record.as_ref().map(|record| &record.services)),
            origin,
            notes: RefCell::default(),
            noted: Notify::new(),
        }
    }

    /// Whether its client asks once more, as a supervisor has died of which it does not know how far that had come.
    pub fn is_asked_again(&self) -> bool {
        self.origin.again.is_some()
    }

    /// Tells it from every other one, however often it is asked.
    pub fn id(&self) -> String {
        format!("{}-{}", self.origin.pid, self.origin.asked)
    }

    /// Whether it goes on though its client has gone.
    pub fn goes_on(&self) -> bool {
        match self.alone {
            Alone::Never => false,
            Alone::Begun => self.begun.get(),
            Alone::Always => true,
        }
    }

    /// Has its client told something, before the events that come from here on.
    pub(super) fn note(&self, reply: Reply) {
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

/// What is known of turns.
pub(super) struct Turns {
    holder: watch::Sender<Option<Holder>>,
    /// How many have their turn, or wait for it.
    wanted: Cell<usize>,
    last: RefCell<LastAsked>,
}

impl Turns {
    /// As an earlier supervisor left them.
    pub fn new(paths: &StackPaths) -> Self {
        let last: LastAsked = records::read(&paths.turns()).unwrap_or_default();
        let last = last.of_this_boot();
        Self { holder: watch::Sender::new(None), wanted: Cell::new(0), last: RefCell::new(last) }
    }

    /// Whether nobody has a turn or waits for one.
    pub fn are_idle(&self) -> bool {
        self.wanted.get() == 0
    }

    /// Fails where a later command has gone before one that is asked again.
    fn still_wanted(&self, operation: &Operation) -> Result<(), Failure> {
        let (Origin { again: Some(again), asked, .. }, Some(purpose)) = (operation.origin, operation.purpose)
        else {
            return Ok(());
        };
        let last = self.last.borrow();
        let ends = matches!(purpose, Purpose::End | Purpose::Clear);
        let was_taken_down = !ends && again.stack.is_some_and(|stack| stack != last.stack);
        if was_taken_down || last.overtook(purpose, &operation.services, asked) {
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
        self.remember_purpose(operation);
        Ok(())
    }

    /// Makes the operation under way give up, and waits for its turn. Where `whole`, nothing is to be left running.
    pub(super) async fn preempt(&self, whole: bool, operation: &Operation) -> Result<Turn<'_>, Failure> {
        self.turns.still_wanted(operation)?;
        self.remember_purpose(operation);
        self.overtake(whole);
        self.take_turn(operation).await
    }

    pub(super) fn overtake(&self, whole: bool) {
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
        self.turns.holder.send_replace(Some(Holder {
            verb: operation.verb.to_owned(),
            pid: operation.origin.pid,
            since: clock::now(),
        }));
        if matches!(operation.purpose, Some(Purpose::Make | Purpose::Start))
            && let Err(error) = self.paths.make()
        {
            diagnose(&format!("make the folders of {}: {error}", self.stack));
        }
        // What waits for nobody's turn may have been kept before.
        if self.turns.last.borrow().stack == 0 || !self.paths.turns().exists() {
            self.turns.last.borrow_mut().stack = clock::now();
        }
        self.remember_purpose(operation);
        operation.note(Reply::Begun { stack: self.turns.last.borrow().stack });
    }

    /// A command has ended everything, though that is not its purpose.
    pub(super) fn has_ended_all(&self, operation: &Operation) {
        self.remember(Purpose::End, &[], operation);
    }

    fn remember_purpose(&self, operation: &Operation) {
        if let Some(purpose) = operation.purpose {
            self.remember(purpose, &operation.services, operation);
        }
    }

    /// Keeps when a command was asked, where anything is kept of the stack.
    fn remember(&self, purpose: Purpose, services: &[String], operation: &Operation) {
        self.turns.last.borrow_mut().remember(purpose, services, operation.origin.asked);
        if self.paths.state().is_dir()
            && let Err(error) = records::write(&self.paths.turns(), &*self.turns.last.borrow())
        {
            diagnose(&format!("write {}: {error}", self.paths.turns().display()));
        }
    }
}
