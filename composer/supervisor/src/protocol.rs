//! What the CLI and the supervisor say to each other: one seqpacket socket a stack, a message a packet.
//!
//! The CLI sends one [`Request`] on a connection; the supervisor answers with any number of [`Reply`]s, the
//! last being [`Reply::Done`] or [`Reply::Failed`]. Closing the connection abandons what was asked: an `up`
//! that is under way stops where it is. Messages too large for a packet go as a memfd (see `channel`).

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use composer_sandbox::archive::{Owner, Rule};
use composer_stack::Stack;
use serde::{Deserialize, Serialize};

/// Both sides must be of the same version: the protocol is private.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What the CLI asks.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Request {
    /// Bring the stack up. Answered with events, then `Done` when every service has been exec'd, or, with
    /// `wait`, when every service runs, is healthy where it has a health check, or has completed with status 0.
    Up(Box<Up>),
    /// Take the stack away. `Done` means that nothing is left but the two processes, which end after it.
    Down(Down),
    /// Stop containers, dependents first, and leave them.
    Stop(Stop),
    /// Send a signal to the containers' PID 1.
    Kill(Kill),
    /// Answered with one `Containers`.
    Status,
    /// Answered with events until the connection is closed.
    Watch,
    /// Run a program in a running container. Three descriptors come along: its standard input, output and
    /// error; with `terminal` none. Answered with `Executing` (with the terminal's master as a descriptor when
    /// one was asked for), then `Exited`, then `Done`; with `detach` `Done` after exec.
    Exec(Box<Exec>),
    /// Copy files out of a running container, or into it. One descriptor comes along: where the tar stream goes to or
    /// comes from, a pipe.
    Copy(Copy),
}

/// `compose up`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Up {
    /// The file, read and checked.
    pub stack: Stack,
    /// Services named; empty means all.
    pub services: Vec<String>,
    /// Only print the plan: answered with one `Plan`.
    pub dry_run: bool,
    /// Wait until services run or are healthy.
    pub wait: bool,
    /// Give up waiting after this time.
    pub wait_timeout: Option<Duration>,
    /// Grace period of containers that have to be stopped, over the file's.
    pub timeout: Option<Duration>,
    /// The caller's PATH: what programs a root filesystem of the host offers.
    pub path: String,
}

/// `compose down`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Down {
    /// Services named; empty means all, with network and cgroup.
    pub services: Vec<String>,
    /// Grace period over the file's.
    pub timeout: Option<Duration>,
    /// Volumes go too.
    pub volumes: bool,
    /// With `volumes`: those of the file, by their names on the host, which go even where no record of the stack
    /// knows them any more.
    pub named: Vec<String>,
    /// Only print the plan.
    pub dry_run: bool,
}

/// Stopping without removing.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Stop {
    /// Services named; empty means all.
    pub services: Vec<String>,
    /// Grace period over the file's.
    pub timeout: Option<Duration>,
}

/// A signal to containers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Kill {
    /// Services named; empty means all.
    pub services: Vec<String>,
    /// The signal's number (signal(7)).
    pub signal: i32,
}

/// `compose exec`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Exec {
    /// The service.
    pub service: String,
    /// Which replica; the first running one where absent.
    pub index: Option<u32>,
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// Variables over the service's environment.
    pub env: Vec<(String, String)>,
    /// User over the service's.
    pub user: Option<String>,
    /// Working folder over the service's.
    pub cwd: Option<String>,
    /// Give the program a terminal of this many rows and columns.
    pub terminal: Option<(u16, u16)>,
    /// Do not wait for its end.
    pub detach: bool,
    /// All capabilities.
    pub privileged: bool,
}

/// `compose cp`, and what `watch` syncs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Copy {
    /// The container's name.
    pub container: String,
    /// The path in it.
    pub path: String,
    /// Which way.
    pub way: Way,
}

/// Which way files are copied.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Way {
    /// Out of the container.
    Out {
        /// What they are called in the stream.
        name: String,
        /// Of a symbolic link, what it leads to.
        follow: bool,
    },
    /// Into it.
    In {
        /// Where they go from `path`.
        rule: Rule,
        /// Whose they are.
        owner: Owner,
    },
    /// Nothing comes: `path` is removed, which may be gone already.
    Remove,
}

/// What the supervisor answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Reply {
    /// Something happened.
    Event(Event),
    /// The plan of a dry run, as text.
    Plan(String),
    /// The stack's containers, by name.
    Containers(Vec<ContainerStatus>),
    /// The program of an `Exec` runs.
    Executing {
        /// Its process id in the host's PID namespace.
        pid: i32,
    },
    /// The program of an `Exec` has ended: its code, 128 + n for signal n.
    Exited {
        /// The code.
        code: i32,
    },
    /// What was asked is done.
    Done,
    /// What was asked failed.
    Failed(Failure),
}

/// Why a request failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What failed, on what, why, and what to do; the first line stands for itself.
    pub message: String,
    /// The exit status for the CLI: 1, or 126 and 127 where a program could not be run.
    pub code: i32,
}

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
        /// Its address on the stack's network.
        address: Option<Ipv4Addr>,
    },
    /// It was running and up to date already.
    Running,
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
    /// Work has begun.
    Removing,
    /// It is gone.
    Removed,
    /// Of the group: an `up`, `down` or `stop` is over, and what it has stopped does not come again by it.
    Settled,
    /// A limit is not in force, an orphan was found, and the like.
    Warning(String),
    /// It failed.
    Failed(String),
}

/// What a container is doing, in Docker's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Made, not started.
    Created,
    /// Its program runs.
    Running,
    /// Its program has ended.
    Exited,
}

/// Docker's words for health.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// No probe has passed yet.
    Starting,
    /// The last probe passed.
    Healthy,
    /// `retries` probes failed in a row.
    Unhealthy,
}

/// One line of `ps`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ContainerStatus {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its service.
    pub service: String,
    /// Which replica, from 1.
    pub index: u32,
    /// What stands in an image's place: `host` or the root folder.
    pub rootfs: String,
    /// What was executed.
    pub argv: Vec<String>,
    /// Labels of the service.
    pub labels: BTreeMap<String, String>,
    /// Targets and sources of its mounts.
    pub mounts: Vec<String>,
    /// The volumes among them.
    pub local_volumes: u32,
    /// What it does.
    pub state: State,
    /// Its health where it has a check.
    pub health: Option<Health>,
    /// The code it has ended with; `None` while it runs, or where nobody can know it any more.
    pub exit_code: Option<i32>,
    /// Why it ended or did not start, where that is not its own doing.
    pub reason: Option<String>,
    /// Its PID 1 in the host's PID namespace while it runs.
    pub pid: Option<i32>,
    /// Its address on the stack's network.
    pub address: Option<Ipv4Addr>,
    /// When it was made: nanoseconds since the Unix epoch.
    pub created: u64,
    /// When its program was last started.
    pub started: Option<u64>,
    /// When its program ended.
    pub finished: Option<u64>,
    /// Whether `up` shows its logs (`attach`).
    pub attach: bool,
    /// Where its logs are: see `logs::Reader`.
    pub log: std::path::PathBuf,
}
