//! The networks of a stack: made, mended, looked at and taken away.

mod addresses;
mod beforehand;
mod given;
mod macvlan;
mod modes;
mod names;
mod plug;
mod room;
mod routed;
mod shared;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use composer_network::addresses::Subnet;
use composer_network::dns::{Neighbours, Zone};
use composer_network::subnets::HOST;
use composer_network::{Bridge, BridgeSpec, IpNet, LinkInfo, Taken, names as interfaces, resolvers};
use composer_plan::ObservedNetwork;
use composer_stack::{Driver, Network, Pool};

pub(super) use given::named;
pub use macvlan::Spaces;
pub(crate) use macvlan::{interface, medium};
pub(super) use modes::open;
pub(super) use names::{own_resolver, resolver};

use super::Engine;
use super::container::Container;
use super::start::{Result, StartError};
use crate::host::networks;
use crate::protocol::{Action, Subject};
use crate::records::{Phase, StackRecord};

/// A network that is there.
pub struct Net {
    /// What the file says of it.
    pub config: Network,
    /// What it is: of one that stacks share, what it was made by.
    pub made: Network,
    /// The id of one that stacks share: one that was removed and made anew is another.
    pub id: Option<String>,
    /// What its containers are plugged into.
    pub bridge: Bridge,
    /// The names on it.
    pub zone: Rc<Zone>,
    /// The other stacks that are on it as well, where it is not the stack's own.
    pub neighbours: Option<Neighbours>,
}

/// What the file calls the option that chooses a bridge's name.
const BRIDGE: &str = "com.docker.network.bridge.name";

impl Net {
    /// Whether what its containers are plugged into is among these links, a bridge by its own name: no rule holds
    /// for one that somebody has renamed.
    fn is_there(&self, links: &[LinkInfo]) -> bool {
        let is_it = |link: &LinkInfo| {
            link.index == self.bridge.index && (link.name == self.bridge.name || !self.has_bridge())
        };
        links.iter().any(is_it)
    }
}

fn doing(what: &str, error: &dyn std::fmt::Display) -> StartError {
    StartError::doing(what, error)
}

impl Engine {
    /// Makes or mends the network that the file has under this key. One that was made by another configuration goes
    /// first: nobody may be on it any more.
    pub(super) async fn ensure_network(&self, key: &str) -> Result<()> {
        let _giving = self.giving.read().await;
        self.ensure(key).await
    }

    /// The same, for whoever has the lock.
    async fn ensure(&self, key: &str) -> Result<()> {
        let (wanted, made) = {
            let record = self.record.borrow();
            let record = record.as_ref();
            (
                record.and_then(|record| record.networks.get(key).cloned()),
                record.and_then(|record| record.made.get(key).cloned()),
            )
        };
        let missing = || StartError::new(format!("network {key} is not known to the stack"));
        let wanted = wanted.or_else(|| made.clone()).ok_or_else(missing)?;
        let subject = Subject::Network(wanted.name.clone());
        if let Some(made) = made.filter(|made| !made.becomes(&wanted)) {
            let users = self.users(key);
            if !users.is_empty() {
                let (name, users) = (&made.name, users.join(", "));
                return Err(StartError::new(format!(
                    "network {name} is configured otherwise now, and cannot be made anew: network {name} has active endpoints: \
                     {users}; stop them first"
                )));
            }
            self.unmake_network(key, &made).await?;
        }
        let is_new = !self.networks.borrow().contains_key(key) && !wanted.external;
        if is_new {
            self.announce(subject.clone(), Action::Creating);
        }
        self.bring_network(key, wanted).await?;
        if is_new {
            self.announce(subject, Action::Created);
        }
        Ok(())
    }

