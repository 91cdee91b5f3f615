//! Volumes that nobody has named, once their container is gone: what is in them is the user's, so that they stay among the
//! host's, for `compose volume ls|rm|prune`, until somebody removes them.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use composer_stack::{Mount, MountKind, Service};
use serde::{Deserialize, Serialize};

use super::{ANONYMOUS, HostVolume, User, write};
use crate::paths::{self, ContainerPaths, StackPaths};
use crate::records::ContainerRecord;
use crate::{clock, identifier};

/// Where such a volume comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// The stack of its container.
    pub stack: String,
    /// The container's service; `None` where its record could not be read.
    pub service: Option<String>,
    /// The containers that had taken it over from that one.
    pub lent: Vec<Borrower>,
}

/// A container that has another's volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Borrower {
    stack: String,
    container: String,
    id: String,
}

impl Left {
    /// The containers that still have it.
    pub(super) fn users(&self) -> Vec<User> {
        let users = self.lent.iter().filter_map(|borrower| {
            let folders = StackPaths::new(&borrower.stack).container(&borrower.container);
            let record = ContainerRecord::read(&folders).filter(|record| record.id == borrower.id)?;
            Some(User {
                stack: borrower.stack.clone(),
                service: record.service.name,
                container: borrower.container.clone(),
            })
        });
        users.collect()
    }
}

/// The name of the volume at a container's path: as long as Docker's, and the same for as long as the container is there.
pub(crate) fn name(container: &ContainerRecord, target: &str) -> String {
    composer_stack::sha256(&format!("{}\n{target}", container.id))
}

/// Moves a container's volume among those of the host.
pub(crate) fn leave(
    stack: &str,
    container: &ContainerRecord,
    folders: &ContainerPaths,
    folder: &Path,
) -> io::Result<()> {
    let mount = mount_of(container, folders, folder);
    let name = match mount {
        Some(mount) => name(container, &mount.target),
        None => name(container, &folder.display().to_string()),
    };
    let lent = mount.map(|mount| borrowers(stack, container, &mount.target)).unwrap_or_default();
    let labels = mount.map(|mount| mount.options.labels.clone()).unwrap_or_default();
    let left = Left { stack: stack.to_owned(), service: Some(container.service.name.clone()), lent };
    moved(folder, HostVolume { labels, ..anonymous(name, container.created, left) })
}

/// The same of a container whose record cannot be read.
pub(crate) fn leave_unknown(stack: &str, folders: &ContainerPaths) -> io::Result<()> {
    for folder in volumes(folders)? {
        let left = Left { stack: stack.to_owned(), service: None, lent: Vec::new() };
        moved(&folder, anonymous(identifier()?, clock::now(), left))?;
    }
    Ok(())
}

/// The same of whatever is left in a stack's folder: it is about to be removed.
pub(crate) fn leave_all(folders: &StackPaths, stack: &str) -> io::Result<()> {
    folders.container_names().try_for_each(|name| leave_unknown(stack, &folders.container(&name)))
}

/// The containers that have a container's volume too, in its own stack and in others.
pub(crate) fn lent(
    stack: &str,
    container: &ContainerRecord,
    folders: &ContainerPaths,
    folder: &Path,
) -> (Vec<String>, Vec<String>) {
    let Some(mount) = mount_of(container, folders, folder) else { return Default::default() };
    let all = borrowers(stack, container, &mount.target).into_iter();
    let (own, others): (Vec<_>, Vec<_>) = all.partition(|borrower| borrower.stack == stack);
    let names = |of: Vec<Borrower>| of.into_iter().map(|borrower| borrower.container).collect();
    (names(own), names(others))
}

/// The volumes that a container which has gone had of one that went before it, and that nobody has any more.
pub(crate) fn had_last(borrower: &ContainerRecord) -> Vec<String> {
    let service = &borrower.service;
    let borrows = |mount: &Mount| matches!(mount.kind, MountKind::Borrowed { .. });
    if service.volumes_from.is_empty() && !service.mounts.iter().any(borrows) {
        return Vec::new();
    }
    let had_it = |left: &Left| left.lent.iter().any(|one| one.id == borrower.id);
    let mut had = super::all();
    had.retain(|volume| volume.left.as_ref().is_some_and(had_it));
    if had.is_empty() {
        return Vec::new();
    }
    // What cannot be looked through is left, for `volume prune`.
    let unused = super::list().unwrap_or_default().into_iter().filter(|shown| shown.users.is_empty());
    unused.map(|shown| shown.volume.name).filter(|name| had.iter().any(|one| one.name == *name)).collect()
}

/// What a container mounts of a folder of its own.
fn mount_of<'a>(
    container: &'a ContainerRecord,
    folders: &ContainerPaths,
    folder: &Path,
) -> Option<&'a Mount> {
    let mut anonymous = container.service.mounts.iter().filter(|mount| mount.kind == MountKind::Anonymous);
    anonymous.find(|mount| folders.anonymous(&mount.target) == folder)
}

/// The folders of a container's volumes without a name.
pub(crate) fn volumes(folders: &ContainerPaths) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folders.folder()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() && paths::is_anonymous(&entry.file_name()) {
            found.push(entry.path());
        }
    }
    Ok(found)
}

fn anonymous(name: String, created: u64, left: Left) -> HostVolume {
    HostVolume {
        name,
        created,
        labels: BTreeMap::new(),
        driver_opts: BTreeMap::new(),
        of: None,
        left: Some(left),
    }
}

/// Its record comes first: it counts once there is a folder.
fn moved(folder: &Path, mut volume: HostVolume) -> io::Result<()> {
    volume.labels.insert(ANONYMOUS.to_owned(), String::new());
    write(&volume)?;
    paths::take_in_volume(folder, &volume.name)
}

/// Who has taken over what a container mounts at a path.
fn borrowers(stack: &str, lender: &ContainerRecord, target: &str) -> Vec<Borrower> {
    let has_it = |of: &str, service: &Service| {
        let by_service = |kind: &MountKind| match kind {
            MountKind::Borrowed { service, target: at } => {
                of == stack && *service == lender.service.name && at == target
            }
            MountKind::Anonymous
            | MountKind::Bind { .. }
            | MountKind::Volume { .. }
            | MountKind::Image(_)
            | MountKind::Tmpfs { .. } => false,
        };
        service.mounts.iter().any(|mount| by_service(&mount.kind))
            || service.volumes_from.iter().any(|from| from.container == lender.name)
    };
    let of_stack = |of: String| {
        let folders = StackPaths::new(&of);
        ContainerRecord::all(&folders)
            .filter(|container| has_it(&of, &container.service))
            .map(|user| Borrower { stack: of.clone(), container: user.name, id: user.id })
            .collect::<Vec<_>>()
    };
    paths::stacks().into_iter().flat_map(of_stack).collect()
}
