//! The keeper: forks, holds, reaps. A single thread, no tokio, no YAML: it changes as little as an init.
//!
//! It clones containers for the supervisor, remembers the codes they end with until the supervisor has recorded
//! them, holds the descriptors that a dead supervisor must not take with it, and starts the supervisor again.

pub(crate) mod protocol;

use std::collections::BTreeMap;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use composer_cgroup::Hierarchy;
use composer_sandbox::{self as sandbox, Child, ContainerFds, ContainerSpec, ExecFds, NamespaceSpec, Stdio};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};

use crate::{channel, clock, paths};
use protocol::{LISTENER, Notice, Order, PEER};

/// The key under which the stack's listening socket is held.
pub(crate) const LISTENER_KEY: &str = "listener";
/// A supervisor that has lived for less than this did not start well.
const SETTLED: Duration = Duration::from_secs(1);
/// How long a supervisor that keeps dying at once is left alone.
const PAUSE: Duration = Duration::from_secs(1);

struct Ended {
    tag: String,
    code: i32,
    time: u64,
}

/// The supervisor.
struct Peer {
    socket: OwnedFd,
    /// By which it is made to end where nothing can be exchanged with it any more.
    process: Option<OwnedFd>,
}

struct Keeper {
    stack: String,
    binary: OwnedFd,
    /// Its own pidfd: whoever must see it end is given this.
    own: OwnedFd,
    signals: SignalFd,
    /// The supervisor, while there is one.
    peer: Option<Peer>,
    children: BTreeMap<i32, (String, OwnedFd)>,
    ended: BTreeMap<i32, Ended>,
    held: BTreeMap<String, Vec<OwnedFd>>,
    launched: Option<Instant>,
    quitting: bool,
}

/// Runs the keeper of this stack until its supervisor has told it to quit.
pub(crate) fn run(stack: &str) -> ExitCode {
    match Keeper::new(stack).and_then(|mut keeper| keeper.run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            crate::diagnose(&format!("keeper of {stack}: {error}"));
            ExitCode::FAILURE
        }
    }
}

impl Keeper {
    fn new(stack: &str) -> io::Result<Self> {
        // First of all: whatever is opened may get a number that was not handed over.
        let (listener, peer) =
            (sandbox::descriptor::inherited(LISTENER), sandbox::descriptor::inherited(PEER));
        join_engine_group(stack);
        if let Err(error) = sandbox::raise_descriptor_limit() {
            crate::diagnose(&format!("keeper of {stack}: raise its limit of open files: {error}"));
        }
        let mut mask = SigSet::empty();
        mask.add(Signal::SIGCHLD);
        mask.thread_block()?;
        let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        let binary = sandbox::own_program().map_err(io::Error::other)?;
        // Once, and not in each child.
        sandbox::prepare_filter();
        let mut held = BTreeMap::new();
        if let Some(listener) = listener {
            held.insert(LISTENER_KEY.to_owned(), vec![listener]);
        }
        Ok(Self {
            stack: stack.to_owned(),
            binary,
            own: sandbox::pidfd::open(std::process::id().cast_signed())?,
            signals,
            peer: peer.map(Peer::of),
            children: BTreeMap::new(),
            ended: BTreeMap::new(),
            held,
            launched: None,
            quitting: false,
        })
    }

    fn run(&mut self) -> io::Result<()> {
        if self.peer.is_some() {
            // A living supervisor has started this keeper in a dead one's place.
            self.welcome();
        }
        while !(self.quitting && self.peer.is_none()) {
            if self.peer.is_none()
                && let Err(error) = self.start_supervisor()
            {
                // What it lacks may come to be there; the services do not need it meanwhile.
                crate::diagnose(&format!("keeper of {}: start the supervisor: {error}", self.stack));
                std::thread::sleep(PAUSE);
                continue;
            }
            let (woken, told) = self.wait()?;
            if woken {
                while let Ok(Some(_)) = self.signals.read_signal() {}
                self.reap();
            }
            if told {
                self.listen();
            }
        }
        Ok(())
    }

    fn wait(&self) -> io::Result<(bool, bool)> {
        let mut fds = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        fds.extend(self.peer.as_ref().map(|peer| PollFd::new(peer.socket.as_fd(), PollFlags::POLLIN)));
        loop {
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) => break,
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let ready = |slot: usize| fds.get(slot).and_then(PollFd::any).unwrap_or(false);
        Ok((ready(0), ready(1)))
    }