    /// Has the networks of a container that a supervisor has not looked at yet, as they were made.
    pub(super) async fn ensure_networks_of(&self, container: &Container) -> Result<()> {
        let service = container.record.borrow().service.clone();
        let _giving = self.giving.read().await;
        for (key, _) in service.network.attachments() {
            if self.networks.borrow().contains_key(key) {
                continue;
            }
            let made = self.record.borrow().as_ref().and_then(|record| record.made.get(key).cloned());
            match made {
                Some(made) => self.bring_network(key, made).await?,
                None => self.ensure(key).await?,
            }
        }
        Ok(())
    }

    /// Brings a network about by this configuration.
    async fn bring_network(&self, key: &str, mut config: Network) -> Result<()> {
        let (spec, made, id) = match self.join_shared(key, &mut config).await? {
            Some((spec, record)) => (spec, record.network, Some(record.id)),
            None => (self.own_spec(key, &config).await?, config.clone(), None),
        };
        let on_host = made.driver != Driver::Bridge;
        let lock = if on_host { Some(self.lock_parents().await?) } else { None };
        if on_host {
            // Before what is made for it, which others and `down` find by the record.
            self.record_made(key, &config)?;
        }
        let bridge =
            self.host.bring_bridge(&spec).await.map_err(|error| not_set_up(key, &config, &made, &error))?;
        drop(lock);
        if on_host {
            self.tell_if_down(&made, &bridge.name).await;
        }
        let known = self.networks.borrow_mut().remove(key);
        let is_same = |net: &Net| net.bridge.subnets == bridge.subnets && net.id == id;
        let (zone, neighbours) = match known.filter(is_same) {
            Some(net) => (net.zone, net.neighbours),
            None => self.new_zone(&config, &bridge)?,
        };
        let net = Net { config: config.clone(), made, id, bridge, zone, neighbours };
        self.networks.borrow_mut().insert(key.to_owned(), net);
        self.open_network()?;
        self.record_made(key, &config)
    }

    fn record_made(&self, key: &str, config: &Network) -> Result<()> {
        let is_recorded = {
            let mut record = self.record.borrow_mut();
            let Some(record) = &mut *record else { return Ok(()) };
            set_whose(record, key, config);
            record.made.insert(key.to_owned(), config.clone()).as_ref() == Some(config)
        };
        if is_recorded {
            return Ok(());
        }
        self.save().map_err(|error| doing("write the stack's record", &error))
    }

    fn new_zone(&self, config: &Network, bridge: &Bridge) -> Result<(Rc<Zone>, Option<Neighbours>)> {
        let subnets = bridge.subnets.iter().map(|subnet| subnet.net);
        let zone = Rc::new(Zone::new(&config.name, subnets));
        if !config.external {
            return Ok((zone, None));
        }
        let folder = crate::paths::shared_names(&config.name);
        let neighbours = Neighbours::join(&folder, &self.stack, Rc::clone(&zone))
            .map_err(|error| doing(&format!("follow the names on network {}", config.name), &error))?;
        Ok((zone, Some(neighbours)))
    }

    /// The bridge of a network of the stack's own.
    async fn own_spec(&self, key: &str, config: &Network) -> Result<BridgeSpec> {
        let group = self.link_group()?;
        let name = interface(&self.stack, key, config);
        let held = self.registry.held(&self.stack, key);
        let held = held.map_err(|error| doing("look for the stack's subnets", &error))?;
        let has_bridge = config.driver == Driver::Bridge;
        let is_there = has_bridge && self.recall_bridge(config, &name, &held).await?;
        // What leads to the host's interface leads to others.
        let own: &[&str] = if has_bridge { &[&name] } else { &[] };
        let mut taken =
            self.host.taken(own).await.map_err(|error| doing("list the host's routes", &error))?;
        taken.extend(networks::reserved(""));
        let in_use = is_there || self.is_on(key);
        let subnets = claim_subnets(&self.registry, (&self.stack, key), config, (&held, in_use), &taken)
            .map_err(|error| no_subnets(key, config, error))?;
        let Network { mtu, isolated, .. } = *config;
        Ok(BridgeSpec { name, subnets, group, mtu, isolated, medium: medium(&config.driver) })
    }

