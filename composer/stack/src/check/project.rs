//! The canonical tree as the checks see it.

use crate::options::{LoadOptions, Purpose};
use crate::yaml::{Entry, Map, Node};

/// What every check is given.
#[derive(Clone, Copy)]
pub(super) struct Project<'a> {
    pub root: &'a Node,
    /// Services that no active profile wants.
    pub disabled: &'a Map,
    pub options: &'a LoadOptions,
}

/// An entry of a section: a service, a network….
#[derive(Clone, Copy)]
pub(super) struct Named<'a> {
    pub name: &'a str,
    pub entry: &'a Entry,
}

impl<'a> Project<'a> {
    pub fn new(root: &'a Node, disabled: &'a Map, options: &'a LoadOptions) -> Self {
        Self { root, disabled, options }
    }

    /// Whether containers are to be started.
    pub fn running(&self) -> bool {
        self.options.purpose == Purpose::Run
    }

    /// The project's name.
    pub fn name(&self) -> &'a str {
        self.root.get("name").and_then(Node::text_value).unwrap_or_default()
    }

    /// The entries of a section at the top level.
    pub fn section(&self, key: &str) -> impl Iterator<Item = Named<'a>> + use<'a> {
        let entries = self.root.get(key).into_iter().flat_map(Node::entries);
        entries.map(|(name, entry)| Named { name, entry })
    }

    pub fn services(&self) -> impl Iterator<Item = Named<'a>> + use<'a> {
        self.section("services")
    }

    /// An entry of a section.
    pub fn find(&self, section: &str, name: &str) -> Option<Named<'a>> {
        let (name, entry) = self.root.get(section)?.as_map()?.get_key_value(name)?;
        Some(Named { name, entry })
    }

    pub fn service(&self, name: &str) -> Option<Named<'a>> {
        self.find("services", name)
    }
}

impl<'a> Named<'a> {
    pub fn node(&self) -> &'a Node {
        &self.entry.node
    }

    /// A key and its value.
    pub fn entry(&self, key: &str) -> Option<&'a Entry> {
        self.node().as_map()?.get(key)
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&'a Node> {
        self.node().get(key)
    }

    /// The value that a path of keys leads to.
    pub fn at(&self, path: &[&str]) -> Option<&'a Node> {
        path.iter().try_fold(self.node(), |node, key| node.get(key))
    }

    /// The items of a list.
    pub fn list(&self, key: &str) -> &'a [Node] {
        self.get(key).map(Node::items).unwrap_or_default()
    }

    /// The pairs of a mapping.
    pub fn map(&self, key: &str) -> impl Iterator<Item = (&'a String, &'a Entry)> + use<'a> {
        self.get(key).into_iter().flat_map(Node::entries)
    }
}
