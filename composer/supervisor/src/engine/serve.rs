//! Connections of clients: one request each.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use nix::sys::socket::{SockFlag, accept4};
use std::os::fd::AsRawFd;
use tokio::io::unix::AsyncFd;
use tokio::sync::broadcast::error::RecvError;

use super::{Engine, asyncfd, exec, operations};
use crate::diagnose;
use crate::protocol::{Failure, Reply, Request};
use composer_sandbox::{descriptor, pidfd};

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
        let leaving = self.is_empty() && self.connections.get() == 1 && counted.is_some();
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
                let begun = Cell::new(false);
                let work = self.up(*up, &begun);
                self.with_events(client, Some(&begun), work).await
            }
            Request::Down(down) => self.with_events(client, None, self.down(down)).await,
            Request::Stop(stop) => self.with_events(client, None, self.stop_services(stop)).await,
            Request::Kill(kill) => self.kill(&kill),
            Request::Status => {
                let containers =
                    self.containers.borrow().values().map(|container| container.describe()).collect();
                Ok(Some(Reply::Containers(containers)))
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
        }
    }

    /// Does the work and tells the client of every event meanwhile. With `abandon` a client that goes makes the
    /// work give up: at once while it still waits for its turn, in good order where that is set.
    async fn with_events(
        &self,
        client: &AsyncFd<OwnedFd>,
        abandon: Option<&Cell<bool>>,
        work: impl Future<Output = Result<Option<Reply>, Failure>>,
    ) -> Result<Option<Reply>, Failure> {
        let mut events = self.events.subscribe();
        let mut gone = false;
        tokio::pin!(work);
        let hangup = exec::hangup(client);
        tokio::pin!(hangup);
        loop {
            let event = tokio::select! {
                biased;
                event = events.recv() => event,
                result = &mut work => {
                    // Events that were announced before the end are told before it.
                    while let Ok(event) = events.try_recv() {
                        let _ = asyncfd::send(client, &Reply::Event(event), &[]).await;
                    }
                    return result;
                }
                () = &mut hangup, if !gone => {
                    gone = true;
                    match abandon.map(Cell::get) {
                        Some(true) => self.interrupt.send_modify(|count| *count += 1),
                        Some(false) => return Err(operations::failure("abandoned".to_owned())),
                        None => {}
                    }
                    continue;
                }
            };
            match event {
                Ok(event) if !gone => gone = asyncfd::send(client, &Reply::Event(event), &[]).await.is_err(),
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => diagnose("events ended before their supervisor"),
            }
        }
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
    }
}