    /// Has the bridge of a network that holds these subnets be called by its name, before anybody asks for it by that;
    /// whether there is one.
    async fn recall_bridge(&self, config: &Network, name: &str, held: &[IpNet]) -> Result<bool> {
        let failed = |error| doing(&format!("mend the bridge of network {}", config.name), &error);
        self.host.recall_bridge(name, self.link_group()?, held).await.map_err(failed)
    }

    /// Whether a network stays in the subnets that it has.
    async fn in_use(&self, key: &str, config: &Network, interface: &str) -> Result<bool> {
        if self.is_on(key) || config.driver != Driver::Bridge {
            return Ok(self.is_on(key));
        }
        self.host.has_link(interface).await.map_err(|error| doing("look for the bridge", &error))
    }

    /// Whether a container that may run has an address on a network.
    pub(super) fn is_on(&self, key: &str) -> bool {
        !self.users(key).is_empty()
    }

    /// The names of such containers.
    fn users(&self, key: &str) -> Vec<String> {
        let containers = self.containers.borrow();
        let users = containers.values().filter_map(|container| {
            let record = container.record.borrow();
            let runs = container.live.borrow().is_some() || matches!(record.phase, Phase::Started(_));
            (runs && record.addresses.contains_key(key)).then(|| record.name.clone())
        });
        users.collect()
    }

    /// The group of all links of the stack.
    pub(super) fn link_group(&self) -> Result<u32> {
        self.registry.group(&self.stack).map_err(|error| doing("pick the stack's link group", &error))
    }

    async fn unmake_network(&self, key: &str, made: &Network) -> Result<()> {
        let failed = |error: &dyn std::fmt::Display| doing(&format!("remove network {}", made.name), error);
        if !made.external {
            let subject = Subject::Network(made.name.clone());
            self.announce(subject.clone(), Action::Removing);
            if made.driver == Driver::Bridge {
                let name = interface(&self.stack, key, made);
                let held = self.registry.held(&self.stack, key).map_err(|error| failed(&error))?;
                self.recall_bridge(made, &name, &held).await?;
                self.host.remove_bridge(&name, self.link_group()?).await.map_err(|error| failed(&error))?;
            } else {
                self.remove_parent(key).await?;
            }
            self.registry.release(&self.stack, key).map_err(|error| failed(&error))?;
            self.announce(subject, Action::Removed);
        }
        let gone = self.networks.borrow_mut().remove(key);
        gone.map_or(Ok(()), leave).map_err(|error| failed(&error))?;
        if made.external {
            self.give_back_on(&made.name).map_err(|error| failed(&error))?;
        }
        // What was given out there is nobody's any more.
        for container in self.containers.borrow().values() {
            container.record.borrow_mut().addresses.remove(key);
        }
        if let Some(record) = &mut *self.record.borrow_mut() {
            record.made.remove(key);
        }
        self.save().map_err(|error| doing("write the stack's record", &error))?;
        if made.external && self.sweep_shared().await?.contains(&made.name) {
            self.announce(Subject::Network(made.name.clone()), Action::Removed);
        }
        Ok(())
    }

    /// The names on the host of the networks with these keys.
    pub(super) fn network_names(&self, keys: &[String]) -> Vec<String> {
        let record = self.record.borrow();
        let find = |key: &String| {
            let record = record.as_ref()?;
            let network = record.made.get(key).or_else(|| record.networks.get(key))?;
            Some(network.name.clone())
        };
        keys.iter().map(|key| find(key).unwrap_or_else(|| format!("{}_{key}", self.stack))).collect()
    }

