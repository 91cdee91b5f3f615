//! What exists: the planner's view of records and kernel objects.

use std::collections::{BTreeMap, BTreeSet};

/// What exists of one stack.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// Whether the stack's parent cgroup is there.
    pub group: bool,
    /// Whether the stack's bridge is there.
    pub network: bool,
    /// Names of the volumes on the host that belong to the stack.
    pub volumes: BTreeSet<String>,
    /// Containers by name.
    pub containers: BTreeMap<String, ObservedContainer>,
}

/// One container that exists.
#[derive(Clone, Debug)]
pub struct ObservedContainer {
    /// The service it was made for.
    pub service: String,
    /// Which replica, from 1.
    pub index: u32,
    /// The hash of the service's configuration it was made with (`composer_stack::config_hash`).
    pub config_hash: String,
    /// What it is doing.
    pub state: ObservedState,
    /// Services it depended on when it was made: `down` needs no file.
    pub depends_on: BTreeSet<String>,
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
