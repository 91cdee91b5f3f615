//! The host's side: one rtnetlink connection for all that a supervisor does to links, addresses and routes.

mod bridge;
mod forward;
mod inside;
mod veth;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt};
use ipnet::Ipv4Net;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::AddressAttribute;
use rtnetlink::packet_route::link::{self, LinkAttribute, LinkFlags, LinkMessage};
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteMessage};
use rtnetlink::{Handle, LinkMessageBuilder, LinkUnspec};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::error::{Error, Result, netlink_to_io};
use crate::{dns, names};

pub use bridge::Bridge;
pub(crate) use inside::{Inside, Plug};

/// How many containers are attached at the same time: the kernel lets one configure links at once anyway (the
/// rtnl mutex), and each takes a thread.
const ATTACHING: usize = 4;
/// How many links are removed at the same time, each by a thread that waits for the kernel: those that wait together
/// wait no longer than one.
const REMOVING: usize = 16;

/// A link of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkInfo {
    /// Its name.
    pub name: String,
    /// Its index in the host's namespace.
    pub index: u32,
    /// Its group; 0 unless someone chose another.
    pub group: u32,
    /// Whether it is administratively up.
    pub up: bool,
}

/// A connection to the network namespace that the process is in. It needs the tokio runtime it was opened on.
#[derive(Debug)]
pub struct Host {
    handle: Handle,
    connection: JoinHandle<()>,
    pub(crate) turns: Semaphore,
    removals: Arc<Semaphore>,
}

impl Drop for Host {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// The link group of a subnet's bridge and veths: the subnet's own address as a number, which is unique on the
/// host as the subnet is. Its last bit, always 0, is left out: iproute2 takes groups of 31 bits only. Never 0, the
/// group of all interfaces that were put into none.
pub fn link_group(subnet: Ipv4Net) -> u32 {
    (subnet.network().to_bits() >> 1).max(1)
}

impl Host {
    /// Connects, and starts the connection's task on the current runtime.
    ///
    /// # Errors
    /// When the netlink socket cannot be opened.
    pub fn open() -> Result<Self> {
        let (connection, handle, _) = rtnetlink::new_connection()
            .map_err(|source| Error::kernel("open", "a route netlink socket", source))?;
        Ok(Self {
            handle,
            connection: tokio::spawn(connection),
            turns: Semaphore::new(ATTACHING),
            removals: Arc::new(Semaphore::new(REMOVING)),
        })
    }

    /// What a new subnet must keep clear of: every IPv4 route of every table, every address, and the resolvers,
    /// which may lie behind the default route in a range that no route names. Default routes are left out.
    ///
    /// # Errors
    /// When the kernel refuses to list them.
    pub async fn taken(&self) -> Result<Vec<Ipv4Net>> {
        let mut taken = Vec::new();
        let mut all_routes = RouteMessage::default();
        all_routes.header.address_family = AddressFamily::Inet;
        let mut routes = std::pin::pin!(self.handle.route().get(all_routes).execute());
        while let Some(route) = routes.next().await {
            let route = route.map_err(|error| Error::netlink("list", "the routes of the host", error))?;
            let length = route.header.destination_prefix_length;
            let destination = route.attributes.iter().find_map(|attribute| match attribute {
                RouteAttribute::Destination(RouteAddress::Inet(address)) => Some(*address),
                _ => None,
            });
            taken.extend(destination.and_then(|address| Ipv4Net::new(address, length).ok()));
        }
        taken.extend(self.addresses(None).await?.into_iter().map(|(net, _)| net));
        taken.extend(dns::host_resolv().nameservers.iter().filter_map(|server| match server.ip() {
            IpAddr::V4(address) if !address.is_loopback() => Some(Ipv4Net::from(address)),
            _ => None,
        }));
        Ok(taken)
    }