    /// What there is of the stack's networks.
    pub(super) fn observed_networks(&self, links: &[LinkInfo]) -> BTreeMap<String, ObservedNetwork> {
        let record = self.record.borrow();
        let Some(record) = &*record else { return BTreeMap::new() };
        let networks = self.networks.borrow();
        let found = record.made.iter().map(|(key, config)| {
            let up = networks.get(key).is_some_and(|net| net.is_there(links));
            (key.clone(), ObservedNetwork { config: config.clone(), up })
        });
        found.collect()
    }

    /// Whether somebody has taken a link of a container that runs away, taken one out of its bridge, or set one down.
    pub(super) fn is_unplugged(&self, container: &Container, links: &[LinkInfo]) -> bool {
        let record = container.record.borrow();
        let networks = self.networks.borrow();
        let Some(pid) = container.live.borrow().as_ref().map(|live| live.pid) else { return false };
        record.service.network.attachments().any(|(key, _)| {
            if self.driver_of(key).is_some_and(|driver| driver != Driver::Bridge) {
                return record.addresses.contains_key(key) && self.lacks_interface(&record, key, pid);
            }
            let veth = interfaces::veth(&self.stack, &record.name, key);
            // None is known of one that nobody has looked at yet.
            let net = networks.get(key);
            let is_in = |link: &LinkInfo| {
                let in_bridge = |net: &Net| net.is_there(links) && link.controller == Some(net.bridge.index);
                link.name == veth && link.up && net.is_none_or(in_bridge)
            };
            record.addresses.contains_key(key) && !links.iter().any(is_in)
        })
    }

    /// Takes all links of the stack away in one sweep, and everything that its networks had of the host. What fails
    /// does not keep the rest, and is in the record for the next try.
    pub(super) async fn remove_networks(&self) -> Result<()> {
        self.all_unplugged().await;
        let _giving = self.giving.write().await;
        let rules = self.remove_firewall();
        let emptied = self.empty_spaces().await;
        let lock = if self.parents().is_empty() { None } else { Some(self.lock_parents().await?) };
        let passed = self.pass_parents_on().await;
        let links = self.remove_links().await;
        drop(lock);
        let are_gone = links.is_ok();
        let networks = std::mem::take(&mut *self.networks.borrow_mut());
        let left =
            networks.into_values().map(|net| leave(net).map_err(|error| doing("leave a network", &error)));
        let mut outcomes: Vec<Result<()>> = vec![rules, emptied, passed, links];
        outcomes.extend(left);
        outcomes.push(self.forget_shared_names());
        outcomes.push(self.give_shared_back());
        outcomes.push(
            self.forwarding
                .release(&self.stack)
                .map_err(|error| doing("have the host forward as it did before", &error)),
        );
        outcomes.push(self.reduce_loopback().await);
        if are_gone {
            let released = self.registry.release_stack(&self.stack);
            outcomes.push(released.map_err(|error| doing("give the subnets back", &error)));
        }
        let failures: Vec<String> =
            outcomes.into_iter().filter_map(|outcome| outcome.err().map(|error| error.message)).collect();
        if !failures.is_empty() {
            return Err(StartError::new(failures.join("; ")));
        }
        let shared: Vec<String> = self.shared().into_iter().map(|(_, name)| name).collect();
        if let Some(record) = &mut *self.record.borrow_mut() {
            record.made.clear();
        }
        if shared.is_empty() {
            return Ok(());
        }
        // Others are to see at once that the stack has left.
        self.save().map_err(|error| doing("write the stack's record", &error))?;
        self.sweep_given(&shared).await
    }

