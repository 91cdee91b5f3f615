//! Networks of the host that stacks share: `compose network create|ls|rm|inspect`. Each has a record that a reboot does not
//! take; its bridge is made by whoever uses it first, and stays until the network is removed.

mod given;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use composer_network::addresses::Subnet;
use composer_network::subnets::{self, Registry};
use composer_network::{BridgeSpec, Folder, Host, IpNet};
use composer_stack::{Driver, Network, Pool};
use nix::fcntl::Flock;
use serde::{Deserialize, Serialize};

pub use composer_network::firewall::addresses_of_host;
pub use composer_network::has_ipv6;
pub use composer_network::names::is_ours;
pub use given::{Elsewhere, Giver, elsewhere, stacks_on, sweep};
pub(crate) use given::{claim, entrust, give, given_by, join};

use super::{Error, root};
use crate::records::{self, Address, Addresses};
use crate::{clock, paths};

/// What the host knows of a network of its own.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HostNetwork {
    /// 64 hexadecimal digits.
    pub id: String,
    /// When it was made: nanoseconds since the Unix epoch.
    pub created: u64,
    /// How it was asked for, with every subnet that it was given.
    pub network: Network,
    /// Whose it was, where a stack had made it for itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<Giver>,
}

/// A container on a network.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What it has there.
    pub address: Address,
}

/// Any network, as `ls` and `inspect` show it.
#[derive(Clone, Debug)]
pub struct Shown {
    /// 64 hexadecimal digits.
    pub id: String,
    /// When it was made, where that is known.
    pub created: Option<u64>,
    /// What it is.
    pub network: Network,
    /// Its subnets, with their gateways.
    pub subnets: Vec<(IpNet, IpAddr)>,
    /// Its bridge, or what else of the host's it is on.
    pub bridge: String,
    /// The stack that has made it, and its key in the file; `None` of one that `compose network create` has made.
    pub of: Option<(String, String)>,
    /// The containers on it.
    pub containers: Vec<Endpoint>,
}

/// The network of this name, if the host has one.
pub fn read(name: &str) -> Option<HostNetwork> {
    records::read(&paths::network(name)).filter(|record: &HostNetwork| record.network.name == name)
}

/// The names of all networks that a stack can join; `None` where the caller may not know them.
pub fn known() -> Option<BTreeSet<String>> {
    root().ok()?;
    // First: what a stack gives others is the host's before it is not its own any more.
    let mut names = given::of_stacks();
    names.extend(all().into_iter().map(|record| record.network.name));
    Some(names)
}

fn all() -> Vec<HostNetwork> {
    let files = fs::read_dir(paths::networks()).into_iter().flatten().flatten();
    let mut all: Vec<HostNetwork> = files.filter_map(|file| records::read(&file.path())).collect();
    all.sort_by(|a, b| a.network.name.cmp(&b.network.name));
    all
}

/// The subnets of all networks that stacks share but one: nobody else gets them, also after a reboot that has emptied the
/// registry.
pub(crate) fn reserved(besides: &str) -> Vec<IpNet> {
    let others = all().into_iter().filter(|record| record.network.name != besides);
    others.flat_map(|record| record.network.ipam).map(|pool| pool.subnet).collect()
}

/// The bridge of a network, by its record; its subnets are held in the registry from then on. One whose bridge is there is
/// in use as well.
pub(crate) async fn spec(
    host: &Host,
    registry: &Registry,
    record: &HostNetwork,
    in_use: bool,
) -> Result<BridgeSpec, composer_network::Error> {
    let network = &record.network;
    let bridge = bridge(network);
    let has_bridge = network.driver == Driver::Bridge;
    let known = registry.held_group(&group_key(&network.name))?.unwrap_or_default();
    let subnets: Vec<IpNet> = network.ipam.iter().map(|pool| pool.subnet).collect();
    let is_there = has_bridge && host.recall_bridge(&bridge, known, &subnets).await?;
    let group = registry.group(&group_key(&network.name))?;
    let before = record.of.as_ref().map(|giver| registry.held_group(&giver.stack)).transpose()?.flatten();
    if let Some(before) = before {
        host.pass_bridge(&bridge, before, group).await?;
    }
    let mut taken = host.taken(own(network, &bridge).as_slice()).await?;
    taken.extend(reserved(&network.name));
    let held = registry.held(subnets::HOST, &network.name)?;
    let (of, held) = ((subnets::HOST, network.name.as_str()), (held.as_slice(), in_use || is_there));
    let subnets = crate::engine::claim_subnets(registry, of, network, held, &taken)?;
    let (Network { mtu, isolated, .. }, medium) = (network, crate::engine::medium(&network.driver));
    Ok(BridgeSpec { name: bridge, subnets, group, mtu: *mtu, isolated: *isolated, medium })
}

