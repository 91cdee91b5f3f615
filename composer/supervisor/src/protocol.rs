//! What the CLI and the supervisor say to each other: one seqpacket socket a stack, a message a packet.
//!
//! The CLI sends one [`Request`] on a connection; the supervisor answers with any number of [`Reply`]s, the
//! last being [`Reply::Done`] or [`Reply::Failed`]. Closing the connection abandons what was asked: an `up`
//! that is under way stops where it is. Messages too large for a packet go as a memfd (see `channel`).

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use composer_plan::UpOptions;
use composer_sandbox::archive::{Owner, Rule};
use composer_stack::{Service, Stack};
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
    /// Start containers that exist, dependencies first.
    Start(Start),
    /// Stop containers and start them again.
    Restart(Restart),
    /// Remove containers that do not run.
    Remove(Remove),
    /// Send a signal to the containers' PID 1.
    Kill(Kill),
    /// Hold containers where they are, or let them go on.
    Pause(Pause),
    /// Answered with one `Containers`.
    Status,
    /// Answered with events until the connection is closed.
    Watch,
    /// Run a program in a running container. Three descriptors come along: its standard input, output and
    /// error; with `terminal` none. Answered with `Executing` (with the terminal's master as a descriptor when
    /// one was asked for), then `Exited`, then `Done`; with `detach` `Done` after exec.
    Exec(Box<Exec>),
    /// Run a one-off container of a service. One descriptor may come along: its standard input. Answered with events
    /// while what it depends on is started, then as `Attach`; with `detach` with `Done` once it runs. Where the
    /// connection closes before the end, a container to be removed is stopped.
    Run(Box<Run>),
    /// Follow a container's main program. Answered with `Attached`, with a descriptor where it takes input, then
    /// `Exited`, then `Done`. The client tells [`Following`].
    Attach(Attach),
    /// Copy files out of a running container, or into it. One descriptor comes along: where the tar stream goes to or
    /// comes from, a pipe.
    Copy(Copy),
}

/// `compose up`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Up {
    /// The file, read and checked.
    pub stack: Stack,
    /// What is brought up, and how far.
    pub options: UpOptions,
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
    /// The host has booted: what a user had stopped, and is to be started `unless-stopped`, is not.
    #[serde(default)]
    pub boot: bool,
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
    /// Only print the plan.
    pub dry_run: bool,
    /// The host is going down: the next boot brings back what is stopped.
    #[serde(default)]
    pub shutdown: bool,
}

/// `compose start`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Start {
    /// Services named; empty means all. Their dependencies come along.
    pub services: Vec<String>,
    /// Wait until services run or are healthy.
    pub wait: bool,
    /// Give up waiting after this time.
    pub wait_timeout: Option<Duration>,
    /// Only print the plan.
    pub dry_run: bool,
}

/// `compose restart`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Restart {
    /// Services named; empty means all.
    pub services: Vec<String>,
    /// Leave those alone that want to be restarted with these.
    pub no_deps: bool,
    /// Grace period over the file's.
    pub timeout: Option<Duration>,
    /// Only print the plan.
    pub dry_run: bool,
}

/// `compose rm`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Remove {
    /// Services named; empty means all.
    pub services: Vec<String>,
    /// The containers that the user has agreed to; empty means all.
    pub containers: Vec<String>,
    /// With `dry_run`: plan as if those that run were stopped first.
    pub stop: bool,
    /// Only print the plan.
    pub dry_run: bool,
}

/// A signal to containers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Kill {
    /// Services named; empty means all.
    pub services: Vec<String>,
    /// The signal's number (signal(7)).
    pub signal: i32,
}

/// Holding containers, or letting them go on.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Pause {
    /// Services named; empty means all.
    pub services: Vec<String>,
    /// Hold them, or let them go on.
    pub hold: bool,
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

