//! A running container: its log, its health, its stop, its end.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use composer_sandbox::pidfd;
use tokio::sync::{mpsc, oneshot, watch};

use super::container::{Container, Live, Status, StopOrder};
use super::life::{self, Life};
use super::link::{Born, End};
use super::logpipes::Logging;
use super::oom::Death;
use super::restart::{self, Ending};
use super::{Engine, program};
use crate::logs::Stream;
use crate::protocol::Action;
use crate::records::{Halt, History, Phase};
use crate::{clock, diagnose};

/// `stop_grace_period` where the file does not set it, as in Docker.
pub const GRACE: Duration = Duration::from_secs(10);

impl Engine {
    /// Takes up a container whose program runs. `fresh` where it has been exec'd in this moment.
    pub(super) fn run(
        self: &Rc<Self>,
        container: &Rc<Container>,
        born: Born,
        pipes: Vec<(Stream, OwnedFd)>,
        fresh: bool,
    ) -> io::Result<()> {
        let name = container.name();
        let keep = container.record.borrow().service.logging;
        let logging = self.log(&name, container.paths.log(), keep, pipes, fresh)?;
        let (stop, orders) = mpsc::unbounded_channel();
        let pidfd = Rc::clone(&born.pidfd);
        let log = Rc::clone(&logging.writer);
        // One that is taken up has run for as long as anybody remembers.
        let since = if fresh { Instant::now() } else { Instant::now() - life::SETTLED.min(uptime()) };
        *container.live.borrow_mut() = Some(Live { pid: born.pid, pidfd, since, stop, log });
        container.last_probe.take();
        container.record.borrow_mut().history.due = None;
        let known = if fresh { None } else { Self::known_health(container) };
        let said = self.seek(container, &logging.writer, fresh, known)?;
        let health =
            Self::first_health(&container.record.borrow().service).map(|first| known.unwrap_or(first));
        container.status.send_replace(Status::Running(health));
        self.watch_memory(container, fresh);
        let probing = health.map(|health| {
            let (engine, container) = (Rc::clone(self), Rc::clone(container));
            tokio::task::spawn_local(async move { engine.watch_health(&container, health, said).await })
        });
        let (engine, container) = (Rc::clone(self), Rc::clone(container));
        tokio::task::spawn_local(async move {
            let told = |signal| {
                engine.announce_container(&container, Action::Killed { signal });
                // On v1 nothing that is held dies.
                if signal == libc::SIGKILL
                    && let Err(error) = engine.takes_leave(&container)
                {
                    diagnose(&error);
                }
            };
            let end = attend(&container, born.pid, &born.pidfd, born.end, orders, since, told).await;
            if let Some(probing) = probing {
                probing.abort();
            }
            engine.ended(&container, born.pid, end, logging).await;
            engine.tidy_soon();
        });
        Ok(())
    }

    /// A program has ended: its last output is saved, its end recorded, and what it stood on taken away.
    async fn ended(self: &Rc<Self>, container: &Rc<Container>, pid: i32, end: End, logging: Logging) {
        container.live.borrow_mut().take();
        logging.finish().await;
        let group = self.container_group(&container.name());
        if !container.record.borrow().service.isolation.pid.is_own() {
            // The end of a PID namespace's first process would have been the end of all; here the others go on.
            let _ = group.kill();
        }
        container.paused.send_replace(false);
        self.give_back_cores(container);
        self.end_watch(container);
        let starved = self.death(container, end.code);
        let starvation = Death::reason(starved.as_ref());
        container.record.borrow_mut().starved = starvation.is_some();
        let unknown =
            || end.code.is_none().then(|| "its code is not known: the keeper had been killed".to_owned());
        let recorded = self.finish(container, end, starvation.or_else(unknown));
        self.withdraw(container);
        self.tell_death(container, starved);
        self.conclude(container, end.code);
        // Not before it is told: a supervisor that dies in between leaves it to the next one.
        if recorded {
            self.link.acknowledge(pid);
        }
        self.choose_victim();
        self.clear_ended_oneoff(container).await;
    }

    /// Takes away what ended programs stood on, once no operation is under way. Whoever waits for an end does not
    /// wait for this, nor does whoever starts next: while the kernel takes a link apart it lets nobody make one.
    pub(super) fn tidy_soon(self: &Rc<Self>) {
        // However many end meanwhile, one waits for them all, and holds nothing of theirs.
        if self.tidying.replace(true) {
            return;
        }
        let (engine, interrupt) = (Rc::clone(self), self.interrupt.subscribe());
        tokio::task::spawn_local(async move { engine.tidy(interrupt).await });
    }

    async fn tidy(self: &Rc<Self>, mut interrupt: watch::Receiver<u64>) {
        let _turn = self.turn.lock().await;
        // Who ends from here on may have been looked at already.
        self.tidying.set(false);
        let known: Vec<_> = self.containers.borrow().values().cloned().collect();
        for container in known.into_iter().filter(is_left) {
            tokio::select! {
                biased;
                // The operation that comes takes it away itself, or leaves it to the next end.
                _ = interrupt.changed() => return,
                () = self.clear(&container) => {}
            }
        }
    }

    async fn clear(self: &Rc<Self>, container: &Rc<Container>) {
        let _gate = container.gate.lock().await;
        if is_left(container) {
            self.release(container).await;
        }
    }

