//! Messages with descriptors over AF_UNIX seqpacket sockets (unix(7)).
//!
//! A message is JSON. A small one is the packet itself; one above [`INLINE`] travels in a memfd, its
//! descriptor first among those that come along, since a large packet does not fit a socket's buffer.

use std::io::{self, IoSlice, IoSliceMut, Read, Seek, Write};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use composer_sandbox::descriptor;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr, recvmsg,
    sendmsg, socketpair,
};
use serde::{Serialize, de::DeserializeOwned};

/// How long whoever lacked something from the kernel waits before the next try: nothing tells when it is there.
pub const RETRY: std::time::Duration = std::time::Duration::from_millis(10);

/// The largest message that travels in the packet itself.
const INLINE: usize = 32 * 1024;
/// The most descriptors in a message: above what any message carries.
const MOST_FDS: usize = 16;

const TAG_INLINE: u8 = 0;
const TAG_MEMFD: u8 = 1;

/// A connected pair.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?)
}

/// Sends one message; whole or not at all.
pub fn send<M: Serialize>(socket: BorrowedFd<'_>, message: &M, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut packet = vec![TAG_INLINE];
    serde_json::to_writer(&mut packet, message)?;
    if packet.len() <= INLINE {
        return send_packet(socket, &packet, fds);
    }
    let mut file = std::fs::File::from(memfd_create(c"compose-message", MFdFlags::MFD_CLOEXEC)?);
    file.write_all(&packet[1..])?;
    let mut with = vec![std::os::fd::AsFd::as_fd(&file)];
    with.extend_from_slice(fds);
    send_packet(socket, &[TAG_MEMFD], &with)
}

fn send_packet(socket: BorrowedFd<'_>, packet: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let raw: Vec<i32> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&raw)];
    let control = if raw.is_empty() { &rights[..0] } else { &rights[..] };
    loop {
        let sent = sendmsg::<UnixAddr>(
            socket.as_raw_fd(),
            &[IoSlice::new(packet)],
            control,
            MsgFlags::MSG_NOSIGNAL,
            None,
        );
        match sent {
            Ok(_) => return Ok(()),
            Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Whether a message may be sent, or received, a little later: the kernel lacked something for it.
pub fn is_passing(error: &io::Error) -> bool {
    let passing = [
        libc::ENOBUFS,
        libc::ENOMEM,
        libc::EMFILE,
        libc::ENFILE,
        libc::ETOOMANYREFS,
        libc::EINTR,
        libc::EAGAIN,
    ];
    error.raw_os_error().is_some_and(|errno| passing.contains(&errno))
}

/// Whether the other side has closed its end, or has died.
pub fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EPIPE | libc::ECONNRESET))
}

/// Takes the next message; `None` at the end of the connection. `WouldBlock` on a non-blocking socket.
pub fn receive<M: DeserializeOwned>(socket: BorrowedFd<'_>) -> io::Result<Option<(M, Vec<OwnedFd>)>> {
    match receive_text(socket)? {
        Some((text, fds)) => Ok(Some((serde_json::from_slice(&text)?, fds))),
        None => Ok(None),
    }
}

/// The same, whatever the message may be.
pub fn receive_text(socket: BorrowedFd<'_>) -> io::Result<Option<(Vec<u8>, Vec<OwnedFd>)>> {
    let mut buffer = vec![0_u8; INLINE + 1];
    let mut space = nix::cmsg_space!([i32; MOST_FDS]);
    let (length, mut fds) = loop {
        let mut parts = [IoSliceMut::new(&mut buffer)];
        match recvmsg::<UnixAddr>(
            socket.as_raw_fd(),
            &mut parts,
            Some(&mut space),
            MsgFlags::MSG_CMSG_CLOEXEC,
        ) {
            Ok(message) => {
                let mut fds = Vec::new();
                for control in message.cmsgs()? {
                    if let ControlMessageOwned::ScmRights(raw) = control {
                        fds.extend(raw.into_iter().map(descriptor::received));
                    }
                }
                break (message.bytes, fds);
            }
            // The other side has gone without reading all. That is told before what it had sent, and once.
            Err(nix::errno::Errno::EINTR | nix::errno::Errno::ECONNRESET) => {}
            Err(error) => return Err(error.into()),
        }
    };
    match buffer[..length].split_first() {
        None => Ok(None),
        Some((&TAG_INLINE, body)) => Ok(Some((body.to_vec(), fds))),
        Some((&TAG_MEMFD, _)) if !fds.is_empty() => {
            let mut file = std::fs::File::from(fds.remove(0));
            let mut text = Vec::new();
            file.rewind()?;
            file.read_to_end(&mut text)?;
            Ok(Some((text, fds)))
        }
        Some(_) => Err(io::Error::new(io::ErrorKind::InvalidData, "a message of an unknown form")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn small_and_large_messages_arrive_with_their_descriptors() {
        let (left, right) = pair().unwrap();
        let (extra, _keep) = pair().unwrap();
        for size in [1_usize, INLINE - 3, INLINE, 3_000_000] {
            let text = "x".repeat(size);
            send(left.as_fd(), &text, &[extra.as_fd()]).unwrap();
            let (got, fds): (String, _) = receive(right.as_fd()).unwrap().unwrap();
            assert_eq!(got, text);
            assert_eq!(fds.len(), 1);
        }
        // What was sent last is there, though the other side has gone and not read everything.
        send(right.as_fd(), &"unread", &[]).unwrap();
        send(left.as_fd(), &"last", &[]).unwrap();
        drop(left);
        assert_eq!(receive::<String>(right.as_fd()).unwrap().unwrap().0, "last");
        assert!(receive::<String>(right.as_fd()).unwrap().is_none());
    }
}