    fn start_supervisor(&mut self) -> io::Result<()> {
        if self.launched.is_some_and(|at| at.elapsed() < SETTLED) {
            // One that dies at once would be started without end; its services do not need it meanwhile.
            std::thread::sleep(PAUSE);
        }
        let (ours, theirs) = channel::pair()?;
        let argv = [c"compose-supervisor".to_owned(), CString::new(self.stack.as_str())?];
        let listener = self.held.get(LISTENER_KEY).and_then(|fds| fds.first());
        let Some(listener) = listener else {
            return Err(io::Error::other("the listening socket was not handed over"));
        };
        let stderr = io::stderr();
        let fds =
            [(listener.as_fd(), LISTENER), (theirs.as_fd(), PEER), (stderr.as_fd(), libc::STDERR_FILENO)];
        let process = sandbox::spawn_daemon(self.binary.as_fd(), &argv, &fds).map_err(io::Error::other)?;
        self.peer = Some(Peer { socket: ours, process: Some(process) });
        self.launched = Some(Instant::now());
        self.welcome();
        Ok(())
    }

    /// Tells a new supervisor everything the old one knew through this keeper.
    fn welcome(&mut self) {
        if let Some(Err(error)) = self.peer.as_ref().map(|peer| self.introduce(peer)) {
            self.lose("tell the supervisor what is there", &error);
        }
    }

    fn introduce(&self, peer: &Peer) -> io::Result<()> {
        for (pid, (tag, pidfd)) in &self.children {
            peer.tell(&Notice::Child { tag: tag.clone(), pid: *pid }, &[pidfd.as_fd()])?;
        }
        for (key, fds) in self.held.iter().filter(|(key, _)| *key != LISTENER_KEY) {
            let fds: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
            peer.tell(&Notice::Held { key: key.clone() }, &fds)?;
        }
        for (pid, ended) in &self.ended {
            peer.tell(&exited(*pid, ended), &[])?;
        }
        peer.tell(&Notice::Ready, &[self.own.as_fd()])
    }

    fn tell(&mut self, notice: &Notice, fds: &[BorrowedFd<'_>]) {
        if let Some(Err(error)) = self.peer.as_ref().map(|peer| peer.tell(notice, fds)) {
            self.lose("tell the supervisor", &error);
        }
    }

    /// Takes a supervisor for dead with which nothing can be exchanged any more, and sees to it that it is: the next one
    /// waits for its end. One that has gone is known to be by the end of what it has ordered.
    fn lose(&mut self, what: &str, error: &io::Error) {
        if channel::is_gone(error) {
            return;
        }
        let Some(peer) = self.peer.take() else { return };
        crate::diagnose(&format!("keeper of {}: {what}: {error}; it is replaced", self.stack));
        if let Some(process) = peer.process {
            let _ = sandbox::pidfd::signal(process.as_fd(), libc::SIGKILL);
        }
    }

    fn reap(&mut self) {
        // The supervisor is a child too; it is known to be gone by its socket.
        while let Some((pid, code)) = sandbox::ended() {
            if let Some((tag, _)) = self.children.remove(&pid) {
                let ended = Ended { tag, code, time: clock::now() };
                self.tell(&exited(pid, &ended), &[]);
                self.ended.insert(pid, ended);
            }
        }
    }

    fn listen(&mut self) {
        let Some(peer) = &self.peer else { return };
        match channel::receive::<Order>(peer.socket.as_fd()) {
            Ok(Some((order, fds))) => self.obey(order, fds),
            Ok(None) => self.peer = None,
            Err(error) => self.lose("read an order", &error),
        }
    }

    fn obey(&mut self, order: Order, fds: Vec<OwnedFd>) {
        match order {
            Order::Spawn { tag, spec } => {
                let child = container_fds(fds, &spec)
                    .and_then(|fds| sandbox::spawn(&spec, fds).map_err(|error| error.to_string()));
                self.born(tag, child);
            }
            Order::Exec { tag, target, spec } => {
                let child = exec_fds(fds).and_then(|(pidfd, fds)| {
                    sandbox::exec_in(pidfd.as_fd(), target, &spec, fds).map_err(|error| error.to_string())
                });
                self.born(tag, child);
            }
            Order::Hold { key } => {
                self.held.insert(key, fds);
            }
            Order::Release { key } => {
                self.held.remove(&key);
            }
            Order::Acknowledge { pid } => {
                self.ended.remove(&pid);
            }
            Order::Quit => self.quitting = true,
        }
    }

    fn born(&mut self, tag: String, child: Result<Child, String>) {
        match child {
            Ok(child) => {
                let (pid, pidfd) = (child.pid, child.pidfd);
                self.tell(&Notice::Spawned { tag: tag.clone(), pid }, &[pidfd.as_fd()]);
                self.children.insert(pid, (tag, pidfd));
            }
            Err(message) => self.tell(&Notice::Refused { tag, message }, &[]),
        }
    }
}

/// Both processes live outside the stack's cap: the supervisor is born into the keeper's group. What is left of the
/// processes of stacks whose client did not see them off goes on the way.
fn join_engine_group(stack: &str) {
    let joined = Hierarchy::detect().and_then(|hierarchy| {
        hierarchy.group_everywhere(&paths::engine_group(stack)).enter()?;
        hierarchy.group_everywhere(paths::ENGINE_GROUPS).remove_empty_inside()
    });
    if let Err(error) = joined {
        crate::diagnose(&format!("keeper of {stack}: its cgroup: {error}"));
    }
}

fn exited(pid: i32, ended: &Ended) -> Notice {
    Notice::Exited { tag: ended.tag.clone(), pid, code: ended.code, time: ended.time }
}

impl Peer {
    /// The supervisor at the other end of a socket that it has made.
    fn of(socket: OwnedFd) -> Self {
        let process = getsockopt(&socket, PeerCredentials).ok();
        let process = process.and_then(|process| sandbox::pidfd::open(process.pid()).ok());
        Self { socket, process }
    }

