//! A user's command that is run on the host each time that a policy has acted.

use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

use super::super::Engine;
use super::super::container::Container;
use crate::diagnose;
use crate::protocol::{Outcome, Shortage as Told};

/// A hook that takes longer is killed.
const LONGEST: Duration = Duration::from_secs(60);
/// How it is looked for the end of a hook: the first pause, which doubles up to the second.
const PAUSES: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(500));

impl Engine {
    /// Runs the service's hook. Nobody waits for it; that it has failed stands in the supervisor's log.
    pub(super) fn run_memory_hook(&self, container: &Container, told: &Told) {
        let service = container.record.borrow().service.clone();
        let Some((program, arguments)) = service.oom.hook.split_first() else { return };
        let record = self.record.borrow();
        let Some(folder) = record.as_ref().map(|record| record.directory.clone()) else { return };
        let action = match told.outcome {
            Outcome::Killed => "killed",
            Outcome::Pausing => "pausing",
            Outcome::Paused => "paused",
            Outcome::Raised { .. } => "raised",
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
        let before = Rc::clone(&container.memory.hook);
        tokio::task::spawn_local(async move {
            let _turn = before.lock().await;
            let ran = tokio::task::spawn_blocking(move || run(command)).await;
            if let Err(why) = ran.map_err(|error| error.to_string()).and_then(|ran| ran) {
                diagnose(&format!("{what}: {why}"));
            }
        });
    }
}

fn run(mut command: Command) -> Result<(), String> {
    let mut child = command.spawn().map_err(|error| error.to_string())?;
    let (mut waited, mut pause) = (Duration::ZERO, PAUSES.0);
    loop {
        match child.try_wait().map_err(|error| error.to_string())? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => return Err(status.to_string()),
            None if waited >= LONGEST => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("it took longer than {LONGEST:?} and was killed"));
            }
            None => {
                std::thread::sleep(pause);
                waited += pause;
                pause = (pause * 2).min(PAUSES.1);
            }
        }
    }
}
