//! /dev: the few devices that programs count on, none of them the host's own node.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid, chownat, fstat, makedev, mknodat};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use crate::failure::{Doing, Result, StartFailure};
use crate::mount;
use crate::spec::{ContainerSpec, DeviceSpec, ShmSpec};
use crate::tree::{Missing, Tree, inside, link};
use crate::userns::{self, IdRange};

/// Devices by their numbers (null(4), full(4), random(4), tty(4)).
const DEVICES: [(&str, u32, u32); 6] =
    [(NULL, 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];
/// Stands for a file that must not be read.
pub const NULL: &str = "null";
/// Stands for a folder that must not be read.
pub const EMPTY: &str = "empty";
/// Links in /dev.
const LINKS: [(&str, &str); 6] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("core", "/proc/kcore"),
    ("ptmx", "pts/ptmx"),
];
/// `tty` on every distribution; grantpt(3) expects its terminals to belong to it.
const TTY: u32 = 5;

/// Mounts /dev, and returns a folder which the container itself does not see: of [`NULL`], [`EMPTY`], and what else is
/// its own and has to be mounted file by file.
///
/// The nodes are the container's own: what its root does to their permissions does not reach the host. They lie in
/// that folder, and each is mounted into a /dev where device nodes do not work: a container may make further nodes
/// (CAP_MKNOD) but gets no device by it, unless its nodes are open. `shm` is another's /dev/shm.
pub fn mount(tree: &Tree, spec: &ContainerSpec, shm: Option<OwnedFd>) -> Result<OwnedFd> {
    let nosuid = MountAttrFlags::MOUNT_ATTR_NOSUID;
    let nodev = nosuid | MountAttrFlags::MOUNT_ATTR_NODEV;
    let nothing = nosuid | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    // Below /dev, where nothing reaches it: before Linux 6.15 no part of a mount that is attached nowhere can be copied.
    let hidden = mount::filesystem("tmpfs", &[("mode", Some("755")), ("size", Some("1m"))], nosuid)
        .and_then(|hidden| mount::attach(&hidden, tree.top("dev")?).map(|()| hidden))
        .and_then(|hidden| make_nodes(&hidden).map(|()| hidden))
        .doing("make", "devices")?;
    let attributes = if spec.isolation.open_nodes { nosuid } else { nodev };
    let dev = mount::filesystem("tmpfs", &[("mode", Some("755")), ("size", Some("65536k"))], attributes)
        .and_then(|dev| mount::attach(&dev, &hidden).map(|()| dev))
        .doing("mount", "/dev")?;
    for (device, ..) in DEVICES {
        place(&dev, device)
            .and_then(|place| mount::attach(mount::copy(&hidden, device, false)?, place))
            .doing("provide", format_args!("/dev/{device}"))?;
    }
    for (name, to) in LINKS {
        link(&dev, name, to).doing("make", format_args!("/dev/{name}"))?;
    }
    terminals(&dev, spec.userns, nothing).doing("mount", "/dev/pts")?;
    shared_memory(&dev, spec.isolation.shm, shm).doing("mount", "/dev/shm")?;
    folder(&dev, "mqueue")
        .and_then(|place| mount::attach(mount::filesystem("mqueue", &[], mount::INERT)?, place))
        .doing("mount", "/dev/mqueue")?;
    Ok(hidden)
}

fn terminals(dev: &OwnedFd, userns: Option<IdRange>, attributes: MountAttrFlags) -> io::Result<()> {
    let group = userns::outside(userns, TTY)?.to_string();
    let options = [
        ("newinstance", None),
        ("ptmxmode", Some("0666")),
        ("mode", Some("0620")),
        ("gid", Some(group.as_str())),
    ];
    mount::attach(mount::filesystem("devpts", &options, attributes)?, folder(dev, "pts")?)
}

fn shared_memory(dev: &OwnedFd, own: ShmSpec, other: Option<OwnedFd>) -> io::Result<()> {
    let mounted = match (other, own) {
        (Some(other), _) => other,
        (None, ShmSpec::None) => return Ok(()),
        (None, ShmSpec::Bytes(size)) => {
            let size = size.to_string();
            let options = [("mode", Some("1777")), ("size", Some(size.as_str()))];
            mount::filesystem("tmpfs", &options, mount::INERT)?
        }
    };
    mount::attach(mounted, folder(dev, "shm")?)
}

/// Makes device nodes that the user asks for, after all that is mounted: in what is mounted, they work where that does
/// not refuse it.
pub fn provide(tree: &Tree, devices: &[DeviceSpec], userns: Option<IdRange>) -> Result<()> {
    let mask = rustix::process::umask(Mode::empty());
    let made = devices
        .iter()
        .try_for_each(|device| node(tree, device, userns).doing("make the device", device.target.display()));
    rustix::process::umask(mask);
    made
}

