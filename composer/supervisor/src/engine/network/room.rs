//! That a network whose subnets are chosen has an address for each container that a plan starts. What the file says alone
//! is told when it is read; here is what flags, containers that are there and other stacks make of it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use composer_network::addresses::Subnet;
use composer_plan::{Plan, Step};
use composer_stack::{Network, Service, Stack};

use super::super::Engine;
use super::super::start::{Result, StartError};
use super::addresses::fixed;
use super::{claimable, subnet};
use crate::host::networks;

impl Engine {
    /// Counts the addresses that the containers to be started want of each network.
    pub(super) fn check_room(
        &self,
        plan: &Plan,
        stack: Option<&Stack>,
        started: &[(String, Service)],
    ) -> Result<()> {
        let mut on: BTreeMap<&str, Vec<&(String, Service)>> = BTreeMap::new();
        for one in started {
            for (key, _) in one.1.network.attachments() {
                on.entry(key).or_default().push(one);
            }
        }
        for (key, started) in on {
            let known = || self.record.borrow().as_ref()?.networks.get(key).cloned();
            let config = stack.and_then(|stack| stack.networks.get(key).cloned()).or_else(known);
            let Some(config) = config else { continue };
            let made = if config.external {
                networks::read(&config.name).map(|shared| shared.network)
            } else {
                None
            };
            let made = made.as_ref().unwrap_or(&config);
            let used = self.left_used(plan, stack, (key, &config), &started);
            for pool in claimable(made) {
                let subnet = subnet(pool);
                let is_v4 = subnet.net.addr().is_ipv4();
                let wants = |(_, service): &&&(String, Service)| {
                    !fixed(service, key).iter().any(|address| address.is_ipv4() == is_v4)
                };
                let wanted = started.iter().filter(wants).count() as u128;
                let free = subnet.room(&used);
                if wanted > free {
                    return Err(too_many(key, &config, &subnet, (wanted, free), started[0]));
                }
            }
        }
        Ok(())
    }

    /// The addresses on a network that others keep while a plan is carried out: other stacks, containers that are not
    /// touched, and services that choose.
    fn left_used(
        &self,
        plan: &Plan,
        stack: Option<&Stack>,
        (key, config): (&str, &Network),
        started: &[&(String, Service)],
    ) -> BTreeSet<IpAddr> {
        let steps = plan.steps().into_iter().map(|id| &plan.get(id).step);
        let mut going: BTreeSet<&str> = steps
            .filter_map(|step| match step {
                Step::Recreate { old: going, .. } | Step::Remove { container: going, .. } => {
                    Some(going.as_str())
                }
                _ => None,
            })
            .collect();
        going.extend(started.iter().map(|(name, _)| name.as_str()));
        let mut used = BTreeSet::new();
        for (name, container) in &*self.containers.borrow() {
            if !going.contains(name.as_str()) {
                used.extend(
                    container.record.borrow().addresses.get(key).iter().flat_map(|address| address.all()),
                );
            }
        }
        let services = stack.into_iter().flat_map(|stack| stack.services.values());
        used.extend(services.flat_map(|service| fixed(service, key)));
        used.extend(started.iter().flat_map(|(_, service)| fixed(service, key)));
        if config.external {
            let others = networks::addresses_of_others(&config.name, &self.stack);
            used.extend(others.into_iter().map(|(address, _)| address));
        }
        used
    }
}

fn too_many(
    key: &str,
    config: &Network,
    subnet: &Subnet,
    (wanted, free): (u128, u128),
    (_, service): &(String, Service),
) -> StartError {
    let at = if config.external {
        ["services", &service.name, "networks", key].map(str::to_owned).to_vec()
    } else {
        let place = config.ipam.iter().position(|pool| pool.subnet == subnet.net).unwrap_or_default();
        let what = if subnet.range == subnet.net { "subnet" } else { "ip_range" };
        ["networks", key, "ipam", "config", &place.to_string(), what].map(str::to_owned).to_vec()
    };
    let (name, range) = (&config.name, subnet.range);
    StartError {
        at,
        help: Some("start fewer containers, or give the network a wider subnet".to_owned()),
        ..StartError::new(format!(
            "{wanted} containers want an address of {range} on network {name}, which has {free} for them"
        ))
    }
}
