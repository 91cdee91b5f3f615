//! Canonical tree to [`Graph`].

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::network::{DEFAULT, predefined};
use crate::graph::{
    Content, FileMount, Graph, Mount, Need, Network, Port, Root, Service, Source, Use, Volume,
};
use crate::links;
use crate::model::{Dependency, ImageUse, MountKind};
use crate::values;
use crate::yaml::Node;
use crate::{limits, model};

/// All services of the tree and what they have.
pub(crate) fn graph(root: &Node, project: &str, directory: &Path) -> Graph {
    let mut networks = section(root, "networks", |key, node| network(&name(project, key, node), node));
    networks.retain(|key, _| {
        let node = root.get("networks").and_then(|section| section.get(key));
        node.is_none_or(|node| predefined(key, node).is_none())
    });
    for key in by_mode(root) {
        let nothing = Node::null(root.span);
        let external = key != DEFAULT;
        let name = if external { key.clone() } else { name(project, DEFAULT, &nothing) };
        networks.entry(key).or_insert_with(|| Network { external, ..network(&name, &nothing) });
    }
    Graph {
        name: project.to_owned(),
        directory: directory.display().to_string(),
        services: section(root, "services", |_, node| service(node, root)),
        networks,
        volumes: section(root, "volumes", |key, node| volume(&name(project, key, node), node)),
        configs: section(root, "configs", content),
        secrets: section(root, "secrets", content),
    }
}

/// The networks that services are on by their `network_mode`, which the tree does not say otherwise.
fn by_mode(root: &Node) -> BTreeSet<String> {
    let services = root.get("services").into_iter().flat_map(Node::entries);
    let modes = services.filter(|(_, entry)| text(&entry.node, "network_mode").is_some());
    let modes = modes.map(|(_, entry)| super::network::mode(&entry.node, root));
    modes.flat_map(|mode| mode.attachments().map(|(key, _)| key.to_owned()).collect::<Vec<_>>()).collect()
}

fn section<T>(root: &Node, key: &str, make: impl Fn(&str, &Node) -> T) -> BTreeMap<String, T> {
    let entries = root.get(key).into_iter().flat_map(Node::entries);
    entries.map(|(key, entry)| (key.clone(), make(key, &entry.node))).collect()
}

/// A text that says something.
fn text(node: &Node, key: &str) -> Option<String> {
    values::text(node.get(key)).filter(|text| !text.is_empty())
}

fn list<'a>(node: &'a Node, key: &str) -> &'a [Node] {
    node.get(key).map(Node::items).unwrap_or_default()
}

fn is_external(node: &Node) -> bool {
    values::flag(node.get("external"))
}

fn name(project: &str, key: &str, node: &Node) -> String {
    let derived = || if is_external(node) { key.to_owned() } else { format!("{project}_{key}") };
    text(node, "name").unwrap_or_else(derived)
}

fn service(node: &Node, root: &Node) -> Service {
    let replicas = limits::replicas(node).map_or(1, |at| at.value);
    let taken = list(node, "volumes_from").iter().filter_map(Node::text_value);
    let others = list(node, "volumes").iter().filter_map(other_mount);
    Service {
        root: programs(node),
        replicas: u32::try_from(replicas.clamp(0, limits::MOST_REPLICAS)).unwrap_or_default(),
        profiles: node.get("profiles").and_then(values::texts).unwrap_or_default(),
        needs: needs(node),
        network: super::network::mode(node, root),
        ports: list(node, "ports").iter().filter_map(port).collect(),
        mounts: super::mounts::own(node).into_iter().map(mount).chain(others).collect(),
        volumes_from: taken.filter_map(|from| from.strip_prefix("container:")).map(first).collect(),
        configs: list(node, "configs").iter().filter_map(|node| file(node, "/")).collect(),
        secrets: list(node, "secrets").iter().filter_map(|node| file(node, "/run/secrets/")).collect(),
    }
}

/// What counts of several is what `up` would take, as far as it can.
fn programs(node: &Node) -> Root {
    let below = |key: &str, inner: &str| node.get(key).and_then(|node| text(node, inner));
    let found = [
        text(node, "x-rootfs").map(Root::Rootfs),
        text(node, "image").map(Root::Image),
        below("build", "context").map(Root::Build),
        below("provider", "type").map(Root::Provider),
    ];
    found.into_iter().flatten().next().unwrap_or(Root::Unknown)
}

