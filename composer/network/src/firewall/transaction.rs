//! Transactions of any size: a table is in place with all that is in it, or not at all.
//!
//! What netlink-socket2 sends has to fit into what a socket may have by itself (net.core.wmem_max), and each message is
//! acknowledged, which for thousands of them is more than it may receive. Here the buffer is as large as it has to be,
//! and only errors come back besides one acknowledgement.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use netlink_bindings::nftables::Chained;
use netlink_bindings::traits::NetlinkChained;
use nix::errno::Errno;
use nix::sys::socket::sockopt::{SndBuf, SndBufForce};
use nix::sys::socket::{AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType};
use nix::sys::socket::{bind, getsockname, recv, send, setsockopt, socket};

/// Above what every port of every protocol and family takes.
const BUFFER: usize = 32 << 20;
/// NLMSG_ERROR, NLM_F_ACK and the length of a message's header (linux/netlink.h).
const ERROR: u16 = 2;
const ACK: u16 = 4;
const HEADER: usize = 16;

/// A connection for transactions. It is kept: its close waits for what was removed over it.
#[derive(Default)]
pub(super) struct Transactions {
    socket: Option<OwnedFd>,
    /// The number of the next message.
    next: u32,
}

impl Transactions {
    /// An empty batch.
    pub(super) fn begin(&self) -> Chained<'static> {
        Chained::new(self.next)
    }

    /// Has the kernel do all of it, or nothing.
    pub(super) fn commit(&mut self, batch: Chained<'static>) -> io::Result<()> {
        let mut batch = batch.finalize();
        self.next = self.next.wrapping_add(u32::try_from(batch.chain_len()).map_err(io::Error::other)?);
        acknowledge_one(batch.buf_mut());
        let socket = self.open()?;
        let sent = send(socket.as_raw_fd(), batch.payload(), MsgFlags::empty())?;
        if sent != batch.payload().len() {
            return Err(io::ErrorKind::WriteZero.into());
        }
        outcome(socket, |number| batch.get_index(number).is_some())
    }

    /// What the kernel names it by where it tells others who has made a change.
    pub(super) fn port(&mut self) -> io::Result<u32> {
        Ok(getsockname::<NetlinkAddr>(self.open()?.as_raw_fd())?.pid())
    }

    fn open(&mut self) -> io::Result<&OwnedFd> {
        let socket = match self.socket.take() {
            Some(socket) => socket,
            None => connect()?,
        };
        Ok(self.socket.insert(socket))
    }
}

fn connect() -> io::Result<OwnedFd> {
    let netfilter = SockProtocol::NetlinkNetFilter;
    let socket = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, netfilter)?;
    bind(socket.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
    // Within a user namespace only as large as the host's administrator lets everybody have it.
    setsockopt(&socket, SndBufForce, &BUFFER).or_else(|_| setsockopt(&socket, SndBuf, &BUFFER))?;
    Ok(socket)
}

/// The second message alone is acknowledged, as the first begins the batch, which old kernels do not acknowledge.
fn acknowledge_one(messages: &mut [u8]) {
    let mut rest = messages;
    for number in 0.. {
        let Some(length) = word(rest, 0).and_then(|length| usize::try_from(length).ok()) else { return };
        if length < HEADER || length > rest.len() {
            return;
        }
        let (message, after) = rest.split_at_mut(length);
        if number != 1 {
            let flags = u16::from_ne_bytes([message[6], message[7]]) & !ACK;
            message[6..8].copy_from_slice(&flags.to_ne_bytes());
        }
        rest = after;
    }
}

/// What the kernel has answered: it has before send(2) returns, as it does the work of a transaction in it.
fn outcome(socket: &OwnedFd, is_ours: impl Fn(u32) -> bool) -> io::Result<()> {
    let mut acknowledged = false;
    let mut refused = None;
    let mut answer = [0; 256];
    loop {
        match recv(socket.as_raw_fd(), &mut answer, MsgFlags::MSG_DONTWAIT) {
            Ok(length) => {
                let answer = &answer[..length.min(256)];
                let (Some([low, high]), Some(number)) = (answer.get(4..6), word(answer, 8)) else { continue };
                let error = word(answer, HEADER).map(u32::cast_signed);
                let (true, true, Some(error)) =
                    (u16::from_ne_bytes([*low, *high]) == ERROR, is_ours(number), error)
                else {
                    continue;
                };
                if error == 0 {
                    acknowledged = true;
                } else {
                    // The first is the cause.
                    refused = refused.or(Some(io::Error::from_raw_os_error(-error)));
                }
            }
            Err(Errno::EAGAIN) => break,
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    match refused {
        Some(error) => Err(error),
        None if acknowledged => Ok(()),
        None => Err(io::Error::other("the kernel has not answered")),
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
    Some(u32::from_ne_bytes(bytes))
}
