//! What is mounted over the root filesystem: the user's files and folders, and those in /etc that are made for a
//! container.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::MountAttrFlags;

use crate::failure::{Doing, Result, StartFailure};
use crate::mount;
use crate::spec::{ContainerSpec, MountKind, MountSpec};
use crate::tree::{Missing, Tree};

/// Files in /etc about its name and its network.
const GENERATED: [&str; 3] = ["hosts", "resolv.conf", "hostname"];

#[derive(Debug, PartialEq)]
enum Mount<'a> {
    Generated(&'static str),
    User(&'a MountSpec),
}

impl Mount<'_> {
    fn target(&self) -> PathBuf {
        match self {
            Self::Generated(name) => Path::new("/etc").join(name),
            Self::User(mount) => PathBuf::from(&mount.target),
        }
    }
}

/// Mounts all of it. `hidden` is [`crate::dev::mount`]'s.
pub fn mount(tree: &Tree, spec: &ContainerSpec, hidden: &OwnedFd) -> Result<()> {
    ordered(&spec.mounts).into_iter().try_for_each(|mount| match mount {
        Mount::Generated(name) => generated_file(tree, spec, hidden, name),
        Mount::User(mount) => user_mount(tree, mount),
    })
}

/// What lies inside another comes after it; what the user mounts in a generated file's place replaces it.
fn ordered(users: &[MountSpec]) -> Vec<Mount<'_>> {
    let mut mounts: Vec<Mount<'_>> = GENERATED.into_iter().map(Mount::Generated).collect();
    mounts.retain(|file| users.iter().all(|user| Path::new(&user.target) != file.target()));
    mounts.extend(users.iter().map(Mount::User));
    mounts.sort_by_cached_key(|mount| mount.target().components().count());
    mounts
}

/// Such a file, which is the container's own: what it writes there is limited by `hidden`'s size.
fn generated_file(tree: &Tree, spec: &ContainerSpec, hidden: &OwnedFd, name: &'static str) -> Result<()> {
    let target = Mount::Generated(name).target();
    let place = match tree.ensure(&target, Missing::File) {
        // The user's /etc is read-only and has no such file: so it shall be.
        Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => return Ok(()),
        other => other.doing("make", target.display())?,
    };
    let text = match name {
        "hosts" => spec.hosts.clone(),
        "resolv.conf" => spec.resolv_conf.clone(),
        _ => format!("{}\n", spec.hostname),
    };
    let mut attributes = MountAttrFlags::MOUNT_ATTR_NODEV;
    if spec.read_only {
        attributes |= MountAttrFlags::MOUNT_ATTR_RDONLY;
    }
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    rustix::fs::openat(hidden, name, flags, Mode::from_raw_mode(0o644))
        .map_err(io::Error::from)
        .and_then(|file| File::from(file).write_all(text.as_bytes()))
        .and_then(|()| mount::copy(hidden, name, false))
        .and_then(|copy| mount::restrict(&copy, attributes, false).map(|()| copy))
        .and_then(|copy| mount::attach(copy, place))
        .doing("provide", target.display())
}

/// A file or folder of the host's at a path of the container's.
fn bind(tree: &Tree, source: &Path, target: &str, read_only: bool) -> Result<()> {
    let copy = mount::copy(CWD, source, true).doing("mount", source.display())?;
    let is_folder = source.is_dir();
    let mut attributes = MountAttrFlags::empty();
    // Device nodes in a user's folder do not work; the host's /dev is meant.
    if !source.starts_with("/dev") {
        attributes |= MountAttrFlags::MOUNT_ATTR_NODEV;
    }
    if read_only {
        attributes |= MountAttrFlags::MOUNT_ATTR_RDONLY;
    }
    mount::restrict(&copy, attributes, true).doing("restrict the mount at", target)?;
    let place = tree.ensure(target, if is_folder { Missing::Folder } else { Missing::File });
    let place = place.doing("make a place to mount at", target)?;
    mount::attach(copy, place).map_err(|error| {
        let mut failure =
            StartFailure::system("mount", format_args!("{} at {target}", source.display()), &error);
        if error.raw_os_error() == Some(libc::ENOTDIR) {
            failure.message = "one is a file, the other a folder".to_owned();
        }
        failure
    })
}

fn user_mount(tree: &Tree, spec: &MountSpec) -> Result<()> {
    match &spec.kind {
        MountKind::Bind { source } => bind(tree, source, &spec.target, spec.read_only),
        MountKind::Tmpfs { size, mode } => {
            let size = size.map(|size| size.to_string());
            let mode = format!("{:o}", mode.unwrap_or(0o1777));
            let mut options = vec![("mode", Some(mode.as_str()))];
            options.extend(size.as_deref().map(|size| ("size", Some(size))));
            let mut attributes = mount::INERT;
            if spec.read_only {
                attributes |= MountAttrFlags::MOUNT_ATTR_RDONLY;
            }
            let place = tree.ensure(&spec.target, Missing::Folder).doing("make", &spec.target)?;
            mount::filesystem("tmpfs", &options, attributes)
                .and_then(|tmpfs| mount::attach(tmpfs, place))
                .doing("mount tmpfs at", &spec.target)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mounts(targets: &[&str]) -> Vec<MountSpec> {
        let kind = MountKind::Tmpfs { size: None, mode: None };
        targets
            .iter()
            .map(|target| MountSpec { target: (*target).to_owned(), read_only: false, kind: kind.clone() })
            .collect()
    }

    #[test]
    fn generated_files_lie_on_what_the_user_mounts_but_for_the_same_target() {
        let users = mounts(&["/etc/hosts/", "/a/b/c", "/etc", "/"]);
        let order: Vec<_> = ordered(&users).iter().map(Mount::target).collect();
        let expected = ["/", "/etc", "/etc/resolv.conf", "/etc/hostname", "/etc/hosts/", "/a/b/c"];
        let expected: Vec<_> = expected.into_iter().map(PathBuf::from).collect();
        assert_eq!(order, expected);
    }
}
