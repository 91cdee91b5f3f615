//! Connections of clients: one request each.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use nix::sys::socket::{Backlog, SockFlag, accept4, listen};
use tokio::io::unix::AsyncFd;
use tokio::sync::broadcast::error::RecvError;

use super::operations::Operation;
use super::{Engine, asyncfd, exec, operations};
use crate::protocol::{Asked, Failure, Origin, Reply, Request, VERSION};
use crate::starting::StartLock;
use crate::{channel, clock, diagnose};
use composer_sandbox::{descriptor, pidfd};

/// How long the end of a stack waits for clients to be answered: one that is stopped would keep it for ever.
const PARTING: Duration = Duration::from_secs(1);

/// So many events wait for a client that is slow, beside those of the channel; what comes then is lost to it.
const BACKLOG: usize = 4096;

impl Engine {
    /// Answers clients until nothing is left of the stack.
    pub(super) async fn serve(self: &Rc<Self>, listener: OwnedFd) -> io::Result<()> {
        // So that clients are told this process's number, and not that of whoever has made the socket (SO_PEERCRED,
        // unix(7)).
        listen(&listener, Backlog::MAXCONN)?;
        let listener = asyncfd::readable(listener)?;
        loop {
            let accepted = tokio::select! {
                accepted = listener.async_io(tokio::io::Interest::READABLE, |fd| {
                    Ok(descriptor::received(accept4(fd.as_raw_fd(), SockFlag::SOCK_CLOEXEC)?))
                }) => accepted,
                () = self.finished.notified() => return Ok(()),
            };
            let client = match accepted {
                // There may be room for it a little later; it goes on waiting.
                Err(error) if channel::is_passing(&error) => {
                    tokio::time::sleep(channel::RETRY).await;
                    continue;
                }
                accepted => accepted?,
            };
            if *self.leaving.borrow() {
                // Whoever comes now asks the next supervisor.
                continue;
            }
            let client = asyncfd::new(client)?;
            let engine = Rc::clone(self);
            let counted = Counted::new(self);
            tokio::task::spawn_local(async move {
                let leaves = engine.converse(&client, counted).await;
                if leaves || (engine.is_deserted() && engine.connections.get() == 0) {
                    engine.farewell().await;
                }
            });
        }
    }

    /// Whether nothing is left of the stack and nobody is about to make anything of it.
    fn is_deserted(&self) -> bool {
        self.is_empty() && self.turns.are_idle()
    }

    /// Answers a client; whether this process is to end after it.
    async fn converse(self: &Rc<Self>, client: &AsyncFd<OwnedFd>, counted: Counted) -> bool {
        let Ok(Some((text, fds))) = asyncfd::receive_text(client).await else {
            return false;
        };
        if *self.leaving.borrow() {
            // As above.
            return false;
        }
        let Asked { request, origin, .. } = match Asked::read(&text) {
            Ok(asked) => asked,
            Err(version) => {
                let reply = Reply::Failed(self.foreign(version.as_deref()));
                self.tell_in_time(async { drop(asyncfd::send(client, &reply, &[]).await) }).await;
                return false;
            }
        };
        drop(text);
        let only_looks = matches!(request, Request::Watch | Request::Status);
        let mut counted = Some(counted);
        if matches!(request, Request::Watch) {
            counted.take();
        }
        let result = self.answer(request, origin, fds, client).await;
        let (reply, last) = match result {
            Ok(reply) => (reply, Reply::Done),
            Err(failure) => (None, Reply::Failed(failure)),
        };
        if let Some(reply) = reply {
            self.tell_in_time(async { drop(asyncfd::send(client, &reply, &[]).await) }).await;
        }
        // A stack that is gone takes its processes with it: their client is told which to wait for.
        let parting = if only_looks { None } else { Some(self.part().await) };
        let leaving = parting.is_some() && self.is_deserted();
        let mut fds = Vec::new();
        if leaving {
            self.leave().await;
            fds.extend(pidfd::open(std::process::id().cast_signed()).ok());
            fds.extend(self.link.keeper_process());
        }
        let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
        // A client that has gone needs no answer.
        self.tell_in_time(async { drop(asyncfd::send(client, &last, &fds).await) }).await;
        drop(counted);
        leaving
    }

    /// What a client of another version is told.
    fn foreign(&self, version: Option<&str>) -> Failure {
        let (stack, own) = (&self.stack, std::process::id());
        let keeper = self.link.keeper().map(|keeper| format!(" {keeper}")).unwrap_or_default();
        operations::failure(format!(
            "stack {stack} was started by compose {VERSION}, this is {}: take it down with that one, or end its processes with `kill -9 {own}{keeper}` and use this one",
            version.unwrap_or("another version")
        ))
    }

    /// Waits until whoever asks in this moment has been answered, so that a client of `down` is told of all that still
    /// has to end. One that has connected and asks nothing, or does not read its answer, keeps nobody for long.
    async fn part(self: &Rc<Self>) -> Parting {
        let parting = Parting::new(self);
        self.stirred.notify_waiters();
        let alone = async {
            while self.is_empty() && self.connections.get() > self.parting.get() {
                self.stirred.notified().await;
            }
        };
        let _ = tokio::time::timeout(PARTING, alone).await;
        parting
    }

