//! Between us and a container's main program: its output from its log, our input to it, signals, its end.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use composer_supervisor::client::{self, Client};
use composer_supervisor::logs::{Bytes, Stream, Watch};
use composer_supervisor::paths::StackPaths;
use composer_supervisor::protocol::{Attach, Attached, Reply, Request};
use nix::sys::signal::Signal;
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open, pidfd_send_signal};

use super::context::Context;
use super::exec::terminal::{self, Raw};
use super::keys::DetachKeys;
use super::signals::Signals;
use super::{Error, Result, doing, wait};

/// So many signals that say "end" make us leave a program that does not.
const PATIENCE: u32 = 3;
/// How much is shown, in bytes, before keys and signals have their turn: of a program that prints faster than we show,
/// all that there is never comes to an end.
const TURN: usize = 1 << 16;
/// So many turns are shown at the end where somebody has interrupted: gigabytes may be left.
const LAST_TURNS: u32 = 64;
/// What the keys of an interrupt send: Ctrl-C and Ctrl-\\.
const INTERRUPTS: [u8; 2] = [0x03, 0x1c];
/// What is passed on.
const SIGNALS: [Signal; 7] = [
    Signal::SIGWINCH,
    Signal::SIGINT,
    Signal::SIGTERM,
    Signal::SIGHUP,
    Signal::SIGQUIT,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
];

/// From where on output is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// All of it.
    Beginning,
    /// What comes from now on.
    Now,
}

/// A container that is followed.
pub struct Follow {
    stack: String,
    client: Client,
    container: Attached,
    /// The master of its terminal, or the pipe of its input.
    input: Option<OwnedFd>,
    process: Option<OwnedFd>,
    log: Bytes,
    watch: Watch,
    /// Set where standard input is passed on.
    keys: Option<DetachKeys>,
    passes_signals: bool,
    own: bool,
    from: Start,
    /// What was typed and is not passed on yet.
    typed: VecDeque<u8>,
    urged: u32,
    /// Whether somebody has interrupted, and has not been shown all that has come since.
    interrupted: bool,
    /// Whether some of the output has not been shown at all.
    cut: bool,
}

/// What a turn of the loop came to.
enum Turn {
    More,
    Detached,
    /// A signal that makes us leave.
    Left(Signal),
    /// With this code, and why where that was want of memory.
    Ended(i32, Option<String>),
}

impl Follow {
    /// Waits for `Attached` on a connection that has asked for it.
    pub fn new(stack: &str, client: Client, from: Start) -> Result<Self> {
        let (container, fds) = attached(&client, |_| {})?;
        Self::of(stack, client, container, fds, from)
    }

