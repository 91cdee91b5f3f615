//! The bridge of a network, brought to what it should be from whatever it is.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use rtnetlink::packet_route::address::{AddressHeaderFlags, AddressMessage};
use rtnetlink::packet_route::link::{InfoKind, LinkAttribute, LinkFlags, LinkMessage};
use rtnetlink::{LinkBridge, LinkUnspec};

use super::{Host, Medium, forward, group_of, has_ipv6, is_by_itself, is_kind, link_local_of, mac_of};
use crate::addresses::Subnet;
use crate::error::{Error, Result, netlink_to_io};
use crate::names;

/// What a bridge should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BridgeSpec {
    /// Its name.
    pub name: String,
    /// The subnets behind it; it carries their gateways.
    pub subnets: Vec<Subnet>,
    /// The link group of it and of its veths.
    pub group: u32,
    /// Its MTU and that of its veths; the kernel's where absent.
    pub mtu: Option<u32>,
    /// Its ports do not reach each other.
    pub isolated: bool,
    /// Where it is no bridge, what it is.
    pub medium: Medium,
}

/// A bridge that is there and up, or an interface of the host's in its place ([`Medium`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bridge {
    /// Its name.
    pub name: String,
    /// Its index in the host's namespace.
    pub index: u32,
    /// The subnets behind it.
    pub subnets: Vec<Subnet>,
    /// The link group of it and, unless others are on it as well, of its veths.
    pub group: u32,
    /// Its MTU, where it was chosen.
    pub mtu: Option<u32>,
    /// Its ports do not reach each other.
    pub isolated: bool,
    /// Where it is no bridge, what it is.
    pub medium: Medium,
}

impl BridgeSpec {
    pub(super) fn has_ipv6(&self) -> bool {
        self.subnets.iter().any(|subnet| subnet.gateway.is_ipv6() && !subnet.bare)
    }
}

impl Host {
    /// Makes the bridge, or mends the one that is there: its group, its MAC, its addresses (the gateways), its MTU, and
    /// that it is up. What is right already is not touched. Without a subnet of IPv6 it has none of it: else a container
    /// that announces itself as a router becomes the host's default route (CVE-2020-13401); with one it listens to no
    /// announcement. Where bridged traffic passes the host's firewall, a rule there lets through what stays within the
    /// bridge.
    ///
    /// # Errors
    /// [`Error::ForeignBridge`] and [`Error::WrongKind`] when the name belongs to something else; [`Error::NoIpv6`];
    /// [`Error::NoParent`]; else the kernel's refusal.
    pub async fn bring_bridge(&self, spec: &BridgeSpec) -> Result<Bridge> {
        if spec.medium != Medium::Bridge {
            return self.bring_parent(spec).await;
        }
        let BridgeSpec { name, group, .. } = spec;
        if spec.has_ipv6() {
            has_ipv6().map_err(|why| Error::NoIpv6 { why, subject: format!("bridge {name}") })?;
        }
        // A fixed MAC: one that the kernel chose would follow the lowest of the ports' and change under the
        // containers' ARP entries whenever a port comes or goes.
        let first =
            spec.subnets.first().map_or(IpAddr::V4(Ipv4Addr::from_bits(*group)), |subnet| subnet.gateway);
        let own = mac_of(first);
        let mac = own.to_vec();
        let link = match self.find(name).await? {
            Some(link) => link,
            None => self.make_bridge(spec, &mac).await?,
        };
        serves(&link, name, *group)?;
        let set = set_ipv6(name, spec.has_ipv6()).and_then(|()| match spec.has_ipv6() {
            // The address by which it asks for the containers of what it forwards is in use at once: nobody else can have it.
            true => set_of_ipv6(name, &[("accept_dad", "0")]),
            false => Ok(()),
        });
        set.map_err(|error| {
            let doing = if spec.has_ipv6() { "give IPv6 to bridge" } else { "take IPv6 from bridge" };
            Error::kernel(doing, name, error)
        })?;
        let index = link.header.index;
        let has_mac = link.attributes.contains(&LinkAttribute::Address(mac.clone()));
        let has_mtu = spec.mtu.is_none_or(|mtu| link.attributes.contains(&LinkAttribute::Mtu(mtu)));
        if !has_mac || !has_mtu || group_of(&link) != *group || !link.header.flags.contains(LinkFlags::Up) {
            let mut wanted = LinkUnspec::new_with_index(index).link_group(*group).address(mac).up();
            if let Some(mtu) = spec.mtu {
                wanted = wanted.mtu(mtu);
            }
            let changed = self.handle.link().change(wanted.build()).execute().await;
            changed.map_err(|error| Error::netlink("mend bridge", name, error))?;
        }
        self.ensure_addresses(name, index, &spec.subnets).await?;
        // The kernel makes one when the first port comes, and never again while it stays: without it, it asks for nobody
        // whom it forwards to.
        if spec.has_ipv6() && link.header.flags.contains(LinkFlags::Running) {
            self.ensure_link_local(name, index, link_local_of(own)).await?;
        }
        forward::allow(name).map_err(|error| {
            Error::kernel("have the firewall let pass the traffic of bridge", name, error)
        })?;
        let BridgeSpec { name, subnets, group, mtu, isolated, medium } = spec.clone();
        Ok(Bridge { name, index, subnets, group, mtu, isolated, medium })
    }

