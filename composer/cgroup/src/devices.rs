//! Which devices a group's processes may use: the `devices` controller of v1 (cgroup-v1/devices.rst); on v2 a program
//! that is attached to the group (cgroup-v2.rst, "Device controller").
//!
//! On v1 that is a hierarchy of its own, in which a group has a directory only where devices are limited, so that
//! starting costs nothing elsewhere.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::hierarchy::{Layout, Other};
use crate::{Error, bpf, control, v1};

/// A device, or many, and what may be done with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceRule {
    /// Block or character devices; both where absent.
    pub kind: Option<DeviceKind>,
    /// The first number; any where absent.
    pub major: Option<u32>,
    /// The second number; any where absent.
    pub minor: Option<u32>,
    /// Reading, writing and making it, of `r`, `w` and `m`.
    pub access: String,
}

/// Of which kind a device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DeviceKind {
    /// A disk or the like.
    Block,
    /// A terminal or the like.
    Character,
}

/// What a program for one device asks for, bit by bit (linux/bpf.h, `BPF_DEVCG_ACC_*`).
const ACCESS: [(char, u32); 3] = [('m', 1), ('r', 2), ('w', 4)];

/// Whether groups whose devices are limited have a directory in this hierarchy.
pub(crate) fn is_place(other: &Other) -> bool {
    other.is_devices
}

/// The v1 file by which a process joins the group whose devices are limited.
pub(crate) fn tasks(layout: &Layout, path: &str) -> Option<PathBuf> {
    let other = layout.others.iter().find(|other| other.is_devices)?;
    Some(other.root.group(path).join("tasks"))
}

/// Refuses all devices but these.
pub(crate) fn limit(layout: &Layout, path: &str, rules: &[DeviceRule]) -> Result<(), Error> {
    if let Some(other) = layout.others.iter().find(|other| other.is_devices) {
        v1::make(&other.root, path)?;
        let group = other.root.group(path);
        control::write(&group.join("devices.deny"), "a")?;
        return rules
            .iter()
            .flat_map(written)
            .try_for_each(|rule| control::write(&group.join("devices.allow"), &rule));
    }
    let Some(root) = &layout.v2 else {
        return Err(Error::NoDevices);
    };
    let directory = root.group(path);
    bpf::attach(&directory, &merged(rules)).map_err(|source| Error::Devices { path: directory, source })
}

/// As v1 writes it; `a` there is all access to all devices, so a rule for both kinds is two.
fn written(rule: &DeviceRule) -> Vec<String> {
    let number = |number: Option<u32>| number.map_or_else(|| "*".to_owned(), |number| number.to_string());
    let kinds = match rule.kind {
        Some(DeviceKind::Block) => ["b", ""],
        Some(DeviceKind::Character) => ["c", ""],
        None => ["b", "c"],
    };
    let kinds = kinds.into_iter().filter(|kind| !kind.is_empty());
    kinds
        .map(|kind| format!("{kind} {}:{} {}", number(rule.major), number(rule.minor), rule.access))
        .collect()
}

/// What one rule lets through for a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Allowed {
    pub(crate) kind: Option<DeviceKind>,
    pub(crate) major: Option<u32>,
    pub(crate) minor: Option<u32>,
    pub(crate) access: u32,
}

/// One entry for each device: what two rules let through together may be asked for at once.
fn merged(rules: &[DeviceRule]) -> Vec<Allowed> {
    let mut found: BTreeMap<_, u32> = BTreeMap::new();
    for rule in rules {
        let bits = ACCESS.iter().filter(|(letter, _)| rule.access.contains(*letter));
        *found.entry((rule.kind, rule.major, rule.minor)).or_default() |=
            bits.map(|(_, bit)| bit).sum::<u32>();
    }
    let allowed =
        found.into_iter().map(|((kind, major, minor), access)| Allowed { kind, major, minor, access });
    allowed.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(kind: Option<DeviceKind>, major: Option<u32>, access: &str) -> DeviceRule {
        DeviceRule { kind, major, minor: None, access: access.to_owned() }
    }

    #[test]
    fn rules_as_v1_writes_them() {
        assert_eq!(written(&rule(Some(DeviceKind::Block), Some(8), "r")), ["b 8:* r"]);
        assert_eq!(written(&rule(None, None, "m")), ["b *:* m", "c *:* m"]);
    }

    #[test]
    fn what_two_rules_let_through_is_one() {
        let rules = [rule(None, Some(1), "r"), rule(None, Some(1), "wm"), rule(None, Some(2), "r")];
        let access: Vec<u32> = merged(&rules).iter().map(|allowed| allowed.access).collect();
        assert_eq!(access, [7, 2]);
    }
}
