//! Containers in a network namespace that is not their own: the host's, or another container's.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;

use composer_sandbox::NetworkSpec;
use composer_stack::NetworkMode;

use super::super::start::{Result, StartError};
use super::super::{Engine, program};
use crate::paths::{self, StackPaths};
use crate::records::{ContainerRecord, Phase, Process};

impl Engine {
    /// How the sandbox makes the namespace of a mode.
    pub(in super::super) fn namespace(mode: &NetworkMode) -> NetworkSpec {
        match mode {
            NetworkMode::Networks(_) | NetworkMode::None => NetworkSpec::Own,
            NetworkMode::Host => NetworkSpec::Host,
            NetworkMode::Service(_) | NetworkMode::Container(_) => NetworkSpec::Joined,
        }
    }

    /// The record of the container whose namespace is joined by this mode.
    pub(in super::super) fn host_of(&self, mode: &NetworkMode) -> Result<Option<ContainerRecord>> {
        match mode {
            NetworkMode::Networks(_) | NetworkMode::None | NetworkMode::Host => Ok(None),
            NetworkMode::Service(service) => {
                let containers = self.of_services(std::slice::from_ref(service));
                let running = containers.iter().filter(|container| container.live.borrow().is_some());
                let first = running.min_by_key(|container| container.record.borrow().index);
                let none = || {
                    StartError::new(format!(
                        "its network is that of service {service}, of which no container runs: start it first"
                    ))
                };
                first.map(|container| Some(container.record.borrow().clone())).ok_or_else(none)
            }
            NetworkMode::Container(name) => {
                let own = self.container(name).map(|container| container.record.borrow().clone());
                let found = own.or_else(|| elsewhere(&self.stack, name));
                let none = || {
                    StartError::new(format!(
                        "its network is that of container {name}, which there is none of on this host"
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

fn elsewhere(own: &str, name: &str) -> Option<ContainerRecord> {
    let others = paths::stacks().into_iter().filter(|stack| stack != own);
    let mut found =
        others.filter_map(|stack| ContainerRecord::read(&StackPaths::new(&stack).container(name)));
    found.find(|record| record.name == name)
}

/// Its number may be another's by now: looked at again once the file is open.
fn open(process: &Process) -> io::Result<OwnedFd> {
    let namespace = fs::File::open(format!("/proc/{}/ns/net", process.pid))?;
    let is_it = process.boot == program::boot() && program::ticks(process.pid) == Some(process.ticks);
    if is_it { Ok(namespace.into()) } else { Err(io::Error::from_raw_os_error(libc::ESRCH)) }
}
