//! A container's root filesystem: overlayfs over folders or over the host's programs.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount as mount_flags, umount2};
use nix::unistd::{fchdir, pivot_root};
use rustix::mount::MountAttrFlags;

use crate::descriptor;
use crate::failure::{Doing, Result, StartFailure};
use crate::host;
use crate::mount;
use crate::overlay;
use crate::project;
use crate::removal;
use crate::spec::RootSpec;
use crate::tree::{Tree, on_host};
use crate::userns::Mapping;

/// Nothing that is mounted from here on is seen by the host, nor the other way round (mount_namespaces(7)).
pub fn make_private() -> Result<()> {
    let flags = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount_flags(None::<&str>, "/", None::<&str>, flags, None::<&str>).doing("make private", "its mounts")
}

/// Makes the lowest layer of root filesystems over folders: the places of what is always mounted. Made once, they
/// need not be made in each container's upper folder, where they would look like the container's doing.
///
/// # Errors
/// Those of writing below the parent of `base`.
pub fn prepare_base(base: &Path) -> io::Result<()> {
    let aside = base.with_extension("new");
    for folder in ["dev", "etc", "proc", "sys"] {
        fs::create_dir_all(aside.join(folder))?;
    }
    for file in ["hosts", "hostname", "resolv.conf"] {
        fs::write(aside.join("etc").join(file), "")?;
    }
    fs::rename(&aside, base)
}

/// Mounts the root filesystem, in which device nodes work where they are `open_nodes`. It lies over the upper folder, which
/// overlayfs keeps open, until [`enter`].
pub fn mount(spec: &RootSpec, open_nodes: bool, mapping: Option<&Mapping<'_>>) -> Result<Tree> {
    let (RootSpec::Layers { upper, .. } | RootSpec::Host { upper, .. }) = spec;
    let place = on_host(upper).doing("open", upper.display())?;
    let ground = Ground::new(spec, &place, mapping)?;
    let above = Layers { ground: &ground, shown: upper, open_nodes, mapping };
    let overlay = match spec {
        RootSpec::Layers { layers, base, .. } => {
            let folders = layers.iter().rev().chain([base]);
            let opened: Vec<OwnedFd> = folders
                .map(|layer| on_host(layer).doing("open the root folder", layer.display()))
                .collect::<Result<_>>()?;
            above.overlay(None, &opened.iter().collect::<Vec<_>>())?
        }
        RootSpec::Host { mask, .. } => {
            let skeleton = host::skeleton(mask);
            let layer = on_host(&skeleton).doing("open", skeleton.display())?;
            above.overlay(Some("root"), &[&layer])?
        }
    };
    mount::attach(&overlay, &place).doing("attach the root filesystem to", upper.display())?;
    let tree = Tree::new(overlay);
    if let RootSpec::Host { mask, path, .. } = spec {
        let mut parts = Vec::new();
        host::mount_parts(&tree, mask, path, &mut |name, layers| {
            let part = above.overlay(Some(name), layers)?;
            parts.push(part.try_clone().doing("keep the mount of", name)?);
            Ok(part)
        })?;
        return Ok(tree.with_parts(parts));
    }
    Ok(tree)
}

/// Where upper and work folders are made: their own paths are covered later on.
struct Ground {
    upper: PathBuf,
    work: PathBuf,
    /// Where owners are mapped: what both lie in.
    _mapped: Option<OwnedFd>,
}

impl Ground {
    fn new(spec: &RootSpec, place: &OwnedFd, mapping: Option<&Mapping<'_>>) -> Result<Self> {
        let (RootSpec::Layers { upper, work, .. } | RootSpec::Host { upper, work, .. }) = spec;
        let Some(mapping) = mapping else {
            let upper = match spec {
                RootSpec::Layers { .. } => upper.clone(),
                // It is going to show the root filesystem, before all parts of that are made.
                RootSpec::Host { .. } => descriptor::path(place).into(),
            };
            return Ok(Self { upper, work: work.clone(), _mapped: None });
        };
        // overlayfs wants both in one mount.
        let folder = spec.folder();
        let mapped = mapping.layer(&on_host(folder).doing("open", folder.display())?, folder)?;
        let below = |path: &Path| {
            let name = path.strip_prefix(folder).unwrap_or(path);
            PathBuf::from(descriptor::path(&mapped)).join(name)
        };
        Ok(Self { upper: below(upper), work: below(work), _mapped: Some(mapped) })
    }
}

