//! Networks without a bridge: their containers have interfaces with hardware addresses of their own on one of the host's.
//!
//! Such an interface is born in the container's namespace, and the host has nothing by which to find it. It has to be taken
//! away there before the namespace goes: the kernel takes namespaces apart some time after their last process, and until
//! then refuses the same hardware address to the container's next interface (EADDRINUSE).

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use rtnetlink::packet_route::link::{InfoData, InfoKind, InfoVeth, LinkFlags, MacVlanMode as KernelMode};
use rtnetlink::{LinkMacVlan, LinkMessageBuilder, LinkUnspec, LinkVeth, LinkVlan};

use super::{
    Bridge, BridgeSpec, Host, Inside, IpvlanFlag, IpvlanMode, LinkMessage, Plug, group_of, has_ipv6, is_kind,
};
use crate::error::{Error, Result};
use crate::netns;

/// By what the containers of a network reach each other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Medium {
    /// A bridge of the network's own.
    #[default]
    Bridge,
    /// An interface of the host's.
    Macvlan(MacvlanMode),
    /// The same, with its hardware address.
    Ipvlan(IpvlanMode, IpvlanFlag),
}

/// How interfaces on one of the host's reach each other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MacvlanMode {
    /// Directly.
    #[default]
    Bridge,
    /// By a switch outside.
    Vepa,
    /// Not at all.
    Private,
    /// There is one alone, which has the hardware address of the host's.
    Passthru,
}

impl From<MacvlanMode> for KernelMode {
    fn from(mode: MacvlanMode) -> Self {
        match mode {
            MacvlanMode::Bridge => Self::Bridge,
            MacvlanMode::Vepa => Self::Vepa,
            MacvlanMode::Private => Self::Private,
            MacvlanMode::Passthru => Self::Passthrough,
        }
    }
}

impl Host {
    /// Finds the interface that a network's are on. One that is missing is made, in the network's link group: for
    /// `IFACE.VLAN` one that tags its packets so, and for a name of ours ([`crate::names::inner`]) one that leads nowhere.
    ///
    /// # Errors
    /// [`Error::NoParent`], [`Error::NoIpv6`]; else the kernel's refusal.
    pub(super) async fn bring_parent(&self, spec: &BridgeSpec) -> Result<Bridge> {
        let name = &spec.name;
        if spec.has_ipv6() {
            has_ipv6().map_err(|why| Error::NoIpv6 { why, subject: format!("a network on {name}") })?;
        }
        let link = match self.find(name).await? {
            Some(link) if is_made(&link, spec.group) => {
                self.raise_parent(name).await?;
                link
            }
            Some(link) => link,
            None => {
                if crate::names::is_ours(name) {
                    self.make_inner(name, spec.group).await?;
                } else {
                    self.make_vlan(name, spec.group).await?;
                }
                let gone = || Error::kernel("make interface", name, nix::errno::Errno::ENODEV);
                self.find(name).await?.ok_or_else(gone)?
            }
        };
        let index = link.header.index;
        let BridgeSpec { name, subnets, group, mtu, isolated, medium } = spec.clone();
        Ok(Bridge { name, index, subnets, group, mtu, isolated, medium })
    }

    /// Whether the interface is there, or can be made.
    ///
    /// # Errors
    /// [`Error::NoParent`]; else when the kernel refuses to look for it.
    pub async fn check_parent(&self, name: &str) -> Result<()> {
        let base = vlan(name).map(|(base, _)| base);
        for known in [Some(name), base].into_iter().flatten() {
            if self.has_link(known).await? {
                return Ok(());
            }
        }
        Err(Error::NoParent { name: name.to_owned() })
    }

    /// Whether an interface is there and nobody has raised it.
    ///
    /// # Errors
    /// When the kernel refuses to look for it.
    pub async fn is_down(&self, name: &str) -> Result<bool> {
        Ok(self.find(name).await?.is_some_and(|link| !link.header.flags.contains(LinkFlags::Up)))
    }

