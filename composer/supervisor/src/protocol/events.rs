//! What happens to a stack.

use std::net::IpAddr;

use composer_stack::LimitChange;
use serde::{Deserialize, Serialize};

/// Something that happened to a stack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When, in nanoseconds since the Unix epoch.
    pub time: u64,
    /// What it happened to.
    pub subject: Subject,
    /// What happened.
    pub action: Action,
}

/// What an event is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Subject {
    /// The parent cgroup.
    Group,
    /// The network by its name for users, `shop_default`.
    Network(String),
    /// A volume by its name on the host.
    Volume(String),
    /// A container.
    Container {
        /// Its name.
        name: String,
        /// Its service.
        service: String,
    },
    /// A container of `run`, which is none of its service's replicas.
    OneOff {
        /// Its name.
        name: String,
        /// Its service.
        service: String,
    },
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// Work has begun.
    Creating,
    /// It is there.
    Created,
    /// Work has begun.
    Starting,
    /// Its program has been exec'd.
    Started {
        /// The first of its addresses.
        address: Option<IpAddr>,
    },
    /// It was running and up to date already.
    Running,
    /// `compose restart` has stopped and started it.
    Restarted,
    /// It has taken over another configuration as it is; of the group, another cap.
    Updated {
        /// The limits that have changed with it.
        limits: Vec<LimitChange>,
    },
    /// It is short of something.
    Pressure {
        /// Of what: `memory`.
        of: String,
        /// For which share of the last 10 seconds some of it has waited, in percent; `None` on cgroup v1.
        share: Option<u32>,
        /// How much it has, where that is what tells; of the stack, who has most of it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        details: Option<String>,
    },
    /// Something waits for a condition on it.
    Waiting,
    /// Its health check has passed.
    Healthy,
    /// Its health check has failed `retries` times in a row.
    Unhealthy {
        /// The last probe's output.
        output: String,
    },
    /// Its program is being stopped.
    Stopping,
    /// Its program was stopped.
    Stopped,
    /// Its program has ended.
    Exited {
        /// Its code, 128 + n for signal n; `None` where nobody can know it any more.
        code: Option<i32>,
    },
    /// Its program has ended, and its restart policy starts it again.
    Restarting {
        /// The code it has ended with, as of [`Action::Exited`], which is not told besides.
        code: Option<i32>,
        /// How often that has happened since an operation started it, this time counted.
        restarts: u32,
        /// When it starts: nanoseconds since the Unix epoch.
        at: u64,
    },
    /// Work has begun.
    Removing,
    /// It is gone.
    Removed,
    /// Its PID 1 was sent a signal.
    Killed {
        /// Its number (signal(7)).
        signal: i32,
    },
    /// Its processes are held.
    Paused,
    /// Its processes go on.
    Unpaused,
    /// It has run out of memory, and something was done about it.
    OutOfMemory(Shortage),
    /// Something about a program beside its own.
    Exec(ExecAction),
    /// Of the group: an `up`, `down` or `stop` is over, and what it has stopped does not come again by it.
    Settled,
    /// A limit is not in force, an orphan was found, and the like.
    Warning(String),
    /// It failed.
    Failed(String),
}

/// What was done about a container that has run out of memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shortage {
    /// What was done.
    pub outcome: Outcome,
    /// The same for users, with the limit that was reached.
    pub text: String,
}

/// What was done about want of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// All of it was killed, or a process in it.
    Killed,
    /// It is being held.
    Pausing,
    /// All of its processes stand still.
    Paused,
    /// Its limit was raised.
    Raised {
        /// From so many bytes.
        from: u64,
        /// To so many.
        to: u64,
    },
    /// The user's hook could not be run, or has failed.
    HookFailed,
}

/// What happens to a program that `exec` runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecAction {
    /// 64 hexadecimal digits, the same for all that happens to it.
    pub id: String,
    /// How far it has come.
    pub stage: ExecStage,
}

/// How far a program that `exec` runs has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExecStage {
    /// Asked for, with this command line.
    Created(Vec<String>),
    /// Running, with this command line.
    Started(Vec<String>),
    /// Ended, with this code.
    Ended(i32),
}
