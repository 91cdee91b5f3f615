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
use super::{Engine, program};
use crate::logs::Stream;
use crate::protocol::Action;
use crate::records::Phase;
use crate::{clock, diagnose};

/// `stop_grace_period` where the file does not set it, as in Docker.
const GRACE: Duration = Duration::from_secs(10);

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
        let logging = self.log(&name, container.paths.log(), pipes, fresh)?;
        let (stop, orders) = mpsc::unbounded_channel();
        let pidfd = Rc::clone(&born.pidfd);
        *container.live.borrow_mut() = Some(Live { pid: born.pid, pidfd, stop });
        let known = if fresh { None } else { Self::known_health(container) };
        let health =
            Self::first_health(&container.record.borrow().service).map(|first| known.unwrap_or(first));
        container.status.send_replace(Status::Running(health));
        let probing = health.map(|health| {
            let (engine, container) = (Rc::clone(self), Rc::clone(container));
            tokio::task::spawn_local(async move { engine.watch_health(&container, health).await })
        });
        // One that is taken up has run for as long as anybody remembers.
        let since = if fresh { Instant::now() } else { Instant::now() - life::SETTLED.min(uptime()) };
        let (engine, container) = (Rc::clone(self), Rc::clone(container));
        tokio::task::spawn_local(async move {
            let end = attend(&container, born.pid, &born.pidfd, born.end, orders, since).await;
            if let Some(probing) = probing {
                probing.abort();
            }
            engine.ended(&container, born.pid, end, logging).await;
        });
        Ok(())
    }

    /// A program has ended: its last output is saved, its end recorded, and what it stood on taken away.
    async fn ended(self: &Rc<Self>, container: &Rc<Container>, pid: i32, end: End, logging: Logging) {
        container.live.borrow_mut().take();
        logging.finish().await;
        let group = self.container_group(&container.name());
        let starved = end.code == Some(137) && group.usage().is_ok_and(|usage| usage.oom_kills > 0);
        let reason = match (starved, end.code) {
            (true, _) => Some("killed: its memory limit was reached".to_owned()),
            (false, None) => Some("its code is not known: the keeper had been killed".to_owned()),
            (false, Some(_)) => None,
        };
        if self.finish(container, end, reason) {
            self.link.acknowledge(pid);
        }
        self.withdraw(container);
        container.status.send_replace(Status::Exited(end.code));
        self.announce_container(container, Action::Exited { code: end.code });
        self.clear_oneoff(container).await;
        self.tidy(self.interrupt.subscribe()).await;
    }

    /// Takes away what ended programs stood on, once no operation is under way. Whoever waits for an end does not
    /// wait for this, nor does whoever starts next: while the kernel takes a link apart it lets nobody make one.
    pub(super) async fn tidy(&self, mut interrupt: watch::Receiver<u64>) {
        let _turn = self.turn.lock().await;
        let known: Vec<_> = self.containers.borrow().values().cloned().collect();
        for container in known {
            let has_ended = matches!(*container.status.borrow(), Status::Exited(_));
            if !has_ended || !container.standing.get() {
                continue;
            }
            tokio::select! {
                biased;
                // The operation that comes takes it away itself, or leaves it to the next end.
                _ = interrupt.changed() => return,
                () = self.release(&container) => {}
            }
        }
    }

    /// Records the end of a program; whether that has worked. Where it has not, the keeper goes on knowing it.
    pub(super) fn finish(&self, container: &Container, end: End, reason: Option<String>) -> bool {
        let recorded = container.change(|record| {
            let started = match &record.phase {
                Phase::Started(process) => process.started,
                Phase::Created { .. } | Phase::Exited { .. } => end.time,
            };
            record.phase = Phase::Exited { code: end.code, reason, started, finished: end.time };
        });
        if let Err(error) = &recorded {
            diagnose(&format!("record of {}: {error}", container.name()));
        }
        recorded.is_ok()
    }

    /// Asks a running program to end and waits until it has.
    pub(super) async fn stop(&self, container: &Rc<Container>, timeout: Option<Duration>) {
        let mut status = container.status.subscribe();
        {
            let live = container.live.borrow();
            let Some(live) = &*live else { return };
            // Closed where the program has ended in this moment.
            let _ = live.stop.send(StopOrder { timeout });
        }
        self.announce_container(container, Action::Stopping);
        let over = |status: &Status| !matches!(status, Status::Running(_) | Status::Starting);
        // Fails only when the container itself is gone.
        let _ = status.wait_for(over).await;
        self.announce_container(container, Action::Stopped);
    }
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
) -> End {
    let (signal, grace) = {
        let record = container.record.borrow();
        (record.service.stop_signal, record.service.stop_grace_period)
    };
    let mut life = Life::Running { since };
    loop {
        let wake = life::wake(life);
        let timer = async {
            match wake {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        let mut event = tokio::select! {
            end = &mut end => return end.unwrap_or(End { code: None, time: clock::now() }),
            Some(order) = orders.recv() => life::Event::Stop {
                grace: order.timeout.or(grace).unwrap_or(GRACE),
                patient: order.timeout.is_some() || grace.is_some(),
            },
            () = timer => life::Event::Tick,
        };
        loop {
            let (next, actions) = life::step(life, event, Instant::now());
            life = next;
            let mut answer = None;
            for action in actions {
                let sent = match action {
                    life::Action::Signal => pidfd::signal(process.as_fd(), signal),
                    life::Action::Kill => pidfd::signal(process.as_fd(), libc::SIGKILL),
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
                None => break,
            }
        }
    }
}
