//! /proc, /sys and the container's own cgroup, with what engines hide in them (moby, `oci/defaults.go`).

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Dir, Mode, OFlags, openat};
use rustix::mount::MountAttrFlags;

use crate::failure::{Doing, Result};
use crate::spec::{ContainerSpec, NamespaceSpec};
use crate::tree::Tree;
use crate::{dev, mount};

/// In /proc: cannot be read.
const MASKED_PROC: [&str; 10] = [
    "acpi",
    "asound",
    "interrupts",
    "kcore",
    "keys",
    "latency_stats",
    "sched_debug",
    "scsi",
    "timer_list",
    "timer_stats",
];
/// In /sys: cannot be read.
const MASKED_SYS: [&str; 3] = ["devices/virtual/powercap", "firmware", "fs/selinux"];
/// In /proc: cannot be written.
const READ_ONLY: [&str; 5] = ["bus", "fs", "irq", "sys", "sysrq-trigger"];
/// In /proc, of the container's own network namespace, as Docker sets them: any user may serve low ports and send pings.
const SYSCTLS: [(&str, &str); 2] =
    [("sys/net/ipv4/ip_unprivileged_port_start", "0"), ("sys/net/ipv4/ping_group_range", "0 2147483647")];
/// In /sys: a folder for each processor.
const PROCESSORS: &str = "devices/system/cpu";

/// What is mounted. Its files are looked up below the mounts themselves: no link of the root filesystem's has a part in it.
pub struct Mounted {
    proc: Tree,
    sys: Tree,
}

/// Mounts them. A privileged container may write to /sys and to its own control group.
pub fn mount(tree: &Tree, spec: &ContainerSpec, unified: bool) -> Result<Mounted> {
    let mut attributes = mount::INERT;
    if !spec.process.confinement.privileged {
        attributes |= MountAttrFlags::MOUNT_ATTR_RDONLY;
    }
    let at_top = |name: &str, kind: &str, attributes| {
        let place = tree.top(name)?;
        let mount = mount::filesystem(kind, &[], attributes)?;
        mount::attach(&mount, place)?;
        Ok::<_, io::Error>(Tree::new(mount))
    };
    let proc = at_top("proc", "proc", mount::INERT).doing("mount", "/proc")?;
    let sys = at_top("sys", "sysfs", attributes).doing("mount", "/sys")?;
    cgroup(&sys, &spec.cgroup_tasks, unified, attributes).doing("mount", "/sys/fs/cgroup")?;
    Ok(Mounted { proc, sys })
}

/// Programs that size themselves by their limits (the JVM, Go) look here.
fn cgroup(sys: &Tree, tasks: &[PathBuf], unified: bool, attributes: MountAttrFlags) -> io::Result<()> {
    // A kernel without cgroups.
    let Some(place) = present(sys, "fs/cgroup")? else { return Ok(()) };
    if unified {
        // Its root is the container's own group: the cgroup namespace was made inside it.
        return mount::attach(mount::filesystem("cgroup2", &[], attributes)?, place);
    }
    let folders: Vec<(&str, &Path)> = tasks.iter().filter_map(|tasks| hierarchy(tasks)).collect();
    if folders.is_empty() {
        return Ok(());
    }
    let mount = mount::filesystem("tmpfs", &[("mode", Some("755"))], mount::INERT)?;
    mount::attach(&mount, place)?;
    let root = Tree::new(mount);
    for (name, group) in folders {
        let copy = mount::copy(CWD, group, false)?;
        mount::restrict(&copy, attributes, false)?;
        mount::attach(copy, root.top(name)?)?;
    }
    mount::restrict(root.root(), MountAttrFlags::MOUNT_ATTR_RDONLY, false)
}

/// The name under which a v1 hierarchy is mounted, and the group in it.
fn hierarchy(tasks: &Path) -> Option<(&str, &Path)> {
    let below = tasks.strip_prefix("/sys/fs/cgroup").ok()?;
    Some((below.components().next()?.as_os_str().to_str()?, tasks.parent()?))
}

/// Sets what has to be set in /proc, and then hides and locks what the host has in it, unless that is to be open. `hidden`
/// is [`dev::mount`]'s.
pub fn mask(mounted: &Mounted, spec: &ContainerSpec, hidden: &OwnedFd) -> Result<()> {
    let Mounted { proc, sys } = mounted;
    let confinement = &spec.process.confinement;
    for (key, value) in &spec.isolation.sysctls {
        let path = format!("sys/{}", key.replace('.', "/"));
        proc.find(&path)
            .and_then(|file| fs::write(crate::descriptor::path(&file), value))
            .doing("set", format_args!("{key} to {value}"))
            .map_err(|failure| failure.at(&["sysctls", key]))?;
    }
    // Those of the host's network are the host's.
    let own = SYSCTLS.into_iter().filter(|_| spec.network == NamespaceSpec::Own);
    for (path, value) in own {
        let set = proc.find(path).and_then(|file| fs::write(crate::descriptor::path(&file), value));
        match set {
            // A kernel without IPv4, or older than the setting.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other.doing("set", format_args!("/proc/{path}"))?,
        }
    }
    if confinement.privileged || confinement.unmasked {
        return Ok(());
    }
    let mut covers = [None, None];
    for path in MASKED_PROC {
        hide(proc, path, hidden, &mut covers).doing("hide", format_args!("/proc/{path}"))?;
    }
    for path in MASKED_SYS {
        hide(sys, path, hidden, &mut covers).doing("hide", format_args!("/sys/{path}"))?;
    }
    for path in thermal(sys).doing("read", format_args!("/sys/{PROCESSORS}"))? {
        hide(sys, &path, hidden, &mut covers).doing("hide", format_args!("/sys/{path}"))?;
    }
    READ_ONLY
        .into_iter()
        .try_for_each(|path| lock(proc, path).doing("make read-only", format_args!("/proc/{path}")))
}

/// How often each processor has been too hot: it tells one container of another's work. One that is offline has none.
fn thermal(sys: &Tree) -> io::Result<Vec<String>> {
    let Some(folder) = present(sys, PROCESSORS)? else { return Ok(Vec::new()) };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut found = Vec::new();
    for entry in Dir::new(openat(folder, ".", flags, Mode::empty())?)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy();
        let number = name.strip_prefix("cpu").unwrap_or_default();
        if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) {
            found.push(format!("{PROCESSORS}/{name}/thermal_throttle"));
        }
    }
    Ok(found)
}

/// What the kernel has at a path; `None` where it has no such file. Whatever else keeps from it is an error: what would
/// be masked would lie open.
fn present(tree: &Tree, path: &str) -> io::Result<Option<OwnedFd>> {
    match tree.find(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

/// Makes read-only what is at a path.
fn lock(proc: &Tree, path: &str) -> io::Result<()> {
    let Some(place) = present(proc, path)? else { return Ok(()) };
    let copy = mount::copy(&place, "", true)?;
    mount::restrict(&copy, mount::INERT | MountAttrFlags::MOUNT_ATTR_RDONLY, true)?;
    mount::attach(copy, place)
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