    /// Waits until the socket has room, and the kernel what it takes.
    fn tell(&self, notice: &Notice, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        loop {
            match channel::send(self.socket.as_fd(), notice, fds) {
                Err(error) if channel::is_passing(&error) => std::thread::sleep(channel::RETRY),
                told => return told,
            }
        }
    }
}

const TOO_FEW: &str = "an order came with too few descriptors";

fn container_fds(fds: Vec<OwnedFd>, spec: &ContainerSpec) -> Result<ContainerFds, String> {
    let mut fds = fds.into_iter();
    let mut next = || fds.next().ok_or_else(|| TOO_FEW.to_owned());
    let stdio = Stdio { stdin: next()?, stdout: next()?, stderr: next()? };
    let (start, report) = (next()?, next()?);
    let mut joined = |namespace| if namespace == NamespaceSpec::Joined { next().map(Some) } else { Ok(None) };
    let (network, pid, ipc) =
        (joined(spec.network)?, joined(spec.isolation.pid)?, joined(spec.isolation.ipc)?);
    Ok(ContainerFds { stdio, start, report, network, pid, ipc, cgroup: fds.next() })
}

fn exec_fds(fds: Vec<OwnedFd>) -> Result<(OwnedFd, ExecFds), String> {
    let mut fds = fds.into_iter();
    let mut next = || fds.next().ok_or_else(|| TOO_FEW.to_owned());
    let pidfd = next()?;
    let stdio = Stdio { stdin: next()?, stdout: next()?, stderr: next()? };
    Ok((pidfd, ExecFds { stdio, report: next()?, cgroup: fds.next() }))
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    use nix::sys::socket::{setsockopt, sockopt::SndBuf};

    use super::*;

    fn keeper(peer: Peer) -> Keeper {
        Keeper {
            stack: "unit".to_owned(),
            binary: std::fs::File::open("/proc/self/exe").unwrap().into(),
            own: sandbox::pidfd::open(std::process::id().cast_signed()).unwrap(),
            signals: SignalFd::new(&SigSet::empty()).unwrap(),
            peer: Some(peer),
            children: BTreeMap::new(),
            ended: BTreeMap::new(),
            held: BTreeMap::new(),
            launched: None,
            quitting: false,
        }
    }

    #[test]
    fn what_a_supervisor_that_has_gone_had_ordered_is_done() {
        let (socket, theirs) = channel::pair().unwrap();
        let mut keeper = keeper(Peer { socket, process: None });
        channel::send(theirs.as_fd(), &Order::Quit, &[]).unwrap();
        drop(theirs);
        // It would start another one for ever.
        keeper.run().unwrap();
        assert!(keeper.quitting);
    }

    #[test]
    fn a_supervisor_that_cannot_be_told_anything_is_made_to_end() {
        let (socket, _theirs) = channel::pair().unwrap();
        // Less than the notice below: EMSGSIZE, whenever it is tried.
        setsockopt(&socket, SndBuf, &1).unwrap();
        let mut supervisor = Command::new("sleep").arg("1000").spawn().unwrap();
        let process = sandbox::pidfd::open(supervisor.id().cast_signed()).unwrap();
        let mut keeper = keeper(Peer { socket, process: Some(process) });
        keeper.tell(&Notice::Refused { tag: "a".to_owned(), message: "x".repeat(20_000) }, &[]);
        assert!(keeper.peer.is_none());
        assert_eq!(supervisor.wait().unwrap().signal(), Some(libc::SIGKILL));
    }
}
