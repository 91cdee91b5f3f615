//! Addresses of a subnet: the lowest free one first.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::error::{Error, Result};

/// The gateway of a subnet: its first address, which its bridge carries.
pub fn gateway(subnet: Ipv4Net) -> Ipv4Addr {
    Ipv4Addr::from_bits(subnet.network().to_bits().saturating_add(1))
}

/// Whether a container may have this address: inside, and neither network, gateway nor broadcast.
pub fn is_assignable(subnet: Ipv4Net, address: Ipv4Addr) -> bool {
    subnet.contains(&address)
        && address != subnet.network()
        && address != subnet.broadcast()
        && address != gateway(subnet)
}

/// The addresses of one subnet, and which of them are in use.
#[derive(Debug, Clone)]
pub struct Pool {
    subnet: Ipv4Net,
    used: BTreeSet<Ipv4Addr>,
}

impl Pool {
    /// A pool of the subnet's addresses without those in use; addresses outside the subnet are ignored.
    pub fn new(subnet: Ipv4Net, in_use: impl IntoIterator<Item = Ipv4Addr>) -> Self {
        Self { subnet, used: in_use.into_iter().collect() }
    }

    /// Takes the lowest free address.
    ///
    /// # Errors
    /// [`Error::NoAddress`] when there is none.
    pub fn take(&mut self) -> Result<Ipv4Addr> {
        let free = self
            .subnet
            .hosts()
            .find(|address| is_assignable(self.subnet, *address) && !self.used.contains(address))
            .ok_or(Error::NoAddress { subnet: self.subnet })?;
        self.used.insert(free);
        Ok(free)
    }

    /// Takes this very address; `false` when it is in use or not assignable.
    pub fn take_exactly(&mut self, address: Ipv4Addr) -> bool {
        is_assignable(self.subnet, address) && self.used.insert(address)
    }

    /// Gives an address back.
    pub fn give_back(&mut self, address: Ipv4Addr) {
        self.used.remove(&address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> Ipv4Net {
        text.parse().expect("a subnet")
    }

    #[test]
    fn the_lowest_free_address_comes_first() {
        let mut pool = Pool::new(net("10.1.0.0/24"), [Ipv4Addr::new(10, 1, 0, 3)]);
        assert_eq!(pool.take().expect("free"), Ipv4Addr::new(10, 1, 0, 2));
        assert_eq!(pool.take().expect("free"), Ipv4Addr::new(10, 1, 0, 4));
        pool.give_back(Ipv4Addr::new(10, 1, 0, 2));
        assert_eq!(pool.take().expect("free"), Ipv4Addr::new(10, 1, 0, 2));
    }

    #[test]
    fn network_gateway_and_broadcast_are_never_given() {
        let mut pool = Pool::new(net("10.1.0.0/29"), []);
        let all: Vec<_> =
            std::iter::from_fn(|| pool.take().ok()).map(|address| address.octets()[3]).collect();
        assert_eq!(all, [2, 3, 4, 5, 6]);
        assert!(matches!(pool.take(), Err(Error::NoAddress { .. })));
    }

    #[test]
    fn a_given_address_is_taken_once_and_only_inside() {
        let mut pool = Pool::new(net("10.1.0.0/29"), []);
        assert!(pool.take_exactly(Ipv4Addr::new(10, 1, 0, 6)));
        assert!(!pool.take_exactly(Ipv4Addr::new(10, 1, 0, 6)));
        assert!(!pool.take_exactly(Ipv4Addr::new(10, 1, 0, 1)));
        assert!(!pool.take_exactly(Ipv4Addr::new(10, 1, 0, 7)));
        assert!(!pool.take_exactly(Ipv4Addr::new(10, 2, 0, 2)));
    }
}
