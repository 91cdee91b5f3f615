//! What is mounted into a service: its own mounts, those that it takes over, and the files of secrets and configs.

use super::image;
use crate::contents::Contents;
use crate::model::{FileMount, Mount, MountKind, MountOptions, Propagation, Recursion, Volume, VolumesFrom};
use crate::yaml::Node;
use crate::{tmpfs, values};

/// Permission bits of a secret or config that says nothing of them, as Docker has it.
const MODE: u32 = 0o444;

/// A volume at the top level.
pub(super) fn volume(project: &str, key: &str, node: &Node) -> Volume {
    let external = values::flag(node.get("external"));
    // Also where a variable in it is empty.
    let named = values::text(node.get("name")).filter(|name| !name.is_empty());
    let derived = || if external { key.to_owned() } else { format!("{project}_{key}") };
    Volume {
        name: named.unwrap_or_else(derived),
        external,
        labels: super::pairs(node.get("labels")),
        driver_opts: super::pairs(node.get("driver_opts")),
    }
}

/// All mounts of a service: those that it takes over from others are where it has none of its own.
pub(super) fn all(root: &Node, service: &Node) -> Vec<Mount> {
    let mut mounts = own(service);
    // Services that wait for each other have been refused; those that only look do not get this far.
    let mut visited: Vec<&str> = Vec::new();
    let mut waiting: Vec<(&str, bool)> = sources(service).rev().collect();
    while let Some((from, read_only)) = waiting.pop() {
        let Some(other) = root.get("services").and_then(|services| services.get(from)) else { continue };
        if visited.contains(&from) {
            continue;
        }
        visited.push(from);
        for mut mount in own(other) {
            let taken = mounts.iter().any(|known| known.target == mount.target);
            mount.read_only |= read_only;
            match &mount.kind {
                MountKind::Anonymous => {
                    mount.kind =
                        MountKind::Borrowed { service: from.to_owned(), target: mount.target.clone() };
                }
                // As in Docker, memory is nobody else's.
                MountKind::Tmpfs { .. } => continue,
                MountKind::Bind { .. }
                | MountKind::Volume { .. }
                | MountKind::Borrowed { .. }
                | MountKind::Image(_) => {}
            }
            if !taken {
                mounts.push(mount);
            }
        }
        waiting.extend(sources(other).map(|(next, ro)| (next, ro || read_only)));
    }
    mounts
}

fn texts<'a>(service: &'a Node) -> impl DoubleEndedIterator<Item = &'a str> + use<'a> {
    let list = service.get("volumes_from").map(Node::items).unwrap_or_default();
    list.iter().filter_map(Node::text_value)
}

