//! Keys of a file that have the same name mean one network: what they say must not differ.

use std::collections::{BTreeMap, BTreeSet};

use super::project::{Named, Project};
use crate::diagnostic::Report;
use crate::lower;
use crate::model::Network;

/// What a service says of itself on a network that it has once there.
const SINGLE: [&str; 4] = ["ipv4_address", "ipv6_address", "mac_address", "interface_name"];

pub(super) fn check(project: Project<'_>, report: &mut Report) {
    if !project.running() {
        return;
    }
    // Nobody else's are made.
    let keys = project.services().flat_map(|service| service.map("networks"));
    let used: BTreeSet<&str> = keys.map(|(key, _)| key.as_str()).collect();
    let mut known: BTreeMap<&str, Network> = BTreeMap::new();
    let mut first: BTreeMap<String, Named<'_>> = BTreeMap::new();
    for network in project.section("networks").filter(|network| used.contains(network.name)) {
        let lowered = lower::network(project.name(), network.name, network.node());
        known.insert(network.name, lowered.clone());
        // Of what others have made nothing but the name is said.
        if lowered.external {
            continue;
        }
        let Some(other) = first.get(&lowered.name) else {
            first.insert(lowered.name, network);
            continue;
        };
        if !known[other.name].serves(&lowered) {
            let place = network.get("name").map_or(network.entry.key, |name| name.span);
            report
                .error(
                    place,
                    format!(
                        "the networks `{}` and `{}` are one, as both have the name `{}`, and are configured otherwise",
                        other.name, network.name, lowered.name
                    ),
                )
                .help("give one of them another `name`, or say the same of both")
                .also(other.get("name").map_or(other.entry.key, |name| name.span), "the other one");
        }
    }
    for service in project.services() {
        single(service, &known, report);
    }
}

/// On a network a service has one address of each kind.
fn single(service: Named<'_>, known: &BTreeMap<&str, Network>, report: &mut Report) {
    for key in SINGLE {
        let mut first = BTreeMap::new();
        for (network, entry) in service.map("networks") {
            let Some((network, value)) = known.get(network.as_str()).zip(entry.node.get(key)) else {
                continue;
            };
            let Some(other) = first.insert(&network.name, value) else { continue };
            if value.text_value() != other.text_value() {
                report
                    .error(value.span, format!("two of `{key}` on the network `{}`", network.name))
                    .help("two keys of the file mean this network, by its `name`: keep one of them")
                    .also(other.span, "the other one");
            }
        }
    }
}
