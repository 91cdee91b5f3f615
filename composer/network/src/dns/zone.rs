//! What the names of one network stand for.

use std::cell::{Cell, Ref, RefCell};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::rc::Rc;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use simple_dns::Name;

/// What parts the stack from the container in the key of a neighbour's: no container's own key has one.
const OF: char = '/';
/// How many names of neighbours that have left are kept.
const MOST_GONE: usize = 1024;

/// The names of a network and the addresses behind them. Changes show in the next answer.
#[derive(Debug)]
pub struct Zone {
    /// The network's full name, `shop_default`: every name is also known with it appended.
    domain: String,
    subnets: Vec<IpNet>,
    content: RefCell<Content>,
    /// Grows with every change: what was made from the zone before counts no more.
    version: Cell<u64>,
}

/// A container on a network: its names, of which the first that DNS can write is the one that its addresses lead back to,
/// and its addresses there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Without the network's name; case does not matter.
    pub names: Vec<String>,
    /// Its IPv4 address, where the network has them.
    pub ipv4: Option<Ipv4Addr>,
    /// Its IPv6 address, where the network has them.
    pub ipv6: Option<Ipv6Addr>,
}

/// The addresses behind a name, each once. Which one an answer begins with is the next one's turn, for each family by
/// itself: clients ask for both at once, and taking turns across them would give each family the same one for ever.
#[derive(Debug, Default)]
pub(super) struct Named {
    pub(super) v4: Vec<Ipv4Addr>,
    pub(super) v6: Vec<Ipv6Addr>,
    pub(super) v4_turn: Cell<usize>,
    pub(super) v6_turn: Cell<usize>,
}

#[derive(Debug, Default)]
struct Content {
    /// By the caller's key: what [`Zone::remove`] takes away.
    containers: BTreeMap<String, Entry>,
    /// By lower-case name.
    names: HashMap<String, Rc<Named>>,
    /// The full name of who has it; none where no name of theirs can be written in a message (RFC 1035, 2.3.4): one of a
    /// container may be longer than a label.
    owners: HashMap<IpAddr, Option<String>>,
    /// Names without a dot that containers of other stacks had: nobody else is asked for them, as for the stack's own.
    gone: HashSet<String>,
    /// The containers have changed since names and owners were made: done with the next question, as hundreds may come
    /// before it.
    is_stale: bool,
}

/// What a zone knows of a name.
#[derive(Debug, Clone)]
pub(super) enum Lookup {
    Known(Rc<Named>),
    /// The name would be this network's, but nobody has it.
    Unknown,
    /// The name is someone else's to answer.
    Foreign,
}

/// What a zone knows of an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ReverseLookup {
    /// The full name of the container that has it, where there is one that can be told.
    Known(Option<String>),
    /// In one of the network's subnets, but nobody's.
    Unknown,
    Foreign,
}

impl Zone {
    /// An empty zone of a network with this full name (`shop_default`) and subnets.
    pub fn new(domain: &str, subnets: impl IntoIterator<Item = IpNet>) -> Self {
        Self {
            domain: domain.to_ascii_lowercase(),
            subnets: subnets.into_iter().map(|subnet| subnet.trunc()).collect(),
            content: RefCell::default(),
            version: Cell::new(0),
        }
    }

    /// Gives a container its names and addresses, in place of those it had under the same key.
    pub fn set(&self, container: &str, entry: Entry) {
        self.change(|containers| drop(containers.insert(container.to_owned(), entry)));
    }

    /// Takes a container's names away; unknown is fine.
    pub fn remove(&self, container: &str) {
        if self.content.borrow().containers.contains_key(container) {
            self.change(|containers| drop(containers.remove(container)));
        }
    }

    /// The stack's own containers, as its neighbours on the network have to know them.
    pub(super) fn own(&self) -> BTreeMap<String, Entry> {
        let content = self.content.borrow();
        let own = content.containers.iter().filter(|(key, _)| !key.contains(OF));
        own.map(|(key, entry)| (key.clone(), entry.clone())).collect()
    }

