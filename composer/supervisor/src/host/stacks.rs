//! The stacks of this host and what their containers do.

use std::path::PathBuf;

use composer_cgroup::Hierarchy;

use super::{Error, group, root};
use crate::engine::program;
use crate::paths::{self, StackPaths};
use crate::protocol::State;
use crate::records::{self, ContainerRecord, Phase, Process, StackRecord};

/// A stack of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Its name.
    pub name: String,
    /// The files it was read from; none where its record is lost.
    pub files: Vec<PathBuf>,
    /// Its containers, by name.
    pub containers: Vec<Member>,
}

/// A container of a stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Its service.
    pub service: String,
    /// Which replica, from 1.
    pub index: u32,
    /// What it does.
    pub state: State,
}

/// All stacks of this host, by name.
///
/// # Errors
/// [`Error::NotRoot`], [`Error::Cgroup`].
pub fn stacks() -> Result<Vec<Summary>, Error> {
    root()?;
    let cgroups = Hierarchy::detect()?;
    Ok(paths::stacks().iter().map(|name| summary(name, &cgroups)).collect())
}

/// One stack; without containers where nothing is known of it.
///
/// # Errors
/// [`Error::NotRoot`], [`Error::Cgroup`].
pub fn stack(name: &str) -> Result<Summary, Error> {
    root()?;
    Ok(summary(name, &Hierarchy::detect()?))
}

fn summary(name: &str, cgroups: &Hierarchy) -> Summary {
    let paths = StackPaths::new(name);
    let record: Option<StackRecord> = records::read(&paths.record());
    let mut containers: Vec<Member> = ContainerRecord::all(&paths)
        .map(|record| Member {
            state: state(&record, name, cgroups),
            name: record.name,
            service: record.service.name,
            index: record.index,
        })
        .collect();
    containers.sort_by(|a, b| a.name.cmp(&b.name));
    Summary {
        name: name.to_owned(),
        files: record.map(|record| record.files).unwrap_or_default(),
        containers,
    }
}

fn state(record: &ContainerRecord, stack: &str, cgroups: &Hierarchy) -> State {
    match &record.phase {
        Phase::Created { .. } => State::Created,
        Phase::Exited { .. } => match &record.history.due {
            Some(due) if due.boot == program::boot() => State::Restarting,
            Some(_) | None => State::Exited,
        },
        // Recorded by a supervisor that may be dead by now: the kernel knows.
        Phase::Started(process) if !is_there(process) => State::Exited,
        Phase::Started(_) => match group(cgroups, stack, &record.name).is_frozen() {
            Ok(true) => State::Paused,
            Ok(false) | Err(_) => State::Running,
        },
    }
}

fn is_there(process: &Process) -> bool {
    process.boot == program::boot()
        && program::ticks(process.pid) == Some(process.ticks)
        && program::code(process.pid).is_none()
}
