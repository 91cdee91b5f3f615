//! Where other resolvers are asked from: the host's namespace, or a container's.

use std::cell::RefCell;
use std::io;
use std::net::{SocketAddr, TcpStream as StdTcpStream, UdpSocket as StdUdpSocket};
use std::os::fd::{AsFd, OwnedFd};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use tokio::net::{TcpSocket, TcpStream, UdpSocket};
use tokio::sync::Mutex;

use crate::error::Error;
use crate::netns;

/// How many sockets of a kind are opened by one thread in a container's namespace, and so how many are kept there at most.
const BATCH: usize = 32;

/// Where sockets are made.
#[derive(Debug)]
pub(super) enum Place {
    /// In this process's own namespace.
    Host,
    /// In a container's.
    Inside(Box<Inside>),
}

/// A container's namespace, and sockets of it for the questions to come: a socket is of the namespace of the thread that
/// opens it, and a thread for each would cost more than the question.
#[derive(Debug)]
pub(super) struct Inside {
    namespace: OwnedFd,
    /// By kind and family.
    kept: RefCell<Vec<(SockType, AddressFamily, Vec<OwnedFd>)>>,
    /// Held by who is opening more: others wait for these.
    opening: Mutex<()>,
}

impl Place {
    /// Where a socket is.
    pub(super) fn of(socket: &impl AsFd) -> io::Result<Self> {
        let namespace = netns::of_socket(socket.as_fd())?;
        Ok(Self::Inside(Box::new(Inside { namespace, kept: RefCell::default(), opening: Mutex::default() })))
    }

    /// A UDP socket for this server's family, on no port yet.
    pub(super) async fn udp(&self, server: SocketAddr) -> io::Result<UdpSocket> {
        UdpSocket::from_std(StdUdpSocket::from(self.open(server, SockType::Datagram).await?))
    }

    /// A connection to this server.
    pub(super) async fn tcp(&self, server: SocketAddr) -> io::Result<TcpStream> {
        let socket = StdTcpStream::from(self.open(server, SockType::Stream).await?);
        TcpSocket::from_std_stream(socket).connect(server).await
    }

    async fn open(&self, server: SocketAddr, kind: SockType) -> io::Result<OwnedFd> {
        let family = if server.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        match self {
            Self::Host => make(kind, family),
            Self::Inside(inside) => inside.take(kind, family).await,
        }
    }
}

impl Inside {
    async fn take(&self, kind: SockType, family: AddressFamily) -> io::Result<OwnedFd> {
        if let Some(socket) = self.kept(kind, family) {
            return Ok(socket);
        }
        let _turn = self.opening.lock().await;
        if let Some(socket) = self.kept(kind, family) {
            return Ok(socket);
        }
        let open = move || {
            let failed = |error| Error::kernel("open", "a socket in the container", error);
            let mut opened = vec![make(kind, family).map_err(failed)?];
            // One is enough: the process may have no more descriptors.
            opened.extend((1..BATCH).map_while(|_| make(kind, family).ok()));
            Ok(opened)
        };
        let mut opened = netns::run(self.namespace.try_clone()?, open).await.map_err(io::Error::other)?;
        let socket = opened.pop().ok_or(io::ErrorKind::NotFound)?;
        let mut kept = self.kept.borrow_mut();
        match kept.iter_mut().find(|(its, of, _)| (*its, *of) == (kind, family)) {
            Some((_, _, sockets)) => sockets.extend(opened),
            None => kept.push((kind, family, opened)),
        }
        Ok(socket)
    }

    fn kept(&self, kind: SockType, family: AddressFamily) -> Option<OwnedFd> {
        let mut kept = self.kept.borrow_mut();
        kept.iter_mut().find(|(its, of, _)| (*its, *of) == (kind, family))?.2.pop()
    }
}

fn make(kind: SockType, family: AddressFamily) -> io::Result<OwnedFd> {
    Ok(socket(family, kind, SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC, None)?)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use futures_util::FutureExt;
    use futures_util::future::join_all;
    use nix::sched::{CloneFlags, unshare};

    use super::*;

    /// A socket of another namespace.
    fn elsewhere() -> StdUdpSocket {
        let opened = std::thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("root, for a network namespace");
            StdUdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a socket")
        });
        opened.join().expect("a socket")
    }

    #[tokio::test]
    async fn one_thread_opens_the_sockets_of_many_questions() {
        let other = elsewhere();
        let place = Place::of(&other).expect("its namespace");
        let server = SocketAddr::from(([192, 0, 2, 1], 53));
        let inode = |socket: &dyn AsFd| {
            let namespace = netns::of_socket(socket.as_fd()).expect("its namespace");
            nix::sys::stat::fstat(namespace).expect("a look").st_ino
        };
        let first = place.udp(server).await.expect("a socket");
        assert_eq!(inode(&first), inode(&other));
        // No thread, so nothing to wait for.
        for _ in 1..BATCH {
            place.udp(server).now_or_never().expect("kept").expect("a socket");
        }
        assert!(place.udp(server).now_or_never().is_none(), "none is left");
        // Whoever was waiting for the thread has gone: the next one begins anew, and all of many get theirs.
        let many: Vec<UdpSocket> = join_all((0..3 * BATCH).map(|_| place.udp(server)))
            .await
            .into_iter()
            .collect::<io::Result<_>>()
            .expect("all of them");
        assert!(many.iter().all(|socket| inode(socket) == inode(&other)));
        let six = place.udp("[2001:db8::1]:53".parse().expect("an address")).await.expect("another family");
        assert_eq!(inode(&six), inode(&other));
    }
}
