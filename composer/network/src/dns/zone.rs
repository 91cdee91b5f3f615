//! What the names of one network stand for.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

/// The names of a network and the addresses behind them. Changes show in the next answer.
#[derive(Debug)]
pub struct Zone {
    /// The network's full name, `shop_default`: every name is also known with it appended.
    domain: String,
    subnet: Ipv4Net,
    content: RefCell<Content>,
    /// How many answers were given: where the next one starts among several addresses.
    answers: Cell<usize>,
}

#[derive(Debug, Default)]
struct Content {
    /// By the caller's key: what [`Zone::remove`] takes away.
    containers: HashMap<String, Container>,
    /// By lower-case name, each address once.
    addresses: HashMap<String, Vec<Ipv4Addr>>,
}

#[derive(Debug)]
struct Container {
    names: Vec<String>,
    address: Ipv4Addr,
}

/// What a zone knows of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup {
    /// The addresses, rotated by one with each answer.
    Known(Vec<Ipv4Addr>),
    /// The name would be this network's, but nobody has it.
    Unknown,
    /// The name is someone else's to answer.
    Foreign,
}

/// What a zone knows of an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReverseLookup {
    /// The full name of the container that has it.
    Known(String),
    /// In the network's subnet, but nobody's.
    Unknown,
    /// Someone else's to answer.
    Foreign,
}

impl Zone {
    /// An empty zone of a network with this full name (`shop_default`) and subnet.
    pub fn new(domain: &str, subnet: Ipv4Net) -> Self {
        Self {
            domain: domain.to_ascii_lowercase(),
            subnet: subnet.trunc(),
            content: RefCell::default(),
            answers: Cell::new(0),
        }
    }

    /// Gives a container its names and address, in place of those it had under the same key. The first name is the
    /// one that its address leads back to.
    pub fn set(&self, container: &str, names: Vec<String>, address: Ipv4Addr) {
        let names: Vec<_> = names.into_iter().map(|name| name.to_ascii_lowercase()).collect();
        let mut content = self.content.borrow_mut();
        content.remove(container);
        for name in &names {
            let addresses = content.addresses.entry(name.clone()).or_default();
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        content.containers.insert(container.to_owned(), Container { names, address });
    }

    /// Takes a container's names away; unknown is fine.
    pub fn remove(&self, container: &str) {
        self.content.borrow_mut().remove(container);
    }

    /// What a name stands for. Case does not matter (RFC 4343); a dot at the end is not part of the name.
    pub fn lookup(&self, name: &str) -> Lookup {
        let name = name.to_ascii_lowercase();
        let content = self.content.borrow();
        let in_domain = name.strip_suffix(&self.domain).and_then(|rest| rest.strip_suffix('.'));
        // As it stands first: an alias may well end like the domain.
        match content.addresses.get(&name).or_else(|| content.addresses.get(in_domain?)) {
            Some(addresses) => {
                let turn = self.answers.get();
                self.answers.set(turn.wrapping_add(1));
                let mut addresses = addresses.clone();
                let length = addresses.len().max(1);
                addresses.rotate_left(turn % length);
                Lookup::Known(addresses)
            }
            None if in_domain.is_some() || name == self.domain => Lookup::Unknown,
            None => Lookup::Foreign,
        }
    }

    /// Whose address it is.
    pub fn reverse(&self, address: Ipv4Addr) -> ReverseLookup {
        if !self.subnet.contains(&address) {
            return ReverseLookup::Foreign;
        }
        let content = self.content.borrow();
        let mut owners = content.containers.values().filter(|container| container.address == address);
        match owners.find_map(|container| container.names.first()) {
            Some(name) => ReverseLookup::Known(format!("{name}.{}", self.domain)),
            None => ReverseLookup::Unknown,
        }
    }
}

impl Content {
    fn remove(&mut self, key: &str) {
        let Some(gone) = self.containers.remove(key) else {
            return;
        };
        for name in gone.names {
            let still = self
                .containers
                .values()
                .any(|other| other.address == gone.address && other.names.contains(&name));
            let Some(addresses) = self.addresses.get_mut(&name) else {
                continue;
            };
            if !still {
                addresses.retain(|address| *address != gone.address);
            }
            if addresses.is_empty() {
                self.addresses.remove(&name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 2);
    const TWO: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 3);

    fn zone() -> Zone {
        let zone = Zone::new("shop_default", "10.1.0.0/24".parse().expect("a subnet"));
        zone.set("api-1", vec!["shop-api-1".into(), "api".into()], ONE);
        zone.set("api-2", vec!["shop-api-2".into(), "api".into()], TWO);
        zone
    }

    #[test]
    fn a_name_is_known_in_any_case_and_with_the_domain() {
        for name in ["shop-api-1", "Shop-API-1", "shop-api-1.shop_default", "shop-api-1.SHOP_default"] {
            assert_eq!(zone().lookup(name), Lookup::Known(vec![ONE]), "{name}");
        }
    }

    #[test]
    fn several_addresses_take_turns() {
        let zone = zone();
        assert_eq!(zone.lookup("api"), Lookup::Known(vec![ONE, TWO]));
        assert_eq!(zone.lookup("api"), Lookup::Known(vec![TWO, ONE]));
        assert_eq!(zone.lookup("api"), Lookup::Known(vec![ONE, TWO]));
    }

    #[test]
    fn an_unknown_name_is_foreign_unless_it_is_in_the_domain() {
        assert_eq!(zone().lookup("example.com"), Lookup::Foreign);
        assert_eq!(zone().lookup("store"), Lookup::Foreign);
        assert_eq!(zone().lookup("store.shop_default"), Lookup::Unknown);
        assert_eq!(zone().lookup("api.notshop_default"), Lookup::Foreign);
    }

    #[test]
    fn what_is_removed_or_replaced_is_gone() {
        let zone = zone();
        zone.remove("api-1");
        assert_eq!(zone.lookup("api"), Lookup::Known(vec![TWO]));
        assert_eq!(zone.lookup("shop-api-1"), Lookup::Foreign);
        zone.set("api-2", vec!["shop-api-2".into()], ONE);
        assert_eq!(zone.lookup("api"), Lookup::Foreign);
        assert_eq!(zone.lookup("shop-api-2"), Lookup::Known(vec![ONE]));
        zone.remove("nobody");
    }

    #[test]
    fn an_address_leads_to_its_first_name() {
        assert_eq!(zone().reverse(ONE), ReverseLookup::Known("shop-api-1.shop_default".into()));
        assert_eq!(zone().reverse(Ipv4Addr::new(10, 1, 0, 9)), ReverseLookup::Unknown);
        assert_eq!(zone().reverse(Ipv4Addr::new(10, 2, 0, 2)), ReverseLookup::Foreign);
    }
}