/// The services whose mounts it takes over, and whether they are read-only.
fn sources<'a>(service: &'a Node) -> impl DoubleEndedIterator<Item = (&'a str, bool)> + use<'a> {
    let services = texts(service).filter(|text| !text.starts_with(CONTAINER));
    services.map(|text| {
        let (name, mode) = text.split_once(':').unwrap_or((text, ""));
        (name, mode == "ro")
    })
}

/// What stands before the name of a container.
pub(crate) const CONTAINER: &str = "container:";

/// The containers whose mounts it takes over.
pub(super) fn containers(service: &Node) -> Vec<VolumesFrom> {
    let named = texts(service).filter_map(|text| text.strip_prefix(CONTAINER));
    let from = named.map(|text| {
        let (container, mode) = text.split_once(':').unwrap_or((text, ""));
        VolumesFrom { container: container.to_owned(), read_only: mode == "ro" }
    });
    from.collect()
}

/// `volumes` and `tmpfs` of a service.
pub(super) fn own(node: &Node) -> Vec<Mount> {
    let list = |key: &str| node.get(key).map(Node::items).unwrap_or_default();
    let volumes = list("volumes").iter().filter_map(mount);
    let tmpfs = list("tmpfs").iter().filter_map(|item| {
        let (tmpfs, _) = tmpfs::parse(item.text_value()?);
        let kind = MountKind::Tmpfs { size: tmpfs.size, mode: tmpfs.mode };
        let options = MountOptions::default();
        Some(Mount { target: tmpfs.target, read_only: tmpfs.read_only, kind, options })
    });
    volumes.chain(tmpfs).collect()
}

/// An item of `volumes`.
pub(super) fn mount(node: &Node) -> Option<Mount> {
    let source = node.get("source").and_then(Node::text_value).filter(|source| !source.is_empty());
    let mut options = MountOptions::default();
    let kind = match node.get("type")?.text_value()? {
        "bind" => {
            let bind = node.get("bind");
            let create = bind.and_then(|bind| bind.get("create_host_path")).and_then(Node::bool_value);
            bind_options(bind, &mut options);
            // Docker makes the folder unless the long form has no options at all.
            let create_host_path = create.unwrap_or(bind.is_some());
            MountKind::Bind { source: source?.into(), create_host_path }
        }
        "volume" => {
            let volume = node.get("volume");
            let option = |key: &str| volume.and_then(|volume| volume.get(key));
            options.no_copy = values::flag(option("nocopy"));
            options.subpath = values::text(option("subpath")).filter(|path| !path.is_empty());
            match source {
                Some(source) => MountKind::Volume { source: source.to_owned() },
                None => {
                    options.labels = super::pairs(option("labels"));
                    MountKind::Anonymous
                }
            }
        }
        "image" => {
            let subpath = node.get("image").and_then(|image| image.get("subpath"));
            options.subpath = values::text(subpath).filter(|path| !path.is_empty());
            MountKind::Image(image::other(source?, None))
        }
        "tmpfs" => {
            let option = |key: &str| node.get("tmpfs").and_then(|tmpfs| tmpfs.get(key));
            let size = option("size").and_then(values::whole).and_then(|size| u64::try_from(size).ok());
            MountKind::Tmpfs {
                size: size.filter(|size| *size > 0),
                mode: option("mode").and_then(Node::int_value).and_then(|mode| u32::try_from(mode).ok()),
            }
        }
        _ => return None,
    };
    let target = node.get("target")?.text_value()?.to_owned();
    Some(Mount { target, read_only: values::flag(node.get("read_only")), kind, options })
}

fn bind_options(bind: Option<&Node>, options: &mut MountOptions) {
    let word = |key: &str| bind.and_then(|bind| bind.get(key)).and_then(Node::text_value);
    options.propagation = match word("propagation") {
        Some("slave" | "rslave") => Propagation::Slave,
        Some("shared" | "rshared") => Propagation::Shared,
        Some(_) | None => Propagation::Private,
    };
    options.recursion = match word("recursive") {
        Some("disabled") => Recursion::Alone,
        Some("writable") => Recursion::Writable,
        Some(_) | None => Recursion::Whole,
    };
}

/// The files that a service gets of `secrets` or `configs`; a target that is not absolute is below `folder`.
pub(super) fn files(service: &Node, section: &str, folder: &str, contents: &Contents) -> Vec<FileMount> {
    let items = service.get(section).map(Node::items).unwrap_or_default();
    items.iter().filter_map(|node| file(node, section, folder, contents)).collect()
}

fn file(node: &Node, section: &str, folder: &str, contents: &Contents) -> Option<FileMount> {
    let source = values::text(node.get("source"))?;
    let target = values::text(node.get("target")).filter(|target| !target.is_empty());
    let target = target.unwrap_or_else(|| source.clone());
    let target = if target.starts_with('/') { target } else { format!("{folder}{target}") };
    let number = |key: &str| node.get(key).and_then(values::whole).and_then(|id| u32::try_from(id).ok());
    let mode = values::text(node.get("mode")).and_then(|mode| u32::from_str_radix(&mode, 8).ok());
    Some(FileMount {
        digest: contents.digest(section, &source)?.to_owned(),
        source,
        target,
        uid: number("uid").unwrap_or(0),
        gid: number("gid").unwrap_or(0),
        mode: mode.unwrap_or(MODE),
    })
}