    /// Whether a bridge may have this name: nobody has it, or one of this link group, 0 where there is none yet.
    ///
    /// # Errors
    /// [`Error::ForeignBridge`] and [`Error::WrongKind`]; else when the kernel refuses to look for it.
    pub async fn check_bridge(&self, name: &str, group: u32) -> Result<()> {
        self.find(name).await?.map_or(Ok(()), |link| serves(&link, name, group))
    }

    /// Has a bridge of one link group be of another; absent is fine, and so is that it is of none of the first.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub async fn pass_bridge(&self, name: &str, from: u32, to: u32) -> Result<()> {
        let is_it = |link: &LinkMessage| group_of(link) == from && is_kind(link, &InfoKind::Bridge);
        let Some(link) = self.find(name).await?.filter(is_it) else { return Ok(()) };
        let message = LinkUnspec::new_with_index(link.header.index).link_group(to).build();
        let changed = self.handle.link().change(message).execute().await;
        changed.map_err(|error| Error::netlink("pass on bridge", name, error))
    }

    /// Removes a bridge of this link group, and the rule by which the firewall let its traffic pass; absent is fine, and so
    /// is that somebody else has one of that name, which stays.
    ///
    /// # Errors
    /// [`Error::WrongKind`] when the name belongs to something else; else the kernel's refusal.
    pub async fn remove_bridge(&self, name: &str, group: u32) -> Result<()> {
        let Some(link) = self.find(name).await?.filter(|link| is_own(link, name, group)) else {
            return Ok(());
        };
        if !is_kind(&link, &InfoKind::Bridge) {
            return Err(Error::WrongKind { name: name.into(), wanted: "bridge" });
        }
        let withdrawn = forward::withdraw(&[name]);
        let message = LinkUnspec::new_with_index(link.header.index).build();
        self.delete(message).await.map_err(|error| Error::kernel("remove bridge", name, error))?;
        withdrawn
            .map(drop)
            .map_err(|error| Error::kernel("remove from the firewall the rule of bridge", name, error))
    }

    async fn make_bridge(&self, spec: &BridgeSpec, mac: &[u8]) -> Result<LinkMessage> {
        let name = &spec.name;
        let mut message = LinkBridge::new(name).link_group(spec.group).address(mac.to_vec());
        if let Some(mtu) = spec.mtu {
            message = message.mtu(mtu);
        }
        match self.add(message.build()).await {
            // Made by someone else since the look: what it is gets checked below as well.
            Err(error) if error.raw_os_error() != Some(libc::EEXIST) => {
                return Err(Error::kernel("make bridge", name, error));
            }
            Ok(()) | Err(_) => {}
        }
        let gone = || Error::kernel("make bridge", name, nix::errno::Errno::ENODEV);
        self.find(name).await?.ok_or_else(gone)
    }

    async fn ensure_addresses(&self, name: &str, index: u32, subnets: &[Subnet]) -> Result<()> {
        let mut wanted: Vec<IpNet> =
            subnets.iter().filter(|subnet| !subnet.bare).map(Subnet::of_bridge).collect();
        // What somebody has given it where it is to have none by itself is not ours.
        let is_others = |net: &IpNet| {
            subnets.iter().any(|subnet| subnet.bare && subnet.net.addr().is_ipv4() == net.addr().is_ipv4())
        };
        for (net, message) in self.addresses(Some(index)).await? {
            if is_others(&net) {
                continue;
            }
            if wanted.contains(&net) {
                wanted.retain(|other| *other != net);
                continue;
            }
            self.remove_address(name, message).await?;
        }
        for net in wanted {
            self.add_address(name, index, net).await?;
        }
        Ok(())
    }

    /// Whichever it has: the host may have the kernel choose it otherwise (addr_gen_mode).
    async fn ensure_link_local(&self, name: &str, index: u32, wanted: IpNet) -> Result<()> {
        let there = self.all_addresses(Some(index)).await?;
        if there.iter().any(|(net, _)| is_by_itself(net)) {
            return Ok(());
        }
        self.add_address(name, index, wanted).await
    }

    async fn add_address(&self, name: &str, index: u32, net: IpNet) -> Result<()> {
        let mut added = self.handle.address().add(index, net.addr(), net.prefix_len()).replace();
        if net.addr().is_ipv6() {
            // It is there at once: nobody else can have it behind a bridge of our own.
            added.message_mut().header.flags |= AddressHeaderFlags::Nodad;
        }
        let added = added.execute().await;
        added.map_err(|error| Error::netlink("add the address of bridge", name, error))
    }

    async fn remove_address(&self, name: &str, message: AddressMessage) -> Result<()> {
        match self.handle.address().del(message).execute().await.map_err(netlink_to_io) {
            Err(error) if error.raw_os_error() != Some(libc::EADDRNOTAVAIL) => {
                Err(Error::kernel("remove a wrong address of bridge", name, error))
            }
            _ => Ok(()),
        }
    }
}

