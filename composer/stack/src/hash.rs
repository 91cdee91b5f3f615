//! A service's configuration as one number, and what differs between two of them.

use std::fmt::Write as _;

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::model::Service;

/// What is no configuration of a container: how many there are.
const COUNT: &str = "replicas";

/// What a running container takes over without noticing: limits are the kernel's to change, the others are read when
/// they are needed. By the model's names.
const IN_PLACE: [&str; 12] = [
    "attach",
    "bandwidth",
    "depends_on",
    "expose",
    "labels",
    "oom",
    "resources",
    "restart",
    "run",
    "stop_grace_period",
    "stop_signal",
    "watch",
];

/// The fields whose names in the model are not the file's.
const KEYS: [(&str, &str); 21] = [
    ("oom", "x-oom"),
    ("watch", "develop"),
    ("rootfs", "x-rootfs"),
    ("run", "x-run"),
    ("mounts", "volumes"),
    ("network", "networks"),
    ("bandwidth", "x-bandwidth"),
    ("memory", "mem_limit"),
    ("memory_reservation", "mem_reservation"),
    ("memory_swap", "memswap_limit"),
    ("pids", "pids_limit"),
    ("cpu_reserved", "deploy.resources.reservations.cpus"),
    ("cpu_burst", "x-cpu-burst"),
    ("memory_high", "x-mem-high"),
    ("swappiness", "mem_swappiness"),
    ("cpu_idle", "x-cpu-idle"),
    ("cpuset_mems", "x-cpuset-mems"),
    ("cpus_exclusive", "x-cpus-exclusive"),
    ("io", "blkio_config"),
    ("hugetlb", "x-hugetlb"),
    ("storage_size", "storage_opt"),
];

/// SHA-256, in hexadecimal, over what of a service needs a container to be made anew when it changes: its canonical
/// JSON without `replicas` and without what a container takes over in place.
pub fn config_hash(service: &Service) -> String {
    let mut fields = fields(service);
    fields.retain(|field, _| field != COUNT && !IN_PLACE.contains(&field.as_str()));
    sha256(&Value::Object(fields).to_string())
}

/// What differs between the configuration a container has and the one it is to have, by the keys of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// What only a new container can have.
    pub anew: Vec<String>,
    /// What it takes over while it runs.
    pub in_place: Vec<String>,
}

impl Changes {
    /// Between two configurations of one service.
    pub fn between(old: &Service, new: &Service) -> Self {
        let mut changes = Self::default();
        if old == new {
            return changes;
        }
        let (old, new) = (fields(old), fields(new));
        // One may leave out what the other has.
        let names = old.keys().chain(new.keys().filter(|name| !old.contains_key(*name)));
        for name in names.filter(|name| *name != COUNT && old.get(*name) != new.get(*name)) {
            let in_place = IN_PLACE.contains(&name.as_str());
            match (old.get(name), new.get(name)) {
                (Some(Value::Object(old)), Some(Value::Object(new))) if name == "resources" => {
                    // One may leave out what the other has.
                    let names = new.keys().chain(old.keys().filter(|limit| !new.contains_key(*limit)));
                    let limits = names.filter(|limit| old.get(*limit) != new.get(*limit));
                    changes.in_place.extend(limits.map(|limit| key(limit)));
                }
                (_, Some(Value::Object(rootfs))) if name == "rootfs" && is_image(rootfs) => {
                    changes.anew.push("image".to_owned());
                }
                _ if in_place => changes.in_place.push(key(name)),
                _ => changes.anew.push(key(name)),
            }
        }
        changes
    }
}

/// Whether a root filesystem is that of an image.
fn is_image(rootfs: &Map<String, Value>) -> bool {
    ["image", "source"].iter().any(|kind| rootfs.contains_key(*kind))
}

/// The key of the file for a field of the model.
pub(crate) fn key(field: &str) -> String {
    KEYS.iter().find(|(name, _)| *name == field).map_or(field, |(_, key)| key).to_owned()
}

/// Every map of the model has string keys, so writing it cannot fail.
fn fields(service: &Service) -> Map<String, Value> {
    match serde_json::to_value(service) {
        Ok(Value::Object(fields)) => fields,
        Ok(_) | Err(_) => Map::new(),
    }
}

/// SHA-256 of a text, in hexadecimal.
pub fn sha256(text: &str) -> String {
    sha256_of(text.as_bytes())
}

/// SHA-256 of bytes, in hexadecimal.
pub(crate) fn sha256_of(bytes: &[u8]) -> String {
    let mut hex = String::with_capacity(64);
    for byte in Sha256::digest(bytes) {
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}
