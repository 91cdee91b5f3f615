//! Changing a container that exists: made anew in its place, or given other limits as it is.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;

use composer_stack::{LimitChange, MountKind, Service, config_hash};

use super::container::Container;
use super::execute::{StepError, new_record};
use super::start::{Result, StartError};
use super::volumes::Volumes;
use super::{Engine, removal};
use crate::host::storage;
use crate::identifier;
use crate::paths::{self, ContainerPaths};
use crate::protocol::Action;

impl Engine {
    /// Makes a container in the place of one that does not run. Its anonymous volumes go over to the new one where that
    /// has one at the same path, as in Docker Compose, unless they are to be made anew.
    pub(super) async fn recreate(
        self: &Rc<Self>,
        old: &str,
        name: &str,
        service: &Service,
        index: u32,
        renew_volumes: bool,
    ) -> Result<()> {
        let failed = |error: io::Error| StartError::doing(&format!("recreate {old}"), &error);
        if let Some(before) = self.container(old) {
            self.announce_container(&before, Action::Removing);
            self.release(&before).await;
            let kept = if renew_volumes { BTreeSet::new() } else { anonymous(&before.paths, service) };
            let volumes = if renew_volumes { Volumes::Renew } else { Volumes::Leave };
            self.part_with_volumes(&before, &kept, volumes).await.map_err(failed)?;
            // The old record goes last: a crash meanwhile leaves the old container, empty, and not as asked for.
            clear(&before.paths, &kept).await.map_err(failed)?;
            self.announce_container(&before, Action::Removed);
        }
        let folders = self.paths.container(name);
        paths::make(folders.folder()).map_err(failed)?;
        let mut record = new_record(identifier().map_err(failed)?, name, service, index);
        record.class = self.class_for(service)?;
        if let Some(before) = self.container(old) {
            // A port that nobody chose stays the same.
            record.published = before.record.borrow().published.clone();
        }
        let container = Container::new(record, folders);
        container.replaces.set(true);
        self.announce_container(&container, Action::Creating);
        container.change(|_| {}).map_err(failed)?;
        if old != name {
            self.give_back_of(old)?;
            self.hand_over(old, &container).await.map_err(failed)?;
        }
        self.made(container).map_err(failed)
    }

    /// Moves the anonymous volumes of a container to one of another name, and takes the rest of it away.
    async fn hand_over(&self, old: &str, container: &Container) -> io::Result<()> {
        let from = self.paths.container(old);
        let service = container.record.borrow().service.clone();
        for folder in anonymous(&from, &service) {
            if let Some(name) = folder.file_name() {
                fs::rename(&folder, container.paths.folder().join(name))?;
            }
        }
        removal::remove(from.run()).await?;
        removal::remove(from.folder()).await?;
        self.containers.borrow_mut().remove(old);
        Ok(())
    }

    /// Gives a container, whether it runs or not, the configuration that its service has now, which differs only in what
    /// can be taken over in place.
    pub(super) async fn update(
        self: &Rc<Self>,
        container: &Rc<Container>,
        service: &Service,
    ) -> std::result::Result<(), StepError> {
        let name = container.name();
        let old = container.record.borrow().service.clone();
        let is_limit = old.resources.memory != service.resources.memory;
        // What it was raised to holds on where its limit stays as it is.
        let before = if is_limit {
            Service { resources: container.resources_in_force(), ..old.clone() }.limits()
        } else {
            old.limits()
        };
        if container.live.borrow().is_some() && old.resources != service.resources {
            let group = self.container_group(&name);
            let unchanged =
                |why: &dyn Display| StepError::Unchanged { why: as_it_was(&name, &service.name, why) };
            let limits = container.limits_as(&service.resources).map_err(|error| unchanged(&error))?;
            let lowering = self.own_doing.begins();
            let updated = group.update(&container.limits(), &limits);
            drop(lowering);
            let unenforced = updated.map_err(|error| {
                self.limits_are_unset(container);
                unchanged(&error)
            })?;
            self.warn_unenforced(&service.name, unenforced);
        }
        let bandwidth = container.record.borrow().service.bandwidth;
        let is_live = container.live.borrow().is_some();
        if bandwidth != service.bandwidth && is_live {
            self.limit_bandwidth(container, service).await?;
        }
        self.number(container, service)?;
        {
            let mut record = container.record.borrow_mut();
            record.service = service.clone();
            record.config_hash = config_hash(service);
            record
                .rewrite(&container.paths)
                .map_err(|error| StartError::doing(&format!("{name}: write its record"), &error))?;
        }
        if is_live && old.resources != service.resources {
            self.settle_cores(container, service)
                .map_err(|error| StepError::Unchanged { why: as_it_was(&name, &service.name, &error) })?;
        }
        if old.resources != service.resources || old.oom != service.oom {
            self.memory_has_changed(container, is_limit);
        }
        if bandwidth != service.bandwidth {
            self.tidy_bandwidth().await;
        }
        let limits = LimitChange::between(&before, &service.limits());
        self.announce_container(container, Action::Updated { limits });
        Ok(())
    }
}

fn as_it_was(name: &str, service: &str, error: &dyn Display) -> String {
    format!(
        "{name}: its limits could not be changed while it runs, and it keeps those it has: {error}; set another limit, or \
         have it made anew with `compose up -d --force-recreate {service}`"
    )
}

/// The folders of a container's anonymous volumes that are mounted by this service too.
fn anonymous(folders: &ContainerPaths, service: &Service) -> BTreeSet<PathBuf> {
    let is_anonymous = |kind: &MountKind| match kind {
        MountKind::Anonymous => true,
        MountKind::Bind { .. }
        | MountKind::Volume { .. }
        | MountKind::Borrowed { .. }
        | MountKind::Image(_)
        | MountKind::Tmpfs { .. } => false,
    };
    let mounts = service.mounts.iter().filter(|mount| is_anonymous(&mount.kind));
    mounts.map(|mount| folders.anonymous(&mount.target)).filter(|folder| folder.is_dir()).collect()
}

/// Removes everything of a container but its record and these folders.
async fn clear(folders: &ContainerPaths, kept: &BTreeSet<PathBuf>) -> io::Result<()> {
    storage::lift(folders)?;
    removal::remove(folders.run()).await?;
    let record = folders.record();
    for entry in fs::read_dir(folders.folder())? {
        let path = entry?.path();
        if path != record && !kept.contains(&path) {
            removal::remove(&path).await?;
        }
    }
    Ok(())
}
