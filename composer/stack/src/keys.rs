//! A network is one by its name: a file that has several keys for one, or another key than it had, means the same network.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Attachment, Network, NetworkMode, Stack};

/// The keys of a file's networks, and those that they are known by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkKeys {
    /// By the keys of the file.
    known: BTreeMap<String, String>,
}

impl Stack {
    /// Has each network have one key: the one that it is known by, which `known` says by its name, or else the first that
    /// the file has for it.
    pub fn unite_networks(&mut self, known: impl Fn(&str) -> Option<String>) -> NetworkKeys {
        let keys = NetworkKeys::of(&self.networks, known);
        if keys.known.iter().any(|(key, known)| key != known) {
            let mut united: BTreeMap<String, Network> = BTreeMap::new();
            for (key, network) in std::mem::take(&mut self.networks) {
                // What the file says of it holds, where it says it under one key, and `external` under another.
                united
                    .entry(keys.known(&key).to_owned())
                    .and_modify(|other| {
                        if other.external {
                            *other = network.clone();
                        }
                    })
                    .or_insert(network);
            }
            self.networks = united;
            self.services.values_mut().for_each(|service| keys.rename_in(&mut service.network));
        }
        keys
    }
}

impl NetworkKeys {
    fn of(networks: &BTreeMap<String, Network>, known: impl Fn(&str) -> Option<String>) -> Self {
        let mut by_name: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (key, network) in networks {
            by_name.entry(&network.name).or_default().push(key);
        }
        let mut chosen: BTreeMap<&str, String> = BTreeMap::new();
        chosen.extend(by_name.keys().filter_map(|name| Some((*name, known(name)?))));
        let mut taken: BTreeSet<String> = chosen.values().cloned().collect();
        for (name, keys) in &by_name {
            if chosen.contains_key(name) {
                continue;
            }
            // What is known by its own key may be another one. There are as many keys as networks at least.
            let free = keys.iter().chain(by_name.values().flatten()).find(|key| !taken.contains(**key));
            let key = free.unwrap_or(&keys[0]);
            taken.insert((*key).to_owned());
            chosen.insert(name, (*key).to_owned());
        }
        let known = networks
            .iter()
            .filter_map(|(key, network)| Some((key.clone(), chosen.get(network.name.as_str())?.clone())));
        Self { known: known.collect() }
    }

    fn known<'a>(&'a self, key: &'a str) -> &'a str {
        self.known.get(key).map_or(key, String::as_str)
    }

    /// Has a service be on its networks by the keys that they are known by, and once on each.
    pub fn rename_in(&self, mode: &mut NetworkMode) {
        let NetworkMode::Networks(networks) = mode else { return };
        let mut united: BTreeMap<String, Attachment> = BTreeMap::new();
        for (key, attachment) in std::mem::take(networks) {
            let known = self.known(&key).to_owned();
            let both = match united.remove(&known) {
                Some(other) => other.with(attachment),
                None => attachment,
            };
            united.insert(known, both);
        }
        *networks = united;
    }

    /// Has the path of a value be as the file has it.
    pub fn in_file(&self, path: &mut [String]) {
        let key = match path {
            [networks, key, ..] if networks == "networks" => key,
            [services, _, networks, key, ..] if services == "services" && networks == "networks" => key,
            _ => return,
        };
        let stays = self.known.get(key).is_some_and(|known| known == key);
        let written = self.known.iter().find(|(_, known)| *known == key).map(|(written, _)| written);
        if let Some(written) = written.filter(|_| !stays) {
            key.clone_from(written);
        }
    }
}

