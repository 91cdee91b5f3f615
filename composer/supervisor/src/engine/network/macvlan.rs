//! Networks whose containers have interfaces of their own on one of the host's: who is on one, and how such interfaces go.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use composer_network::subnets::HOST;
use composer_network::{IpvlanFlag, IpvlanMode, MacvlanMode, Medium, names, remove_inside};
use composer_stack::{Driver, MacvlanMode as Mode, Network, Service};

use super::super::Engine;
use super::super::start::Result;
use super::{Net, doing};
use crate::diagnose;
use crate::host::networks;
use crate::protocol::{Action, Subject};
use crate::records::ContainerRecord;

/// The namespaces of containers that have such an interface, by their names.
pub type Spaces = BTreeMap<String, OwnedFd>;

/// How the kernel calls it.
pub(crate) fn medium(driver: &Driver) -> Medium {
    match driver {
        Driver::Bridge => Medium::Bridge,
        Driver::Macvlan { mode, .. } => Medium::Macvlan(match mode {
            Mode::Bridge => MacvlanMode::Bridge,
            Mode::Vepa => MacvlanMode::Vepa,
            Mode::Private => MacvlanMode::Private,
            Mode::Passthru => MacvlanMode::Passthru,
        }),
        Driver::Ipvlan { mode, flag, .. } => Medium::Ipvlan(
            match mode {
                composer_stack::IpvlanMode::L2 => IpvlanMode::L2,
                composer_stack::IpvlanMode::L3 => IpvlanMode::L3,
                composer_stack::IpvlanMode::L3s => IpvlanMode::L3s,
            },
            match flag {
                composer_stack::IpvlanFlag::Bridge => IpvlanFlag::Bridge,
                composer_stack::IpvlanFlag::Private => IpvlanFlag::Private,
                composer_stack::IpvlanFlag::Vepa => IpvlanFlag::Vepa,
            },
        ),
    }
}

/// The host's interface that a network is: its bridge, or what its containers are on. `stack` is empty of one that stacks
/// share, whose `key` is its name.
pub(crate) fn interface(stack: &str, key: &str, network: &Network) -> String {
    let bridge = || {
        // One that others have joined keeps its bridge when the file gives another name to what is under its key.
        if stack == HOST || network.is_named_by_itself(stack, key) {
            names::bridge(stack, key)
        } else {
            // No key has this character.
            names::bridge(stack, &format!("={}", network.name))
        }
    };
    match (&network.driver, network.driver.parent()) {
        (Driver::Bridge, _) => network.bridge.clone().unwrap_or_else(bridge),
        (_, Some(parent)) => parent.to_owned(),
        (_, None) => names::inner(stack, key),
    }
}

impl Net {
    /// Whether containers have veth pairs on it.
    pub(in super::super) fn has_bridge(&self) -> bool {
        self.bridge.medium == Medium::Bridge
    }
}

impl Engine {
    /// Keeps the namespace of a container that has an interface on one of the host's, so that this can be taken away when
    /// its program has ended; whether it has one.
    pub(in super::super) fn keep_space(&self, name: &str, service: &Service, netns: impl AsFd) -> bool {
        let is_on = |key: &str| self.driver_of(key).is_some_and(|driver| driver != Driver::Bridge);
        if !service.network.attachments().any(|(key, _)| is_on(key)) {
            return false;
        }
        match netns.as_fd().try_clone_to_owned() {
            Ok(netns) => drop(self.spaces.borrow_mut().insert(name.to_owned(), netns)),
            Err(error) => diagnose(&format!("network namespace of {name}: {error}")),
        }
        true
    }

    /// What a network is, as far as that is known.
    fn made_of(&self, key: &str) -> Option<Network> {
        if let Some(net) = self.networks.borrow().get(key) {
            return Some(net.made.clone());
        }
        let made = self.record.borrow().as_ref()?.made.get(key).cloned()?;
        if made.external { networks::read(&made.name).map(|shared| shared.network) } else { Some(made) }
    }

    /// The same where `networks` are those of a file that is not the stack's yet.
    pub(super) fn made_among(
        &self,
        key: &str,
        networks: Option<&BTreeMap<String, Network>>,
    ) -> Option<Network> {
        match networks.and_then(|networks| networks.get(key)) {
            Some(config) if config.external => networks::read(&config.name).map(|shared| shared.network),
            Some(config) => Some(config.clone()),
            None => self.made_of(key),
        }
    }

    /// What a network is made by, as far as that is known.
    pub(super) fn driver_of(&self, key: &str) -> Option<Driver> {
        self.made_of(key).map(|made| made.driver)
    }

