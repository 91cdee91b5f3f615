//! Which stack holds which subnet: one registry for the host.
//!
//! A JSON file, replaced by rename, under a `flock` on the folder that holds it; stacks that start at the same
//! time queue there for the microseconds a claim takes. Folder and file go with the last subnet.
//!
//! **Size.** A network gets a /22: 1,021 containers, about the 1,023 ports that a Linux bridge can have
//! (BR_MAX_PORTS, net/bridge/br_private.h), so a stack never outgrows its subnet before its bridge, and the pools
//! still hold 3,072 networks, where Docker's /16s and /20s make 31.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::addresses::first;
use crate::error::{Error, Result};
use crate::folder::Folder;

/// Prefix length of the subnets that are given.
const PREFIX: u8 = 22;
/// First and last /22 of each pool, in the order they are used: Docker's ranges, then the last eighth of 10/8
/// for hosts whose VPN routes all of those, and for those whose VPN routes all private ones half of what is set aside for
/// measurements of devices (RFC 2544), which nobody routes. The other half is what proxies that answer with addresses of
/// their own take from it.
const POOLS: [(&str, Ipv4Addr, Ipv4Addr); 4] = [
    ("172.18.0.0-172.31.255.255", Ipv4Addr::new(172, 18, 0, 0), Ipv4Addr::new(172, 31, 252, 0)),
    ("192.168.0.0/16", Ipv4Addr::new(192, 168, 0, 0), Ipv4Addr::new(192, 168, 252, 0)),
    ("10.224.0.0/11", Ipv4Addr::new(10, 224, 0, 0), Ipv4Addr::new(10, 255, 252, 0)),
    ("198.19.0.0/16", Ipv4Addr::new(198, 19, 0, 0), Ipv4Addr::new(198, 19, 252, 0)),
];
/// Routes shorter than this are ways to everywhere (the default, and VPNs' halves and eighths of it), not the
/// place of a network that a subnet would hide.
const SHORTEST_ROUTE: u8 = 8;
const FILE: &str = "subnets.json";
const GROUPS_FILE: &str = "groups.json";
/// iproute2 takes link groups of 31 bits only.
const GROUPS: u32 = u32::MAX >> 1;
/// So many unique local subnets are tried: none of them is likely to be taken.
const UNIQUE_LOCAL: u64 = 1 << 16;

/// A subnet that a stack holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The stack.
    pub stack: String,
    /// Its network, by its key in the file.
    pub network: String,
    /// The subnet.
    pub subnet: IpNet,
}

/// The stack under which networks of the host itself stand in the registry; no stack can be called so.
pub const HOST: &str = "";

/// The registry of all stacks of the host.
#[derive(Debug, Clone)]
pub struct Registry {
    folder: Folder,
}

impl Registry {
    /// The registry in this folder, which is made when the first subnet is claimed.
    pub fn open(dir: &Path) -> Self {
        Self { folder: Folder::new(dir) }
    }

    /// Gives the network a subnet that overlaps neither `taken` (the host's routes and addresses, see
    /// [`crate::Host::taken`]) nor another stack's, and records it. While it is held the same subnet is given
    /// again, unless something in `taken` now overlaps it; the traces of the network's own bridge do not count.
    ///
    /// # Errors
    /// [`Error::NoSubnet`] when all are taken; else when the registry cannot be read or written.
    pub fn claim(&self, stack: &str, network: &str, taken: &[IpNet]) -> Result<IpNet> {
        self.claim_first(stack, network, taken, candidates().map(IpNet::V4), || {
            POOLS.map(|(name, ..)| name).join(", ")
        })
    }

    /// The same of IPv6: a unique local /64 (RFC 4193) that follows from the names, or the next that is free.
    ///
    /// # Errors
    /// As [`Registry::claim`].
    pub fn claim_v6(&self, stack: &str, network: &str, taken: &[IpNet]) -> Result<IpNet> {
        let candidates = unique_local(stack, network).map(IpNet::V6);
        self.claim_first(stack, network, taken, candidates, || "fd00::/8".to_owned())
    }