    /// Has these containers of other stacks, by stack, in place of all it had of any.
    pub(super) fn set_neighbours(&self, stacks: BTreeMap<String, BTreeMap<String, Entry>>) {
        let theirs: BTreeMap<_, _> = stacks
            .into_iter()
            .flat_map(|(stack, containers)| {
                containers.into_iter().map(move |(key, entry)| (format!("{stack}{OF}{key}"), entry))
            })
            .collect();
        let is_same = {
            let content = self.content.borrow();
            content.containers.iter().filter(|(key, _)| key.contains(OF)).eq(theirs.iter())
        };
        if is_same {
            return;
        }
        self.change(|containers| {
            containers.retain(|key, _| !key.contains(OF));
            containers.extend(theirs);
        });
    }

    /// The same, where those that are missing have left: their names are nobody's from now on.
    pub(super) fn follow_neighbours(&self, stacks: BTreeMap<String, BTreeMap<String, Entry>>) {
        let of_others = |content: &Content| -> HashSet<String> {
            let entries = content.containers.iter().filter(|(key, _)| key.contains(OF));
            let names = entries.flat_map(|(_, entry)| &entry.names).map(|name| name.to_ascii_lowercase());
            names.filter(|name| !name.contains('.')).collect()
        };
        let before = of_others(&self.content.borrow());
        self.set_neighbours(stacks);
        let content = &mut *self.content.borrow_mut();
        let left = of_others(content);
        content.gone.retain(|name| !left.contains(name));
        let room = MOST_GONE.saturating_sub(content.gone.len());
        content.gone.extend(before.difference(&left).take(room).cloned());
    }

    fn change(&self, make: impl FnOnce(&mut BTreeMap<String, Entry>)) {
        let mut content = self.content.borrow_mut();
        make(&mut content.containers);
        content.is_stale = true;
        self.version.set(self.version.get() + 1);
    }

    fn indexed(&self) -> Ref<'_, Content> {
        if self.content.borrow().is_stale {
            self.content.borrow_mut().index(&self.domain);
        }
        self.content.borrow()
    }

    /// Differs from what it was if the zone has changed since.
    pub(super) fn version(&self) -> u64 {
        self.version.get()
    }

    /// What a name in lower case stands for.
    pub(super) fn lookup(&self, name: &str) -> Lookup {
        let content = self.indexed();
        let in_domain = name.strip_suffix(&self.domain).and_then(|rest| rest.strip_suffix('.'));
        // As it stands first: an alias may well end like the domain.
        let named = content.names.get(name).or_else(|| content.names.get(in_domain?));
        match named {
            Some(named) => Lookup::Known(Rc::clone(named)),
            None if in_domain.is_some() || name == self.domain || content.gone.contains(name) => {
                Lookup::Unknown
            }
            None => Lookup::Foreign,
        }
    }

    /// Whose address it is.
    pub(super) fn reverse(&self, address: IpAddr) -> ReverseLookup {
        match self.indexed().owners.get(&address) {
            Some(name) => ReverseLookup::Known(name.clone()),
            None if self.subnets.iter().any(|subnet| subnet.contains(&address)) => ReverseLookup::Unknown,
            None => ReverseLookup::Foreign,
        }
    }
}

