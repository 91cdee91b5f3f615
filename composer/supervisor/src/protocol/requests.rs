//! What is asked, with all that it takes.

use std::time::Duration;

use composer_plan::UpOptions;
use composer_sandbox::archive::{Owner, Rule};
use composer_stack::{Service, Setting, Stack};
use serde::{Deserialize, Serialize};

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
    /// Their anonymous volumes go too.
    #[serde(default)]
    pub volumes: bool,
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

/// `compose set`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Set {
    /// Services named; empty means the stack as a whole.
    pub services: Vec<String>,
    /// Their limits from now on.
    pub limits: Setting,
    /// The kernel reclaims what it can where more is in use.
    pub force: bool,
    /// The file's limits are taken again.
    pub reset: bool,
    /// Only print what would be done.
    pub dry_run: bool,
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
    /// The whole root filesystem out of it, as [`export`](composer_sandbox::archive::export) does; `path` means nothing.
    Whole,
    /// What it has changed of its image out of it, as a layer of another; `path` means nothing.
    Layer {
        /// Hold it meanwhile, where it runs.
        pause: bool,
    },
    /// Into it.
    In {
        /// Where they go from `path`.
        rule: Rule,
        /// Whose they are.
        owner: Owner,
    },
    /// Nothing comes: `path` is removed, which may be gone already.
    Remove {
        /// As in [`Rule::Exact`]: below it no link is followed.
        top: String,
    },
}