    fn claim_first(
        &self,
        stack: &str,
        network: &str,
        taken: &[IpNet],
        mut candidates: impl Iterator<Item = IpNet>,
        pools: impl Fn() -> String,
    ) -> Result<IpNet> {
        let _lock = self.folder.lock()?;
        let mut leases = self.read()?;
        let first = candidates.next();
        let is_own = |lease: &Lease| {
            lease.stack == stack
                && lease.network == network
                && first.is_some_and(|net| same_family(net, lease.subnet))
        };
        let held = leases.iter().position(is_own);
        if let Some(place) = held {
            let subnet = leases.remove(place).subnet;
            let clash = taken.iter().any(|other| !is_trace_of(subnet, *other) && clashes(subnet, *other));
            if !clash {
                return Ok(subnet);
            }
        }
        let free = first.into_iter().chain(candidates).find(|subnet| {
            !taken.iter().any(|other| clashes(*subnet, *other))
                && !leases.iter().any(|lease| overlap(*subnet, lease.subnet))
        });
        let Some(subnet) = free else {
            if held.is_none() && leases.is_empty() && self.groups()?.is_empty() {
                self.remove()?;
            }
            return Err(Error::NoSubnet { stack: stack.into(), network: network.into(), pools: pools() });
        };
        leases.push(Lease { stack: stack.into(), network: network.into(), subnet });
        self.write(&leases)?;
        Ok(subnet)
    }

    /// Gives the network this very subnet, in place of what it had of the family. `taken` is without what the network's
    /// own bridge adds to it.
    ///
    /// # Errors
    /// [`Error::Overlap`] when a route of the host or another network has it; else when the registry cannot be read or
    /// written.
    pub fn claim_exactly(&self, stack: &str, network: &str, subnet: IpNet, taken: &[IpNet]) -> Result<()> {
        let _lock = self.folder.lock()?;
        let mut leases = self.read()?;
        let before = leases.clone();
        leases.retain(|lease| {
            lease.stack != stack || lease.network != network || !same_family(subnet, lease.subnet)
        });
        if let Some(holder) = holder_of(subnet, &leases, taken) {
            if before.is_empty() && self.groups()?.is_empty() {
                self.remove()?;
            }
            return Err(Error::Overlap { subnet, network: network.into(), holder });
        }
        leases.push(Lease { stack: stack.into(), network: network.into(), subnet });
        if leases == before { Ok(()) } else { self.write(&leases) }
    }

    /// Whether nobody is in the way of this subnet, but those whose subnet `goes`, without taking it.
    ///
    /// # Errors
    /// As [`Registry::claim_exactly`].
    pub fn check(
        &self,
        network: &str,
        subnet: IpNet,
        taken: &[IpNet],
        goes: impl Fn(&Lease) -> bool,
    ) -> Result<()> {
        let mut leases = self.read()?;
        leases.retain(|lease| !goes(lease));
        match holder_of(subnet, &leases, taken) {
            Some(holder) => Err(Error::Overlap { subnet, network: network.into(), holder }),
            None => Ok(()),
        }
    }

    /// The link group of a stack: the same for as long as it has one, and no other's.
    ///
    /// # Errors
    /// When the registry cannot be read or written.
    pub fn group(&self, stack: &str) -> Result<u32> {
        let _lock = self.folder.lock()?;
        let mut groups = self.groups()?;
        if let Some(group) = groups.get(stack) {
            return Ok(*group);
        }
        let used: BTreeSet<u32> = groups.values().copied().collect();
        // By the name first, so that it is found again where the registry was lost.
        let first = u32::from_be_bytes(hash(stack, "")[..4].try_into().unwrap_or_default());
        let free = (0..=u32::MAX)
            .map(|step| first.wrapping_add(step) & GROUPS)
            .find(|group| *group > 0 && !used.contains(group));
        let group = free.unwrap_or(1);
        groups.insert(stack.to_owned(), group);
        self.folder.write(GROUPS_FILE, &groups)?;
        Ok(group)
    }

    /// The link group that a stack has.
    ///
    /// # Errors
    /// When the registry cannot be read.
    pub fn held_group(&self, stack: &str) -> Result<Option<u32>> {
        Ok(self.groups()?.get(stack).copied())
    }

    fn groups(&self) -> Result<BTreeMap<String, u32>> {
        self.folder.read(GROUPS_FILE)
    }

    /// Has a network of a stack's hold its subnets as one of the host's from now on; none is fine.
    ///
    /// # Errors
    /// When the registry cannot be read or written.
    pub fn give(&self, stack: &str, network: &str, name: &str) -> Result<()> {
        let _lock = self.folder.lock()?;
        let mut leases = self.read()?;
        let own = leases.iter_mut().filter(|lease| lease.stack == stack && lease.network == network);
        let given =
            own.map(|lease| (lease.stack, lease.network) = (HOST.to_owned(), name.to_owned())).count();
        if given == 0 { Ok(()) } else { self.write(&leases) }
    }

    /// Gives back the subnets of one network; none is fine.
    ///
    /// # Errors
    /// When the registry cannot be read or written.
    pub fn release(&self, stack: &str, network: &str) -> Result<()> {
        self.keep(|lease| lease.stack != stack || lease.network != network, |_| true)
    }

