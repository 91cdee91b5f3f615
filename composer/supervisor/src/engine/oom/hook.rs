//! A user's command that is run on the host each time that a policy has acted.

use std::cell::{Cell, RefCell};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

use composer_sandbox::pidfd;
use composer_stack::Stack;
use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::{AccessFlags, Pid, access};

use super::super::container::Container;
use super::super::{Engine, asyncfd};
use crate::diagnose;
use crate::protocol::{Failure, Outcome, Shortage as Told};

/// A hook that takes longer is killed.
const LONGEST: Duration = Duration::from_secs(60);

impl Engine {
    /// Whether the programs of all hooks are there, as they are looked for when they are run.
    pub(in super::super) fn check_memory_hooks(&self, stack: &Stack) -> Result<(), Failure> {
        for service in stack.services.values() {
            let Some(program) = service.oom.hook.first() else { continue };
            if let Err(why) = sought(&stack.directory, program) {
                return Err(Failure {
                    at: ["services", &service.name, "x-oom", "hook", "0"].map(str::to_owned).into(),
                    help: Some("it is run on the host: name a program that is there".to_owned()),
                    ..Failure::new(format!("the hook `{program}` of {}: {why}", service.name), 1)
                });
            }
        }
        Ok(())
    }

    /// Runs the service's hook. Nobody waits for it; that it has failed is told, and stands in the supervisor's log.
    pub(super) fn run_memory_hook(self: &Rc<Self>, container: &Rc<Container>, told: &Told) {
        let service = container.record.borrow().service.clone();
        let Some((program, arguments)) = service.oom.hook.split_first() else { return };
        let record = self.record.borrow();
        let Some(folder) = record.as_ref().map(|record| record.directory.clone()) else { return };
        let action = match told.outcome {
            Outcome::Killed => "killed",
            Outcome::Pausing => "pausing",
            Outcome::Paused => "paused",
            Outcome::Raised { .. } => "raised",
            // Of itself it is not told.
            Outcome::HookFailed => return,
        };
        let mut command = Command::new(program);
        command
            .args(arguments)
            .current_dir(folder)
            .env("COMPOSE_PROJECT_NAME", &self.stack)
            .env("COMPOSE_SERVICE", &service.name)
            .env("COMPOSE_CONTAINER", container.name())
            .env("COMPOSE_OOM_ACTION", action)
            .env("COMPOSE_OOM_MESSAGE", &told.text)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let what = format!("x-oom hook `{program}` of {}", container.name());
        let queue = Rc::clone(&container.memory.hook);
        queue.next.replace(Some((command, what)));
        if queue.is_running.replace(true) {
            return;
        }
        let (engine, container) = (Rc::clone(self), Rc::clone(container));
        tokio::task::spawn_local(async move {
            while let Some((command, what)) = queue.next.take() {
                if let Err(why) = run(command).await {
                    let text = format!("{what}: {why}");
                    diagnose(&text);
                    engine.tell_shortage(&container, Told { outcome: Outcome::HookFailed, text });
                }
            }
            queue.is_running.set(false);
        });
    }
}

/// The hooks of a container: one follows the other, and of what has happened while one ran the last is told.
#[derive(Default)]
pub(super) struct Queue {
    is_running: Cell<bool>,
    next: RefCell<Option<(Command, String)>>,
}

/// Looks for a program as execvp(3) does.
fn sought(folder: &Path, program: &str) -> nix::Result<()> {
    let is_there = |path: &Path| {
        access(path, AccessFlags::X_OK)?;
        if path.is_dir() { Err(Errno::EACCES) } else { Ok(()) }
    };
    if program.contains('/') {
        return is_there(&folder.join(program));
    }
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/bin:/usr/bin".into());
    let found = std::env::split_paths(&path).any(|place| is_there(&folder.join(place).join(program)).is_ok());
    if found { Ok(()) } else { Err(Errno::ENOENT) }
}

/// A hook that runs. It is killed, with what it has started, where nobody waits for it any more.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(None)) {
            let _ = killpg(Pid::from_raw(self.0.id().cast_signed()), Signal::SIGKILL);
            let _ = self.0.wait();
        }
    }
}

async fn run(mut command: Command) -> Result<(), String> {
    let mut child = Running(command.process_group(0).spawn().map_err(|error| error.to_string())?);
    let end = pidfd::open(child.0.id().cast_signed()).and_then(asyncfd::readable);
    let end = end.map_err(|error| format!("wait for its end: {error}"))?;
    if tokio::time::timeout(LONGEST, end.readable()).await.is_err() {
        return Err(format!("it took longer than {LONGEST:?} and was killed"));
    }
    match child.0.wait().map_err(|error| error.to_string())? {
        status if status.success() => Ok(()),
        status => Err(status.to_string()),
    }
}
