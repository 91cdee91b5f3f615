//! Mounts: named volumes exist, no two mounts share a target.

use std::collections::BTreeMap;

use crate::decode::project::{MountKind, Project};
use crate::decode::suggest::nearest;
use crate::diagnostic::Report;

pub(super) fn check(project: &Project, report: &mut Report) {
    for service in project.services.values() {
        let mut targets = BTreeMap::new();
        let volumes = service.volumes.iter().map(|mount| (mount.value.target.as_str(), mount.span));
        let tmpfs = service.tmpfs.iter().map(|tmpfs| (tmpfs.value.target.as_str(), tmpfs.span));
        for (target, span) in volumes.chain(tmpfs) {
            let trimmed = target.trim_end_matches('/');
            if let Some(first) = targets.insert(trimmed, span) {
                report
                    .error(span, format!("two mounts have the target `{target}`"))
                    .also(first, "first here");
            }
        }
        for mount in &service.volumes {
            let MountKind::Volume { source: Some(source), .. } = &mount.value.kind else {
                continue;
            };
            if project.volumes.contains_key(source) {
                continue;
            }
            let near = nearest(source, project.volumes.keys().map(String::as_str));
            let help = match near {
                Some(near) => format!("did you mean `{near}`?"),
                None => {
                    format!("name it under `volumes:` at the top level, or write `./{source}` for a folder")
                }
            };
            report.error(mount.span, format!("the volume `{source}` is not defined")).help(help);
        }
    }
}
