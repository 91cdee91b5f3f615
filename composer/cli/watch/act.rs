//! What is done when files have changed.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use composer_stack::{AfterSync, Hook, TriggerAction};
use composer_supervisor::archive::{Owner, Rule as Placing};
use composer_supervisor::client::Client;
use composer_supervisor::protocol::{self, ContainerStatus, Reply, Request, State, Way};

use super::Note;
use super::rule::Rule;
use crate::commands::{context, copy};

/// Does what rules say.
pub struct Actor {
    stack: String,
    /// Readable when watching is over.
    ended: OwnedFd,
}

type Outcome = Result<(), String>;
/// Takes what is to be told; fails where nobody listens any more.
type Say<'a> = &'a mut dyn FnMut(Note) -> io::Result<()>;

/// So many failures of one kind are told; who has more reads no further.
const TOLD: usize = 5;

impl Actor {
    /// In this stack, until `ended` is readable.
    pub fn new(stack: &str, ended: OwnedFd) -> Self {
        Self { stack: stack.to_owned(), ended }
    }

    /// Readable when watching is over.
    pub fn ended(&self) -> BorrowedFd<'_> {
        self.ended.as_fd()
    }

    /// What is done before watching: files that are to be in the containers from the beginning.
    pub fn begin(&self, rule: &Rule, say: Say<'_>) -> io::Result<()> {
        match &rule.trigger.action {
            TriggerAction::Sync { target, initial: true, .. } => {
                say(told(rule, "copy", self.sync(rule, target, &[rule.path().to_owned()])))
            }
            TriggerAction::Sync { .. } | TriggerAction::Restart | TriggerAction::Rebuild => Ok(()),
        }
    }

    /// Does what the rule says of these paths.
    pub fn act(&self, rule: &Rule, changed: &[PathBuf], say: Say<'_>) -> io::Result<()> {
        let service = &rule.service;
        match &rule.trigger.action {
            // Refused before watching begins.
            TriggerAction::Rebuild => Ok(()),
            TriggerAction::Restart => say(told(rule, "restart", self.restart(service))),
            TriggerAction::Sync { target, then, .. } => {
                let count = changed.len();
                let plural = if count == 1 { "change was" } else { "changes were" };
                // Before it: what follows may take long.
                say(Note::Done(format!("Syncing service {service:?} after {count} {plural} detected")))?;
                if let Err(error) = self.sync(rule, target, changed) {
                    return say(told(rule, "sync", Err(error)));
                }
                match then {
                    AfterSync::Nothing => Ok(()),
                    AfterSync::Restart => say(told(rule, "restart", self.restart(service))),
                    AfterSync::Exec(hook) => say(told(rule, "exec in", self.exec(service, hook))),
                }
            }
        }
    }

    fn running(&self, service: &str) -> Result<Vec<ContainerStatus>, String> {
        let mut found = context::containers(&self.stack).map_err(|error| error.to_string())?;
        found.retain(|container| {
            container.service == service && container.state == State::Running && !container.oneoff
        });
        Ok(found)
    }

    /// Goes on after a failure: what has changed once is not told again.
    fn sync(&self, rule: &Rule, target: &str, changed: &[PathBuf]) -> Outcome {
        let mut failed = Vec::new();
        for container in self.running(&rule.service)? {
            for path in changed {
                let Some(below) = rule.below(path) else { continue };
                if self.is_over() {
                    return Err(OVER.to_owned());
                }
                let inside = join(target, below);
                failed.extend(self.sync_path(rule, target, &container.name, path, &inside).err());
            }
        }
        if failed.is_empty() { Ok(()) } else { Err(summary(failed)) }
    }

    fn sync_path(&self, rule: &Rule, target: &str, container: &str, path: &Path, inside: &str) -> Outcome {
        let owner = Owner::Set(0, 0);
        match look(rule, path) {
            Ok(Found::There) => {}
            Ok(Found::Gone) => {
                let top = join(target, Path::new(""));
                return self.ask(container, inside, Way::Remove { top });
            }
            Ok(Found::Replaced) => return Ok(()),
            Err(error) => return Err(format!("{}: {error}", path.display())),
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let way = Way::In { rule: Placing::Exact { top: join(target, Path::new("")) }, owner };
        let sent = copy::send(&self.stack, container, inside, way, path, &name, false);
        match sent {
            // Gone between the look and the copy: its removal is told next.
            Err(_) if !path.exists() => Ok(()),
            other => other.map(drop).map_err(|error| error.to_string()),
        }
    }

    fn ask(&self, container: &str, path: &str, way: Way) -> Outcome {
        let request = protocol::Copy { container: container.to_owned(), path: path.to_owned(), way };
        self.request(&Request::Copy(request)).map(drop)
    }

    fn exec(&self, service: &str, hook: &Hook) -> Outcome {
        for container in self.running(service)? {
            let request = protocol::Exec {
                service: service.to_owned(),
                index: Some(container.index),
                argv: hook.command.clone(),
                env: hook.environment.clone().into_iter().collect(),
                user: hook.user.clone(),
                cwd: hook.working_dir.clone(),
                terminal: None,
                detach: false,
                privileged: hook.privileged,
            };
            match self.request(&Request::Exec(Box::new(request)))? {
                Some(0) | None => {}
                Some(code) => return Err(format!("{} ended with code {code}", hook.command.join(" "))),
            }
        }
        Ok(())
    }

    fn is_over(&self) -> bool {
        super::wait(self.ended(), self.ended(), Some(Duration::ZERO)).is_ok_and(|(_, over)| over)
    }

    /// Asks, and waits for the end or until watching is over; the code of a program.
    fn request(&self, request: &Request) -> Result<Option<i32>, String> {
        let text = |error: composer_supervisor::client::Error| error.to_string();
        let client = Client::find(&self.stack).map_err(text)?;
        let client = client.ok_or_else(|| "the stack is gone".to_owned())?;
        client.send(request, &[]).map_err(text)?;
        let mut code = None;
        loop {
            let (answered, over) =
                super::wait(client.as_fd(), self.ended(), None).map_err(|e| e.to_string())?;
            if over {
                // Whose client goes is told so, as by a terminal that goes.
                return Err(OVER.to_owned());
            }
            let Some((reply, _)) = (if answered { client.next().map_err(text)? } else { None }) else {
                continue;
            };
            match reply {
                Reply::Exited { code: of_program, .. } => code = Some(of_program),
                Reply::Done => return Ok(code),
                Reply::Failed(failure) => return Err(failure.message),
                Reply::Event(_)
                | Reply::Plan(_)
                | Reply::Containers { .. }
                | Reply::Attached(_)
                | Reply::Executing { .. }
                | Reply::Paused(_)
                | Reply::Waits(_)
                | Reply::Begun { .. }
                | Reply::Hold => {}
            }
        }
    }

    fn restart(&self, service: &str) -> Outcome {
        let restart =
            protocol::Restart { services: vec![service.to_owned()], ..protocol::Restart::default() };
        self.request(&Request::Restart(restart)).map(drop)
    }
}

