//! How ports of the host come back from a container: kept for another that waits for them, or let go.

use super::Engine;
use super::container::Status;
use super::held::{Held, Tenure, matched, ports_of};

impl Engine {
    /// The ports of a container lead nowhere from now on; those that it is not to have again are for others.
    pub(super) fn close_ports(&self, name: &str) {
        let container = self.container(name);
        let comes_again = container.as_ref().is_some_and(|known| known.record.borrow().history.due.is_some());
        let mut was_led = container.is_some_and(|known| !known.direct.take().is_empty());
        let mut is_free = false;
        if let Some(held) = self.ports.held.borrow_mut().get_mut(name) {
            for held in held {
                was_led |= held.led.is_some();
                held.lead(None);
                if held.tenure == Tenure::Going && !comes_again {
                    held.tenure = Tenure::Free;
                    is_free = true;
                }
            }
        }
        if was_led && !self.sweeping.get() {
            self.refresh_firewall(false);
        }
        if is_free {
            self.drop_ports(name, |held| held.tenure == Tenure::Free && !self.ports.is_awaited(held));
            self.ports.freed.notify_waiters();
        }
    }

    /// A container that was about to be started again is not.
    pub(super) fn give_up_ports(&self, name: &str) {
        self.close_ports(name);
        self.give_back_ports(Some(name));
    }

    /// Gives back those of a container's ports that are to go.
    fn drop_ports(&self, name: &str, goes: impl Fn(&Held) -> bool) {
        let gone: Vec<Held> = {
            let mut all = self.ports.held.borrow_mut();
            let Some(held) = all.get_mut(name) else { return };
            held.extract_if(.., |held| goes(held)).collect()
        };
        if gone.is_empty() {
            return;
        }
        let was_led = gone.iter().any(|held| held.led.is_some());
        gone.into_iter().for_each(Held::close);
        self.keep_rest(name);
        if was_led && !self.sweeping.get() {
            self.refresh_firewall(false);
        }
    }

    /// The operation under way ends no more programs: who waits for the ports of one gives up.
    pub(super) fn stall_ports(&self) {
        self.ports.stalled.set(true);
        self.ports.freed.notify_waiters();
    }

    /// An operation has ended. Ports of containers that neither run nor are about to be started again are given back;
    /// those that do keep what they have come with, whatever the operation had in mind.
    pub(super) fn settle_ports(&self) {
        self.ports.awaited.borrow_mut().clear();
        self.ports.stalled.set(false);
        let names: Vec<String> = self.ports.held.borrow().keys().cloned().collect();
        for name in names.iter().filter(|name| self.needs_ports(name)) {
            let Some(container) = self.container(name) else { continue };
            let mut service = container.record.borrow().service.clone();
            self.leave_leading_ports(&mut service, None);
            if let Some(held) = self.ports.held.borrow_mut().get_mut(name) {
                let (own, _) = matched(held, ports_of(&service));
                for (at, held) in held.iter_mut().enumerate() {
                    held.tenure = if own.contains(&at) { Tenure::Lasting } else { Tenure::Free };
                }
            }
            self.drop_ports(name, |held| held.tenure == Tenure::Free);
        }
        self.give_back_ports(None);
    }

    /// Whether a container is started, or about to be again by its policy.
    fn needs_ports(&self, name: &str) -> bool {
        self.container(name).is_some_and(|container| {
            matches!(
                *container.status.borrow(),
                Status::Starting | Status::Running(_) | Status::Restarting(_)
            )
        })
    }

    /// Gives back the ports of containers that have no need of them, of this one alone where one is named. Those that
    /// another waits for are kept for it while an operation is under way.
    pub(super) fn give_back_ports(&self, of: Option<&str>) {
        let names: Vec<String> = self.ports.held.borrow().keys().cloned().collect();
        for name in names.iter().filter(|name| of.is_none_or(|of| of == *name)) {
            if self.needs_ports(name) || self.ports.awaited.borrow().contains_key(name) {
                continue;
            }
            if let Some(held) = self.ports.held.borrow_mut().get_mut(name) {
                held.iter_mut().for_each(|held| held.tenure = Tenure::Free);
            }
            self.drop_ports(name, |held| !self.ports.is_awaited(held));
            self.ports.freed.notify_waiters();
        }
    }
}
