//! `compose watch`.

use std::os::fd::AsFd;

use composer_stack::Purpose;
use nix::sys::signal::Signal;
use rustix::event::PollFlags;

use super::context::Context;
use super::signals::Signals;
use super::{Error, INTERRUPTED, Result, creating, up, wait};
use crate::options::Watch;
use crate::watch::{Note, Watcher};

/// Watches until Ctrl-C.
pub fn run(context: &mut Context, verb: Watch) -> Result {
    let loaded = context.load(Purpose::Run, |options| options.enabled.clone_from(&verb.services))?;
    let stack = loaded.stack;
    if let Some(unknown) = verb.services.iter().find(|name| !stack.services.contains_key(*name)) {
        return Err(creating::no_such_service(&stack, unknown));
    }
    if !verb.no_up {
        up::in_background(context, &stack, verb.services.clone())?;
    }
    let signals = Signals::take(&[Signal::SIGINT, Signal::SIGTERM])?;
    let mut watcher = Watcher::start(&stack, &verb.services).map_err(Error::Usage)?;
    context.out.note("Watch enabled");
    loop {
        let fds = [(signals.as_fd(), PollFlags::IN), (watcher.as_fd(), PollFlags::IN)];
        let ready = wait::any(&fds, None)?;
        if ready.first() == Some(&true) && signals.next()?.is_some() {
            return Ok(INTERRUPTED);
        }
        if ready.get(1) == Some(&true) {
            match watcher.note() {
                Some(note) => tell(context, note)?,
                None => return Ok(1),
            }
        }
    }
}

/// Shows what the watcher says; an error where it has ended.
pub fn tell(context: &mut Context, note: Note) -> Result<()> {
    match note {
        Note::Done(text) => context.out.note(&text),
        Note::Warning(text) => context.out.warning(&text),
        Note::Failed(text) => return Err(Error::Usage(text)),
    }
    Ok(())
}
