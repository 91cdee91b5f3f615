//! The veth pair of a container: its peer is born inside the container's namespace, as `eth0`.

use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::Arc;

use rtnetlink::packet_route::link::{InfoData, InfoKind, InfoVeth};
use rtnetlink::{LinkMessageBuilder, LinkUnspec, LinkVeth};

use super::{Bridge, Host, Inside, Plug, is_kind, mac_of};
use crate::addresses::is_assignable;
use crate::error::{Error, Result, netlink_to_io};
use crate::netns;

/// The container's name for its interface.
pub(super) const PEER: &str = "eth0";
/// How often a stale link of the same name is replaced before its return is an error.
const REPLACEMENTS: usize = 3;

impl Host {
    /// Plugs a namespace into the bridge: a veth pair of which the namespace gets `eth0` with the address, a MAC
    /// that follows from it, and a default route over the bridge; its loopback goes up. A link of the same name
    /// that is still there (a dead namespace gives its names back late) is replaced.
    ///
    /// # Errors
    /// [`Error::Outside`] for an address that is not a container's; else the kernel's refusal, with the link
    /// removed again.
    pub async fn plug(
        &self,
        bridge: &Bridge,
        veth: &str,
        netns: BorrowedFd<'_>,
        address: Ipv4Addr,
    ) -> Result<()> {
        let plug = Plug::new(bridge, address)?;
        let inside = netns
            .try_clone_to_owned()
            .map_err(|source| Error::kernel("keep open", "the container's network namespace", source))?;
        self.make_veth(bridge, veth, netns, address).await?;
        let configured = netns::run(inside, move || {
            let mut route = Inside::open()?;
            route.raise_loopback()?;
            route.configure(plug)
        });
        self.or_unplug(veth, configured.await).await
    }

    /// Removes the host's end of a pair, and with it the container's; absent is fine.
    ///
    /// # Errors
    /// [`Error::WrongKind`] when the name belongs to something else; else the kernel's refusal.
    pub async fn unplug(&self, veth: &str) -> Result<()> {
        match self.begin_unplug(veth).await? {
            Some(removal) => removal.await,
            None => Ok(()),
        }
    }

    /// Finds the host's end of a pair, and returns what removes it; `None` where there is none. Whoever makes another of
    /// the name meanwhile gets it: the removal goes by the link's index.
    ///
    /// The kernel lets whoever removes a link wait until nobody reads it any more, for tens of milliseconds, in which the
    /// thread can do nothing else: it is one of its own.
    ///
    /// # Errors
    /// As [`Host::unplug`].
    pub async fn begin_unplug(&self, veth: &str) -> Result<Option<impl Future<Output = Result<()>> + use<>>> {
        let Some(link) = self.find(veth).await? else {
            return Ok(None);
        };
        if !is_kind(&link, &InfoKind::Veth) {
            return Err(Error::WrongKind { name: veth.into(), wanted: "veth" });
        }
        let (turns, index, veth) = (Arc::clone(&self.removals), link.header.index, veth.to_owned());
        Ok(Some(async move {
            // Never closed, so the error cannot happen; going on without a turn would be harmless.
            let _turn = turns.acquire().await.ok();
            netns::apart("the removal of a link", move || Inside::open()?.remove(index, &veth)).await
        }))
    }

    /// Takes the pair away again when what followed its making failed.
    pub(crate) async fn or_unplug<T>(&self, veth: &str, outcome: Result<T>) -> Result<T> {
        if outcome.is_err() {
            // The first error is the one to tell; a link that stays is found by its name.
            let _ = self.unplug(veth).await;
        }
        outcome
    }

    /// Makes the pair, its host end in the bridge, in its group and up. Only the container's end is left down.
    pub(crate) async fn make_veth(
        &self,
        bridge: &Bridge,
        veth: &str,
        netns: BorrowedFd<'_>,
        address: Ipv4Addr,
    ) -> Result<()> {
        let mut replaced = 0;
        loop {
            // The peer goes up later: in this message it is refused with ENOTCONN, as its other end is not there yet.
            let peer = LinkMessageBuilder::<LinkUnspec>::new()
                .name(PEER)
                .address(mac_of(address))
                .setns_by_fd(netns.as_raw_fd())
                .build();
            let pair = LinkMessageBuilder::<LinkVeth>::new_with_info_kind(InfoKind::Veth)
                .name(veth)
                .link_group(bridge.group)
                .controller(bridge.index)
                .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)))
                .up()
                .build();
            let error = match self.handle.link().add(pair).execute().await.map_err(netlink_to_io) {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            // One that is on its way out may be gone by the time it is looked for.
            let stale = error.raw_os_error() == Some(libc::EEXIST);
            if !stale || replaced == REPLACEMENTS {
                return Err(Error::kernel("make veth", veth, error));
            }
            self.unplug(veth).await?;
            replaced += 1;
        }
    }
}

impl Plug {
    /// What `eth0` is to have.
    pub(crate) fn new(bridge: &Bridge, address: Ipv4Addr) -> Result<Self> {
        if !is_assignable(bridge.subnet, address) {
            return Err(Error::Outside { address, subnet: bridge.subnet });
        }
        Ok(Self { address, prefix: bridge.subnet.prefix_len(), gateway: bridge.gateway() })
    }
}
