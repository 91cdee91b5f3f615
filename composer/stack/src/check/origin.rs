//! Where a service's root filesystem comes from, and what is executed in it.

use std::path::Path;

use super::project::{Named, Project};
use crate::diagnostic::Report;
use crate::image;
use crate::yaml::{Node, Tag};

pub(super) fn check(project: Project<'_>, report: &mut Report) {
    if project.running() && project.services().next().is_none() && !report.has_errors() {
        let found = report.error_without_place("no services are defined");
        match project.disabled.keys().next() {
            None => found.help("name at least one under `services:`"),
            Some(_) => found.help("every service has a profile, and none is active: `--profile NAME`"),
        };
    }
    for service in project.services() {
        // What is missing may be what had to be left out. What counts as nothing to Docker Compose is no error.
        let whole = service.node().tag != Tag::Damaged || !report.has_errors();
        let known = !project.running() || reference(service, report);
        if known && whole {
            origin(project, service, report);
        }
        build(service, report);
        if project.running()
            && let Some(rootfs) = service.get("x-rootfs")
        {
            root_folder(rootfs, report);
            if whole {
                words(service, report);
            }
        }
    }
}

fn filled<'a>(service: Named<'a>, key: &str) -> Option<&'a Node> {
    service.get(key).filter(|node| !node.is_null() && node.text_value() != Some(""))
}

fn origin(project: Project<'_>, service: Named<'_>, report: &mut Report) {
    let name = service.name;
    if let Some(rootfs) = filled(service, "x-rootfs") {
        if let Some(image) = filled(service, "image").filter(|_| project.running()) {
            report
                .warning(image.span, "the image is not used: `x-rootfs` goes before it")
                .help("keep one of the two, unless the file is for Docker Compose too")
                .also(rootfs.span, "what is run");
        }
        return;
    }
    if filled(service, "provider").is_some() {
        return;
    }
    match (filled(service, "image"), filled(service, "build")) {
        (Some(_), None) => {}
        (Some(_), Some(build)) if project.running() => {
            report
                .warning(build.span, "images cannot be built yet: the image is pulled where it is not there")
                .help("build it elsewhere, and name it with `image`");
        }
        (None, Some(build)) if project.running() => {
            report
                .error(build.span, "`build` needs images to be built, which this version cannot do yet")
                .help("build it elsewhere, and name it with `image`; `x-rootfs` runs a root folder");
        }
        (_, Some(_)) => {}
        (None, None) => {
            report
                .error(service.entry.key, format!("`{name}` has neither `image`, `build` nor `x-rootfs`"))
                .help("`x-rootfs: host` runs the host's own programs");
        }
    }
}

fn build(service: Named<'_>, report: &mut Report) {
    let Some(build) = service.get("build") else { return };
    let given = |key| build.get(key).filter(|node| node.text_value().is_some_and(|text| !text.is_empty()));
    if let (Some(file), Some(inline)) = (given("dockerfile"), given("dockerfile_inline")) {
        report
            .error(inline.span, "both `dockerfile` and `dockerfile_inline` are given")
            .help("keep one of them")
            .also(file.span, "the other one");
    }
    let platforms = build.get("platforms").filter(|list| !list.items().is_empty());
    if let (Some(platforms), Some(own)) = (platforms, given_platform(service)) {
        let wanted = own.text_value();
        if !platforms.items().iter().any(|platform| platform.text_value() == wanted) {
            let wanted = wanted.unwrap_or_default();
            report
                .error(own.span, format!("the image is not built for the service's platform, `{wanted}`"))
                .help(format!("add `{wanted}` to `build.platforms`"))
                .also(platforms.span, "what it is built for");
        }
    }
}

fn given_platform<'a>(service: Named<'a>) -> Option<&'a Node> {
    filled(service, "platform")
}

/// Whether `image`, which is what will be pulled or what the built image is called, has the form of a reference.
fn reference(service: Named<'_>, report: &mut Report) -> bool {
    let Some(node) = filled(service, "image") else { return true };
    let wrong = node.text_value().and_then(image::wrong);
    if let Some(wrong) = &wrong {
        report.error(node.span, &*wrong.message).help(&*wrong.help);
    }
    wrong.is_none()
}

fn root_folder(rootfs: &Node, report: &mut Report) {
    let Some(path) = rootfs.text_value().filter(|path| *path != "host").map(Path::new) else { return };
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

fn words(service: Named<'_>, report: &mut Report) {
    let words = ["entrypoint", "command"].into_iter().filter_map(|key| service.get(key));
    let words: Vec<&Node> = words.filter(|node| !node.is_null()).collect();
    if words.iter().all(|node| node.items().is_empty()) {
        let name = service.name;
        let span = words.last().map_or(service.entry.key, |node| node.span);
        report.error(span, format!("`{name}` has nothing to execute")).help("give it a `command`");
    }
}
