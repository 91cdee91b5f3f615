//! Mounts: named volumes exist and have names, no two mounts share a target, none covers everything.

use std::collections::BTreeMap;
use std::path::Path;

use crate::decode::project::{MountKind, Project};
use crate::diagnostic::Report;
use crate::files;
use crate::suggest::nearest;

pub(super) fn check(project: &Project, running: bool, report: &mut Report) {
    for volume in project.volumes.values().filter(|volume| running && !is_name(&volume.name.value)) {
        report
            .error(volume.name.span, format!("`{}` is not a volume's name", volume.name.value))
            .help("letters, digits, `_`, `.` and `-`, beginning with a letter or digit");
    }
    for service in project.services.values() {
        let mut targets = BTreeMap::new();
        let volumes = service.volumes.iter().map(|mount| (mount.value.target.as_str(), mount.span));
        let tmpfs = service.tmpfs.iter().map(|tmpfs| (tmpfs.value.target.as_str(), tmpfs.span));
        for (target, span) in volumes.chain(tmpfs) {
            let clean = files::clean(Path::new(target));
            if clean == Path::new("/") {
                report
                    .error(span, "nothing can be mounted over the whole root filesystem")
                    .help("`x-rootfs: FOLDER` makes a folder the root filesystem");
            }
            if clean.starts_with("/proc") {
                report
                    .error(span, format!("nothing can be mounted at `{target}`"))
                    .help("/proc is the kernel's, and the container's own");
            }
            if let Some(first) = targets.insert(clean, span) {
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

/// Docker's rule for volumes: it becomes the name of a folder.
fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.len() <= 255
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
}
