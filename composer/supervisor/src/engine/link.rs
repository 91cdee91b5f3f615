//! The supervisor's side of the keeper: orders go out, notices come in, and a dead keeper is replaced.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use composer_sandbox::{self as sandbox, ContainerSpec, ExecSpec, pidfd};
use nix::sys::socket::{Shutdown, shutdown};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, oneshot};

use super::{asyncfd, program};
use crate::keeper::LISTENER_KEY;
use crate::keeper::protocol::{LISTENER, Notice, Order, PEER};
use crate::{channel, clock};

/// A keeper that has lived for less than this did not start well.
const SETTLED: Duration = Duration::from_secs(1);
/// After so many of them in a row, the next one is started after a pause.
const EARLY: u32 = 5;
/// That pause, and the one after a start that failed: what it lacks may come to be there.
const PAUSE: Duration = Duration::from_secs(1);

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// Its code, 128 + n for signal n; `None` where nobody can know it any more.
    pub code: Option<i32>,
    /// When, in nanoseconds since the Unix epoch.
    pub time: u64,
}

/// A process in a container.
pub struct Born {
    /// In the host's PID namespace.
    pub pid: i32,
    /// Signals go through this: a process id may be used again.
    pub pidfd: Rc<OwnedFd>,
    /// Told once. Whoever takes the end has to acknowledge it; one that nobody waits for is acknowledged by itself.
    pub end: oneshot::Receiver<End>,
}

/// Why a process was not made.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// It could not be cloned.
    #[error("{0}")]
    Failed(String),
    /// The keeper died before it answered.
    #[error("the keeper went away before the process was made")]
    Gone,
}

struct Watched {
    pidfd: Rc<OwnedFd>,
    end: oneshot::Sender<End>,
}

/// What the keeper told a new supervisor.
#[derive(Default)]
pub struct Legacy {
    /// Children that live, by tag.
    pub children: BTreeMap<String, Born>,
    /// Children whose end has not been acknowledged, by process id: a tag may have been used again.
    pub ended: BTreeMap<i32, End>,
    /// The tags of those.
    pub tags: BTreeMap<i32, String>,
    /// Held descriptors by key.
    pub held: BTreeMap<String, Vec<OwnedFd>>,
}

/// An order, its descriptors, and whom to tell when it has been sent.
type Outgoing = (Order, Vec<OwnedFd>, Option<oneshot::Sender<()>>);

/// The keeper, as the supervisor sees it.
pub struct Link {
    stack: String,
    orders: RefCell<mpsc::UnboundedSender<Outgoing>>,
    asked: RefCell<HashMap<String, oneshot::Sender<Result<Born, Refusal>>>>,
    /// By process id: a tag may be used again before an end is heard.
    watched: RefCell<HashMap<i32, Watched>>,
    /// Copies of what the keeper holds, for the next keeper.
    held: RefCell<BTreeMap<String, Vec<OwnedFd>>>,
    serial: Cell<u64>,
    /// Set once the supervisor is about to end: a keeper that goes then has done what it was told.
    quitting: Cell<bool>,
    /// The present keeper, so that the CLI can see it end.
    keeper: RefCell<Option<OwnedFd>>,
    /// When it was started, where this supervisor has done that.
    launched: Cell<Option<Instant>>,
    /// How many keepers in a row have died as soon as they were started.
    early: Cell<u32>,
}

impl Link {
    /// Reads what an earlier supervisor left with this keeper, then keeps up the connection.
    pub async fn open(stack: &str, peer: OwnedFd, listener: OwnedFd) -> io::Result<(Rc<Self>, Legacy)> {
        let (orders, queue) = mpsc::unbounded_channel();
        let link = Rc::new(Self {
            stack: stack.to_owned(),
            orders: RefCell::new(orders),
            asked: RefCell::default(),
            watched: RefCell::default(),
            held: RefCell::new(BTreeMap::from([(LISTENER_KEY.to_owned(), vec![listener])])),
            serial: Cell::new(0),
            quitting: Cell::new(false),
            keeper: RefCell::default(),
            launched: Cell::default(),
            early: Cell::default(),
        });
        let socket = Rc::new(asyncfd::new(peer)?);
        let mut legacy = Legacy::default();
        loop {
            match asyncfd::receive::<Notice>(&socket).await? {
                Some((Notice::Ready, fds)) => {
                    *link.keeper.borrow_mut() = fds.into_iter().next();
                    break;
                }
                Some((notice, fds)) => link.inherit(&mut legacy, notice, fds),
                None => {
                    return Err(io::Error::other("the keeper went away before it had told what it knows"));
                }
            }
        }
        link.serve(socket, queue);
        Ok((link, legacy))
    }

