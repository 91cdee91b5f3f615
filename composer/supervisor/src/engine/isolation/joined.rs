//! Processes whose namespaces a container joins.

use std::os::fd::OwnedFd;

use composer_sandbox::pidfd;
use composer_stack::{Namespace, Service};

use super::super::Engine;
use super::super::start::{Result, StartError};
use super::as_network;
use crate::engine::program;
use crate::records::Phase;

impl Engine {
    /// By pidfd, the process whose PID namespace a service's container joins, and that whose IPC namespace it joins.
    pub(in super::super) fn joined_processes(&self, service: &Service) -> Result<Vec<OwnedFd>> {
        let isolation = &service.isolation;
        let wanted = [("PID namespace", &isolation.pid), ("IPC namespace", &isolation.ipc)];
        let found = wanted.map(|(what, namespace)| self.joined_process(what, namespace));
        found.into_iter().filter_map(Result::transpose).collect()
    }

    fn joined_process(&self, what: &str, namespace: &Namespace) -> Result<Option<OwnedFd>> {
        let Some(record) = self.owner_of(what, &as_network(namespace))? else { return Ok(None) };
        let name = &record.name;
        let ended = || StartError::new(format!("its {what} is that of container {name}, which does not run"));
        let Phase::Started(process) = &record.phase else { return Err(ended()) };
        let opened = pidfd::open(process.pid).map_err(|_| ended())?;
        // Its number may be another's by now: looked at once it is held.
        let is_it = process.boot == program::boot() && program::ticks(process.pid) == Some(process.ticks);
        if is_it { Ok(Some(opened)) } else { Err(ended()) }
    }
}
