//! Which resolvers get what the zone cannot answer.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::Instant;

use super::resolv::{HOST_FILE, ResolvConf};
use super::sockets::{ADDRESS, PORT};

/// For how long a resolver that did not answer is asked last.
const DEMOTION: Duration = Duration::from_secs(10);
/// How many resolvers are asked (MAXNS, resolv.conf(5)).
const MOST: usize = 3;

/// Where the resolvers are named.
#[derive(Debug, Clone)]
pub enum Upstreams {
    /// In a resolv.conf, read again when it has changed.
    File(PathBuf),
    /// These, in this order.
    Fixed(Vec<SocketAddr>),
}

impl Upstreams {
    /// Those of the host.
    pub fn host() -> Self {
        Self::File(HOST_FILE.into())
    }

    /// A container's own, as seen from inside of it, where 127.0.0.11 is we who ask.
    pub(super) fn at(servers: &[IpAddr]) -> Self {
        let others = servers.iter().filter(|server| **server != IpAddr::from(ADDRESS));
        Self::Fixed(others.map(|server| SocketAddr::new(*server, PORT)).collect())
    }
}

/// The resolvers in the order in which to ask them.
#[derive(Debug)]
pub(super) struct Ranking {
    upstreams: Upstreams,
    read: RefCell<Read>,
    demoted: RefCell<HashMap<SocketAddr, Instant>>,
}

/// What the file said when it was last read.
#[derive(Debug, Default)]
struct Read {
    version: Option<Version>,
    servers: Vec<SocketAddr>,
}

/// What changes when a file is written or replaced: device, inode, size, and the time of its last change.
type Version = (u64, u64, u64, i64, i64);

impl Ranking {
    pub(super) fn new(upstreams: Upstreams) -> Self {
        Self { upstreams, read: RefCell::default(), demoted: RefCell::default() }
    }

    /// The resolvers, those last that failed a moment ago.
    pub(super) fn servers(&self) -> Vec<SocketAddr> {
        let mut servers = match &self.upstreams {
            Upstreams::Fixed(servers) => servers.clone(),
            Upstreams::File(path) => {
                let version = fs::metadata(path)
                    .ok()
                    .map(|file| (file.dev(), file.ino(), file.size(), file.mtime(), file.mtime_nsec()));
                let mut read = self.read.borrow_mut();
                if read.version != version {
                    *read = Read { version, servers: ResolvConf::read(path).nameservers };
                }
                read.servers.clone()
            }
        };
        servers.truncate(MOST);
        let now = Instant::now();
        let mut demoted = self.demoted.borrow_mut();
        demoted.retain(|_, until| *until > now);
        servers.sort_by_key(|server| demoted.contains_key(server));
        servers
    }

    /// Puts a resolver last for a while.
    pub(super) fn demote(&self, server: SocketAddr) {
        self.demoted.borrow_mut().insert(server, Instant::now() + DEMOTION);
    }
}
