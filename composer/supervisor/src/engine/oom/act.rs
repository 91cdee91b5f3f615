//! What `raise` and `pause` do, and who is told.

use std::rc::Rc;

use composer_cgroup::Shortage;
use composer_stack::{OomPolicy, show_bytes};

use super::super::container::Container;
use super::super::{Engine, group};
use super::{Held, raised_to};
use crate::diagnose;
use crate::protocol::{Action, Outcome, Shortage as Told};

impl Engine {
    /// Raises the limit of a container by a step; where it is as high as it may be, its policy is spent.
    pub(super) fn raise(self: &Rc<Self>, container: &Rc<Container>, step: u64, max: u64) {
        let resources = container.record.borrow().service.resources.clone();
        let old = container.limits();
        let Some(from) = old.memory else { return };
        let cap = self.record.borrow().as_ref().and_then(|record| record.resources.memory);
        let to = from.saturating_add(step).min(max).min(cap.unwrap_or(u64::MAX));
        if to <= from {
            return container.change_memory(|state| state.spent = true);
        }
        let new = group::limits_in_force(&raised_to(&resources, Some(to)));
        if let Err(error) = self.container_group(&container.name()).update(&old, &new) {
            let text = format!("its limit of memory could not be raised to {}: {error}", show_bytes(to));
            self.announce_container(container, Action::Warning(text));
            return container.change_memory(|state| state.spent = true);
        }
        container.change_memory(|state| state.raised = Some(to));
        let called = self.called(container);
        let text = format!(
            "the memory limit of {called} was raised from {} to {}",
            show_bytes(from),
            show_bytes(to)
        );
        self.tell_shortage(container, Told { outcome: Outcome::Raised { from, to }, text });
    }

    /// Has a container held; when it stands still is seen later.
    pub(super) async fn hold(self: &Rc<Self>, container: &Rc<Container>, now: &Shortage) {
        let short = self.what_is_short(container);
        container.change_memory(|state| {
            (state.held, state.short) = (Some(Held::Pausing), Some(short.clone()));
        });
        // Probes rest from here on: one that is held tells nothing.
        container.paused.send_replace(true);
        let group = self.container_group(&container.name());
        // Moving processes on v1 may take its time; others are served meanwhile.
        let asked = tokio::task::spawn_blocking(move || group.begin_freeze()).await;
        let asked = asked.map_err(|error| error.to_string());
        if let Err(error) = asked.and_then(|asked| asked.map_err(|error| error.to_string())) {
            let _ = self.container_group(&container.name()).thaw();
            container.paused.send_replace(false);
            container.change_memory(|state| (state.held, state.spent) = (None, true));
            let text = format!("it could not be paused when it ran out of memory: {error}");
            return self.announce_container(container, Action::Warning(text));
        }
        if !*container.paused.borrow() {
            // It has been let go meanwhile, or is to end.
            if let Err(error) = self.container_group(&container.name()).thaw() {
                diagnose(&format!("unpause {}: {error}", container.name()));
            }
            return;
        }
        if now.waits {
            diagnose(&format!("{} had its limit reached before it could be held", container.name()));
        }
        let text = format!("{} is being paused: {short}", self.called(container));
        self.tell_shortage(container, Told { outcome: Outcome::Pausing, text });
    }

    /// Lets a container go on that was held for want of memory.
    pub(super) fn thaw(&self, container: &Container) -> Result<(), String> {
        let name = container.name();
        self.container_group(&name).thaw().map_err(|error| format!("unpause {name}: {error}"))?;
        container.change_memory(|state| state.held = None);
        container.paused.send_replace(false);
        self.announce_container(container, Action::Unpaused);
        Ok(())
    }

    /// A user lets a container go on: one that was held for want of memory is watched again once it has room.
    pub(in super::super) fn has_been_let_go(&self, container: &Container) {
        if container.memory.held().is_some() {
            container.change_memory(|state| (state.held, state.spent) = (None, true));
        }
        container.memory.changed.notify_one();
    }

    /// A container has taken over other limits, or another policy. What it had been raised to holds on where its limit is
    /// the same as before.
    pub(in super::super) fn memory_has_changed(self: &Rc<Self>, container: &Rc<Container>, is_limit: bool) {
        container.change_memory(|state| {
            state.spent = false;
            if is_limit {
                state.raised = None;
            }
        });
        if container.live.borrow().is_some() {
            let now = self.shortage(container);
            let is_held = container.memory.held().is_some();
            if is_held && container.record.borrow().service.oom.policy != OomPolicy::Pause {
                self.thaw(container).unwrap_or_else(|error| diagnose(&error));
            }
            self.let_go_with_room(container, &now);
        }
        container.memory.changed.notify_one();
        self.choose_victim();
    }

    /// Tells everybody that a policy has acted.
    pub(in super::super) fn tell_shortage(self: &Rc<Self>, container: &Rc<Container>, told: Told) {
        self.run_memory_hook(container, &told);
        self.announce_container(container, Action::OutOfMemory(told));
    }
}