    /// Gives back every subnet of the stack, and its link group; none is fine.
    ///
    /// # Errors
    /// When the registry cannot be read or written.
    pub fn release_stack(&self, stack: &str) -> Result<()> {
        self.keep(|lease| lease.stack != stack, |other| other != stack)
    }

    fn keep(&self, lease: impl Fn(&Lease) -> bool, group: impl Fn(&str) -> bool) -> Result<()> {
        if !self.folder.has(FILE) && !self.folder.has(GROUPS_FILE) {
            return Ok(());
        }
        let _lock = self.folder.lock()?;
        let (mut leases, mut groups) = (self.read()?, self.groups()?);
        let before = (leases.len(), groups.len());
        leases.retain(lease);
        groups.retain(|stack, _| group(stack));
        if leases.is_empty() && groups.is_empty() {
            return self.remove();
        }
        if leases.len() < before.0 {
            self.write(&leases)?;
        }
        if groups.len() < before.1 {
            self.folder.write(GROUPS_FILE, &groups)?;
        }
        Ok(())
    }

    /// The subnets that one network holds.
    ///
    /// # Errors
    /// When the registry cannot be read.
    pub fn held(&self, stack: &str, network: &str) -> Result<Vec<IpNet>> {
        let own = |lease: &Lease| lease.stack == stack && lease.network == network;
        Ok(self.read()?.into_iter().filter(own).map(|lease| lease.subnet).collect())
    }

    /// All subnets that are held.
    ///
    /// # Errors
    /// When the registry cannot be read.
    pub fn list(&self) -> Result<Vec<Lease>> {
        self.read()
    }

    fn read(&self) -> Result<Vec<Lease>> {
        self.folder.read(FILE)
    }

    fn write(&self, leases: &[Lease]) -> Result<()> {
        self.folder.write(FILE, leases)
    }

    fn remove(&self) -> Result<()> {
        self.folder.remove(FILE)?;
        self.folder.remove(GROUPS_FILE)?;
        self.folder.tidy()
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

/// Unique local /64s of a network: the first follows from its names.
fn unique_local(stack: &str, network: &str) -> impl Iterator<Item = Ipv6Net> {
    let hash = hash(stack, network);
    // fd, 40 bits of the global identifier, 16 bits of the subnet (RFC 4193, 3.1).
    let first = hash.iter().take(7).fold(0xfd_u64, |bits, byte| bits << 8 | u64::from(*byte));
    (0..UNIQUE_LOCAL).map(move |step| {
        let bits = 0xfd << 56 | (first.wrapping_add(step) & (u64::MAX >> 8));
        Ipv6Net::new_assert(Ipv6Addr::from_bits(u128::from(bits) << 64), 64)
    })
}

fn hash(stack: &str, network: &str) -> Vec<u8> {
    Sha256::new().chain_update(stack).chain_update([0]).chain_update(network).finalize().to_vec()
}

fn same_family(one: IpNet, other: IpNet) -> bool {
    matches!((one, other), (IpNet::V4(_), IpNet::V4(_)) | (IpNet::V6(_), IpNet::V6(_)))
}

fn overlap(one: IpNet, other: IpNet) -> bool {
    same_family(one, other) && (one.contains(&other.network()) || other.contains(&one.network()))
}

/// Whether a subnet is in the way of a route.
pub(crate) fn clashes(subnet: IpNet, taken: IpNet) -> bool {
    taken.prefix_len() >= SHORTEST_ROUTE && overlap(subnet, taken)
}

/// Whether an entry is what a bridge with this subnet itself adds to the host: the subnet's route and address, and
/// the kernel's routes for its gateway, network and broadcast addresses.
fn is_trace_of(subnet: IpNet, taken: IpNet) -> bool {
    taken.trunc() == subnet
        || (taken.prefix_len() == taken.max_prefix_len()
            && [subnet.network(), first(subnet), subnet.broadcast()].contains(&taken.addr()))
}

/// Who has a subnet, or a part of it.
fn holder_of(subnet: IpNet, leases: &[Lease], taken: &[IpNet]) -> Option<String> {
    let others = leases.iter().find(|lease| overlap(subnet, lease.subnet)).map(Lease::holder);
    let route = || taken.iter().find(|other| clashes(subnet, **other));
    others.or_else(|| route().map(|other| format!("{other}, which the host has a route to")))
}

impl Lease {
    /// How messages name who has it.
    fn holder(&self) -> String {
        let Self { stack, network, subnet } = self;
        match stack.as_str() {
            HOST => format!("{subnet} of network {network}, which stacks share"),
            _ => format!("{subnet} of network {network} of stack {stack}"),
        }
    }
}
