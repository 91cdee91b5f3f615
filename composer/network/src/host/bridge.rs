//! The bridge of a network, brought to what it should be from whatever it is.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv4Net;
use rtnetlink::packet_route::link::{InfoKind, LinkAttribute, LinkFlags, LinkMessage};
use rtnetlink::{LinkBridge, LinkUnspec};

use super::{Host, forward, group_of, is_kind, mac_of};
use crate::addresses::gateway;
use crate::error::{Error, Result, netlink_to_io};

/// A bridge that is there and up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bridge {
    /// Its name.
    pub name: String,
    /// Its index in the host's namespace.
    pub index: u32,
    /// The subnet behind it.
    pub subnet: Ipv4Net,
    /// The link group of it and of its veths.
    pub group: u32,
}

/// How often a bridge is asked for of a kernel that does not know any.
const MODULE_TRIES: u32 = 10;

impl Bridge {
    /// The bridge's own address, the containers' gateway.
    pub fn gateway(&self) -> Ipv4Addr {
        gateway(self.subnet)
    }
}

impl Host {
    /// Makes the bridge, or mends the one that is there: its group, its MAC, its only IPv4 address (the subnet's
    /// first), and that it is up. What is right already is not touched. It has no IPv6: else a container that
    /// announces itself as a router becomes the host's default route (CVE-2020-13401). Where
    /// bridged traffic passes the host's firewall, a rule there lets through what stays within the bridge.
    ///
    /// # Errors
    /// [`Error::WrongKind`] when the name belongs to something else; else the kernel's refusal.
    pub async fn ensure_bridge(&self, name: &str, subnet: Ipv4Net, group: u32) -> Result<Bridge> {
        let subnet = subnet.trunc();
        // A fixed MAC: one that the kernel chose would follow the lowest of the ports' and change under the
        // containers' ARP entries whenever a port comes or goes.
        let mac = mac_of(gateway(subnet));
        let link = match self.find(name).await? {
            Some(link) => link,
            None => self.make_bridge(name, group, &mac).await?,
        };
        if !is_kind(&link, &InfoKind::Bridge) {
            return Err(Error::WrongKind { name: name.into(), wanted: "bridge" });
        }
        without_ipv6(name)?;
        let index = link.header.index;
        let has_mac = link.attributes.contains(&LinkAttribute::Address(mac.clone()));
        if !has_mac || group_of(&link) != group || !link.header.flags.contains(LinkFlags::Up) {
            let wanted = LinkUnspec::new_with_index(index).link_group(group).address(mac).up();
            let changed = self.handle.link().change(wanted.build()).execute().await;
            changed.map_err(|error| Error::netlink("mend bridge", name, error))?;
        }
        self.ensure_address(name, index, subnet).await?;
        forward::allow(name).map_err(|error| {
            Error::kernel("have the firewall let pass the traffic of bridge", name, error)
        })?;
        Ok(Bridge { name: name.into(), index, subnet, group })
    }

    async fn make_bridge(&self, name: &str, group: u32, mac: &[u8]) -> Result<LinkMessage> {
        let mut tries = 1;
        loop {
            let message = LinkBridge::new(name).link_group(group).address(mac.to_vec()).build();
            match self.handle.link().add(message).execute().await.map_err(netlink_to_io) {
                Ok(()) => break,
                // Made by someone else since the look: what it is gets checked below as well.
                Err(error) if error.raw_os_error() == Some(libc::EEXIST) => break,
                // The first bridges of a host: where another process has the kernel load the module in this moment,
                // modprobe(8) finds it there and returns before it is ready. Each try runs modprobe anew.
                Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) && tries < MODULE_TRIES => {
                    tries += 1
                }
                Err(error) => return Err(Error::kernel("make bridge", name, error)),
            }
        }
        let gone = || Error::kernel("make bridge", name, nix::errno::Errno::ENODEV);
        self.find(name).await?.ok_or_else(gone)
    }

    async fn ensure_address(&self, name: &str, index: u32, subnet: Ipv4Net) -> Result<()> {
        let wanted = Ipv4Net::new(gateway(subnet), subnet.prefix_len()).unwrap_or(subnet);
        let mut there = false;
        for (net, message) in self.addresses(Some(index)).await? {
            if net == wanted {
                there = true;
                continue;
            }
            let removed = self.handle.address().del(message).execute().await.map_err(netlink_to_io);
            match removed {
                Err(error) if error.raw_os_error() != Some(libc::EADDRNOTAVAIL) => {
                    return Err(Error::kernel("remove a wrong address of bridge", name, error));
                }
                _ => {}
            }
        }
        if !there {
            let added = self.handle.address().add(index, IpAddr::V4(wanted.addr()), wanted.prefix_len());
            added
                .replace()
                .execute()
                .await
                .map_err(|error| Error::netlink("add the address of bridge", name, error))?;
        }
        Ok(())
    }
}

/// Takes IPv6 from an interface of the host's, before it goes up.
fn without_ipv6(interface: &str) -> Result<()> {
    match std::fs::write(format!("/proc/sys/net/ipv6/conf/{interface}/disable_ipv6"), "1") {
        // A kernel without IPv6, or a host whose settings are not ours to change.
        Err(error)
            if [std::io::ErrorKind::NotFound, std::io::ErrorKind::ReadOnlyFilesystem]
                .contains(&error.kind()) =>
        {
            Ok(())
        }
        other => other.map_err(|error| Error::kernel("take IPv6 from bridge", interface, error)),
    }
}
