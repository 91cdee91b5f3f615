//! Connections: each is accepted, connected on, and its bytes spliced both ways until both sides have said all.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{OFlag, SpliceFFlags, splice};
use nix::sys::socket::sockopt::KeepAlive;
use nix::sys::socket::{Shutdown, setsockopt, shutdown};
use nix::unistd::pipe2;
use tokio::io::Interest;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::{DESCRIPTORS, Target};

/// Bytes that are moved at once: what a pipe holds.
const CHUNK: usize = 64 << 10;
/// What a connection has: a socket on each side, and two pipes.
const OF_ONE: u32 = 6;
/// How long the end of a shortage of descriptors is waited for: nothing tells it.
const SHORTAGE: Duration = Duration::from_millis(50);

pub(super) fn serve(socket: OwnedFd, target: Rc<Cell<Option<Target>>>) -> io::Result<JoinHandle<()>> {
    let listener = TcpListener::from_std(socket.into())?;
    Ok(tokio::task::spawn_local(async move {
        loop {
            match listener.accept().await {
                Ok((client, from)) => {
                    // Who is to wait for it waits in the listener's queue, but for one.
                    let Ok(permit) = DESCRIPTORS.acquire_many(OF_ONE).await else { return };
                    let to = target.get().and_then(|target| target.address(from.is_ipv4()));
                    tokio::task::spawn_local(async move {
                        let _permit = permit;
                        // Nobody is there to be told: the client sees its connection end.
                        if let Some(to) = to
                            && let Ok(service) = TcpStream::connect(to).await
                        {
                            converse(&client, &service).await;
                        }
                    });
                }
                Err(error) if is_shortage(&error) => tokio::time::sleep(SHORTAGE).await,
                // The client has gone before it was accepted (accept(2)).
                Err(_) => {}
            }
        }
    }))
}

fn is_shortage(error: &io::Error) -> bool {
    [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM].map(Some).contains(&error.raw_os_error())
}

async fn converse(client: &TcpStream, service: &TcpStream) {
    for side in [client, service] {
        let _ = side.set_nodelay(true);
        // A side that vanished without a word is noticed in the end.
        let _ = setsockopt(side, KeepAlive, &true);
    }
    let ways = async { tokio::try_join!(pump(client, service), pump(service, client)) };
    // An error of one way ends both: dropped, the sockets are closed.
    let _ = ways.await;
}

/// Moves everything from one side to the other, and passes on its end.
async fn pump(from: &TcpStream, to: &TcpStream) -> io::Result<()> {
    let (out, into) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
    loop {
        let mut held = from.async_io(Interest::READABLE, || shift(from, &into, CHUNK)).await?;
        if held == 0 {
            return match shutdown(to.as_raw_fd(), Shutdown::Write) {
                // It has gone by itself.
                Err(Errno::ENOTCONN) => Ok(()),
                other => other.map_err(io::Error::from),
            };
        }
        while held > 0 {
            held -= to.async_io(Interest::WRITABLE, || shift(&out, to, held)).await?;
        }
    }
}

/// The pipe is empty before it is filled, so that an EAGAIN is the socket's.
fn shift(from: impl AsFd, to: impl AsFd, length: usize) -> io::Result<usize> {
    let flags = SpliceFFlags::SPLICE_F_NONBLOCK | SpliceFFlags::SPLICE_F_MOVE;
    splice(from, None, to, None, length, flags).map_err(io::Error::from)
}