    fn inherit(&self, legacy: &mut Legacy, notice: Notice, fds: Vec<OwnedFd>) {
        match notice {
            Notice::Child { tag, pid } => {
                if let Some(pidfd) = fds.into_iter().next() {
                    let born = self.watch(pid, pidfd);
                    legacy.children.insert(tag, born);
                }
            }
            Notice::Held { key } => {
                let copies = fds.iter().filter_map(|fd| fd.try_clone().ok()).collect();
                self.held.borrow_mut().insert(key.clone(), copies);
                legacy.held.insert(key, fds);
            }
            Notice::Exited { tag, pid, code, time } => {
                legacy.tags.insert(pid, tag);
                legacy.ended.insert(pid, End { code: Some(code), time });
            }
            Notice::Spawned { .. } | Notice::Refused { .. } | Notice::Ready => {}
        }
    }

    fn serve(self: &Rc<Self>, socket: Rc<AsyncFd<OwnedFd>>, mut queue: mpsc::UnboundedReceiver<Outgoing>) {
        let (link, sender) = (Rc::clone(self), Rc::clone(&socket));
        tokio::task::spawn_local(async move {
            while let Some((order, fds, sent)) = queue.recv().await {
                let fds: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
                if let Err(error) = asyncfd::send(&sender, &order, &fds).await {
                    // The reader below sees that it is gone, and answers whoever waits.
                    return link.give_up(&sender, "an order could not be sent", &error);
                }
                if let Some(sent) = sent {
                    let _ = sent.send(());
                }
            }
        });
        let link = Rc::clone(self);
        tokio::task::spawn_local(async move {
            loop {
                match asyncfd::receive::<Notice>(&socket).await {
                    Ok(Some((notice, fds))) => link.hear(notice, fds),
                    Ok(None) => break,
                    Err(error) => break link.give_up(&socket, "a notice could not be read", &error),
                }
            }
            link.replace().await;
        });
    }

    /// Takes a keeper for dead with which nothing can be exchanged any more, and sees to it that it is: one that lived
    /// on would start a supervisor of its own.
    fn give_up(&self, socket: &AsyncFd<OwnedFd>, what: &str, error: &io::Error) {
        if channel::is_gone(error) {
            return;
        }
        crate::diagnose(&format!("supervisor of {}: {what}: {error}; the keeper is replaced", self.stack));
        if let Some(keeper) = &*self.keeper.borrow() {
            let _ = pidfd::signal(keeper.as_fd(), libc::SIGKILL);
        }
        let _ = shutdown(socket.as_raw_fd(), Shutdown::Both);
    }

    fn hear(&self, notice: Notice, fds: Vec<OwnedFd>) {
        match notice {
            Notice::Spawned { tag, pid } => {
                // The kernel leaves descriptors out for which there is no room here.
                let Some(pidfd) = fds.into_iter().next().or_else(|| pidfd::open(pid).ok()) else {
                    if let Some(asked) = self.asked.borrow_mut().remove(&tag) {
                        let why =
                            format!("process {pid} runs, but there is no descriptor left to watch it by");
                        let _ = asked.send(Err(Refusal::Failed(why)));
                    }
                    return;
                };
                let born = self.watch(pid, pidfd);
                let unwanted = match self.asked.borrow_mut().remove(&tag) {
                    Some(asked) => asked.send(Ok(born)).err().and_then(Result::ok),
                    None => Some(born),
                };
                if let Some(born) = unwanted {
                    // Whoever asked for it has given up.
                    let _ = pidfd::signal(born.pidfd.as_fd(), libc::SIGKILL);
                }
            }
            Notice::Refused { tag, message } => {
                if let Some(asked) = self.asked.borrow_mut().remove(&tag) {
                    let _ = asked.send(Err(Refusal::Failed(message)));
                }
            }
            Notice::Exited { pid, code, time, .. } => {
                let watched = self.watched.borrow_mut().remove(&pid);
                let heard =
                    watched.is_some_and(|watched| watched.end.send(End { code: Some(code), time }).is_ok());
                if !heard {
                    // Nobody waits for it, so nobody else acknowledges it.
                    self.acknowledge(pid);
                }
            }
            Notice::Ready => {
                if let Some(keeper) = fds.into_iter().next() {
                    *self.keeper.borrow_mut() = Some(keeper);
                }
            }
            Notice::Child { .. } | Notice::Held { .. } => {}
        }
    }

