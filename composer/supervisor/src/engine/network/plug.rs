//! A container's links: made when it starts, brought back when somebody has taken one away.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use composer_network::{Gateways, IpNet, Plug, Wiring, attach, isolate, mac_of, names};
use composer_stack::{Attachment, NetworkMode, Service};

use super::super::Engine;
use super::super::container::Container;
use super::super::isolation::is_of_network;
use super::super::link::Born;
use super::super::start::{Result, StartError};
use super::Net;
use crate::records::{Address, Addresses, ContainerRecord};

/// What an endpoint's driver options call the interface.
const IFNAME: &str = "com.docker.network.endpoint.ifname";
/// What they call its parameters.
const ENDPOINT_SYSCTLS: &str = "com.docker.network.endpoint.sysctls";
/// What a network's driver options have interfaces called, before their number.
const PREFIX: &str = "com.docker.network.container_iface_prefix";

/// Why a container has no links.
enum Stopped {
    Plugging(composer_network::Error),
    Limiting(StartError),
}

impl From<composer_network::Error> for Stopped {
    fn from(error: composer_network::Error) -> Self {
        Self::Plugging(error)
    }
}

impl From<StartError> for Stopped {
    fn from(error: StartError) -> Self {
        Self::Limiting(error)
    }
}

impl Engine {
    /// Gives a child that has not been let go yet its network, and its names to others. `logs` are kept with what it
    /// needs; `joined` is the namespace that it is to join, in which it may not be yet.
    pub(in super::super) async fn plug(
        self: &Rc<Self>,
        service: &Service,
        container: &Container,
        born: &Born,
        joined: Option<OwnedFd>,
        logs: [&OwnedFd; 2],
    ) -> Result<()> {
        let name = container.name();
        let failed =
            |what: &str, error: &dyn std::fmt::Display| StartError::doing(&format!("{name}: {what}"), error);
        let mut held: Vec<OwnedFd> = Vec::new();
        for log in logs {
            held.push(log.try_clone().map_err(|error| failed("keep its log", &error))?);
        }
        let netns = || match joined {
            Some(joined) => Ok(joined),
            None => fs::File::open(format!("/proc/{}/ns/net", born.pid))
                .map(OwnedFd::from)
                .map_err(|error| failed("open its network namespace", &error)),
        };
        let mut resolver = None;
        match &service.network {
            NetworkMode::Networks(_) => {
                let addresses = container.record.borrow().addresses.clone();
                let wiring = self.wiring(&name, service, &addresses)?;
                let netns = netns()?;
                if self.keep_space(&name, service, &netns) {
                    // Until it is gone, an interface keeps its hardware address from the next.
                    self.unplugged(&name).await;
                }
                let limit = async { Ok(self.limit_bandwidth(container, service).await?) };
                let attached = attach(&self.host, netns, wiring, limit).await;
                let attached = attached.map_err(|stopped| match stopped {
                    Stopped::Plugging(error) => StartError {
                        at: at_parameter(service, &error),
                        ..failed("plug it into its networks", &error)
                    },
                    Stopped::Limiting(error) => error,
                })?;
                for warning in &attached.warnings {
                    self.warn_once(&service.name, warning);
                }
                for socket in [&attached.dns_udp, &attached.dns_tcp] {
                    held.push(socket.try_clone().map_err(|error| failed("keep its resolver", &error))?);
                }
                resolver = Some((attached.dns_udp, attached.dns_tcp));
            }
            NetworkMode::None => {
                isolate(netns()?, of_network(service)).await.map_err(|error| StartError {
                    at: at_parameter(service, &error),
                    ..failed("set up its network namespace", &error)
                })?
            }
            NetworkMode::Host | NetworkMode::Service(_) | NetworkMode::Container(_) => {}
        }
        let held: Vec<_> = held.iter().map(AsFd::as_fd).collect();
        self.link
            .hold(&format!("container/{name}"), &held)
            .map_err(|error| failed("have its descriptors kept", &error))?;
        if let Some((udp, tcp)) = resolver {
            self.publish(container, udp, tcp).map_err(|error| failed("serve its names", &error))?;
        }
        Ok(())
    }

