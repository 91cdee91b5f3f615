//! Which stack holds which subnet: one registry for the host.
//!
//! A JSON file, replaced by rename, under a `flock` on the folder that holds it; stacks that start at the same
//! time queue there for the microseconds a claim takes. Folder and file go with the last subnet.
//!
//! **Size.** A network gets a /22: 1,021 containers, about the 1,023 ports that a Linux bridge can have
//! (BR_MAX_PORTS, net/bridge/br_private.h), so a stack never outgrows its subnet before its bridge, and the pools
//! still hold 3,008 networks, where Docker's /16s and /20s make 31.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use ipnet::Ipv4Net;
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use crate::addresses::gateway;
use crate::error::{Error, Result};

/// Prefix length of the subnets that are given.
const PREFIX: u8 = 22;
/// First and last /22 of each pool, in the order they are used: Docker's ranges, then the last eighth of 10/8
/// for hosts whose VPN routes all of those.
const POOLS: [(&str, Ipv4Addr, Ipv4Addr); 3] = [
    ("172.18.0.0-172.31.255.255", Ipv4Addr::new(172, 18, 0, 0), Ipv4Addr::new(172, 31, 252, 0)),
    ("192.168.0.0/16", Ipv4Addr::new(192, 168, 0, 0), Ipv4Addr::new(192, 168, 252, 0)),
    ("10.224.0.0/11", Ipv4Addr::new(10, 224, 0, 0), Ipv4Addr::new(10, 255, 252, 0)),
];
/// Routes shorter than this are ways to everywhere (the default, and VPNs' halves and eighths of it), not the
/// place of a network that a subnet would hide.
const SHORTEST_ROUTE: u8 = 8;
const FILE: &str = "subnets.json";

/// A subnet that a stack holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The stack.
    pub stack: String,
    /// Its network, by its key in the file.
    pub network: String,
    /// The subnet.
    pub subnet: Ipv4Net,
}

/// The registry of all stacks of the host.
#[derive(Debug, Clone)]
pub struct Registry {
    dir: PathBuf,
}

impl Registry {
    /// The registry in this folder, which is made when the first subnet is claimed.
    pub fn open(dir: &Path) -> Self {
        Self { dir: dir.to_path_buf() }
    }

    /// Gives the network a subnet that overlaps neither `taken` (the host's routes and addresses, see
    /// [`crate::Host::taken`]) nor another stack's, and records it. While it is held the same subnet is given
    /// again, unless something in `taken` now overlaps it; the traces of the network's own bridge do not count.
    ///
    /// # Errors
    /// [`Error::NoSubnet`] when all are taken; else when the registry cannot be read or written.
    pub fn claim(&self, stack: &str, network: &str, taken: &[Ipv4Net]) -> Result<Ipv4Net> {
        let _lock = self.lock()?;
        let mut leases = self.read()?;
        let held = leases.iter().position(|lease| lease.stack == stack && lease.network == network);
        if let Some(place) = held {
            let subnet = leases.remove(place).subnet;
            let clash = taken.iter().any(|other| !is_trace_of(subnet, *other) && clashes(subnet, *other));
            if !clash {
                return Ok(subnet);
            }
        }
        let free = candidates().find(|subnet| {
            !taken.iter().any(|other| clashes(*subnet, *other))
                && !leases.iter().any(|lease| overlap(*subnet, lease.subnet))
        });
        let Some(subnet) = free else {
            if held.is_none() && leases.is_empty() {
                self.remove()?;
            }
            let pools = POOLS.map(|(name, ..)| name).join(", ");
            return Err(Error::NoSubnet { stack: stack.into(), network: network.into(), pools });
        };
        leases.push(Lease { stack: stack.into(), network: network.into(), subnet });
        self.write(&leases)?;
        Ok(subnet)
    }

