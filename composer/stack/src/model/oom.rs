//! What happens when memory runs out.

use serde::{Deserialize, Serialize};

/// `x-oom` of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Oom {
    /// `policy`.
    pub policy: OomPolicy,
    /// `priority`: the lowest goes first where the stack's victim is chosen by it.
    pub priority: i64,
    /// `hook`, split into words: what is run on the host each time that the policy has acted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hook: Vec<String>,
}

impl Oom {
    /// Whether nothing is asked.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// `x-oom.policy`: what becomes of a container that has reached its limit of memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OomPolicy {
    /// The kernel kills one process in it.
    Kill,
    /// All of its processes are killed.
    #[default]
    KillGroup,
    /// It is frozen.
    Pause,
    /// Its limit is raised.
    Raise {
        /// By so many bytes each time.
        step: u64,
        /// To no more than this.
        max: u64,
    },
}

/// `x-oom.victim` of the stack: which container is killed when the limit of all is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Victim {
    /// That of the lowest `x-oom.priority`; of several, the one that was started last.
    Priority,
    /// That which has the most memory.
    Biggest,
    /// That which was started last.
    Newest,
}
