//! Ports of containers that are known outside by their own addresses (`gateway_mode: routed`): open there, while none of
//! the host's leads to them.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use composer_network::firewall::Direct;
use composer_stack::{GatewayMode, Network, Service};

use super::super::Engine;
use super::super::container::Container;
use super::super::held::{place, ports_of};
use crate::records::ContainerRecord;

/// How a service is reached over a family.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reached {
    /// By ports of the host.
    AtHost,
    /// At its own address.
    Direct,
    /// It has no address by which it is.
    Not,
}

impl Engine {
    /// Leaves a service the ports that are to be of the host, each at the addresses that are to lead to it. `networks` are
    /// those of a file that is not the stack's yet.
    pub(in super::super) fn leave_host_ports(
        &self,
        service: &mut Service,
        networks: Option<&BTreeMap<String, Network>>,
    ) {
        self.bind_shared(service, networks);
        let [v4, v6] = [true, false].map(|v4| self.reached(service, v4, networks));
        if ![v4, v6].contains(&Reached::Direct) {
            return;
        }
        service.ports.retain_mut(|port| {
            match port.host_ip {
                // The other family stands in for one that it has not.
                Some(IpAddr::V4(_)) => {
                    return v4 == Reached::AtHost || (v4 == Reached::Not && v6 == Reached::AtHost);
                }
                Some(IpAddr::V6(_)) => {
                    return v6 == Reached::AtHost || (v6 == Reached::Not && v4 == Reached::AtHost);
                }
                None if v4 == Reached::AtHost => port.host_ip = Some(Ipv4Addr::UNSPECIFIED.into()),
                None if v6 == Reached::AtHost => port.host_ip = Some(Ipv6Addr::UNSPECIFIED.into()),
                None => return false,
            }
            true
        });
    }

    /// The ports of a container are open at its own addresses from now on, where these are known outside.
    pub(in super::super) fn open_directly(&self, container: &Container) {
        let direct = self.direct_ports(&container.record.borrow());
        *container.direct.borrow_mut() = direct;
    }

    /// The ports of a container that are open at its own addresses.
    fn direct_ports(&self, record: &ContainerRecord) -> Vec<Direct> {
        let service = &record.service;
        let ways = self.ways_in(record);
        let at = [(true, ways.v4.map(IpAddr::V4)), (false, ways.v6.map(IpAddr::V6))];
        let at = at.into_iter().filter(|(v4, _)| self.reached(service, *v4, None) == Reached::Direct);
        let addresses: Vec<IpAddr> = at.filter_map(|(_, address)| address).collect();
        let mut service = service.clone();
        self.bind_shared(&mut service, None);
        let ports = ports_of(&service).iter().flat_map(|port| {
            let of_port = |address: &&IpAddr| port.host_ip.is_none_or(|at| at.is_ipv4() == address.is_ipv4());
            addresses.iter().filter(of_port).map(|address| Direct {
                address: *address,
                protocol: place(port).protocol,
                port: port.target,
            })
        });
        ports.collect()
    }

    /// Gives ports that name no address of the host the one of a network that stacks share, which a file does not know.
    fn bind_shared(&self, service: &mut Service, networks: Option<&BTreeMap<String, Network>>) {
        let way = [true, false].into_iter().find_map(|v4| self.way_in(service, v4, networks));
        let chosen = way.and_then(|network| network.host_binding());
        for port in &mut service.ports {
            port.host_ip = port.host_ip.or(chosen);
        }
    }

    fn reached(&self, service: &Service, v4: bool, networks: Option<&BTreeMap<String, Network>>) -> Reached {
        match self.way_in(service, v4, networks).map(|network| network.gateway_mode(v4)) {
            Some(GatewayMode::Routed) => Reached::Direct,
            Some(GatewayMode::Nat | GatewayMode::Unprotected | GatewayMode::Isolated) => Reached::AtHost,
            None => Reached::Not,
        }
    }

    /// The network by which a service is reached from outside, as it reaches the outside.
    fn way_in(
        &self,
        service: &Service,
        v4: bool,
        networks: Option<&BTreeMap<String, Network>>,
    ) -> Option<Network> {
        let ways = service.network.attachments().filter_map(|(key, at)| {
            let made = self.made_among(key, networks)?;
            let has = if v4 { made.ipv4 } else { made.ipv6 };
            (has && made.leads_in()).then_some((made.rank(at.gw_priority), key, made))
        });
        ways.min_by_key(|(rank, key, _)| (*rank, *key)).map(|(.., made)| made)
    }
}
