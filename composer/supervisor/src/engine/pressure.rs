//! A stack that is short of memory: the kernel says so, and it is told as an event of those containers that wait for it.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::Duration;

use composer_cgroup::PressureWatch;
use tokio::io::Interest;

use super::container::Container;
use super::{Engine, asyncfd};
use crate::diagnose;
use crate::protocol::Action;

/// A shortage that lasts is told of no more often than this.
const PAUSE: Duration = Duration::from_secs(10);
/// Who has waited for memory for less since it was last told of is not who is short: in microseconds.
const LEAST: u64 = 50_000;
/// On cgroup v1 nobody says who waits: whoever uses as much of his limit, in percent.
const FULL: u64 = 90;

impl Engine {
    /// Tells of shortages of memory from now on, for as long as the stack's group is there. One watch is enough for all
    /// that is inside it.
    pub(super) fn watch_pressure(self: &Rc<Self>) {
        let is_watched = self.pressure.borrow().as_ref().is_some_and(|task| !task.is_finished());
        let group = self.cgroups.group(&self.group_path());
        if is_watched || !group.exists() {
            return;
        }
        match group.watch_pressure() {
            Ok(Some(watch)) => {
                let engine = Rc::clone(self);
                let task = tokio::task::spawn_local(async move {
                    if let Err(error) = engine.tell_of_pressure(watch).await {
                        diagnose(&format!("pressure of memory: {error}"));
                    }
                });
                *self.pressure.borrow_mut() = Some(task.abort_handle());
            }
            // Such a host is named by `doctor`.
            Ok(None) => {}
            Err(error) => diagnose(&format!("pressure of memory: {error}")),
        }
    }

    /// The group is about to go.
    pub(super) fn forget_pressure(&self) {
        if let Some(task) = self.pressure.borrow_mut().take() {
            task.abort();
        }
    }

    async fn tell_of_pressure(self: &Rc<Self>, watch: PressureWatch) -> std::io::Result<()> {
        let interest = if watch.is_urgent() { Interest::PRIORITY } else { Interest::READABLE };
        let woken = asyncfd::waited_for(watch.as_fd().try_clone_to_owned()?, interest | Interest::ERROR)?;
        let mut told = BTreeMap::new();
        loop {
            woken.ready(interest | Interest::ERROR).await?.clear_ready();
            watch.take();
            if !self.cgroups.group(&self.group_path()).exists() {
                return Ok(());
            }
            let short: Vec<_> = self
                .of_services(&[])
                .into_iter()
                .filter_map(|container| {
                    let share = self.short_of_memory(&container, &mut told)?;
                    Some((container, share))
                })
                .collect();
            if short.is_empty() {
                self.announce_stack(Action::Pressure { of: "memory".to_owned(), share: None });
            }
            for (container, share) in short {
                self.announce_container(&container, Action::Pressure { of: "memory".to_owned(), share });
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Whether a container is short of memory, and for which share of the last 10 seconds, in percent, where the kernel
    /// says so.
    fn short_of_memory(
        &self,
        container: &Container,
        told: &mut BTreeMap<String, u64>,
    ) -> Option<Option<u32>> {
        container.live.borrow().as_ref()?;
        let name = container.name();
        let meter = self.container_group(&name).meter().ok()?;
        let reading = meter.read(false, &mut Vec::new()).ok()?;
        let Some(pressure) = reading.pressure.get("memory") else {
            let limit = reading.memory.limit?;
            return (reading.memory.usage >= limit / 100 * FULL).then_some(None);
        };
        let before = told.insert(name, pressure.some.total).unwrap_or_default();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is 0 to 100")]
        let share = pressure.some.avg10.round() as u32;
        (pressure.some.total.saturating_sub(before) >= LEAST).then_some(Some(share))
    }
}