    /// Makes the interface that a network is on which leads nowhere: one end of a pair whose other end nobody has. Kernels
    /// have no dummies always, and a bridge without a port does not count as plugged in.
    async fn make_inner(&self, name: &str, group: u32) -> Result<()> {
        let peer = LinkMessageBuilder::<LinkUnspec>::new().name(crate::names::other_end(name));
        let pair = LinkMessageBuilder::<LinkVeth>::new_with_info_kind(InfoKind::Veth)
            .name(name)
            .set_info_data(InfoData::Veth(InfoVeth::Peer(peer.link_group(group).build())))
            .link_group(group);
        match self.add(pair.build()).await {
            // Made by somebody else since the look.
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => {}
            other => other.map_err(|error| Error::kernel("make interface", name, error))?,
        }
        for end in [name, &crate::names::other_end(name)] {
            super::bridge::set_ipv6(end, false)
                .map_err(|error| Error::kernel("take IPv6 from interface", end, error))?;
        }
        self.raise_parent(name).await
    }

    /// Raises what was made for a network: without that on either end of a pair nothing passes.
    async fn raise_parent(&self, name: &str) -> Result<()> {
        let other = crate::names::is_ours(name).then(|| crate::names::other_end(name));
        for end in std::iter::once(name).chain(other.as_deref()) {
            let up = LinkUnspec::new_with_name(end).up().build();
            let raised = self.handle.link().change(up).execute().await;
            raised.map_err(|error| Error::netlink("raise interface", end, error))?;
        }
        Ok(())
    }

    /// Makes `IFACE.VLAN`.
    async fn make_vlan(&self, name: &str, group: u32) -> Result<()> {
        let missing = || Error::NoParent { name: name.to_owned() };
        let (base, tag) = vlan(name).ok_or_else(missing)?;
        let base = self.find(base).await?.ok_or_else(missing)?.header.index;
        let message = LinkVlan::new(name, base, tag).link_group(group).up().build();
        match self.add(message).await {
            // Made by somebody else since the look.
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(()),
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {
                Err(Error::NoVlans { name: name.to_owned() })
            }
            other => other.map_err(|error| Error::kernel("make interface", name, error)),
        }
    }

    /// Removes the interface that a network was on, where it was made for a network of this link group; absent is fine.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub async fn remove_parent(&self, name: &str, group: u32) -> Result<()> {
        let Some(link) = self.find(name).await?.filter(|link| is_made(link, group)) else { return Ok(()) };
        let message = LinkUnspec::new_with_index(link.header.index).build();
        self.delete(message).await.map_err(|error| Error::kernel("remove interface", name, error))
    }

    /// Gives the interface that a network was on to others that have one on it too, where it was made for a network of
    /// this link group: from now on it goes with theirs.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub async fn pass_parent(&self, name: &str, from: u32, to: u32) -> Result<()> {
        let Some(link) = self.find(name).await?.filter(|link| is_made(link, from)) else { return Ok(()) };
        let message = LinkUnspec::new_with_index(link.header.index).link_group(to).build();
        let changed = self.handle.link().change(message).execute().await;
        changed.map_err(|error| Error::netlink("pass on interface", name, error))
    }

    /// Makes what a container is plugged in by; what is inside is left down.
    pub(crate) async fn make_link(&self, plug: &Plug, netns: BorrowedFd<'_>) -> Result<()> {
        match plug.bridge.medium {
            Medium::Bridge => self.make_veth(plug, netns).await,
            Medium::Macvlan(_) | Medium::Ipvlan(..) => match self.make_inside(plug, netns).await {
                Err(error) if is_there(&error) => {
                    // Of the container's last program, in a namespace that others are still in.
                    let inside = netns.try_clone_to_owned().map_err(|source| {
                        Error::kernel("keep open", "the container's network namespace", source)
                    })?;
                    remove_inside_one(inside, plug.interface.clone()).await?;
                    self.make_inside(plug, netns).await
                }
                made => made,
            },
        }
    }

    /// Makes an interface in the container's namespace, on the host's.
    async fn make_inside(&self, plug: &Plug, netns: BorrowedFd<'_>) -> Result<()> {
        match plug.bridge.medium {
            Medium::Bridge => Ok(()),
            Medium::Macvlan(mode) => self.make_macvlan(plug, mode, netns).await,
            Medium::Ipvlan(mode, flag) => self.make_ipvlan(plug, (mode, flag), netns).await,
        }
    }

    async fn make_macvlan(&self, plug: &Plug, mode: MacvlanMode, netns: BorrowedFd<'_>) -> Result<()> {
        let parent = &plug.bridge;
        let mut message = LinkMacVlan::new(&plug.interface, parent.index, mode.into())
            .address(plug.mac.to_vec())
            .setns_by_fd(netns.as_raw_fd());
        if let Some(mtu) = parent.mtu {
            message = message.mtu(mtu);
        }
        let made = self.add(message.build()).await;
        made.map_err(|error| match (mode, error.raw_os_error()) {
            // Another has it already, or this would be another.
            (MacvlanMode::Passthru, Some(libc::EINVAL)) => Error::Alone { parent: parent.name.clone() },
            (_, Some(libc::EBUSY)) => Error::Occupied { parent: parent.name.clone() },
            _ => Error::kernel("make on the host's interface", &parent.name, error),
        })
    }

    /// Brings back an interface of a container that runs, unless it is there.
    pub(super) async fn replug_inside(&self, plug: Plug, inside: OwnedFd) -> Result<()> {
        use std::os::fd::AsFd;
        match self.make_inside(&plug, inside.as_fd()).await {
            Err(error) if is_there(&error) => Ok(()),
            Err(error) => Err(error),
            Ok(()) => netns::run(inside, move || Inside::open()?.configure(&plug)).await,
        }
    }
}

