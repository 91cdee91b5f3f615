//! What separates a service's programs from the host.

use std::collections::BTreeMap;
use std::path::Path;

use super::pairs;
use crate::capabilities::bare;
use crate::devices;
use crate::model::{Device, Isolation, Namespace, Seccomp, Security, Ulimit};
use crate::read;
use crate::security::{self, Item};
use crate::values;
use crate::yaml::Node;

/// `folder` is where relative paths begin.
pub(super) fn isolation(node: &Node, folder: &Path) -> Isolation {
    let words = |key: &str| node.get(key).and_then(values::texts).unwrap_or_default();
    let capabilities = |key: &str| {
        let mut names: Vec<String> = words(key).iter().map(|name| bare(name)).collect();
        names.sort();
        names.dedup();
        names
    };
    let is_host = |key: &str| node.get(key).and_then(Node::text_value) == Some("host");
    let whole = |key: &str| node.get(key).and_then(values::whole);
    Isolation {
        privileged: values::flag(node.get("privileged")),
        cap_add: capabilities("cap_add"),
        cap_drop: capabilities("cap_drop"),
        security_opt: security(&words("security_opt"), folder),
        group_add: words("group_add"),
        ulimits: ulimits(node.get("ulimits")),
        oom_score_adj: whole("oom_score_adj").and_then(|score| i32::try_from(score).ok()),
        // Zero is the default, as in Docker.
        shm_size: whole("shm_size").and_then(|size| u64::try_from(size).ok()).filter(|size| *size > 0),
        devices: node.get("devices").map(Node::items).unwrap_or_default().iter().filter_map(device).collect(),
        device_requests: devices::requests(node).into_iter().map(|(_, request)| request).collect(),
        device_cgroup_rules: words("device_cgroup_rules"),
        pid: namespace(node.get("pid")),
        ipc: namespace(node.get("ipc")),
        uts: is_host("uts"),
        cgroup: is_host("cgroup"),
        userns: node.get("x-userns").and_then(Node::text_value) == Some("auto"),
        annotations: pairs(node.get("annotations")),
    }
}

fn security(items: &[String], folder: &Path) -> Security {
    let mut security = Security::default();
    for item in items {
        match security::parse(item) {
            Ok(Item::NoNewPrivileges(on)) => security.no_new_privileges = on,
            Ok(Item::AllCalls) => security.seccomp = Seccomp::Unconfined,
            Ok(Item::BuiltinProfile) => security.seccomp = Seccomp::Builtin,
            // It could be read a moment ago. Nothing is no profile: the container does not start with it.
            Ok(Item::Profile(file)) => {
                let text = read::text(&security::path(file, folder)).unwrap_or_default();
                security.seccomp = Seccomp::Profile(compact(text));
            }
            Ok(Item::Unmasked) => security.unmasked = true,
            Ok(Item::Module(..)) | Err(_) => {}
        }
    }
    security
}

/// The same without spaces between its parts, as Docker Compose hands it on.
fn compact(text: String) -> String {
    let value: Option<serde_json::Value> = serde_json::from_str(&text).ok();
    value.map_or(text, |value| value.to_string())
}

/// -1 is no limit.
fn ulimits(node: Option<&Node>) -> BTreeMap<String, Ulimit> {
    let entries = node.into_iter().flat_map(Node::entries);
    let limits = entries.filter_map(|(name, entry)| {
        let limit = |key: &str| {
            let value = values::whole(entry.node.get(key).unwrap_or(&entry.node))?;
            Some(u64::try_from(value).ok())
        };
        Some((name.clone(), Ulimit { soft: limit("soft")?, hard: limit("hard")? }))
    });
    limits.collect()
}

fn device(node: &Node) -> Option<Device> {
    let text = |key: &str| values::text(node.get(key)).filter(|text| !text.is_empty());
    let source = text("source").filter(|_| node.get("source").and_then(devices::qualified).is_none())?;
    Some(Device {
        target: text("target").unwrap_or_else(|| source.clone()),
        source: source.into(),
        permissions: text("permissions").unwrap_or_else(|| "rwm".to_owned()),
    })
}

/// `private` and `shareable` are one of its own, which others may join.
fn namespace(node: Option<&Node>) -> Namespace {
    let text = node.and_then(Node::text_value).unwrap_or_default();
    match text.split_once(':') {
        Some(("service", name)) => return Namespace::Service(name.to_owned()),
        Some(("container", name)) => return Namespace::Container(name.to_owned()),
        Some(_) | None => {}
    }
    match text {
        "host" => Namespace::Host,
        "none" => Namespace::None,
        _ => Namespace::Own,
    }
}
