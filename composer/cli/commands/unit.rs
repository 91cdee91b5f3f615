//! What the unit of `compose enable` calls, and what is known of it.

use std::path::{Path, PathBuf};

use composer_plan::UpOptions;
use composer_stack::{Purpose, RestartPolicy, Stack};
use composer_supervisor::client::Client;
use composer_supervisor::protocol::{self, Request};

use super::bringing::Bring;
use super::context::Context;
use super::{Error, Result, up, work};
use crate::options::{UNITS, Unit, UnitVerb};
use crate::systemd;

/// Brings the stack up after a boot, or stops it before a shutdown.
pub fn run(context: &mut Context, verb: &Unit) -> Result {
    match verb.verb {
        UnitVerb::Start => start(context),
        UnitVerb::Stop => stop(context),
    }
}

fn start(context: &mut Context) -> Result {
    let mut stack = context.load(Purpose::Run, |_| {})?.stack;
    context.bring(&mut stack, Bring::default())?;
    let client = Client::find_or_start(&stack.name)?;
    let name = stack.name.clone();
    let request = up::request(context, stack, UpOptions::default(), false);
    let up = protocol::Up { boot: true, ..request };
    client.send(&Request::Up(Box::new(up)), &[])?;
    let mut progress = context.progress(&name, "up", false);
    let done = work::receive(&client, &mut progress, context);
    context.let_go();
    done.map(|_| 0)
}

fn stop(context: &mut Context) -> Result {
    let stack = context.project()?;
    // Nothing is left where a user has taken it down.
    let Some(client) = Client::find(&stack)? else { return Ok(0) };
    let stop = protocol::Stop { shutdown: true, ..protocol::Stop::default() };
    client.send(&Request::Stop(stop), &[])?;
    let mut progress = context.progress(&stack, "stop", false);
    work::receive(&client, &mut progress, context).map(|_| 0)
}

/// Where the unit of a stack is.
pub fn path(folder: &Path, stack: &str) -> Result<PathBuf> {
    let name = systemd::name(stack).ok_or_else(|| {
        Error::Usage(format!("the name of stack {stack} is too long for a unit: give a shorter one with -p"))
    })?;
    Ok(folder.join(name))
}

/// Says, of a stack that is to run for ever, what a reboot makes of it.
pub fn note(context: &mut Context, stack: &Stack) {
    let is_for_ever = |policy| matches!(policy, RestartPolicy::Always | RestartPolicy::UnlessStopped);
    let service = stack.services.values().find(|service| is_for_ever(service.restart.policy));
    let is_enabled = path(Path::new(UNITS), &stack.name).is_ok_and(|path| path.exists());
    if let Some(service) = service.filter(|_| !is_enabled) {
        context.out.note(&format!(
            "note: there is no daemon that brings `{}` back after a reboot, as its restart policy asks: `compose enable` \
             has systemd do it",
            service.name
        ));
    }
}
