//! Connections of clients: one request each.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use nix::sys::socket::{SockFlag, accept4};
use std::os::fd::AsRawFd;
use tokio::io::unix::AsyncFd;
use tokio::sync::broadcast::error::RecvError;

use super::operations::Operation;
use super::{Engine, asyncfd, exec, operations};
use crate::diagnose;
use crate::protocol::{Failure, Reply, Request};
use composer_sandbox::{descriptor, pidfd};

/// How long the end of a stack waits for other clients to be answered.
const PARTING: Duration = Duration::from_secs(1);

/// So many events wait for a client that is slow, beside those of the channel; what comes then is lost to it.
const BACKLOG: usize = 4096;

impl Engine {
    /// Answers clients until nothing is left of the stack.
    pub(super) async fn serve(self: &Rc<Self>, listener: OwnedFd) -> io::Result<()> {
        let listener = asyncfd::readable(listener)?;
        loop {
            let accepted = tokio::select! {
                accepted = listener.async_io(tokio::io::Interest::READABLE, |fd| {
                    Ok(descriptor::received(accept4(fd.as_raw_fd(), SockFlag::SOCK_CLOEXEC)?))
                }) => accepted,
                () = self.finished.notified() => return Ok(()),
            };
            let client = asyncfd::new(accepted?)?;
            let engine = Rc::clone(self);
            let counted = Counted::new(self);
            tokio::task::spawn_local(async move {
                engine.converse(&client, counted).await;
                if engine.is_empty() && engine.connections.get() == 0 {
                    engine.farewell().await;
                }
            });
        }
    }

    async fn converse(self: &Rc<Self>, client: &AsyncFd<OwnedFd>, counted: Counted) {
        let Ok(Some((request, fds))) = asyncfd::receive::<Request>(client).await else {
            return;
        };
        let counted = if matches!(request, Request::Watch) { None } else { Some(counted) };
        let result = self.answer(request, fds, client).await;
        let last = match result {
            Ok(Some(reply)) => {
                if asyncfd::send(client, &reply, &[]).await.is_err() {
                    return;
                }
                Reply::Done
            }
            Ok(None) => Reply::Done,
            Err(failure) => Reply::Failed(failure),
        };
        // A stack that is gone takes its processes with it: their client is told which to wait for.
        let leaving = counted.is_some() && self.parts().await;
        let mut fds = Vec::new();
        if leaving {
            self.leaving.send_replace(true);
            self.clear_run_folder();
            fds.extend(pidfd::open(std::process::id().cast_signed()).ok());
            fds.extend(self.link.quit().await);
        }
        let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
        // A client that has gone needs no answer.
        let _ = asyncfd::send(client, &last, &fds).await;
    }

    /// Whether the stack is gone and nobody wants anything of it. Whoever asks in this moment is answered first, so
    /// that a client of `down` is told of all that still has to end.
    async fn parts(&self) -> bool {
        self.parting.set(self.parting.get() + 1);
        self.stirred.notify_waiters();
        let alone = async {
            while self.is_empty() && self.connections.get() > self.parting.get() {
                self.stirred.notified().await;
            }
        };
        // One that has connected and asks nothing keeps nobody for long.
        let _ = tokio::time::timeout(PARTING, alone).await;
        let leaving = self.is_empty() && self.connections.get() <= self.parting.get();
        self.parting.set(self.parting.get() - 1);
        leaving
    }

    /// The last client has gone and so has the stack.
    async fn farewell(&self) {
        self.clear_run_folder();
        self.link.quit().await;
        self.finished.notify_one();
    }

