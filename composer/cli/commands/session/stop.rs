//! How an attached `up` ends what it has started.

use std::collections::BTreeSet;

use composer_supervisor::client::Client;
use composer_supervisor::protocol::{Kill, Reply, Request, Stop};
use nix::sys::signal::Signal;

use super::Session;
use crate::commands::Result;

impl Session<'_> {
    pub(super) fn interrupt(&mut self) -> Result<()> {
        self.interrupts += 1;
        if self.interrupts == 1 {
            self.context.out.note("Gracefully stopping... (press Ctrl+C again to force)");
            return self.stop_all();
        }
        self.context.out.note("Killing...");
        let services = self.ours();
        if let Some(client) = Client::find(&self.stack.name)? {
            client.send(&Request::Kill(Kill { services, signal: Signal::SIGKILL as i32 }), &[])?;
            while let Reply::Event(_) = client.receive()?.0 {}
        }
        Ok(())
    }

    /// Abandons `up`, where it is under way, and stops what it has started.
    pub(super) fn stop_all(&mut self) -> Result<()> {
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
