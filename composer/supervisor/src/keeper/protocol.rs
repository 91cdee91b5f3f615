//! What the supervisor and the keeper say to each other.

use composer_sandbox::{ContainerSpec, ExecSpec};
use serde::{Deserialize, Serialize};

/// The descriptor that the keeper finds the stack's listening socket under.
pub const LISTENER: i32 = 3;
/// The descriptor under which a keeper finds its living supervisor, and a supervisor its keeper.
pub const PEER: i32 = 4;

/// What the supervisor orders.
#[derive(Debug, Serialize, Deserialize)]
pub enum Order {
    /// Clone a container. Descriptors: standard input, output, error, start, report, the network namespace where it
    /// joins another's, pidfds of those whose PID and IPC namespaces it joins and, on cgroup v2, the folder of its cgroup.
    Spawn {
        /// Names the child in notices.
        tag: String,
        /// What to make.
        spec: Box<ContainerSpec>,
    },
    /// Run a program in a container. Descriptors: the container's pidfd, standard input, output, error, report
    /// and, on cgroup v2, the folder of its cgroup.
    Exec {
        /// Names the child in notices.
        tag: String,
        /// PID 1 of the container in the host's PID namespace.
        target: i32,
        /// What to run.
        spec: Box<ExecSpec>,
    },
    /// Keep the descriptors that come along, in place of those under the same key.
    Hold {
        /// Their key.
        key: String,
    },
    /// Close the descriptors under this key.
    Release {
        /// Their key.
        key: String,
    },
    /// The end of this child has been recorded and need not be told again.
    Acknowledge {
        /// Its process id.
        pid: i32,
    },
    /// End, once the supervisor has.
    Quit,
}

/// What the keeper tells.
#[derive(Debug, Serialize, Deserialize)]
pub enum Notice {
    /// A child was cloned; its pidfd comes along.
    Spawned {
        /// As ordered.
        tag: String,
        /// In the host's PID namespace.
        pid: i32,
    },
    /// A child could not be cloned.
    Refused {
        /// As ordered.
        tag: String,
        /// What failed, on what, why.
        message: String,
    },
    /// To a new supervisor: a child that lives; its pidfd comes along.
    Child {
        /// As ordered.
        tag: String,
        /// In the host's PID namespace.
        pid: i32,
    },
    /// To a new supervisor: descriptors that are held; they come along.
    Held {
        /// Their key.
        key: String,
    },
    /// To a new supervisor: that was all. The keeper's own pidfd comes along.
    Ready,
    /// A child has ended. Told to every new supervisor until it is acknowledged.
    Exited {
        /// As ordered.
        tag: String,
        /// In the host's PID namespace.
        pid: i32,
        /// Its code, 128 + n for signal n.
        code: i32,
        /// When, in nanoseconds since the Unix epoch.
        time: u64,
    },
}
