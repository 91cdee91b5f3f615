//! Networks that are no stack's own: those that `compose network create` has made, or another stack.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::rc::Rc;

use composer_network::BridgeSpec;
use composer_network::dns::Neighbours;
use composer_stack::{Attachment, Network, NetworkKeys, Stack};

use super::super::Engine;
use super::super::container::Container;
use super::super::start::{Result, StartError};
use super::addresses::Refused;
use super::{Net, addresses, doing};
use crate::host::networks::{self, HostNetwork};
use crate::protocol::{Action, Subject};
use crate::records::Address;
use crate::{diagnose, paths};

impl Engine {
    /// The bridge of a network of the host, where this is one or is called as one; whoever uses it first makes it. `None` of
    /// one that is the stack's own.
    pub(super) async fn join_shared(
        &self,
        key: &str,
        config: &mut Network,
    ) -> Result<Option<(BridgeSpec, HostNetwork)>> {
        let name = config.name.clone();
        let failed = |error: &dyn std::fmt::Display| doing(&format!("join network {name}"), error);
        if !config.external && self.has_own(key, config) {
            return Ok(None);
        }
        let joined = networks::join(&name).map_err(|error| failed(&error))?;
        let Some((record, lock)) = joined else {
            return match config.external {
                true if config.by_name => self.make_own(key, config).map(|()| None),
                true => Err(missing(key, &name)),
                false => Ok(None),
            };
        };
        if !config.external {
            (config.external, config.by_name) = (true, true);
        }
        self.record_made(key, config)?;
        drop(lock);
        if record.is_of(&self.stack)
            && record.of.as_ref().is_some_and(|giver| !giver.asked.serves(&own(config)))
        {
            let text = format!(
                "network {name} stays as it was made: other stacks have joined it; what the file says of it now takes effect \
                 by the first `up` that finds this stack alone on it"
            );
            self.announce(Subject::Network(name.clone()), Action::Warning(text));
        }
        let spec = networks::spec(&self.host, &self.registry, &record, self.is_on(key)).await;
        let spec = spec.map_err(|error| doing(&format!("set up network {name}"), &error))?;
        Ok(Some((spec, record)))
    }

    /// The last of those who shared a network of this name has gone meanwhile: it is the stack's own now.
    fn make_own(&self, key: &str, config: &mut Network) -> Result<()> {
        let name = &config.name;
        let claimed = networks::claim(std::slice::from_ref(name), &self.stack);
        let claimed = claimed.map_err(|error| doing(&format!("keep the name of network {name}"), &error))?;
        let _names = claimed.map_err(|elsewhere| {
            let stack = elsewhere.stack;
            StartError::new(format!(
                "stack {stack} makes the network {name} in this moment: `up` again to be on it"
            ))
        })?;
        *config = own(config);
        self.record_made(key, config)?;
        self.know_own_names();
        Ok(())
    }

    /// Whether the stack has made a network of its own by this name under this key.
    fn has_own(&self, key: &str, network: &Network) -> bool {
        let record = self.record.borrow();
        let made = record.as_ref().and_then(|record| record.made.get(key));
        made.is_some_and(|made| !made.external && made.name == network.name)
    }

    /// Has the networks of a stack have the keys that those have which it has made: by their names they are the same ones.
    pub(in super::super) fn unite_networks(&self, stack: &mut Stack) -> NetworkKeys {
        let record = self.record.borrow();
        stack.unite_networks(|name| {
            let mut made = record.as_ref()?.made.iter();
            made.find(|(_, network)| network.name == name).map(|(key, _)| key.clone())
        })
    }

    /// Has a stack use networks that stacks share where its file names one of them without `external`, as Docker does, and
    /// those that it has given others; what is to be told of the first.
    pub(in super::super) fn share_by_name(&self, stack: &mut Stack) -> Result<Vec<String>> {
        let mut notes = Vec::new();
        for (key, network) in stack.networks.iter_mut() {
            if network.by_name {
                *network = own(network);
            }
            if network.external {
                continue;
            }
            let name = &network.name;
            let Some(shared) = networks::read(name).filter(|_| !self.has_own(key, network)) else { continue };
            if shared.is_of(&self.stack) {
                if !self.still_serves(key, network, &shared)? {
                    continue;
                }
            } else {
                let maker = match &shared.of {
                    Some(giver) => format!("stack {}", giver.stack),
                    None => "`compose network create`".to_owned(),
                };
                notes.push(format!(
                    "network {name} is one that {maker} has made, and is used as it is, whatever this file says of it: say \
                     `external: true` at networks.{key}, or give this one another `name`"
                ));
            }
            (network.external, network.by_name) = (true, true);
        }
        Ok(notes)
    }