    /// Lets a client be told; not for ever of a stack that is gone, or goes meanwhile.
    async fn tell_in_time(&self, telling: impl Future<Output = ()>) {
        let overdue = async {
            loop {
                while !self.is_empty() {
                    self.stirred.notified().await;
                }
                tokio::time::sleep(PARTING).await;
                if self.is_empty() {
                    return;
                }
            }
        };
        tokio::select! {
            biased;
            () = telling => {}
            () = overdue => {}
        }
    }

    /// From here on whoever asks is left to the next supervisor. The keeper is told to end before anything goes: should
    /// this process be killed meanwhile, it would start one that nobody can find any more.
    async fn leave(&self) {
        let leave = async {
            let starting = StartLock::take_if_free(&self.paths);
            self.leaving.send_replace(true);
            self.link.quit().await;
            self.end_strangers();
            self.clear_folders(starting);
        };
        self.left.get_or_init(|| leave).await;
    }

    /// The stack has gone, and whoever wanted something of it is answered.
    async fn farewell(&self) {
        self.leave().await;
        // Each of them gives up in time.
        while self.parting.get() > 0 {
            self.stirred.notified().await;
        }
        self.finished.notify_one();
    }

    async fn answer(
        self: &Rc<Self>,
        request: Request,
        origin: Origin,
        fds: Vec<OwnedFd>,
        client: &AsyncFd<OwnedFd>,
    ) -> Result<Option<Reply>, Failure> {
        let operation = &Operation::of(&request, origin, self);
        match request {
            Request::Up(up) => self.with_events(client, operation, self.up(*up, operation)).await,
            Request::Down(down) => self.with_events(client, operation, self.down(down, operation)).await,
            Request::Stop(stop) => {
                self.with_events(client, operation, self.stop_services(stop, operation)).await
            }
            Request::Start(start) => {
                self.with_events(client, operation, self.start_services(start, operation)).await
            }
            Request::Restart(restart) => {
                self.with_events(client, operation, self.restart(restart, operation)).await
            }
            Request::Remove(remove) => {
                self.with_events(client, operation, self.remove_stopped(remove, operation)).await
            }
            Request::Pause(pause) => {
                self.with_events(client, operation, self.pause_services(&pause, operation)).await
            }
            Request::Set(set) => self.with_events(client, operation, self.set_limits(set, operation)).await,
            Request::Share(name) => self.with_events(client, operation, self.share(&name, operation)).await,
            Request::Run(request) => self.run_oneoff(*request, fds, client, operation).await.map(|()| None),
            Request::Kill(kill) => {
                self.with_events(client, operation, async { self.kill(&kill, operation) }).await
            }
            Request::Status => Ok(Some(self.list())),
            Request::Watch => {
                // Nothing happens between the list and the first event that is told after it.
                operation.note(self.list());
                let mut leaving = self.leaving.subscribe();
                let watching = async {
                    tokio::select! {
                        () = exec::hangup(client) => {}
                        _ = leaving.wait_for(|leaving| *leaving) => {}
                    }
                    Ok(None)
                };
                self.with_events(client, operation, watching).await
            }
            Request::Exec(request) => self.exec(*request, fds, client, operation).await.map(|()| None),
            Request::Attach(request) => self.attach(&request, client).await.map(|()| None),
            Request::Copy(request) => self.copy(request, fds, client).await,
        }
    }

    /// Which containers there are.
    fn list(&self) -> Reply {
        let containers = self.containers.borrow();
        let volumes = self.record.borrow().as_ref().map(|record| record.volumes.clone()).unwrap_or_default();
        let described = containers.values().map(|container| {
            let mut status = container.describe(&volumes);
            status.networks = self.network_names(&status.networks);
            status
        });
        Reply::Containers { time: clock::now(), containers: described.collect() }
    }

    /// Does the work and tells the client of every event meanwhile. A client that goes makes an operation give up that
    /// does not go on without it: at once while it still waits for its turn, later in good order.
    pub(super) async fn with_events<T>(
        &self,
        client: &AsyncFd<OwnedFd>,
        operation: &Operation,
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
                note = operation.next() => untold.push_back(note),
                sent = tell(client, untold.front()) => match sent {
                    Ok(()) => drop(untold.pop_front()),
                    // Its hangup says what becomes of the work.
                    Err(_) => untold.clear(),
                },
                result = &mut work => {
                    // Events that were announced before the end are told before it.
                    let notes = std::iter::from_fn(|| operation.told());
                    let rest = std::iter::from_fn(|| events.try_recv().ok()).map(Reply::Event);
                    let telling = async {
                        for reply in untold.into_iter().chain(notes).chain(rest) {
                            if asyncfd::send(client, &reply, &[]).await.is_err() {
                                break;
                            }
                        }
                    };
                    self.tell_in_time(telling).await;
                    return result;
                }
                () = &mut hangup, if !gone => {
                    gone = true;
                    match operation.goes_on() {
                        false if operation.begun.get() => drop(operation.cancel.send_replace(true)),
                        false => return Err(operations::failure("abandoned".to_owned())),
                        true => {}
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

/// A connection whose answer is being told: it waits for the others to end, and they for it.
struct Parting(Rc<Engine>);

impl Parting {
    fn new(engine: &Rc<Engine>) -> Self {
        engine.parting.set(engine.parting.get() + 1);
        Self(Rc::clone(engine))
    }
}

impl Drop for Parting {
    fn drop(&mut self) {
        self.0.parting.set(self.0.parting.get() - 1);
        self.0.stirred.notify_waiters();
    }
}