    /// The same, where the answer is there already.
    pub fn of(
        stack: &str,
        client: Client,
        container: Attached,
        fds: Vec<OwnedFd>,
        from: Start,
    ) -> Result<Self> {
        let paths = StackPaths::new(stack).container(&container.name);
        let reading = || doing(format!("read the log of {}", container.name));
        let mut watch = Watch::new().map_err(reading())?;
        watch.add(paths.log()).map_err(reading())?;
        let log = Bytes::open(paths.log(), from == Start::Now).map_err(reading())?;
        client.has_log()?;
        let pid = container.pid.and_then(Pid::from_raw);
        Ok(Self {
            stack: stack.to_owned(),
            client,
            input: fds.into_iter().next(),
            // Whoever has ended by now needs no signal.
            process: pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()),
            container,
            log,
            watch,
            keys: None,
            passes_signals: true,
            own: false,
            from,
            typed: VecDeque::new(),
            urged: 0,
            interrupted: false,
            cut: false,
        })
    }

    /// Whether the program reads what we pass on.
    pub fn takes_input(&self) -> bool {
        self.container.stdin && self.input.is_some()
    }

    /// Whether the program has a terminal.
    pub fn has_terminal(&self) -> bool {
        self.container.terminal
    }

    /// Passes on standard input, until these keys.
    pub fn keys(self, keys: Option<DetachKeys>) -> Self {
        Self { keys, ..self }
    }

    /// Whether signals are passed on.
    pub fn signals(self, passes_signals: bool) -> Self {
        Self { passes_signals, ..self }
    }

    /// The container goes where we go.
    pub fn owning(self, own: bool) -> Self {
        Self { own, ..self }
    }

    /// Until the program has ended: its status, 0 where we have left it.
    pub fn run(mut self, context: &mut Context) -> Result {
        let mut signals = Signals::take(&SIGNALS)?;
        let raw = match self.container.terminal && self.keys.is_some() {
            true => Some(Raw::enter()?),
            false => None,
        };
        if let Some(input) = &self.input {
            terminal::non_blocking(input)?;
        }
        if self.container.terminal {
            self.redraw();
        }
        let turn = loop {
            match self.turn(&mut signals, context) {
                Ok(Turn::More) => {}
                Ok(turn) => break turn,
                Err(error) => {
                    drop(raw);
                    return Err(error);
                }
            }
        };
        drop(raw);
        match turn {
            Turn::Ended(code, starved) => {
                if self.cut {
                    let name = &self.container.name;
                    context.out.note(&format!("\nnot all of the output of {name} has been shown"));
                }
                starved.iter().for_each(|why| context.out.note(why));
                self.finish()?;
                Ok(u8::try_from(code).unwrap_or(1))
            }
            Turn::Detached => {
                self.client.detach()?;
                context.out.note(&format!("\nleft {}: its program runs on", self.container.name));
                Ok(0)
            }
            Turn::Left(signal) => {
                let what = if self.own { "it is being stopped" } else { "its program runs on" };
                context.out.note(&format!("left {}: {what}", self.container.name));
                Ok(128 + u8::try_from(signal as i32).unwrap_or(0))
            }
            Turn::More => Ok(0),
        }
    }

    /// Gives the program's terminal our size. Where its output has been going elsewhere, one that had the size already
    /// is told of a change, so that the program draws itself anew.
    fn redraw(&self) {
        let Some(master) = &self.input else { return };
        let (rows, columns) = terminal::size();
        if self.from == Start::Now {
            terminal::set_size(master, (rows.saturating_add(1), columns.saturating_add(1)));
        }
        terminal::set_size(master, (rows, columns));
    }

    /// Waits for one thing to happen and does what it asks for; only looks where there is more to show.
    fn turn(&mut self, signals: &mut Signals, context: &mut Context) -> Result<Turn> {
        let more = self.show(context)?;
        self.interrupted &= more;
        let stdin = io::stdin();
        let wants_keys = self.keys.is_some() && self.input.is_some() && self.typed.is_empty();
        let mut fds = vec![
            (self.client.as_fd(), PollFlags::IN),
            (signals.as_fd(), PollFlags::IN),
            (self.watch.as_fd(), PollFlags::IN),
        ];
        if wants_keys {
            fds.push((stdin.as_fd(), PollFlags::IN));
        } else if let Some(input) = self.input.as_ref().filter(|_| !self.typed.is_empty()) {
            fds.push((input.as_fd(), PollFlags::OUT));
        }
        let ready = wait::any(&fds, more.then_some(Duration::ZERO))?;
        let is = |place: usize| ready.get(place) == Some(&true);
        if is(2) {
            self.watch.drain().map_err(doing("watch the log"))?;
        }
        while let Some(signal) = signals.next()? {
            if let Some(left) = self.signalled(signal) {
                return Ok(Turn::Left(left));
            }
        }
        if is(3) {
            if wants_keys && self.read_keys()? {
                return Ok(Turn::Detached);
            }
            self.send_keys()?;
        }
        if is(0) { self.answered(signals, context) } else { Ok(Turn::More) }
    }

    /// Shows what has come, for one turn; whether there may be more.
    fn show(&mut self, context: &mut Context) -> Result<bool> {
        let read = self.log.read(TURN, |stream, bytes| match stream {
            Stream::Stdout => {
                context.out.data(bytes).and_then(|()| context.out.flush()).map_err(Failed::Output)
            }
            Stream::Stderr => context.out.error_data(bytes).map_err(Failed::Output),
        });
        read.map_err(|failed| match failed {
            Failed::Output(error) => Error::Output(error),
            Failed::Reading(error) => doing(format!("read the log of {}", self.container.name))(error),
        })
    }

    /// Shows what is left of the output of a program that has ended; not all of it to whoever has interrupted it, or
    /// does so now.
    fn show_rest(&mut self, signals: &mut Signals, context: &mut Context) -> Result<()> {
        let mut turns = LAST_TURNS;
        while self.show(context)? {
            let stdin = io::stdin();
            // What comes through a pipe is left for others.
            let has_keys = self.container.terminal && self.keys.is_some();
            let keys = has_keys.then(|| (stdin.as_fd(), PollFlags::IN));
            if wait::any(&keys.into_iter().collect::<Vec<_>>(), Some(Duration::ZERO))?.contains(&true) {
                self.cut = self.read_keys()?;
                self.typed.clear();
            }
            while let Some(signal) = signals.next()? {
                self.interrupted |= signal != Signal::SIGWINCH;
            }
            turns -= u32::from(self.interrupted);
            self.cut |= turns == 0;
            if self.cut {
                break;
            }
        }
        Ok(())
    }

    /// Passes a signal on; one that makes us leave comes back.
    fn signalled(&mut self, signal: Signal) -> Option<Signal> {
        if signal == Signal::SIGWINCH {
            if let Some(master) = self.input.as_ref().filter(|_| self.container.terminal) {
                terminal::set_size(master, terminal::size());
            }
            return None;
        }
        if !self.passes_signals {
            return Some(signal);
        }
        if let (Some(process), Some(signal)) =
            (&self.process, rustix::process::Signal::from_named_raw(signal as i32))
        {
            // It may have ended in this moment.
            let _ = pidfd_send_signal(process, signal);
        }
        // Of a program that does not listen to them: the kernel keeps them from the first of a container.
        if matches!(signal, Signal::SIGINT | Signal::SIGTERM) {
            self.urged += 1;
            self.interrupted = true;
        }
        (self.urged >= PATIENCE).then_some(signal)
    }

    /// Takes what is typed; whether it says that we are to leave.
    fn read_keys(&mut self) -> Result<bool> {
        let mut buffer = [0; 1 << 12];
        match rustix::io::read(io::stdin(), &mut buffer) {
            Ok(0) | Err(Errno::IO) => self.keys = None,
            Ok(length) => match &mut self.keys {
                // The keys are a terminal's: what comes through a pipe may be anything.
                Some(keys) if self.container.terminal => {
                    self.interrupted |= buffer[..length].iter().any(|key| INTERRUPTS.contains(key));
                    return Ok(keys.pass(&buffer[..length], &mut self.typed));
                }
                Some(_) | None => self.typed.extend(&buffer[..length]),
            },
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(error) => return Err(doing("read standard input")(error)),
        }
        Ok(false)
    }

    /// Passes on as much as the program takes.
    fn send_keys(&mut self) -> Result<()> {
        if let Some(input) = &self.input
            && !terminal::send(input, &mut self.typed)?
        {
            self.typed.clear();
            self.keys = None;
        }
        Ok(())
    }

    fn answered(&mut self, signals: &mut Signals, context: &mut Context) -> Result<Turn> {
        match self.client.next() {
            Ok(Some((Reply::Exited { code, starved }, _))) => {
                // Its log is whole by now.
                self.show_rest(signals, context)?;
                Ok(Turn::Ended(code, starved))
            }
            Ok(Some((Reply::Failed(failure), _))) => {
                // Its log may be whole, though nobody knows its code.
                self.show_rest(signals, context)?;
                Err(Error::Refused(failure))
            }
            Ok(_) => Ok(Turn::More),
            // The supervisor has died; the program has not noticed.
            Err(client::Error::Gone(_)) => self.reconnect(signals).map(|()| Turn::More),
            Err(error) => Err(error.into()),
        }
    }

    fn reconnect(&mut self, signals: &mut Signals) -> Result<()> {
        // Processes that are started here must not inherit what is blocked.
        signals.pause()?;
        let found = Client::find(&self.stack);
        signals.resume()?;
        let Some(client) = found? else {
            return Err(Error::Usage(format!("container {} is gone", self.container.name)));
        };
        let request = Attach { name: Some(self.container.name.clone()), own: self.own, ..Attach::default() };
        client.send(&Request::Attach(request), &[])?;
        attached(&client, |_| {})?;
        client.has_log()?;
        self.client = client.succeed(&self.client);
        Ok(())
    }

    /// Waits until what follows the end is done: a container to be removed is gone then.
    fn finish(&self) -> Result<()> {
        loop {
            match self.client.next() {
                Ok(Some((Reply::Done, _))) | Err(client::Error::Gone(_)) => return Ok(()),
                Ok(Some((Reply::Failed(failure), _))) => return Err(Error::Refused(failure)),
                Ok(_) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

enum Failed {
    Reading(io::Error),
    Output(io::Error),
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self::Reading(error)
    }
}

/// Waits for `Attached`; `told` of everything before it.
fn attached(client: &Client, mut told: impl FnMut(Reply)) -> Result<(Attached, Vec<OwnedFd>)> {
    loop {
        match client.receive()? {
            (Reply::Attached(attached), fds) => return Ok((attached, fds)),
            (Reply::Failed(failure), _) => return Err(Error::Refused(failure)),
            (reply, _) => told(reply),
        }
    }
}
