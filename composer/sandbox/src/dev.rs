//! /dev: the few devices that programs count on.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::mount::MountAttrFlags;

use crate::failure::{Doing, Result};
use crate::mount;
use crate::tree::{Missing, Tree, link, on_host};

/// Devices taken from the host.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
/// Links in /dev.
const LINKS: [(&str, &str); 6] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("core", "/proc/kcore"),
    ("ptmx", "pts/ptmx"),
];
/// Group 5 is `tty` on every distribution; grantpt(3) expects its terminals to belong to it.
const DEVPTS: [(&str, Option<&str>); 4] =
    [("newinstance", None), ("ptmxmode", Some("0666")), ("mode", Some("0620")), ("gid", Some("5"))];

/// Mounts /dev.
///
/// Its devices are mounts of the host's, on a filesystem where device nodes do not work: a container may make nodes
/// (CAP_MKNOD) but gets no further device by it.
pub fn mount(tree: &Tree) -> Result<()> {
    let nosuid = MountAttrFlags::MOUNT_ATTR_NOSUID;
    let nodev = nosuid | MountAttrFlags::MOUNT_ATTR_NODEV;
    let nothing = nosuid | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let dev = mount::filesystem("tmpfs", &[("mode", Some("755")), ("size", Some("65536k"))], nodev)
        .and_then(|dev| mount::attach(&dev, tree.ensure("/dev", Missing::Folder)?).map(|()| dev))
        .doing("mount", "/dev")?;
    for device in DEVICES {
        let source = Path::new("/dev").join(device);
        node(&dev, device)
            .and_then(|place| mount::attach(mount::copy(rustix::fs::CWD, &source, false)?, place))
            .doing("provide", source.display())?;
    }
    for (name, to) in LINKS {
        link(&dev, name, to).doing("make", format_args!("/dev/{name}"))?;
    }
    folder(&dev, "pts")
        .and_then(|place| mount::attach(mount::filesystem("devpts", &DEVPTS, nothing)?, place))
        .doing("mount", "/dev/pts")?;
    folder(&dev, "shm")
        .and_then(|place| {
            let options = [("mode", Some("1777")), ("size", Some("65536k"))];
            mount::attach(mount::filesystem("tmpfs", &options, mount::INERT)?, place)
        })
        .doing("mount", "/dev/shm")?;
    folder(&dev, "mqueue")
        .and_then(|place| mount::attach(mount::filesystem("mqueue", &[], mount::INERT)?, place))
        .doing("mount", "/dev/mqueue")
}

fn node(dev: &OwnedFd, name: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(dev, name, flags, Mode::from_raw_mode(0o644))?)
}

fn folder(dev: &OwnedFd, name: &str) -> io::Result<OwnedFd> {
    rustix::fs::mkdirat(dev, name, Mode::from_raw_mode(0o755))?;
    Ok(rustix::fs::openat(dev, name, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?)
}

/// Makes a terminal of this container its console.
pub fn console(terminal: &Path) -> Result<()> {
    let place = std::fs::File::create("/dev/console").doing("make", "/dev/console")?;
    on_host(terminal)
        .and_then(|terminal| mount::attach(mount::copy(&terminal, "", false)?, &place))
        .doing("mount", "/dev/console")
}
