//! Containers whose policy starts them again: the wait for it, the start, and the commands that keep it from coming.
//!
//! A restart waits for nobody's turn: whatever operation is under way, a container that it does not touch comes again.
//! One that it touches has its [`Container::gate`] taken first, so that either side finds what the other has finished.

use std::rc::Rc;
use std::time::Duration;

use composer_sandbox::pidfd;
use composer_stack::RestartPolicy;
use std::os::fd::AsFd;
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

use super::Engine;
use super::container::{Container, Status};
use super::restart::{self, Ending};
use super::start::StartError;
use crate::protocol::Action;
use crate::records::{Halt, History, Phase};
use crate::{clock, diagnose};

impl Engine {
    /// Tells that a program has ended, as its record has it by now, and has it started again where it is to be.
    pub(super) fn conclude(self: &Rc<Self>, container: &Rc<Container>, code: Option<i32>) {
        let is_due = container.record.borrow().history.due.is_some();
        if is_due {
            container.status.send_replace(Status::Restarting(code));
            self.tell_end(container, code);
            self.schedule(container);
        } else {
            container.status.send_replace(Status::Exited(code));
            self.give_back_ports(Some(&container.name()));
            self.tell_end(container, code);
        }
    }

    /// Tells everybody that a program has ended, and of the restart that is due.
    pub(super) fn tell_end(&self, container: &Container, code: Option<i32>) {
        let (restarts, due) = {
            let history = &container.record.borrow().history;
            (history.restarts + 1, history.due.as_ref().map(|due| due.at))
        };
        let action = match due {
            Some(at) => Action::Restarting { code, restarts, at },
            None => Action::Exited { code },
        };
        self.announce_container(container, action);
    }

    /// Starts a container again when it is due, unless somebody keeps it from it.
    pub(super) fn schedule(self: &Rc<Self>, container: &Rc<Container>) {
        let wait = {
            let record = container.record.borrow();
            restart::remaining(&record.service.restart, &record.history, clock::now())
        };
        let Some(wait) = wait else { return };
        let (hold, cancelled) = oneshot::channel();
        *container.restart.borrow_mut() = Some(hold);
        let (engine, container) = (Rc::clone(self), Rc::clone(container));
        tokio::task::spawn_local(async move { engine.come_again(&container, wait, cancelled).await });
    }

    async fn come_again(
        self: &Rc<Self>,
        container: &Rc<Container>,
        wait: Duration,
        mut cancelled: oneshot::Receiver<()>,
    ) {
        tokio::select! {
            _ = &mut cancelled => return,
            () = tokio::time::sleep(wait) => {}
        }
        let _gate = container.enter().await;
        if cancelled.try_recv() == Err(TryRecvError::Empty) {
            container.restart.borrow_mut().take();
            self.revive(container).await;
        }
    }

    async fn revive(self: &Rc<Self>, container: &Rc<Container>) {
        container.record.borrow_mut().history.restarts += 1;
        self.announce_container(container, Action::Starting);
        container.doomed.set(false);
        let began = clock::now();
        let launched = async {
            // A supervisor that has found nothing running has not looked at the network yet.
            self.ensure_networks_of(container).await?;
            self.launch_anew(container).await
        };
        match launched.await {
            Err(error) => self.failed_again(container, began, error).await,
            Ok(()) => self.end_doomed(container),
        }
    }

    /// Ends a program for which `kill` has come while it was on its way. Whatever the signal was: one that has only just
    /// been exec'd listens to none that it may ignore.
    pub(super) fn end_doomed(&self, container: &Container) {
        if !container.doomed.take() {
            return;
        }
        if let Some(live) = &*container.live.borrow() {
            match pidfd::signal(live.pidfd.as_fd(), libc::SIGKILL) {
                Ok(()) => self.announce_container(container, Action::Killed { signal: libc::SIGKILL }),
                Err(error) => diagnose(&format!("kill {}: {error}", container.name())),
            }
        }
    }

    /// A start that fails is an end like any other, and the policy has its say.
    async fn failed_again(self: &Rc<Self>, container: &Rc<Container>, began: u64, error: StartError) {
        self.release(container).await;
        let (code, now) = (Some(error.code), clock::now());
        let recorded = container.change(|record| {
            let ending = Ending { code, lived: Duration::ZERO, at: now };
            let history = std::mem::take(&mut record.history);
            record.history =
                restart::after(ending, &record.service.restart, history, &super::program::boot());
            let reason = Some(error.to_string());
            record.phase = Phase::Exited { code, reason, started: began, finished: now };
        });
        if let Err(error) = recorded {
            diagnose(&format!("record of {}: {error}", container.name()));
        }
        self.announce_container(container, Action::Failed(error.to_string()));
        self.conclude(container, code);
    }

    /// An operation starts a container: what was before does not count. Whoever calls this has the gate.
    pub(super) fn begin_anew(&self, container: &Container) -> std::io::Result<()> {
        container.restart.borrow_mut().take();
        if container.record.borrow().history == History::default() {
            return Ok(());
        }
        container.change(|record| record.history = History::default())
    }

    /// From here on a container is not started again by its policy; whether it was about to be. A restart in its
    /// middle is waited for.
    pub(super) async fn cease(&self, container: &Container, halt: Halt) -> bool {
        container.restart.borrow_mut().take();
        let _gate = container.enter().await;
        // The one in its middle may have failed, and have left another.
        container.restart.borrow_mut().take();
        halted(container, halt);
        has_settled(container)
    }

    /// The same at once, of a container that runs or is about to: a start in its middle sees it when it is done.
    pub(super) fn cease_at_once(&self, container: &Container, halt: Halt) -> bool {
        let was_waiting = container.restart.borrow_mut().take().is_some();
        match *container.status.borrow() {
            Status::Running(_) => halted(container, halt),
            Status::Starting | Status::Restarting(_) => {
                // Where a restart waited it does not come, and finds nothing of this.
                container.doomed.set(true);
                halted(container, halt);
            }
            Status::Created | Status::Exited(_) => {}
        }
        was_waiting && has_settled(container)
    }
}

/// Records who has stopped a container, where that means something.
fn halted(container: &Container, halt: Halt) {
    if container.record.borrow().service.restart.policy == RestartPolicy::No {
        return;
    }
    let recorded = container.change(|record| {
        record.history.halt = Some(halt);
        record.history.due = None;
    });
    if let Err(error) = recorded {
        diagnose(&format!("record of {}: {error}", container.name()));
    }
}

/// A container that has been waiting for its restart has ended for good; whether it was one.
fn has_settled(container: &Container) -> bool {
    container.status.send_if_modified(|status| match *status {
        Status::Restarting(code) => {
            *status = Status::Exited(code);
            true
        }
        Status::Created | Status::Starting | Status::Running(_) | Status::Exited(_) => false,
    })
}
