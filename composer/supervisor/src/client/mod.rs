//! The CLI's side of the socket: find the supervisor of a stack, or start one, and talk to it.

mod start;

use std::cell::{Cell, OnceCell, RefCell};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use composer_cgroup::Hierarchy;
use composer_sandbox::pidfd;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, connect, getsockopt, socket, sockopt};

use crate::channel;
use crate::paths::{self, StackPaths};
use crate::protocol::{Again, Asked, Following, Purpose, Reply, Request, VERSION, overtaken};
use crate::starting::StartLock;
use start::{Place, root, start};

/// How often a request is made again. A supervisor that dies takes what queues at its listener along; one that dies of
/// the request itself is to be heard of.
const TRIES: usize = 4;
/// How many milliseconds processes are waited for that are about to end: a supervisor takes a second for clients that are
/// stopped.
const PATIENCE: u16 = 5000;

/// A connection to a stack's supervisor. One request a connection: where that ends before the answer, the request is
/// made again on a new one.
pub struct Client {
    stack: String,
    first: OwnedFd,
    /// The connections that followed it. None is replaced: whoever waits has borrowed the last one.
    later: [OnceCell<OwnedFd>; TRIES],
    /// What was asked, for as long as it may be asked again.
    pending: RefCell<Option<Pending>>,
    /// The stack in which it had its turn, where it had.
    begun: Cell<Option<u64>>,
    /// Something that could be read has come.
    answered: Cell<bool>,
    /// What the supervisor has had this side hold.
    held: RefCell<Vec<OwnedFd>>,
}

/// A request with its descriptors.
struct Pending {
    asked: Asked,
    fds: Vec<OwnedFd>,
}

/// Why the supervisor could not be reached.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The caller lacks the privileges.
    #[error(
        "compose needs root to run containers (it makes namespaces, network links and cgroups): run it as root, for example with sudo"
    )]
    NotRoot,
    /// A system call failed.
    #[error("{0}: {1}")]
    Io(String, #[source] io::Error),
    /// It went away in the middle of an answer.
    #[error("the supervisor of stack {0} went away; the next compose command finds what it left running")]
    Gone(String),
    /// It lives, and cannot be talked to.
    #[error(
        "stack {0} was started by another version of compose, this is {VERSION}: its supervisor (process {1}) does not understand it; take the stack down with that version"
    )]
    Foreign(String, i32),
    /// Others have meanwhile undone what was asked.
    #[error("{}", overtaken(.0))]
    Overtaken(&'static str),
}

fn start_lock(paths: &StackPaths) -> Result<StartLock, Error> {
    StartLock::take(paths).map_err(doing(format!("lock {}", paths.start_lock().display())))
}

fn cgroups() -> Result<Hierarchy, Error> {
    Hierarchy::detect().map_err(|error| Error::Io("use cgroups".to_owned(), io::Error::other(error)))
}

/// Returns when the process has ended, or has not in this time.
fn ended(process: &OwnedFd, within: PollTimeout) {
    while poll(&mut [PollFd::new(process.as_fd(), PollFlags::POLLIN)], within) == Err(Errno::EINTR) {}
}

/// What is left of a stack's two processes that have ended, and of others' that nobody has seen off.
fn remove_groups(stack: &str) -> Result<(), Error> {
    let hierarchy = cgroups()?;
    // What cannot be removed now is by whoever sees the next stack off, and by the keeper of the next one that comes up.
    let _ = hierarchy.group_everywhere(&paths::engine_group(stack)).remove();
    let _ = hierarchy.group_everywhere(paths::ENGINE_GROUPS).remove_empty_inside();
    for shared in [paths::ENGINE_GROUPS, "compose"] {
        let _ = hierarchy.group_everywhere(shared).remove_if_empty();
    }
    Ok(())
}

fn doing(what: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
    let what = what.into();
    move |error| Error::Io(what, error)
}

impl Client {
    /// The supervisor of a stack of which anything exists: one that runs, or one started now to take up what a
    /// crash left. `None` where nothing is known of the stack.
    pub fn find(stack: &str) -> Result<Option<Self>, Error> {
        root()?;
        if let Some(client) = Self::connect(stack)? {
            return Ok(Some(client));
        }
        if !paths::stacks().iter().any(|known| known == stack) {
            return Ok(None);
        }
        Self::find_or_start(stack).map(Some)
    }