    async fn remove_links(&self) -> Result<()> {
        let links = self.host.links().await.map_err(|error| doing("find the stack's links", &error))?;
        let groups: BTreeSet<u32> = self.link_groups(&links);
        let (chosen, own): (Vec<String>, Vec<String>) = {
            let record = self.record.borrow();
            let made = || record.iter().flat_map(|record| record.made.values());
            let own = made().filter(|network| !network.external).map(|network| network.name.clone());
            let made_by_key = record.iter().flat_map(|record| record.made.iter());
            let is_own = |network: &Network| !network.external && network.driver == Driver::Bridge;
            let bridges = made_by_key.filter(|(_, network)| is_own(network));
            let mut chosen: Vec<String> =
                bridges.map(|(key, network)| interface(&self.stack, key, network)).collect();
            chosen.extend(self.parents().into_values());
            (chosen, own.collect())
        };
        // On an interface that was there before there are no links of the stack's.
        let has_links = links.iter().any(|link| groups.contains(&link.group));
        if !has_links && self.parents().is_empty() {
            return Ok(());
        }
        own.iter().for_each(|name| self.announce(Subject::Network(name.clone()), Action::Removing));
        let chosen: Vec<&str> = chosen.iter().map(String::as_str).collect();
        let mut outcome = Ok(());
        for group in groups {
            match self.host.remove_group(group, &chosen).await {
                Ok(left) => left.iter().for_each(|name| {
                    self.announce(Subject::Group, Action::Warning(stays(name, group)));
                }),
                Err(error) => outcome = outcome.and(Err(doing("remove the stack's links", &error))),
            }
        }
        if outcome.is_ok() {
            own.iter().for_each(|name| self.announce(Subject::Network(name.clone()), Action::Removed));
        }
        outcome
    }

    /// The link groups of the stack, by whoever knows them: the registry, or the bridges themselves.
    fn link_groups(&self, links: &[LinkInfo]) -> BTreeSet<u32> {
        let record = self.record.borrow();
        let made = record.iter().flat_map(|record| &record.made);
        let mut bridges: BTreeSet<String> =
            made.map(|(key, network)| interface(&self.stack, key, network)).collect();
        bridges.insert(interfaces::bridge(&self.stack, "default"));
        // Others are on these.
        let given = networks::given_by(&self.stack);
        given.filter_map(|(_, shared)| shared.network.bridge).for_each(|bridge| {
            bridges.remove(&bridge);
        });
        let by_name = links.iter().filter(|link| bridges.contains(&link.name)).map(|link| link.group);
        let held = self.registry.held_group(&self.stack).ok().flatten();
        held.into_iter().chain(by_name).filter(|group| *group != 0).collect()
    }
}

/// What is told of a link that `down` leaves.
fn stays(name: &str, group: u32) -> String {
    format!(
        "interface {name} stays: it is in link group {group} with the stack's links, and none of them; \
         `ip link set {name} group default` takes it out, `ip link del {name}` removes it"
    )
}

/// Why a network is not there, and what is to blame where it is to be on an interface of the host's.
fn not_set_up(key: &str, config: &Network, made: &Network, error: &composer_network::Error) -> StartError {
    let name = &config.name;
    let (what, option) = match made.driver {
        Driver::Bridge => (format!("set up the bridge of network {name}"), BRIDGE),
        Driver::Macvlan { .. } | Driver::Ipvlan { .. } => (format!("set up network {name}"), "parent"),
    };
    // What nobody has chosen is not to blame.
    let is_chosen = made.driver != Driver::Bridge || made.bridge.is_some();
    let at = match error {
        _ if config.external || !is_chosen => &[][..],
        composer_network::Error::NoIpvlan => &["networks", key, "driver"],
        _ => &["networks", key, "driver_opts", option],
    };
    StartError { at: at.iter().map(|part| (*part).to_owned()).collect(), ..doing(&what, error) }
}

/// Why a network cannot have its subnets, and which of them is to blame.
fn no_subnets(key: &str, config: &Network, error: composer_network::Error) -> StartError {
    let composer_network::Error::Overlap { subnet, holder, .. } = error else {
        return doing(&format!("give network {} its subnets", config.name), &error);
    };
    let place = config.ipam.iter().position(|pool| pool.subnet == subnet).unwrap_or_default();
    let at = ["networks", key, "ipam", "config", &place.to_string(), "subnet"];
    let help = if config.driver == Driver::Bridge {
        "give it another `subnet`, or none, which takes a free one".to_owned()
    } else {
        // The subnet is that of what is outside, and two who give addresses of it would give the same ones.
        "stacks that are on the same network outside share one of `compose network create -d macvlan` (or `ipvlan`), with \
         `external: true`"
            .to_owned()
    };
    StartError {
        help: Some(help),
        at: at.map(str::to_owned).into(),
        ..StartError::new(format!("the subnet {subnet} of network {} overlaps {holder}", config.name))
    }
}

