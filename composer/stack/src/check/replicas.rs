//! How many containers a service has, and what only one can have.

use super::project::{Named, Project};
use crate::diagnostic::Report;
use crate::limits;
use crate::values;

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
        for (network, entry) in service.map("networks") {
            for key in ["ipv4_address", "ipv6_address", "mac_address"] {
                if let Some(address) = entry.node.get(key) {
                    report
                        .error(
                            address.span,
                            format!(
                                "{} replicas of `{name}` cannot have one `{key}` on `{network}`",
                                replicas.value
                            ),
                        )
                        .help(format!("remove `{key}`, or the replicas"))
                        .also(replicas.span, "replicas given here");
                }
            }
        }
    }
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
