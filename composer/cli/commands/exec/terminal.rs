//! Between our terminal and the one that a program in a container has.

use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};

use composer_supervisor::client::Client;
use nix::sys::signal::Signal;
use rustix::event::PollFlags;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use rustix::termios::{OptionalActions, Termios, Winsize, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize};

use super::super::signals::Signals;
use super::super::{Error, Result, doing, wait};
use super::Program;
use crate::render::Output;

/// Rows and columns of our terminal; the classic ones where it does not tell.
pub fn size() -> (u16, u16) {
    tcgetwinsize(std::io::stdout()).map_or((24, 80), |size| (size.ws_row, size.ws_col))
}

/// What Ctrl-C sends.
const INTERRUPT: u8 = 0x03;

/// A terminal in raw mode, until this is dropped.
pub struct Raw {
    before: Termios,
}

impl Raw {
    /// Puts our terminal into raw mode.
    pub fn enter() -> Result<Self> {
        let stdin = std::io::stdin();
        let before = tcgetattr(&stdin).map_err(doing("read the terminal's settings"))?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&stdin, OptionalActions::Drain, &raw).map_err(doing("put the terminal into raw mode"))?;
        Ok(Self { before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // A terminal that has gone needs no settings.
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Drain, &self.before);
    }
}

/// Copies keys to the program and its output to our terminal, until it ends; its status.
pub fn relay(client: &Client, master: &OwnedFd, out: &mut Output) -> Result {
    let signals = Signals::take(&[Signal::SIGWINCH, Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP])?;
    let raw = Raw::enter()?;
    non_blocking(master)?;
    resize(master);
    let mut program = Program::default();
    let ended = copy(client, master, &signals, &mut program, out);
    drop(raw);
    match ended? {
        Ended::Program => Ok(program.status(out)),
        Ended::Signal(signal) => Ok(super::left(signal, &program, out)),
    }
}

fn resize(master: &OwnedFd) {
    if let Ok(size) = tcgetwinsize(std::io::stdout()) {
        // A program that has ended needs no size.
        let _ = tcsetwinsize(master, size);
    }
}

/// Gives a program's terminal this many rows and columns.
pub fn set_size(master: &OwnedFd, (ws_row, ws_col): (u16, u16)) {
    // As above.
    let _ = tcsetwinsize(master, Winsize { ws_row, ws_col, ws_xpixel: 0, ws_ypixel: 0 });
}

/// Makes reads and writes return at once.
pub fn non_blocking(fd: &OwnedFd) -> Result<()> {
    let flags = fcntl_getfl(fd).map_err(doing("read the flags of the program's input"))?;
    fcntl_setfl(fd, flags | OFlags::NONBLOCK).map_err(doing("set the flags of the program's input"))
}

/// Why we end.
enum Ended {
    /// The program has.
    Program,
    /// A signal says so, or its key where the program cannot hear it.
    Signal(Signal),
}

/// Until the program has ended, or we have to.
fn copy(
    client: &Client,
    master: &OwnedFd,
    signals: &Signals,
    program: &mut Program,
    out: &mut Output,
) -> Result<Ended> {
    let stdin = std::io::stdin();
    let mut typed: VecDeque<u8> = VecDeque::new();
    let (mut is_open, mut reads_keys) = (true, true);
    loop {
        let mut of_master = PollFlags::IN;
        if !typed.is_empty() {
            of_master |= PollFlags::OUT;
        }
        let mut fds = vec![(client.as_fd(), PollFlags::IN), (signals.as_fd(), PollFlags::IN)];
        if is_open {
            fds.push((master.as_fd(), of_master));
        }
        // Further keys wait until the program has taken these; one that stands still takes none, and Ctrl-C has to come.
        let wants_keys = reads_keys && is_open && (typed.is_empty() || program.is_held);
        if wants_keys {
            fds.push((stdin.as_fd(), PollFlags::IN));
        }
        let ready = wait::any(&fds, None)?;
        let is = |place: usize| ready.get(place) == Some(&true);
        // Before signals and keys: what was told before they came is known.
        if is(0) && program.hear(client)? {
            // What it has written is there.
            if is_open {
                show(master, out)?;
            }
            return Ok(Ended::Program);
        }
        while let Some(signal) = signals.next()? {
            match signal {
                Signal::SIGWINCH => resize(master),
                signal => return Ok(Ended::Signal(signal)),
            }
        }
        if is_open && is(2) {
            is_open = show(master, out)?;
            send(master, &mut typed)?;
        }
        if wants_keys && is(3) {
            let before = typed.len();
            reads_keys = read_keys(&mut typed)?;
            let interrupts = typed.iter().skip(before).any(|key| *key == INTERRUPT);
            send(master, &mut typed)?;
            if program.is_held && interrupts {
                return Ok(Ended::Signal(Signal::SIGINT));
            }
        }
    }
}

/// Prints all that the program has written by now; whether there may be more later.
fn show(master: &OwnedFd, out: &mut Output) -> Result<bool> {
    let mut buffer = [0; 1 << 14];
    loop {
        match rustix::io::read(master, &mut buffer) {
            // EIO: no process has the terminal any more (tty_ioctl(4)).
            Ok(0) | Err(Errno::IO) => return Ok(false),
            Ok(length) => out.data(&buffer[..length]).and_then(|()| out.flush()).map_err(Error::Output)?,
            Err(Errno::AGAIN) => return Ok(true),
            Err(Errno::INTR) => {}
            Err(error) => return Err(doing("read from the program's terminal")(error)),
        }
    }
}

/// Takes keys; whether there may be more later.
fn read_keys(typed: &mut VecDeque<u8>) -> Result<bool> {
    let mut buffer = [0; 1 << 12];
    match rustix::io::read(std::io::stdin(), &mut buffer) {
        Ok(0) | Err(Errno::IO) => Ok(false),
        Ok(length) => {
            typed.extend(&buffer[..length]);
            Ok(true)
        }
        Err(Errno::AGAIN | Errno::INTR) => Ok(true),
        Err(error) => Err(doing("read from the terminal")(error)),
    }
}

/// Passes on as many keys as the program takes; whether it may take more later.
pub fn send(master: &OwnedFd, typed: &mut VecDeque<u8>) -> Result<bool> {
    while !typed.is_empty() {
        match rustix::io::write(master, typed.as_slices().0) {
            Ok(length) => {
                typed.drain(..length);
            }
            Err(Errno::AGAIN) => break,
            Err(Errno::INTR) => {}
            Err(Errno::IO | Errno::PIPE) => {
                typed.clear();
                return Ok(false);
            }
            Err(error) => return Err(doing("write to the program")(error)),
        }
    }
    Ok(true)
}