    /// Brings the links of a container that runs back.
    pub(in super::super) async fn replug(&self, container: &Container) -> Result<()> {
        let Some(pid) = container.live.borrow().as_ref().map(|live| live.pid) else { return Ok(()) };
        let name = container.name();
        let (service, addresses, ways) = {
            let record = container.record.borrow();
            let ways = if record.published.is_empty() { WaysIn::default() } else { self.ways_in(&record) };
            (record.service.clone(), record.addresses.clone(), ways)
        };
        let failed =
            |error: &dyn std::fmt::Display| StartError::doing(&format!("{name}: plug it in again"), error);
        let netns: OwnedFd =
            fs::File::open(format!("/proc/{pid}/ns/net")).map_err(|error| failed(&error))?.into();
        let Wiring { plugs, sysctls } = self.wiring(&name, &service, &addresses)?;
        for plug in plugs {
            let limit = async { Ok(self.limit_bandwidth(container, &service).await?) };
            let replugged = self.host.replug(plug, netns.as_fd(), limit).await;
            replugged.map_err(|stopped| match stopped {
                Stopped::Plugging(error) => failed(&error),
                Stopped::Limiting(error) => error,
            })?;
        }
        self.limit_bandwidth(container, &service).await?;
        for key in &ways.networks {
            let veth = names::veth(&self.stack, &name, key);
            self.host.return_own(&veth).await.map_err(|error| failed(&error))?;
        }
        if !sysctls.is_empty() {
            // A new interface has none of what the old one was given.
            isolate(netns, sysctls).await.map_err(|error| failed(&error))?;
        }
        Ok(())
    }

    /// The links of a container with these addresses.
    fn wiring(&self, name: &str, service: &Service, addresses: &Addresses) -> Result<Wiring> {
        let networks = self.networks.borrow();
        let group = self.link_group()?;
        let joined = joined(&networks, service, addresses)
            .map_err(|key| StartError::new(format!("{name}: network {key} is not set up")))?;
        let interfaces = interface_names(&joined);
        let (v4, v6) = (way_out(&joined, IpAddr::is_ipv4), way_out(&joined, IpAddr::is_ipv6));
        let plugs = joined.iter().zip(interfaces).map(|(joined, interface)| {
            let Joined { key, at, net, address } = joined;
            let mac = address.mac.map_or_else(|| mac_of(Ipv4Addr::UNSPECIFIED.into()), |mac| mac.0);
            let gateways = Gateways {
                v4: v4.filter(|(way, _)| way == key).and_then(|(_, to)| as_v4(to)),
                v6: v6.filter(|(way, _)| way == key).and_then(|(_, to)| as_v6(to)),
            };
            Plug {
                bridge: net.bridge.clone(),
                group,
                veth: names::veth(&self.stack, name, key),
                interface,
                mac,
                addresses: prefixed(net, address, at),
                gateways,
            }
        });
        let plugs: Vec<Plug> = plugs.collect();
        let mut sysctls = of_network(service);
        // After the service's own, which say the same of all interfaces.
        let own = joined.iter().zip(&plugs).flat_map(|(joined, plug)| joined.at.sysctls(&plug.interface));
        sysctls.extend(own);
        Ok(Wiring { plugs, sysctls })
    }
}

/// The kernel parameters of a service's network.
fn of_network(service: &Service) -> BTreeMap<String, String> {
    let mut sysctls = service.sysctls.clone();
    sysctls.retain(|key, _| is_of_network(key));
    sysctls
}

/// The kernel parameter of the file that the kernel has refused.
fn at_parameter(service: &Service, error: &composer_network::Error) -> Vec<String> {
    match error {
        composer_network::Error::Parameter { key, .. } if service.sysctls.contains_key(key) => {
            ["services", &service.name, "sysctls", key].map(str::to_owned).into()
        }
        composer_network::Error::Parameter { key, .. } => {
            let interface = key.split('/').nth(3).unwrap_or_default();
            let has = |at: &Attachment| at.sysctls(interface).iter().any(|(own, _)| own == key);
            let found = service.network.attachments().find(|(_, at)| has(at));
            let path = found.map(|(network, _)| {
                ["services", &service.name, "networks", network, "driver_opts", ENDPOINT_SYSCTLS]
                    .map(str::to_owned)
            });
            path.map(Vec::from).unwrap_or_default()
        }
        _ => Vec::new(),
    }
}

impl Engine {
    /// The networks by which a container is reached from outside, as it reaches the outside, with its addresses there.
    pub(in super::super) fn ways_in(&self, record: &ContainerRecord) -> WaysIn {
        let networks = self.networks.borrow();
        let Ok(joined) = joined(&networks, &record.service, &record.addresses) else {
            return WaysIn::default();
        };
        let at = |key: &str| record.addresses.get(key).copied().unwrap_or_default();
        // By any other interface it is reached as it is, by nobody's leave.
        let joined: Vec<Joined<'_>> = joined.into_iter().filter(|joined| joined.net.has_bridge()).collect();
        let way = |family: fn(&IpAddr) -> bool| way_out(&joined, family).map(|(key, _)| key);
        let (v4, v6) = (way(IpAddr::is_ipv4), way(IpAddr::is_ipv6));
        WaysIn {
            v4: v4.and_then(|key| at(key).ipv4),
            v6: v6.and_then(|key| at(key).ipv6),
            networks: v4.into_iter().chain(v6).map(str::to_owned).collect(),
        }
    }
}

