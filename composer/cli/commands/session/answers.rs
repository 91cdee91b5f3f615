//! What the supervisor answers to `up` and to `stop`, and tells whoever watches.

use std::os::fd::AsFd;
use std::time::Duration;

use composer_supervisor::client;
use composer_supervisor::protocol::Reply;
use rustix::event::PollFlags;

use super::Session;
use crate::commands::{Error, Result, up, wait, watching};
use crate::watch::Watcher;

impl Session<'_> {
    pub(super) fn up_answered(&mut self) -> Result<()> {
        let Some(up) = &self.up else { return Ok(()) };
        let Some((reply, _)) = up.next()? else { return Ok(()) };
        if matches!(reply, Reply::Done) {
            self.tell_unchanged();
        }
        match reply {
            Reply::Event(event) => return self.happened(&event),
            Reply::Waits(holder) => {
                self.progress.waits(&holder, &mut self.context.out);
                return Ok(());
            }
            Reply::Done if self.view.sources => {
                let sources = Watcher::start(self.stack, &self.services).map_err(Error::Usage)?;
                self.sources = Some(sources);
                self.context.out.note("Watch enabled");
            }
            Reply::Done => {}
            Reply::Failed(failure) => self.failed = Some(failure),
            Reply::Plan(_)
            | Reply::Containers { .. }
            | Reply::Attached(_)
            | Reply::Executing { .. }
            | Reply::Paused(_)
            | Reply::Exited { .. }
            | Reply::Begun { .. }
            | Reply::Hold => return Ok(()),
        }
        self.up = None;
        self.context.let_go();
        self.release()
    }

    /// Names the containers that were running and up to date, as `up -d` does.
    fn tell_unchanged(&mut self) {
        for (name, service) in &self.running {
            let wanted = self.services.is_empty() || self.services.contains(service);
            if wanted && !self.started.contains(service) && !self.restarting.contains(name) {
                let event = up::running(name.clone(), service.clone());
                self.progress.event(&event, &mut self.context.out);
            }
        }
    }

    /// Shows the events that `up` has not told any more.
    pub(super) fn release(&mut self) -> Result<()> {
        let last = self.last;
        for event in std::mem::take(&mut self.held).iter().filter(|event| event.time > last) {
            self.happened(event)?;
        }
        Ok(())
    }

    pub(super) fn watch_told(&mut self) -> Result<()> {
        match self.watch.receive() {
            Ok((Reply::Event(event), _)) if self.up.is_some() => self.held.push(event),
            Ok((Reply::Event(event), _)) if event.time > self.last => self.happened(&event)?,
            Ok(_) => {}
            // The supervisor has died; what runs has not noticed.
            Err(client::Error::Gone(_)) => self.reconnect()?,
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn reconnect(&mut self) -> Result<()> {
        // What others had under way has died with it; our `up` is asked for again.
        if self.up.is_none() {
            self.settle()?;
        }
        let Some((watch, listed)) = watching::watch(&self.stack.name)? else {
            self.running.clear();
            return Ok(());
        };
        self.watch = watch;
        let told = listed.time;
        for event in watching::missed(listed, self.last, &self.running, &self.restarting) {
            self.happened(&event)?;
        }
        self.last = told;
        Ok(())
    }

    pub(super) fn stop_answered(&mut self) -> Result<()> {
        let Some(stop) = &self.stop else {
            return Ok(());
        };
        let Some((reply, _)) = stop.next()? else { return Ok(()) };
        match reply {
            Reply::Done => {}
            Reply::Failed(failure) => self.failed = Some(failure),
            // `watch` tells the same events.
            Reply::Event(_)
            | Reply::Plan(_)
            | Reply::Containers { .. }
            | Reply::Attached(_)
            | Reply::Executing { .. }
            | Reply::Paused(_)
            | Reply::Exited { .. }
            | Reply::Waits(_)
            | Reply::Begun { .. }
            | Reply::Hold => return Ok(()),
        }
        self.stop = None;
        // The last events were told before the answer: they are there already.
        while wait::any(&[(self.watch.as_fd(), PollFlags::IN)], Some(Duration::ZERO))?.contains(&true) {
            self.watch_told()?;
        }
        Ok(())
    }
}
