//! Devices of the host's that a container has, and what it may do with them.

use std::path::Path;

use composer_cgroup::{DeviceKind, DeviceRule};
use composer_sandbox::DeviceSpec;
use composer_stack::Service;
use nix::sys::stat::{major, minor};

use super::super::start::{Result, StartError};
use super::{Devices, described};
use crate::host::cdi::Edits;
use crate::host::nodes;

/// What every container may do: make nodes, and use those that programs count on (runc, `specconv.AllowedDevices`).
const ALWAYS: [&str; 11] = [
    "c *:* m",
    "b *:* m",
    "c 1:3 rwm",
    "c 1:5 rwm",
    "c 1:7 rwm",
    "c 1:8 rwm",
    "c 1:9 rwm",
    "c 5:0 rwm",
    "c 5:1 rwm",
    "c 5:2 rwm",
    "c 136:* rwm",
];

/// Those that a service names.
pub fn asked(service: &Service, edits: Edits, limited: bool) -> Result<Devices> {
    let mut nodes = Vec::new();
    let mut rules: Vec<DeviceRule> = ALWAYS.iter().filter_map(|rule| parse(rule)).collect();
    for (place, rule) in service.isolation.device_cgroup_rules.iter().enumerate() {
        rules.push(parse(rule).ok_or_else(|| {
            StartError {
                at: ["services", &service.name, "device_cgroup_rules", &place.to_string()]
                    .map(str::to_owned)
                    .into(),
                ..StartError::new(format!("`{rule}` is not a rule for devices"))
            }
        })?);
    }
    let mut take = |found: Vec<DeviceSpec>, permissions: &str| {
        rules.extend(found.iter().map(|node| rule_of(node, permissions)));
        nodes.extend(found);
    };
    for (place, device) in service.isolation.devices.iter().enumerate() {
        let found = nodes::of(&device.source, Path::new(&device.target)).map_err(|why| StartError {
            at: ["services", &service.name, "devices", &place.to_string()].map(str::to_owned).into(),
            help: Some("`ls -l` shows a device with `c` or `b` before its permissions".to_owned()),
            ..StartError::new(format!("the device {}: {why}", device.source.display()))
        })?;
        take(found, &device.permissions);
    }
    for (device, node) in described::nodes(&edits) {
        let mut found = nodes::of(&device.source, Path::new(&device.target)).map_err(|why| {
            StartError::new(format!("the described device {}: {why}", device.source.display()))
        })?;
        for own in &mut found {
            own.mode = node.file_mode.map_or(own.mode, |mode| own.mode & libc::S_IFMT | mode & 0o7777);
            own.owner = (node.uid.unwrap_or(own.owner.0), node.gid.unwrap_or(own.owner.1));
        }
        take(found, &device.permissions);
    }
    Ok(Devices { nodes, rules: limited.then_some(rules), edits })
}

fn rule_of(node: &DeviceSpec, permissions: &str) -> DeviceRule {
    let is_block = node.mode & libc::S_IFMT == libc::S_IFBLK;
    let number = |number: u64| u32::try_from(number).ok();
    DeviceRule {
        kind: Some(if is_block { DeviceKind::Block } else { DeviceKind::Character }),
        major: number(major(node.device)),
        minor: number(minor(node.device)),
        access: permissions.to_owned(),
    }
}

/// A rule as the file has it, `c 1:3 rwm`. A number that is none is not any.
fn parse(text: &str) -> Option<DeviceRule> {
    let mut words = text.split(' ');
    let kind = match words.next()? {
        "b" => Some(DeviceKind::Block),
        "c" => Some(DeviceKind::Character),
        _ => None,
    };
    let (major, minor) = words.next()?.split_once(':')?;
    let number = |text: &str| if text == "*" { Some(None) } else { text.parse().ok().map(Some) };
    Some(DeviceRule { kind, major: number(major)?, minor: number(minor)?, access: words.next()?.to_owned() })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn rules() {
        assert_eq!(ALWAYS.iter().filter_map(|rule| parse(rule)).count(), ALWAYS.len());
        let all = parse("a *:* rwm").unwrap();
        assert_eq!((all.kind, all.major, all.minor), (None, None, None));
        for beyond in ["c 1:99999999999 rwm", "c 4294967297:11 r"] {
            assert_eq!(parse(beyond), None, "{beyond}");
        }
        let null = nodes::of(Path::new("/dev/null"), Path::new("/dev/x")).unwrap();
        assert_eq!(Some(rule_of(&null[0], "r")), parse("c 1:3 r"));
    }
}