impl Engine {
    /// The host's addresses on the bridges of a container: of each family that of its way out, where its answers and
    /// those of published ports pass. Where nothing leads out, those of its first bridge.
    pub(in super::super) fn gateways_of(&self, record: &ContainerRecord) -> Vec<IpAddr> {
        let networks = self.networks.borrow();
        let Ok(joined) = joined(&networks, &record.service, &record.addresses) else { return Vec::new() };
        // On others the gateway is not the host, which nobody reaches by them.
        let bridges: Vec<Joined<'_>> = joined.into_iter().filter(|joined| joined.net.has_bridge()).collect();
        let ways =
            [IpAddr::is_ipv4, IpAddr::is_ipv6].into_iter().filter_map(|family| way_out(&bridges, family));
        let ways: Vec<IpAddr> = ways.map(|(_, gateway)| gateway).collect();
        match bridges.first() {
            Some(first) if ways.is_empty() => {
                first.net.bridge.subnets.iter().map(|subnet| subnet.gateway).collect()
            }
            _ => ways,
        }
    }

    /// What a container calls its interface on a network.
    pub(super) fn interface_on(&self, record: &ContainerRecord, key: &str) -> Option<String> {
        let networks = self.networks.borrow();
        let joined = joined(&networks, &record.service, &record.addresses).ok()?;
        let place = joined.iter().position(|joined| joined.key == key)?;
        interface_names(&joined).into_iter().nth(place)
    }
}

/// Where a container is reached from outside.
#[derive(Default)]
pub struct WaysIn {
    /// Its address on the network that its IPv4 leaves by.
    pub v4: Option<Ipv4Addr>,
    /// The same of IPv6.
    pub v6: Option<Ipv6Addr>,
    /// The keys of these networks.
    pub networks: BTreeSet<String>,
}

/// The networks that a service is on; the key of one that is not there.
fn joined<'a>(
    networks: &'a BTreeMap<String, Net>,
    service: &'a Service,
    addresses: &Addresses,
) -> std::result::Result<Vec<Joined<'a>>, String> {
    let on = service.network.in_order().into_iter();
    let joined = on.map(|(key, at)| {
        let (net, address) = networks.get(key).zip(addresses.get(key)).ok_or_else(|| key.to_owned())?;
        Ok(Joined { key, at, net, address: *address })
    });
    joined.collect()
}

/// A network that a container is on.
struct Joined<'a> {
    key: &'a str,
    at: &'a Attachment,
    net: &'a Net,
    address: Address,
}

/// `ethN` in the order of joining, but for those that choose.
fn interface_names(joined: &[Joined<'_>]) -> Vec<String> {
    let chosen = |joined: &Joined<'_>| {
        joined.at.interface_name.clone().or_else(|| joined.at.driver_opts.get(IFNAME).cloned())
    };
    let mut used: Vec<String> = joined.iter().filter_map(chosen).collect();
    let name = |joined: &Joined<'_>| {
        if let Some(name) = chosen(joined) {
            return name;
        }
        let prefix = joined.net.made.options.get(PREFIX).map_or("eth", String::as_str);
        let mut free = (0..=used.len()).map(|number| format!("{prefix}{number}"));
        let name = free.find(|name| !used.contains(name)).unwrap_or_else(|| prefix.to_owned());
        used.push(name.clone());
        name
    };
    joined.iter().map(name).collect()
}

/// The network that a family's default route goes over, and the gateway there: the highest `gw_priority`, then one
/// that leads out in both families, then the first by name, as in Docker. Over one that is internal nothing leads out.
fn way_out<'a>(joined: &[Joined<'a>], family: impl Fn(&IpAddr) -> bool) -> Option<(&'a str, IpAddr)> {
    let mut ways: Vec<_> = joined
        .iter()
        .filter(|joined| !joined.net.made.internal)
        .filter_map(|joined| {
            let subnet = joined.net.bridge.subnets.iter().find(|subnet| family(&subnet.gateway))?;
            Some((joined.net.made.rank(joined.at.gw_priority), joined.key, subnet.gateway))
        })
        .collect();
    ways.sort();
    ways.into_iter().next().map(|(_, key, gateway)| (key, gateway))
}

fn as_v4(address: IpAddr) -> Option<Ipv4Addr> {
    match address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    }
}

fn as_v6(address: IpAddr) -> Option<Ipv6Addr> {
    match address {
        IpAddr::V6(address) => Some(address),
        IpAddr::V4(_) => None,
    }
}

/// The addresses of an interface: link-local ones have the length that their ranges have (RFC 3927, RFC 4291).
fn prefixed(net: &Net, address: &Address, at: &Attachment) -> Vec<IpNet> {
    let own = address.all().filter_map(|address| {
        let subnet = net.bridge.subnets.iter().find(|subnet| subnet.net.contains(&address))?;
        Some(subnet.with_prefix(address))
    });
    let local = at
        .link_local_ips
        .iter()
        .filter_map(|address| IpNet::new(*address, if address.is_ipv4() { 16 } else { 64 }).ok());
    own.chain(local).collect()
}
