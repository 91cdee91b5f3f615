//! What clients ask for that changes the stack: up, down, stop, kill.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fs;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use composer_plan::{DownOptions, Plan, Step, UpOptions};
use composer_sandbox::pidfd;
use composer_stack::{Condition, Stack};
use tokio::sync::watch;

use super::Engine;
use super::container::{Container, Status, Verdict};
use super::execute::{self, Order, StepError};
use crate::protocol::{Action, Down, Failure, Kill, Reply, Stop, Subject, Up};
use crate::records::{self, StackRecord};
use crate::{clock, paths};

/// How long a program without a health check has to stay up before `--wait` takes it for ready.
const STAYS: Duration = Duration::from_millis(250);

/// An operation as its client's connection knows it.
pub struct Operation {
    /// Its turn has come.
    pub begun: Cell<bool>,
    /// Raised to make it give up.
    pub cancel: watch::Sender<bool>,
}

impl Operation {
    /// One that waits for its turn.
    pub fn new() -> Self {
        Self { begun: Cell::new(false), cancel: watch::Sender::new(false) }
    }
}

/// A failure with the usual exit status.
pub fn failure(message: String) -> Failure {
    Failure { message, code: 1 }
}

/// The turn of an operation. Its end is announced, so that whoever follows a container that is stopped learns whether it
/// comes again.
pub(super) struct Turn<'a> {
    engine: &'a Engine,
    _turn: tokio::sync::MutexGuard<'a, ()>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.engine.announce(Subject::Group, Action::Settled);
    }
}

