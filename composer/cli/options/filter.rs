//! `--filter` of what is listed and pruned.

use std::collections::BTreeMap;

/// What networks and volumes are chosen by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// A part of the name.
    Name(String),
    /// A part of the id.
    Id(String),
    /// The driver.
    Driver(String),
    /// How far it reaches: all are of this host.
    Scope(String),
    /// A label.
    Label(Label),
    /// Whether no container is on it, or has it.
    Dangling(bool),
    /// Whether somebody has made it, or it has always been there: of those there are none here.
    Custom(bool),
    /// Made before this moment.
    Until(u64),
}

/// A label that is to be there, or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    key: String,
    /// Where it counts.
    value: Option<String>,
    is_there: bool,
}

impl Label {
    /// Whether these labels are as wanted.
    pub fn agrees(&self, labels: &BTreeMap<String, String>) -> bool {
        let is_it = |known: &String| self.value.as_ref().is_none_or(|value| value == known);
        labels.get(&self.key).is_some_and(is_it) == self.is_there
    }
}

/// Of networks.
pub fn network(text: &str) -> Result<Filter, String> {
    let what = "write `name=PART`, `id=PART`, `label=KEY`, `driver=NAME`, `type=custom`, `scope=local` or `dangling=true`";
    let kind = match text.strip_prefix("type=") {
        Some("custom") => Some(Filter::Custom(true)),
        Some("builtin") => Some(Filter::Custom(false)),
        Some(_) | None => None,
    };
    kind.or_else(|| read(text)).ok_or_else(|| what.to_owned())
}

/// Of networks that are pruned.
pub fn old_network(text: &str) -> Result<Filter, String> {
    match text.strip_prefix("until=") {
        Some(time) => crate::time::parse(time, crate::time::now()).map(Filter::Until),
        None => label_alone(text).map_err(|what| format!("{what}, or `until=TIME`")),
    }
}

/// Of volumes, which have no id and no scope to choose by.
pub fn volume(text: &str) -> Result<Filter, String> {
    let known = read(text).filter(|filter| !matches!(filter, Filter::Id(_) | Filter::Scope(_)));
    known.ok_or_else(|| "write `name=PART`, `label=KEY`, `driver=NAME` or `dangling=true`".to_owned())
}

/// Of what is pruned.
pub fn label_alone(text: &str) -> Result<Filter, String> {
    let what = "write `label=KEY`, `label=KEY=VALUE` or `label!=KEY`";
    label(text).map(Filter::Label).ok_or_else(|| what.to_owned())
}

fn read(text: &str) -> Option<Filter> {
    match text.split_once('=')? {
        ("name", part) => Some(Filter::Name(part.to_owned())),
        ("id", part) => Some(Filter::Id(part.to_owned())),
        ("driver", name) => Some(Filter::Driver(name.to_owned())),
        ("scope", scope) => Some(Filter::Scope(scope.to_owned())),
        ("dangling", value) => flag(value).map(Filter::Dangling),
        ("label", _) => label(text).map(Filter::Label),
        _ => None,
    }
}

/// `true` or `false`, as Docker has them in filters.
pub fn flag(text: &str) -> Option<bool> {
    match text {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
}

/// `label=KEY`, `label=KEY=VALUE`, or `label!=` for what does not have it.
pub fn label(text: &str) -> Option<Label> {
    let (label, is_there) = match text.strip_prefix("label=") {
        Some(label) => (label, true),
        None => (text.strip_prefix("label!=")?, false),
    };
    let (key, value) = match label.split_once('=') {
        Some((key, value)) => (key, Some(value.to_owned())),
        None => (label, None),
    };
    Some(Label { key: key.to_owned(), value, is_there })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_read() {
        let label = |value: Option<&str>, is_there| {
            Filter::Label(Label { key: "a".to_owned(), value: value.map(str::to_owned), is_there })
        };
        for (text, expected) in [
            ("name=x", Filter::Name("x".to_owned())),
            ("dangling=1", Filter::Dangling(true)),
            ("dangling=0", Filter::Dangling(false)),
            ("label=a", label(None, true)),
            ("label=a=b=c", label(Some("b=c"), true)),
        ] {
            assert_eq!((network(text), volume(text)), (Ok(expected.clone()), Ok(expected)), "{text}");
        }
        assert_eq!(network("id=0a"), Ok(Filter::Id("0a".to_owned())));
        assert_eq!(network("scope=local"), Ok(Filter::Scope("local".to_owned())));
        assert_eq!(label_alone("label!=a=b"), Ok(label(Some("b"), false)));
        assert_eq!(network("type=custom"), Ok(Filter::Custom(true)));
        assert_eq!(network("type=builtin"), Ok(Filter::Custom(false)));
        assert_eq!(old_network("until=7"), Ok(Filter::Until(7_000_000_000)));
        assert_eq!(old_network("label=a"), label_alone("label=a"));
        assert!(old_network("until=soon").is_err() && old_network("name=a").is_err());
        for text in ["type=other", "until=24h", "dangling=x", "name"] {
            assert!(network(text).is_err() && volume(text).is_err() && label_alone(text).is_err(), "{text}");
        }
        assert!(volume("id=0a").is_err() && volume("scope=local").is_err() && label_alone("name=a").is_err());
    }
}
