//! `compose logs`: what containers have written, merged by time.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsFd;
use std::time::Duration;

use composer_supervisor::client::{self, Client};
use composer_supervisor::paths::StackPaths;
use composer_supervisor::protocol::{Action, ContainerStatus, Event, Outcome, Reply, State, Subject};
use rustix::event::PollFlags;

use super::context::{self, Context};
use super::journal::Journal;
use super::marks::Marks;
use super::sources::Span;
use super::watching::Listed;
use super::{Error, Result, wait, watching};
use crate::options::Logs;
use crate::render::LineStyle;
use crate::time;

/// Shows logs.
pub fn run(context: &mut Context, verb: &Logs) -> Result {
    let now = time::now();
    let moment = |text: &Option<String>, default: u64| match text {
        Some(text) => time::parse(text, now).map_err(Error::Usage),
        None => Ok(default),
    };
    let span =
        Span { since: moment(&verb.since, Span::ALL.since)?, until: moment(&verb.until, Span::ALL.until)? };
    let stack = context.project()?;
    let watched = if verb.follow { watching::watch(&stack)? } else { None };
    let (watch, Listed { time: heard, containers }) = match watched {
        Some((watch, listed)) => (Some(watch), listed),
        None => (None, Listed { time: now, containers: context::containers(&stack)? }),
    };
    context.check_services(&verb.services, &containers)?;
    check_index(verb, &containers)?;
    for container in containers.iter().filter(|container| !container.keeps_log && is_wanted(verb, container))
    {
        context
            .out
            .note(&format!("{}: its output is not kept (`logging: {{driver: none}}`)", container.name));
    }
    let style = LineStyle {
        color: context.out.color && !verb.no_color,
        prefix: !verb.no_log_prefix,
        timestamps: verb.timestamps,
    };
    let mut journal = Journal::new(&stack, style, span, verb.follow)?;
    if verb.marks {
        let marks = Marks::open(&stack, span, verb.services.clone(), verb.index)?;
        journal.show_marks(marks.with_timestamps(verb.timestamps));
    }
    let mut shown = Shown {
        verb,
        stack,
        journal,
        running: BTreeMap::new(),
        restarting: BTreeSet::new(),
        starved: BTreeSet::new(),
        heard,
        unsettled: false,
    };
    shown.take_up(&containers)?;
    if let Some(count) = verb.tail.0 {
        shown.journal.skip_to_last(count)?;
    }
    shown.journal.show_until(now, context)?;
    if let Some(watch) = watch {
        shown.follow(watch, span, context)?;
    }
    Ok(0)
}

/// The containers whose logs are shown.
struct Shown<'a> {
    verb: &'a Logs,
    stack: String,
    journal: Journal,
    /// Those whose program runs, with their services.
    running: BTreeMap<String, String>,
    /// Those of them that wait for their restart.
    restarting: BTreeSet<String>,
    /// Those that have been told to be killed for want of memory, and not yet to have ended.
    starved: BTreeSet<String>,
    /// The time of the last list or event.
    heard: u64,
    /// Whether somebody's operation has stopped some of them, which it may be about to start anew.
    unsettled: bool,
}