    /// Why no port of the host leads to a service: all its networks are internal, or of macvlan or ipvlan. `networks`
    /// are those of a file that is not the stack's yet.
    pub(in super::super) fn unreached(
        &self,
        service: &Service,
        networks: Option<&BTreeMap<String, Network>>,
    ) -> Option<&'static str> {
        let mut on: Vec<Network> = Vec::new();
        for (key, _) in service.network.attachments() {
            on.push(self.made_among(key, networks).filter(|made| !made.leads_in())?);
        }
        match on.iter().any(|made| made.driver == Driver::Bridge) {
            _ if on.is_empty() => None,
            true => {
                Some("internal, which nothing outside reaches; remove `ports`, or add a network that is not")
            }
            false => Some(
                "of `macvlan` or `ipvlan`, where it has an address of its own with all its ports; remove `ports`, or \
                 add a bridge",
            ),
        }
    }

    /// Takes such interfaces of all containers away.
    pub(super) async fn empty_spaces(&self) -> Result<()> {
        let spaces = std::mem::take(&mut *self.spaces.borrow_mut());
        // All begin at once.
        let removals: Vec<_> = spaces.into_values().map(remove_inside).collect();
        let mut outcome = Ok(());
        for removal in removals {
            outcome = outcome.and(removal.await);
        }
        outcome.map_err(|error| doing("remove the interfaces of containers", &error))
    }

    /// Whether somebody has taken such an interface of a container that runs away.
    pub(super) fn lacks_interface(&self, record: &ContainerRecord, key: &str, pid: i32) -> bool {
        let Some(interface) = self.interface_on(record, key) else { return false };
        // What the namespace of the process has (proc_pid_net(5)).
        std::fs::read_to_string(format!("/proc/{pid}/net/dev")).is_ok_and(|devices| {
            !devices.lines().any(|line| {
                line.trim_start().strip_prefix(&interface).is_some_and(|rest| rest.starts_with(':'))
            })
        })
    }

    /// The host's interfaces that the stack's networks are on, by the keys of these.
    pub(super) fn parents(&self) -> BTreeMap<String, String> {
        let record = self.record.borrow();
        let made = record.iter().flat_map(|record| &record.made);
        let own = made.filter(|(_, made)| !made.external && made.driver != Driver::Bridge);
        own.map(|(key, made)| (key.clone(), interface(&self.stack, key, made))).collect()
    }

    /// The lock of the host's interfaces that networks are on: from the moment in which this stack's record names one, others
    /// leave it, or give it to it.
    pub(super) async fn lock_parents(&self) -> Result<networks::Lock> {
        let locked = tokio::task::spawn_blocking(networks::lock_parents).await;
        let locked = locked.map_err(io::Error::other).and_then(|locked| locked);
        locked.map_err(|error| doing("lock the interfaces of the host that networks are on", &error))
    }

    /// Tells of an interface of the host's that nothing passes.
    pub(super) async fn tell_if_down(&self, network: &Network, parent: &str) {
        if let Ok(true) = self.host.is_down(parent).await {
            let name = &network.name;
            let text = format!(
                "the host's interface {parent} is down: over it containers reach nobody; `ip link set {parent} up` raises it"
            );
            self.announce(Subject::Network(name.clone()), Action::Warning(text));
        }
    }

    /// Gives what others are on as well to them, where it was made for a network of the stack: it would go with the stack's
    /// links. To be done under [`Engine::lock_parents`].
    pub(super) async fn pass_parents_on(&self) -> Result<()> {
        let Some(group) = self.registry.held_group(&self.stack).ok().flatten() else { return Ok(()) };
        for parent in self.parents().into_values() {
            if let Some(heir) = networks::heir(&self.registry, &parent, &self.stack) {
                let passed = self.host.pass_parent(&parent, group, heir).await;
                passed.map_err(|error| doing(&format!("leave interface {parent} to others"), &error))?;
            }
        }
        Ok(())
    }

    /// Removes what a network of the stack is on, where it was made for it and nobody else is on it.
    #[allow(clippy::await_holding_invalid_type)] // whoever waits for it does on a thread
    pub(super) async fn remove_parent(&self, key: &str) -> Result<()> {
        let mut parents = self.parents();
        let Some(parent) = parents.remove(key) else { return Ok(()) };
        let _lock = self.lock_parents().await?;
        self.pass_parents_on().await?;
        if parents.values().any(|other| *other == parent) {
            return Ok(());
        }
        let removed = self.host.remove_parent(&parent, self.link_group()?).await;
        removed.map_err(|error| doing(&format!("remove interface {parent}"), &error))
    }
}
