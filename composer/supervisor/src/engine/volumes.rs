//! Named volumes of a stack: made, mounted where they mount something, and removed; and whose mounts others take over.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::rc::Rc;

use composer_stack::{MountKind, Service, Stack, Volume, VolumesFrom};

use super::container::Container;
use super::execute::Order;
use super::start::{Result, StartError};
use super::{Engine, removal};
use crate::host::volumes::left;
use crate::host::{devices, volumes};
use crate::paths::{self, StackPaths};
use crate::protocol::{Action, Subject};
use crate::records::{self, ContainerRecord, StackRecord};

/// A container whose mounts are mounted, by itself or by another.
pub struct Mounter {
    /// Its stack.
    pub stack: StackPaths,
    /// Its name.
    pub container: String,
    /// Its service.
    pub service: Service,
    /// The volumes of its stack, by key.
    pub volumes: BTreeMap<String, Volume>,
}

/// What becomes of a container's anonymous volumes when it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Volumes {
    /// They stay among the host's.
    Leave,
    /// They go with it, but for those that others have.
    Remove,
    /// The one in its place has new ones, and so has who shares them in its stack.
    Renew,
}

impl Engine {
    /// The container itself.
    pub(super) fn mounter(&self, container: &Container) -> Mounter {
        let volumes = self.record.borrow().as_ref().map(|record| record.volumes.clone()).unwrap_or_default();
        let service = container.record.borrow().service.clone();
        Mounter { stack: self.paths.clone(), container: container.name(), service, volumes }
    }

    /// The container, of this stack or another, whose mounts a service takes over.
    pub(super) fn mounter_of(&self, service: &str, from: &VolumesFrom) -> Result<Mounter> {
        let VolumesFrom { container: name, .. } = from;
        if let Some(container) = self.container(name) {
            return Ok(self.mounter(&container));
        }
        let found = paths::stacks().into_iter().find_map(|stack| {
            let stack = StackPaths::new(&stack);
            let record =
                ContainerRecord::read(&stack.container(name)).filter(|record| record.name == *name)?;
            let volumes = records::read::<StackRecord>(&stack.record())?.volumes;
            Some(Mounter { stack, container: name.clone(), service: record.service, volumes })
        });
        found.ok_or_else(|| {
            let at = vec!["services".to_owned(), service.to_owned(), "volumes_from".to_owned()];
            let why = format!(
                "service {service}: there is no container {name} on this host whose mounts it could have"
            );
            let help = Some("bring its stack up first".to_owned());
            StartError { at, help, ..StartError::new(why) }
        })
    }

    /// Warns where a volume is there that the file asks for in another way: what is in it is worth more.
    pub(super) fn check_volumes(&self, stack: &Stack) {
        for (key, volume) in stack.volumes.iter().filter(|(_, volume)| !volume.external) {
            let name = &volume.name;
            if volumes::read(name).is_some_and(|known| known.driver_opts != volume.driver_opts) {
                let text = format!(
                    "volumes.{key}: volume {name} was made with other `driver_opts`, which count: \
                     `compose down -v` takes it away, with what is in it"
                );
                self.announce(Subject::Group, Action::Warning(text));
            }
        }
    }

    pub(super) fn make_volume(&self, key: &str, order: &Order) -> Result<()> {
        let volume = self.record.borrow().as_ref().and_then(|record| record.volumes.get(key).cloned());
        let Some(volume) = volume else { return Ok(()) };
        let subject = Subject::Volume(volume.name.clone());
        self.announce(subject.clone(), Action::Creating);
        let of = Some((self.stack.clone(), key.to_owned()));
        let is_new = volumes::make(&volume, of)
            .map_err(|error| StartError::doing(&format!("make volume {}", volume.name), &error))?;
        if is_new {
            order.made.borrow_mut().insert(volume.name);
        }
        self.announce(subject, Action::Created);
        Ok(())
    }

    /// Removes a volume. One that another stack's container has stays, as in Docker Compose.
    pub(super) async fn remove_volume(&self, name: &str) -> Result<()> {
        let volume = Subject::Volume(name.to_owned());
        let users = volumes::used_elsewhere(name, &self.stack);
        if !users.is_empty() {
            self.announce(
                volume,
                Action::Warning(format!("it is kept: {} of another stack has it", users.join(", "))),
            );
            return Ok(());
        }
        self.announce(volume.clone(), Action::Removing);
        removal::off_thread({
            let name = name.to_owned();
            move || volumes::take_away(&name)
        })
        .await
        .map_err(|error| StartError::doing(&format!("remove volume {name}"), &error))?;
        self.announce(volume, Action::Removed);
        Ok(())
    }