impl Content {
    /// Makes the ways in anew. Whose turn it is stays.
    fn index(&mut self, domain: &str) {
        self.is_stale = false;
        let before = std::mem::take(&mut self.names);
        self.owners.clear();
        let mut names: HashMap<String, Named> = HashMap::new();
        for entry in self.containers.values() {
            let distinct: HashSet<String> =
                entry.names.iter().map(|name| name.to_ascii_lowercase()).collect();
            for name in distinct {
                let named = names.entry(name).or_default();
                named.v4.extend(entry.ipv4.filter(|address| !named.v4.contains(address)));
                named.v6.extend(entry.ipv6.filter(|address| !named.v6.contains(address)));
            }
            let full = |name: &String| format!("{}.{domain}", name.to_ascii_lowercase());
            let mut writable = entry.names.iter().map(full).filter(|name| Name::new(name).is_ok());
            let first = writable.next();
            for address in entry.ipv4.map(IpAddr::from).into_iter().chain(entry.ipv6.map(IpAddr::from)) {
                self.owners.entry(address).or_insert_with(|| first.clone());
            }
        }
        for (name, named) in &names {
            if let Some(before) = before.get(name) {
                named.v4_turn.set(before.v4_turn.get());
                named.v6_turn.set(before.v6_turn.get());
            }
        }
        self.names = names.into_iter().map(|(name, named)| (name, Rc::new(named))).collect();
    }
}

