//! `compose events`: what happens to a stack's containers, in Docker's words.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsFd;

use composer_supervisor::events::{Happening, Reader};
use composer_supervisor::host;
use composer_supervisor::protocol::{Action, ExecStage, Outcome, Shortage};
use nix::sys::signal::Signal;
use rustix::event::PollFlags;
use serde::Serialize;

use super::context::Context;
use super::signals::Signals;
use super::{Error, INTERRUPTED, Result, doing, wait};
use crate::options::Events;
use crate::time;

/// Shows events until it is interrupted, or until `--until`: also while nothing of the stack is there.
pub fn run(context: &mut Context, verb: &Events) -> Result {
    let now = time::now();
    let moment = |text: &Option<String>, default: u64| match text {
        Some(text) => time::parse(text, now).map_err(Error::Usage),
        None => Ok(default),
    };
    let (since, until) = (moment(&verb.since, now)?, moment(&verb.until, u64::MAX)?);
    let stack = context.project()?;
    let known = host::stack(&stack)?;
    let known: BTreeSet<&str> = known.containers.iter().map(|member| member.service.as_str()).collect();
    context.check_names(&verb.services, &known)?;
    let signals = Signals::take(&[Signal::SIGINT, Signal::SIGTERM])?;
    let mut reader = Reader::open(&stack).map_err(doing("watch the stack's events"))?;
    loop {
        let mut happenings = Vec::new();
        reader.read(&mut happenings).map_err(doing("read the stack's events"))?;
        for happening in happenings {
            let wanted = verb.services.is_empty() || verb.services.contains(&happening.service);
            if wanted && (since..=until).contains(&happening.time) {
                show(&happening, &stack, verb.json, context)?;
            }
        }
        context.out.flush().map_err(Error::Output)?;
        let limit = (until != u64::MAX).then(|| time::between(time::now(), until));
        if limit.is_some_and(|limit| limit.is_zero()) {
            return Ok(0);
        }
        let stdout = std::io::stdout();
        let fds = [
            (signals.as_fd(), PollFlags::IN),
            (reader.as_fd(), PollFlags::IN),
            // Nothing is asked of standard output: an error is reported anyhow.
            (stdout.as_fd(), PollFlags::empty()),
        ];
        let ready = wait::any(&fds, limit)?;
        match ready.as_slice() {
            [true, ..] => {
                // Taken, so that it does not end us in another way once it is no longer blocked.
                signals.next()?;
                return Ok(INTERRUPTED);
            }
            [_, _, true] => return Err(Error::Output(std::io::ErrorKind::BrokenPipe.into())),
            _ => {}
        }
        reader.woken().map_err(doing("watch the stack's events"))?;
    }
}

/// An event with Docker Compose's keys.
#[derive(Serialize)]
struct Line<'a> {
    action: &'a str,
    attributes: &'a BTreeMap<String, String>,
    id: &'a str,
    service: &'a str,
    time: String,
    #[serde(rename = "type")]
    kind: &'static str,
}

fn show(happening: &Happening, stack: &str, json: bool, context: &mut Context) -> Result<()> {
    let Some((action, own)) = in_dockers_words(&happening.action) else { return Ok(()) };
    // What happens to the stack as a whole has no container.
    let kind = if happening.container.is_empty() { "stack" } else { "container" };
    let id = if happening.container.is_empty() { stack } else { &happening.id };
    let mut attributes = happening.labels.clone();
    attributes.extend(own);
    if happening.container.is_empty() {
        attributes.insert("name".to_owned(), stack.to_owned());
    } else {
        attributes.insert("image".to_owned(), happening.image.clone());
        attributes.insert("name".to_owned(), happening.container.clone());
    }
    let text = if json {
        let line = Line {
            action: &action,
            attributes: &attributes,
            id,
            service: &happening.service,
            time: time::with_zone(happening.time),
            kind,
        };
        serde_json::to_string(&line).map_err(doing("write JSON"))?
    } else {
        let attributes: Vec<String> =
            attributes.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let time = time::local(happening.time);
        // Docker Compose leaves a line free after each.
        format!("{time} {kind} {action} {id} ({})\n", attributes.join(", "))
    };
    context.out.line(&text).map_err(Error::Output)
}

/// Docker's name of an action, and the attributes that it brings; `None` for what Docker has no event for.
fn in_dockers_words(action: &Action) -> Option<(String, Vec<(String, String)>)> {
    let plain = |word: &str| Some((word.to_owned(), Vec::new()));
    match action {
        Action::Created => plain("create"),
        Action::Started { .. } => plain("start"),
        Action::Healthy => plain("health_status: healthy"),
        Action::Unhealthy { .. } => plain("health_status: unhealthy"),
        Action::Stopped => plain("stop"),
        Action::Removed => plain("destroy"),
        Action::Restarted => plain("restart"),

        Action::Paused => plain("pause"),
        Action::Unpaused => plain("unpause"),
        Action::OutOfMemory(Shortage { outcome, text }) => {
            let word = match outcome {
                Outcome::Killed => "oom",
                Outcome::Pausing => "oom: pausing",
                Outcome::Paused => "oom: paused",
                Outcome::Raised { .. } => "oom: raised",
                Outcome::HookFailed => "oom: hook failed",
            };
            let mut attributes = vec![("reason".to_owned(), text.clone())];
            if let Outcome::Raised { from, to } = outcome {
                attributes.extend([("from".to_owned(), from.to_string()), ("to".to_owned(), to.to_string())]);
            }
            Some((word.to_owned(), attributes))
        }
        Action::Killed { signal } => {
            Some(("kill".to_owned(), vec![("signal".to_owned(), signal.to_string())]))
        }
        Action::Pressure { of, share, details } => {
            let share = share.map_or_else(|| "unknown".to_owned(), |share| format!("{share}%"));
            let mut attributes = vec![("of".to_owned(), of.clone()), ("share".to_owned(), share)];
            attributes.extend(details.clone().map(|details| ("details".to_owned(), details)));
            Some(("pressure".to_owned(), attributes))
        }
        Action::Updated { limits } => {
            let changed = limits.iter().map(|one| (one.limit.clone(), format!("{} -> {}", one.from, one.to)));
            Some(("update".to_owned(), changed.collect()))
        }
        Action::Exited { code } | Action::Restarting { code, .. } => {
            // Docker has a number there in any case.
            Some(("die".to_owned(), vec![("exitCode".to_owned(), code.unwrap_or(255).to_string())]))
        }
        Action::Exec(exec) => {
            let mut attributes = vec![("execID".to_owned(), exec.id.clone())];
            let action = match &exec.stage {
                ExecStage::Created(argv) => format!("exec_create: {}", argv.join(" ")),
                ExecStage::Started(argv) => format!("exec_start: {}", argv.join(" ")),
                ExecStage::Ended(code) => {
                    attributes.push(("exitCode".to_owned(), code.to_string()));
                    "exec_die".to_owned()
                }
            };
            Some((action, attributes))
        }
        Action::Creating
        | Action::Starting
        | Action::Running
        | Action::Waiting
        | Action::Stopping
        | Action::Removing
        | Action::Settled
        | Action::Warning(_)
        | Action::Failed(_) => None,
    }
}
