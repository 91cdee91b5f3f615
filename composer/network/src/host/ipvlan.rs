//! Interfaces with the hardware address of the host's that they are on, told apart by their addresses.

use std::os::fd::{AsRawFd, BorrowedFd};

use rtnetlink::LinkIpVlan;
use rtnetlink::packet_route::link::{IpVlanFlags, IpVlanMode};

use super::{Host, Plug};
use crate::error::{Error, Result};

/// By what packets of such interfaces find their way; one for all that are on an interface of the host's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum IpvlanMode {
    /// By hardware addresses, as on any network.
    #[default]
    L2,
    /// By routes alone.
    L3,
    /// The same, seen by the host's firewall.
    L3s,
}

/// How such interfaces reach each other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum IpvlanFlag {
    /// Directly.
    #[default]
    Bridge,
    /// Not at all.
    Private,
    /// By a switch outside.
    Vepa,
}

impl IpvlanMode {
    /// Whether nobody is asked for hardware addresses: a gateway is none, and ways out lead to the interface itself.
    pub(super) fn is_routed(self) -> bool {
        match self {
            Self::L2 => false,
            Self::L3 | Self::L3s => true,
        }
    }
}

impl From<IpvlanMode> for IpVlanMode {
    fn from(mode: IpvlanMode) -> Self {
        match mode {
            IpvlanMode::L2 => Self::L2,
            IpvlanMode::L3 => Self::L3,
            IpvlanMode::L3s => Self::L3S,
        }
    }
}

impl From<IpvlanFlag> for IpVlanFlags {
    fn from(flag: IpvlanFlag) -> Self {
        match flag {
            IpvlanFlag::Bridge => Self::empty(),
            IpvlanFlag::Private => Self::Private,
            IpvlanFlag::Vepa => Self::Vepa,
        }
    }
}

impl Host {
    /// Whether the kernel makes such interfaces.
    ///
    /// # Errors
    /// [`Error::NoIpvlan`].
    pub async fn check_ipvlan(&self) -> Result<()> {
        // One on no interface: whoever knows the kind misses that, and makes nothing (ipvlan_link_new).
        let on_nothing = LinkIpVlan::new("try-ipvlan", 0, IpVlanMode::L2);
        match self.add(on_nothing.build()).await {
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Err(Error::NoIpvlan),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    pub(super) async fn make_ipvlan(
        &self,
        plug: &Plug,
        (mode, flag): (IpvlanMode, IpvlanFlag),
        netns: BorrowedFd<'_>,
    ) -> Result<()> {
        let parent = &plug.bridge;
        let mut message = LinkIpVlan::new(&plug.interface, parent.index, mode.into())
            .flag(flag.into())
            .setns_by_fd(netns.as_raw_fd());
        if let Some(mtu) = parent.mtu {
            message = message.mtu(mtu);
        }
        let made = self.add(message.build()).await;
        made.map_err(|error| match error.raw_os_error() {
            Some(libc::EOPNOTSUPP) => Error::NoIpvlan,
            Some(libc::EBUSY) => Error::Occupied { parent: parent.name.clone() },
            _ => Error::kernel("make on the host's interface", &parent.name, error),
        })
    }
}
