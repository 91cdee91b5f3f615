//! What happens to containers, told between the lines of their logs (`logs --marks`).

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use composer_supervisor::events::{Happening, Reader};
use composer_supervisor::host;
use composer_supervisor::protocol::Action;

use super::sources::Span;
use super::{Result, doing};
use crate::render::Prefixes;
use crate::time;

/// The marks of some containers, in the order of their times.
pub struct Marks {
    reader: Reader,
    span: Span,
    /// Services named; empty means all.
    services: Vec<String>,
    /// Names of containers, where one replica alone is wanted.
    containers: Option<Vec<String>>,
    ahead: VecDeque<Happening>,
    /// Whether a mark says itself when it was.
    timed: bool,
}

impl Marks {
    /// Opens a stack's.
    pub fn open(stack: &str, span: Span, services: Vec<String>, index: Option<u32>) -> Result<Self> {
        let of_index = |index: u32| {
            let members = host::stack(stack)?.containers.into_iter();
            Ok(members.filter(|member| member.index == index).map(|member| member.name).collect())
        };
        let containers =
            index.map(of_index).transpose().map_err(|error: host::Error| super::Error::Host(error))?;
        let reader = Reader::open(stack).map_err(doing("watch the stack's events"))?;
        Ok(Self { reader, span, services, containers, ahead: VecDeque::new(), timed: true })
    }

    /// Leaves the times out where `--timestamps` puts them before every line.
    pub fn with_timestamps(self, timestamps: bool) -> Self {
        Self { timed: !timestamps, ..self }
    }

    /// Leaves out what was before the first line shown; what is still to come is shown in any case.
    pub fn begin_at(&mut self, time: u64) {
        self.span.since = self.span.since.max(time.min(crate::time::now()));
    }

    /// Takes in what has happened.
    pub fn read(&mut self) -> io::Result<()> {
        let mut happenings = Vec::new();
        self.reader.read(&mut happenings)?;
        let wanted = |happening: &Happening| {
            let chosen = self.containers.as_ref().is_none_or(|names| names.contains(&happening.container));
            let named = self.services.is_empty() || self.services.contains(&happening.service);
            let is_container = !happening.container.is_empty();
            is_container && chosen && named && (self.span.since..=self.span.until).contains(&happening.time)
        };
        self.ahead.extend(happenings.into_iter().filter(wanted));
        Ok(())
    }

    /// Appends those up to a moment.
    pub fn append(&mut self, until: u64, prefixes: &Prefixes, out: &mut Vec<u8>) {
        while let Some(happening) = self.ahead.pop_front_if(|happening| happening.time <= until) {
            if let Some(words) = words(&happening.action) {
                let text = match self.timed {
                    true => format!("=== {} {words} ===", time::with_zone(happening.time)),
                    false => format!("=== {words} ==="),
                };
                prefixes.line(&happening.container, happening.time, text.as_bytes(), out);
            }
        }
    }

    /// Takes the pending wake-ups.
    pub fn woken(&mut self) -> io::Result<()> {
        self.reader.woken()
    }
}

impl AsFd for Marks {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}

/// What a mark says; `None` for what is none.
fn words(action: &Action) -> Option<String> {
    let told = match action {
        Action::Started { .. } => "started".to_owned(),
        Action::Exited { code: Some(code) } => format!("exited with code {code}"),
        Action::Exited { code: None } => "exited with a code that nobody knows".to_owned(),
        Action::Restarting { code, restarts, .. } => {
            let code = code.map_or("a code that nobody knows".to_owned(), |code| format!("code {code}"));
            format!("exited with {code}, restart {restarts} follows")
        }
        Action::Healthy => "healthy".to_owned(),
        Action::Unhealthy { output } => {
            let line = output.lines().map(str::trim).find(|line| !line.is_empty());
            line.map_or_else(|| "unhealthy".to_owned(), |line| format!("unhealthy: {line}"))
        }
        Action::Updated { limits } if !limits.is_empty() => {
            let words = limits.iter().map(|one| format!("{} {} -> {}", one.limit, one.from, one.to));
            words.collect::<Vec<_>>().join(", ")
        }
        Action::Paused => "paused".to_owned(),
        Action::Unpaused => "unpaused".to_owned(),
        Action::OutOfMemory(told) => format!("out of memory: {}", told.text),
        Action::Removed => "removed".to_owned(),
        Action::Killed { signal } => format!("signal {signal}"),
        Action::Creating
        | Action::Created
        | Action::Restarted
        | Action::Updated { .. }
        | Action::Starting
        | Action::Running
        | Action::Waiting
        | Action::Stopping
        | Action::Stopped
        | Action::Removing
        | Action::Exec(_)
        | Action::Settled
        | Action::Warning(_)
        | Action::Failed(_) => return None,
    };
    Some(told)
}
