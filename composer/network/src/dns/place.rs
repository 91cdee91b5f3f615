//! Where other resolvers are asked from: the host's namespace, or a container's.

use std::io;
use std::net::{SocketAddr, TcpStream as StdTcpStream, UdpSocket as StdUdpSocket};
use std::os::fd::{AsFd, OwnedFd};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use tokio::net::{TcpSocket, TcpStream, UdpSocket};

use crate::error::Error;
use crate::netns;

/// Where sockets are made.
#[derive(Debug)]
pub(super) enum Place {
    /// In this process's own namespace.
    Host,
    /// In this one.
    Inside(OwnedFd),
}

impl Place {
    /// Where a socket is.
    pub(super) fn of(socket: &impl AsFd) -> io::Result<Self> {
        netns::of_socket(socket.as_fd()).map(Self::Inside)
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
        let open = move || socket(family, kind, SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC, None);
        match self {
            Self::Host => Ok(open()?),
            Self::Inside(namespace) => {
                let job =
                    move || open().map_err(|errno| Error::kernel("open", "a socket in the container", errno));
                netns::run(namespace.try_clone()?, job).await.map_err(io::Error::other)
            }
        }
    }
}