impl Shown<'_> {
    /// Looks at which containers there are.
    fn take_up(&mut self, containers: &[ContainerStatus]) -> Result<()> {
        for container in containers.iter().filter(|container| is_wanted(self.verb, container)) {
            let runs = container.pid.is_some();
            self.journal.add(&container.name, &container.log)?;
            self.journal.set_ended(&container.name, !runs);
            if container.state.is_live() {
                self.running.insert(container.name.clone(), container.service.clone());
            }
            if container.state == State::Restarting {
                self.restarting.insert(container.name.clone());
            }
        }
        Ok(())
    }

    /// Shows what a container has written up to its end, then how it has ended, and whether it is started `again`.
    fn show_end(
        &mut self,
        name: &str,
        (time, code): (u64, Option<i32>),
        again: bool,
        context: &mut Context,
    ) -> Result<()> {
        self.journal.set_ended(name, true);
        self.journal.show_until(time, context)?;
        let starved = self.starved.remove(name);
        // Marks tell it already.
        if self.verb.marks { Ok(()) } else { self.journal.tell_end(name, code, again, starved, context) }
    }

    /// Goes on until no container runs any more, nor is about to be started anew, or `--until` has passed.
    fn follow(&mut self, mut watch: Client, span: Span, context: &mut Context) -> Result<()> {
        // What has come since the command began may have been read, and not shown: nothing would wake for it.
        let mut more = true;
        while !self.running.is_empty() || self.unsettled {
            let limit = (span.until != u64::MAX).then(|| time::between(time::now(), span.until));
            if limit.is_some_and(|limit| limit.is_zero()) {
                break;
            }
            let limit = if more { Some(Duration::ZERO) } else { limit };
            if self.wait(&watch, limit)? {
                match watch.receive() {
                    Ok((Reply::Event(event), _)) => self.happened(event, context)?,
                    Ok(_) => {}
                    // The supervisor has died; what runs has not noticed.
                    Err(client::Error::Gone(_)) => match watching::watch(&self.stack)? {
                        Some((again, listed)) => {
                            watch = again;
                            // What was under way has died with it.
                            self.unsettled = false;
                            let (since, told) = (self.heard, listed.time);
                            for event in watching::missed(listed, since, &self.running, &self.restarting) {
                                self.happened(event, context)?;
                            }
                            self.heard = told;
                        }
                        None => break,
                    },
                    Err(error) => return Err(error.into()),
                }
            }
            more = self.journal.show_some(u64::MAX, context)?;
        }
        self.journal.show_until(time::now(), context)
    }

    /// Waits until a log grows, or something has happened: whether there is an event.
    fn wait(&mut self, watch: &Client, limit: Option<Duration>) -> Result<bool> {
        let stdout = std::io::stdout();
        // Nothing is asked of standard output: an error is reported anyhow.
        let mut fds = vec![(watch.as_fd(), PollFlags::IN), (stdout.as_fd(), PollFlags::empty())];
        fds.extend(self.journal.as_watch().map(|fd| (fd, PollFlags::IN)));
        fds.extend(self.journal.as_mark_watch().map(|fd| (fd, PollFlags::IN)));
        let ready = wait::any(&fds, limit)?;
        if ready.get(1) == Some(&true) {
            // Nobody reads what we print any more.
            return Err(Error::Output(std::io::ErrorKind::BrokenPipe.into()));
        }
        self.journal.woken()?;
        Ok(ready.first() == Some(&true))
    }

    fn happened(&mut self, event: Event, context: &mut Context) -> Result<()> {
        self.heard = event.time;
        let (Subject::Container { name, service } | Subject::OneOff { name, service }) = event.subject else {
            self.unsettled &= event.action != Action::Settled;
            return Ok(());
        };
        if !self.verb.services.is_empty() && !self.verb.services.contains(&service) {
            return Ok(());
        }
        match event.action {
            Action::Started { .. } if self.has_index(&name)? => {
                self.journal.add(&name, StackPaths::new(&self.stack).container(&name).log())?;
                self.journal.set_ended(&name, false);
                self.restarting.remove(&name);
                self.running.insert(name, service);
            }
            Action::Stopping => self.unsettled |= self.running.contains_key(&name),
            Action::Exited { code } if self.running.remove(&name).is_some() => {
                self.show_end(&name, (event.time, code), false, context)?;
            }
            Action::Restarting { code, .. } if self.has_index(&name)? => {
                self.show_end(&name, (event.time, code), true, context)?;
                self.running.insert(name.clone(), service);
                self.restarting.insert(name);
            }
            Action::OutOfMemory(told) if told.outcome == Outcome::Killed => {
                self.starved.insert(name);
            }
            // One that waited for its restart does not end a second time.
            Action::Stopped if self.restarting.contains(&name) => {
                self.running.remove(&name);
            }
            Action::Removed => {
                self.journal.show_until(event.time, context)?;
                self.journal.remove(&name);
                self.running.remove(&name);
            }
            Action::Creating
            | Action::Created
            | Action::Starting
            | Action::Started { .. }
            | Action::Running
            | Action::Updated { .. }
            | Action::Waiting
            | Action::Healthy
            | Action::Unhealthy { .. }
            | Action::Stopped
            | Action::Exited { .. }
            | Action::Restarting { .. }
            | Action::Restarted
            | Action::Removing
            | Action::Killed { .. }
            | Action::Paused
            | Action::Unpaused
            | Action::OutOfMemory(_)
            | Action::Exec(_)
            | Action::Settled
            | Action::Warning(_)
            | Action::Failed(_) => {}
        }
        Ok(())
    }

    fn has_index(&self, container: &str) -> Result<bool> {
        if self.verb.index.is_none() {
            return Ok(true);
        }
        let containers = context::containers(&self.stack)?;
        Ok(containers.iter().any(|known| known.name == container && is_wanted(self.verb, known)))
    }
}

/// Docker Compose asks for one service; which replicas that has is told where it has not the one wanted.
fn check_index(verb: &Logs, containers: &[ContainerStatus]) -> Result<()> {
    let Some(index) = verb.index else { return Ok(()) };
    let [service] = verb.services.as_slice() else {
        return Err(Error::Usage("`--index` is of one service: name that one".to_owned()));
    };
    if containers.iter().any(|container| is_wanted(verb, container)) {
        return Ok(());
    }
    let range = context::range(containers, service);
    Err(Error::Usage(format!("service {service:?} has no container {index}: {range}")))
}

fn is_wanted(verb: &Logs, container: &ContainerStatus) -> bool {
    let index = verb.index.is_none_or(|index| container.index == index);
    index && (verb.services.is_empty() || verb.services.contains(&container.service))
}
