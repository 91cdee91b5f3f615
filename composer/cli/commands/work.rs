//! Waits for the end of a request and shows how it goes.

use std::collections::BTreeSet;
use std::os::fd::AsFd;

use composer_supervisor::client::Client;
use composer_supervisor::protocol::{ContainerStatus, Reply, Request, Subject};
use rustix::event::PollFlags;

use super::context::Context;
use super::{Error, Result, wait};
use crate::render::{FRAME, Progress};

/// Asks the supervisor of a stack that exists, and shows how it goes, until it is done.
pub fn ask(context: &mut Context, stack: &str, title: &'static str, request: &Request) -> Result {
    ask_of(context, &Client::find_or_start(stack)?, stack, title, request)
}

/// The same of a supervisor that has been found.
pub fn ask_of(
    context: &mut Context,
    client: &Client,
    stack: &str,
    title: &'static str,
    request: &Request,
) -> Result {
    client.send(request, &[])?;
    let mut progress = context.progress(stack, title, true);
    let done = receive(client, &mut progress, context);
    if done.is_ok() {
        progress.idle(&mut context.out);
    }
    progress.finish();
    done.map(|_| 0)
}

/// There is nothing that a verb could be about.
pub fn idle(context: &mut Context, stack: &str, title: &'static str, dry_run: bool) -> Result {
    if dry_run {
        context.out.line(composer_plan::NOTHING).map_err(Error::Output)?;
    } else {
        context.progress(stack, title, true).idle(&mut context.out);
    }
    Ok(0)
}

/// Waits until a request is done; `told` of all that comes before that.
pub fn until_done(client: &Client, mut told: impl FnMut(Reply)) -> Result<()> {
    loop {
        match client.receive()?.0 {
            Reply::Done => return Ok(()),
            Reply::Failed(failure) => return Err(Error::Refused(failure)),
            reply => told(reply),
        }
    }
}

/// Shows events until the request is done; the names of the containers that something happened to. The plan of a
/// dry run is printed.
pub fn receive(client: &Client, progress: &mut Progress, context: &mut Context) -> Result<BTreeSet<String>> {
    let mut touched = BTreeSet::new();
    loop {
        // The clock of the drawing runs while nothing happens.
        while progress.is_animated()
            && !wait::any(&[(client.as_fd(), PollFlags::IN)], Some(FRAME))?.contains(&true)
        {
            progress.tick();
        }
        let Some((reply, _)) = client.next()? else { continue };
        match reply {
            Reply::Event(event) => {
                progress.event(&event, &mut context.out);
                if let Subject::Container { name, .. } = event.subject {
                    touched.insert(name);
                }
            }
            Reply::Plan(plan) => {
                let end = if plan.ends_with('\n') { "" } else { "\n" };
                context.out.data(format!("{plan}{end}").as_bytes()).map_err(Error::Output)?;
                progress.is_blank = false;
            }
            Reply::Waits(holder) => progress.waits(&holder, &mut context.out),
            Reply::Done => return Ok(touched),
            Reply::Failed(failure) => return Err(Error::Refused(failure)),
            Reply::Containers { .. }
            | Reply::Attached(_)
            | Reply::Executing { .. }
            | Reply::Paused(_)
            | Reply::Exited { .. }
            | Reply::Begun { .. }
            | Reply::Hold => {}
        }
    }
}

/// What a verb that has no plan would do to these containers, as a plan is printed.
pub fn would(context: &mut Context, verb: &str, containers: &[ContainerStatus], cause: &str) -> Result {
    if containers.is_empty() {
        context.out.line(composer_plan::NOTHING).map_err(Error::Output)?;
    }
    for (number, container) in (1..).zip(containers) {
        let line = format!("{number:>3}. {verb} {}: {cause}", container.name);
        context.out.line(&line).map_err(Error::Output)?;
    }
    Ok(0)
}
