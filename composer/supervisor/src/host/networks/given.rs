//! Networks that a stack has made for itself and others have joined, as Docker lets them: from then on they are the
//! host's. Such a one goes with the last stack that is on it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;

use composer_network::addresses::Subnet;
use composer_network::subnets::Registry;
use composer_stack::Network;
use nix::fcntl::Flock;
use serde::{Deserialize, Serialize};

use super::{HostNetwork, all, known_to, lock, of_host, pool, read, take_away, write};
use crate::records::{self, Address, StackRecord};
use crate::{clock, paths};

/// Whose a network was before it was the host's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Giver {
    /// The stack.
    pub stack: String,
    /// The network's key in its file.
    pub key: String,
    /// What the file says of it.
    pub asked: Network,
}

impl HostNetwork {
    /// Whether the stack has given it.
    pub fn is_of(&self, stack: &str) -> bool {
        self.of.as_ref().is_some_and(|giver| giver.stack == stack)
    }
}

/// The stack that has to share a network of its own of this name, or one that it is about to make, before another one can
/// be on it.
pub fn giver(name: &str, joining: &str) -> Option<String> {
    let is_it = |network: &Network| !network.external && network.name == name;
    if let Some(shared) = read(name) {
        // Whoever was killed in the midst of it goes on when asked.
        let giver = shared.of?.stack;
        let made = record(&giver).map(|known| known.made).unwrap_or_default();
        return (giver != joining && made.values().any(is_it)).then_some(giver);
    }
    let has = |stack: &str| {
        let known = record(stack).into_iter().flat_map(|known| [known.made, known.networks]);
        known.flat_map(BTreeMap::into_values).any(|network| is_it(&network))
    };
    if has(joining) {
        return None;
    }
    paths::stacks().into_iter().find(|stack| stack != joining && has(stack))
}

/// The names of the networks that stacks have of their own.
pub(super) fn of_stacks() -> BTreeSet<String> {
    let known = paths::stacks().into_iter().filter_map(|stack| record(&stack));
    let known = known.flat_map(|known| [known.made, known.networks]).flat_map(BTreeMap::into_values);
    known.filter(|network| !network.external).map(|network| network.name).collect()
}

/// The stacks that are on a network which stacks share, whether their containers run or not, and one that is about to share
/// it.
pub fn stacks_on(name: &str) -> Vec<String> {
    let is_on = |stack: &String| {
        let mut made = record(stack).into_iter().flat_map(|known| known.made.into_values());
        made.any(|network| network.name == name)
    };
    paths::stacks().into_iter().filter(is_on).collect()
}

fn record(stack: &str) -> Option<StackRecord> {
    records::read(&paths::StackPaths::new(stack).record())
}

/// A network that another stack has, or is about to make.
#[derive(Clone, Debug)]
pub(crate) struct Elsewhere {
    /// The stack.
    pub stack: String,
    /// The network's name.
    pub network: String,
}

/// Has nobody else make networks of these names: to be held until the stack's record says that it does. Fails where another
/// stack came first.
pub(crate) fn claim(names: &[String], stack: &str) -> io::Result<Result<Option<Flock<File>>, Elsewhere>> {
    if names.is_empty() {
        return Ok(Ok(None));
    }
    let lock = lock()?;
    let first = names.iter().find_map(|name| Some((giver(name, stack)?, name)));
    Ok(match first {
        Some((other, name)) => Err(Elsewhere { stack: other, network: name.clone() }),
        None => Ok(Some(lock)),
    })
}

/// Makes a stack's network one of the host's, with its bridge and subnets.
pub(crate) fn give(giver: Giver, bridge: &str, subnets: &[Subnet]) -> io::Result<HostNetwork> {
    let _lock = lock()?;
    let name = giver.asked.name.clone();
    if let Some(known) = read(&name) {
        // A supervisor that has died in the midst of it may have come so far.
        return if known.is_of(&giver.stack) {
            Ok(known)
        } else {
            Err(io::Error::other("the host has one of that name"))
        };
    }
    let network = Network {
        ipam: subnets.iter().map(|subnet| pool(&giver.asked, subnet)).collect(),
        bridge: Some(bridge.to_owned()),
        ..giver.asked.clone()
    };
    let created = super::created(&paths::StackPaths::new(&giver.stack)).unwrap_or_else(clock::now);
    let record = HostNetwork { id: id_of(&giver.stack, &name), created, network, of: Some(giver) };
    write(&record)?;
    Ok(record)
}

/// The id of a network that a stack has made for itself.
pub(super) fn id_of(stack: &str, name: &str) -> String {
    composer_stack::sha256(&format!("{stack}\n{name}"))
}

/// Those that a stack has given.
pub(crate) fn given_by(stack: &str) -> impl Iterator<Item = (String, HostNetwork)> {
    all().into_iter().filter_map(move |record| {
        let key = record.of.as_ref().filter(|giver| giver.stack == stack)?.key.clone();
        Some((key, record))
    })
}

/// Has the subnets and the addresses of a stack's containers be those of a network that it has given.
pub(crate) fn entrust(
    registry: &Registry,
    record: &HostNetwork,
    containers: impl Iterator<Item = (String, Address)>,
) -> io::Result<()> {
    let (Some(giver), name) = (&record.of, &record.network.name) else { return Ok(()) };
    registry.give(&giver.stack, &giver.key, name).map_err(io::Error::other)?;
    let _lock = lock()?;
    known_to(name, |taken| taken.extend(containers))
}

/// The network of this name for a stack that joins it, with what keeps it: to be held until the stack's record says that it
/// is on it.
pub(crate) fn join(name: &str) -> io::Result<Option<(HostNetwork, Flock<File>)>> {
    if read(name).is_none() {
        return Ok(None);
    }
    let lock = lock()?;
    Ok(read(name).map(|known| (known, lock)))
}

/// Removes the networks that stacks have given and none is on any more; their names. To be called when a stack's record says
/// that it has left, and where one may have been killed after that; it waits for the kernel.
pub fn sweep() -> Result<Vec<String>, String> {
    let is_left = |record: &HostNetwork| record.of.is_some() && stacks_on(&record.network.name).is_empty();
    if !all().iter().any(is_left) {
        return Ok(Vec::new());
    }
    let _lock = lock().map_err(|error| error.to_string())?;
    let mut gone = Vec::new();
    for record in all().into_iter().filter(is_left) {
        let name = record.network.name.clone();
        take_away(&of_host(record)).map_err(|why| format!("remove network {name}: {why}"))?;
        gone.push(name);
    }
    Ok(gone)
}
