//! What is mounted into a service: no two things at one target, nothing over everything.

use std::collections::HashMap;
use std::path::Path;

use super::project::{Named, Project};
use crate::diagnostic::Report;
use crate::files;
use crate::source::Span;
use crate::tmpfs::{self, Problem};
use crate::yaml::Node;

/// One thing that is mounted.
struct Mount {
    what: &'static str,
    target: String,
    span: Span,
}

pub(super) fn check(project: Project<'_>, report: &mut Report) {
    for service in project.services() {
        let mounts = mounts(service);
        targets(&mounts, project.running(), report);
        if project.running() {
            for mount in &mounts {
                place(mount, report);
            }
            options(service, report);
        }
    }
}

fn mounts(service: Named<'_>) -> Vec<Mount> {
    let mut mounts = Vec::new();
    let mut add = |what, target: String, span| mounts.push(Mount { what, target, span });
    for item in service.list("volumes") {
        if let Some(target) = item.get("target").and_then(Node::text_value) {
            add("mount", target.to_owned(), item.span);
        }
    }
    for item in service.list("tmpfs") {
        if let Some(text) = item.text_value() {
            add("mount", text.split(':').next().unwrap_or(text).to_owned(), item.span);
        }
    }
    for (key, what, folder) in [("configs", "config", "/"), ("secrets", "secret", "/run/secrets/")] {
        for item in service.list(key) {
            let target = item.get("target").or_else(|| item.get("source")).and_then(Node::text_value);
            if let Some(target) = target.filter(|target| !target.is_empty()) {
                let whole =
                    if target.starts_with('/') { target.to_owned() } else { format!("{folder}{target}") };
                add(what, whole, item.span);
            }
        }
    }
    mounts
}

/// Docker Compose compares the targets of mounts as they are written; a container's start would meet the others.
fn targets(mounts: &[Mount], running: bool, report: &mut Report) {
    let mut seen: HashMap<_, &Mount> = HashMap::new();
    for mount in mounts {
        let clean = files::clean(Path::new(&mount.target));
        if let Some(first) = seen.get(&clean) {
            let plain = first.target == mount.target && first.what == "mount" && mount.what == "mount";
            if plain || running {
                let message = if first.what == mount.what {
                    format!("two {}s have the target `{}`", mount.what, mount.target)
                } else {
                    format!("a {} and a {} have the target `{}`", first.what, mount.what, mount.target)
                };
                report.error(mount.span, message).also(first.span, "first here");
            }
        }
        seen.insert(clean, mount);
    }
}

fn place(mount: &Mount, report: &mut Report) {
    let Mount { target, span, .. } = mount;
    let clean = files::clean(Path::new(target));
    if !target.starts_with('/') {
        // `c:/data` is one path to Docker Compose.
        let is_drive = target.as_bytes().get(1) == Some(&b':');
        report.error(*span, format!("`{target}` must be an absolute path inside the container")).help(
            if is_drive {
                "one letter before a `:` is a drive of Windows: give the volume a longer name"
            } else {
                "short syntax is `SOURCE:TARGET` or `SOURCE:TARGET:ro`"
            },
        );
    } else if clean == Path::new("/") {
        report
            .error(*span, "nothing can be mounted over the whole root filesystem")
            .help("`x-rootfs: FOLDER` makes a folder the root filesystem");
    } else if clean.starts_with("/proc") {
        report
            .error(*span, format!("nothing can be mounted at `{target}`"))
            .help("/proc is the kernel's, and the container's own");
    }
}

/// The options of `tmpfs`.
fn options(service: Named<'_>, report: &mut Report) {
    for item in service.list("tmpfs") {
        let (_, problems) = tmpfs::parse(item.text_value().unwrap_or_default());
        for problem in problems {
            match problem {
                Problem::Key(key) => report
                    .error(item.span, format!("the tmpfs option `{key}` is not supported yet"))
                    .help("`size=` and `mode=` are"),
                Problem::Value { key, value } => report
                    .error(item.span, format!("`{value}` is not a {key} of a tmpfs"))
                    .help("for example `/run:size=64m,mode=1770`"),
            };
        }
    }
}
