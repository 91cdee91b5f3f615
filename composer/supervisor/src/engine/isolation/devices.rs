//! Devices of the host's that a container has.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use composer_cgroup::{DeviceKind, DeviceRule};
use composer_sandbox::DeviceSpec;
use composer_stack::{Device, Service};
use nix::sys::stat::{major, minor};

use super::super::start::{Result, StartError};
use super::Devices;

/// What containers have of their own in /dev.
const OWN: [&str; 7] = ["console", "fd", "mqueue", "ptmx", "pts", "shm", "core"];

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

/// All of the host's devices.
pub fn all() -> Result<Vec<DeviceSpec>> {
    let mut nodes = Vec::new();
    let dev = Path::new("/dev");
    below(dev, dev, &mut nodes).map_err(|error| StartError::doing("look at the host's devices", &error))?;
    Ok(nodes)
}

/// Those that a service names.
pub fn asked(service: &Service, limited: bool) -> Result<Devices> {
    let mut nodes = Vec::new();
    let mut rules: Vec<DeviceRule> = ALWAYS.iter().filter_map(|rule| parse(rule)).collect();
    rules.extend(service.isolation.device_cgroup_rules.iter().filter_map(|rule| parse(rule)));
    for (place, device) in service.isolation.devices.iter().enumerate() {
        let found = nodes_of(device).map_err(|why| StartError {
            at: ["services", &service.name, "devices", &place.to_string()].map(str::to_owned).into(),
            help: Some("`ls -l` shows a device with `c` or `b` before its permissions".to_owned()),
            ..StartError::new(format!("the device {}: {why}", device.source.display()))
        })?;
        rules.extend(found.iter().map(|node| rule_of(node, &device.permissions)));
        nodes.extend(found);
    }
    Ok(Devices { nodes, rules: limited.then_some(rules) })
}

fn nodes_of(device: &Device) -> std::result::Result<Vec<DeviceSpec>, String> {
    let target = Path::new(&device.target);
    let metadata = fs::metadata(&device.source).map_err(|error| error.to_string())?;
    if let Some(node) = node(&metadata, target.to_owned()) {
        return Ok(vec![node]);
    }
    if !metadata.is_dir() {
        return Err("it is no device".to_owned());
    }
    let mut nodes = Vec::new();
    below(&device.source, target, &mut nodes).map_err(|error| error.to_string())?;
    if nodes.is_empty() { Err("there is no device in this folder".to_owned()) } else { Ok(nodes) }
}

/// The devices in a folder and those below it, as they are to be below `target`.
fn below(folder: &Path, target: &Path, nodes: &mut Vec<DeviceSpec>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if OWN.iter().any(|own| name == *own) {
            continue;
        }
        // A device that has been taken away meanwhile is none.
        let Ok(metadata) = entry.metadata() else { continue };
        if metadata.is_dir() {
            below(&entry.path(), &target.join(&name), nodes)?;
        } else {
            nodes.extend(node(&metadata, target.join(&name)));
        }
    }
    Ok(())
}

fn node(metadata: &fs::Metadata, target: PathBuf) -> Option<DeviceSpec> {
    let kind = metadata.file_type();
    let (mode, device) = (metadata.mode(), metadata.rdev());
    let owner = (metadata.uid(), metadata.gid());
    (kind.is_char_device() || kind.is_block_device()).then_some(DeviceSpec { target, mode, device, owner })
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

/// A rule as the file has it, `c 1:3 rwm`, which has been checked.
fn parse(text: &str) -> Option<DeviceRule> {
    let mut words = text.split(' ');
    let kind = match words.next()? {
        "b" => Some(DeviceKind::Block),
        "c" => Some(DeviceKind::Character),
        _ => None,
    };
    let (major, minor) = words.next()?.split_once(':')?;
    Some(DeviceRule {
        kind,
        major: major.parse().ok(),
        minor: minor.parse().ok(),
        access: words.next()?.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(source: &str) -> Device {
        Device { source: source.into(), target: "/dev/x".to_owned(), permissions: "r".to_owned() }
    }

    #[test]
    fn devices_and_folders_of_devices() {
        let null = nodes_of(&device("/dev/null")).unwrap();
        assert_eq!(null.len(), 1);
        assert_eq!(null[0].target, Path::new("/dev/x"));
        let rule = rule_of(&null[0], "r");
        assert_eq!(Some(rule), parse("c 1:3 r"));
        assert!(nodes_of(&device("/etc/passwd")).unwrap_err().contains("no device"));
        assert!(nodes_of(&device("/no/such")).unwrap_err().contains("No such file"));
        assert!(nodes_of(&device("/etc/ssl")).unwrap_err().contains("no device in this folder"));
        let all = all().unwrap();
        assert!(all.iter().any(|node| node.target == Path::new("/dev/null")));
        assert!(all.iter().all(|node| !node.target.starts_with("/dev/pts")));
    }

    #[test]
    fn rules() {
        assert_eq!(ALWAYS.iter().filter_map(|rule| parse(rule)).count(), ALWAYS.len());
        let all = parse("a *:* rwm").unwrap();
        assert_eq!((all.kind, all.major, all.minor), (None, None, None));
    }
}