    /// Has the stack be on a network that stacks share no more. A container of `run` that is on it keeps it: plans know
    /// nothing of these.
    pub(in super::super) async fn leave_network(&self, key: &str) -> Result<()> {
        self.all_unplugged().await;
        let _giving = self.giving.read().await;
        let made = self.record.borrow().as_ref().and_then(|record| record.made.get(key).cloned());
        let Some(made) = made.filter(|made| made.external) else { return Ok(()) };
        let asks_for_it = |container: &Rc<Container>| {
            container.record.borrow().service.network.attachments().any(|(other, _)| other == key)
        };
        if self.containers.borrow().values().any(asks_for_it) {
            return Ok(());
        }
        // As long as it is known which bridges the rules are about.
        let is_last = self.networks.borrow().keys().all(|other| other == key);
        if is_last {
            self.remove_firewall()?;
        }
        self.unmake_network(key, &made).await?;
        if is_last { Ok(()) } else { self.open_network() }
    }

    /// An address that no container of any stack has.
    pub(super) fn shared_address(
        &self,
        container: &str,
        net: &Net,
        at: &Attachment,
        had: Address,
        used: &mut BTreeSet<IpAddr>,
    ) -> std::result::Result<Address, Refused> {
        let owner = self.owner(container);
        networks::take(&net.config.name, &owner, |others| {
            used.extend(others.iter().map(|(address, _)| *address));
            let holder = |wanted| networks::holder(&others, wanted);
            addresses::choose(&net.bridge.subnets, at, had, used, holder)
        })
    }

    /// Has others get the addresses that a container had on networks of the host.
    pub(in super::super) fn give_back_of(&self, container: &str) -> Result<()> {
        let owner = self.owner(container);
        self.give_back(|other| other == owner)
    }

    /// Has the others know of the stack's names on networks of the host what is so, where its supervisor has died before.
    pub(in super::super) fn renew_shared_names(&self) {
        for (key, name) in self.shared() {
            let networks = self.networks.borrow();
            let renewed = match networks.get(&key).and_then(|net| net.neighbours.as_ref()) {
                Some(neighbours) => neighbours.publish(),
                None => Neighbours::forget(&paths::shared_names(&name), &self.stack),
            };
            if let Err(error) = renewed {
                diagnose(&format!("names on network {name}: {error}"));
            }
        }
    }

    /// Has the others forget all names of the stack.
    pub(super) fn forget_shared_names(&self) -> Result<()> {
        for (_, name) in self.shared() {
            Neighbours::forget(&paths::shared_names(&name), &self.stack)
                .map_err(|error| doing(&format!("leave network {name}"), &error))?;
        }
        Ok(())
    }

    /// The networks of the host that the stack is on: keys and names.
    pub(super) fn shared(&self) -> Vec<(String, String)> {
        let record = self.record.borrow();
        let made = record.iter().flat_map(|record| &record.made);
        made.filter(|(_, network)| network.external)
            .map(|(key, network)| (key.clone(), network.name.clone()))
            .collect()
    }

    /// The same of all containers of the stack.
    pub(super) fn give_shared_back(&self) -> Result<()> {
        let prefix = self.owner("");
        self.give_back(|other| other.starts_with(&prefix))
    }

    /// The same on one of them.
    pub(super) fn give_back_on(&self, network: &str) -> std::io::Result<()> {
        let prefix = self.owner("");
        networks::give_back(network, |other| other.starts_with(&prefix))
    }

    fn give_back(&self, is_ours: impl Fn(&str) -> bool) -> Result<()> {
        for (_, name) in self.shared() {
            networks::give_back(&name, &is_ours)
                .map_err(|error| doing(&format!("give addresses of network {name} back"), &error))?;
        }
        Ok(())
    }

    /// Neither name has a slash.
    pub(super) fn owner(&self, container: &str) -> String {
        format!("{}/{container}", self.stack)
    }
}

/// What the file says of a network that is another's by its name.
fn own(network: &Network) -> Network {
    Network { external: false, by_name: false, ..network.clone() }
}

/// Why an external network cannot be joined.
pub(super) fn missing(key: &str, name: &str) -> StartError {
    StartError {
        at: ["networks", key].map(str::to_owned).to_vec(),
        help: Some(format!("make it first: `compose network create {name}`")),
        ..StartError::new(format!("network {name} is external, and there is none of that name"))
    }
}
