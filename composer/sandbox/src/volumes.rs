//! What is mounted over the root filesystem: the user's files and folders, and those in /etc that are made for a
//! container.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags};
use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::mount::MountAttrFlags;

use crate::failure::{Doing, Result, StartFailure};
use crate::spec::{ContainerSpec, MountKind, MountSpec, Propagation, Recursion};
use crate::tree::{Missing, Tree, on_host};
use crate::userns::Mapping;
use crate::{descriptor, files, fill, mount, overlay};

/// Files in /etc about its name and its network.
const GENERATED: [&str; 3] = ["hosts", "resolv.conf", "hostname"];

#[derive(Debug, PartialEq)]
enum Mount<'a> {
    Generated(&'static str),
    /// By its place among the user's.
    User(usize, &'a MountSpec),
}

impl Mount<'_> {
    fn target(&self) -> PathBuf {
        match self {
            Self::Generated(name) => Path::new("/etc").join(name),
            Self::User(_, mount) => PathBuf::from(&mount.target),
        }
    }
}

/// What mounts of the host's are passed on by: copies that are taken while they still are what the host has, for this
/// process's own are about to be made private. By place among the mounts.
pub fn passed_on(spec: &ContainerSpec) -> Result<Vec<Option<OwnedFd>>> {
    let copy = |mount: &MountSpec| match &mount.kind {
        MountKind::Bind { source, propagation, recursion } if *propagation != Propagation::Private => {
            let copy = mount::copy(CWD, source, *recursion != Recursion::Alone);
            copy.map(Some).doing("mount", source.display())
        }
        MountKind::Bind { .. }
        | MountKind::Volume { .. }
        | MountKind::Image { .. }
        | MountKind::Tmpfs { .. }
        | MountKind::File(_) => Ok(None),
    };
    spec.mounts.iter().map(copy).collect()
}

/// Mounts all of it. `hidden` is [`crate::dev::mount`]'s, and `passed_on` [`passed_on`]'s.
pub fn mount(
    tree: &Tree,
    spec: &ContainerSpec,
    hidden: &OwnedFd,
    mut passed_on: Vec<Option<OwnedFd>>,
    mapping: Option<&Mapping<'_>>,
) -> Result<()> {
    fill_all(tree, &spec.mounts, mapping)?;
    let files = files::folder(spec, hidden)?;
    ordered(&spec.mounts).into_iter().try_for_each(|mount| match mount {
        Mount::Generated(name) => generated_file(tree, spec, hidden, name),
        Mount::User(place, mount) => match (&mount.kind, &files) {
            (MountKind::File(file), Some(folder)) => {
                files::mount(tree, folder, (&place.to_string(), &mount.target), file, spec.userns)
            }
            _ => user_mount(tree, mount, passed_on.get_mut(place).and_then(Option::take), mapping),
        },
    })
}

/// Mounts what is the host's of it, where nothing runs: memory would be gone with the mount.
pub fn mount_at_rest(tree: &Tree, mounts: &[MountSpec]) -> Result<()> {
    fill_all(tree, mounts, None)?;
    ordered(mounts).into_iter().try_for_each(|mount| match mount {
        Mount::Generated(_) => Ok(()),
        Mount::User(_, mount) => match mount.kind {
            MountKind::Tmpfs { .. } | MountKind::File(_) => Ok(()),
            MountKind::Bind { .. } | MountKind::Volume { .. } | MountKind::Image { .. } => {
                user_mount(tree, mount, None, None)
            }
        },
    })
}

/// Fills volumes, before anything is mounted over what they get.
fn fill_all(tree: &Tree, mounts: &[MountSpec], mapping: Option<&Mapping<'_>>) -> Result<()> {
    for mount in mounts {
        if let MountKind::Volume { source, subpath: None, fill: Some(fill) } = &mount.kind {
            let folder = || match mapping {
                Some(_) => volume(source, None, mapping).map_err(io::Error::other),
                None => on_host(source),
            };
            fill::fill(tree, &mount.target, folder, fill).doing(
                "fill the volume at",
                format_args!("{} with what the root filesystem has there", mount.target),
            )?;
        }
    }
    Ok(())
}

/// What lies inside another comes after it; what the user mounts in a generated file's place replaces it.
fn ordered(users: &[MountSpec]) -> Vec<Mount<'_>> {
    let mut mounts: Vec<Mount<'_>> = GENERATED.into_iter().map(Mount::Generated).collect();
    mounts.retain(|file| users.iter().all(|user| Path::new(&user.target) != file.target()));
    mounts.extend(users.iter().enumerate().map(|(place, user)| Mount::User(place, user)));
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

/// How something of the host's is mounted.
struct Manner {
    read_only: bool,
    propagation: Propagation,
    recursion: Recursion,
}