/// Whether a link can be the bridge of a network of this group.
fn serves(link: &LinkMessage, name: &str, group: u32) -> Result<()> {
    if !is_own(link, name, group) {
        return Err(Error::ForeignBridge { name: name.to_owned() });
    }
    if !is_kind(link, &InfoKind::Bridge) {
        return Err(Error::WrongKind { name: name.to_owned(), wanted: "bridge" });
    }
    Ok(())
}

/// Whether a link may be changed for a network of this group: names that users choose may be those of the host's own.
fn is_own(link: &LinkMessage, name: &str, group: u32) -> bool {
    (group != 0 && group_of(link) == group) || names::is_ours(name)
}

/// Gives IPv6 to an interface of the thread's namespace, or takes it, before it goes up; no router that announces itself is
/// heard there.
pub(super) fn set_ipv6(interface: &str, on: bool) -> std::io::Result<()> {
    let settings: &[(&str, &str)] =
        if on { &[("accept_ra", "0"), ("disable_ipv6", "0")] } else { &[("disable_ipv6", "1")] };
    set_of_ipv6(interface, settings).or_else(|error| {
        // A kernel without IPv6, or a host whose settings are not ours to change.
        let is_off = [std::io::ErrorKind::NotFound, std::io::ErrorKind::ReadOnlyFilesystem];
        if !on && is_off.contains(&error.kind()) { Ok(()) } else { Err(error) }
    })
}

fn set_of_ipv6(interface: &str, settings: &[(&str, &str)]) -> std::io::Result<()> {
    for (key, value) in settings {
        let path = format!("/proc/sys/net/ipv6/conf/{interface}/{key}");
        if std::fs::read_to_string(&path).is_ok_and(|now| now.trim() == *value) {
            continue;
        }
        std::fs::write(path, value)?;
    }
    Ok(())
}