impl Engine {
    pub(super) async fn take_turn(&self) -> Turn<'_> {
        Turn { engine: self, _turn: self.turn.lock().await }
    }

    /// Makes the operation under way give up, and waits for its turn.
    async fn preempt(&self) -> Turn<'_> {
        self.interrupt.send_modify(|count| *count += 1);
        self.take_turn().await
    }

    /// Writes the stack's record.
    pub(super) fn save(&self) -> std::io::Result<()> {
        match &*self.record.borrow() {
            Some(record) => records::write(&self.paths.record(), record),
            None => Ok(()),
        }
    }

    /// `compose up`. The plan of a dry run is the answer.
    pub(super) async fn up(
        self: &Rc<Self>,
        request: Up,
        operation: &Operation,
    ) -> Result<Option<Reply>, Failure> {
        let interrupt = self.interrupt.subscribe();
        let _turn = self.take_turn().await;
        operation.begun.set(true);
        if interrupt.has_changed().unwrap_or(false) {
            return Err(failure("interrupted by a later command: nothing has been started".to_owned()));
        }
        for service in &request.services {
            if !request.stack.services.contains_key(service) {
                return Err(failure(format!("no such service: {service}")));
            }
        }
        let observed = self.observe().await;
        let options = UpOptions { services: request.services.clone() };
        let plan = composer_plan::up(&request.stack, &observed, &options);
        if request.dry_run {
            return Ok(Some(Reply::Plan(plan.to_string())));
        }
        let new = self.take_file(&request.stack, &request.path)?;
        let stack = Rc::new(request.stack);
        for note in &plan.notes {
            self.announce(Subject::Group, Action::Warning(note.clone()));
        }
        let order = Rc::new(Order {
            stack: Some(Rc::clone(&stack)),
            timeout: request.timeout,
            stop_at_failure: true,
            cancel: operation.cancel.clone(),
            interrupt,
        });
        let failures = self.execute(&plan, Rc::clone(&order)).await;
        self.conclude(failures, &plan, new).await?;
        if request.wait {
            self.wait_until_ready(&order, &request.services, request.wait_timeout).await?;
        }
        Ok(None)
    }

    /// Takes a file for the stack's from now on; whether nothing was known of the stack.
    pub(super) fn take_file(&self, stack: &Stack, path: &str) -> Result<bool, Failure> {
        // A `down` that has just ended took it away.
        self.paths.make().map_err(|error| failure(format!("make the stack's folder: {error}")))?;
        let new = self.record.borrow().is_none();
        let subnet = self.record.borrow().as_ref().and_then(|record| record.subnet);
        *self.record.borrow_mut() = Some(StackRecord {
            name: stack.name.clone(),
            directory: stack.directory.clone(),
            files: stack.files.clone(),
            resources: stack.resources.clone(),
            volumes: stack.volumes.clone(),
            services: stack.services.clone(),
            path: path.split(':').filter(|folder| !folder.is_empty()).map(PathBuf::from).collect(),
            subnet,
        });
        self.stirred.notify_waiters();
        self.save().map_err(|error| failure(format!("write the stack's record: {error}")))?;
        Ok(new)
    }

    /// Words what has failed of a plan that starts containers, and takes back what it has made where something is
    /// broken.
    pub(super) async fn conclude(
        self: &Rc<Self>,
        failures: Vec<StepError>,
        plan: &Plan,
        new: bool,
    ) -> Result<(), Failure> {
        let broken = failures.iter().find_map(|failure| match failure {
            StepError::Broken(error) => Some(Failure { message: error.message.clone(), code: error.code }),
            StepError::Unmet(_) | StepError::Interrupted => None,
        });
        if let Some(failure) = broken {
            self.roll_back(plan, new).await;
            return Err(failure);
        }
        let unmet = failures.iter().find_map(|failure| match failure {
            StepError::Unmet(why) => Some(format!("dependency failed to start: {why}")),
            StepError::Broken(_) | StepError::Interrupted => None,
        });
        if let Some(why) = unmet {
            return Err(failure(why));
        }
        if !failures.is_empty() {
            return Err(failure("interrupted: what has been started runs on".to_owned()));
        }
        Ok(())
    }

    /// Takes back what a failed `up` has made, so that the next one begins where this one did.
    async fn roll_back(self: &Rc<Self>, plan: &Plan, new: bool) {
        let made: BTreeSet<String> = plan
            .steps()
            .into_iter()
            .filter_map(|id| match &plan.get(id).step {
                Step::Create { container, .. } => Some(container.clone()),
                Step::Group
                | Step::Network
                | Step::Volume(_)
                | Step::Start { .. }
                | Step::Await { .. }
                | Step::Stop { .. }
                | Step::Remove { .. }
                | Step::RemoveNetwork
                | Step::RemoveVolume(_)
                | Step::RemoveGroup => None,
            })
            .collect();
        let mut observed = self.observe().await;
        let made_volumes: BTreeSet<String> = plan
            .steps()
            .into_iter()
            .filter_map(|id| match &plan.get(id).step {
                Step::Volume(key) => {
                    self.record.borrow().as_ref().and_then(|r| Some(r.volumes.get(key)?.name.clone()))
                }
                _ => None,
            })
            .collect();
        observed.containers.retain(|name, _| made.contains(name));
        observed.volumes.retain(|name| made_volumes.contains(name));
        if new {
            self.take_down(&composer_plan::down(
                &observed,
                &DownOptions { services: Vec::new(), volumes: true },
            ))
            .await;
        } else if !observed.containers.is_empty() {
            let services = observed.containers.values().map(|container| container.service.clone()).collect();
            let plan = composer_plan::down(&observed, &DownOptions { services, volumes: false });
            self.execute(&plan, self.down_order(None)).await;
        }
    }

    /// Runs a plan that ends the whole stack and forgets it; every failure, worded.
    async fn take_down(self: &Rc<Self>, plan: &Plan) -> Vec<String> {
        self.sweeping.set(true);
        let failures = self.execute(plan, self.down_order(None)).await;
        self.sweeping.set(false);
        let mut messages = worded(failures);
        if messages.is_empty() {
            self.forget(&mut messages);
        }
        messages
    }

    /// Removes the stack's folders and, with them, everything that a later command could find.
    fn forget(&self, messages: &mut Vec<String>) {
        match fs::remove_dir_all(self.paths.state()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                messages.push(format!("remove {}: {error}", self.paths.state().display()));
            }
            Ok(()) | Err(_) => *self.record.borrow_mut() = None,
        }
        self.warned.borrow_mut().clear();
    }

    async fn wait_until_ready(
        &self,
        order: &Order,
        services: &[String],
        timeout: Option<Duration>,
    ) -> Result<(), Failure> {
        let chosen = |name: &&String| services.is_empty() || services.contains(name);
        let known = order.stack.iter().flat_map(|stack| stack.services.keys());
        let names: Vec<String> = known.filter(chosen).cloned().collect();
        let containers = self.of_services(&names);
        let ready = async {
            for container in &containers {
                self.wait_ready(container, order).await?;
            }
            // While the last were waited for, the first may have ended.
            containers.iter().try_for_each(still_ready)
        };
        match timeout {
            None => ready.await,
            Some(limit) => tokio::time::timeout(limit, ready).await.unwrap_or_else(|_| {
                Err(failure(format!("not all services were ready within {} s", limit.as_secs())))
            }),
        }
    }

    /// Runs and, with a health check, is healthy; or has completed with status 0. Without a check, it has to stay up
    /// for [`STAYS`]: a program that cannot do its work usually ends at once.
    async fn wait_ready(&self, container: &Rc<Container>, order: &Order) -> Result<(), Failure> {
        let mut status = container.status.subscribe();
        if readiness(container, &status.borrow()) == Verdict::Pending {
            self.announce_container(container, Action::Waiting);
        }
        let decided = async {
            // Fails only when the container itself is gone.
            let _ = status.wait_for(|status| readiness(container, status) != Verdict::Pending).await;
            let has_run =
                container.started().map_or(STAYS, |at| Duration::from_nanos(clock::now().saturating_sub(at)));
            if *status.borrow() == Status::Running(None) {
                let ends = status.wait_for(|status| *status != Status::Running(None));
                let _ = tokio::time::timeout(STAYS.saturating_sub(has_run), ends).await;
            }
        };
        tokio::select! {
            () = decided => still_ready(container),
            () = order.given_up() => Err(failure("interrupted while waiting".to_owned())),
        }
    }

    /// `compose down`.
    pub(super) async fn down(self: &Rc<Self>, request: Down) -> Result<Option<Reply>, Failure> {
        let options = DownOptions { services: request.services.clone(), volumes: request.volumes };
        let observe = async || {
            let mut observed = self.observe_with(true).await;
            observed
                .volumes
                .extend(request.named.iter().filter(|name| paths::volume(name).is_dir()).cloned());
            observed
        };
        if request.dry_run {
            let _turn = self.turn.lock().await;
            return Ok(Some(Reply::Plan(composer_plan::down(&observe().await, &options).to_string())));
        }
        let _turn = self.preempt().await;
        self.known(&request.services)?;
        let whole = request.services.is_empty();
        self.sweeping.set(whole);
        let plan = composer_plan::down(&observe().await, &options);
        let failures = self.execute(&plan, self.down_order(request.timeout)).await;
        self.sweeping.set(false);
        let mut messages = worded(failures);
        if whole && messages.is_empty() {
            self.forget(&mut messages);
        }
        if messages.is_empty() { Ok(None) } else { Err(failure(messages.join("\n"))) }
    }

    /// Stops containers and leaves them.
    pub(super) async fn stop_services(self: &Rc<Self>, request: Stop) -> Result<Option<Reply>, Failure> {
        let _turn = self.preempt().await;
        self.known(&request.services)?;
        let plan = composer_plan::stop(&self.observe().await, &request.services);
        let messages = worded(self.execute(&plan, self.down_order(request.timeout)).await);
        if messages.is_empty() { Ok(None) } else { Err(failure(messages.join("\n"))) }
    }

    /// Sends a signal to every running container's PID 1. It waits for nobody's turn.
    pub(super) fn kill(&self, request: &Kill) -> Result<Option<Reply>, Failure> {
        self.interrupt.send_modify(|count| *count += 1);
        self.known(&request.services)?;
        let mut messages = Vec::new();
        for container in self.of_services(&request.services) {
            if let Some(live) = &*container.live.borrow()
                && let Err(error) = pidfd::signal(live.pidfd.as_fd(), request.signal)
            {
                messages.push(format!("kill {}: {error}", container.name()));
            }
        }
        if messages.is_empty() { Ok(None) } else { Err(failure(messages.join("\n"))) }
    }

    pub(super) fn down_order(&self, timeout: Option<Duration>) -> Rc<Order> {
        let (cancel, interrupt) = (watch::Sender::new(false), self.interrupt.subscribe());
        Rc::new(Order { stack: None, timeout, stop_at_failure: false, cancel, interrupt })
    }

    fn known(&self, services: &[String]) -> Result<(), Failure> {
        let is_unknown = |service: &&String| {
            self.of_services(&[(*service).clone()]).is_empty() && self.oneoffs_of(service).is_empty()
        };
        match services.iter().find(is_unknown) {
            Some(unknown) => Err(failure(format!("no such service: {unknown}"))),
            None => Ok(()),
        }
    }

    /// Takes away what only these two processes stood on. The start lock keeps a new pair from being started
    /// meanwhile; it is let go with this process.
    pub(super) fn clear_run_folder(&self) {
        let _ = fs::remove_dir_all(self.paths.run());
        let _ = fs::remove_dir_all(self.paths.state());
        let _ = fs::remove_file(self.paths.start_lock());
        paths::tidy();
    }
}

/// Whether what `--wait` waits for holds of a container in this state.
fn readiness(container: &Container, status: &Status) -> Verdict {
    match status {
        Status::Exited(Some(0)) => Verdict::Holds,
        Status::Exited(_) => Verdict::Never,
        Status::Running(_) if container.record.borrow().service.healthcheck.is_none() => Verdict::Holds,
        Status::Created | Status::Starting | Status::Running(_) => status.verdict(Condition::Healthy),
    }
}

fn still_ready(container: &Rc<Container>) -> Result<(), Failure> {
    let status = *container.status.borrow();
    match readiness(container, &status) {
        Verdict::Never => Err(failure(execute::describe(&container.name(), status, Condition::Healthy))),
        Verdict::Holds | Verdict::Pending => Ok(()),
    }
}

fn worded(failures: Vec<StepError>) -> Vec<String> {
    failures
        .into_iter()
        .map(|failure| match failure {
            StepError::Broken(error) => error.message,
            StepError::Unmet(why) => why,
            StepError::Interrupted => "interrupted".to_owned(),
        })
        .collect()
}