fn is_there(error: &Error) -> bool {
    matches!(error, Error::Kernel { source, .. } if source.raw_os_error() == Some(libc::EEXIST))
}

/// Removes one such interface of a namespace.
async fn remove_inside_one(netns: OwnedFd, name: String) -> Result<()> {
    netns::run(netns, move || {
        let mut inside = Inside::open()?;
        match inside.find(&name)? {
            Some(link) if is_on_hosts(&link) => inside.remove(link.header.index, &name),
            Some(_) | None => Ok(()),
        }
    })
    .await
}

/// Removes what a namespace has on interfaces of the host's, starting at once; the future is over once it is gone.
///
/// # Errors
/// When the namespace cannot be entered, or the kernel refuses.
pub fn remove_inside(netns: OwnedFd) -> impl Future<Output = Result<()>> + use<> {
    netns::run(netns, move || {
        let mut inside = Inside::open()?;
        let failed = |error| Error::kernel("list the interfaces of", "the container", error);
        let devices = std::fs::read_to_string("/proc/thread-self/net/dev").map_err(failed)?;
        let names = devices.lines().filter_map(|line| line.trim_start().split_once(':'));
        names.map(|(name, _)| name).try_for_each(|name| match inside.find(name)? {
            Some(link) if is_on_hosts(&link) => inside.remove(link.header.index, name),
            Some(_) | None => Ok(()),
        })
    })
}

fn is_on_hosts(link: &LinkMessage) -> bool {
    [InfoKind::MacVlan, InfoKind::IpVlan].iter().any(|kind| is_kind(link, kind))
}

/// Whether we have made it, for this link group.
fn is_made(link: &LinkMessage, group: u32) -> bool {
    group != 0
        && group_of(link) == group
        && [InfoKind::Vlan, InfoKind::Veth].iter().any(|kind| is_kind(link, kind))
}

/// The interface and the tag of `IFACE.VLAN` (IEEE 802.1Q, 9.6: 0 and 4095 are none).
fn vlan(name: &str) -> Option<(&str, u16)> {
    let (base, tag) = name.rsplit_once('.')?;
    let is_number = tag.bytes().all(|byte| byte.is_ascii_digit());
    let tag = tag.parse().ok().filter(|tag| is_number && (1..4095).contains(tag))?;
    (!base.is_empty()).then_some((base, tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_a_tag() {
        assert_eq!(vlan("eth0.10"), Some(("eth0", 10)));
        assert_eq!(vlan("a.b.4094"), Some(("a.b", 4094)));
        for name in ["eth0", "eth0.", ".7", "eth0.0", "eth0.4095", "eth0.x", "eth0.+7"] {
            assert_eq!(vlan(name), None, "{name}");
        }
    }
}
