//! Limits of bandwidth, of containers and of the stack: brought into force before a container's program, changed while it
//! runs, and taken away.

use std::collections::BTreeSet;

use composer_network::{Direction, Error, FIRST_CLASS, LAST_CLASS, Rates, Shaped, Shaper, names};
use composer_stack::{Bandwidth, Driver, NetworkMode, Service};

use super::Engine;
use super::container::Container;
use super::start::{Result, StartError};
use crate::diagnose;
use crate::host::networks;

/// Of Ethernet, and so of networks where nobody has chosen another.
const MTU: u32 = 1500;

fn rates(bandwidth: Bandwidth) -> Rates {
    Rates { ingress: bandwidth.ingress, egress: bandwidth.egress }
}

impl Engine {
    /// Has what limits need be there before anything starts, says what the kernel lacks, and has a changed cap be in
    /// force on what runs.
    pub(super) async fn bring_bandwidth(&self) -> Result<()> {
        self.refuse_unbridged()?;
        self.unlimited.set(false);
        for direction in Direction::BOTH {
            if !self.is_limited(direction) {
                continue;
            }
            self.shaped.set(true);
            match self.host.bring_shaper(self.shaper()?, direction).await {
                Ok(_) => {}
                Err(error @ Error::NoShaping { .. }) => self.tell_unlimited(&error),
                Err(error) => return Err(StartError::doing("set up the limits of bandwidth", &error)),
            }
        }
        // Anew each time: somebody may have taken away what leads a link through its device.
        if self.shaped.get() {
            self.limit_all_but(None).await?;
        }
        self.tidy_bandwidth().await;
        Ok(())
    }

    /// Has the limits of a container be in force on its links; and those of all others, where somebody had taken away the
    /// device that their links led to.
    pub(super) async fn limit_bandwidth(&self, container: &Container, service: &Service) -> Result<()> {
        if self.limit_one(container, service).await? {
            // Its record may have its limits of before.
            self.limit_all_but(Some(&container.name())).await?;
        }
        Ok(())
    }

    /// Has the limits of all that runs but one be in force, and gives what does not run its number.
    async fn limit_all_but(&self, one: Option<&str>) -> Result<()> {
        let containers: Vec<_> = self.containers.borrow().values().cloned().collect();
        for container in containers.iter().filter(|other| one != Some(other.name().as_str())) {
            let service = container.record.borrow().service.clone();
            if container.live.borrow().is_some() {
                self.limit_one(container, &service).await?;
            } else {
                self.number(container, &service)?;
            }
        }
        Ok(())
    }

    /// Whether a device had to be made for it.
    async fn limit_one(&self, container: &Container, service: &Service) -> Result<bool> {
        let name = container.name();
        let failed =
            |error: &dyn std::fmt::Display| StartError::doing(&format!("{name}: limit its bandwidth"), error);
        self.number(container, service)?;
        let Some(class) = container.record.borrow().class else { return Ok(false) };
        let NetworkMode::Networks(_) = service.network else { return Ok(false) };
        let (veths, mtu) = self.links_of(&name, service);
        let shaped = Shaped { class, veths, mtu, rates: rates(service.bandwidth) };
        self.shaped.set(true);
        match self.host.shape(self.shaper()?, shaped).await {
            Err(error @ Error::NoShaping { .. }) => {
                self.tell_unlimited(&error);
                Ok(false)
            }
            outcome => outcome.map_err(|error| failed(&error)),
        }
    }

    /// The numbers of the containers that run whose limits somebody has taken apart.
    pub(super) async fn lacking_limits(&self) -> BTreeSet<u16> {
        if !self.shaped.get() || self.unlimited.get() {
            return BTreeSet::new();
        }
        let all: Vec<Shaped> = {
            let containers = self.containers.borrow();
            let running = containers.values().filter(|container| container.live.borrow().is_some());
            let shaped = running.filter_map(|container| {
                let record = container.record.borrow();
                let class = record.class?;
                let (veths, mtu) = self.links_of(&record.name, &record.service);
                Some(Shaped { class, veths, mtu, rates: rates(record.service.bandwidth) })
            });
            shaped.collect()
        };
        let Ok(shaper) = self.shaper() else { return BTreeSet::new() };
        self.host.unshaped(shaper, all).await.unwrap_or_else(|error| {
            diagnose(&format!("limits of bandwidth: {error}"));
            BTreeSet::new()
        })
    }

    /// Gives a container that is limited, and has none, the number of a class. It keeps it, whatever becomes of its limits.
    pub(super) fn number(&self, container: &Container, service: &Service) -> Result<()> {
        if container.record.borrow().class.is_some() {
            return Ok(());
        }
        let class = self.class_for(service)?;
        if class.is_none() {
            return Ok(());
        }
        let mut record = container.record.borrow_mut();
        record.class = class;
        let written = record.rewrite(&container.paths);
        written.map_err(|error| StartError::doing(&format!("{}: write its record", record.name), &error))
    }

