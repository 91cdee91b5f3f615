//! Networks that a stack has made for itself and others have joined, as Docker lets them: from then on they are the
//! host's. Such a one goes with the last stack that is on it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;

use composer_network::addresses::Subnet;
use composer_network::subnets::Registry;
use composer_stack::Network;
use serde::{Deserialize, Serialize};

use super::{HostNetwork, Lock, all, known_to, lock, of_host, pool, read, take_away, write};
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

/// A network that another stack has of its own, or is about to make: it has to share it before another one can be on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elsewhere {
    /// The stack.
    pub stack: String,
    /// The network's name.
    pub network: String,
}

/// Those of these names that a stack which is to be on them has to ask others for first.
pub fn elsewhere(names: &[String], joining: &str) -> Vec<Elsewhere> {
    let (mut found, mut open) = (Vec::new(), BTreeSet::new());
    for name in names {
        let Some(shared) = read(name) else {
            open.insert(name.as_str());
            continue;
        };
        // Whoever was killed in the midst of it goes on when asked.
        let giver = shared.of.map(|giver| giver.stack).filter(|giver| giver != joining);
        let made = giver.as_deref().and_then(record).map(|known| known.made).unwrap_or_default();
        if let Some(stack) = giver.filter(|_| made.values().any(|own| !own.external && own.name == *name)) {
            found.push(Elsewhere { stack, network: name.clone() });
        }
    }
    let own = own_among(joining, &open);
    open.retain(|name| !own.contains(*name));
    for stack in paths::stacks() {
        if open.is_empty() {
            break;
        }
        for network in own_among(&stack, &open) {
            open.remove(network.as_str());
            found.push(Elsewhere { stack: stack.clone(), network });
        }
    }
    found
}

/// The networks of these names that a stack has of its own, or is about to make. Each `up` asks for those of every stack:
/// a record is taken apart only where it has the name.
fn own_among(stack: &str, names: &BTreeSet<&str>) -> BTreeSet<String> {
    let text = fs::read_to_string(paths::StackPaths::new(stack).record()).unwrap_or_default();
    let is_there = |name: &&str| serde_json::to_string(name).is_ok_and(|name| text.contains(&name));
    if !names.iter().any(is_there) {
        return BTreeSet::new();
    }
    let record: Option<StackRecord> = serde_json::from_str(&text).ok();
    let known = record.into_iter().flat_map(|known| [known.made, known.networks]);
    let own = known.flat_map(BTreeMap::into_values).filter(|network| !network.external);
    own.map(|network| network.name).filter(|name| names.contains(name.as_str())).collect()
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

/// Has nobody else make networks of these names: to be held until the stack's record says that it does. Fails where another
/// stack came first.
pub(crate) fn claim(names: &[String], stack: &str) -> io::Result<Result<Option<Lock>, Elsewhere>> {
    if names.is_empty() {
        return Ok(Ok(None));
    }
    let lock = lock()?;
    Ok(match elsewhere(names, stack).into_iter().next() {
        Some(elsewhere) => Err(elsewhere),
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
pub(crate) fn join(name: &str) -> io::Result<Option<(HostNetwork, Lock)>> {
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