    /// The supervisor of a stack, started where it is not there.
    pub fn find_or_start(stack: &str) -> Result<Self, Error> {
        root()?;
        if let Some(client) = Self::connect(stack)? {
            return Ok(client);
        }
        let paths = StackPaths::new(stack);
        let _lock = start_lock(&paths)?;
        // Somebody else may have started it while we waited for the lock.
        if let Some(client) = Self::connect(stack)? {
            return Ok(client);
        }
        // A supervisor that cannot be without them would be started again for ever, and nobody heard of it.
        cgroups()?;
        start(stack, &paths)?;
        Self::connect(stack)?.ok_or_else(|| Error::Gone(stack.to_owned()))
    }

    /// The supervisor's socket, for whoever talks to it in a loop of its own. `None` where none runs.
    pub(crate) fn socket(stack: &str) -> Result<Option<OwnedFd>, Error> {
        Ok(Self::connect(stack)?.map(|client| client.first))
    }

    /// Takes away what a command that was killed has left of a stack of which nothing is known any more: the lock, and
    /// the cgroup of the two processes, which stays where they ended and nobody saw them off.
    pub fn sweep(stack: &str) -> Result<(), Error> {
        let paths = StackPaths::new(stack);
        let lock = start_lock(&paths)?;
        // Somebody may have brought it up meanwhile.
        if !paths::stacks().iter().any(|known| known == stack) {
            let group = cgroups()?.group_everywhere(&paths::engine_group(stack));
            // They may be about to end, and no client waits for them.
            let pids = group.pids().unwrap_or_default();
            let processes = pids.into_iter().filter_map(|pid| pidfd::open(pid).ok());
            processes.for_each(|process| ended(&process, PATIENCE.into()));
            let _ = group.kill();
            remove_groups(stack)?;
            lock.end();
            paths::tidy();
        }
        Ok(())
    }