/// Makes overlays with upper folders on a ground.
struct Layers<'a> {
    ground: &'a Ground,
    shown: &'a Path,
    open_nodes: bool,
    mapping: Option<&'a Mapping<'a>>,
}

impl Layers<'_> {
    /// One of its own where there is a name.
    fn overlay(&self, name: Option<&str>, layers: &[&OwnedFd]) -> Result<OwnedFd> {
        let below = |path: &Path| name.map_or(path.to_owned(), |name| path.join(name));
        let (upper, work) = (below(&self.ground.upper), below(&self.ground.work));
        let made = match self.mapping {
            None => layered(layers, &upper, &work, self.open_nodes),
            Some(mapping) => {
                let shown = |layer: &OwnedFd| {
                    fs::read_link(descriptor::path(layer)).unwrap_or_else(|_| self.shown.to_owned())
                };
                let mapped = layers.iter().map(|layer| mapping.layer(layer, &shown(layer)));
                let mapped = mapped.collect::<Result<Vec<_>>>()?;
                layered(&mapped.iter().collect::<Vec<_>>(), &upper, &work, self.open_nodes)
            }
        };
        made.map_err(|mut failure| {
            let upper = self.ground.upper.display().to_string();
            failure.target = failure.target.replace(&upper, &self.shown.display().to_string());
            failure
        })
    }
}

/// An overlay of folders, the first on top, copy-on-write in `upper`.
///
/// `volatile`: nothing is flushed to disk when it is unmounted or synced. What has to survive a power cut belongs on
/// a volume; what does not would otherwise cost a flush of the whole filesystem for each container that ends.
fn layered(layers: &[&OwnedFd], upper: &Path, work: &Path, open_nodes: bool) -> Result<OwnedFd> {
    fs::create_dir_all(upper).doing("make", upper.display())?;
    // A volatile overlay leaves a mark here and is not mounted again while it is there.
    removal::remove(work).doing("clear", work.display())?;
    fs::create_dir_all(work).doing("make", work.display())?;
    project::follow(upper, work).doing("limit", work.display())?;
    let work_fd = on_host(work).doing("open", work.display())?;
    overlay::mount(layers, upper, &work_fd, open_nodes).map_err(|error| {
        let failure = StartFailure::system("mount the root filesystem over", upper.display(), &error);
        match error.raw_os_error() {
            Some(libc::ENODEV) => StartFailure {
                message: format!("{error}: the kernel needs overlayfs (modprobe overlay)"),
                ..failure
            },
            _ => failure,
        }
    })
}

/// Makes the tree the root of this process and its namespace, and lets go of the host's.
pub fn enter(tree: &Tree, read_only: bool) -> Result<()> {
    if read_only {
        // Only now that all places to mount at are made, and not recursively: what is mounted inside has its own say.
        for mount in tree.root_mounts() {
            mount::restrict(mount, MountAttrFlags::MOUNT_ATTR_RDONLY, false)
                .doing("make read-only", "the root filesystem")?;
        }
    }
    fchdir(tree.root()).doing("enter", "the root filesystem")?;
    // Both the new root and the place of the old one: the old one then lies on top (pivot_root(2)).
    pivot_root(".", ".").doing("pivot to", "the root filesystem")?;
    umount2(".", MntFlags::MNT_DETACH).doing("unmount", "the host's filesystems")?;
    nix::unistd::chdir("/").doing("enter", "/")
}
