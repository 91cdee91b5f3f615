//! All that a container's namespace needs, in one call: its veth pair, its addresses and routes, the sockets of
//! its resolver, and the redirect that leads port 53 to them.

use std::net::Ipv4Addr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc;

use crate::dns::{self, Attached};
use crate::error::{Error, Result};
use crate::host::{Bridge, Host, Inside, Plug};
use crate::netns;

/// Plugs a namespace into the bridge (as [`Host::plug`]) and opens its resolver, both at the same time. The
/// sockets answer once they are given to [`crate::dns::Server::serve`]; queries wait in them until then.
///
/// To be awaited to its end: dropped half-way it leaves a veth pair, which [`Host::unplug`] finds by its name.
///
/// # Errors
/// As [`Host::plug`], and when the resolver's sockets cannot be opened; the veth pair is removed again then.
pub async fn attach(
    host: &Host,
    bridge: &Bridge,
    netns: OwnedFd,
    veth: &str,
    address: Ipv4Addr,
) -> Result<Attached> {
    let plug = Plug::new(bridge, address)?;
    // Never closed, so the error cannot happen; going on without a turn would be harmless.
    let _turn = host.turns.acquire().await.ok();
    let entered = netns
        .try_clone()
        .map_err(|source| Error::kernel("keep open", "the container's network namespace", source))?;
    let (made, when_made) = mpsc::channel::<()>();
    let inside = netns::run(entered, move || {
        let mut route = Inside::open()?;
        route.raise_loopback()?;
        let resolver = dns::open_sockets()?;
        // An end without a word: the pair could not be made, and whoever made it tells why.
        if when_made.recv().is_ok() {
            route.configure(plug)?;
        }
        Ok(resolver)
    });
    let paired = host.make_veth(bridge, veth, netns.as_fd(), address).await;
    if paired.is_ok() {
        // The thread may be gone, and its own error comes below.
        let _ = made.send(());
    }
    drop(made);
    let resolver = inside.await;
    paired?;
    host.or_unplug(veth, resolver).await
}

/// Opens the resolver of a namespace that is plugged in already, when those who held its sockets are gone. The
/// redirect is replaced in one transaction.
///
/// # Errors
/// When the namespace cannot be entered or the sockets cannot be opened.
pub async fn reattach_dns(netns: OwnedFd) -> Result<Attached> {
    netns::run(netns, dns::open_sockets).await
}
