//! The journal of a stack: what has happened to its containers, one JSON object a line, in the stack's folder.
//!
//! The supervisor appends; whoever may read the folder reads and follows it ([`Reader`]), also while no supervisor runs.
//! It is bounded: a file that has grown to [`MOST`] makes way for a new one, and only the one before it is kept. It goes
//! with its stack.

mod reader;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};

use serde::{Deserialize, Serialize};

pub use reader::Reader;

use crate::paths::StackPaths;
use crate::protocol::Action;

/// How long a file of the journal gets before the next is begun, in bytes.
const MOST: u64 = 1 << 20;

/// One thing that has happened to a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Happening {
    /// When, in nanoseconds since the Unix epoch.
    pub time: u64,
    /// The container's id.
    pub id: String,
    /// Its name; empty where it has happened to the stack as a whole.
    pub container: String,
    /// Its service.
    pub service: String,
    /// What stands in an image's place: `host` or the root folder.
    pub image: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// What has happened.
    pub action: Action,
}

/// Whether an action is kept. What only tells how work goes on is not.
pub(crate) fn is_kept(action: &Action) -> bool {
    match action {
        Action::Created
        | Action::Started { .. }
        | Action::Healthy
        | Action::Unhealthy { .. }
        | Action::Stopped
        | Action::Exited { .. }
        | Action::Restarting { .. }
        | Action::Restarted
        | Action::Updated { .. }
        | Action::Removed
        | Action::Killed { .. }
        | Action::Paused
        | Action::Unpaused
        | Action::OutOfMemory(_)
        | Action::Exec(_) => true,
        Action::Creating
        | Action::Starting
        | Action::Running
        | Action::Waiting
        | Action::Stopping
        | Action::Removing
        | Action::Settled
        | Action::Warning(_)
        | Action::Failed(_) => false,
    }
}

/// Whether the journal of this stack tells an end of a container that is not older than `since`.
pub(crate) fn has_end(stack: &str, container: &str, since: u64) -> io::Result<bool> {
    let mut happenings = Vec::new();
    Reader::open(stack)?.read(&mut happenings)?;
    Ok(tells_end(&happenings, container, since))
}

fn tells_end(happenings: &[Happening], container: &str, since: u64) -> bool {
    happenings.iter().any(|happening| {
        let is_end = matches!(happening.action, Action::Exited { .. } | Action::Restarting { .. });
        is_end && happening.container == container && happening.time >= since
    })
}

/// Appends to the journal.
pub(crate) struct Journal {
    paths: StackPaths,
    most: u64,
    /// Open as soon as there is something to tell, with its length.
    file: Option<(File, u64)>,
}

impl Journal {
    /// The journal of this stack.
    pub fn new(paths: StackPaths) -> Self {
        Self { paths, most: MOST, file: None }
    }

    /// Appends one line. Where the stack's folder has gone there is nothing to append to, which is no error.
    pub fn append(&mut self, happening: &Happening) -> io::Result<()> {
        let mut line = serde_json::to_vec(happening)?;
        line.push(b'\n');
        let (file, length) = match &mut self.file {
            Some(open) => open,
            None => match open(&self.paths) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                opened => self.file.insert(opened?),
            },
        };
        file.write_all(&line)?;
        *length += line.len() as u64;
        if *length >= self.most {
            self.file = None;
            fs::rename(self.paths.events(), self.paths.earlier_events())?;
        }
        Ok(())
    }

    /// Forgets the file: the stack's folder is gone.
    pub fn forget(&mut self) {
        self.file = None;
    }
}

fn open(paths: &StackPaths) -> io::Result<(File, u64)> {
    let path = paths.events();
    let mut file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
    let mut length = file.metadata()?.len();
    if let Some(last) = length.checked_sub(1) {
        let mut byte = [0];
        file.read_exact_at(&mut byte, last)?;
        if byte != [b'\n'] {
            // A supervisor was killed, or the disk was full, in the middle of a line: what follows is one of its own.
            file.write_all(b"\n")?;
            length += 1;
        }
    }
    Ok((file, length))
}
