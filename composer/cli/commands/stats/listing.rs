//! The containers of a stack, kept up to date by what the supervisor tells of: it is asked only when something has
//! happened.

use std::os::fd::{AsFd, BorrowedFd};

use composer_supervisor::client::{self, Client};
use composer_supervisor::protocol::{Action, ContainerStatus, Reply, Subject};

use crate::commands::context;
use crate::commands::watching;
use crate::commands::{Error, Result};

/// What is known of a stack's containers.
pub struct Listing {
    stack: String,
    /// None while nothing is known of the stack.
    client: Option<Client>,
    /// In the order of their names.
    pub containers: Vec<ContainerStatus>,
    stale: bool,
}

impl Listing {
    /// Of a stack, whether it is there or not.
    pub fn open(stack: &str) -> Result<Self> {
        let mut listing = Self { stack: stack.to_owned(), client: None, containers: Vec::new(), stale: true };
        listing.refresh()?;
        Ok(listing)
    }

    /// Readable when [`Listing::hear`] has something to hear.
    pub fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.client.as_ref().map(AsFd::as_fd)
    }

    /// Takes one thing in that has happened.
    pub fn hear(&mut self) -> Result<()> {
        let Some(client) = &self.client else { return Ok(()) };
        match client.next() {
            Ok(Some((Reply::Event(event), _))) => {
                let is_container = match event.subject {
                    Subject::Container { .. } | Subject::OneOff { .. } => true,
                    Subject::Group | Subject::Network(_) | Subject::Volume(_) => false,
                };
                self.stale |= is_container && changes(&event.action);
            }
            Ok(Some((Reply::Failed(failure), _))) => return Err(Error::Refused(failure)),
            Ok(Some((Reply::Done, _))) | Err(client::Error::Gone(_)) => {
                self.client = None;
                self.stale = true;
            }
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Brings the list up to date; whether anything may have changed.
    pub fn refresh(&mut self) -> Result<bool> {
        if self.client.is_some() && !self.stale {
            return Ok(false);
        }
        self.stale = false;
        if self.client.is_some() {
            self.containers = context::containers(&self.stack)?;
        } else {
            self.containers = Vec::new();
            if let Some((client, listed)) = watching::watch(&self.stack)? {
                (self.client, self.containers) = (Some(client), listed.containers);
            }
        }
        self.containers.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(true)
    }
}

/// Whether a list of containers may say something else after it.
fn changes(action: &Action) -> bool {
    !matches!(
        action,
        Action::Exec(_) | Action::Waiting | Action::Healthy | Action::Unhealthy { .. } | Action::Warning(_)
    )
}