/// The network's bridge, or what else of the host's it is on.
fn bridge(network: &Network) -> String {
    crate::engine::interface(subnets::HOST, &network.name, network)
}

/// The network's own bridge, whose routes do not count as those of others.
fn own<'a>(network: &Network, bridge: &'a str) -> Option<&'a str> {
    (network.driver == Driver::Bridge).then_some(bridge)
}

/// The link group of another's network that is on the same interface of the host's.
pub(crate) fn heir(registry: &Registry, parent: &str, besides: &str) -> Option<u32> {
    let is_on = |shown: &Shown| shown.network.driver != Driver::Bridge && shown.bridge == parent;
    let others = list().ok()?.into_iter().filter(is_on).map(|shown| match shown.of {
        Some((stack, _)) => stack,
        None => group_key(&shown.network.name),
    });
    others.filter(|other| other != besides).find_map(|other| registry.held_group(&other).ok().flatten())
}

/// What the registry has its link group by: no stack is called so.
pub(crate) fn group_key(name: &str) -> String {
    format!("network {name}")
}

/// The narrowest route of the host, by somebody else, of which a subnet is a part.
pub fn route_around(subnet: IpNet) -> Option<IpNet> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().ok()?;
    runtime.block_on(async { Host::open().ok()?.taken(&[]).await.ok()?.around(subnet) })
}

/// Makes a network; its id.
///
/// # Errors
/// When there is one of the name, a subnet is another's, or the record cannot be written.
pub fn create(mut network: Network) -> Result<String, Error> {
    root()?;
    let name = network.name.clone();
    let refused = |why: String| Error::Network { doing: "create", name: name.clone(), why };
    let _lock = lock().map_err(|error| refused(error.to_string()))?;
    let others = list()?;
    if others.iter().any(|shown| shown.network.name == name) {
        return Err(refused(format!("network with name {name} already exists")));
    }
    let clashes = |shown: &&Shown| network.driver == Driver::Bridge && shown.bridge == bridge(&network);
    if let Some(other) = others.iter().find(clashes) {
        let (bridge, other) = (&other.bridge, &other.network.name);
        return Err(refused(format!("network {other} has the bridge {bridge}: give this one another name")));
    }
    if network.ipv6 {
        composer_network::has_ipv6().map_err(|why| refused(format!("IPv6 is off in the kernel ({why})")))?;
    }
    let record = |network| {
        let id = composer_stack::sha256(&format!("{name}\n{}", clock::now()));
        HostNetwork { id, created: clock::now(), network, of: None }
    };
    let registry = Registry::open(&paths::registry());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
    let claimed = runtime.map_err(|error| refused(error.to_string()))?.block_on(async {
        let host = Host::open()?;
        let bridge = bridge(&network);
        if let Some(parent) = network.driver.parent() {
            host.check_parent(parent).await?;
        }
        if matches!(network.driver, Driver::Ipvlan { .. }) {
            host.check_ipvlan().await?;
        }
        // None of its own is there before it is used.
        if network.driver == Driver::Bridge && network.bridge.is_some() && host.has_link(&bridge).await? {
            return Err(composer_network::Error::ForeignBridge { name: bridge });
        }
        let mut taken = host.taken(own(&network, &bridge).as_slice()).await?;
        taken.extend(reserved(&name));
        let held = registry.held(subnets::HOST, &name)?;
        crate::engine::claim_subnets(&registry, (subnets::HOST, &name), &network, (&held, false), &taken)
    });
    // The subnets are its own from now on, also after a reboot.
    network.ipam = match claimed {
        Ok(subnets) => subnets.iter().map(|subnet| pool(&network, subnet)).collect(),
        Err(error) => {
            let _ = registry.release(subnets::HOST, &name);
            return Err(refused(error.to_string()));
        }
    };
    let record = record(network);
    if let Err(error) = write(&record) {
        let _ = registry.release(subnets::HOST, &name);
        return Err(refused(error.to_string()));
    }
    Ok(record.id)
}

fn write(record: &HostNetwork) -> io::Result<()> {
    paths::despite_tidying(|| {
        paths::make(&paths::networks())?;
        records::write(&paths::network(&record.network.name), record)
    })
}

fn pool(network: &Network, subnet: &Subnet) -> Pool {
    let asked = network.ipam.iter().find(|pool| pool.subnet == subnet.net);
    Pool {
        subnet: subnet.net,
        gateway: Some(subnet.gateway),
        ip_range: asked.and_then(|pool| pool.ip_range),
        aux_addresses: asked.map(|pool| pool.aux_addresses.clone()).unwrap_or_default(),
    }
}