/// `compose run`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Run {
    /// The file, read and checked.
    pub stack: Stack,
    /// The service with everything that the command line has put over it.
    pub service: Service,
    /// The container's name.
    pub name: String,
    /// Its id: tells a request that is made again from one of somebody else.
    pub id: String,
    /// Take it away when its program ends.
    pub remove: bool,
    /// Nobody waits for its end.
    pub detach: bool,
    /// It answers to the service's names too.
    pub aliases: bool,
    /// Containers of services that the file does not have go first.
    pub remove_orphans: bool,
    /// Rows and columns of its terminal, where it has one.
    pub terminal: Option<(u16, u16)>,
    /// As in [`Up`].
    pub path: String,
    /// Only print the plan: answered with one `Plan`.
    #[serde(default)]
    pub dry_run: bool,
}

/// `compose attach`, and `compose run` after a supervisor's death.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Attach {
    /// The service.
    pub service: String,
    /// Which replica; the first running one where absent.
    pub index: Option<u32>,
    /// The container, over both.
    pub name: Option<String>,
    /// Where the connection closes, a container to be removed is stopped.
    pub own: bool,
}

/// What a client says that follows a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Following {
    /// It has the log open: a container that goes with its program may go.
    HasLog,
    /// It leaves, and the program runs on.
    Leaves,
}

/// A container that somebody follows.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Attached {
    /// Its name.
    pub name: String,
    /// Its PID 1 in the host's PID namespace; `None` where it has ended already.
    pub pid: Option<i32>,
    /// Its standard streams are a terminal, whose master comes along.
    pub terminal: bool,
    /// It takes input: by the terminal, or by a pipe that comes along.
    pub stdin: bool,
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
    /// The container that is followed.
    Attached(Attached),
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
        /// Its address on the stack's network.
        address: Option<Ipv4Addr>,
    },
    /// It was running and up to date already.
    Running,
    /// `compose restart` has stopped and started it.
    Restarted,
    /// It has taken over another configuration, limits for example, as it is.
    Updated,
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
    /// The kernel has killed a process of it for want of memory.
    OutOfMemory,
    /// Something about a program beside its own.
    Exec(ExecAction),
    /// Of the group: an `up`, `down` or `stop` is over, and what it has stopped does not come again by it.
    Settled,
    /// A limit is not in force, an orphan was found, and the like.
    Warning(String),
    /// It failed.
    Failed(String),
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

/// What a container is doing, in Docker's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Made, not started.
    Created,
    /// Its program runs.
    Running,
    /// Its program has ended and is about to be started again.
    Restarting,
    /// Its program is held where it is.
    Paused,
    /// Its program has ended.
    Exited,
}

impl State {
    /// Whether it counts as running, as in Docker: also one that is held, or about to be started again.
    pub fn is_live(self) -> bool {
        match self {
            Self::Running | Self::Paused | Self::Restarting => true,
            Self::Created | Self::Exited => false,
        }
    }
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

/// A port of a container, and where on the host it is published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publisher {
    /// The host's address; `None` where it is not published.
    pub address: Option<std::net::IpAddr>,
    /// The container's port.
    pub target: u16,
    /// The host's port; 0 where it is not published.
    pub published: u16,
    /// `tcp` or `udp`.
    pub protocol: String,
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
    /// How often its restart policy has started it since an operation did.
    pub restarts: u32,
    /// Its PID 1 in the host's PID namespace while it runs.
    pub pid: Option<i32>,
    /// Its address on the stack's network.
    pub address: Option<Ipv4Addr>,
    /// Its ports, while it runs.
    #[serde(default)]
    pub publishers: Vec<Publisher>,
    /// When it was made: nanoseconds since the Unix epoch.
    pub created: u64,
    /// When its program was last started.
    pub started: Option<u64>,
    /// When its program ended.
    pub finished: Option<u64>,
    /// Whether `up` shows its logs (`attach`).
    pub attach: bool,
    /// Whether `run` has made it: it is none of its service's replicas.
    pub oneoff: bool,
    /// Where its logs are: see `logs::Reader`.
    pub log: std::path::PathBuf,
    /// Whether anything is kept in it (`logging`).
    pub keeps_log: bool,
}
