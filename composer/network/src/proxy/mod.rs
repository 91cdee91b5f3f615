//! Published ports in user space: for what packets cannot be led to by the kernel (::1, and a container without IPv6
//! asked over it), and for everything where nf_tables cannot be used. The client's address is lost on the way.
//!
//! Bytes of TCP go from socket to socket by splice(2), without being copied here; datagrams have a socket for each
//! client. The sockets come from [`crate::ports`] and outlive whoever serves them.

mod tcp;
mod udp;

use std::cell::Cell;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::LazyLock;

use nix::sys::resource::{Resource, getrlimit};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::error::{Error, Result};
use crate::firewall::Protocol;

/// The descriptors that all connections and flows of this process may have at once: not all that it may have, or a
/// flood of clients would keep it from everything else.
static DESCRIPTORS: LazyLock<Semaphore> = LazyLock::new(|| {
    let (limit, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((1024, 1024));
    Semaphore::new(usize::try_from(limit / 2).unwrap_or(MOST).min(MOST))
});
const MOST: usize = 1 << 20;

/// The container behind a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// Its addresses.
    pub v4: Option<Ipv4Addr>,
    /// The same.
    pub v6: Option<Ipv6Addr>,
    /// Its port.
    pub port: u16,
}

impl Target {
    /// What a client of this family is led to: the same family, where there is a choice.
    fn address(self, v4: bool) -> Option<SocketAddr> {
        let (one, other) = (self.v4.map(IpAddr::V4), self.v6.map(IpAddr::V6));
        let address = if v4 { one.or(other) } else { other.or(one) };
        address.map(|address| SocketAddr::new(address, self.port))
    }
}

/// A port that is served until this is dropped. Connections that are under way go on without it.
pub struct Served {
    target: Rc<Cell<Option<Target>>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Served {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Served {
    /// Leads what comes from now on to this container, or to none.
    pub fn lead(&self, target: Option<Target>) {
        self.target.set(target);
    }
}

/// Serves the sockets of a port. Within a `LocalSet`.
///
/// # Errors
/// When the runtime cannot watch a socket.
pub fn serve(protocol: Protocol, sockets: Vec<OwnedFd>, target: Option<Target>) -> Result<Served> {
    let target = Rc::new(Cell::new(target));
    let mut served = Served { target: Rc::clone(&target), tasks: Vec::new() };
    for socket in sockets {
        let failed = |error: io::Error| Error::kernel("serve", "the socket of a published port", error);
        let task = match protocol {
            Protocol::Tcp => tcp::serve(socket, Rc::clone(&target)).map_err(failed)?,
            Protocol::Udp => udp::serve(socket, Rc::clone(&target)).map_err(failed)?,
        };
        served.tasks.push(task);
    }
    Ok(served)
}
