//! From a container's pipes to its log, one task a pipe.

use std::cell::RefCell;
use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::rc::Rc;

use nix::sys::stat::Mode;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{Engine, asyncfd};
use crate::diagnose;
use crate::logs::{Stream, Taken, Writer};
use crate::protocol::{Action, Subject};

/// How much one pipe may move before others have their turn, in bytes.
const TURN: usize = 8 << 20;

/// Makes the FIFO of a standard stream: it belongs to the container's user later, so that `/dev/stderr` opens.
/// Returns the end to read and the end that the container holds open, for reading too: a writer whose reader
/// has died is not killed by SIGPIPE, it waits for the next reader.
pub fn make(path: &Path) -> io::Result<(OwnedFd, OwnedFd)> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    nix::unistd::mkfifo(path, Mode::from_bits_truncate(0o600))?;
    let reader = open(path)?;
    let both = OpenOptions::new().read(true).write(true).open(path)?;
    Ok((reader, both.into()))
}

/// Opens the end to read of a FIFO that exists.
pub fn open(path: &Path) -> io::Result<OwnedFd> {
    Ok(OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?.into())
}

/// The tasks that keep a program's log.
pub struct Logging {
    /// What they write.
    pub writer: Rc<RefCell<Writer>>,
    tasks: Vec<JoinHandle<()>>,
    /// Dropped once the program has ended.
    running: watch::Sender<()>,
}

impl Logging {
    /// Saves the last output of a program that has ended, and with it everything in its PID namespace. The pipe's own
    /// end is not waited for: one that was opened without a writer never tells it (poll(2)), and somebody outside
    /// may have opened it too.
    pub async fn finish(self) {
        drop(self.running);
        for task in self.tasks {
            let _ = task.await;
        }
    }
}

impl Engine {
    /// Moves what comes through these pipes into the log until [`Logging::finish`], or until nobody can write to them
    /// any more. `fresh` where the program begins in this moment.
    pub(super) fn log(
        self: &Rc<Self>,
        container: &str,
        folder: &Path,
        keep: composer_stack::Logging,
        pipes: Vec<(Stream, OwnedFd)>,
        fresh: bool,
    ) -> io::Result<Logging> {
        let writer = if fresh { Writer::open_for_run(folder, keep)? } else { Writer::open(folder, keep)? };
        let writer = Rc::new(RefCell::new(writer));
        let (running, _) = watch::channel(());
        let mut tasks = Vec::new();
        for (stream, pipe) in pipes {
            let pipe = asyncfd::readable(pipe)?;
            let (engine, writer, name) = (Rc::clone(self), Rc::clone(&writer), container.to_owned());
            let running = running.subscribe();
            tasks.push(tokio::task::spawn_local(async move {
                if let Err(error) = engine.drain(&name, &writer, stream, &pipe, running).await {
                    diagnose(&format!("log of {name}: {error}"));
                }
            }));
        }
        Ok(Logging { writer, tasks, running })
    }

    async fn drain(
        &self,
        name: &str,
        writer: &RefCell<Writer>,
        stream: Stream,
        pipe: &tokio::io::unix::AsyncFd<OwnedFd>,
        mut running: watch::Receiver<()>,
    ) -> io::Result<()> {
        let mut complained = false;
        loop {
            let ready = tokio::select! {
                biased;
                _ = running.changed() => None,
                ready = pipe.readable() => Some(ready?),
            };
            let taken = writer.borrow_mut().take(stream, pipe.as_fd(), TURN)?;
            let lost = writer.borrow_mut().lost();
            if lost > 0 && !complained {
                complained = true;
                let subject = match self.container(name) {
                    Some(container) => {
                        let service = container.record.borrow().service.name.clone();
                        Subject::Container { name: name.to_owned(), service }
                    }
                    None => Subject::Group,
                };
                let text = "the disk that holds its log is full: output is being thrown away".to_owned();
                self.announce(subject, Action::Warning(text));
            }
            match (taken, ready) {
                (Some(Taken::Ended), _) | (Some(Taken::Drained), None) => return Ok(()),
                (Some(Taken::Drained), Some(mut ready)) => ready.clear_ready(),
                (None, _) => tokio::task::yield_now().await,
            }
        }
    }
}
