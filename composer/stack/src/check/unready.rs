//! Values that this version cannot do yet, of keys that it knows.

use super::project::Project;
use crate::diagnostic::Report;

pub(super) fn check(project: Project<'_>, report: &mut Report) {
    for service in project.services() {
        for kind in service.list("volumes").iter().filter_map(|mount| mount.get("type")) {
            let word = kind.text_value().unwrap_or_default();
            if !matches!(word, "bind" | "volume" | "tmpfs") {
                report.error(kind.span, format!("mounts of type `{word}` are not supported yet"));
            }
        }
    }
    for network in project.section("networks").filter(|network| network.name != "default") {
        let name = network.name;
        report
            .error(
                network.entry.key,
                format!("network `{name}`: networks besides `default` are not supported yet"),
            )
            .help("every service is on the stack's own network, `default`");
    }
}
