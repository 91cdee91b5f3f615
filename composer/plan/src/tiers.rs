//! Which services can start at once.

use std::collections::BTreeMap;

use composer_stack::graph::Graph;

use crate::edges::Edges;

/// Services by the step in which they start: each one step after the last of those that it depends on, in the order of
/// their names.
pub fn tiers(graph: &Graph) -> Vec<Vec<&str>> {
    let edges = Edges::of_graph(graph);
    let mut ranks: BTreeMap<&str, usize> = BTreeMap::new();
    for service in edges.order() {
        let needed = edges.of(service).filter_map(|(name, _)| ranks.get(name));
        let rank = needed.max().map_or(0, |rank| rank + 1);
        ranks.insert(service, rank);
    }
    let mut tiers: Vec<Vec<&str>> = vec![Vec::new(); ranks.values().max().map_or(0, |last| last + 1)];
    for (service, rank) in ranks {
        tiers[rank].push(service);
    }
    tiers
}