    /// Records the end of a program, and what its restart policy makes of it; whether that has worked. Where it has
    /// not, the keeper goes on knowing it.
    pub(super) fn finish(&self, container: &Container, end: End, reason: Option<String>) -> bool {
        let recorded = container.change(|record| {
            let boot = program::boot();
            let (started, is_past) = match &record.phase {
                Phase::Started(process) => (process.started, process.boot != boot),
                Phase::Created { .. } | Phase::Exited { .. } => (end.time, false),
            };
            let lived = Duration::from_nanos(end.time.saturating_sub(started));
            let history = std::mem::take(&mut record.history);
            let ending = Ending { code: end.code, lived, at: end.time };
            record.history = if is_past {
                // What an earlier boot has ended is brought back by the unit of `compose enable`, or by nobody.
                History { due: None, ..history }
            } else {
                restart::after(ending, &record.service.restart, history, &boot)
            };
            record.phase = Phase::Exited { code: end.code, reason, started, finished: end.time };
        });
        if let Err(error) = &recorded {
            diagnose(&format!("record of {}: {error}", container.name()));
        }
        recorded.is_ok()
    }

    /// Asks a running program to end and waits until it has.
    pub(super) async fn stop(&self, container: &Rc<Container>, timeout: Option<Duration>, halt: Halt) {
        if self.cease(container, halt).await {
            self.give_up_ports(&container.name());
            self.announce_container(container, Action::Stopping);
            self.announce_container(container, Action::Stopped);
            return;
        }
        let mut status = container.status.subscribe();
        if container.live.borrow().is_none() {
            // Its end may be about to be recorded: whoever takes the container away comes after that.
            let _ = status.wait_for(|status| !matches!(status, Status::Running(_))).await;
            return;
        }
        self.announce_container(container, Action::Stopping);
        if let Err(error) = self.takes_leave(container) {
            diagnose(&error);
        }
        // Docker Compose runs no hooks in containers of `run`.
        let spent = match container.oneoff() {
            None => self.pre_stop(container, timeout).await,
            Some(_) => Duration::ZERO,
        };
        if let Some(live) = &*container.live.borrow() {
            // Closed where the program has ended in this moment.
            let _ = live.stop.send(StopOrder { timeout, spent });
        }
        let over = |status: &Status| !matches!(status, Status::Running(_) | Status::Starting);
        // Fails only when the container itself is gone.
        let _ = status.wait_for(over).await;
        self.announce_container(container, Action::Stopped);
    }
}

/// Whether what the program of a container stood on is still there, though the program is not.
fn is_left(container: &Rc<Container>) -> bool {
    let has_ended = matches!(*container.status.borrow(), Status::Exited(_) | Status::Restarting(_));
    // One that is on its way again holds the gate, and is not standing on what is left.
    has_ended && container.standing.get()
}

fn uptime() -> Duration {
    let text = std::fs::read_to_string("/proc/uptime").unwrap_or_default();
    let seconds = text.split_ascii_whitespace().next().and_then(|word| word.parse::<f64>().ok());
    Duration::try_from_secs_f64(seconds.unwrap_or(0.0)).unwrap_or_default()
}

/// Feeds what happens into [`life::step`] and does what it says, until the program has ended.
async fn attend(
    container: &Container,
    pid: i32,
    process: &OwnedFd,
    mut end: oneshot::Receiver<End>,
    mut orders: mpsc::UnboundedReceiver<StopOrder>,
    since: Instant,
    told: impl Fn(i32),
) -> End {
    let mut life = Life::Running { since };
    loop {
        let wake = life::wake(life);
        let timer = async {
            match wake {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        let event = tokio::select! {
            end = &mut end => return end.unwrap_or(End { code: None, time: clock::now() }),
            Some(order) = orders.recv() => {
                // Looked up when it is needed, as the signal is: both may be changed while it runs.
                let grace = container.record.borrow().service.stop_grace_period;
                life::Event::Stop {
                    grace: order.timeout.or(grace).unwrap_or(GRACE).saturating_sub(order.spent),
                    patient: order.timeout.is_some() || grace.is_some(),
                }
            }
            () = timer => life::Event::Tick,
        };
        life = advance(life, event, container, (pid, process), &told);
    }
}

/// Does what an event asks for, and what the answers ask for in their turn.
fn advance(
    mut life: Life,
    mut event: life::Event,
    container: &Container,
    (pid, process): (i32, &OwnedFd),
    told: &impl Fn(i32),
) -> Life {
    loop {
        let (next, actions) = life::step(life, event, Instant::now());
        life = next;
        let mut answer = None;
        let signal = container.record.borrow().service.stop_signal;
        for action in actions {
            let sent = match action {
                life::Action::Signal => pidfd::signal(process.as_fd(), signal).map(|()| told(signal)),
                life::Action::Kill => {
                    pidfd::signal(process.as_fd(), libc::SIGKILL).map(|()| told(libc::SIGKILL))
                }
                life::Action::Inspect => {
                    answer = Some(life::Event::Inspected { deaf: program::is_deaf(pid, signal) });
                    Ok(())
                }
            };
            if let Err(error) = sent {
                diagnose(&format!("signal to {}: {error}", container.name()));
            }
        }
        match answer {
            Some(inspected) => event = inspected,
            None => return life,
        }
    }
}