/// Why something was left in the middle.
const OVER: &str = "watching has ended";

fn told(rule: &Rule, what: &str, outcome: Outcome) -> Note {
    let service = &rule.service;
    match outcome {
        Ok(()) => Note::Done(format!("{what} service {service:?}: done")),
        Err(error) => Note::Warning(format!("{what} service {service:?}: {error}")),
    }
}

/// One text of what has failed.
fn summary(mut failed: Vec<String>) -> String {
    let more = failed.len().saturating_sub(TOLD);
    failed.truncate(TOLD);
    let text = failed.join("\n");
    if more == 0 { text } else { format!("{text}\nand {more} more") }
}

/// What has become of a path.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    There,
    Gone,
    /// It went when a file or link took the place of a folder above it, which is synced itself.
    Replaced,
}

/// Looks at a path. A link above it, below what is watched, leads to files that are not meant.
fn look(rule: &Rule, path: &Path) -> io::Result<Found> {
    let below = rule.below(path).unwrap_or(Path::new(""));
    let mut above = rule.path().to_owned();
    for part in below.parent().into_iter().flatten() {
        above.push(part);
        match std::fs::symlink_metadata(&above) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => return Ok(if rule.matches(&above) { Found::Replaced } else { Found::Gone }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Gone),
            Err(error) => return Err(error),
        }
    }
    match std::fs::symlink_metadata(path) {
        Ok(_) => Ok(Found::There),
        // The second one where a folder above it has become a file in this moment.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(Found::Gone)
        }
        Err(error) => Err(error),
    }
}

/// A path below a target in a container.
fn join(target: &str, below: &Path) -> String {
    let mut path = PathBuf::from("/").join(target);
    path.extend(below.components().filter(|part| matches!(part, Component::Normal(_))));
    path.to_string_lossy().into_owned()
}
