//! A stack that is short of memory: the kernel says so, and it is told as an event of those containers that wait for it.
//!
//! v2 says who waits (PSI). v1 says that it has reclaimed and found little (`memory.pressure_level`), which page cache alone
//! sets off as well: there whoever is nearly full of what cannot be reclaimed is short, and nobody else.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use composer_cgroup::{PressureWatch, Shortage};
use composer_stack::show_bytes;
use tokio::io::Interest;

use super::container::Container;
use super::oom::{NAMED, and_more};
use super::{Engine, asyncfd};
use crate::diagnose;
use crate::protocol::Action;

/// A shortage that lasts is told of no more often than this.
const PAUSE: Duration = Duration::from_secs(10);
/// Between two looks at a stack that fills with page cache, which wakes all the time; and so long after limits were lowered
/// the kernel may tell of what it has reclaimed for them.
const PACE: Duration = Duration::from_secs(1);
/// Who has waited for memory for less since it was last told of is not who is short: in microseconds.
const LEAST: u64 = 50_000;
/// On cgroup v1 nobody says who waits: whoever has as much of his limit without page cache, in percent.
const FULL: u64 = 90;

/// Pressure that the supervisor itself has brought about, by lowering limits.
#[derive(Default)]
pub struct OwnDoing {
    now: std::cell::Cell<u32>,
    last: std::cell::Cell<Option<Instant>>,
}

/// For as long as limits are being lowered.
pub(super) struct Lowering<'a>(&'a OwnDoing);

impl Drop for Lowering<'_> {
    fn drop(&mut self) {
        self.0.now.set(self.0.now.get() - 1);
        self.0.last.set(Some(Instant::now()));
    }
}

impl OwnDoing {
    /// Limits are about to be lowered.
    pub(super) fn begins(&self) -> Lowering<'_> {
        self.now.set(self.now.get() + 1);
        Lowering(self)
    }

    fn is_it(&self) -> bool {
        self.now.get() > 0 || self.last.get().is_some_and(|last| last.elapsed() < PACE)
    }
}

/// Who is short: for which share of the last 10 seconds in percent, where that is known, and of how much.
struct Short {
    share: Option<u32>,
    details: Option<String>,
}

/// How long containers had waited for memory when they were last looked at, in microseconds.
type Waited = BTreeMap<String, u64>;

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
        let mut waited = Waited::new();
        loop {
            woken.ready(interest | Interest::ERROR).await?.clear_ready();
            watch.take();
            let group = self.cgroups.group(&self.group_path());
            if !group.exists() {
                return Ok(());
            }
            let is_own = self.own_doing.is_it();
            let is_told = !is_own && self.tell_short(&group.shortage().unwrap_or_default(), &mut waited);
            if is_told || !watch.is_urgent() {
                tokio::time::sleep(if is_told { PAUSE } else { PACE }).await;
            }
            if is_told || is_own {
                // What has come meanwhile is of what was told, and may be over. What lasts comes again.
                for container in self.of_services(&[]) {
                    self.has_waited(&container, &mut waited);
                }
                let passed = woken.ready(interest | Interest::ERROR);
                if let Ok(passed) = tokio::time::timeout(Duration::ZERO, passed).await {
                    passed?.clear_ready();
                }
                watch.take();
            }
        }
    }

    /// Tells of whoever is short; whether somebody is.
    fn tell_short(&self, stack: &Shortage, waited: &mut Waited) -> bool {
        let short: Vec<_> = self
            .of_services(&[])
            .into_iter()
            .filter_map(|container| {
                let short = self.short_of_memory(&container, waited)?;
                Some((container, short))
            })
            .collect();
        let of = || "memory".to_owned();
        let is_full = is_full(stack);
        let is_only_the_stack = short.is_empty() && (is_full || stack.reached.is_some());
        let is_told = is_only_the_stack || !short.is_empty();
        if is_full || is_only_the_stack {
            let details = Some(self.who_has_what(stack));
            self.announce_stack(Action::Pressure { of: of(), share: None, details });
        }
        for (container, Short { share, details }) in short {
            self.announce_container(&container, Action::Pressure { of: of(), share, details });
        }
        is_told
    }

    /// Whether a container is short of memory.
    fn short_of_memory(&self, container: &Container, waited: &mut Waited) -> Option<Short> {
        container.live.borrow().as_ref()?;
        if let Some((more, share)) = self.has_waited(container, waited) {
            return (more >= LEAST).then_some(Short { share: Some(share), details: None });
        }
        container.limits().memory?;
        let now = self.container_group(&container.name()).shortage().ok()?;
        is_full(&now).then(|| Short { share: None, details: Some(has_of_its_limit(&now)) })
    }

    /// For how long a container has waited since it was last looked at, in microseconds, and for which share of the last 10
    /// seconds; `None` on v1.
    fn has_waited(&self, container: &Container, waited: &mut Waited) -> Option<(u64, u32)> {
        let name = container.name();
        let pressure = self.container_group(&name).memory_pressure().ok()??;
        let before = waited.insert(name, pressure.some.total).unwrap_or_default();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is 0 to 100")]
        let share = pressure.some.avg10.round() as u32;
        Some((pressure.some.total.saturating_sub(before), share))
    }

    /// What the stack has of its limit, and who has most of it.
    fn who_has_what(&self, stack: &Shortage) -> String {
        let containers = self.of_services(&[]);
        let live = containers.iter().filter(|container| container.live.borrow().is_some());
        let mut having: Vec<(u64, String)> = live
            .filter_map(|container| {
                let now = self.container_group(&container.name()).shortage().ok()?;
                Some((now.fixed, self.called(container)))
            })
            .collect();
        having.sort_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
        let more = having.len().saturating_sub(NAMED);
        let named = having.iter().take(NAMED).map(|(bytes, name)| format!("{name} {}", show_bytes(*bytes)));
        let names: Vec<String> = named.chain(and_more(more)).collect();
        format!("{}; {}", has_of_its_limit(stack), names.join(", "))
    }
}

/// Whether what cannot be reclaimed of a group nearly fills its limit.
fn is_full(now: &Shortage) -> bool {
    now.limit.is_some_and(|limit| now.fixed >= limit / 100 * FULL)
}

fn has_of_its_limit(now: &Shortage) -> String {
    let has = format!("it has {} without page cache", show_bytes(now.fixed));
    now.limit.map_or_else(|| has.clone(), |limit| format!("{has}, of its limit of {}", show_bytes(limit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_cache_fills_nothing() {
        let group = |fixed, limit| Shortage { current: 64 << 20, fixed, limit, ..Shortage::default() };
        assert!(!is_full(&group(1 << 20, Some(64 << 20))));
        assert!(is_full(&group(60 << 20, Some(64 << 20))));
        assert!(!is_full(&group(60 << 20, None)));
    }
}
