//! `compose up` attached: brings a stack up, shows its logs, and stops it on Ctrl-C.
//!
//! One loop over what can happen: signals, answers to `up` and to `stop`, events, logs that grow, a reader of our
//! output that goes away.

mod answers;
mod events;
mod stop;

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsFd;
use std::time::Duration;

use composer_stack::Stack;
use composer_supervisor::client::Client;
use composer_supervisor::protocol::{self, Event, Request};
use nix::sys::signal::Signal;
use rustix::event::PollFlags;

use super::context::Context;
use super::journal::Journal;
use super::signals::Signals;
use super::sources::Span;
use super::{Error, INTERRUPTED, Result, wait, watch, watching};
use crate::render::{LineStyle, Progress};
use crate::time;
use crate::watch::Watcher;

/// What of the stack is shown, and when the session ends by itself.
pub struct View {
    /// Services whose logs are shown.
    pub attach: BTreeSet<String>,
    /// Whether the end of one container is the end of all.
    pub abort: Abort,
    /// The service whose status is ours.
    pub exit_code_from: Option<String>,
    /// How log lines look.
    pub style: LineStyle,
    /// Whether sources are watched once all is up.
    pub sources: bool,
}

/// Whether the end of one container is the end of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Abort {
    Never,
    Exit,
    Failure,
}

/// An attached `up`.
struct Session<'a> {
    context: &'a mut Context,
    stack: &'a Stack,
    view: View,
    /// Services named on the command line; empty means all.
    services: Vec<String>,
    signals: Signals,
    /// While `up` is under way.
    up: Option<Client>,
    watch: Client,
    /// Events that came on `watch` while `up` was under way, which tells the same ones.
    held: Vec<Event>,
    /// The time of the last event shown, or of the list that came before it.
    last: u64,
    /// While the stack is being stopped.
    stop: Option<Client>,
    /// Containers whose program runs, with their services.
    running: BTreeMap<String, String>,
    /// Those of them that have ended and wait for their restart.
    restarting: BTreeSet<String>,
    /// Those that have been told to be killed for want of memory, and not yet to have ended.
    starved: BTreeSet<String>,
    /// While an operation, whoever's it is, has stopped some of them, which it may be about to start anew: those that
    /// have ended meanwhile, with their services and codes.
    unsettled: Option<Vec<(String, String, Option<i32>)>>,
    /// Services of which this session has started a container.
    started: BTreeSet<String>,
    journal: Journal,
    progress: Progress,
    /// Where sources are watched.
    sources: Option<Watcher>,
    interrupts: u32,
    /// The status of the container whose end was the end of all.
    aborted: Option<i32>,
    /// The first status of the service named by `--exit-code-from`.
    from: Option<i32>,
    failed: Option<protocol::Failure>,
}

/// Runs until every container that it is about has ended, or Ctrl-C.
pub fn run(context: &mut Context, stack: &Stack, request: protocol::Up, view: View) -> Result {
    let begun = time::now();
    let services = request.options.services.clone();
    let up = Client::find_or_start(&stack.name)?;
    let (watch, listed) = watching::watch_or_start(&stack.name)?;
    let mut journal = Journal::new(&stack.name, view.style, Span { since: begun, ..Span::ALL }, true)?;
    let mut names = Vec::new();
    for service in stack.services.values().filter(|service| view.attach.contains(&service.name)) {
        for index in 1..=service.replicas {
            let name = stack.container_name(service, index);
            journal.announce(&name);
            names.push(name);
        }
    }
    let (mut running, mut restarting) = (BTreeMap::new(), BTreeSet::new());
    let last = listed.time;
    for container in listed.containers {
        if container.state.is_live() && !container.oneoff {
            if container.state == protocol::State::Restarting {
                restarting.insert(container.name.clone());
            }
            if view.attach.contains(&container.service) {
                journal.add(&container.name, &container.log)?;
            }
            running.insert(container.name, container.service);
        }
    }
    let progress = context.progress(&stack.name, "up", false);
    if !names.is_empty() {
        context.out.note(&format!("Attaching to {}", shortened(&stack.name, &names)));
    }
    // As late as this: the processes behind the stack are started above, and would inherit what is blocked.
    let signals = Signals::take(&[Signal::SIGINT, Signal::SIGTERM])?;
    up.send(&Request::Up(Box::new(request)), &[])?;
    let session = Session {
        context,
        stack,
        view,
        services,
        signals,
        up: Some(up),
        watch,
        held: Vec::new(),
        last,
        stop: None,
        running,
        restarting,
        starved: BTreeSet::new(),
        unsettled: None,
        started: BTreeSet::new(),
        journal,
        progress,
        sources: None,
        interrupts: 0,
        aborted: None,
        from: None,
        failed: None,
    };
    session.run()
}

