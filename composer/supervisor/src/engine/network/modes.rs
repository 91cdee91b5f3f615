//! Containers in a network namespace that is not their own: the host's, or another container's.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;

use composer_sandbox::NamespaceSpec;
use composer_stack::NetworkMode;

use super::super::container::Container;
use super::super::external::elsewhere;
use super::super::start::{Result, StartError};
use super::super::{Engine, program};
use crate::paths::{self, StackPaths};
use crate::records::{ContainerRecord, Phase, Process};

/// Digits of an id that is shown short.
const SHORT_ID: usize = 12;
/// As many as nobody joins one behind the other.
const STEPS: usize = 32;

impl Engine {
    /// How the sandbox makes the namespace of a mode.
    pub(in super::super) fn namespace(mode: &NetworkMode) -> NamespaceSpec {
        match mode {
            NetworkMode::Networks(_) | NetworkMode::None => NamespaceSpec::Own,
            NetworkMode::Host => NamespaceSpec::Host,
            NetworkMode::Service(_) | NetworkMode::Container(_) => NamespaceSpec::Joined,
        }
    }

    /// The record of the container whose namespace is joined by this mode.
    pub(in super::super) fn host_of(&self, mode: &NetworkMode) -> Result<Option<ContainerRecord>> {
        self.owner_of("network", mode)
    }

    /// The record of the container whose network is joined in the end, where the one that is joined has joined another's.
    pub(in super::super) fn root_of(&self, mode: &NetworkMode) -> Result<Option<ContainerRecord>> {
        let Some(mut found) = self.host_of(mode)? else { return Ok(None) };
        // Records of other stacks may be of different times, and lead round.
        for _ in 0..STEPS {
            let next = if self.is_own(&found) {
                self.host_of(&found.service.network)?
            } else {
                next_elsewhere(&found)
            };
            match next {
                Some(next) => found = next,
                None => break,
            }
        }
        Ok(Some(found))
    }

    /// Whether a record is one of the stack's own containers.
    pub(in super::super) fn is_own(&self, record: &ContainerRecord) -> bool {
        self.container(&record.name).is_some_and(|own| own.record.borrow().id == record.id)
    }

    /// The record of the container whose namespace of any kind is joined, by what messages call it.
    pub(in super::super) fn owner_of(
        &self,
        what: &str,
        mode: &NetworkMode,
    ) -> Result<Option<ContainerRecord>> {
        match mode {
            NetworkMode::Networks(_) | NetworkMode::None | NetworkMode::Host => Ok(None),
            NetworkMode::Service(service) => {
                let containers = self.of_services(std::slice::from_ref(service));
                let running = containers.iter().filter(|container| container.live.borrow().is_some());
                let first = running.min_by_key(|container| container.record.borrow().index);
                let none = || {
                    StartError::new(format!(
                        "its {what} is that of service {service}, of which no container runs: start it first"
                    ))
                };
                first.map(|container| Some(container.record.borrow().clone())).ok_or_else(none)
            }
            NetworkMode::Container(name) => {
                let own = self.container(name).map(|container| container.record.borrow().clone());
                let found = own
                    .or_else(|| elsewhere(&self.stack, name).map(|(_, record)| record))
                    .or_else(|| with_id(name));
                let none = || {
                    StartError::new(format!(
                        "its {what} is that of container {name}, which there is none of on this host"
                    ))
                };
                found.map(Some).ok_or_else(none)
            }
        }
    }

    /// The namespace that a mode joins.
    pub(in super::super) fn joined(&self, mode: &NetworkMode) -> Result<Option<OwnedFd>> {
        let Some(record) = self.host_of(mode)? else { return Ok(None) };
        let name = &record.name;
        let Phase::Started(process) = &record.phase else {
            return Err(StartError::new(format!(
                "its network is that of container {name}, which does not run"
            )));
        };
        let opened = open(process);
        opened
            .map(Some)
            .map_err(|error| StartError::doing(&format!("join the network of container {name}"), &error))
    }
}

