//! What a service needs to be run: a root filesystem and something to execute.

use std::path::Path;

use crate::decode::project::{Project, Service};
use crate::diagnostic::Report;
use crate::model::Rootfs;

pub(super) fn check(project: &Project, running: bool, report: &mut Report) {
    if running && project.services.is_empty() && !report.has_errors() {
        report.error_without_place("no services are defined").help("name at least one under `services:`");
    }
    for (name, service) in project.services.iter().filter(|(_, service)| !service.borrows) {
        if service.rootfs.is_none() {
            let origin =
                service.image.as_ref().map(|image| (image.span, "`image` needs images to be pulled"));
            let build = service.build.as_ref().map(|build| (build.span, "`build` needs images to be built"));
            match origin.or(build) {
                Some((span, needs)) if running => {
                    report
                        .error(span, format!("{needs}, which this version cannot do yet"))
                        .help("give the service an `x-rootfs`: `host`, or the path of a root folder");
                }
                Some(_) => {}
                None => {
                    report
                        .error(service.key, format!("`{name}` has neither `image`, `build` nor `x-rootfs`"))
                        .help("`x-rootfs: host` runs the host's own programs");
                }
            }
        } else if running {
            root_folder(service, report);
            let words = [&service.entrypoint, &service.command].into_iter().flatten();
            if words.clone().all(|words| words.value.is_empty()) {
                let span = words.last().map_or(service.key, |words| words.span);
                report.error(span, format!("`{name}` has nothing to execute")).help("give it a `command`");
            }
        }
    }
}

fn root_folder(service: &Service, report: &mut Report) {
    let Some(rootfs) = &service.rootfs else { return };
    let Rootfs::Path(path) = &rootfs.value else { return };
    if path == Path::new("/") {
        report
            .error(rootfs.span, "the host's own root cannot be a root folder")
            .help("`x-rootfs: host` shows its programs, copy-on-write");
    } else if !path.is_dir() {
        let what = if path.exists() { "is not a folder" } else { "does not exist" };
        report
            .error(rootfs.span, format!("the root folder {} {what}", path.display()))
            .help("`host`, or the path of a folder that holds a root filesystem");
    }
}
