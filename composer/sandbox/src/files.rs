//! Files of a container's own, in its memory: what secrets and configs hold is on no disk and in no other container.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::OwnedFd;

use rustix::fs::{Gid, Mode, OFlags, Uid};
use rustix::mount::MountAttrFlags;

use crate::failure::{Doing, Result};
use crate::mount;
use crate::spec::{ContainerSpec, FileSpec, MountKind};
use crate::tree::{Missing, Tree};
use crate::userns::{self, IdRange};

/// Its name in the folder that the container does not see.
const FOLDER: &str = "files";
/// A tmpfs is full by pages, whatever the length of a file.
const PAGE: u64 = 4096;

/// A folder for them in `hidden`, which is [`crate::dev::mount`]'s; `None` where there are none.
pub fn folder(spec: &ContainerSpec, hidden: &OwnedFd) -> Result<Option<OwnedFd>> {
    let files = spec.mounts.iter().filter_map(|mount| match &mount.kind {
        MountKind::File(file) => Some(file),
        MountKind::Bind { .. }
        | MountKind::Volume { .. }
        | MountKind::Image { .. }
        | MountKind::Tmpfs { .. } => None,
    });
    let mut size = 0;
    for file in files {
        let length = fs::metadata(&file.content).doing("read", file.content.display())?.len();
        // With a page of its own for what tmpfs keeps of it.
        size += length.next_multiple_of(PAGE) + PAGE;
    }
    if size == 0 {
        return Ok(None);
    }
    let size = (size + PAGE).to_string();
    let options = [("mode", Some("700")), ("size", Some(size.as_str()))];
    // A config may be a program.
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    let made = rustix::fs::mkdirat(hidden, FOLDER, Mode::RWXU).map_err(io::Error::from).and_then(|()| {
        let place = rustix::fs::openat(hidden, FOLDER, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        let folder = mount::filesystem("tmpfs", &options, attributes)?;
        mount::attach(&folder, place)?;
        Ok(folder)
    });
    made.map(Some).doing("make", "memory for its secrets and configs")
}

/// Makes one in that folder, under a name that no other there has, and mounts it.
pub fn mount(
    tree: &Tree,
    folder: &OwnedFd,
    (name, target): (&str, &str),
    spec: &FileSpec,
    userns: Option<IdRange>,
) -> Result<()> {
    let bytes = fs::read(&spec.content).doing("read", spec.content.display())?;
    let place = tree.ensure(target, Missing::File).doing("make a place to mount at", target)?;
    made(folder, name, &bytes, spec, userns)
        .and_then(|()| mount::copy(folder, name, false))
        .and_then(|copy| {
            mount::restrict(&copy, MountAttrFlags::MOUNT_ATTR_RDONLY, false)?;
            mount::attach(copy, place)
        })
        .doing("provide", target)
}

fn made(
    folder: &OwnedFd,
    name: &str,
    bytes: &[u8],
    spec: &FileSpec,
    userns: Option<IdRange>,
) -> io::Result<()> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::openat(folder, name, flags, Mode::RUSR | Mode::WUSR)?);
    file.write_all(bytes)?;
    let (uid, gid) = (userns::outside(userns, spec.uid)?, userns::outside(userns, spec.gid)?);
    rustix::fs::fchown(&file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
    // After the owner, whose change takes the set-user-ID bit.
    Ok(rustix::fs::fchmod(&file, Mode::from_raw_mode(spec.mode))?)
}
