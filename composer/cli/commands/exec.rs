//! `compose exec`: a program in a running container.

pub mod streams;
pub mod terminal;

use std::io::IsTerminal;
use std::os::fd::{AsFd, OwnedFd};

use composer_supervisor::client::Client;
use composer_supervisor::protocol::{self, Reply, Request};
use composer_supervisor::words;
use nix::sys::signal::Signal;
use rustix::event::PollFlags;
use rustix::process::{Pid, PidfdFlags, pidfd_open, pidfd_send_signal};

use super::context::Context;
use super::signals::Signals;
use super::{Error, Result, doing, wait, work};
use crate::options::Exec;
use crate::render::Output;
use streams::Streams;

/// Runs the program; its status is ours.
pub fn run(context: &mut Context, verb: Exec) -> Result {
    let stack = context.project()?;
    let Some(client) = Client::find(&stack)? else {
        return Err(Error::Usage(words::not_running(&verb.service, false)));
    };
    let wants_terminal = !verb.detach && !verb.no_tty;
    let terminal = wants_terminal && std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let env = verb.env.iter().filter_map(|variable| {
        let Some((name, value)) = variable.split_once('=') else {
            // Without a value it is the caller's, if the caller has it.
            let value = context.caller.environment.get(variable)?;
            return Some((variable.clone(), value.clone()));
        };
        Some((name.to_owned(), value.to_owned()))
    });
    let request = Request::Exec(Box::new(protocol::Exec {
        service: verb.service,
        index: verb.index,
        argv: verb.command,
        env: env.collect(),
        user: verb.user,
        cwd: verb.workdir,
        terminal: terminal.then(terminal::size),
        detach: verb.detach,
        privileged: verb.privileged,
    }));
    let mut streams = match terminal || verb.detach {
        true => None,
        false => Some(Streams::new().map_err(doing("make pipes for the program"))?),
    };
    client.send(&request, &streams.as_ref().map(Streams::theirs).unwrap_or_default())?;
    if let Some(streams) = &mut streams {
        streams.begin();
    }
    match executing(&client)? {
        None => Ok(0),
        Some(_) if verb.detach => work::until_done(&client, |_| ()).map(|()| 0),
        Some((_, Some(master))) => terminal::relay(&client, &master, &mut context.out),
        Some((pid, None)) => attend(&client, pid, streams.as_mut(), &mut context.out),
    }
}

/// Waits until the program runs: its pid, and its terminal where it has one.
fn executing(client: &Client) -> Result<Option<(i32, Option<OwnedFd>)>> {
    loop {
        match client.receive()? {
            (Reply::Executing { pid }, fds) => return Ok(Some((pid, fds.into_iter().next()))),
            (Reply::Done, _) => return Ok(None),
            (Reply::Failed(failure), _) => return Err(Error::Refused(failure)),
            (
                Reply::Event(_)
                | Reply::Plan(_)
                | Reply::Containers { .. }
                | Reply::Attached(_)
                | Reply::Paused(_)
                | Reply::Exited { .. }
                | Reply::Waits(_)
                | Reply::Begun { .. }
                | Reply::Hold,
                _,
            ) => {}
        }
    }
}

/// A program that runs, by what the supervisor tells of it.
#[derive(Default)]
struct Program {
    /// Its container is held: it hears nothing, and does not end.
    is_held: bool,
    code: i32,
    starved: Option<String>,
}

impl Program {
    /// Takes the next answer; whether it is the last one.
    fn hear(&mut self, client: &Client) -> Result<bool> {
        match client.next()?.map(|(reply, _)| reply) {
            Some(Reply::Paused(is_held)) => self.is_held = is_held,
            Some(Reply::Exited { code, starved }) => (self.code, self.starved) = (code, starved),
            Some(Reply::Done) => return Ok(true),
            Some(Reply::Failed(failure)) => return Err(Error::Refused(failure)),
            Some(
                Reply::Event(_)
                | Reply::Plan(_)
                | Reply::Containers { .. }
                | Reply::Attached(_)
                | Reply::Executing { .. }
                | Reply::Waits(_)
                | Reply::Begun { .. }
                | Reply::Hold,
            )
            | None => {}
        }
        Ok(false)
    }

    /// Its status, 0 where it was not waited for.
    fn status(self, out: &mut Output) -> u8 {
        self.starved.iter().for_each(|why| out.note(why));
        u8::try_from(self.code).unwrap_or(1)
    }
}

/// The status of who leaves for a signal. The connection closes behind us, and the program is told as by a terminal that
/// goes.
fn left(signal: Signal, program: &Program, out: &mut Output) -> u8 {
    if program.is_held {
        out.note("left the program: its container is paused, and it is told to end when that goes on");
    }
    128 + u8::try_from(signal as i32).unwrap_or(0)
}

/// Waits for a program that has no terminal of ours, copies its output, and passes signals on. One that cannot hear them
/// is left.
fn attend(client: &Client, pid: i32, mut streams: Option<&mut Streams>, out: &mut Output) -> Result {
    // Whoever has ended by now needs no signal.
    let process = Pid::from_raw(pid).and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
    let signals = Signals::take(&[Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT])?;
    let mut program = Program::default();
    loop {
        let mut fds = vec![(client.as_fd(), PollFlags::IN), (signals.as_fd(), PollFlags::IN)];
        fds.extend(streams.iter().flat_map(|streams| streams.outputs()).map(|fd| (fd, PollFlags::IN)));
        let ready = wait::any(&fds, None)?;
        // Where the program has ended, what it has written is there.
        if let Some(streams) = &mut streams {
            streams.copy().map_err(Error::Output)?;
        }
        if ready.first() == Some(&true) && program.hear(client)? {
            return Ok(program.status(out));
        }
        // Last: what was told before they came is known.
        while let Some(signal) = signals.next()? {
            let number = rustix::process::Signal::from_named_raw(signal as i32);
            if let (Some(process), Some(number)) = (&process, number) {
                // As above.
                let _ = pidfd_send_signal(process, number);
            }
            if program.is_held {
                return Ok(left(signal, &program, out));
            }
        }
    }
}
