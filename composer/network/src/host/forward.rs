//! The host's firewall and the traffic within a bridge: see [`crate::firewall::acceptance`].

use std::io;

use netlink_socket2::NetlinkSocket;
use rtnetlink::LinkBridgePort;

use super::Host;
use crate::error::{Error, Result};
use crate::firewall::acceptance;

impl Host {
    /// Has the bridge give back to a container what comes from it and is led to it: where bridged packets pass the
    /// firewall, its own published port leads there within the bridge. Only for those that have any, as it gets its own
    /// broadcasts back as well.
    ///
    /// # Errors
    /// When there is no such link in a bridge, or the kernel refuses.
    pub async fn return_own(&self, veth: &str) -> Result<()> {
        let failed = |error| Error::kernel("set as a port of its bridge", veth, error);
        let link = self.find(veth).await?.ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
        let message = LinkBridgePort::new(link.header.index).hairpin(true).build();
        let set = self.handle.link().set_port(message).execute().await;
        set.map_err(|error| failed(crate::error::netlink_to_io(error)))
    }
}

/// Lets traffic within the bridge pass, unless it does already, in the thread's namespace.
pub(super) fn allow(bridge: &str) -> io::Result<()> {
    acceptance::within(bridge)
}

/// Removes the rules of these bridges in the chains of others, for traffic within and beyond; that there are none is no
/// error. The socket is returned for its close, which waits for the kernel to free what was removed.
pub(super) fn withdraw(bridges: &[&str]) -> io::Result<NetlinkSocket> {
    acceptance::withdraw(bridges)
}