    fn watch(&self, pid: i32, pidfd: OwnedFd) -> Born {
        let (sender, end) = oneshot::channel();
        let pidfd = Rc::new(pidfd);
        self.watched.borrow_mut().insert(pid, Watched { pidfd: Rc::clone(&pidfd), end: sender });
        Born { pid, pidfd, end }
    }

    /// The present keeper by its pidfd, so that others can see it end.
    pub fn keeper_process(&self) -> Option<OwnedFd> {
        self.keeper.borrow().as_ref().and_then(|fd| fd.try_clone().ok())
    }

    /// The number of the present keeper.
    pub fn keeper(&self) -> Option<i32> {
        self.keeper.borrow().as_ref().and_then(|keeper| program::number(keeper.as_fd()))
    }

    /// Takes up a process that is not the keeper's child: its end shows on its pidfd.
    pub fn orphan(pid: i32, pidfd: OwnedFd) -> Born {
        let (sender, end) = oneshot::channel();
        let pidfd = Rc::new(pidfd);
        attend_orphan(pid, Rc::clone(&pidfd), sender);
        Born { pid, pidfd, end }
    }

    /// The keeper has died: its children run on as orphans, a new keeper gets what the old one held.
    async fn replace(self: &Rc<Self>) {
        self.keeper.borrow_mut().take();
        if self.quitting.get() {
            return;
        }
        // What is asked from here on, until there is a new one, is answered at once.
        *self.orders.borrow_mut() = mpsc::unbounded_channel().0;
        self.asked.borrow_mut().clear();
        for (pid, watched) in self.watched.borrow_mut().drain() {
            attend_orphan(pid, watched.pidfd, watched.end);
        }
        let settled = self.launched.get().is_none_or(|at| at.elapsed() >= SETTLED);
        self.early.set(if settled { 0 } else { self.early.get() + 1 });
        let mut pause = self.early.get() >= EARLY;
        let mut told = false;
        loop {
            if pause {
                tokio::time::sleep(PAUSE).await;
            }
            // The stack may have gone meanwhile: a keeper that is started now would be told so by nobody.
            if self.quitting.get() {
                return;
            }
            match self.start_keeper() {
                Ok(()) => return,
                Err(error) if !told => {
                    told = true;
                    crate::diagnose(&format!(
                        "supervisor of {}: the keeper could not be started again, which is tried on: {error}",
                        self.stack
                    ));
                }
                Err(_) => {}
            }
            pause = true;
        }
    }

    fn start_keeper(self: &Rc<Self>) -> io::Result<()> {
        let (ours, theirs) = channel::pair()?;
        let ours = Rc::new(asyncfd::new(ours)?);
        let argv = [c"compose-keeper".to_owned(), CString::new(self.stack.as_str())?];
        let binary = sandbox::own_program().map_err(io::Error::other)?;
        let keeper = {
            let held = self.held.borrow();
            let listener = held.get(LISTENER_KEY).and_then(|fds| fds.first());
            let listener = listener.ok_or_else(|| io::Error::other("the listening socket is gone"))?;
            let stderr = io::stderr();
            let fds =
                [(listener.as_fd(), LISTENER), (theirs.as_fd(), PEER), (stderr.as_fd(), libc::STDERR_FILENO)];
            sandbox::spawn_daemon(binary.as_fd(), &argv, &fds).map_err(io::Error::other)?
        };
        self.launched.set(Some(Instant::now()));
        *self.keeper.borrow_mut() = keeper.try_clone().ok();
        reap(keeper);
        let (orders, queue) = mpsc::unbounded_channel();
        *self.orders.borrow_mut() = orders;
        self.serve(ours, queue);
        for (key, fds) in self.held.borrow().iter().filter(|(key, _)| *key != LISTENER_KEY) {
            let copies = fds.iter().filter_map(|fd| fd.try_clone().ok()).collect();
            self.order(Order::Hold { key: key.clone() }, copies);
        }
        Ok(())
    }