impl Engine {
    /// The namespace that a container's last program had, where containers that have joined it are in it still, also those
    /// of other stacks: whoever comes back is plugged in there again, so that those have a network again too.
    pub(in super::super) fn left_behind(&self, container: &Container) -> Option<OwnedFd> {
        let (service, name, index) = {
            let record = container.record.borrow();
            (record.service.clone(), record.name.clone(), record.index)
        };
        if !has_own(&service.network) {
            return None;
        }
        // The one that is joined by the service's name. No other may take it up: two may start at the same time.
        let replicas = self.of_services(std::slice::from_ref(&service.name));
        let first = replicas.iter().map(|replica| replica.record.borrow().index).min();
        let is_first = container.oneoff().is_none() && first == Some(index);
        let joins = |mode: &NetworkMode| match mode {
            NetworkMode::Service(other) => *other == service.name && is_first,
            NetworkMode::Container(other) => *other == name,
            NetworkMode::Networks(_) | NetworkMode::Host | NetworkMode::None => false,
        };
        let containers = self.containers.borrow();
        let running = || containers.values().filter(|other| other.live.borrow().is_some());
        let of = |mode: &dyn Fn(&NetworkMode) -> bool| -> Vec<fs::File> {
            let chosen = running().filter(|other| mode(&other.record.borrow().service.network));
            let processes = chosen.filter_map(|other| match &other.record.borrow().phase {
                Phase::Started(process) => Some(process.clone()),
                Phase::Created { .. } | Phase::Exited { .. } => None,
            });
            processes.filter_map(|process| open(&process).ok()).map(fs::File::from).collect()
        };
        let mut joined = of(&joins);
        let elsewhere = self.joiners_elsewhere(container);
        joined.extend(elsewhere.iter().filter_map(|process| open(process).ok()).map(fs::File::from));
        if joined.is_empty() {
            return None;
        }
        let inode = |file: &fs::File| file.metadata().ok().map(|file| file.ino());
        // Another replica may have lent its own.
        let lent: Vec<_> = of(&has_own).iter().map(inode).collect();
        joined.into_iter().find(|namespace| !lent.contains(&inode(namespace))).map(OwnedFd::from)
    }
}

impl Engine {
    /// Looks for programs of other stacks that are in the networks of containers which are to be made now: their names may
    /// have been those of others, that are gone.
    pub(in super::super) fn know_guests(&self) {
        *self.guests.borrow_mut() = guests(&self.stack);
    }

    /// The programs of other stacks that have joined a container's network by its name. One that has never run is joined by
    /// nobody since [`Engine::know_guests`].
    fn joiners_elsewhere(&self, container: &Container) -> Vec<Process> {
        let name = container.name();
        let is_first =
            matches!(container.record.borrow().phase, Phase::Created { .. }) && !container.replaces.get();
        let guests = if is_first { self.guests.borrow().clone() } else { guests(&self.stack) };
        guests.into_iter().filter(|(of, _)| *of == name).map(|(_, process)| process).collect()
    }
}

/// The programs of other stacks than this that have joined the network of a container, each with that one's name.
fn guests(own: &str) -> Vec<(String, Process)> {
    let others =
        paths::stacks().into_iter().filter(|stack| stack != own).map(|stack| StackPaths::new(&stack));
    let records = others.filter(may_be_guest).flat_map(|stack| ContainerRecord::running(&stack));
    let joined = records.filter_map(|record| match (record.service.network, record.phase) {
        (NetworkMode::Container(of), Phase::Started(process)) => Some((of, process)),
        _ => None,
    });
    joined.collect()
}

/// Whether a stack's services may be in other containers' networks, by the text of its record: as every `up` asks it of
/// every other stack, not all of them are read for it.
fn may_be_guest(stack: &StackPaths) -> bool {
    fs::read(stack.record()).is_ok_and(|text| memchr::memmem::find(&text, br#""container":"#).is_some())
}

fn has_own(mode: &NetworkMode) -> bool {
    matches!(mode, NetworkMode::Networks(_) | NetworkMode::None)
}

/// The container of any stack that has this id, which may be as short as it is shown.
fn with_id(id: &str) -> Option<ContainerRecord> {
    if id.len() < SHORT_ID {
        return None;
    }
    let of = |stack: &String| {
        ContainerRecord::all(&StackPaths::new(stack)).find(|record| record.id.starts_with(id))
    };
    paths::stacks().iter().find_map(of)
}

/// Whose network a container of another stack has joined.
fn next_elsewhere(record: &ContainerRecord) -> Option<ContainerRecord> {
    match &record.service.network {
        NetworkMode::Container(name) => elsewhere("", name).map(|(_, record)| record),
        NetworkMode::Service(service) => {
            let (stack, _) = elsewhere("", &record.name)?;
            let running = ContainerRecord::running(&StackPaths::new(&stack));
            let of_service = running.into_iter().filter(|other| other.service.name == *service);
            of_service.min_by_key(|other| other.index)
        }
        NetworkMode::Networks(_) | NetworkMode::Host | NetworkMode::None => None,
    }
}

/// The namespace of a process. Its number may be another's by now: looked at again once the file is open.
pub(in super::super) fn open(process: &Process) -> io::Result<OwnedFd> {
    let namespace = fs::File::open(format!("/proc/{}/ns/net", process.pid))?;
    let is_it = process.boot == program::boot() && program::ticks(process.pid) == Some(process.ticks);
    if is_it { Ok(namespace.into()) } else { Err(io::Error::from_raw_os_error(libc::ESRCH)) }
}
