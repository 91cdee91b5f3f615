//! `compose run`: a one-off container of a service, with our streams or in the background.

mod service;
mod volume;

use std::io::IsTerminal;
use std::os::fd::{AsFd, OwnedFd};

use composer_stack::{Purpose, Stack};
use composer_supervisor::client::Client;
use composer_supervisor::identifier;
use composer_supervisor::protocol::{self, Attached, Reply, Request, Subject};
use rustix::event::PollFlags;

use super::bringing::Bring;
use super::context::Context;
use super::exec::{streams, terminal};
use super::follow::{Follow, Start};
use super::keys::DetachKeys;
use super::{Error, Result, doing, wait, work};
use crate::options::Run;
use crate::render::FRAME;

/// How many of an id's digits its container's name has.
const SHORT: usize = 12;

/// Runs the program; its status is ours.
pub fn run(context: &mut Context, verb: &Run) -> Result {
    refuse(verb)?;
    let loaded = context.load(Purpose::Run, |options| options.enabled = vec![verb.service.clone()])?;
    let mut stack = loaded.stack;
    if stack.services.contains_key(&verb.service) {
        let services = std::slice::from_ref(&verb.service);
        let (policy, quiet) = (verb.pull, verb.quiet_pull || verb.quiet);
        context.bring(
            &mut stack,
            Bring { services, no_deps: verb.no_deps, policy, quiet, is_dry: verb.dry_run },
        )?;
    }
    if !verb.publish.is_empty() {
        // What the service publishes here is not what the file says.
        context.forget_places();
    }
    let interactive = verb.interactive.unwrap_or(true);
    // The plan needs none.
    let tty = !verb.dry_run && wants_terminal(verb, interactive)?;
    let service = service::changed(context, verb, &stack, (tty, interactive))?;
    let id = identifier().map_err(doing("read /dev/urandom"))?;
    let name = match &verb.name {
        Some(name) => checked(name)?,
        None => format!("{}-{}-run-{}", stack.name, verb.service, &id[..SHORT]),
    };
    let with_input = interactive && !tty && !verb.detach && !verb.dry_run;
    let (theirs, ours) = match with_input {
        true => streams::input().map(|(theirs, ours)| (Some(theirs), ours)),
        false => Ok((None, None)),
    }
    .map_err(doing("make a pipe for the program"))?;
    let request = Request::Run(Box::new(protocol::Run {
        service,
        name: name.clone(),
        id: id.clone(),
        remove: verb.rm,
        detach: verb.detach,
        aliases: verb.use_aliases,
        remove_orphans: verb.remove_orphans,
        terminal: tty.then(terminal::size),
        path: context.caller.path.clone(),
        stack: stack.clone(),
        dry_run: verb.dry_run,
    }));
    if verb.dry_run {
        return work::ask(context, &stack.name, "run", &request);
    }
    let client = Client::find_or_start(&stack.name)?;
    client.send(&request, &theirs.iter().map(AsFd::as_fd).collect::<Vec<_>>())?;
    drop(theirs);
    let Some((container, fds)) = started(&client, context, verb, &stack)? else {
        context.out.line(&id).map_err(Error::Output)?;
        return Ok(0);
    };
    if let Some(ours) = ours {
        streams::flow(ours);
    }
    let keys = (interactive && tty).then(DetachKeys::usual);
    Follow::of(&stack.name, client, container, fds, Start::Beginning)?.keys(keys).owning(verb.rm).run(context)
}

/// What this version cannot do yet.
fn refuse(verb: &Run) -> Result<()> {
    let not_yet = |what: &str, instead: &str| {
        Err(Error::Usage(format!("`compose run {what}` is not supported yet: {instead}")))
    };
    if verb.build {
        return not_yet("--build", "images cannot be built yet");
    }
    Ok(())
}

/// Whether the program gets a terminal, as Docker Compose decides it.
fn wants_terminal(verb: &Run, interactive: bool) -> Result<bool> {
    let is_terminal = std::io::stdin().is_terminal();
    let by_default = std::io::stdout().is_terminal() && (is_terminal || verb.interactive.is_some());
    let wanted = verb.tty.unwrap_or(by_default && !verb.no_tty);
    if wanted && interactive && !is_terminal {
        return Err(Error::Usage(
            "the program is to have a terminal and standard input is none: leave `-t` out or give `-T`, or give `-i=false` for a program that reads nothing"
                .to_owned(),
        ));
    }
    Ok(wanted)
}

/// A name as Docker has it: it is the name of folders and of a host on the network.
fn checked(name: &str) -> Result<String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    let begins = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    if begins && name.len() > 1 && name.len() < 200 && name.chars().all(allowed) {
        return Ok(name.to_owned());
    }
    Err(Error::Usage(format!(
        "{name:?} is no name for a container: a letter or digit, then letters, digits, `_`, `.` and `-`"
    )))
}

/// Shows how what the service depends on is started; the container, unless it is left to itself.
fn started(
    client: &Client,
    context: &mut Context,
    verb: &Run,
    stack: &Stack,
) -> Result<Option<(Attached, Vec<OwnedFd>)>> {
    let mut progress = context.progress(&stack.name, "run", true);
    let result = loop {
        // The clock of the drawing runs while nothing happens.
        while progress.is_animated()
            && !wait::any(&[(client.as_fd(), PollFlags::IN)], Some(FRAME))?.contains(&true)
        {
            progress.tick();
        }
        let Some((reply, fds)) = client.next()? else { continue };
        match reply {
            // Of the container itself its own output tells.
            Reply::Event(event) if !verb.quiet && !matches!(event.subject, Subject::OneOff { .. }) => {
                progress.event(&event, &mut context.out);
            }
            Reply::Attached(attached) => break Ok(Some((attached, fds))),
            Reply::Waits(holder) if !verb.quiet => progress.waits(&holder, &mut context.out),
            Reply::Done => break Ok(None),
            Reply::Failed(failure) => break Err(Error::Refused(failure)),
            Reply::Event(_)
            | Reply::Plan(_)
            | Reply::Containers { .. }
            | Reply::Executing { .. }
            | Reply::Paused(_)
            | Reply::Exited { .. }
            | Reply::Waits(_)
            | Reply::Begun { .. }
            | Reply::Hold => {}
        }
    };
    progress.finish();
    context.let_go();
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        assert!(checked("a-run_1.x").is_ok());
        for wrong in ["", "a", ".hidden", "-x", "a/b", "a b", "../up", &"a".repeat(200)] {
            assert!(checked(wrong).is_err(), "{wrong}");
        }
    }
}
