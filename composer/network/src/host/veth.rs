//! The veth pairs of a container: the other end of each is born inside the container's namespace, under its name there.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rtnetlink::packet_route::link::{
    InfoBridgePort, InfoData, InfoKind, InfoVeth, LinkAttribute, LinkMessage,
};
use rtnetlink::{LinkBridgePort, LinkMessageBuilder, LinkUnspec, LinkVeth};

use super::{Host, Inside, Medium, Plug, is_kind};
use crate::error::{Error, Result};
use crate::netns;

/// Bytes that TCP over IPv4 hands over as one packet on its way from the host to a container (BIG TCP, Linux 6.3; earlier
/// kernels take no notice): half of what a byte costs is what its packet does. Not what containers send, which goes on
/// to anywhere: an interface that takes 64 KiB, as most do, has the kernel take larger ones apart into the smallest, and
/// half of the throughput is lost. IPv6 has a header more for it, which firewalls may not know.
pub(super) const LARGEST: u32 = 192 << 10;
/// How often a stale link of the same name is replaced before its return is an error.
const REPLACEMENTS: usize = 3;

impl Host {
    /// Brings back the link of a container that runs: one that is there is put into its bridge again, with all that goes
    /// over it; one that is not is made anew, and what is left of it inside removed. `limit` is done before a
    /// new one is up inside.
    ///
    /// # Errors
    /// The kernel's refusals, and those of `limit`.
    pub async fn replug<E: From<Error>>(
        &self,
        plug: Plug,
        netns: BorrowedFd<'_>,
        limit: impl Future<Output = Result<(), E>>,
    ) -> Result<(), E> {
        if let Some((veth, inside)) = self.begin_replug(&plug, netns).await? {
            let limited = limit.await;
            let configured = match limited {
                Ok(()) => netns::run(inside, move || Inside::open()?.configure(&plug)).await.map_err(E::from),
                Err(error) => Err(error),
            };
            return self.or_unplug(&[&veth], configured).await;
        }
        Ok(())
    }

    /// The name of a new pair, and the namespace in which it is still to be configured.
    async fn begin_replug(&self, plug: &Plug, netns: BorrowedFd<'_>) -> Result<Option<(String, OwnedFd)>> {
        let inside = netns
            .try_clone_to_owned()
            .map_err(|source| Error::kernel("keep open", "the container's network namespace", source))?;
        if plug.bridge.medium != Medium::Bridge {
            self.replug_inside(plug.clone(), inside).await?;
            return Ok(None);
        }
        let veth = plug.veth.clone();
        if let Some(link) = self.find(&veth).await?.filter(|link| is_kind(link, &InfoKind::Veth)) {
            let index = link.header.index;
            let wanted =
                LinkUnspec::new_with_index(index).link_group(plug.group).controller(plug.bridge.index).up();
            let changed = self.handle.link().change(wanted.build()).execute().await;
            changed.map_err(|error| Error::netlink("put back into its bridge veth", &veth, error))?;
            if plug.bridge.isolated {
                self.isolate(&veth).await?;
            }
            return Ok(None);
        }
        let entered = inside
            .try_clone()
            .map_err(|source| Error::kernel("keep open", "the container's network namespace", source))?;
        let interface = plug.interface.clone();
        netns::run(entered, move || remove_stray(&interface)).await?;
        self.make_veth(plug, netns).await?;
        Ok(Some((veth, inside)))
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

    /// Takes the pairs away again when what followed their making failed.
    pub(crate) async fn or_unplug<T, E>(&self, veths: &[&str], outcome: Result<T, E>) -> Result<T, E> {
        if outcome.is_err() {
            for veth in veths {
                // The first error is the one to tell; a link that stays is found by its name.
                let _ = self.unplug(veth).await;
            }
        }
        outcome
    }

    /// Makes the pair, its host end in the bridge, in its group and up. Only the container's end is left down.
    pub(crate) async fn make_veth(&self, plug: &Plug, netns: BorrowedFd<'_>) -> Result<()> {
        let Plug { bridge, veth, .. } = plug;
        let mut replaced = 0;
        loop {
            let error = match self.add(pair(plug, netns)).await {
                Ok(()) => break,
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
        if bridge.isolated {
            let isolated = self.isolate(veth).await;
            return self.or_unplug(&[veth], isolated).await;
        }
        Ok(())
    }

    /// Keeps the port of a bridge from reaching other ports that are kept so too.
    async fn isolate(&self, veth: &str) -> Result<()> {
        let gone = || Error::kernel("isolate veth", veth, nix::errno::Errno::ENODEV);
        let index = self.find(veth).await?.ok_or_else(gone)?.header.index;
        let port = LinkBridgePort::new(index).append_info_data(InfoBridgePort::Isolated(true)).build();
        let done = self.handle.link().set_port(port).execute().await;
        done.map_err(|error| Error::netlink("isolate veth", veth, error))
    }
}

/// Removes the container's end of a pair, from within, whose other end is not found by its name any more: somebody has
/// renamed it or moved it away, and this end is in the way of another. A pair that the container has made for itself has both
/// ends there.
fn remove_stray(interface: &str) -> Result<()> {
    let mut inside = Inside::open()?;
    let is_elsewhere = |link: &LinkMessage| {
        link.attributes.iter().any(|attribute| matches!(attribute, LinkAttribute::LinkNetNsId(_)))
    };
    match inside.find(interface)? {
        Some(link) if is_kind(&link, &InfoKind::Veth) && is_elsewhere(&link) => {
            inside.remove(link.header.index, interface)
        }
        Some(_) | None => Ok(()),
    }
}

/// The pair of a plug: its host end up, the other in a namespace.
fn pair(plug: &Plug, netns: BorrowedFd<'_>) -> LinkMessage {
    let Plug { bridge, veth, .. } = plug;
    // The peer goes up later: in this message it is refused with ENOTCONN, as its other end is not there yet.
    let mut peer = LinkMessageBuilder::<LinkUnspec>::new()
        .name(&plug.interface)
        .address(plug.mac.to_vec())
        .setns_by_fd(netns.as_raw_fd());
    let mut pair = LinkMessageBuilder::<LinkVeth>::new_with_info_kind(InfoKind::Veth)
        .name(veth)
        .link_group(plug.group)
        .controller(bridge.index)
        .append_extra_attribute(LinkAttribute::GsoIpv4MaxSize(LARGEST))
        .up();
    if let Some(mtu) = bridge.mtu {
        (peer, pair) = (peer.mtu(mtu), pair.mtu(mtu));
    }
    pair.set_info_data(InfoData::Veth(InfoVeth::Peer(peer.build()))).build()
}