impl Attachment {
    /// What is said of the same network twice.
    fn with(self, other: Self) -> Self {
        let mut aliases = self.aliases;
        aliases.extend(other.aliases);
        let mut link_local_ips = self.link_local_ips;
        link_local_ips.extend(other.link_local_ips);
        let mut driver_opts = self.driver_opts;
        driver_opts.extend(other.driver_opts);
        Self {
            aliases,
            ipv4_address: self.ipv4_address.or(other.ipv4_address),
            ipv6_address: self.ipv6_address.or(other.ipv6_address),
            link_local_ips,
            mac_address: self.mac_address.or(other.mac_address),
            priority: self.priority.max(other.priority),
            gw_priority: self.gw_priority.max(other.gw_priority),
            interface_name: self.interface_name.or(other.interface_name),
            driver_opts,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(name: &str, external: bool) -> Network {
        let bridge = Network::with_options(name, "bridge", BTreeMap::new(), (false, false)).unwrap();
        Network { external, ..bridge }
    }

    fn networks(all: &[(&str, &str)]) -> BTreeMap<String, Network> {
        all.iter().map(|(key, name)| ((*key).to_owned(), network(name, false))).collect()
    }

    fn keys(all: &[(&str, &str)], known: &[(&str, &str)]) -> Vec<(String, String)> {
        let find =
            |name: &str| known.iter().find(|(_, other)| *other == name).map(|(key, _)| (*key).to_owned());
        NetworkKeys::of(&networks(all), find).known.into_iter().collect()
    }

    fn pairs(all: &[(&str, &str)]) -> Vec<(String, String)> {
        all.iter().map(|(one, other)| ((*one).to_owned(), (*other).to_owned())).collect()
    }

    #[test]
    fn a_network_goes_by_the_key_that_it_is_known_by() {
        let unlike = [("a", "x"), ("b", "y")];
        assert_eq!(keys(&unlike, &[]), pairs(&[("a", "a"), ("b", "b")]));
        assert_eq!(keys(&unlike, &unlike), pairs(&[("a", "a"), ("b", "b")]));
        // Renamed, and exchanged.
        assert_eq!(keys(&[("new", "x")], &[("old", "x")]), pairs(&[("new", "old")]));
        assert_eq!(keys(&[("a", "y"), ("b", "x")], &unlike), pairs(&[("a", "b"), ("b", "a")]));
        // Several of one name.
        assert_eq!(keys(&[("a", "x"), ("b", "x")], &[]), pairs(&[("a", "a"), ("b", "a")]));
        assert_eq!(keys(&[("a", "x"), ("b", "x")], &[("b", "x")]), pairs(&[("a", "b"), ("b", "b")]));
        // Its own key is another's by now.
        assert_eq!(keys(&[("a", "new"), ("b", "x")], &[("a", "x")]), pairs(&[("a", "b"), ("b", "a")]));
        let chain = [("a", "z"), ("b", "x"), ("c", "y")];
        assert_eq!(keys(&chain, &[("a", "x"), ("b", "y")]), pairs(&[("a", "c"), ("b", "a"), ("c", "b")]));
    }

    #[test]
    fn a_service_is_on_each_network_once() {
        let on = |key: &str, alias: &str, priority| {
            let aliases = BTreeSet::from([alias.to_owned()]);
            (key.to_owned(), Attachment { aliases, priority, ..Attachment::default() })
        };
        let mut networks = networks(&[("a", "x"), ("c", "z")]);
        networks.insert("b".to_owned(), network("x", true));
        let known = |name: &str| (name == "x").then(|| "old".to_owned());
        let keys = NetworkKeys::of(&networks, known);
        let on = [on("a", "one", 1), on("b", "other", 7), on("c", "third", 0)];
        let mut mode = NetworkMode::Networks(BTreeMap::from(on));
        keys.rename_in(&mut mode);
        let found: Vec<_> = mode.attachments().collect();
        assert_eq!(found.iter().map(|(key, _)| *key).collect::<Vec<_>>(), ["c", "old"]);
        let aliases: Vec<&str> = found[1].1.aliases.iter().map(String::as_str).collect();
        assert_eq!((aliases.as_slice(), found[1].1.priority), (["one", "other"].as_slice(), 7));
        let mut path = ["services", "web", "networks", "old", "aliases"].map(str::to_owned);
        keys.in_file(&mut path);
        assert_eq!(path[3], "a");
        let mut path = ["networks", "c"].map(str::to_owned);
        keys.in_file(&mut path);
        assert_eq!(path[1], "c");
    }
}
