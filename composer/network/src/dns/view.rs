//! What one container sees of the names: the zones of the networks it is on, links of its own, and who is asked for
//! the rest.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::rc::Rc;

use super::zone::{Lookup, Named, ReverseLookup, Zone};

/// What one container sees of the names. Changes of the zones show in its next answer.
#[derive(Debug, Default)]
pub struct View {
    /// The networks it is on, the preferred one first: the first that has a name answers for it.
    pub zones: Vec<Rc<Zone>>,
    /// Names that it alone knows, in lower case, and the names that they stand for: `links` and `external_links`.
    pub links: HashMap<String, Vec<String>>,
    /// Who is asked for what the zones do not know.
    pub forwarding: Forwarding,
    /// Whether a name without a dot is nobody else's: its resolv.conf sets `ndots` above 0 and so has the client try
    /// the search domains itself.
    pub keeps_short_names: bool,
}

/// Who is asked for names that the zones do not know.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Forwarding {
    /// The host's resolvers, from the host.
    #[default]
    Host,
    /// These, from inside the container: 127.0.0.1 is its own.
    Servers(Vec<IpAddr>),
    /// Nobody: it is on internal networks alone.
    Nobody,
}

/// What a view knows of a name or an address.
#[derive(Debug, Clone)]
pub(super) enum Found {
    Addresses(Rc<Named>),
    /// None where it has no name that can be written.
    Pointer(Option<String>),
    /// The name would be in one of the zones, but nobody has it.
    NoName,
}

impl View {
    /// What a name in lower case stands for; `None` where it is someone else's to answer.
    pub(super) fn find(&self, name: &str) -> Option<Found> {
        match self.links.get(name) {
            // As in Docker, a link hides what else has the name.
            Some(targets) => {
                Some(targets.iter().find_map(|target| self.first(target)).unwrap_or(Found::NoName))
            }
            None => self.first(name).or_else(|| self.is_within(name).then_some(Found::NoName)),
        }
    }

    /// The addresses in the first network that has the name.
    fn first(&self, name: &str) -> Option<Found> {
        self.zones.iter().find_map(|zone| match zone.lookup(name) {
            Lookup::Known(named) => Some(Found::Addresses(named)),
            Lookup::Unknown | Lookup::Foreign => None,
        })
    }

    fn is_within(&self, name: &str) -> bool {
        self.zones.iter().any(|zone| matches!(zone.lookup(name), Lookup::Unknown))
    }

    /// Whose address it is; `None` where it is someone else's to answer.
    pub(super) fn find_reverse(&self, address: IpAddr) -> Option<Found> {
        let mut is_ours = false;
        for zone in &self.zones {
            match zone.reverse(address) {
                ReverseLookup::Known(name) => return Some(Found::Pointer(name)),
                ReverseLookup::Unknown => is_ours = true,
                ReverseLookup::Foreign => {}
            }
        }
        is_ours.then_some(Found::NoName)
    }

    /// Differs from what it was if a zone has changed since.
    pub(super) fn version(&self) -> u64 {
        self.zones.iter().map(|zone| zone.version()).sum()
    }
}

/// Names that are the stack's own, whether anybody has them now or not: nobody else is asked for them.
#[derive(Debug, Default)]
pub(super) struct OwnNames(RefCell<Own>);

#[derive(Debug, Default)]
struct Own {
    names: HashSet<String>,
    networks: Vec<String>,
}

impl OwnNames {
    pub(super) fn set(
        &self,
        names: impl IntoIterator<Item = String>,
        networks: impl IntoIterator<Item = String>,
    ) {
        let lower = |name: String| name.to_ascii_lowercase();
        *self.0.borrow_mut() = Own {
            // One with a dot may also be a name of the world, which the stack stands in for while it has it.
            names: names.into_iter().map(lower).filter(|name| !name.contains('.')).collect(),
            networks: networks.into_iter().map(|name| format!(".{}", lower(name))).collect(),
        };
    }

    /// Whether a name in lower case is one of them, or in one of the stack's networks.
    pub(super) fn have(&self, name: &str) -> bool {
        let own = self.0.borrow();
        own.names.contains(name) || own.networks.iter().any(|network| name.ends_with(network.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::super::zone::Entry;
    use super::*;

    fn zone(network: &str, third: u8, names: &[&str]) -> Rc<Zone> {
        let subnet = format!("10.1.{third}.0/24").parse().expect("a subnet");
        let zone = Zone::new(network, [subnet]);
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        zone.set("it", Entry { names, ipv4: Some(Ipv4Addr::new(10, 1, third, 2)), ipv6: None });
        Rc::new(zone)
    }

    fn third(found: Option<Found>) -> u8 {
        match found {
            Some(Found::Addresses(named)) => named.v4[0].octets()[2],
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_first_network_that_has_a_name_answers() {
        let (front, back) = (zone("shop_front", 1, &["api"]), zone("shop_back", 2, &["api", "store"]));
        let view = View { zones: vec![Rc::clone(&front), Rc::clone(&back)], ..View::default() };
        assert_eq!(third(view.find("api")), 1);
        assert_eq!(third(view.find("store")), 2);
        assert_eq!(third(view.find("api.shop_back")), 2);
        assert!(matches!(view.find("store.shop_front"), Some(Found::NoName)));
        assert!(view.find("example.com").is_none());
        let other = View { zones: vec![back, front], ..View::default() };
        assert_eq!(third(other.find("api")), 2);
        let alone = View { zones: vec![zone("shop_front", 1, &["api"])], ..View::default() };
        assert!(alone.find("store").is_none() && alone.find("store.shop_back").is_none());
        let address = Ipv4Addr::new(10, 1, 2, 2).into();
        assert!(
            matches!(other.find_reverse(address), Some(Found::Pointer(Some(name))) if name == "api.shop_back")
        );
        assert!(alone.find_reverse(address).is_none());
    }

    #[test]
    fn a_link_is_known_to_its_view_alone_and_hides_the_name() {
        let zones = vec![zone("shop_front", 1, &["api", "db"]), zone("shop_back", 2, &["store"])];
        let links = HashMap::from([
            ("db".to_owned(), vec!["store".to_owned()]),
            ("gone".to_owned(), vec!["nobody".to_owned()]),
        ]);
        let view = View { zones: zones.clone(), links, ..View::default() };
        assert_eq!(third(view.find("db")), 2);
        assert!(matches!(view.find("gone"), Some(Found::NoName)));
        assert_eq!(third(View { zones, ..View::default() }.find("db")), 1);
    }

    #[test]
    fn own_names_are_those_without_a_dot_and_all_within_a_network() {
        let own = OwnNames::default();
        own.set(["Store", "example.com"].map(str::to_owned), ["shop_back".to_owned()]);
        assert!(own.have("store") && own.have("x.shop_back"));
        assert!(!own.have("example.com") && !own.have("shop_back") && !own.have("other"));
    }
}
