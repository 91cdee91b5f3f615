//! What the CLI and the supervisor say to each other: one seqpacket socket a stack, a message a packet.
//!
//! The CLI sends one [`Request`] on a connection, as [`Asked`]; the supervisor answers with any number of [`Reply`]s, the
//! last being [`Reply::Done`] or [`Reply::Failed`]. Closing the connection abandons what was asked: an `up`
//! that is under way stops where it is. Messages too large for a packet go as a memfd (see `channel`).

mod events;
mod origin;
mod requests;
mod status;

pub use events::{Action, Event, ExecAction, ExecStage, Outcome, Shortage, Subject};
pub use origin::{Again, Asked, Holder, Origin, Purpose, overtaken};
pub use requests::{
    Attach, Copy, Down, Exec, Following, Kill, Pause, Remove, Restart, Run, Set, Start, Stop, Up, Way,
};
pub use status::{ContainerStatus, Health, Publisher, State};

use std::fmt;

use composer_stack::NetworkKeys;
use serde::{Deserialize, Serialize};

/// Both sides must be of the same version: the protocol is private. Two things stay as they are for ever, so that each
/// side can say what is wrong: [`Asked::version`], and the form of [`Reply::Failed`].
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
    /// Give running containers, or the whole stack, other limits.
    Set(Set),
    /// Have another stack be on a network of this one, by the network's name.
    Share(String),
    /// Answered with one `Containers`.
    Status,
    /// Answered with events until the connection is closed.
    Watch,
    /// Run a program in a running container. Three descriptors come along: its standard input, output and
    /// error; with `terminal` none. Answered with `Executing` (with the terminal's master as a descriptor when
    /// one was asked for), then `Paused` where the container is held meanwhile, `Exited`, then `Done`; with `detach` `Done` after exec.
    Exec(Box<Exec>),
    /// Run a one-off container of a service. One descriptor may come along: its standard input. Answered with events
    /// while what it depends on is started, then as `Attach`; with `detach` with `Done` once it runs. Where the
    /// connection closes before the end, a container to be removed is stopped.
    Run(Box<Run>),
    /// Follow a container's main program. Answered with `Attached`, with a descriptor where it takes input, then
    /// `Exited`, then `Done`. The client tells [`Following`].
    Attach(Attach),
    /// Copy files out of a container, or into it. One descriptor comes along: where the tar stream goes to or
    /// comes from, a pipe.
    Copy(Copy),
}

/// What the supervisor answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Reply {
    /// Something happened.
    Event(Event),
    /// The plan of a dry run, as text.
    Plan(String),
    /// The stack's containers, by name: the answer to `Status`, and the first word to whoever watches, before every
    /// event that comes after it.
    Containers {
        /// The moment of which this is true: what had been written by then is in the logs, with earlier times.
        time: u64,
        /// Those there are.
        containers: Vec<ContainerStatus>,
    },
    /// The program of an `Exec` runs.
    Executing {
        /// Its process id in the host's PID namespace.
        pid: i32,
    },
    /// The container of an `Exec`'s program is held, or goes on.
    Paused(bool),
    /// The container that is followed.
    Attached(Attached),
    /// The program of an `Exec` has ended: its code, 128 + n for signal n.
    Exited {
        /// The code.
        code: i32,
        /// Why, where it was killed for want of memory.
        starved: Option<String>,
    },
    /// What was asked waits for another command to end.
    Waits(Holder),
    /// For the client alone: what was asked has its turn, of this stack.
    Begun {
        /// Tells it from one of the same name that was there before a `down`.
        stack: u64,
    },
    /// For the client alone: descriptors that it is to hold for as long as it waits.
    Hold,
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
    /// A way out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// The value of the file that is to blame, as keys and places in lists; empty where none is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub at: Vec<String>,
    /// The exit status for the CLI: 1, or 126 and 127 where a program could not be run.
    pub code: i32,
    /// What else has failed at the same time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub more: Vec<Self>,
}

impl Failure {
    /// One that no value of the file is to blame for.
    pub fn new(message: String, code: i32) -> Self {
        Self { message, help: None, at: Vec::new(), code, more: Vec::new() }
    }

    /// The same with the networks' keys as the file has them.
    pub(crate) fn in_file(mut self, keys: &NetworkKeys) -> Self {
        keys.in_file(&mut self.at);
        self.more.iter_mut().for_each(|failure| keys.in_file(&mut failure.at));
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.help.iter().try_for_each(|help| write!(f, "; {help}"))
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_version_has_to_read_stays_as_it_is() {
        let other = br#"{"version":"0.0.1","what":["nobody","knows"]}"#;
        assert_eq!(Asked::read(other).unwrap_err().as_deref(), Some("0.0.1"));
        assert_eq!(Asked::read(br#"{"request":"Status"}"#).unwrap_err(), None);
        let failed = Reply::Failed(Failure::new("why".to_owned(), 1));
        assert_eq!(serde_json::to_string(&failed).unwrap(), r#"{"Failed":{"message":"why","code":1}}"#);
    }
}
