//! Descriptors in the supervisor's loop.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use serde::{Serialize, de::DeserializeOwned};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::channel;

/// Makes a socket non-blocking and registers it.
pub fn new(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    non_blocking(fd.as_fd())?;
    // Deprecated for types whose AsRawFd may lie, which OwnedFd's cannot; what replaces it is unsafe.
    #[allow(deprecated)]
    AsyncFd::new(fd)
}

/// Makes a pipe or a pidfd non-blocking and registers it for reading alone.
pub fn readable(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    non_blocking(fd.as_fd())?;
    #[allow(deprecated)]
    AsyncFd::with_interest(fd, Interest::READABLE)
}

/// Registers a control file that tells of a change by `POLLPRI`.
pub fn priority(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    #[allow(deprecated)]
    AsyncFd::with_interest(fd, Interest::PRIORITY)
}

fn non_blocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?);
    fcntl(fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(())
}

/// Sends one message when the socket has room, and the kernel what it takes.
pub async fn send<M: Serialize>(
    socket: &AsyncFd<OwnedFd>,
    message: &M,
    fds: &[BorrowedFd<'_>],
) -> io::Result<()> {
    loop {
        match socket.async_io(Interest::WRITABLE, |fd| channel::send(fd.as_fd(), message, fds)).await {
            Err(error) if channel::is_passing(&error) => tokio::time::sleep(channel::RETRY).await,
            sent => return sent,
        }
    }
}

/// Waits for the next message.
pub async fn receive<M: DeserializeOwned>(
    socket: &AsyncFd<OwnedFd>,
) -> io::Result<Option<(M, Vec<OwnedFd>)>> {
    socket.async_io(Interest::READABLE, |fd| channel::receive(fd.as_fd())).await
}

/// The same, whatever the message may be.
pub async fn receive_text(socket: &AsyncFd<OwnedFd>) -> io::Result<Option<(Vec<u8>, Vec<OwnedFd>)>> {
    socket.async_io(Interest::READABLE, |fd| channel::receive_text(fd.as_fd())).await
}