/// Whose turn it is, of so many.
pub(super) fn next_turn(turn: &Cell<usize>, of: usize) -> usize {
    let now = turn.get();
    turn.set(now.wrapping_add(1));
    now % of.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 2);
    const TWO: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 3);
    const SIX: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2);

    fn entry(names: &[&str], ipv4: Ipv4Addr) -> Entry {
        Entry { names: names.iter().map(|name| (*name).to_owned()).collect(), ipv4: Some(ipv4), ipv6: None }
    }

    #[test]
    fn a_name_that_a_neighbour_had_is_nobodys_until_somebody_has_it_again() {
        let zone = zone();
        let stack = |names: &[&str]| {
            let containers = BTreeMap::from([("two-1".to_owned(), entry(names, TWO))]);
            BTreeMap::from([("other".to_owned(), containers)])
        };
        assert!(matches!(zone.lookup("two"), Lookup::Foreign));
        zone.follow_neighbours(stack(&["Two", "two.example"]));
        assert!(matches!(zone.lookup("two"), Lookup::Known(_)));
        zone.follow_neighbours(BTreeMap::new());
        assert!(matches!(zone.lookup("two"), Lookup::Unknown));
        // One with a dot may be of the world.
        assert!(matches!(zone.lookup("two.example"), Lookup::Foreign));
        zone.follow_neighbours(stack(&["two"]));
        assert!(matches!(zone.lookup("two"), Lookup::Known(_)));
        // No more of them than there is room for.
        for number in 0..2 * MOST_GONE {
            zone.follow_neighbours(stack(&[&format!("n{number}")]));
        }
        assert_eq!(zone.content.borrow().gone.len(), MOST_GONE);
    }

    fn zone() -> Zone {
        let subnets = ["10.1.0.0/24", "fd00::/64"].map(|subnet| subnet.parse().expect("a subnet"));
        let zone = Zone::new("shop_default", subnets);
        zone.set("api-1", Entry { ipv6: Some(SIX), ..entry(&["shop-api-1", "Api", "api"], ONE) });
        zone.set("api-2", entry(&["shop-api-2", "api"], TWO));
        zone
    }

    fn known(zone: &Zone, name: &str) -> Vec<IpAddr> {
        match zone.lookup(name) {
            Lookup::Known(named) => {
                let v6 = named.v6.iter().copied().map(IpAddr::from);
                named.v4.iter().copied().map(IpAddr::from).chain(v6).collect()
            }
            other => panic!("{name}: {other:?}"),
        }
    }

    #[test]
    fn a_name_is_known_by_itself_and_with_the_domain() {
        for name in ["shop-api-1", "shop-api-1.shop_default"] {
            assert_eq!(known(&zone(), name), [IpAddr::from(ONE), SIX.into()], "{name}");
        }
        assert_eq!(known(&zone(), "api"), [IpAddr::from(ONE), TWO.into(), SIX.into()]);
    }

    #[test]
    fn an_unknown_name_is_foreign_unless_it_is_in_the_domain() {
        assert!(matches!(zone().lookup("example.com"), Lookup::Foreign));
        assert!(matches!(zone().lookup("store"), Lookup::Foreign));
        assert!(matches!(zone().lookup("store.shop_default"), Lookup::Unknown));
        assert!(matches!(zone().lookup("api.notshop_default"), Lookup::Foreign));
    }

    #[test]
    fn what_is_removed_or_replaced_is_gone() {
        let zone = zone();
        let version = zone.version();
        zone.remove("api-1");
        assert_eq!(known(&zone, "api"), [IpAddr::from(TWO)]);
        assert!(matches!(zone.lookup("shop-api-1"), Lookup::Foreign));
        zone.set("api-2", entry(&["shop-api-2"], ONE));
        assert!(matches!(zone.lookup("api"), Lookup::Foreign));
        assert_eq!(known(&zone, "shop-api-2"), [IpAddr::from(ONE)]);
        assert!(zone.version() > version);
        let version = zone.version();
        zone.remove("nobody");
        assert_eq!(zone.version(), version);
    }

    #[test]
    fn an_address_leads_to_its_first_name() {
        let name = ReverseLookup::Known(Some("shop-api-1.shop_default".into()));
        assert_eq!(zone().reverse(ONE.into()), name);
        assert_eq!(zone().reverse(SIX.into()), name);
        assert_eq!(zone().reverse(Ipv4Addr::new(10, 1, 0, 9).into()), ReverseLookup::Unknown);
        assert_eq!(zone().reverse("fd00::9".parse().expect("an address")), ReverseLookup::Unknown);
        assert_eq!(zone().reverse(Ipv4Addr::new(10, 2, 0, 2).into()), ReverseLookup::Foreign);
    }

    #[test]
    fn an_address_leads_to_a_name_that_can_be_written_if_there_is_one() {
        let (zone, long) = (zone(), "a".repeat(64));
        zone.set("api-3", entry(&[&long, "Service"], Ipv4Addr::new(10, 1, 0, 5)));
        zone.set("api-4", entry(&[&long], Ipv4Addr::new(10, 1, 0, 6)));
        let reverse = |last| zone.reverse(Ipv4Addr::new(10, 1, 0, last).into());
        assert_eq!(reverse(5), ReverseLookup::Known(Some("service.shop_default".into())));
        assert_eq!(reverse(6), ReverseLookup::Known(None));
        assert_eq!(known(&zone, "service"), [IpAddr::from(Ipv4Addr::new(10, 1, 0, 5))]);
    }

    #[test]
    fn neighbours_are_replaced_as_one_and_are_not_the_stacks_own() {
        let zone = zone();
        let three = Ipv4Addr::new(10, 1, 0, 4);
        let stacks = BTreeMap::from([(
            "other".to_owned(),
            BTreeMap::from([("api-1".to_owned(), entry(&["api"], three))]),
        )]);
        zone.set_neighbours(stacks.clone());
        assert_eq!(known(&zone, "api").len(), 4);
        assert_eq!(zone.own().keys().collect::<Vec<_>>(), ["api-1", "api-2"]);
        let version = zone.version();
        zone.set_neighbours(stacks);
        assert_eq!(zone.version(), version, "nothing has changed");
        zone.set_neighbours(BTreeMap::new());
        assert_eq!(known(&zone, "api").len(), 3);
    }

    #[test]
    fn whose_turn_it_is_survives_a_change() {
        let zone = zone();
        let turn = |zone: &Zone| match zone.lookup("api") {
            Lookup::Known(named) => next_turn(&named.v4_turn, named.v4.len()),
            other => panic!("{other:?}"),
        };
        assert_eq!(turn(&zone), 0);
        zone.set("store-1", entry(&["store"], Ipv4Addr::new(10, 1, 0, 9)));
        assert_eq!([turn(&zone), turn(&zone)], [1, 0]);
    }
}
