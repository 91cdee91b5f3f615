//! Which service depends on which, in an order in which dependencies come first.

use std::collections::{BTreeMap, BTreeSet};

use composer_stack::graph::Graph;
use composer_stack::{Dependency, Stack};

use crate::observed::Observed;

/// What services depend on.
pub(crate) struct Edges<'a> {
    dependencies: BTreeMap<&'a str, BTreeMap<&'a str, &'a Dependency>>,
    /// Where each service is in [`Edges::order`].
    rank: BTreeMap<&'a str, usize>,
    order: Vec<&'a str>,
}

impl<'a> Edges<'a> {
    /// As the file has them.
    pub fn of_stack(stack: &'a Stack) -> Self {
        Self::new(stack.services.values().map(|service| (service.name.as_str(), &service.depends_on)))
    }

    /// As the file has them, those of services too that nobody can run.
    pub fn of_graph(graph: &'a Graph) -> Self {
        let services = graph.services.iter().map(|(name, service)| {
            let needs = service.needs.iter().map(|(name, need)| (name.as_str(), &need.terms));
            (name.as_str(), needs.collect())
        });
        Self::sorted(services.collect())
    }

    /// As the containers that exist remember them.
    pub fn of_containers(observed: &'a Observed) -> Self {
        Self::new(observed.containers.values().map(|found| (found.service(), &found.config.depends_on)))
    }

    fn new(services: impl Iterator<Item = (&'a str, &'a BTreeMap<String, Dependency>)>) -> Self {
        let mut dependencies: BTreeMap<&str, BTreeMap<&str, &Dependency>> = BTreeMap::new();
        for (service, edges) in services {
            let known = dependencies.entry(service).or_default();
            known.extend(edges.iter().map(|(name, terms)| (name.as_str(), terms)));
        }
        Self::sorted(dependencies)
    }

    fn sorted(dependencies: BTreeMap<&'a str, BTreeMap<&'a str, &'a Dependency>>) -> Self {
        let mut edges = Self { dependencies, rank: BTreeMap::new(), order: Vec::new() };
        let names: Vec<&str> = edges.dependencies.keys().copied().collect();
        let mut seen = BTreeSet::new();
        for name in names {
            edges.visit(name, &mut seen);
        }
        edges.rank = edges.order.iter().copied().zip(0..).collect();
        edges
    }

    fn visit(&mut self, service: &'a str, seen: &mut BTreeSet<&'a str>) {
        let Some(dependencies) = self.dependencies.get(service) else { return };
        if !seen.insert(service) {
            return;
        }
        let names: Vec<&str> = dependencies.keys().copied().collect();
        for name in names {
            self.visit(name, seen);
        }
        self.order.push(service);
    }

    /// Services so that dependencies come before dependents.
    pub fn order(&self) -> &[&'a str] {
        &self.order
    }

    /// What a service depends on. Records may come from different versions of a file: an edge that would close a cycle
    /// is left out.
    pub fn of(&self, service: &str) -> impl Iterator<Item = (&'a str, &'a Dependency)> {
        let rank = self.rank.get(service).copied().unwrap_or_default();
        let edges = self.dependencies.get(service).into_iter().flatten();
        edges
            .filter(move |(name, _)| self.rank.get(*name).is_some_and(|other| *other < rank))
            .map(|(name, terms)| (*name, *terms))
    }

    /// The services that one depends on and for which something holds, those of others it depends on in the place of
    /// the others.
    pub fn nearest(&self, service: &str, holds: impl Fn(&str) -> bool) -> BTreeSet<&'a str> {
        let (mut found, mut seen) = (BTreeSet::new(), BTreeSet::new());
        let mut queue: Vec<&str> = self.of(service).map(|(name, _)| name).collect();
        while let Some(name) = queue.pop() {
            if holds(name) {
                found.insert(name);
            } else if seen.insert(name) {
                queue.extend(self.of(name).map(|(name, _)| name));
            }
        }
        found
    }

    /// These services and everything they depend on; all where none is named.
    pub fn with_dependencies(&self, named: &[String]) -> BTreeSet<&'a str> {
        let mut chosen = BTreeSet::new();
        let mut queue = self.named(named);
        while let Some(service) = queue.pop() {
            if chosen.insert(service) {
                queue.extend(self.of(service).map(|(name, _)| name));
            }
        }
        chosen
    }

    /// Those of these services that are known; all where none is named.
    pub fn named(&self, named: &[String]) -> Vec<&'a str> {
        let wanted: BTreeSet<&str> = named.iter().map(String::as_str).collect();
        self.order.iter().copied().filter(|name| named.is_empty() || wanted.contains(name)).collect()
    }

    /// Adds those that want to be restarted (`depends_on.restart`) when one of these is.
    pub fn add_restarted(&self, services: &mut BTreeSet<&'a str>) {
        for service in &self.order {
            if self.of(service).any(|(name, terms)| terms.restart && services.contains(name)) {
                services.insert(service);
            }
        }
    }
}
