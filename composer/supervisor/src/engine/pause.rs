//! Holding containers where they are. The kernel's freezer is the truth; what is in memory follows it.

use std::rc::Rc;

use super::Engine;
use super::container::Container;
use super::operations::failure;
use crate::diagnose;
use crate::protocol::{Action, Failure, Pause, Reply};

impl Engine {
    /// `compose pause` and `compose unpause`. Containers that do not run are passed over, as in Docker Compose.
    pub(super) async fn pause_services(self: &Rc<Self>, request: &Pause) -> Result<Option<Reply>, Failure> {
        // Not in the midst of an operation that starts or stops them.
        let _turn = self.turn.lock().await;
        self.known(&request.services)?;
        let mut messages = Vec::new();
        for container in self.of_services(&request.services) {
            if container.live.borrow().is_none() {
                continue;
            }
            let paused = *container.paused.borrow();
            let done = match (request.hold, paused) {
                (true, true) => Err(format!("container {} is already paused", container.name())),
                (false, false) => Err(format!("container {} is not paused", container.name())),
                (true, false) => self.pause(&container).await,
                (false, true) => self.unpause(&container),
            };
            messages.extend(done.err());
        }
        if messages.is_empty() { Ok(None) } else { Err(failure(messages.join("\n"))) }
    }

    async fn pause(&self, container: &Rc<Container>) -> Result<(), String> {
        let name = container.name();
        // Probes rest from here on: one that is held tells nothing.
        container.paused.send_replace(true);
        let group = self.container_group(&name);
        // The kernel may take its time; others are served meanwhile.
        let held = tokio::task::spawn_blocking(move || group.freeze()).await;
        let held =
            held.map_err(|error| error.to_string()).and_then(|held| held.map_err(|error| error.to_string()));
        if let Err(error) = held {
            container.paused.send_replace(false);
            return Err(format!("pause {name}: {error}"));
        }
        if !*container.paused.borrow() {
            // It was killed, or has ended, meanwhile.
            return self.container_group(&name).thaw().map_err(|error| format!("unpause {name}: {error}"));
        }
        self.announce_container(container, Action::Paused);
        Ok(())
    }

    /// Lets a container go on; nothing where it is not held.
    pub(super) fn unpause(&self, container: &Container) -> Result<(), String> {
        if !*container.paused.borrow() {
            return Ok(());
        }
        let name = container.name();
        self.container_group(&name).thaw().map_err(|error| format!("unpause {name}: {error}"))?;
        container.paused.send_replace(false);
        self.announce_container(container, Action::Unpaused);
        Ok(())
    }

    /// Asks the kernel about a container that an earlier supervisor left.
    pub(super) fn see_whether_paused(&self, container: &Container) {
        match self.container_group(&container.name()).is_frozen() {
            Ok(paused) => drop(container.paused.send_replace(paused)),
            Err(error) => diagnose(&format!("whether {} is paused: {error}", container.name())),
        }
    }
}
