//! Work inside another network namespace, on a thread that enters it and then ends.
//!
//! A thread that came back with a second `setns` could fail to, and would then serve the rest of the process from
//! the wrong namespace; one that ends cannot. What it opened (sockets belong to the namespace they were opened
//! in) stays usable from outside.
// For one ioctl, which has no safe wrapper.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::thread;

use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use tokio::sync::oneshot;

use crate::error::{Error, Result};

/// Stack of such a thread in bytes: the work is a few system calls over small buffers.
const STACK: usize = 256 * 1024;

/// An IPv4 TCP socket of the namespace, which does not block: for connections from outside of a container to what
/// listens inside.
///
/// # Errors
/// As [`run`], and when the kernel makes no socket.
pub async fn tcp_socket(netns: OwnedFd) -> Result<OwnedFd> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let open = move || {
        socket(AddressFamily::Inet, SockType::Stream, flags, None)
            .map_err(|errno| Error::kernel("open", "a socket in the container", errno))
    };
    run(netns, open).await
}

/// The namespace of a socket.
///
/// # Errors
/// When the kernel does not give it, as to a process without CAP_NET_ADMIN there.
pub fn of_socket(socket: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    /// linux/sockios.h.
    const SIOCGSKNS: libc::Ioctl = 0x894C;
    // SAFETY: this request has no argument (sock_ioctl, net/socket.c), and the descriptor is open for the call.
    let namespace = nix::errno::Errno::result(unsafe { libc::ioctl(socket.as_raw_fd(), SIOCGSKNS) })?;
    // SAFETY: the kernel has made the descriptor for us, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(namespace) })
}

/// Refuses the namespace that this process is in: what is meant for a container's would be done to the host.
///
/// # Errors
/// When it is this process's, or one of the two cannot be looked at.
pub(crate) fn is_another(netns: BorrowedFd<'_>) -> Result<()> {
    let failed =
        |errno: nix::errno::Errno| Error::kernel("look at", "the container's network namespace", errno);
    let its = nix::sys::stat::fstat(netns).map_err(failed)?;
    let own = nix::sys::stat::stat("/proc/self/ns/net").map_err(failed)?;
    if (its.st_dev, its.st_ino) == (own.st_dev, own.st_ino) {
        return Err(Error::kernel(
            "enter",
            "the container's network namespace",
            io::Error::other("it is the host's"),
        ));
    }
    Ok(())
}

/// Runs `job` inside the namespace (a file of it, or a pidfd of a process in it), starting at once; the future is its
/// result. A dropped future does not stop the job.
///
/// # Errors
/// When the thread cannot be started, the namespace cannot be entered or is this process's own, or the job fails.
pub fn run<T, F>(netns: OwnedFd, job: F) -> impl Future<Output = Result<T>> + use<T, F>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T> + Send + 'static,
{
    apart("the container's network namespace", move || {
        is_another(netns.as_fd())?;
        setns(&netns, CloneFlags::CLONE_NEWNET)
            .map_err(|errno| Error::kernel("enter", "the container's network namespace", errno))
            .and_then(|()| job())
    })
}

/// Runs `job` on a thread of its own, starting at once, where the caller's namespace is; `on` says what it works on.
pub(crate) fn apart<T, F>(on: &'static str, job: F) -> impl Future<Output = Result<T>> + use<T, F>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T> + Send + 'static,
{
    let (done, result) = oneshot::channel();
    let started = thread::Builder::new().name("netns".into()).stack_size(STACK).spawn(move || {
        // A receiver that is gone has no interest in the outcome.
        let _ = done.send(job());
    });
    async move {
        started.map_err(|source| Error::kernel("start a thread for", on, source))?;
        result.await.unwrap_or_else(|_| {
            Err(Error::kernel("work in", on, std::io::Error::other("its thread ended early")))
        })
    }
}
