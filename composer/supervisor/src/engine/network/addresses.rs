//! Which addresses a container gets: those that the file chooses, those it had, or the lowest that are free.

use std::collections::BTreeSet;
use std::net::IpAddr;

use composer_network::addresses::Subnet;
use composer_network::{Medium, mac_of};
use composer_stack::{Attachment, Mac, Service};

use super::super::Engine;
use super::super::container::Container;
use super::super::start::{Result, StartError};
use super::Net;
use crate::protocol::{Action, Subject};
use crate::records::{Address, Addresses};

impl Engine {
    /// The addresses of a container on all its networks, taken in this moment: others start at the same time.
    pub(in super::super) fn addresses(&self, container: &Container) -> Result<Addresses> {
        let (name, service) = {
            let record = container.record.borrow();
            (record.name.clone(), record.service.clone())
        };
        let mut addresses = Addresses::new();
        for (key, at) in service.network.in_order() {
            let networks = self.networks.borrow();
            let missing = || StartError::new(format!("network {key} is not set up"));
            let net = networks.get(key).ok_or_else(missing)?;
            let refused = |refused: Refused| refused.told(&name, &service.name, (key, &net.config.name));
            let address = self.address(container, key, net, at).map_err(refused)?;
            let chosen = chosen(&service, key);
            // One on the host's interface may have that of this.
            let has_own = !matches!(net.bridge.medium, Medium::Ipvlan(..));
            let chosen = chosen.filter(|_| has_own);
            if let Some(mac) = chosen {
                self.tell_if_taken(&name, (key, &net.config.name), mac);
            }
            let derived =
                address.all().next().filter(|_| has_own).map(|address| self.derived(&name, key, address));
            addresses.insert(key.to_owned(), Address { mac: chosen.or(derived), ..address });
        }
        container.record.borrow_mut().addresses.clone_from(&addresses);
        Ok(addresses)
    }

    fn address(
        &self,
        container: &Container,
        key: &str,
        net: &Net,
        at: &Attachment,
    ) -> std::result::Result<Address, Refused> {
        let had = container.record.borrow().addresses.get(key).copied().unwrap_or_default();
        let name = container.name();
        let mut used = self.used(&name, key);
        if net.config.external {
            return self.shared_address(&name, net, at, had, &mut used);
        }
        choose(&net.bridge.subnets, at, had, &used, |_| None)
    }

    /// The hardware address that follows from an address, or the same of another prefix where a service has chosen that.
    fn derived(&self, name: &str, key: &str, address: IpAddr) -> Mac {
        let Mac([first, rest @ ..]) = Mac(mac_of(address));
        let chosen = self.of_other_services(name, |service| chosen(service, key));
        let is_chosen = chosen.iter().any(|Mac(mac)| mac[1..] == rest);
        // One more bit of those that are anybody's to choose (IEEE 802, "locally administered").
        let [a, b, c, d, e] = rest;
        Mac([if is_chosen { first | 0x04 } else { first }, a, b, c, d, e])
    }

    /// Of who runs already by the hardware address that the file chooses for another.
    fn tell_if_taken(&self, name: &str, (key, network): (&str, &str), mac: Mac) {
        let containers = self.containers.borrow();
        let has_it = |container: &Container| {
            let has =
                container.record.borrow().addresses.get(key).is_some_and(|address| address.mac == Some(mac));
            has && container.live.borrow().is_some()
        };
        if let Some((other, container)) =
            containers.iter().find(|(other, container)| *other != name && has_it(container))
        {
            let service = &container.record.borrow().service.name;
            let text = format!(
                "{name}: its `mac_address` {mac} is that of {other} on network {network}, and what is sent to one reaches the \
                 other: `compose up -d --force-recreate {service}` gives that one another"
            );
            self.announce(Subject::Group, Action::Warning(text));
        }
    }

    /// What others of the stack have on a network, and what services are to have there.
    fn used(&self, name: &str, key: &str) -> BTreeSet<IpAddr> {
        let mut used = BTreeSet::new();
        for (other, container) in &*self.containers.borrow() {
            if other != name {
                used.extend(
                    container.record.borrow().addresses.get(key).iter().flat_map(|address| address.all()),
                );
            }
        }
        used.extend(self.of_other_services(name, |service| fixed(service, key)));
        used
    }

