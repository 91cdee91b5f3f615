//! What events mean to an attached `up`: which containers run, whose end is the end of all.

use composer_stack::Condition;
use composer_supervisor::paths::StackPaths;
use composer_supervisor::protocol::{Action, Event, Outcome, Subject};

use super::{Abort, Session};
use crate::commands::Result;

impl Session<'_> {
    /// Shows what has happened, and does what it asks for.
    pub(super) fn happened(&mut self, event: &Event) -> Result<()> {
        self.last = self.last.max(event.time);
        // Whoever has asked for a container of `run` sees it.
        if matches!(event.subject, Subject::OneOff { .. }) {
            return Ok(());
        }
        // Docker Compose tells of a container's end among the log lines.
        if !matches!(event.action, Action::Exited { .. } | Action::Restarting { .. }) {
            self.progress.event(event, &mut self.context.out);
        }
        match &event.subject {
            Subject::Container { name, service } => self.happened_to(name, service, event),
            _ if event.action == Action::Settled => self.settle(),
            _ => Ok(()),
        }
    }

    fn happened_to(&mut self, name: &str, service: &String, event: &Event) -> Result<()> {
        match &event.action {
            Action::Created => self.journal.remove(name),
            Action::Started { .. } => self.has_started(name, service)?,
            Action::Exited { code } => self.has_ended(name, service, *code, event.time)?,
            Action::Restarting { code, .. } => self.is_restarting(name, service, *code, event.time)?,
            Action::OutOfMemory(told) => {
                if told.outcome == Outcome::Killed {
                    self.starved.insert(name.to_owned());
                }
            }
            // One that waited for its restart does not end a second time.
            Action::Stopped if self.restarting.remove(name) => {
                self.running.remove(name);
            }
            Action::Stopping if self.running.contains_key(name) => {
                self.unsettled.get_or_insert_default();
            }
            Action::Removed => {
                self.catch_up(event.time)?;
                self.journal.remove(name);
                self.running.remove(name);
            }
            Action::Creating
            | Action::Starting
            | Action::Running
            | Action::Updated { .. }
            | Action::Pressure { .. }
            | Action::Restarted
            | Action::Waiting
            | Action::Healthy
            | Action::Unhealthy { .. }
            | Action::Stopping
            | Action::Stopped
            | Action::Removing
            | Action::Killed { .. }
            | Action::Paused
            | Action::Unpaused
            | Action::Exec(_)
            | Action::Settled
            | Action::Warning(_)
            | Action::Failed(_) => {}
        }
        Ok(())
    }

    /// Adds a container's log to those that are shown, where it is to be shown; whether it is.
    fn show(&mut self, name: &str, service: &str, ended: bool) -> Result<bool> {
        if !self.view.attach.contains(service) {
            return Ok(false);
        }
        self.journal.add(name, StackPaths::new(&self.stack.name).container(name).log())?;
        self.journal.set_ended(name, ended);
        Ok(true)
    }

    fn has_started(&mut self, name: &str, service: &str) -> Result<()> {
        self.running.insert(name.to_owned(), service.to_owned());
        self.restarting.remove(name);
        self.started.insert(service.to_owned());
        self.show(name, service, false).map(drop)
    }

    fn has_ended(&mut self, name: &str, service: &String, code: Option<i32>, time: u64) -> Result<()> {
        self.running.remove(name);
        if self.view.attach.contains(service) {
            self.journal.set_ended(name, true);
            self.catch_up(time)?;
            let starved = self.starved.remove(name);
            self.journal.tell_end(name, code, false, starved, self.context)?;
        }
        if self.is_asked_for(service) {
            // As Docker Compose: the first of its containers to end.
            self.from.get_or_insert(code.unwrap_or(1));
        }
        match &mut self.unsettled {
            Some(ended) => ended.push((name.to_owned(), service.clone(), code)),
            None => self.exited(service, code)?,
        }
        Ok(())
    }

    /// An end all the same for `--abort-on-container-exit` and the like, as in Docker Compose.
    fn is_restarting(&mut self, name: &str, service: &String, code: Option<i32>, time: u64) -> Result<()> {
        self.running.insert(name.to_owned(), service.to_owned());
        self.restarting.insert(name.to_owned());
        if self.show(name, service, true)? {
            self.catch_up(time)?;
            let starved = self.starved.remove(name);
            self.journal.tell_end(name, code, true, starved, self.context)?;
        }
        if self.is_asked_for(service) {
            self.from = Some(code.unwrap_or(1));
        }
        if self.unsettled.is_none() {
            self.exited(service, code)?;
        }
        Ok(())
    }

    /// Whether the status of this service is to be ours.
    fn is_asked_for(&self, service: &str) -> bool {
        self.view.exit_code_from.as_deref() == Some(service)
    }

    /// An operation is over: what it has not started anew has ended for good.
    pub(super) fn settle(&mut self) -> Result<()> {
        for (name, service, code) in self.unsettled.take().unwrap_or_default() {
            if !self.running.contains_key(&name) {
                self.exited(&service, code)?;
            }
        }
        Ok(())
    }

    /// Ends the session where the end of this service's container is to be the end of all.
    fn exited(&mut self, service: &String, code: Option<i32>) -> Result<()> {
        if !self.is_about(service) {
            return Ok(());
        }
        let code = code.unwrap_or(1);
        let ends = match self.view.abort {
            Abort::Never => false,
            // One that others wait for has to end: that is its success.
            Abort::Exit => code != 0 || !self.is_awaited(service),
            Abort::Failure => code != 0,
        };
        if ends && self.aborted.is_none() && self.interrupts == 0 {
            self.aborted = Some(code);
            self.stop_own("Aborting on container exit...")?;
        }
        Ok(())
    }

    fn is_awaited(&self, service: &str) -> bool {
        let mut dependencies = self.stack.services.values().filter_map(|other| other.depends_on.get(service));
        dependencies.any(|dependency| dependency.condition == Condition::CompletedSuccessfully)
    }
}