/// Removes a network that no container is on.
///
/// # Errors
/// When there is none, it is a stack's, somebody is on it, or something of it cannot be removed.
pub fn remove(name: &str) -> Result<(), Error> {
    root()?;
    let refused = |why: String| Error::Network { doing: "remove", name: name.to_owned(), why };
    // In this order: a supervisor that has the first goes on to want the second.
    let _parents = lock_parents().map_err(|error| refused(error.to_string()))?;
    let _lock = lock().map_err(|error| refused(error.to_string()))?;
    let all = list()?;
    let Some(found) = find(&all, name) else {
        return Err(refused(format!("network {name} not found")));
    };
    let name = found.network.name.as_str();
    if let (Some(_), [stack, ..]) = (&found.of, stacks_on(name).as_slice()) {
        return Err(refused(format!("stack {stack} is on it: `compose -p {stack} down` removes it")));
    }
    if !found.containers.is_empty() {
        let users: Vec<&str> = found.containers.iter().map(|endpoint| endpoint.name.as_str()).collect();
        return Err(refused(format!("network {name} has active endpoints: {}", users.join(", "))));
    }
    take_away(found).map_err(refused)
}

/// Removes a network of the host, which nobody is on; under the lock, and where it is on an interface of the host's under
/// [`lock_parents`].
fn take_away(found: &Shown) -> Result<(), String> {
    let name = found.network.name.as_str();
    let registry = Registry::open(&paths::registry());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
    let removed = runtime.map_err(|error| error.to_string())?.block_on(async {
        let group = registry.group(&group_key(name))?;
        let host = Host::open()?;
        if found.network.driver == Driver::Bridge {
            let subnets: Vec<IpNet> = found.subnets.iter().map(|(net, _)| *net).collect();
            host.recall_bridge(&found.bridge, group, &subnets).await?;
            return host.remove_bridge(&found.bridge, group).await;
        }
        match heir(&registry, &found.bridge, &group_key(name)) {
            Some(heir) => host.pass_parent(&found.bridge, group, heir).await,
            None => host.remove_parent(&found.bridge, group).await,
        }
    });
    removed.map_err(|error| error.to_string())?;
    registry
        .release(subnets::HOST, name)
        .and_then(|()| registry.release_stack(&group_key(name)))
        .map_err(|error| error.to_string())?;
    // The record last: whoever is killed before it is known to have left something.
    for gone in [
        fs::remove_dir_all(paths::shared_names(name)),
        fs::remove_file(addresses_of(name)),
        fs::remove_file(paths::network(name)),
    ] {
        match gone {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.to_string()),
            Ok(()) | Err(_) => {}
        }
    }
    let _ = fs::remove_dir(paths::networks());
    Ok(())
}

/// Every network of the host, those of stacks as well.
///
/// # Errors
/// When the caller may not read the records.
pub fn list() -> Result<Vec<Shown>, Error> {
    root()?;
    let leases = Registry::open(&paths::registry()).list().unwrap_or_default();
    let shared = all();
    let mut shown: Vec<Shown> = shared.iter().cloned().map(of_host).collect();
    for stack in paths::stacks() {
        let folder = paths::StackPaths::new(&stack);
        let Some(record) = records::read::<records::StackRecord>(&folder.record()) else { continue };
        let containers = records::ContainerRecord::running(&folder);
        for (key, network) in &record.made {
            let on = on(&containers, key);
            if network.external {
                if let Some(place) = shared.iter().position(|record| record.network.name == network.name) {
                    shown[place].containers.extend(on);
                }
                continue;
            }
            let held = leases.iter().filter(|lease| lease.stack == stack && lease.network == *key);
            let gateway = |net: IpNet| {
                let chosen =
                    network.ipam.iter().find(|pool| pool.subnet == net).and_then(|pool| pool.gateway);
                (net, chosen.unwrap_or_else(|| Subnet::whole(net).gateway))
            };
            shown.push(Shown {
                id: given::id_of(&stack, &network.name),
                created: created(&folder),
                network: network.clone(),
                subnets: held.map(|lease| gateway(lease.subnet)).collect(),
                bridge: crate::engine::interface(&stack, key, network),
                of: Some((stack.clone(), key.clone())),
                containers: on,
            });
        }
    }
    shown.sort_by(|a, b| a.network.name.cmp(&b.network.name));
    Ok(shown)
}

/// The network that is called so, has this id, or is the only one whose id begins so.
pub fn find<'a>(all: &'a [Shown], text: &str) -> Option<&'a Shown> {
    let exactly = |shown: &&Shown| shown.network.name == text || shown.id == text;
    let mut like = all.iter().filter(|shown| !text.is_empty() && shown.id.starts_with(text));
    all.iter().find(exactly).or_else(|| like.next().filter(|_| like.next().is_none()))
}

fn created(folder: &paths::StackPaths) -> Option<u64> {
    let made = fs::metadata(folder.state()).ok()?.created().ok()?;
    u64::try_from(made.duration_since(std::time::UNIX_EPOCH).ok()?.as_nanos()).ok()
}

