//! What networks cannot have is told before anything is made: a subnet or a bridge that is another's, an address that
//! another stack has, the network of a container that there is none of. It is asked again when it is taken.

use std::collections::BTreeSet;

use composer_network::Taken;
use composer_network::subnets::{HOST, Lease};
use composer_plan::{Plan, Step};
use composer_stack::{Driver, Network, NetworkMode, Service, Stack};

use super::super::Engine;
use super::super::start::{Result, StartError};
use super::shared::missing;
use super::{addresses, claimable, doing, interface, no_subnets, not_set_up, subnet};
use crate::host::networks::{self, HostNetwork};
use crate::protocol::Failure;

impl Engine {
    /// Looks at every network that a plan makes, and at what the containers that it starts want of others'.
    pub(in super::super) async fn check_networks(
        &self,
        plan: &Plan,
        stack: Option<&Stack>,
    ) -> std::result::Result<(), Failure> {
        let failure = |error: StartError| Failure { code: 1, ..Failure::from(&error) };
        let steps = || plan.steps().into_iter().map(|id| &plan.get(id).step);
        let seen_to: BTreeSet<&str> = steps()
            .filter_map(|step| match step {
                Step::Network(key) => Some(key.as_str()),
                _ => None,
            })
            .collect();
        for key in seen_to.iter().copied() {
            let known = || self.record.borrow().as_ref()?.networks.get(key).cloned();
            let config = stack.and_then(|stack| stack.networks.get(key).cloned()).or_else(known);
            match config {
                Some(config)
                    if config.external && !config.by_name && networks::read(&config.name).is_none() =>
                {
                    return Err(failure(missing(key, &config.name)));
                }
                Some(config) if !config.external => {
                    self.check_network(key, &config, &seen_to).await.map_err(failure)?;
                }
                Some(_) | None => {}
            }
        }
        let made: BTreeSet<&String> = steps()
            .filter_map(|step| match step {
                Step::Create { container, .. } | Step::Recreate { container, .. } => Some(container),
                _ => None,
            })
            .collect();
        let started = self.to_start(plan, stack);
        self.check_room(plan, stack, &started).map_err(failure)?;
        for (name, service) in started {
            self.check_addresses(&name, &service, stack).map_err(failure)?;
            if let NetworkMode::Container(other) = &service.network
                && !made.contains(other)
            {
                let found = self.host_of(&service.network).map(drop);
                found.map_err(|error| failure(of_container(&name, &service, error)))?;
            }
        }
        Ok(())
    }

    async fn check_network(&self, key: &str, config: &Network, seen_to: &BTreeSet<&str>) -> Result<()> {
        let name = interface(&self.stack, key, config);
        let back = self.taken_back(key, config);
        let had = back.as_ref().filter(|back| back.network.bridge.as_ref() == Some(&name));
        let holder = had.map_or_else(|| self.stack.clone(), |back| networks::group_key(&back.network.name));
        let group = self.registry.held_group(&holder);
        let group = group.map_err(|error| doing("look for the stack's link group", &error))?;
        if config.driver == Driver::Bridge {
            let free = self.host.check_bridge(&name, group.unwrap_or_default()).await;
            free.map_err(|error| not_set_up(key, config, config, &error))?;
        }
        if matches!(config.driver, Driver::Ipvlan { .. }) {
            let can = self.host.check_ipvlan().await;
            can.map_err(|error| not_set_up(key, config, config, &error))?;
        }
        if config.ipam.is_empty() {
            return Ok(());
        }
        let held = self.registry.held(&self.stack, key);
        let held = held.map_err(|error| doing("look for the stack's subnets", &error))?;
        let in_use = self.in_use(key, config, &name).await?;
        let taken = self.in_the_way(config, back.as_ref()).await?;
        for pool in claimable(config).filter(|pool| !in_use || !held.contains(&pool.subnet)) {
            // Of one that is made anew the subnet is given back first.
            let goes = |lease: &Lease| {
                let goes_back = back.as_ref().is_some_and(|back| back.network.name == lease.network);
                (lease.stack == self.stack && seen_to.contains(lease.network.as_str()))
                    || (lease.stack == HOST && goes_back)
            };
            let free = self.registry.check(key, pool.subnet, &taken.in_the_way_of(pool.subnet), goes);
            free.map_err(|error| no_subnets(key, config, error))?;
        }
        Ok(())
    }

    /// The addresses that a container is to have on networks that stacks share.
    fn check_addresses(&self, name: &str, service: &Service, stack: Option<&Stack>) -> Result<()> {
        for (key, at) in service.network.attachments() {
            let network = stack.and_then(|stack| stack.networks.get(key)).filter(|network| network.external);
            let Some(record) = network.and_then(|network| networks::read(&network.name)) else { continue };
            let subnets: Vec<_> = record.network.ipam.iter().map(subnet).collect();
            let had =
                self.container(name).and_then(|known| known.record.borrow().addresses.get(key).copied());
            let others = networks::addresses_of_others(&record.network.name, &self.stack);
            let used = others.iter().map(|(address, _)| *address).collect();
            let holder = |wanted| networks::holder(&others, wanted);
            let chosen = addresses::choose(&subnets, at, had.unwrap_or_default(), &used, holder);
            let network = &record.network.name;
            chosen.map_err(|refused| refused.told(name, &service.name, (key, network)))?;
        }
        Ok(())
    }

    /// What keeps a network from a subnet, besides other networks: routes that do not lead to one of the stack's own.
    async fn in_the_way(&self, config: &Network, back: Option<&HostNetwork>) -> Result<Taken> {
        let reserved = networks::reserved(back.map_or("", |back| &back.network.name));
        if config.driver != Driver::Bridge {
            return Ok(reserved.into_iter().collect());
        }
        let mut bridges: Vec<String> = {
            let record = self.record.borrow();
            let made = record.iter().flat_map(|record| &record.made);
            made.filter(|(_, made)| !made.external && made.driver == Driver::Bridge)
                .map(|(key, made)| interface(&self.stack, key, made))
                .collect()
        };
        bridges.extend(back.and_then(|back| back.network.bridge.clone()));
        let bridges: Vec<&str> = bridges.iter().map(String::as_str).collect();
        let taken = self.host.taken(&bridges).await;
        let mut taken = taken.map_err(|error| doing("list the host's routes", &error))?;
        taken.extend(reserved);
        Ok(taken)
    }
}

fn of_container(name: &str, service: &Service, error: StartError) -> StartError {
    let at = ["services", &service.name, "network_mode"].map(str::to_owned).into();
    StartError { at, ..StartError::new(format!("{name}: {}", error.message)) }
}