fn shortened(stack: &str, names: &[String]) -> String {
    let prefix = format!("{stack}-");
    let short: Vec<&str> = names.iter().map(|name| name.strip_prefix(&prefix).unwrap_or(name)).collect();
    short.join(", ")
}

/// What is ready.
#[derive(Default)]
struct Ready {
    signals: bool,
    watch: bool,
    up: bool,
    stop: bool,
    sources: bool,
}

impl Session<'_> {
    fn run(mut self) -> Result {
        let mut more = false;
        while !self.is_over() {
            let ready = self.wait(more)?;
            self.journal.woken()?;
            if ready.signals {
                while let Some(signal) = self.signals.next()? {
                    if self.interrupts >= 2 {
                        return Ok(128 + u8::try_from(signal as i32).unwrap_or(0));
                    }
                    self.interrupt()?;
                }
            }
            if ready.up && self.up.is_some() {
                self.up_answered()?;
            }
            if ready.watch {
                self.watch_told()?;
            }
            if ready.sources
                && let Some(note) = self.sources.as_mut().and_then(Watcher::note)
            {
                watch::tell(self.context, note)?;
            }
            if ready.stop {
                self.stop_answered()?;
            }
            more = self.journal.show_some(u64::MAX, self.context)?;
        }
        if self.catch_up(time::now())? {
            self.context.out.note("There is more output: `compose logs` shows it.");
        }
        if let Some(failure) = self.failed.take() {
            return Err(Error::Refused(failure));
        }
        if self.interrupts > 0 {
            return Ok(INTERRUPTED);
        }
        // The service that was asked for may be none of those that were brought up.
        let code = self.from.or(self.aborted);
        Ok(u8::try_from(code.unwrap_or(0)).unwrap_or(1))
    }

    /// Prints what was written up to a moment; whether some of it is left, as whoever has pressed Ctrl-C does not
    /// want to see gigabytes first.
    fn catch_up(&mut self, time: u64) -> Result<bool> {
        while self.journal.show_some(time, self.context)? {
            let signals = [(self.signals.as_fd(), PollFlags::IN)];
            if self.interrupts > 0 || wait::any(&signals, Some(Duration::ZERO))?.contains(&true) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn is_over(&self) -> bool {
        self.up.is_none() && self.stop.is_none() && (self.failed.is_some() || self.is_stopped())
    }

    fn is_stopped(&self) -> bool {
        // What others keep running is none of an interrupted session's concern.
        self.interrupts > 0
            || self.aborted.is_some()
            || (self.unsettled.is_none() && !self.running.values().any(|service| self.is_about(service)))
    }

    /// Whether the end of this service is ours, as in Docker Compose: those that are named, else those whose logs are
    /// shown, where there are such.
    fn is_about(&self, service: &String) -> bool {
        let (named, shown) = (&self.services, &self.view.attach);
        if named.is_empty() { shown.is_empty() || shown.contains(service) } else { named.contains(service) }
    }

    /// Waits until something happens; only looks where there are `more` lines to show.
    fn wait(&self, more: bool) -> Result<Ready> {
        let stdout = std::io::stdout();
        let mut fds = vec![
            (self.signals.as_fd(), PollFlags::IN),
            (self.watch.as_fd(), PollFlags::IN),
            // Nothing is asked of it: an error is reported anyhow.
            (stdout.as_fd(), PollFlags::empty()),
        ];
        fds.extend(self.journal.as_watch().map(|fd| (fd, PollFlags::IN)));
        let up = self.up.as_ref().map(|client| {
            fds.push((client.as_fd(), PollFlags::IN));
            fds.len() - 1
        });
        let stop = self.stop.as_ref().map(|client| {
            fds.push((client.as_fd(), PollFlags::IN));
            fds.len() - 1
        });
        let sources = self.sources.as_ref().map(|sources| {
            fds.push((sources.as_fd(), PollFlags::IN));
            fds.len() - 1
        });
        let ready = wait::any(&fds, more.then_some(Duration::ZERO))?;
        let is = |place: Option<usize>| place.and_then(|place| ready.get(place)).is_some_and(|ready| *ready);
        if is(Some(2)) {
            return Err(Error::Output(std::io::ErrorKind::BrokenPipe.into()));
        }
        Ok(Ready {
            signals: is(Some(0)),
            watch: is(Some(1)),
            up: is(up),
            stop: is(stop),
            sources: is(sources),
        })
    }
}
