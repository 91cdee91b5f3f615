//! What exists: the planner's view of records and kernel objects.

use std::collections::{BTreeMap, BTreeSet};

use composer_stack::{Bandwidth, Network, Resources, Service};

/// What exists of one stack.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// Whether the stack's parent cgroup is there.
    pub group: bool,
    /// Its limits, as they were last set.
    pub resources: Resources,
    /// How fast all of it receives and sends at most, as it was last set.
    pub bandwidth: Bandwidth,
    /// The networks that have been made, by their keys in the file.
    pub networks: BTreeMap<String, ObservedNetwork>,
    /// Names of the volumes on the host that belong to the stack.
    pub volumes: BTreeSet<String>,
    /// Containers by name.
    pub containers: BTreeMap<String, ObservedContainer>,
}

/// One network that has been made.
#[derive(Clone, Debug)]
pub struct ObservedNetwork {
    /// What it was made by.
    pub config: Network,
    /// Whether its bridge is there still.
    pub up: bool,
}

/// One container that exists.
#[derive(Clone, Debug)]
pub struct ObservedContainer {
    /// The configuration it has: that of its service when it was made, or brought up to date since. Its dependencies
    /// are those of that time, so that `down` needs no file.
    pub config: Service,
    /// Which replica, from 1.
    pub index: u32,
    /// What it is doing.
    pub state: ObservedState,
    /// It was started, and its `post_start` has not run to a good end.
    pub unfinished: bool,
    /// It runs, and somebody has taken this of its networks away.
    pub lack: Option<Lack>,
}

/// What a container that runs has lost of its networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    /// A link, that it is up, or its bridge.
    Link,
    /// What limits its bandwidth.
    Limit,
}

/// What a container is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObservedState {
    /// Made, never started; also one that was left half-made by a crash.
    Created,
    /// Its program runs.
    Running,
    /// Its program has ended with this code.
    Exited(i32),
}

impl ObservedContainer {
    /// The service it was made for.
    pub fn service(&self) -> &str {
        &self.config.name
    }

    /// Whether there is a program that has to be stopped before anything else.
    pub fn runs(&self) -> bool {
        match self.state {
            ObservedState::Running => true,
            ObservedState::Created | ObservedState::Exited(_) => false,
        }
    }
}

impl Observed {
    /// The containers of each service, in the order of their names.
    pub(crate) fn by_service(&self) -> BTreeMap<&str, Vec<Found<'_>>> {
        let mut services: BTreeMap<&str, Vec<Found<'_>>> = BTreeMap::new();
        for (name, container) in &self.containers {
            services.entry(container.service()).or_default().push(Found { name, container });
        }
        services
    }
}

/// A container that exists, and its name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found<'a> {
    pub name: &'a str,
    pub container: &'a ObservedContainer,
}
