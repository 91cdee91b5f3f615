//! Values that this version cannot do yet, of keys that it knows.

use super::project::Project;
use crate::diagnostic::Report;

pub(super) fn check(project: Project<'_>, report: &mut Report) {
    for service in project.services() {
        for kind in service.list("volumes").iter().filter_map(|mount| mount.get("type")) {
            let word = kind.text_value().unwrap_or_default();
            let (message, help) = match word {
                "npipe" => ("named pipes are those of Windows", "mount a socket's folder: `type: bind`"),
                "cluster" => ("volumes of a cluster are Swarm's", "`type: volume` is one of this host"),
                _ => continue,
            };
            report.error(kind.span, format!("mounts of type `{word}` cannot be done: {message}")).help(help);
        }
    }
}