    fn connect(stack: &str) -> Result<Option<Self>, Error> {
        let path = StackPaths::new(stack).socket();
        let failed = |errno: Errno| Error::Io(format!("connect to {}", path.display()), errno.into());
        let Some(place) = Place::of(&path).map_err(failed)? else {
            return Ok(None);
        };
        let address = place.address().map_err(failed)?;
        let socket =
            socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None).map_err(failed)?;
        match connect(socket.as_raw_fd(), &address) {
            Ok(()) => Ok(Some(Self {
                stack: stack.to_owned(),
                first: socket,
                later: Default::default(),
                pending: RefCell::default(),
                begun: Cell::default(),
                answered: Cell::default(),
                held: RefCell::default(),
            })),
            Err(Errno::ENOENT | Errno::ECONNREFUSED) => Ok(None),
            Err(errno) => Err(failed(errno)),
        }
    }

    /// Sends the request, with descriptors for `Exec`.
    pub fn send(&self, request: &Request, fds: &[BorrowedFd<'_>]) -> Result<(), Error> {
        let fds = fds.iter().map(BorrowedFd::try_clone_to_owned).collect::<io::Result<_>>();
        self.ask(Pending {
            asked: Asked::now(request.clone()),
            fds: fds.map_err(doing("keep the request's descriptors"))?,
        })
    }

    fn ask(&self, pending: Pending) -> Result<(), Error> {
        let fds: Vec<_> = pending.fds.iter().map(AsFd::as_fd).collect();
        while let Err(error) = channel::send(self.as_fd(), &pending.asked, &fds) {
            if !channel::is_gone(&error) {
                return Err(Error::Io("send the request".to_owned(), error));
            }
            self.renew(&pending.asked.request)?;
        }
        // Whoever watches has to look at what it has missed, and of a stream some is gone: neither can be asked again.
        let once = matches!(pending.asked.request, Request::Watch | Request::Copy(_));
        *self.pending.borrow_mut() = (!once).then_some(pending);
        Ok(())
    }

    /// Connects anew, which starts the two processes where they are gone; not in a stack that is gone, where that had
    /// begun to be changed: somebody has taken it away since.
    fn renew(&self, request: &Request) -> Result<(), Error> {
        let free = self.later.iter().find(|later| later.get().is_none());
        let free = free.ok_or_else(|| self.lost())?;
        let may_be_gone =
            self.begun.get().is_none() || matches!(request.purpose(), Some(Purpose::End | Purpose::Clear));
        let found = match may_be_gone {
            true => Self::find_or_start(&self.stack)?,
            false => Self::find(&self.stack)?.ok_or(Error::Overtaken(request.verb()))?,
        };
        // Cannot fail: it is free.
        let _ = free.set(found.first);
        Ok(())
    }

    /// Why no answer comes.
    fn lost(&self) -> Error {
        let gone = || Error::Gone(self.stack.clone());
        let peer = getsockopt(&self.as_fd(), sockopt::PeerCredentials).map(|peer| peer.pid());
        let Some((peer, process)) = peer.ok().and_then(|peer| Some((peer, pidfd::open(peer).ok()?))) else {
            return gone();
        };
        let lives = poll(&mut [PollFd::new(process.as_fd(), PollFlags::POLLIN)], PollTimeout::ZERO) == Ok(0);
        if lives && !self.answered.get() { Error::Foreign(self.stack.clone(), peer) } else { gone() }
    }

    /// Takes the place of another connection, and goes on holding what that one holds.
    pub fn succeed(self, other: &Self) -> Self {
        self.held.borrow_mut().append(&mut other.held.borrow_mut());
        self
    }

    /// Whether what was asked has had its turn, as far as answers have been read.
    pub fn has_begun(&self) -> bool {
        self.begun.get().is_some()
    }

    /// Says that whoever follows a container leaves, and that its program runs on.
    pub fn detach(&self) -> Result<(), Error> {
        channel::send(self.as_fd(), &Following::Leaves, &[]).map_err(doing("leave the container"))
    }

    /// Says that whoever follows a container has its log open.
    pub fn has_log(&self) -> Result<(), Error> {
        match channel::send(self.as_fd(), &Following::HasLog, &[]) {
            // A supervisor that has died is noticed by the next answer.
            Err(error) if !channel::is_gone(&error) => Err(doing("follow the container")(error)),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Waits for the next answer; a descriptor comes with `Executing`. Where the answer ends the stack, this
    /// returns once both processes have ended too and what they stood on is gone.
    pub fn receive(&self) -> Result<(Reply, Vec<OwnedFd>), Error> {
        loop {
            if let Some(answer) = self.next()? {
                return Ok(answer);
            }
        }
    }

    /// As [`Client::receive`]; `None` where what came was for this side alone, or the supervisor has died and the request
    /// was made again, so that whoever waits for other things too goes on waiting for all.
    pub fn next(&self) -> Result<Option<(Reply, Vec<OwnedFd>)>, Error> {
        let received = channel::receive::<Reply>(self.as_fd()).map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData => self.lost(),
            _ => doing("read the answer")(error),
        })?;
        let pending = self.pending.take();
        self.answered.set(self.answered.get() || received.is_some());
        let Some((reply, fds)) = received else {
            let mut pending = pending.ok_or_else(|| Error::Gone(self.stack.clone()))?;
            self.renew(&pending.asked.request)?;
            pending.asked.origin.again = Some(Again { stack: self.begun.get() });
            return self.ask(pending).map(|()| None);
        };
        // What changes a stack goes on from whatever it finds, so it may be asked for again after any event; a program
        // that runs must not run twice, nor have a signal twice.
        let kills = pending.as_ref().is_some_and(|pending| matches!(pending.asked.request, Request::Kill(_)));
        let again = match reply {
            Reply::Event(_) if kills => false,
            Reply::Event(_)
            | Reply::Containers { .. }
            | Reply::Waits(_)
            | Reply::Begun { .. }
            | Reply::Hold => true,
            Reply::Plan(_)
            | Reply::Attached(_)
            | Reply::Executing { .. }
            | Reply::Paused(_)
            | Reply::Exited { .. }
            | Reply::Done
            | Reply::Failed(_) => false,
        };
        *self.pending.borrow_mut() = pending.filter(|_| again);
        match reply {
            Reply::Done | Reply::Failed(_) if !fds.is_empty() => {
                self.see_off(&fds)?;
                Ok(Some((reply, Vec::new())))
            }
            Reply::Begun { stack } => {
                self.begun.set(Some(stack));
                Ok(None)
            }
            Reply::Hold => {
                self.held.borrow_mut().extend(fds);
                Ok(None)
            }
            reply => Ok(Some((reply, fds))),
        }
    }

    fn see_off(&self, processes: &[OwnedFd]) -> Result<(), Error> {
        // They end when their last client has gone: this one.
        nix::sys::socket::shutdown(self.as_fd().as_raw_fd(), nix::sys::socket::Shutdown::Both)
            .map_err(|errno| Error::Io("close the connection".to_owned(), errno.into()))?;
        processes.iter().for_each(|process| ended(process, PollTimeout::NONE));
        remove_groups(&self.stack)?;
        paths::tidy();
        Ok(())
    }
}

impl AsFd for Client {
    /// Readable when [`Client::next`] will not block.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.later.iter().rev().find_map(OnceCell::get).unwrap_or(&self.first).as_fd()
    }
}