/// What the stack's file wants is somebody else's network, or its own, as what is made by it.
fn set_whose(record: &mut StackRecord, key: &str, made: &Network) {
    if let Some(wanted) = record.networks.get_mut(key).filter(|wanted| wanted.name == made.name) {
        (wanted.external, wanted.by_name) = (made.external, made.by_name);
    }
}

/// The stack's names on it are forgotten by the others.
fn leave(net: Net) -> std::result::Result<(), composer_network::Error> {
    net.neighbours.map_or(Ok(()), Neighbours::leave)
}

/// The subnets of a network, held in the registry, where it `held` these before. Of one that is in use they stay what they
/// are, whatever routes the host has come to: its containers keep their addresses, and another subnet on its bridge would cut
/// them off.
pub(crate) fn claim_subnets(
    registry: &composer_network::subnets::Registry,
    (stack, key): (&str, &str),
    config: &Network,
    (held, in_use): (&[IpNet], bool),
    taken: &Taken,
) -> std::result::Result<Vec<Subnet>, composer_network::Error> {
    let mut subnets = Vec::new();
    // A network on an interface of the host's is in the subnet of that, as it is.
    let others: Option<Taken> = match config.driver {
        Driver::Bridge => None,
        Driver::Macvlan { .. } | Driver::Ipvlan { .. } => {
            Some(networks::reserved(if stack == HOST { key } else { "" }).into_iter().collect())
        }
    };
    let chosen = others.as_ref().unwrap_or(taken);
    for pool in claimable(config) {
        if !in_use || !held.contains(&pool.subnet) {
            registry.claim_exactly(stack, key, pool.subnet, &chosen.in_the_way_of(pool.subnet))?;
        }
        subnets.push(subnet(pool));
    }
    let has = |subnets: &[Subnet], v4: bool| subnets.iter().any(|subnet| subnet.net.addr().is_ipv4() == v4);
    for (v4, wanted) in [(true, config.ipv4), (false, config.ipv6)] {
        if !wanted || has(&subnets, v4) {
            continue;
        }
        let net = match held.iter().find(|net| net.addr().is_ipv4() == v4) {
            Some(net) if in_use => *net,
            known => {
                let mut taken = taken.all();
                // Of one that it has already a container may be the host's resolver.
                taken.extend(resolvers().filter(|_| known.is_none()));
                if v4 {
                    registry.claim(stack, key, &taken)?
                } else {
                    registry.claim_v6(stack, key, &taken)?
                }
            }
        };
        subnets.push(Subnet::whole(net));
    }
    for subnet in &mut subnets {
        subnet.bare = config.has_bare_bridge(subnet.net.addr().is_ipv4());
    }
    Ok(subnets)
}

/// The subnets that the file chooses, of families that are on.
fn claimable(config: &Network) -> impl Iterator<Item = &Pool> {
    config.ipam.iter().filter(|pool| match pool.subnet {
        IpNet::V4(_) => config.ipv4,
        IpNet::V6(_) => config.ipv6,
    })
}

/// A subnet as the file chooses it.
fn subnet(pool: &Pool) -> Subnet {
    let whole = Subnet::whole(pool.subnet);
    Subnet {
        gateway: pool.gateway.unwrap_or(whole.gateway),
        range: pool.ip_range.unwrap_or(whole.range),
        reserved: pool.aux_addresses.values().copied().collect(),
        ..whole
    }
}