    /// Removes every link of a group with one request: the kernel waits for its readers once, and not once for
    /// each link. Links of a group that has none are no error. What [`Host::ensure_bridge`] put into the firewall
    /// goes first, so that whoever is stopped half-way finds the rest by the group again.
    ///
    /// # Errors
    /// [`Error::DefaultGroup`] and [`Error::ForeignLink`] before anything is removed; else the kernel's refusal.
    pub async fn remove_group(&self, group: u32) -> Result<()> {
        if group == 0 {
            return Err(Error::DefaultGroup);
        }
        let members: Vec<_> = self.links().await?.into_iter().filter(|link| link.group == group).collect();
        if let Some(foreign) = members.iter().find(|link| !names::is_ours(&link.name)) {
            return Err(Error::ForeignLink { name: foreign.name.clone(), group });
        }
        if members.is_empty() {
            return Ok(());
        }
        let names: Vec<_> = members.iter().map(|link| link.name.as_str()).collect();
        let withdrawn = forward::withdraw(&names);
        let message = LinkMessageBuilder::<LinkUnspec>::new().link_group(group).build();
        self.delete(message).await.map_err(|error| Error::kernel("remove link group", group, error))?;
        // Closed only here, its socket has nothing left to wait for. A rule that could not be removed does not keep
        // the links: without its bridge it lets nothing pass.
        withdrawn
            .map(drop)
            .map_err(|error| Error::kernel("remove from the firewall the rule of link group", group, error))
    }

    /// Every link of the host.
    ///
    /// # Errors
    /// When the kernel refuses to list them.
    pub async fn links(&self) -> Result<Vec<LinkInfo>> {
        self.handle
            .link()
            .get()
            .execute()
            .map_ok(|message| LinkInfo {
                name: name_of(&message).unwrap_or_default().to_owned(),
                index: message.header.index,
                group: group_of(&message),
                up: message.header.flags.contains(LinkFlags::Up),
            })
            .try_collect()
            .await
            .map_err(|error| Error::netlink("list", "the links of the host", error))
    }

    /// The link of that name, if there is one.
    async fn find(&self, name: &str) -> Result<Option<LinkMessage>> {
        let found = std::pin::pin!(self.handle.link().get().match_name(name).execute()).next().await;
        match found.transpose().map_err(netlink_to_io) {
            Ok(link) => Ok(link),
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(None),
            Err(error) => Err(Error::kernel("look for interface", name, error)),
        }
    }

    /// Deletes what the message matches; that it is gone already is no error.
    async fn delete(&self, message: LinkMessage) -> std::io::Result<()> {
        match self.handle.link().del_with_message(message).execute().await.map_err(netlink_to_io) {
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(()),
            other => other,
        }
    }

    /// The IPv4 addresses of one link, or of all, each with the message that names it to the kernel.
    async fn addresses(
        &self,
        index: Option<u32>,
    ) -> Result<Vec<(Ipv4Net, rtnetlink::packet_route::address::AddressMessage)>> {
        let mut request = self.handle.address().get();
        request.message_mut().header.family = AddressFamily::Inet;
        if let Some(index) = index {
            request = request.set_link_index_filter(index);
        }
        let messages: Vec<_> = request
            .execute()
            .try_collect()
            .await
            .map_err(|error| Error::netlink("list", "the addresses of the host", error))?;
        let net = |address: Ipv4Addr, length| Ipv4Net::new(address, length).ok();
        Ok(messages
            .into_iter()
            .filter(|message| message.header.family == AddressFamily::Inet)
            .filter_map(|message| {
                // IFA_LOCAL is the interface's own address; on point-to-point links IFA_ADDRESS is the peer's.
                let own = message.attributes.iter().find_map(|attribute| match attribute {
                    AddressAttribute::Local(IpAddr::V4(address)) => Some(*address),
                    _ => None,
                });
                net(own?, message.header.prefix_len).map(|net| (net, message))
            })
            .collect())
    }
}

fn name_of(message: &LinkMessage) -> Option<&str> {
    message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.as_str()),
        _ => None,
    })
}

fn group_of(message: &LinkMessage) -> u32 {
    let group = message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Group(group) => Some(*group),
        _ => None,
    });
    group.unwrap_or(0)
}

fn is_kind(message: &LinkMessage, wanted: &link::InfoKind) -> bool {
    message.attributes.iter().any(|attribute| match attribute {
        LinkAttribute::LinkInfo(infos) => {
            infos.iter().any(|info| matches!(info, link::LinkInfo::Kind(kind) if kind == wanted))
        }
        _ => false,
    })
}

/// A MAC that follows from the address, locally administered, as Docker's: a container that comes back with its
/// address comes back with its MAC, and nobody's ARP entry goes stale.
fn mac_of(address: Ipv4Addr) -> Vec<u8> {
    let [a, b, c, d] = address.octets();
    vec![0x02, 0x42, a, b, c, d]
}
