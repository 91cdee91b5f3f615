//! Who asks, and what becomes of a request that is made again after a supervisor's death.

use serde::{Deserialize, Serialize};

use super::{Copy, Request, VERSION, Way};

/// A request, and whose it is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Asked {
    /// The version of whoever asks. This field keeps its name for ever.
    pub version: String,
    /// What is asked.
    pub request: Request,
    /// Who asks.
    pub origin: Origin,
}

impl Asked {
    /// What this process asks in this moment.
    pub fn now(request: Request) -> Self {
        let pid = std::process::id().cast_signed();
        let origin = Origin { pid, asked: crate::clock::since_boot(), again: None };
        Self { version: VERSION.to_owned(), request, origin }
    }

    /// Reads what this version has asked; fails with another one's number, where it says that.
    pub fn read(text: &[u8]) -> Result<Self, Option<String>> {
        #[derive(Deserialize)]
        struct Asker {
            version: String,
        }
        let asker = serde_json::from_slice(text).ok().map(|Asker { version }| version);
        if asker.as_deref() != Some(VERSION) {
            return Err(asker);
        }
        serde_json::from_slice(text).map_err(|_| asker)
    }
}

/// Who asks, and since when.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Origin {
    /// Its process id.
    pub pid: i32,
    /// When it asked first: nanoseconds since the host was booted.
    pub asked: u64,
    /// It has asked another supervisor before, which has died.
    pub again: Option<Again>,
}

/// What is known of a request that was made before.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Again {
    /// The stack in which it had its turn, where it had: see [`super::Reply::Begun`].
    pub stack: Option<u64>,
}

/// Who has the turn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The command.
    pub verb: String,
    /// The process that asked for it.
    pub pid: i32,
    /// When its turn began: nanoseconds since the Unix epoch.
    pub since: u64,
}

/// What a command is for, as far as commands undo each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Purpose {
    /// That something exists, and runs.
    Make,
    /// That something runs which exists.
    Start,
    /// That something does not run.
    End,
    /// That nothing is left of the stack.
    Clear,
    /// That what does not run is not left.
    Remove,
    /// That what runs has a signal.
    Signal,
    /// That something is held where it is.
    Hold,
    /// That it goes on.
    Release,
}

impl Purpose {
    /// The purposes of commands that, asked later, undo what this one does.
    pub fn yields_to(self) -> &'static [Self] {
        match self {
            Self::Make | Self::Start => &[Self::End, Self::Clear],
            Self::End | Self::Remove | Self::Signal => &[Self::Make, Self::Start],
            Self::Clear => &[Self::Make],
            Self::Hold => &[Self::Make, Self::Start, Self::End, Self::Clear, Self::Release],
            Self::Release => &[Self::Hold],
        }
    }
}

impl Request {
    /// The command as users know it.
    pub fn verb(&self) -> &'static str {
        match self {
            Self::Up(_) => "up",
            Self::Down(_) => "down",
            Self::Stop(_) => "stop",
            Self::Start(_) => "start",
            Self::Restart(_) => "restart",
            Self::Remove(_) => "rm",
            Self::Kill(_) => "kill",
            Self::Pause(pause) if pause.hold => "pause",
            Self::Pause(_) => "unpause",
            Self::Set(_) => "set",
            Self::Share(_) => "share",
            Self::Status => "ps",
            Self::Watch => "events",
            Self::Exec(_) => "exec",
            Self::Run(_) => "run",
            Self::Attach(_) => "attach",
            Self::Copy(Copy { way: Way::Whole, .. }) => "export",
            Self::Copy(Copy { way: Way::Layer { .. }, .. }) => "commit",
            Self::Copy(_) => "cp",
        }
    }

    /// What it is for; `None` of a request that changes nothing which another one could undo.
    pub fn purpose(&self) -> Option<Purpose> {
        match self {
            Self::Up(_) => Some(Purpose::Make),
            Self::Start(_) | Self::Restart(_) | Self::Run(_) => Some(Purpose::Start),
            Self::Down(down) if down.services.is_empty() => Some(Purpose::Clear),
            Self::Down(_) | Self::Stop(_) => Some(Purpose::End),
            Self::Remove(_) => Some(Purpose::Remove),
            Self::Kill(_) => Some(Purpose::Signal),
            Self::Pause(pause) if pause.hold => Some(Purpose::Hold),
            Self::Pause(_) => Some(Purpose::Release),
            Self::Set(_)
            | Self::Share(_)
            | Self::Status
            | Self::Watch
            | Self::Exec(_)
            | Self::Attach(_)
            | Self::Copy(_) => None,
        }
    }
}

/// Why a command that was made again is not done.
pub fn overtaken(verb: &str) -> String {
    format!(
        "`{verb}` was overtaken by a later command while its supervisor was gone: what that left is left as it is"
    )
}