    /// Gives back every subnet of the stack; none is fine.
    ///
    /// # Errors
    /// When the registry cannot be read or written.
    pub fn release_stack(&self, stack: &str) -> Result<()> {
        if !self.dir.join(FILE).exists() {
            return Ok(());
        }
        let _lock = self.lock()?;
        let mut leases = self.read()?;
        let before = leases.len();
        leases.retain(|lease| lease.stack != stack);
        if leases.is_empty() {
            self.remove()
        } else if leases.len() < before {
            self.write(&leases)
        } else {
            Ok(())
        }
    }

    /// All subnets that are held.
    ///
    /// # Errors
    /// When the registry cannot be read.
    pub fn list(&self) -> Result<Vec<Lease>> {
        // A rename replaces the file: a reader sees the one or the other and needs no lock.
        self.read()
    }

    /// Locks the folder, making it first where it is missing.
    fn lock(&self) -> Result<Flock<File>> {
        loop {
            let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.dir);
            // NotFound: who held the lock before has removed the folder, or its empty parent, in this moment.
            let dir = match made.and_then(|()| File::open(&self.dir)) {
                Ok(dir) => dir,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(self.error("make", error)),
            };
            let opened = dir.metadata().map_err(|source| self.error("look at", source))?;
            let lock = Flock::lock(dir, FlockArg::LockExclusive)
                .map_err(|(_, errno)| self.error("lock", errno.into()))?;
            // Who held the lock before may have removed the folder: then this lock guards nothing.
            match fs::metadata(&self.dir) {
                Ok(now) if (now.dev(), now.ino()) == (opened.dev(), opened.ino()) => {
                    return Ok(lock);
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(self.error("look at", error)),
            }
        }
    }

    fn read(&self) -> Result<Vec<Lease>> {
        let path = self.dir.join(FILE);
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|source| Error::Damaged { path, source }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(source) => Err(Error::Registry { doing: "read", path, source }),
        }
    }

    fn write(&self, leases: &[Lease]) -> Result<()> {
        let path = self.dir.join(FILE);
        let next = self.dir.join("subnets.json.next");
        let bytes = serde_json::to_vec_pretty(leases)
            .map_err(|source| Error::Damaged { path: path.clone(), source })?;
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&next)
            .and_then(|mut file| file.write_all(&bytes))
            .and_then(|()| fs::rename(&next, &path))
            .map_err(|source| Error::Registry { doing: "write", path, source })
    }

    fn remove(&self) -> Result<()> {
        let path = self.dir.join(FILE);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                return Err(Error::Registry { doing: "remove", path, source });
            }
            _ => {}
        }
        match fs::remove_dir(&self.dir) {
            // Others keep things of the host beside it.
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
            other => other.map_err(|source| self.error("remove", source)),
        }
    }

    fn error(&self, doing: &'static str, source: io::Error) -> Error {
        Error::Registry { doing, path: self.dir.clone(), source }
    }
}

/// Every subnet of the pools, in the order they are tried.
fn candidates() -> impl Iterator<Item = Ipv4Net> {
    POOLS.into_iter().flat_map(|(_, first, last)| {
        (first.to_bits()..=last.to_bits())
            .step_by(1 << (32 - PREFIX))
            .map(|bits| Ipv4Net::new_assert(Ipv4Addr::from_bits(bits), PREFIX))
    })
}

fn overlap(one: Ipv4Net, other: Ipv4Net) -> bool {
    one.contains(&other.network()) || other.contains(&one.network())
}

fn clashes(subnet: Ipv4Net, taken: Ipv4Net) -> bool {
    taken.prefix_len() >= SHORTEST_ROUTE && overlap(subnet, taken)
}

/// Whether an entry is what a bridge with this subnet itself adds to the host: the subnet's route and address, and
/// the kernel's routes for its gateway, network and broadcast addresses.
fn is_trace_of(subnet: Ipv4Net, taken: Ipv4Net) -> bool {
    taken.trunc() == subnet
        || (taken.prefix_len() == 32
            && [subnet.network(), gateway(subnet), subnet.broadcast()].contains(&taken.addr()))
}