    async fn answer(
        self: &Rc<Self>,
        request: Request,
        fds: Vec<OwnedFd>,
        client: &AsyncFd<OwnedFd>,
    ) -> Result<Option<Reply>, Failure> {
        match request {
            Request::Up(up) => {
                let operation = Operation::new();
                let work = self.up(*up, &operation);
                self.with_events(client, Some(&operation), work).await
            }
            Request::Down(down) => self.with_events(client, None, self.down(down)).await,
            Request::Stop(stop) => self.with_events(client, None, self.stop_services(stop)).await,
            Request::Start(start) => {
                let operation = Operation::new();
                let work = self.start_services(start, &operation);
                self.with_events(client, Some(&operation), work).await
            }
            // Left half-way it would have stopped what nobody starts again: it goes on without its client.
            Request::Restart(restart) => self.with_events(client, None, self.restart(restart)).await,
            Request::Remove(remove) => self.with_events(client, None, self.remove_stopped(remove)).await,
            Request::Kill(kill) => self.with_events(client, None, async { self.kill(&kill) }).await,
            Request::Pause(pause) => self.with_events(client, None, self.pause_services(&pause)).await,
            Request::Status => {
                let containers = self.containers.borrow();
                let described = containers.values().map(|container| {
                    let mut status = container.describe();
                    status.networks = self.network_names(&status.networks);
                    status
                });
                Ok(Some(Reply::Containers(described.collect())))
            }
            Request::Watch => {
                let mut leaving = self.leaving.subscribe();
                let watching = async {
                    tokio::select! {
                        () = exec::hangup(client) => {}
                        _ = leaving.wait_for(|leaving| *leaving) => {}
                    }
                    Ok(None)
                };
                self.with_events(client, None, watching).await
            }
            Request::Exec(request) => self.exec(*request, fds, client).await.map(|()| None),
            Request::Run(request) => self.run_oneoff(*request, fds, client).await.map(|()| None),
            Request::Attach(request) => self.attach(&request, client).await.map(|()| None),
            Request::Copy(request) => self.copy(request, fds, client).await,
        }
    }

    /// Does the work and tells the client of every event meanwhile. With `abandon` a client that goes makes the
    /// work give up: at once while it still waits for its turn, in good order where that is set.
    pub(super) async fn with_events<T>(
        &self,
        client: &AsyncFd<OwnedFd>,
        abandon: Option<&Operation>,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let mut events = self.events.subscribe();
        // Told beside the work, never before it goes on: a client that is stopped must not hold up others.
        let mut untold: VecDeque<Reply> = VecDeque::new();
        let mut gone = false;
        tokio::pin!(work);
        let hangup = exec::hangup(client);
        tokio::pin!(hangup);
        loop {
            tokio::select! {
                biased;
                event = events.recv(), if untold.len() < BACKLOG => match event {
                    Ok(event) if !gone => untold.push_back(Reply::Event(event)),
                    Ok(_) | Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => diagnose("events ended before their supervisor"),
                },
                sent = tell(client, untold.front()) => match sent {
                    Ok(()) => drop(untold.pop_front()),
                    // Its hangup says what becomes of the work.
                    Err(_) => untold.clear(),
                },
                result = &mut work => {
                    // Events that were announced before the end are told before it.
                    let rest = std::iter::from_fn(|| events.try_recv().ok()).map(Reply::Event);
                    for event in untold.into_iter().chain(rest) {
                        if asyncfd::send(client, &event, &[]).await.is_err() {
                            break;
                        }
                    }
                    return result;
                }
                () = &mut hangup, if !gone => {
                    gone = true;
                    match abandon {
                        Some(operation) if operation.begun.get() => drop(operation.cancel.send_replace(true)),
                        Some(_) => return Err(operations::failure("abandoned".to_owned())),
                        None => {}
                    }
                }
            }
        }
    }
}

/// Sends a message where there is one.
async fn tell(client: &AsyncFd<OwnedFd>, message: Option<&Reply>) -> io::Result<()> {
    match message {
        Some(message) => asyncfd::send(client, message, &[]).await,
        None => std::future::pending().await,
    }
}

/// A connection that keeps the supervisor.
struct Counted(Rc<Engine>);

impl Counted {
    fn new(engine: &Rc<Engine>) -> Self {
        engine.connections.set(engine.connections.get() + 1);
        Self(Rc::clone(engine))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.connections.set(self.0.connections.get() - 1);
        self.0.stirred.notify_waiters();
    }
}
