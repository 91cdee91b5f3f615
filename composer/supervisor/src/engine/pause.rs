//! Holding containers where they are. The kernel's freezer is the truth; what is in memory follows it.

use std::rc::Rc;

use composer_stack::Stack;

use super::Engine;
use super::container::Container;
use super::operations::{Operation, failure};
use crate::diagnose;
use crate::protocol::{Action, Failure, Pause, Reply};

impl Engine {
    /// `compose pause` and `compose unpause`. Containers that do not run are passed over, as in Docker Compose.
    pub(super) async fn pause_services(
        self: &Rc<Self>,
        request: &Pause,
        operation: &Operation,
    ) -> Result<Option<Reply>, Failure> {
        // Not held in the midst of an operation that starts or stops them; let go at any time: the operation may wait
        // for just that.
        let _turn = if request.hold {
            Some(self.take_turn(operation).await?)
        } else {
            self.need_no_turn(operation)?;
            None
        };
        self.known(&request.services)?;
        let mut messages = Vec::new();
        for container in self.of_services(&request.services) {
            if container.live.borrow().is_none() {
                continue;
            }
            let paused = *container.paused.borrow();
            let done = match (request.hold, paused) {
                // The supervisor that has died had come so far.
                (true, true) | (false, false) if operation.is_asked_again() => Ok(()),
                (true, true) => Err(format!("container {} is already paused", container.name())),
                (false, false) => Err(format!("container {} is not paused", container.name())),
                (true, false) => self.pause(&container).await,
                (false, true) => self.unpause(&container),
            };
            messages.extend(done.err());
        }
        if messages.is_empty() { Ok(None) } else { Err(failure(messages.join("\n"))) }
    }

    pub(super) async fn pause(&self, container: &Rc<Container>) -> Result<(), String> {
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
        self.has_been_let_go(container);
        self.announce_container(container, Action::Unpaused);
        Ok(())
    }

    /// Fails where one of these services, or of what they depend on in the file, has a container that is held: starting
    /// it would wait for ever, and letting it go is the user's to say. Those that a plan `replaces` are none of them.
    pub(super) fn none_held(
        &self,
        stack: Option<&Stack>,
        (services, dependencies): (&[String], bool),
        replaces: &[&String],
    ) -> Result<(), Failure> {
        let mut wanted = services.to_vec();
        let mut next = 0;
        while dependencies && next < wanted.len() {
            let service = stack.and_then(|stack| stack.services.get(&wanted[next]));
            let needed = service.into_iter().flat_map(|service| service.depends_on.keys());
            let new: Vec<_> = needed.filter(|name| !wanted.contains(name)).cloned().collect();
            wanted.extend(new);
            next += 1;
        }
        let known = |service: &String| stack.is_none_or(|stack| stack.services.contains_key(service));
        let held = self.of_services(&wanted).into_iter().filter(|container| {
            // One that is held for want of memory may be about to be given more.
            *container.paused.borrow()
                && container.memory.held().is_none()
                && known(&container.record.borrow().service.name)
                && !replaces.contains(&&container.name())
        });
        let messages: Vec<String> = held.map(|container| held_back(&container)).collect();
        if messages.is_empty() { Ok(()) } else { Err(failure(messages.join("\n"))) }
    }

    /// Asks the kernel about a container that an earlier supervisor left.
    pub(super) fn see_whether_paused(&self, container: &Container) {
        match self.container_group(&container.name()).is_frozen() {
            Ok(paused) => drop(container.paused.send_replace(paused)),
            Err(error) => diagnose(&format!("whether {} is paused: {error}", container.name())),
        }
    }
}

/// Why a container that is held is not waited for.
pub(super) fn held_back(container: &Container) -> String {
    let record = container.record.borrow();
    if container.memory.held().is_some() {
        let (name, service) = (&record.name, &record.service.name);
        return format!(
            "container {name} is paused, as it has run out of memory: raise its limit, or `compose unpause {service}`"
        );
    }
    format!("container {} is paused: `compose unpause {}` it first", record.name, record.service.name)
}