    /// Whether there is a keeper to send it to: `start_keeper` repeats what must not be lost.
    fn order(&self, order: Order, fds: Vec<OwnedFd>) -> bool {
        self.orders.borrow().send((order, fds, None)).is_ok()
    }

    async fn ask(&self, tag: &str, order: Order, fds: Vec<OwnedFd>) -> Result<Born, Refusal> {
        let (sender, answer) = oneshot::channel();
        self.asked.borrow_mut().insert(tag.to_owned(), sender);
        if !self.order(order, fds) {
            self.asked.borrow_mut().remove(tag);
        }
        answer.await.unwrap_or(Err(Refusal::Gone))
    }

    /// Clones a container. Descriptors as [`Order::Spawn`] wants them.
    pub async fn spawn(&self, tag: &str, spec: ContainerSpec, fds: Vec<OwnedFd>) -> Result<Born, Refusal> {
        self.ask(tag, Order::Spawn { tag: tag.to_owned(), spec: Box::new(spec) }, fds).await
    }

    /// Runs a program in a container, for the purpose that its tag begins with. Descriptors as [`Order::Exec`] wants
    /// them.
    pub async fn exec(
        &self,
        purpose: &str,
        target: i32,
        spec: ExecSpec,
        fds: Vec<OwnedFd>,
    ) -> Result<Born, Refusal> {
        self.serial.set(self.serial.get() + 1);
        let tag = format!("{purpose}/{}/{}", clock::now(), self.serial.get());
        self.ask(&tag, Order::Exec { tag: tag.clone(), target, spec: Box::new(spec) }, fds).await
    }

    /// The end of this process needs not be told to later supervisors.
    pub fn acknowledge(&self, pid: i32) {
        self.order(Order::Acknowledge { pid }, Vec::new());
    }

    /// Has descriptors kept beyond this supervisor's life.
    pub fn hold(&self, key: &str, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let copies = || fds.iter().map(BorrowedFd::try_clone_to_owned).collect::<io::Result<Vec<_>>>();
        self.held.borrow_mut().insert(key.to_owned(), copies()?);
        self.order(Order::Hold { key: key.to_owned() }, copies()?);
        Ok(())
    }

    /// Copies of what is held under a key.
    pub fn held(&self, key: &str) -> io::Result<Vec<OwnedFd>> {
        self.held.borrow().get(key).into_iter().flatten().map(OwnedFd::try_clone).collect()
    }

    /// Lets descriptors go; whether there were any.
    pub fn release(&self, key: &str) -> bool {
        let held = self.held.borrow_mut().remove(key).is_some();
        if held {
            self.order(Order::Release { key: key.to_owned() }, Vec::new());
        }
        held
    }

    /// Tells the keeper to end when this process does.
    pub async fn quit(&self) {
        self.quitting.set(true);
        let (sent, when_sent) = oneshot::channel();
        let queued = self.orders.borrow().send((Order::Quit, Vec::new(), Some(sent))).is_ok();
        if queued {
            let _ = when_sent.await;
        }
    }
}

/// Waits on a pidfd for the end of a process that somebody else reaps.
fn attend_orphan(pid: i32, pidfd: Rc<OwnedFd>, end: oneshot::Sender<End>) {
    tokio::task::spawn_local(async move {
        if let Ok(waiting) = pidfd.try_clone().and_then(asyncfd::readable) {
            let _ = waiting.readable().await;
        }
        let left = program::code(pid);
        // Not reaped after it was read, so it was its own; else the kernel tells, where it is new enough.
        let code = if program::is_reaped(pidfd.as_fd()) { pidfd::exit_code(pidfd.as_fd()) } else { left };
        let _ = end.send(End { code, time: clock::now() });
    });
}

/// Waits for a child of this process itself.
fn reap(pidfd: OwnedFd) {
    tokio::task::spawn_local(async move {
        if let Ok(waiting) = asyncfd::readable(pidfd) {
            let _ = waiting.readable().await;
            let _ = waitid(Id::PIDFd(waiting.as_fd()), WaitPidFlag::WEXITED);
        }
    });
}