    /// The number of a class for a new container, where it is limited: the lowest that nobody has.
    pub(super) fn class_for(&self, service: &Service) -> Result<Option<u16>> {
        let is_limited = !service.bandwidth.is_none() || !self.cap().is_none();
        if !is_limited || !matches!(service.network, NetworkMode::Networks(_)) {
            return Ok(None);
        }
        let containers = self.containers.borrow();
        let taken: BTreeSet<u16> =
            containers.values().filter_map(|container| container.record.borrow().class).collect();
        let free = (FIRST_CLASS..=LAST_CLASS).find(|class| !taken.contains(class));
        let most = LAST_CLASS - FIRST_CLASS + 1;
        free.map(Some).ok_or_else(|| StartError {
            help: Some("remove containers of it, or take limits away and remake them".to_owned()),
            ..StartError::new(format!(
                "limit the bandwidth of {}: {most} containers of the stack are limited, as many as can be",
                service.name
            ))
        })
    }

    /// Takes a container's class away, whose links are going.
    pub(super) async fn unlimit_bandwidth(&self, container: &Container) {
        let Some(class) = container.record.borrow().class else { return };
        if let Err(error) = self.host.unshape(&self.stack, class).await {
            // The next container of that number makes it anew.
            diagnose(&format!("limits of the bandwidth of {}: {error}", container.name()));
        }
    }

    /// Takes away the devices of directions in which nothing is limited any more.
    pub(super) async fn tidy_bandwidth(&self) {
        let unused: Vec<_> = Direction::BOTH.into_iter().filter(|way| !self.is_limited(*way)).collect();
        if unused.is_empty() || !self.shaped.get() {
            return;
        }
        match self.host.remove_shaper(&self.stack, &unused).await {
            Ok(()) => self.shaped.set(unused.len() < Direction::BOTH.len()),
            Err(error) => diagnose(&format!("limits of bandwidth: {error}")),
        }
    }

    fn cap(&self) -> Bandwidth {
        self.record.borrow().as_ref().map(|record| record.bandwidth).unwrap_or_default()
    }

    fn shaper(&self) -> Result<Shaper> {
        Ok(Shaper { stack: self.stack.clone(), group: self.link_group()?, cap: rates(self.cap()) })
    }

    /// Whether anybody with links of its own is limited, of those who are there and those who are to come.
    fn is_limited(&self, direction: Direction) -> bool {
        let cap = rates(self.cap()).of(direction).is_some();
        let has = |service: &Service| {
            matches!(service.network, NetworkMode::Networks(_))
                && (cap || rates(service.bandwidth).of(direction).is_some())
        };
        self.record.borrow().iter().any(|record| record.services.values().any(has))
            || self.containers.borrow().values().any(|container| has(&container.record.borrow().service))
    }

    /// Refuses limits of services on networks that others have made, and that are no bridges, which the file does not
    /// show.
    fn refuse_unbridged(&self) -> Result<()> {
        let record = self.record.borrow();
        let Some(record) = &*record else { return Ok(()) };
        for service in record.services.values() {
            let networks =
                service.network.attachments().filter_map(|(key, _)| Some((key, record.networks.get(key)?)));
            let unbridged = networks.filter(|(_, network)| network.external).find(|(_, network)| {
                networks::read(&network.name).is_some_and(|shared| shared.network.driver != Driver::Bridge)
            });
            let Some((key, _)) = unbridged else { continue };
            let name = &service.name;
            let why = format!("the packets of the network `{key}` do not pass the host");
            if !service.bandwidth.is_none() {
                return Err(StartError {
                    at: ["services", name, "x-bandwidth"].map(str::to_owned).into(),
                    help: Some("remove `x-bandwidth`, or use a bridge".to_owned()),
                    ..StartError::new(format!("the bandwidth of `{name}` cannot be limited: {why}"))
                });
            }
            if !record.bandwidth.is_none() {
                let what = "`limits.bandwidth` of the stack does not count what it receives and sends there";
                self.warn_once(name, &format!("{what}: {why}"));
            }
        }
        Ok(())
    }

    /// The host's ends of a container's links, and the largest packet on any of them.
    fn links_of(&self, name: &str, service: &Service) -> (Vec<String>, u32) {
        let networks = self.networks.borrow();
        let on = service.network.attachments().filter_map(|(key, _)| Some((key, networks.get(key)?)));
        // Others have no end on the host: see the check of the file.
        let bridged: Vec<_> = on.filter(|(_, net)| net.has_bridge()).collect();
        let mtu = bridged.iter().map(|(_, net)| net.bridge.mtu.unwrap_or(MTU)).max();
        let veths = bridged.iter().map(|(key, _)| names::veth(&self.stack, name, key));
        (veths.collect(), mtu.unwrap_or(MTU))
    }

    /// Says once of each limit that it is not in force.
    fn tell_unlimited(&self, error: &Error) {
        self.unlimited.set(true);
        let limited: Vec<String> = {
            let record = self.record.borrow();
            let services = record.iter().flat_map(|record| record.services.values());
            services
                .filter(|service| !service.bandwidth.is_none())
                .map(|service| service.name.clone())
                .collect()
        };
        for service in limited {
            self.warn_once(&service, &format!("`x-bandwidth` of {service} is not in force: {error}"));
        }
        if !self.cap().is_none() {
            self.warn_once("x-resources", &format!("`limits.bandwidth` is not in force: {error}"));
        }
    }
}