    /// What the services choose that a container is none of.
    fn of_other_services<I: IntoIterator>(&self, name: &str, choose: impl Fn(&Service) -> I) -> Vec<I::Item> {
        let own = self.container(name).map(|container| container.record.borrow().service.name.clone());
        let record = self.record.borrow();
        let services = record.iter().flat_map(|record| record.services.values());
        services.filter(|service| Some(&service.name) != own.as_ref()).flat_map(choose).collect()
    }
}

/// The addresses that a service chooses on a network.
pub(super) fn fixed(service: &Service, key: &str) -> Vec<IpAddr> {
    let on = service.network.attachments().find(|(other, _)| *other == key);
    let on = on.map(|(_, at)| {
        at.ipv4_address.map(IpAddr::V4).into_iter().chain(at.ipv6_address.map(IpAddr::V6)).collect()
    });
    on.unwrap_or_default()
}

/// The hardware address that a service chooses on a network: its own is that of the first one.
fn chosen(service: &Service, key: &str) -> Option<Mac> {
    let on = service.network.in_order().into_iter().enumerate().find(|(_, (other, _))| *other == key);
    on.and_then(|(place, (_, at))| at.mac_address.or(service.mac_address.filter(|_| place == 0)))
}

/// Why there is no address.
pub(super) struct Refused {
    why: String,
    /// The key of the service's network that asks for one.
    key: Option<&'static str>,
}

impl Refused {
    /// For users: of a container, its service, and the network by key and name.
    pub(super) fn told(self, container: &str, service: &str, (key, network): (&str, &str)) -> StartError {
        let at = ["services", service, "networks", key];
        let at = self.key.map(|last| at.into_iter().chain([last]).map(str::to_owned).collect());
        let message = format!("{container}: its address on network {network}: {}", self.why);
        StartError { at: at.unwrap_or_default(), ..StartError::new(message) }
    }
}

impl From<String> for Refused {
    fn from(why: String) -> Self {
        Self { why, key: None }
    }
}

/// One address of each family that the network has. `holder` says who has one, where it is somebody of another stack.
pub(super) fn choose(
    subnets: &[Subnet],
    at: &Attachment,
    had: Address,
    used: &BTreeSet<IpAddr>,
    holder: impl Fn(IpAddr) -> Option<String>,
) -> std::result::Result<Address, Refused> {
    let mut address = Address::default();
    for subnet in subnets {
        let (chosen, had) = match subnet.net.addr() {
            IpAddr::V4(_) => (at.ipv4_address.map(IpAddr::V4), had.ipv4.map(IpAddr::V4)),
            IpAddr::V6(_) => (at.ipv6_address.map(IpAddr::V6), had.ipv6.map(IpAddr::V6)),
        };
        match one(subnet, chosen, had, used, &holder)? {
            IpAddr::V4(v4) => address.ipv4 = Some(v4),
            IpAddr::V6(v6) => address.ipv6 = Some(v6),
        }
    }
    let missing =
        |wanted: Option<IpAddr>| wanted.filter(|wanted| !address.all().any(|given| given == *wanted));
    let wanted = [at.ipv4_address.map(IpAddr::V4), at.ipv6_address.map(IpAddr::V6)];
    match wanted.into_iter().find_map(missing) {
        Some(wanted) => Err(Refused {
            why: format!("{wanted} cannot be had: the network has no subnet of its kind"),
            key: Some(key_of(wanted)),
        }),
        None => Ok(address),
    }
}

fn key_of(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "ipv4_address" } else { "ipv6_address" }
}

fn one(
    subnet: &Subnet,
    chosen: Option<IpAddr>,
    had: Option<IpAddr>,
    used: &BTreeSet<IpAddr>,
    holder: impl Fn(IpAddr) -> Option<String>,
) -> std::result::Result<IpAddr, Refused> {
    if let Some(chosen) = chosen {
        let refused = |why| Err(Refused { why, key: Some(key_of(chosen)) });
        if subnet.reserved.contains(&chosen) {
            return refused(format!(
                "{chosen} is among the addresses that are kept from containers (`aux_addresses`)"
            ));
        }
        if !subnet.is_assignable(chosen) {
            return refused(format!("{chosen} is not an address for a container in {}", subnet.net));
        }
        if used.contains(&chosen) {
            let holder = holder(chosen).unwrap_or_else(|| "another container".to_owned());
            return refused(format!("{chosen} is taken by {holder}"));
        }
        return Ok(chosen);
    }
    match had.filter(|had| subnet.is_assignable(*had) && subnet.range.contains(had) && !used.contains(had)) {
        Some(had) => Ok(had),
        None => subnet.take(used).map_err(|error| error.to_string().into()),
    }
}
