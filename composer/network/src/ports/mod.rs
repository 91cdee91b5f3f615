//! Ports of the host that are taken for containers: a socket of ours is bound to each, so that nobody else takes it and
//! everybody sees it. Where packets are not led past them ([`crate::firewall`]), [`crate::proxy`] serves the sockets.

mod holder;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, Shutdown, SockFlag, SockType, SockaddrStorage, bind, getsockname, getsockopt,
    listen, setsockopt, shutdown, socket, sockopt,
};

use crate::firewall::Protocol;

pub use holder::{Holder, holders};

/// How many ports are tried where any will do: free for one protocol or family is not free for the other.
const TRIES: usize = 64;

/// Where a port is to be published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The host's address; all of them where it is none.
    pub host_ip: Option<IpAddr>,
    /// Its protocol.
    pub protocol: Protocol,
}

/// A port that is taken.
#[derive(Debug)]
pub struct Reserved {
    /// Where.
    pub place: Place,
    /// The port.
    pub port: u16,
    /// A socket for each family that is published: listening, or of datagrams; they do not block.
    pub sockets: Vec<OwnedFd>,
}

impl Reserved {
    /// Listens no more, whoever else has the sockets still: another may have the port at once.
    pub fn close(self) {
        if self.place.protocol == Protocol::Tcp {
            for socket in &self.sockets {
                // An error means that it does not listen.
                let _ = shutdown(socket.as_raw_fd(), Shutdown::Both);
            }
        }
    }
}

impl Place {
    /// The addresses that are bound.
    fn addresses(self) -> Vec<IpAddr> {
        match self.host_ip {
            Some(address) => vec![address],
            None => vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()],
        }
    }

    /// Whether the same port cannot be taken at both.
    pub fn clashes(self, other: Self) -> bool {
        let same = |one: IpAddr, other: IpAddr| {
            one.is_ipv4() == other.is_ipv4()
                && (one == other || one.is_unspecified() || other.is_unspecified())
        };
        let meets = match (self.host_ip, other.host_ip) {
            (Some(one), Some(other)) => same(one, other),
            (None, _) | (_, None) => true,
        };
        self.protocol == other.protocol && meets
    }

    /// Takes this port.
    ///
    /// # Errors
    /// `AddrInUse` where somebody has it, `AddrNotAvailable` where the host does not have the address; else as
    /// bind(2).
    pub fn take(self, port: u16) -> io::Result<Reserved> {
        let mut reserved = Reserved { place: self, port, sockets: Vec::new() };
        for address in self.addresses() {
            match bound(self.protocol, SocketAddr::new(address, reserved.port)) {
                Ok(socket) => {
                    // Where any will do, the first address decides for the others.
                    reserved.port = address_of(&socket)?.port();
                    reserved.sockets.push(socket);
                }
                // A host without IPv6 has the port all the same.
                Err(Errno::EAFNOSUPPORT | Errno::EADDRNOTAVAIL)
                    if self.host_ip.is_none() && address.is_ipv6() => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(reserved)
    }

    /// Takes any port that is free.
    ///
    /// # Errors
    /// As [`Place::take`].
    pub fn take_any(self) -> io::Result<Reserved> {
        let mut taken = self.take(0);
        for _ in 0..TRIES {
            match taken {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => taken = self.take(0),
                other => return other,
            }
        }
        taken
    }

    /// Takes out of the sockets that an earlier process has left those that are bound to this port here, if there are
    /// any: a host without IPv6 has one fewer of them.
    pub fn adopt(self, port: u16, sockets: &mut Vec<OwnedFd>) -> Option<Reserved> {
        let kind = kind_of(self.protocol);
        let bound = self.addresses().into_iter().filter_map(|address| {
            let wanted = SocketAddr::new(address, port);
            let is_it = |socket: &OwnedFd| {
                address_of(socket).is_ok_and(|bound| bound == wanted)
                    && getsockopt(socket, sockopt::SockType).is_ok_and(|found| found == kind)
            };
            Some(sockets.swap_remove(sockets.iter().position(is_it)?))
        });
        let sockets: Vec<OwnedFd> = bound.collect();
        (!sockets.is_empty()).then_some(Reserved { place: self, port, sockets })
    }
}

fn address_of(socket: &OwnedFd) -> io::Result<SocketAddr> {
    let address: SockaddrStorage = getsockname(socket.as_raw_fd())?;
    let v4 = address.as_sockaddr_in().map(|address| SocketAddr::V4((*address).into()));
    // A scope is none of the address that was asked for.
    let v6 = || {
        Some(SocketAddr::new((*address.as_sockaddr_in6()?).ip().into(), address.as_sockaddr_in6()?.port()))
    };
    v4.or_else(v6).ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))
}

fn kind_of(protocol: Protocol) -> SockType {
    match protocol {
        Protocol::Tcp => SockType::Stream,
        Protocol::Udp => SockType::Datagram,
    }
}

fn bound(protocol: Protocol, address: SocketAddr) -> nix::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let socket = socket(family, kind_of(protocol), SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK, None)?;
    if address.is_ipv6() {
        setsockopt(&socket, sockopt::Ipv6V6Only, &true)?;
    }
    match protocol {
        // Connections that have just ended are no reason to be refused; for datagrams it would mean to share.
        Protocol::Tcp => setsockopt(&socket, sockopt::ReuseAddr, &true)?,
        // An answer has to come from the address that was asked.
        Protocol::Udp if address.is_ipv4() => setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?,
        Protocol::Udp => setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?,
    }
    bind(socket.as_raw_fd(), &SockaddrStorage::from(address))?;
    if protocol == Protocol::Tcp {
        listen(&socket, Backlog::MAXCONN)?;
    }
    Ok(socket)
}