fn of_host(record: HostNetwork) -> Shown {
    let HostNetwork { id, created, network, of } = record;
    let subnets = network
        .ipam
        .iter()
        .map(|pool| (pool.subnet, pool.gateway.unwrap_or_else(|| Subnet::whole(pool.subnet).gateway)));
    Shown {
        id,
        created: Some(created),
        subnets: subnets.collect(),
        bridge: bridge(&network),
        network,
        of: of.map(|giver| (giver.stack, giver.key)),
        containers: Vec::new(),
    }
}

fn on(containers: &[records::ContainerRecord], key: &str) -> Vec<Endpoint> {
    let on = containers.iter().filter_map(|record| {
        let addresses: &Addresses = &record.addresses;
        let address = *addresses.get(key)?;
        Some(Endpoint { id: record.id.clone(), name: record.name.clone(), address })
    });
    on.collect()
}

/// Who has which address on a network that stacks share.
type Taken = BTreeMap<String, Address>;

/// Has `choose` pick an address, given those that others have and who these are, and keeps it for `owner`.
pub(crate) fn take<E: From<String>>(
    name: &str,
    owner: &str,
    choose: impl FnOnce(Vec<(IpAddr, String)>) -> Result<Address, E>,
) -> Result<Address, E> {
    let failed = |error: io::Error| format!("keep the addresses of the network: {error}");
    let _lock = lock().map_err(failed)?;
    let path = addresses_of(name);
    let mut taken: Taken = records::read(&path).unwrap_or_default();
    let address = choose(besides(&taken, |other| other == owner))?;
    if taken.insert(owner.to_owned(), address) != Some(address) {
        records::write(&path, &taken).map_err(failed)?;
    }
    Ok(address)
}

/// Has whoever else is on a network know who has which address there; under the lock.
fn known_to(name: &str, add: impl FnOnce(&mut Taken)) -> io::Result<()> {
    let path = addresses_of(name);
    let mut taken: Taken = records::read(&path).unwrap_or_default();
    add(&mut taken);
    if taken.is_empty() { Ok(()) } else { records::write(&path, &taken) }
}

fn besides(taken: &Taken, is_left_out: impl Fn(&str) -> bool) -> Vec<(IpAddr, String)> {
    let others = taken.iter().filter(|(owner, _)| !is_left_out(owner));
    others.flat_map(|(owner, address)| address.all().map(|address| (address, owner.clone()))).collect()
}

/// The addresses that containers of other stacks have, and who these are.
pub(crate) fn addresses_of_others(name: &str, stack: &str) -> Vec<(IpAddr, String)> {
    let taken: Taken = records::read(&addresses_of(name)).unwrap_or_default();
    besides(&taken, |owner| owner.split_once('/').is_some_and(|(other, _)| other == stack))
}

/// How messages name who has an address.
pub(crate) fn holder(others: &[(IpAddr, String)], wanted: IpAddr) -> Option<String> {
    let (_, owner) = others.iter().find(|(address, _)| *address == wanted)?;
    let (stack, container) = owner.split_once('/')?;
    Some(format!("container {container} of stack {stack}"))
}

/// Has others get the addresses of those for whom `is_ours` holds.
pub(crate) fn give_back(name: &str, is_ours: impl Fn(&str) -> bool) -> io::Result<()> {
    let path = addresses_of(name);
    if !path.exists() {
        return Ok(());
    }
    let _lock = lock()?;
    let Some(mut taken): Option<Taken> = records::read(&path) else { return Ok(()) };
    let before = taken.len();
    taken.retain(|owner, _| !is_ours(owner));
    match taken.len() {
        0 => fs::remove_file(&path),
        now if now < before => records::write(&path, &taken),
        _ => Ok(()),
    }
}

/// Beside the folder of names, which others watch.
fn addresses_of(name: &str) -> PathBuf {
    paths::all_shared_names().join(format!("{}.addresses", paths::as_file(name)))
}

/// Held while an interface of the host's that several networks may be on is looked for, made, passed on or removed, and
/// while that is recorded. It waits, which the supervisor does on a thread: others of its tasks may have it.
pub(crate) fn lock_parents() -> io::Result<Lock> {
    Lock::of(paths::run())
}

fn lock() -> io::Result<Lock> {
    Lock::of(&paths::all_shared_names())
}

/// A lock on a folder, which is made for it where it is missing; if it has stayed empty it goes with the lock.
pub(crate) struct Lock(Option<Flock<File>>);

impl Lock {
    fn of(folder: &Path) -> io::Result<Self> {
        Folder::new(folder).lock().map(|lock| Self(Some(lock))).map_err(io::Error::other)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.0 = None;
        paths::tidy();
    }
}
