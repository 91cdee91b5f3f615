//! Volumes: what keeps them and its options; those that others made have to be there. And how they, and what else is
//! mounted, are mounted.

use std::path::{Component, Path};

use super::project::{Named, Project};
use crate::diagnostic::Report;
use crate::lower::mounts::CONTAINER;
use crate::volume_options::{self, OPTIONS};
use crate::yaml::{Node, Tag};
use crate::{image, values};

const PROPAGATIONS: [&str; 6] = ["private", "rprivate", "shared", "rshared", "slave", "rslave"];

pub(super) fn check(project: Project<'_>, report: &mut Report) {
    if !project.running() {
        return;
    }
    for volume in project.section("volumes") {
        if values::flag(volume.get("external")) {
            // What is wrong with its name has been told.
            if volume.node().tag != Tag::Damaged {
                exists(project, volume, report);
            }
        } else {
            driver(volume, report);
            options(volume, report);
        }
    }
    for service in project.services() {
        for mount in service.list("volumes") {
            propagation(mount, report);
            subpath(mount, "volume", report);
            subpath(mount, "image", report);
            source_image(mount, report);
        }
        service.list("volumes_from").iter().for_each(|from| taken_over(from, report));
        for key in ["secrets", "configs"] {
            service.list(key).iter().for_each(|file| owner(file, report));
        }
    }
}

/// Of those that others made the host knows.
fn exists(project: Project<'_>, volume: Named<'_>, report: &mut Report) {
    let known = project.options.host.as_ref().and_then(|host| host.volumes.as_ref());
    let Some(known) = known else { return };
    let mounts = project.services().flat_map(|service| service.list("volumes"));
    let mut sources = mounts.filter(|mount| kind(mount) == "volume").filter_map(|mount| mount.get("source"));
    let is_used = sources.any(|source| source.text_value() == Some(volume.name));
    let given = volume.get("name").filter(|node| node.text_value().is_some_and(|name| !name.is_empty()));
    let name = given.and_then(Node::text_value).unwrap_or(volume.name);
    if is_used && !known.contains(name) {
        let node = given.or_else(|| volume.get("external"));
        let span = node.map_or(volume.entry.key, |node| node.span);
        report.error(span, format!("the volume `{name}` is external, and there is none of that name")).meant(
            name,
            known.iter().map(String::as_str),
            format!("make it first: `compose volume create {name}`"),
        );
    }
}

fn driver(volume: Named<'_>, report: &mut Report) {
    let Some(node) = volume.get("driver") else { return };
    let driver = node.text_value().unwrap_or_default();
    if !matches!(driver, "" | "local") {
        report.error(node.span, format!("there is no driver of volumes `{driver}` here")).help(
            "`local`, or leave it out: with `driver_opts` it mounts what mount(8) can, NFS and CIFS too",
        );
    }
}

fn options(volume: Named<'_>, report: &mut Report) {
    let options = volume.get("driver_opts").and_then(Node::as_map);
    let has = |key: &str| options.is_some_and(|options| options.contains_key(key));
    for (key, entry) in volume.map("driver_opts") {
        let value = values::scalar(&entry.node).unwrap_or_default();
        let Some((message, help)) = volume_options::wrong(key, &value, has) else { continue };
        let is_known = key == "size" || OPTIONS.contains(&key.as_str());
        let found = report.error(entry.key, message);
        if is_known {
            found.help(help);
            // The others lack the same.
            return;
        }
        found.meant(key, OPTIONS, help);
    }
}

fn is_empty(node: &Node) -> bool {
    values::scalar(node).is_none_or(|text| text.is_empty())
}

fn kind(mount: &Node) -> &str {
    mount.get("type").and_then(Node::text_value).unwrap_or_default()
}

fn propagation(mount: &Node, report: &mut Report) {
    let option = |key: &str| mount.get("bind").and_then(|bind| bind.get(key));
    let propagation = option("propagation").filter(|node| !is_empty(node));
    if let Some(node) = propagation {
        let word = node.text_value().unwrap_or_default();
        if !PROPAGATIONS.contains(&word) {
            report.error(node.span, format!("`{word}` is not a propagation of mounts")).meant(
                word,
                PROPAGATIONS,
                "`rprivate` is what is there without one, `rslave` and `rshared` pass mounts on",
            );
        } else if kind(mount) != "bind" {
            report.warning(node.span, format!("`{word}` has no effect: only binds pass mounts on"));
        }
    }
    let Some(recursive) = option("recursive").filter(|node| node.text_value() == Some("readonly")) else {
        return;
    };
    // As in Docker, which does not leave it to the host what is read-only.
    if !values::flag(mount.get("read_only")) {
        report
            .error(recursive.span, "only a mount that is read-only can be so with all below it")
            .help("add `read_only: true`");
    } else if let Some(node) = propagation.filter(|node| node.text_value() != Some("rprivate")) {
        report
            .error(recursive.span, "what is mounted on the host later would not be read-only")
            .help("`propagation: rprivate`, or leave that out")
            .also(node.span, "passes mounts on");
    }
}

/// What a mount of an image is of.
fn source_image(mount: &Node, report: &mut Report) {
    if kind(mount) != "image" {
        return;
    }
    let Some(source) = mount.get("source").filter(|source| !is_empty(source)) else {
        report
            .error(mount.span, "a mount of an image needs a `source`, the image")
            .help("`source: nginx:1.29`");
        return;
    };
    if let Some(wrong) = source.text_value().and_then(image::wrong) {
        report.error(source.span, &*wrong.message).help(&*wrong.help);
    }
}

fn subpath(mount: &Node, of: &str, report: &mut Report) {
    let Some(node) = mount.get(of).and_then(|options| options.get("subpath")) else { return };
    let path = Path::new(node.text_value().unwrap_or_default());
    let stays = path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if !stays {
        report
            .error(node.span, format!("`{}` does not lie in the {of}", path.display()))
            .help("a path that begins with neither `/` nor `..`: `data/files`");
    }
}

/// An item of `volumes_from`; its mode is looked at with the other words.
fn taken_over(from: &Node, report: &mut Report) {
    let Some(text) = from.text_value() else { return };
    let name = text.strip_prefix(CONTAINER).unwrap_or(text);
    if name.is_empty() || name.starts_with(':') {
        report
            .error(from.span, format!("`{text}` does not say whose mounts are taken over"))
            .help("`SERVICE`, `SERVICE:ro` or `container:NAME:ro`");
    }
}

/// Whose the file of a secret or config is.
fn owner(file: &Node, report: &mut Report) {
    for key in ["uid", "gid"] {
        let Some(node) = file.get(key).filter(|node| !is_empty(node)) else { continue };
        let is_id = values::whole(node).is_some_and(|id| u32::try_from(id).is_ok_and(|id| id < u32::MAX));
        if !is_id {
            let text = values::scalar(node).unwrap_or_default();
            report
                .error(node.span, format!("`{text}` is not a {key}"))
                .help(format!("the number that it is in the container: `{key}: \"1000\"`"));
        }
    }
}
