//! A question on a terminal.

use std::io::{IsTerminal, Stdin};
use std::os::fd::AsFd;

use nix::sys::signal::Signal;
use rustix::event::PollFlags;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use super::context::Context;
use super::signals::Signals;
use super::{Error, Result, doing, wait};

/// Whether what is typed is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Echo {
    On,
    Off,
}

/// The terminal is as it was once this is dropped.
struct Silent<'a> {
    stdin: &'a Stdin,
    before: Termios,
}

/// Asks, and returns the line that is typed.
pub fn ask(context: &mut Context, question: &str, echo: Echo) -> Result<String> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        let why = "nobody can be asked, as standard input is no terminal";
        return Err(Error::Usage(format!("{why}: give `--username` and `--password-stdin`")));
    }
    // An interrupt that ended us in the middle would leave a terminal that shows nothing.
    let signals = Signals::take(&[Signal::SIGINT, Signal::SIGTERM])?;
    let silent = match echo {
        Echo::On => None,
        Echo::Off => Some(Silent::new(&stdin)?),
    };
    context.out.error_data(question.as_bytes()).map_err(doing("ask"))?;
    let ready = wait::any(&[(signals.as_fd(), PollFlags::IN), (stdin.as_fd(), PollFlags::IN)], None)?;
    let interrupted = ready[0] && signals.next()?.is_some();
    let mut line = String::new();
    if !interrupted {
        stdin.read_line(&mut line).map_err(doing("read the answer"))?;
    }
    if silent.is_some() || interrupted {
        context.out.note("");
    }
    if interrupted { Err(Error::Interrupted) } else { Ok(line.trim_end_matches(['\n', '\r']).to_owned()) }
}

impl<'a> Silent<'a> {
    fn new(stdin: &'a Stdin) -> Result<Self> {
        let before = tcgetattr(stdin).map_err(doing("look at the terminal"))?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(stdin, OptionalActions::Now, &silent).map_err(doing("set the terminal"))?;
        Ok(Self { stdin, before })
    }
}

impl Drop for Silent<'_> {
    fn drop(&mut self) {
        // Where the terminal has gone, there is nothing to put right.
        let _ = tcsetattr(self.stdin, OptionalActions::Now, &self.before);
    }
}