    /// Removes the anonymous volumes of a container that goes, but for those that are kept for the next one; or leaves
    /// them to the host. They go before its record: what a crash interrupts is done again.
    pub(super) async fn part_with_volumes(
        &self,
        container: &Container,
        kept: &BTreeSet<PathBuf>,
        volumes: Volumes,
    ) -> io::Result<()> {
        let record = container.record.borrow().clone();
        for folder in left::volumes(&container.paths)? {
            let of_it = |error: io::Error| {
                io::Error::new(error.kind(), format!("its volume {}: {error}", folder.display()))
            };
            if kept.contains(&folder) {
                continue;
            }
            let (own, others) = match volumes {
                Volumes::Leave => Default::default(),
                Volumes::Remove | Volumes::Renew => {
                    left::lent(&self.stack, &record, &container.paths, &folder)
                }
            };
            if !others.is_empty() {
                let text = format!("its volume is kept: {} of another stack has it", others.join(", "));
                self.announce_container(container, Action::Warning(text));
            }
            let stays = match volumes {
                Volumes::Leave => true,
                // Whoever had it last takes it along.
                Volumes::Remove => !others.is_empty() || !own.is_empty(),
                Volumes::Renew => !others.is_empty(),
            };
            if !stays {
                removal::remove(&folder).await.map_err(of_it)?;
            } else {
                left::leave(&self.stack, &record, &container.paths, &folder).map_err(of_it)?;
            }
        }
        Ok(())
    }

    /// Removes what a container, which has gone, had of one that went before it, where it was the last to have it.
    pub(super) async fn part_with_borrowed(&self, container: &Container) -> io::Result<()> {
        let record = container.record.borrow().clone();
        for name in left::had_last(&record) {
            let of_it =
                |error: io::Error| io::Error::new(error.kind(), format!("its volume {name}: {error}"));
            removal::off_thread({
                let name = name.clone();
                move || volumes::take_away(&name)
            })
            .await
            .map_err(of_it)?;
        }
        Ok(())
    }

    /// Mounts those volumes of a container that mount something. It may wait for a server, on a thread of its own.
    pub(super) async fn bring_volumes(&self, container: &Container, service: &Service) -> Result<()> {
        let mut owners = vec![self.mounter(container)];
        for from in &service.volumes_from {
            owners.push(self.mounter_of(&service.name, from)?);
        }
        for owner in owners {
            for mount in &owner.service.mounts {
                if let MountKind::Volume { source } = &mount.kind
                    && let Some(volume) = owner.volumes.get(source)
                {
                    self.bring_volume(container, source, &volume.name).await?;
                }
            }
        }
        Ok(())
    }

    async fn bring_volume(&self, container: &Container, key: &str, name: &str) -> Result<()> {
        let Some(device) = volumes::read(name).as_ref().and_then(volumes::device) else { return Ok(()) };
        let (volume, stack, user) = (name.to_owned(), self.stack.clone(), container.name());
        let held = tokio::task::spawn_blocking(move || devices::hold(&volume, &device, &stack, &user)).await;
        held.unwrap_or_else(|error| Err(io::Error::other(error))).map_err(|error| {
            let at = ["volumes", key, "driver_opts", "device"].map(str::to_owned).to_vec();
            StartError { at, ..StartError::new(format!("{}: volume {name}: {error}", container.name())) }
        })
    }

    /// Unmounts what nobody but this container has used.
    pub(super) async fn release_volumes(&self, container: &Rc<Container>) {
        if !paths::mounted_volumes().exists() {
            return;
        }
        let (stack, user) = (self.stack.clone(), container.name());
        let released = tokio::task::spawn_blocking(move || devices::release(&stack, &user)).await;
        if let Err(error) = released.unwrap_or_else(|error| Err(io::Error::other(error))) {
            self.announce_container(
                container,
                Action::Warning(format!("its volumes could not be unmounted: {error}")),
            );
        }
    }
}