/// `NAME:ACCESS` without the access.
fn first(text: &str) -> String {
    text.split(':').next().unwrap_or(text).to_owned()
}

fn needs(node: &Node) -> BTreeMap<String, Need> {
    let with_terms = |(name, terms): (String, Dependency)| (name, Need { terms, uses: Vec::new() });
    let mut needs: BTreeMap<String, Need> = super::dependencies(node).into_iter().map(with_terms).collect();
    let texts = |key: &str| list(node, key).iter().filter_map(Node::text_value);
    let mut uses: Vec<(String, Use)> = Vec::new();
    uses.extend(texts("links").map(|link| (links::target(link).to_owned(), Use::Name)));
    let from = texts("volumes_from").filter(|from| !from.starts_with("container:"));
    uses.extend(from.map(|from| (first(from), Use::Mounts)));
    let shared = [
        ("network_mode", Use::Network),
        ("ipc", Use::Ipc),
        ("pid", Use::Processes),
        ("uts", Use::HostName),
        ("cgroup", Use::Cgroup),
    ];
    uses.extend(shared.into_iter().filter_map(|(key, what)| {
        Some((node.get(key)?.text_value()?.strip_prefix("service:")?.to_owned(), what))
    }));
    for (name, what) in uses {
        if let Some(need) = needs.get_mut(&name).filter(|need| !need.uses.contains(&what)) {
            need.uses.push(what);
        }
    }
    needs
}

fn port(node: &Node) -> Option<Port> {
    Some(Port {
        address: text(node, "host_ip"),
        published: node
            .get("published")
            .and_then(values::scalar)
            .as_deref()
            .and_then(super::ports::published),
        target: u16::try_from(values::whole(node.get("target")?)?).ok()?,
        protocol: text(node, "protocol").unwrap_or_else(|| "tcp".to_owned()),
    })
}

fn mount(mount: model::Mount) -> Mount {
    let source = match mount.kind {
        MountKind::Bind { source, .. } => Source::Bind(source.display().to_string()),
        MountKind::Volume { source } => Source::Volume(source),
        MountKind::Anonymous | MountKind::Borrowed { .. } => Source::Anonymous,
        MountKind::Tmpfs { .. } => Source::Tmpfs,
        MountKind::Image(ImageUse::Source(image)) => Source::Other("image".to_owned(), image.reference),
        MountKind::Image(ImageUse::Found(image)) => Source::Other("image".to_owned(), image.reference),
    };
    Mount { source, target: mount.target, read_only: mount.read_only }
}

/// A mount of a type that `up` has nothing for.
fn other_mount(node: &Node) -> Option<Mount> {
    let kind =
        text(node, "type").filter(|kind| !["bind", "volume", "tmpfs", "image"].contains(&kind.as_str()))?;
    let (source, target) = (text(node, "source").unwrap_or_default(), text(node, "target")?);
    Some(Mount {
        source: Source::Other(kind, source),
        target,
        read_only: values::flag(node.get("read_only")),
    })
}

/// `folder` is where it is when the file does not say, or says a name alone.
fn file(node: &Node, folder: &str) -> Option<FileMount> {
    let source = text(node, "source")?;
    let target = text(node, "target").unwrap_or_else(|| source.clone());
    let target = if target.starts_with('/') { target } else { format!("{folder}{target}") };
    Some(FileMount { source, target })
}

fn network(name: &str, node: &Node) -> Network {
    let pools = node.get("ipam").map(|ipam| list(ipam, "config")).unwrap_or_default();
    Network {
        name: name.to_owned(),
        external: is_external(node),
        internal: values::flag(node.get("internal")),
        driver: text(node, "driver").unwrap_or_else(|| "bridge".to_owned()),
        subnets: pools.iter().filter_map(|pool| text(pool, "subnet")).collect(),
    }
}

fn volume(name: &str, node: &Node) -> Volume {
    let driver = text(node, "driver").unwrap_or_else(|| "local".to_owned());
    Volume { name: name.to_owned(), external: is_external(node), driver }
}

fn content(key: &str, node: &Node) -> Content {
    if is_external(node) {
        return Content::External(text(node, "name").unwrap_or_else(|| key.to_owned()));
    }
    let found = [
        text(node, "file").map(Content::File),
        text(node, "environment").map(Content::Variable),
        node.get("content").map(|_| Content::Inline),
    ];
    found.into_iter().flatten().next().unwrap_or(Content::Unknown)
}
