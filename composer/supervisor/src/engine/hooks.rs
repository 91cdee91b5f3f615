//! Hooks that run inside of a container: `post_start` once its program has been started by a command, `pre_stop` before
//! a command has it told to stop. What they print goes to the container's log, each line with the hook's name before it.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use composer_sandbox::ProcessSpec;
use composer_stack::Hook;

use super::Engine;
use super::attend::GRACE;
use super::container::{Container, Status};
use super::execute::{Order, StepError};
use super::inside::{self, Inside};
use super::start::StartError;
use crate::diagnose;
use crate::logs::{Stream, Writer};
use crate::protocol::Action;

/// A line that is longer than this goes to the log in parts.
const LINE: usize = 1 << 14;

impl Engine {
    /// Starts a container as a command does, with its hooks. One that runs and whose hooks have failed, or had not ended
    /// when their supervisor did, has them run again.
    pub(super) async fn start_and_finish(
        self: &Rc<Self>,
        container: &Rc<Container>,
        order: &Order,
    ) -> Result<(), StepError> {
        let is_unfinished = container.record.borrow().unfinished && container.live.borrow().is_some();
        if !is_unfinished {
            self.prepare(container, order).await?;
            Self::expect_hooks(container);
            self.start(container).await?;
        }
        self.post_start(container, order).await?;
        if container.record.borrow().unfinished {
            let finished = container.change(|record| record.unfinished = false);
            finished.map_err(|error| {
                StartError::doing(&format!("write the record of {}", container.name()), &error)
            })?;
        }
        Ok(())
    }

    /// A container that is about to be started has its `post_start` before it. Written with its process: whoever finds
    /// that on disk finds this as well.
    pub(super) fn expect_hooks(container: &Container) {
        let mut record = container.record.borrow_mut();
        record.unfinished = !record.service.post_start.is_empty();
    }

    /// Runs `post_start`, in order, as long as they take; the first that fails is the failure.
    async fn post_start(&self, container: &Rc<Container>, order: &Order) -> Result<(), StepError> {
        let hooks = container.record.borrow().service.post_start.clone();
        for hook in &hooks {
            let ended = tokio::select! {
                ended = self.hook(container, "post_start", hook) => ended,
                () = order.given_up() => return Err(StepError::Interrupted),
            };
            ended.map_err(|why| StepError::Hook { container: Rc::clone(container), why })?;
        }
        Ok(())
    }

    /// Runs `pre_stop`, in order, all of them for no longer than the grace period; one that fails keeps nothing from
    /// being stopped. Returned is the time that they took, which is part of that period.
    pub(super) async fn pre_stop(&self, container: &Rc<Container>, timeout: Option<Duration>) -> Duration {
        let (hooks, grace) = {
            let record = container.record.borrow();
            (record.service.pre_stop.clone(), record.service.stop_grace_period)
        };
        let grace = timeout.or(grace).unwrap_or(GRACE);
        // Without any time there is none for them either.
        if hooks.is_empty() || grace.is_zero() {
            return Duration::ZERO;
        }
        let began = Instant::now();
        let run = async {
            for hook in &hooks {
                if let Err(why) = self.hook(container, "pre_stop", hook).await {
                    self.announce_container(container, Action::Warning(why));
                }
            }
        };
        let mut status = container.status.subscribe();
        let over = |status: &Status| !matches!(status, Status::Running(_) | Status::Starting);
        tokio::select! {
            () = run => {}
            // It ends by itself, and its hooks with it.
            _ = status.wait_for(over) => {}
            () = tokio::time::sleep(grace) => {
                let text = format!("pre_stop took longer than the grace period of {grace:?} and was killed");
                self.announce_container(container, Action::Warning(text));
            }
        }
        began.elapsed()
    }

    /// Runs a hook to its end; why it failed.
    async fn hook(&self, container: &Rc<Container>, kind: &str, hook: &Hook) -> Result<(), String> {
        let program = hook.command.first().map_or("", String::as_str);
        let what = format!("{kind} hook `{program}` of {}", container.name());
        let log = container.live.borrow().as_ref().map(|live| Rc::clone(&live.log));
        let mut lines = Lines::new(log.ok_or_else(|| format!("{what}: the container does not run"))?, kind);
        let (mut spec, group) = self.exec_spec(container, Vec::new());
        apply(&mut spec.process, hook);
        spec.privileged = hook.privileged;
        let inside = Inside { container, purpose: inside::HOOK, spec, group };
        let ended = self.inside(inside, |text| lines.take(text)).await;
        verdict(&what, ended.map_err(|error| format!("{what}: {error}"))?)
    }
}

/// Whether a hook that ended with this code has done its work.
pub fn verdict(what: &str, code: Option<i32>) -> Result<(), String> {
    match code {
        Some(0) => Ok(()),
        Some(code) => Err(format!("{what} exited with status {code}")),
        None => Err(format!("{what} has ended, with a code that nobody knows")),
    }
}

/// Puts what a hook says over what its service says.
pub fn apply(process: &mut ProcessSpec, hook: &Hook) {
    process.argv.clone_from(&hook.command);
    process.user = hook.user.clone().or(process.user.take());
    process.cwd = hook.working_dir.clone().or(process.cwd.take());
    for (name, value) in &hook.environment {
        process.env.retain(|(known, _)| known != name);
        process.env.push((name.clone(), value.clone()));
    }
}

/// What a hook prints, on its way to the container's log.
pub struct Lines {
    log: Rc<RefCell<Writer>>,
    mark: String,
    line: Vec<u8>,
    broken: bool,
}

impl Lines {
    /// For a hook of this kind.
    pub fn new(log: Rc<RefCell<Writer>>, kind: &str) -> Self {
        Self { log, mark: format!("{kind} -> "), line: Vec::new(), broken: false }
    }

    /// Takes what has been printed next.
    pub fn take(&mut self, mut text: &[u8]) {
        while let Some(end) = memchr::memchr(b'\n', text) {
            self.line.extend_from_slice(&text[..end]);
            self.write();
            text = &text[end + 1..];
        }
        self.line.extend_from_slice(text);
        if self.line.len() >= LINE {
            self.write();
        }
    }

    fn write(&mut self) {
        let line = [self.mark.as_bytes(), self.line.as_slice()].concat();
        self.line.clear();
        if let Err(error) = self.log.borrow_mut().line(Stream::Stdout, &line)
            && !std::mem::replace(&mut self.broken, true)
        {
            diagnose(&format!("log of a hook: {error}"));
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        if !self.line.is_empty() {
            self.write();
        }
    }
}
