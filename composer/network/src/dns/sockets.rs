//! The resolver's sockets inside a container's namespace.

use std::io;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;

use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::RcvBufForce;

use super::redirect;
use crate::error::{Error, Result};

/// Where containers expect their resolver: images hard-code Docker's.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);
/// The port of DNS.
pub const PORT: u16 = 53;
/// Ports that are tried: above the ephemeral range (net.ipv4.ip_local_port_range ends at 60999), so that no
/// client's port and hardly any service's is among them, and always the same, so that a clash is seen every time
/// and not once in a thousand starts.
const PORTS: std::ops::Range<u16> = 65353..65369;

/// Bytes of queries that wait to be read, the kernel's share of each (some 800) included.
const QUEUE: usize = 2 << 20;

/// A container's resolver before it is served: what it listens on.
#[derive(Debug)]
pub struct Attached {
    /// UDP, bound to 127.0.0.11 and [`port`](Self::port) in the container's namespace.
    pub dns_udp: OwnedFd,
    /// TCP, likewise, listening.
    pub dns_tcp: OwnedFd,
    /// The port that queries to port 53 arrive at; 53 itself where nf_tables is missing.
    pub port: u16,
    /// What the container has to do without, worded for users.
    pub warnings: Vec<String>,
}

/// Opens the sockets in the thread's namespace and leads port 53 to them.
pub(crate) fn open() -> Result<Attached> {
    let (udp, tcp, port) =
        bind_free().map_err(|source| Error::kernel("open", "the container's resolver", source))?;
    match redirect::install(port) {
        Ok(()) => Ok(Attached { dns_udp: udp.into(), dns_tcp: tcp.into(), port, warnings: Vec::new() }),
        Err(reason) => {
            let (udp, tcp) = bind(PORT)
                .map_err(|source| Error::kernel("open port 53 for", "the container's resolver", source))?;
            let warning = format!(
                "nf_tables cannot be used ({reason}): the resolver takes port 53 of 127.0.0.11 in the container, \
                 and a DNS server of its own there cannot listen on every address"
            );
            Ok(Attached { dns_udp: udp.into(), dns_tcp: tcp.into(), port: PORT, warnings: vec![warning] })
        }
    }
}

/// Binds the first port of which both halves are free.
fn bind_free() -> io::Result<(UdpSocket, TcpListener, u16)> {
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for port in PORTS {
        match bind(port) {
            Ok((udp, tcp)) => return Ok((udp, tcp, port)),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => last = error,
            Err(error) => return Err(error),
        }
    }
    Err(last)
}

fn bind(port: u16) -> io::Result<(UdpSocket, TcpListener)> {
    let udp = UdpSocket::bind((ADDRESS, port))?;
    // Beyond net.core.rmem_max, which root may; with what there was before, a thousand at once lose some.
    let _ = setsockopt(&udp, RcvBufForce, &QUEUE);
    Ok((udp, TcpListener::bind((ADDRESS, port))?))
}
