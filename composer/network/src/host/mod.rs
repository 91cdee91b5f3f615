//! The host's side: one rtnetlink connection for all that a supervisor does to links, addresses and routes.

mod announce;
mod bandwidth;
mod bridge;
mod forward;
mod group;
mod inside;
mod ipvlan;
mod kinds;
mod loopback;
mod macvlan;
mod taken;
mod veth;

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt};
use ipnet::{IpNet, Ipv6Net};
use rtnetlink::Handle;
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage};
use rtnetlink::packet_route::link::{self, LinkAttribute, LinkFlags, LinkMessage};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::dns;
use crate::error::{Error, Result, netlink_to_io};

pub use bandwidth::{Counter, Counters, Direction, FIRST_CLASS, LAST_CLASS, Rates, Shaped, Shaper, counters};
pub use bridge::{Bridge, BridgeSpec};
pub(crate) use inside::Inside;
pub use inside::{Gateways, Plug};
pub use ipvlan::{IpvlanFlag, IpvlanMode};
pub use loopback::Loopback;
pub use macvlan::{MacvlanMode, Medium, remove_inside};
pub use taken::Taken;

/// How many containers are attached at the same time: the kernel lets one configure links at once anyway (the
/// rtnl mutex), and each takes a thread.
const ATTACHING: usize = 4;
/// How many links are removed at the same time, each by a thread that waits for the kernel: those that wait together
/// wait no longer than one.
const REMOVING: usize = 16;
/// What every MAC of ours begins with, as Docker's.
const MAC_PREFIX: [u8; 2] = [0x02, 0x42];

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
    /// The index of the bridge that it is in.
    pub controller: Option<u32>,
}

/// A connection to the network namespace that the process is in. It needs the tokio runtime it was opened on.
#[derive(Debug)]
pub struct Host {
    handle: Handle,
    connection: JoinHandle<()>,
    pub(crate) turns: Semaphore,
    removals: Arc<Semaphore>,
    /// Limits of bandwidth are set by one at a time: what it takes several requests for is looked at by the next.
    shaping: Semaphore,
}

impl Drop for Host {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// The host's resolvers, which may lie behind the default route in a range that no route names. A subnet that is picked
/// keeps clear of them as well; one that was chosen may hold them: a container can be the host's resolver.
pub fn resolvers() -> impl Iterator<Item = IpNet> {
    let servers = dns::host_resolv().nameservers.into_iter().map(|server| server.ip());
    servers.filter(|address| !address.is_loopback()).map(IpNet::from)
}

/// Whether the kernel has IPv6; why not.
pub fn has_ipv6() -> std::result::Result<(), &'static str> {
    match std::fs::read_to_string("/proc/sys/net/ipv6/conf/all/disable_ipv6") {
        Ok(value) if value.trim() == "0" => Ok(()),
        Ok(_) => Err("net.ipv6.conf.all.disable_ipv6 is 1"),
        Err(_) => Err("there is no /proc/sys/net/ipv6: it was started with ipv6.disable=1, or built without"),
    }
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
            shaping: Semaphore::new(1),
        })
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
                controller: message.attributes.iter().find_map(|attribute| match attribute {
                    LinkAttribute::Controller(index) => Some(*index),
                    _ => None,
                }),
            })
            .try_collect()
            .await
            .map_err(|error| Error::netlink("list", "the links of the host", error))
    }

    /// Whether there is a link of that name.
    ///
    /// # Errors
    /// When the kernel refuses to look for it.
    pub async fn has_link(&self, name: &str) -> Result<bool> {
        Ok(self.find(name).await?.is_some())
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

    /// The addresses of one link, or of all, each with the message that names it to the kernel. Those that the kernel
    /// makes of an interface by itself (link-local ones of IPv6) are left out.
    async fn addresses(&self, index: Option<u32>) -> Result<Vec<(IpNet, AddressMessage)>> {
        let mut all = self.all_addresses(index).await?;
        all.retain(|(net, _)| !is_by_itself(net));
        Ok(all)
    }

    async fn all_addresses(&self, index: Option<u32>) -> Result<Vec<(IpNet, AddressMessage)>> {
        let mut request = self.handle.address().get();
        if let Some(index) = index {
            request = request.set_link_index_filter(index);
        }
        let messages: Vec<_> = request
            .execute()
            .try_collect()
            .await
            .map_err(|error| Error::netlink("list", "the addresses of the host", error))?;
        let nets = messages.into_iter().filter_map(|message| {
            let net = IpNet::new(own_address(&message)?, message.header.prefix_len).ok()?;
            Some((net, message))
        });
        Ok(nets.collect())
    }
}

fn is_by_itself(net: &IpNet) -> bool {
    matches!(net.addr(), IpAddr::V6(address) if address.is_unicast_link_local())
}

/// IFA_LOCAL is the interface's own address; on point-to-point links IFA_ADDRESS is the peer's. IPv6 has the latter alone
/// elsewhere.
fn own_address(message: &AddressMessage) -> Option<IpAddr> {
    let local = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(address) => Some(*address),
        _ => None,
    });
    local.or_else(|| {
        message.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Address(address @ IpAddr::V6(_)) => Some(*address),
            _ => None,
        })
    })
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
pub fn mac_of(address: IpAddr) -> [u8; 6] {
    let [a, b, c, d] = match address {
        IpAddr::V4(address) => address.octets(),
        // The part that differs within a subnet.
        IpAddr::V6(address) => {
            let [.., a, b, c, d] = address.octets();
            [a, b, c, d]
        }
    };
    let [one, two] = MAC_PREFIX;
    [one, two, a, b, c, d]
}

/// The link-local address that the kernel makes of a MAC (RFC 4291, appendix A).
fn link_local_of(mac: [u8; 6]) -> IpNet {
    let [a, b, c, d, e, f] = mac;
    let pairs = [[a ^ 2, b], [c, 0xff], [0xfe, d], [e, f]].map(u16::from_be_bytes);
    let [one, two, three, four] = pairs;
    let address = Ipv6Addr::new(0xfe80, 0, 0, 0, one, two, three, four);
    // As wide as its network is (RFC 4291, 2.5.6).
    Ipv6Net::new_assert(address, 64).into()
}
