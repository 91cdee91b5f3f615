//! Addresses of a network: its subnets, and in each the lowest free address first.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::error::{Error, Result};

/// The gateway of a subnet that chooses none: its first address, which its bridge carries.
pub(crate) fn first(subnet: IpNet) -> IpAddr {
    match subnet.network() {
        IpAddr::V4(network) => Ipv4Addr::from_bits(network.to_bits().saturating_add(1)).into(),
        IpAddr::V6(network) => Ipv6Addr::from_bits(network.to_bits().saturating_add(1)).into(),
    }
}

/// A subnet of a network, and who gets which of its addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subnet {
    /// Without bits beyond its prefix.
    pub net: IpNet,
    /// The bridge's own address in it.
    pub gateway: IpAddr,
    /// Where containers that choose none get theirs from.
    pub range: IpNet,
    /// Nobody gets these.
    pub reserved: BTreeSet<IpAddr>,
    /// Its bridge has no address in it: the host is not reached, and does not reach the containers.
    pub bare: bool,
}

impl Subnet {
    /// All of a subnet, with its first address as the gateway.
    pub fn whole(net: impl Into<IpNet>) -> Self {
        let net = net.into().trunc();
        Self { net, gateway: first(net), range: net, reserved: BTreeSet::new(), bare: false }
    }

    /// The gateway's address with the subnet's prefix: what its bridge has.
    pub fn of_bridge(&self) -> IpNet {
        self.with_prefix(self.gateway)
    }

    /// An address with the subnet's prefix: what an interface in it has.
    pub fn with_prefix(&self, address: IpAddr) -> IpNet {
        IpNet::new(address, self.net.prefix_len()).unwrap_or(self.net)
    }

    /// Whether a container may have this address: inside, and neither that of the network, the gateway's, reserved nor
    /// the broadcast address.
    pub fn is_assignable(&self, address: IpAddr) -> bool {
        self.net.contains(&address)
            && address != self.net.network()
            && address != self.gateway
            && !(address.is_ipv4() && address == self.net.broadcast())
            && !self.reserved.contains(&address)
    }

    /// How many addresses of the range are free.
    pub fn room(&self, used: &BTreeSet<IpAddr>) -> u128 {
        let (first, last) = (bits(self.range.network()), bits(self.range.broadcast()));
        let mut taken: BTreeSet<IpAddr> = used.union(&self.reserved).copied().collect();
        taken.extend([self.net.network(), self.gateway]);
        taken.extend(Some(self.net.broadcast()).filter(IpAddr::is_ipv4));
        let taken = taken.into_iter().filter(|address| self.range.contains(address)).count();
        (last - first).saturating_add(1).saturating_sub(taken as u128)
    }

    /// The lowest address of the range that is free.
    ///
    /// # Errors
    /// [`Error::NoAddress`] when there is none.
    pub fn take(&self, used: &BTreeSet<IpAddr>) -> Result<IpAddr> {
        // `hosts` of ipnet leaves out the first and last of a range, which are only the subnet's own to leave out.
        let (mut next, last) = (bits(self.range.network()), bits(self.range.broadcast()));
        while next <= last {
            let address = put(self.net, next);
            if self.is_assignable(address) && !used.contains(&address) {
                return Ok(address);
            }
            next = next.checked_add(1).ok_or(Error::NoAddress { subnet: self.range })?;
        }
        Err(Error::NoAddress { subnet: self.range })
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// An address of the family of `like`.
fn put(like: IpNet, bits: u128) -> IpAddr {
    match like {
        IpNet::V4(_) => Ipv4Addr::from_bits(u32::try_from(bits).unwrap_or(u32::MAX)).into(),
        IpNet::V6(_) => std::net::Ipv6Addr::from_bits(bits).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subnet(text: &str) -> Subnet {
        Subnet::whole(text.parse::<IpNet>().expect("a subnet"))
    }

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn all(subnet: &Subnet) -> Vec<String> {
        let mut used = BTreeSet::new();
        let mut take = || {
            let free = subnet.take(&used).ok()?;
            used.insert(free);
            Some(free.to_string())
        };
        std::iter::from_fn(&mut take).collect()
    }

    #[test]
    fn the_lowest_free_address_comes_first() {
        let subnet = subnet("10.1.0.0/24");
        let mut used = BTreeSet::from([address("10.1.0.3")]);
        assert_eq!(subnet.take(&used).expect("free"), address("10.1.0.2"));
        used.insert(address("10.1.0.2"));
        assert_eq!(subnet.take(&used).expect("free"), address("10.1.0.4"));
    }

    #[test]
    fn network_gateway_and_broadcast_are_never_given() {
        let net = subnet("10.1.0.0/29");
        assert_eq!(all(&net), ["10.1.0.2", "10.1.0.3", "10.1.0.4", "10.1.0.5", "10.1.0.6"]);
        let used = all(&net).iter().map(|text| address(text)).collect();
        assert_eq!([net.room(&BTreeSet::new()), net.room(&used)], [5, 0]);
        assert!(matches!(net.take(&used), Err(Error::NoAddress { .. })));
    }

    #[test]
    fn a_range_a_gateway_and_reserved_addresses_are_kept() {
        let net = Subnet {
            gateway: address("10.1.0.9"),
            range: "10.1.0.8/29".parse().expect("a range"),
            reserved: BTreeSet::from([address("10.1.0.11")]),
            ..subnet("10.1.0.0/24")
        };
        assert_eq!(all(&net), ["10.1.0.8", "10.1.0.10", "10.1.0.12", "10.1.0.13", "10.1.0.14", "10.1.0.15"]);
        assert_eq!(net.room(&[address("10.1.0.8"), address("10.1.0.11"), address("10.2.0.8")].into()), 5);
        assert!(net.is_assignable(address("10.1.0.1")) && !net.is_assignable(address("10.1.0.9")));
        assert!(!net.is_assignable(address("10.1.1.1")) && !net.is_assignable(address("10.1.0.255")));
    }

    #[test]
    fn addresses_of_ipv6() {
        let net = subnet("fd00:1::/64");
        assert_eq!(net.gateway, address("fd00:1::1"));
        assert_eq!(net.take(&BTreeSet::new()).expect("free"), address("fd00:1::2"));
        assert_eq!(net.of_bridge().to_string(), "fd00:1::1/64");
        assert_eq!(all(&subnet("fd00::/126")), ["fd00::2", "fd00::3"]);
    }
}
