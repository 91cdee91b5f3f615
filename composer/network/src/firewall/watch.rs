//! Others' changes of the ruleset that take a stack's rules away: `nft flush ruleset` (a restart of nftables.service),
//! `firewall-cmd --reload`, `iptables -F`; and chains of others that come later. The kernel tells of every transaction when it is through.

use std::collections::BTreeSet;
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use netlink_bindings::nftables::{OpGetchainDo, OpGetruleDo, OpGettableDo};
use netlink_bindings::traits::NetlinkRequest;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::{chains, strangers};
use crate::error::{Error, Result};

/// The group of NFNLGRP_NFTABLES (linux/netfilter/nfnetlink.h), as a bit.
const GROUP: u32 = 1 << (7 - 1);
/// NFNL_SUBSYS_NFTABLES with NFT_MSG_DELTABLE, NFT_MSG_NEWCHAIN, NFT_MSG_DELRULE and NFT_MSG_NEWGEN.
const TABLE_GONE: u16 = 10 << 8 | 2;
const CHAIN_MADE: u16 = 10 << 8 | 3;
const RULE_GONE: u16 = 10 << 8 | 8;
const THROUGH: u16 = 10 << 8 | 15;
const HEADER: usize = 16;
/// More than the kernel puts into one message.
const BUFFER: usize = 128 << 10;

/// Sees what is taken away of a stack's rules.
pub struct Watch {
    socket: AsyncFd<OwnedFd>,
    table: CString,
    /// Whom the kernel names where the stack itself has made its table anew.
    own: u32,
    /// Whether frames within bridges passed the firewall at the last change: the kernel tells nobody that they do.
    bridged: [bool; 2],
    buffer: Vec<u8>,
}

impl Watch {
    pub(super) fn new(table: &CStr, own: u32) -> Result<Self> {
        let open = || -> io::Result<AsyncFd<OwnedFd>> {
            let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
            let socket =
                socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkNetFilter)?;
            bind(socket.as_raw_fd(), &NetlinkAddr::new(0, GROUP))?;
            // Deprecated for types whose AsRawFd may lie, which OwnedFd's cannot.
            #[allow(deprecated)]
            AsyncFd::new(socket)
        };
        let socket = open().map_err(|error| Error::kernel("watch the rules of", "nf_tables", error))?;
        Ok(Self { socket, table: table.to_owned(), own, bridged: super::bridged(), buffer: vec![0; BUFFER] })
    }

    /// Returns when a transaction has taken away the stack's table or that of the host, or rules of ours that are about one
    /// of the bridges, or has made or changed a chain that forwarded packets pass; or any has, where frames within bridges have
    /// come to pass the firewall since (Docker sets that as it starts). Others may have put them back already:
    /// [`super::Firewall::has_lost`] and [`super::Forwarding::restore`] know.
    ///
    /// # Errors
    /// When the kernel tells of nothing more.
    pub async fn taken_away(&mut self, bridges: impl Fn() -> BTreeSet<String>) -> Result<()> {
        let mut concerns = false;
        loop {
            let buffer = &mut self.buffer;
            let received = self.socket.async_io(Interest::READABLE, |socket| {
                recv(socket.as_raw_fd(), buffer, MsgFlags::empty()).map_err(io::Error::from)
            });
            let length = match received.await {
                Ok(length) => length,
                // More was told than there was room for.
                Err(error) if error.raw_os_error() == Some(Errno::ENOBUFS as i32) => return Ok(()),
                Err(error) => return Err(Error::kernel("watch the rules of", "nf_tables", error)),
            };
            for (kind, by, payload) in messages(&self.buffer[..length.min(BUFFER)]) {
                match kind {
                    TABLE_GONE if by != self.own => {
                        let (_, table) = OpGettableDo::decode_reply(payload);
                        let ours = [Ok(self.table.as_c_str()), Ok(strangers::TABLE)];
                        concerns |= ours.contains(&table.get_name());
                    }
                    // Whose chains go may make them anew later; who comes later has none of our rules.
                    CHAIN_MADE if by != self.own => {
                        let (_, chain) = OpGetchainDo::decode_reply(payload);
                        let hook = chain.get_hook().and_then(|hook| hook.get_num());
                        concerns |= hook.is_ok_and(|hook| hook == chains::FORWARD_HOOK);
                    }
                    RULE_GONE => {
                        let (_, rule) = OpGetruleDo::decode_reply(payload);
                        let tag = chains::tag_of(&rule);
                        concerns |= tag.is_some_and(|tag| bridges().contains(chains::bridge_of(&tag)));
                    }
                    // The end of a transaction.
                    THROUGH => {
                        let bridged = super::bridged();
                        if std::mem::replace(&mut self.bridged, bridged) != bridged || concerns {
                            return Ok(());
                        }
                    }
                    _ => {}
                }
            }
        }
    }
}

/// The messages in a datagram: the type, on whose behalf, and what is after the header.
fn messages(mut bytes: &[u8]) -> impl Iterator<Item = (u16, u32, &[u8])> {
    std::iter::from_fn(move || {
        let length = bytes.get(..4)?.try_into().ok().map(u32::from_ne_bytes)?;
        let kind = bytes.get(4..6)?.try_into().ok().map(u16::from_ne_bytes)?;
        let by = bytes.get(12..16)?.try_into().ok().map(u32::from_ne_bytes)?;
        let length = usize::try_from(length).ok()?;
        let payload = bytes.get(HEADER..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, by, payload))
    })
}
