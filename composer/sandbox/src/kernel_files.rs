//! /proc, /sys and the container's own cgroup, with what engines hide in them (moby, `oci/defaults.go`).

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::CWD;
use rustix::mount::MountAttrFlags;

use crate::failure::{Doing, Result};
use crate::spec::{ContainerSpec, NamespaceSpec};
use crate::tree::{Missing, Tree};
use crate::{dev, mount};

/// Cannot be read.
const MASKED: [&str; 13] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    "/sys/fs/selinux",
];
/// Cannot be written.
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];
/// Of the container's own network namespace, as Docker sets them: any user may serve low ports and send pings.
const SYSCTLS: [(&str, &str); 2] = [
    ("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0"),
    ("/proc/sys/net/ipv4/ping_group_range", "0 2147483647"),
];

/// Mounts them. A privileged container may write to /sys and to its own control group.
pub fn mount(tree: &Tree, spec: &ContainerSpec, unified: bool) -> Result<()> {
    let mut attributes = mount::INERT;
    if !spec.process.confinement.privileged {
        attributes |= MountAttrFlags::MOUNT_ATTR_RDONLY;
    }
    let proc = tree.ensure("/proc", Missing::Folder).and_then(|place| {
        let mount = mount::filesystem("proc", &[], mount::INERT)?;
        mount::attach(&mount, place)
    });
    proc.doing("mount", "/proc")?;
    let sys = tree.ensure("/sys", Missing::Folder).and_then(|place| {
        let mount = mount::filesystem("sysfs", &[], attributes)?;
        mount::attach(&mount, place)
    });
    sys.doing("mount", "/sys")?;
    cgroup(tree, &spec.cgroup_tasks, unified, attributes).doing("mount", "/sys/fs/cgroup")
}

/// Programs that size themselves by their limits (the JVM, Go) look here.
fn cgroup(tree: &Tree, tasks: &[PathBuf], unified: bool, attributes: MountAttrFlags) -> io::Result<()> {
    let place = match tree.find("/sys/fs/cgroup") {
        // A kernel without cgroups.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    if unified {
        // Its root is the container's own group: the cgroup namespace was made inside it.
        return mount::attach(mount::filesystem("cgroup2", &[], attributes)?, place);
    }
    let folders: Vec<(&Path, &Path)> = tasks.iter().filter_map(|tasks| hierarchy(tasks)).collect();
    if folders.is_empty() {
        return Ok(());
    }
    let root = mount::filesystem("tmpfs", &[("mode", Some("755"))], mount::INERT)?;
    mount::attach(&root, place)?;
    for (name, group) in folders {
        let copy = mount::copy(CWD, group, false)?;
        mount::restrict(&copy, attributes, false)?;
        mount::attach(copy, tree.ensure(Path::new("/sys/fs/cgroup").join(name), Missing::Folder)?)?;
    }
    mount::restrict(&root, MountAttrFlags::MOUNT_ATTR_RDONLY, false)
}

/// The name under which a v1 hierarchy is mounted, and the group in it.
fn hierarchy(tasks: &Path) -> Option<(&Path, &Path)> {
    let below = tasks.strip_prefix("/sys/fs/cgroup").ok()?;
    Some((Path::new(below.components().next()?.as_os_str()), tasks.parent()?))
}

/// Sets what has to be set in /proc, and then hides and locks what the host has in it, unless that is to be open. `hidden`
/// is [`dev::mount`]'s.
pub fn mask(tree: &Tree, spec: &ContainerSpec, hidden: &OwnedFd) -> Result<()> {
    let confinement = &spec.process.confinement;
    for (key, value) in &spec.isolation.sysctls {
        let path = format!("/proc/sys/{}", key.replace('.', "/"));
        let file = tree.find(&path).doing("find the kernel parameter", key)?;
        fs::write(crate::descriptor::path(&file), value).doing("set", format_args!("{key} to {value}"))?;
    }
    // Those of the host's network are the host's.
    let own = SYSCTLS.into_iter().filter(|_| spec.network == NamespaceSpec::Own);
    for (path, value) in own {
        let set = tree.find(path).and_then(|file| fs::write(crate::descriptor::path(&file), value));
        match set {
            // A kernel without IPv4, or older than the setting.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other.doing("set", path)?,
        }
    }
    if confinement.privileged || confinement.unmasked {
        return Ok(());
    }
    let mut covers = [None, None];
    for path in MASKED {
        hide(tree, path, hidden, &mut covers).doing("hide", path)?;
    }
    for path in READ_ONLY {
        let Some(place) = present(tree, path).doing("make read-only", path)? else {
            continue;
        };
        mount::copy(&place, "", true)
            .and_then(|copy| {
                mount::restrict(&copy, mount::INERT | MountAttrFlags::MOUNT_ATTR_RDONLY, true)?;
                mount::attach(copy, place)
            })
            .doing("make read-only", path)?;
    }
    Ok(())
}

fn present(tree: &Tree, path: &str) -> io::Result<Option<OwnedFd>> {
    match tree.find(path) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        other => other.map(Some),
    }
}

/// Covers a file with the null device, a folder with an empty one. The first cover of either kind is kept in `covers`:
/// the others are copies of it, read-only as it is.
fn hide(tree: &Tree, path: &str, hidden: &OwnedFd, covers: &mut [Option<OwnedFd>; 2]) -> io::Result<()> {
    let Some(place) = present(tree, path)? else {
        return Ok(());
    };
    let is_folder = rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(&place)?.st_mode).is_dir();
    let cover = &mut covers[usize::from(is_folder)];
    if let Some(cover) = cover {
        return mount::attach(mount::copy(cover, "", false)?, place);
    }
    let (name, attributes) =
        if is_folder { (dev::EMPTY, mount::INERT) } else { (dev::NULL, MountAttrFlags::empty()) };
    let cover = cover.insert(mount::copy(hidden, name, false)?);
    mount::restrict(&*cover, attributes | MountAttrFlags::MOUNT_ATTR_RDONLY, false)?;
    mount::attach(cover, place)
}
