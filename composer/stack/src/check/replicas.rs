//! How many containers a service has, and what only one can have.

use super::project::{Named, Project};
use crate::diagnostic::Report;
use crate::limits;
use crate::values::{self, At};
use crate::yaml::Node;

pub(super) fn check(project: Project<'_>, report: &mut Report) {
    for service in project.services() {
        let name = service.name;
        counts(service, report);
        let Some(replicas) = limits::replicas(service.node()).filter(|replicas| replicas.value > 1) else {
            continue;
        };
        if let Some(container) = service.get("container_name") {
            report
                .error(
                    container.span,
                    format!("`{name}` has a `container_name`, so it cannot have {} replicas", replicas.value),
                )
                .help("container names are unique: remove `container_name`")
                .also(replicas.span, "replicas given here");
        }
        if !project.running() {
            continue;
        }
        let own = service.get("mac_address").filter(|node| node.text_value() != Some(""));
        for (network, entry) in service.map("networks") {
            if let Some(address) = own
                && super::addresses::first(service) == Some(network.as_str())
                && entry.node.get("mac_address").is_none()
            {
                shared(service, network, ("mac_address", address), replicas, report);
            }
            for key in ["ipv4_address", "ipv6_address", "mac_address"] {
                if let Some(address) = entry.node.get(key) {
                    shared(service, network, (key, address), replicas, report);
                }
            }
        }
    }
}

/// What one container alone can have on a network.
fn shared(
    service: Named<'_>,
    network: &str,
    (key, address): (&str, &Node),
    replicas: At<i64>,
    report: &mut Report,
) {
    let (count, name) = (replicas.value, service.name);
    report
        .error(address.span, format!("{count} replicas of `{name}` cannot have one `{key}` on `{network}`"))
        .help(format!("remove `{key}`, or the replicas"))
        .also(replicas.span, "replicas given here");
}

fn counts(service: Named<'_>, report: &mut Report) {
    let scale = service.get("scale").and_then(|node| Some((node, values::whole(node)?)));
    let deployed = service.at(&["deploy", "replicas"]).and_then(|node| Some((node, values::whole(node)?)));
    if let (Some((own, value)), Some((other, count))) = (scale, deployed)
        && value != count
    {
        report
            .error(own.span, "`scale` and `deploy.replicas` have different values")
            .also(other.span, "the other value")
            .help("keep one of them");
    }
}