/// Attaches what was copied from `shown` at a path of the container's.
fn bind(tree: &Tree, copy: OwnedFd, shown: &Path, target: &str, manner: &Manner) -> Result<()> {
    let is_folder = is_folder(&copy).doing("mount", shown.display())?;
    // Device nodes in a user's folder do not work; the host's /dev is meant.
    if !shown.starts_with("/dev") {
        mount::restrict(&copy, MountAttrFlags::MOUNT_ATTR_NODEV, true)
            .doing("restrict the mount at", target)?;
    }
    if manner.read_only {
        let all = manner.recursion == Recursion::Whole;
        mount::restrict(&copy, MountAttrFlags::MOUNT_ATTR_RDONLY, all)
            .doing("restrict the mount at", target)?;
    }
    let propagation = match manner.propagation {
        Propagation::Private => MsFlags::MS_PRIVATE,
        Propagation::Slave => MsFlags::MS_SLAVE,
        Propagation::Shared => MsFlags::MS_SHARED,
    };
    mount::propagate(&copy, propagation).doing("pass on what is mounted at", target)?;
    let place = tree.ensure(target, if is_folder { Missing::Folder } else { Missing::File });
    let place = place.doing("make a place to mount at", target)?;
    mount::attach(copy, place).map_err(|error| {
        let mut failure =
            StartFailure::system("mount", format_args!("{} at {target}", shown.display()), &error);
        if error.raw_os_error() == Some(libc::ENOTDIR) {
            failure.message = "one is a file, the other a folder".to_owned();
        }
        failure
    })
}

fn is_folder(at: &OwnedFd) -> io::Result<bool> {
    Ok(FileType::from_raw_mode(rustix::fs::fstat(at)?.st_mode).is_dir())
}

/// A copy of a volume's mount, or of the part of it that is wanted.
fn volume(source: &Path, subpath: Option<&Path>, mapping: Option<&Mapping<'_>>) -> Result<OwnedFd> {
    let shown = subpath.map_or(source.to_owned(), |subpath| source.join(subpath));
    let copy = match subpath {
        None => mount::copy(CWD, source, true),
        Some(subpath) => on_host(source)
            .and_then(|volume| Tree::new(volume).find(subpath))
            .and_then(|part| mount::copy(&part, "", true)),
    };
    let copy = copy.doing("mount", shown.display())?;
    map(&copy, true, &shown, mapping)?;
    Ok(copy)
}

/// Maps the owners of what a copy shows, where they are mapped.
fn map(copy: &OwnedFd, recursive: bool, shown: &Path, mapping: Option<&Mapping<'_>>) -> Result<()> {
    mapping.map_or(Ok(()), |mapping| mapping.apply(copy, recursive, shown.display()))
}

/// A mount of an image's files, or of the part of them that is wanted.
fn image(layers: &[PathBuf], subpath: Option<&Path>, mapping: Option<&Mapping<'_>>) -> Result<OwnedFd> {
    let Some((lowest, above)) = layers.split_first() else {
        let empty = mount::filesystem("tmpfs", &[("mode", Some("755"))], mount::INERT);
        return empty.doing("mount", "an image without files");
    };
    if above.is_empty() {
        // An overlay has two folders at least.
        return volume(lowest, subpath, mapping);
    }
    let folders = layers.iter().rev().map(|layer| {
        let folder = on_host(layer).doing("open the layer", layer.display())?;
        match mapping {
            Some(mapping) => mapping.layer(&folder, layer),
            None => Ok(folder),
        }
    });
    let folders = folders.collect::<Result<Vec<_>>>()?;
    let mounted = overlay::read_only(&folders.iter().collect::<Vec<_>>(), lowest);
    let mounted = mounted.doing("mount the layers of an image over", lowest.display())?;
    let Some(subpath) = subpath else { return Ok(mounted) };
    let part = || -> io::Result<OwnedFd> {
        // A part can be copied of what is mounted somewhere alone. Nobody but this process sees it there.
        mount::attach(&mounted, on_host(lowest)?)?;
        let part =
            Tree::new(mounted.try_clone()?).find(subpath).and_then(|part| mount::copy(&part, "", false));
        nix::mount::umount2(descriptor::path(&mounted).as_str(), MntFlags::MNT_DETACH)?;
        part
    };
    part().doing("mount", format_args!("{} of an image", subpath.display()))
}

fn user_mount(
    tree: &Tree,
    spec: &MountSpec,
    copy: Option<OwnedFd>,
    mapping: Option<&Mapping<'_>>,
) -> Result<()> {
    let MountSpec { target, read_only, kind } = spec;
    match kind {
        MountKind::Bind { source, propagation, recursion } => {
            let copy = match copy {
                Some(copy) => copy,
                None => mount::copy(CWD, source, *recursion != Recursion::Alone)
                    .doing("mount", source.display())?,
            };
            map(&copy, *recursion != Recursion::Alone, source, mapping)?;
            let manner = Manner { read_only: *read_only, propagation: *propagation, recursion: *recursion };
            bind(tree, copy, source, target, &manner)
        }
        MountKind::Volume { source, subpath, fill: _ } => {
            let copy = volume(source, subpath.as_deref(), mapping)?;
            let (propagation, recursion) = (Propagation::Private, Recursion::Whole);
            bind(tree, copy, source, target, &Manner { read_only: *read_only, propagation, recursion })
        }
        MountKind::Image { layers, subpath } => {
            let copy = image(layers, subpath.as_deref(), mapping)?;
            let (propagation, recursion) = (Propagation::Private, Recursion::Whole);
            let shown = layers.last().map_or(Path::new("/"), PathBuf::as_path);
            bind(tree, copy, shown, target, &Manner { read_only: true, propagation, recursion })
        }
        MountKind::Tmpfs { size, mode } => tmpfs(tree, spec, *size, *mode),
        // Memory was made where there is one.
        MountKind::File(_) => Ok(()),
    }
}

fn tmpfs(tree: &Tree, spec: &MountSpec, size: Option<u64>, mode: Option<u32>) -> Result<()> {
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
