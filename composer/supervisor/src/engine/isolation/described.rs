//! What a container gets for the devices that their vendors describe ([`crate::host::cdi`]).

use composer_sandbox::{ContainerSpec, HookSpec, HooksSpec, MountKind, MountSpec, Propagation, Recursion};
use composer_stack::{Device, Service};

use super::super::start::{Result, StartError};
use crate::host::cdi::{self, Edits, Mount};

/// What a service's requests ask for.
pub fn edits(service: &Service) -> Result<Edits> {
    cdi::edits(&service.isolation.device_requests).map_err(|(at, why)| StartError {
        at: ["services".to_owned(), service.name.clone()].into_iter().chain(at).collect(),
        ..StartError::new(why)
    })
}

/// The nodes, each with its owner and permissions where they are not those of the host's.
pub fn nodes(edits: &Edits) -> impl Iterator<Item = (Device, &cdi::DeviceNode)> {
    edits.device_nodes.iter().map(|node| {
        let device = Device {
            source: node.host_path.as_ref().unwrap_or(&node.path).clone(),
            target: node.path.to_string_lossy().into_owned(),
            permissions: node.permissions.clone().unwrap_or_else(|| "rwm".to_owned()),
        };
        (device, node)
    })
}

/// Adds all but nodes.
pub fn add(edits: Edits, name: &str, spec: &mut ContainerSpec) -> Result<()> {
    for word in &edits.env {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        spec.process.env.retain(|(other, _)| other != key);
        spec.process.env.push((key.to_owned(), value.to_owned()));
    }
    spec.process.groups.extend(edits.additional_gids.iter().map(u32::to_string));
    for mount in edits.mounts {
        // What the user mounts there is meant.
        if spec.mounts.iter().all(|other| other.target != mount.container_path) {
            spec.mounts.push(bind(mount)?);
        }
    }
    let hooks: Vec<HookSpec> = edits
        .hooks
        .into_iter()
        .map(|hook| HookSpec { path: hook.path, args: hook.args, env: hook.env, timeout: hook.timeout })
        .collect();
    if !hooks.is_empty() {
        spec.hooks = Some(HooksSpec { id: name.to_owned(), hooks });
    }
    Ok(())
}

/// Whether something is a program or a device there is for its files' permissions and the container's own limits to say:
/// of `nosuid`, `nodev` and `noexec` nothing is lost that would protect the host.
fn bind(mount: Mount) -> Result<MountSpec> {
    let (mut read_only, mut propagation, mut recursion) = (false, Propagation::Private, Recursion::Alone);
    for option in &mount.options {
        match option.as_str() {
            "ro" => read_only = true,
            "rw" => read_only = false,
            "rbind" => recursion = Recursion::Whole,
            "slave" | "rslave" => propagation = Propagation::Slave,
            "shared" | "rshared" => propagation = Propagation::Shared,
            "bind" | "private" | "rprivate" | "nosuid" | "nodev" | "noexec" | "exec" => {}
            other => {
                let path = mount.host_path.display();
                return Err(StartError::new(format!(
                    "mount {path}: compose does not know the option `{other}`"
                )));
            }
        }
    }
    let kind = MountKind::Bind { source: mount.host_path, propagation, recursion };
    Ok(MountSpec { target: mount.container_path, read_only, kind })
}