fn node(tree: &Tree, device: &DeviceSpec, userns: Option<IdRange>) -> io::Result<()> {
    let parent = device.target.parent().unwrap_or(Path::new("/"));
    let name = device.target.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let parent = tree.ensure(parent, Missing::Folder)?;
    let kind = FileType::from_raw_mode(device.mode);
    match mknodat(&parent, name, kind, Mode::from_raw_mode(device.mode & 0o7777), device.device) {
        Ok(()) => {}
        Err(Errno::EXIST) => {
            let there = fstat(tree.find(&device.target)?)?;
            let is_it = FileType::from_raw_mode(there.st_mode) == kind && there.st_rdev == device.device;
            return if is_it { Ok(()) } else { Err(Errno::EXIST.into()) };
        }
        Err(errno) => return Err(errno.into()),
    }
    let (uid, gid) = (userns::outside(userns, device.owner.0)?, userns::outside(userns, device.owner.1)?);
    let owner = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
    Ok(chownat(&parent, name, owner.0, owner.1, AtFlags::SYMLINK_NOFOLLOW)?)
}

fn make_nodes(hidden: &OwnedFd) -> io::Result<()> {
    let everybody = Mode::from_raw_mode(0o666);
    let mask = rustix::process::umask(Mode::empty());
    let made = DEVICES.into_iter().try_for_each(|(name, major, minor)| {
        mknodat(hidden, name, FileType::CharacterDevice, everybody, makedev(major, minor))
    });
    rustix::process::umask(mask);
    made?;
    Ok(rustix::fs::mkdirat(hidden, EMPTY, Mode::from_raw_mode(0o755))?)
}

/// The container's own device in place of the host's that a stream is: through that one its root could change the
/// permissions of the host's. To be called inside the container.
pub fn own(stream: &OwnedFd) -> Result<Option<OwnedFd>> {
    let device = device(stream).doing("look at", "a standard stream")?;
    // Whoever has a terminal as /dev/tty means theirs.
    let Some((name, ..)) = DEVICES
        .into_iter()
        .find(|(name, major, minor)| *name != "tty" && device == Some(makedev(*major, *minor)))
    else {
        return Ok(None);
    };
    let path = Path::new("/dev").join(name);
    let own = inside(&path, OFlags::RDWR | OFlags::NOCTTY).doing("open", path.display())?;
    if self::device(&own).doing("look at", path.display())? != device {
        return Err(StartFailure::because("open", path.display(), "the container has something else there"));
    }
    Ok(Some(own))
}

fn device(fd: &OwnedFd) -> io::Result<Option<u64>> {
    let stat = fstat(fd)?;
    Ok(FileType::from_raw_mode(stat.st_mode).is_char_device().then_some(stat.st_rdev))
}

fn place(dev: &OwnedFd, name: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(dev, name, flags, Mode::from_raw_mode(0o644))?)
}

fn folder(dev: &OwnedFd, name: &str) -> io::Result<OwnedFd> {
    rustix::fs::mkdirat(dev, name, Mode::from_raw_mode(0o755))?;
    Ok(rustix::fs::openat(dev, name, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?)
}

/// Makes a terminal of this container its console. To be called inside the container, where something else may lie over
/// /dev: what is there is looked at and mounted on, not opened.
pub fn console(terminal: &OwnedFd) -> Result<()> {
    const PATH: &str = "/dev/console";
    let made = inside("/dev", OFlags::PATH | OFlags::DIRECTORY)
        .and_then(|dev| match place(&dev, "console") {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                Ok(rustix::fs::openat(&dev, "console", flags, Mode::empty())?)
            }
            other => other,
        })
        .doing("make", PATH)?;
    let kind = FileType::from_raw_mode(fstat(&made).doing("look at", PATH)?.st_mode);
    if !kind.is_file() && !kind.is_char_device() {
        return Err(StartFailure::because("make", PATH, "the container has something else there"));
    }
    mount::copy(terminal, "", false).and_then(|copy| mount::attach(copy, &made)).doing("mount", PATH)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn only_devices_are_replaced() {
        let null: OwnedFd = File::open("/dev/null").unwrap().into();
        let own = own(&null).unwrap().unwrap();
        assert_ne!(own.as_raw_fd(), null.as_raw_fd());
        assert_eq!(device(&own).unwrap(), Some(makedev(1, 3)));
        let file: OwnedFd = File::open("/proc/self/exe").unwrap().into();
        assert!(super::own(&file).unwrap().is_none());
        let (pipe, _end) = nix::unistd::pipe().unwrap();
        assert!(super::own(&pipe).unwrap().is_none());
    }
}
