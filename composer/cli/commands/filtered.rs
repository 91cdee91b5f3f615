//! What is chosen by `--filter`, of networks and volumes.

use std::collections::BTreeMap;
use std::mem::discriminant;

use crate::options::Filter;

/// How far networks and volumes reach: this host.
pub const SCOPE: &str = "local";

/// What filters know of a network or a volume.
pub struct Filtered<'a> {
    pub name: &'a str,
    /// None of a volume.
    pub id: &'a str,
    pub driver: &'a str,
    pub labels: BTreeMap<String, String>,
    /// When it was made, where that is known.
    pub created: Option<u64>,
    /// Nobody uses it.
    pub dangling: bool,
}

impl Filtered<'_> {
    /// As in Docker, one of the filters of a kind is enough, and all labels have to be there.
    pub fn agrees(&self, filters: &[Filter]) -> bool {
        filters.iter().all(|filter| match filter {
            Filter::Label(_) | Filter::Dangling(_) | Filter::Until(_) => self.is(filter),
            Filter::Name(_) | Filter::Id(_) | Filter::Driver(_) | Filter::Scope(_) | Filter::Custom(_) => {
                filters
                    .iter()
                    .filter(|other| discriminant(*other) == discriminant(filter))
                    .any(|other| self.is(other))
            }
        })
    }

    fn is(&self, filter: &Filter) -> bool {
        match filter {
            Filter::Name(part) => self.name.contains(part),
            Filter::Id(part) => self.id.contains(part),
            Filter::Driver(name) => self.driver == name,
            Filter::Scope(scope) => scope == SCOPE,
            Filter::Label(label) => label.agrees(&self.labels),
            Filter::Dangling(dangling) => self.dangling == *dangling,
            Filter::Custom(custom) => *custom,
            Filter::Until(until) => self.created.is_none_or(|created| created < *until),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::filter::{network, old_network};

    #[test]
    fn one_of_a_kind_is_enough_and_all_labels_are_wanted() {
        let labels = BTreeMap::from([("a".to_owned(), "1".to_owned()), ("b".to_owned(), "2".to_owned())]);
        let one = Filtered {
            name: "front",
            id: "0a1b",
            driver: "bridge",
            labels,
            created: Some(5_000_000_000),
            dangling: false,
        };
        for (filters, agrees) in [
            (&[][..], true),
            (&["name=back", "name=ro"], true),
            (&["name=back"], false),
            (&["name=ro", "driver=macvlan"], false),
            (&["id=1b", "scope=local", "driver=bridge"], true),
            (&["scope=global"], false),
            (&["label=a", "label=b=2"], true),
            (&["label=a", "label=b=1"], false),
            (&["dangling=false"], true),
            (&["dangling=true"], false),
            (&["type=custom"], true),
            (&["type=builtin"], false),
            (&["type=builtin", "type=custom"], true),
        ] {
            let read: Vec<Filter> = filters.iter().map(|text| network(text).unwrap()).collect();
            assert_eq!(one.agrees(&read), agrees, "{filters:?}");
        }
        for (text, agrees) in [("until=6", true), ("until=5", false)] {
            assert_eq!(one.agrees(&[old_network(text).unwrap()]), agrees, "{text}");
        }
    }
}
