//! How an attached `up` ends what it has started.

use std::collections::BTreeSet;
use std::os::fd::AsFd;
use std::time::Duration;

use composer_supervisor::client::Client;
use composer_supervisor::protocol::{Kill, Reply, Request, Stop};
use nix::sys::signal::Signal;
use rustix::event::PollFlags;

use super::Session;
use crate::commands::{Result, wait};

impl Session<'_> {
    pub(super) fn interrupt(&mut self) -> Result<()> {
        self.interrupts += 1;
        if self.interrupts == 1 {
            return self.stop_own("Gracefully stopping... (press Ctrl+C again to force)");
        }
        self.context.out.note("Killing...");
        let services = self.ours();
        if let Some(client) = Client::find(&self.stack.name)? {
            client.send(&Request::Kill(Kill { services, signal: Signal::SIGKILL as i32 }), &[])?;
            while let Reply::Event(_) = client.receive()?.0 {}
        }
        Ok(())
    }

    /// Says that what this session has started is stopped, and does it, where it may have started something.
    pub(super) fn stop_own(&mut self, note: &str) -> Result<()> {
        if self.gives_up_waiting()? {
            return Ok(());
        }
        self.context.out.note(note);
        self.stop_all()
    }

    /// Abandons an `up` that still waits for its turn: what runs is none of its doing. Whether it did.
    fn gives_up_waiting(&mut self) -> Result<bool> {
        while let Some(up) = &self.up
            && wait::any(&[(up.as_fd(), PollFlags::IN)], Some(Duration::ZERO))?.contains(&true)
        {
            self.up_answered()?;
        }
        let waits = self.up.as_ref().is_some_and(|up| !up.has_begun());
        if waits {
            self.up = None;
            self.release()?;
        }
        Ok(waits)
    }

    /// Abandons `up`, where it is under way, and stops what it has started.
    fn stop_all(&mut self) -> Result<()> {
        if self.up.take().is_some() {
            self.release()?;
        }
        if self.stop.is_none()
            && let Some(client) = Client::find(&self.stack.name)?
        {
            client.send(&Request::Stop(Stop { services: self.ours(), ..Stop::default() }), &[])?;
            self.stop = Some(client);
        }
        Ok(())
    }

    /// The services that are this session's to stop: those it was asked for, and those it had to start for them.
    /// Empty means all.
    fn ours(&self) -> Vec<String> {
        if self.services.is_empty() {
            return Vec::new();
        }
        self.services.iter().chain(&self.started).cloned().collect::<BTreeSet<_>>().into_iter().collect()
    }
}
