//! What clients ask for that changes the stack: up, down, stop, kill.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use composer_plan::{DownOptions, Plan, Step};
use composer_sandbox::pidfd;
use composer_stack::{LimitChange, ShownLimit, Stack, known_services, limits_of_stack};
use tokio::sync::watch;

use super::Engine;
use super::container::Container;
use super::cores::Claims;
use super::ends::{self, Late};
use super::execute::{Order, StepError};
pub use super::turn::Operation;
use super::{network, removal, restart};
use crate::host::networks::{self, Elsewhere};
use crate::host::volumes::left;
use crate::paths;
use crate::protocol::{Action, Down, Failure, Kill, Reply, Stop, Subject, Up};
use crate::records::{self, Halt, Overs, StackRecord};
use crate::starting::StartLock;

/// A failure with the usual exit status.
pub fn failure(message: String) -> Failure {
    Failure::new(message, 1)
}

impl Engine {
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
        loop {
            let turn = self.take_turn_unless(request.dry_run, operation).await?;
            self.not_overtaken(&interrupt)?;
            let mut request = request.clone();
            let keys = self.unite_networks(&mut request.stack);
            let networks = request.stack.networks.clone();
            let done = self.bring_up(request, operation, interrupt.clone()).await;
            // Before another stack is asked for something.
            drop(turn);
            let asked = match done {
                Ok(Ok(reply)) => return Ok(reply),
                Ok(Err(elsewhere)) => self.have_shared(&elsewhere, &networks, operation).await,
                Err(failure) => Err(failure),
            };
            asked.map_err(|failure| failure.in_file(&keys))?;
        }
    }

    /// Its turn; not where another stack has to share a network first.
    async fn bring_up(
        self: &Rc<Self>,
        mut request: Up,
        operation: &Operation,
        interrupt: watch::Receiver<u64>,
    ) -> Result<Result<Option<Reply>, Elsewhere>, Failure> {
        for service in &request.options.services {
            if !request.stack.services.contains_key(service) {
                let known = request.stack.services.keys().map(String::as_str);
                let known = known_services("the file", service, known);
                return Err(failure(format!("no such service: {service}{known}")));
            }
        }
        let (overs, mut notes) = self.overlay(&mut request.stack);
        notes.extend(self.share_by_name(&mut request.stack).map_err(|error| Failure::from(&error))?);
        let observed = self.observe_for(&request.stack).await;
        let mut options = request.options.clone();
        if request.boot {
            options.services = self.of_boot(&request.stack);
        }
        if request.boot && options.services.is_empty() {
            return Ok(Ok(None));
        }
        let mut plan = composer_plan::up(&request.stack, &observed, &options);
        plan.notes.extend(notes);
        if request.dry_run {
            return Ok(Ok(Some(Reply::Plan(plan.to_string()))));
        }
        if let Some(elsewhere) = self.elsewhere(&plan, &request.stack) {
            return Ok(Err(elsewhere));
        }
        if !options.no_start {
            let wanted = (options.services.as_slice(), !options.no_deps);
            self.none_held(Some(&request.stack), wanted, &ends_of(&plan))?;
        }
        self.check_external_links(&plan, Some(&request.stack));
        self.check_volumes(&request.stack);
        self.check_networks(&plan, Some(&request.stack)).await?;
        let mut claims = Claims::new(&request.stack.resources, request.stack.services.values());
        claims.leaving.extend(plan.steps().into_iter().filter_map(|id| match &plan.get(id).step {
            Step::Remove { container, .. } => Some(container.as_str()),
            _ => None,
        }));
        if !options.no_start {
            self.check_cores(&plan, &claims, &request.stack).map_err(|error| Failure::from(&error))?;
        }
        self.check_memory_hooks(&request.stack)?;
        let _names = self.claim_names(&plan)?;
        self.take_ports(&plan, Some(&request.stack))?;
        self.retake_ports(&plan, &request.stack)?;
        self.make_way(&claims).map_err(|error| Failure::from(&error))?;
        let before = self.limits_of_stack();
        // What has been shared meanwhile is so.
        self.share_by_name(&mut request.stack).map_err(|error| Failure::from(&error))?;
        let new = match self.take_file(&request.stack, &request.path, overs)? {
            Ok(new) => new,
            Err(elsewhere) => return Ok(Err(elsewhere)),
        };
        let stack = Rc::new(request.stack);
        self.ports.told.borrow_mut().clear();
        for note in &plan.notes {
            self.announce(Subject::Group, Action::Warning(note.clone()));
        }
        let order = Rc::new(Order {
            stack: Some(Rc::clone(&stack)),
            timeout: request.timeout,
            halt: Halt::User,
            stop_at_failure: true,
            cancel: operation.cancel.clone(),
            interrupt,
            made: RefCell::default(),
        });
        let late = Late::of(request.wait, request.wait_timeout);
        let failures = self.execute_until(&plan, &order, late).await;
        self.brought_up(&failures, &plan, new, &order, (&options.services, late)).await?;
        let now = limits_of_stack(&stack.resources, stack.bandwidth, stack.victim);
        let limits = LimitChange::between(&before, &now);
        if observed.group && !limits.is_empty() {
            self.announce_stack(Action::Updated { limits });
        }
        if request.wait {
            self.wait_until_ready(&order, &options.services, late).await?;
        }
        Ok(Ok(None))
    }

    /// What the stack may take; nothing where nothing is known of it.
    fn limits_of_stack(&self) -> Vec<ShownLimit> {
        let record = self.record.borrow();
        let of = |record: &StackRecord| limits_of_stack(&record.resources, record.bandwidth, record.victim);
        record.as_ref().map(of).unwrap_or_default()
    }

    /// Takes a file for the stack's from now on, with what stands over it; whether nothing was known of the stack. Not where
    /// another stack has come to make one of its networks.
    pub(super) fn take_file(
        &self,
        stack: &Stack,
        path: &str,
        overs: Overs,
    ) -> Result<Result<bool, Elsewhere>, Failure> {
        let claimed = networks::claim(&network::named(stack), &self.stack)
            .map_err(|error| failure(format!("keep the names of the stack's networks: {error}")))?;
        let _names = match claimed {
            Ok(names) => names,
            Err(elsewhere) => return Ok(Err(elsewhere)),
        };
        // A `down` that has just ended took it away.
        self.paths.make().map_err(|error| failure(format!("make the stack's folder: {error}")))?;
        let new = self.record.borrow().is_none();
        let made = self.record.borrow().as_ref().map(|record| record.made.clone()).unwrap_or_default();
        *self.record.borrow_mut() = Some(StackRecord {
            name: stack.name.clone(),
            directory: stack.directory.clone(),
            files: stack.files.clone(),
            resources: stack.resources.clone(),
            volumes: stack.volumes.clone(),
            networks: stack.networks.clone(),
            bandwidth: stack.bandwidth,
            victim: stack.victim,
            services: stack.services.clone(),
            path: path.split(':').filter(|folder| !folder.is_empty()).map(PathBuf::from).collect(),
            made,
            overs,
        });
        self.keep_contents(stack).map_err(|error| failure(format!("keep secrets and configs: {error}")))?;
        self.know_own_names();
        self.know_guests();
        self.stirred.notify_waiters();
        self.save().map_err(|error| failure(format!("write the stack's record: {error}")))?;
        Ok(Ok(new))
    }

    /// Words what has failed of a plan that starts what was `asked` for, and takes back what it has made where something
    /// is broken.
    pub(super) async fn brought_up(
        self: &Rc<Self>,
        failures: &[StepError],
        plan: &Plan,
        new: bool,
        order: &Order,
        (asked, late): (&[String], Option<Late>),
    ) -> Result<(), Failure> {
        let mut broken = failures.iter().filter_map(|failure| match failure {
            StepError::Broken(error) => Some(Failure::from(error)),
            StepError::Unmet { .. }
            | StepError::Hook { .. }
            | StepError::Unchanged { .. }
            | StepError::Interrupted => None,
        });
        let first = broken.next();
        if let Some(mut failure) = first {
            failure.more = broken.filter(|other| other.message != failure.message).collect();
            self.roll_back(plan, new, order).await;
            ends::append_unchanged(&mut failure.message, failures);
            return Err(failure);
        }
        match self.why_not_up(failures, order, asked, late) {
            Some(failure) => Err(failure),
            None => Ok(()),
        }
    }

    /// Takes back what a failed `up` has made, so that the next one begins where this one did.
    async fn roll_back(self: &Rc<Self>, plan: &Plan, new: bool, order: &Order) {
        let made: BTreeSet<String> = plan
            .steps()
            .into_iter()
            .filter_map(|id| match &plan.get(id).step {
                Step::Create { container, .. } => Some(container.clone()),
                // The one in whose place it was made cannot come back, but its anonymous volumes are in it.
                Step::Recreate { .. }
                | Step::Update { .. }
                | Step::Group
                | Step::Widen(_)
                | Step::Network(_)
                | Step::LeaveNetwork(_)
                | Step::Plug { .. }
                | Step::Volume(_)
                | Step::Start { .. }
                | Step::Await { .. }
                | Step::Stop { .. }
                | Step::Remove { .. }
                | Step::RemoveNetworks
                | Step::RemoveVolume(_)
                | Step::RemoveGroup => None,
            })
            .collect();
        let mut observed = self.observe().await;
        observed.containers.retain(|name, _| made.contains(name));
        observed.volumes.retain(|name| order.made.borrow().contains(name));
        if new {
            self.take_down(&composer_plan::down(
                &observed,
                &DownOptions { services: Vec::new(), volumes: true },
            ))
            .await;
        } else if !observed.containers.is_empty() {
            let services = observed.containers.values().map(|found| found.service().to_owned()).collect();
            let plan = composer_plan::down(&observed, &DownOptions { services, volumes: true });
            self.execute(&plan, self.down_order(None)).await;
        }
    }

    /// Runs a plan that ends the whole stack and forgets it; every failure, worded.
    async fn take_down(self: &Rc<Self>, plan: &Plan) -> Vec<String> {
        self.sweeping.set(true);
        let failures = self.execute(plan, self.down_order(None)).await;
        let mut messages = worded(failures);
        if messages.is_empty() {
            self.forget(&mut messages).await;
        }
        self.sweeping.set(false);
        messages
    }

    /// Removes the stack's folders and, with them, everything that a later command could find.
    async fn forget(&self, messages: &mut Vec<String>) {
        if let Err(error) = self.sweep_shared().await {
            messages.push(error.message);
            return;
        }
        let saved = left::leave_all(&self.paths, &self.stack);
        let removed = match saved {
            Ok(()) => removal::remove(&self.paths.state()).await,
            Err(error) => Err(error),
        };
        match removed {
            Err(error) => messages.push(format!("remove {}: {error}", self.paths.state().display())),
            Ok(()) => *self.record.borrow_mut() = None,
        }
        self.journal.borrow_mut().forget();
        self.warned.borrow_mut().clear();
    }

    /// `compose down`.
    pub(super) async fn down(
        self: &Rc<Self>,
        request: Down,
        operation: &Operation,
    ) -> Result<Option<Reply>, Failure> {
        let options = DownOptions { services: request.services.clone(), volumes: request.volumes };
        let observe = async || {
            let mut observed = self.observe_with(true).await;
            observed
                .volumes
                .extend(request.named.iter().filter(|name| paths::volume(name).is_dir()).cloned());
            observed
        };
        if request.dry_run {
            return Ok(Some(Reply::Plan(composer_plan::down(&observe().await, &options).to_string())));
        }
        let whole = request.services.is_empty();
        let _turn = self.preempt(whole, operation).await?;
        self.known(&request.services)?;
        self.sweeping.set(whole);
        let plan = composer_plan::down(&observe().await, &options);
        let failures = self.execute(&plan, self.down_order(request.timeout)).await;
        let mut messages = worded(failures);
        if whole && messages.is_empty() {
            self.forget(&mut messages).await;
        }
        self.sweeping.set(false);
        if messages.is_empty() { Ok(None) } else { Err(failure(messages.join("\n"))) }
    }

    /// Stops containers and leaves them.
    pub(super) async fn stop_services(
        self: &Rc<Self>,
        request: Stop,
        operation: &Operation,
    ) -> Result<Option<Reply>, Failure> {
        if request.dry_run {
            let plan = composer_plan::stop(&self.observe().await, &request.services);
            return Ok(Some(Reply::Plan(plan.to_string())));
        }
        let _turn = self.preempt(request.services.is_empty(), operation).await?;
        let plan = composer_plan::stop(&self.observe().await, &request.services);
        let halt = if request.shutdown { Halt::Shutdown } else { Halt::User };
        let messages = worded(self.execute(&plan, self.stop_order(request.timeout, halt)).await);
        if messages.is_empty() { Ok(None) } else { Err(failure(messages.join("\n"))) }
    }

    /// Sends a signal to every running container's PID 1. It waits for nobody's turn.
    pub(super) fn kill(&self, request: &Kill, operation: &Operation) -> Result<Option<Reply>, Failure> {
        self.need_no_turn(operation)?;
        self.known(&request.services)?;
        let killed = self.of_services(&request.services);
        let ends_it = |container: &Rc<Container>| {
            [libc::SIGKILL, container.record.borrow().service.stop_signal].contains(&request.signal)
        };
        // What is under way for others goes on; what waits for one of these learns of its end.
        if killed.len() == self.of_services(&[]).len() && killed.iter().all(ends_it) {
            self.has_ended_all(operation);
            self.overtake(true);
        }
        let mut messages = Vec::new();
        for container in killed {
            let ends = ends_it(&container);
            // As in Docker: what is killed by a user stays so.
            if ends && self.cease_at_once(&container, Halt::User) {
                self.give_up_ports(&container.name());
                self.announce_container(&container, Action::Stopped);
            }
            let sent = match &*container.live.borrow() {
                Some(live) => pidfd::signal(live.pidfd.as_fd(), request.signal),
                None => continue,
            };
            match sent {
                Ok(()) => self.announce_container(&container, Action::Killed { signal: request.signal }),
                Err(error) => messages.push(format!("kill {}: {error}", container.name())),
            }
            if ends {
                messages.extend(self.takes_leave(&container).err());
            }
        }
        if messages.is_empty() { Ok(None) } else { Err(failure(messages.join("\n"))) }
    }

    pub(super) fn down_order(&self, timeout: Option<Duration>) -> Rc<Order> {
        self.stop_order(timeout, Halt::User)
    }

    pub(super) fn stop_order(&self, timeout: Option<Duration>, halt: Halt) -> Rc<Order> {
        let (cancel, interrupt) = (watch::Sender::new(false), self.interrupt.subscribe());
        let made = RefCell::default();
        Rc::new(Order { stack: None, timeout, halt, stop_at_failure: false, cancel, interrupt, made })
    }

    /// The services that a boot brings up: all but those that a user had stopped, and that ask to stay so. What
    /// another one depends on comes along with it in any case.
    fn of_boot(&self, stack: &Stack) -> Vec<String> {
        let stays_stopped = |service: &String| {
            let containers = self.of_services(std::slice::from_ref(service));
            let stays = |container: &Rc<Container>| {
                let record = container.record.borrow();
                !restart::at_boot(&record.service.restart, &record.history)
            };
            !containers.is_empty() && containers.iter().all(stays)
        };
        stack.services.keys().filter(|service| !stays_stopped(service)).cloned().collect()
    }

    pub(super) fn known(&self, services: &[String]) -> Result<(), Failure> {
        let is_unknown = |service: &&String| {
            self.of_services(&[(*service).clone()]).is_empty() && self.oneoffs_of(service).is_empty()
        };
        match services.iter().find(is_unknown) {
            Some(unknown) => {
                let known = self.services_with_containers();
                let known = known_services("the stack", unknown, known.iter().map(String::as_str));
                Err(failure(format!("no such service: {unknown}{known}")))
            }
            None => Ok(()),
        }
    }

    fn services_with_containers(&self) -> BTreeSet<String> {
        let containers = self.containers.borrow();
        containers.values().map(|container| container.record.borrow().service.name.clone()).collect()
    }

    /// Takes away what only these two processes stood on, under the lock that keeps the next two from being started
    /// meanwhile. Where somebody else has it, who finds nobody any more, the folders are for those two.
    pub(super) fn clear_folders(&self, starting: Option<StartLock>) {
        let _ = fs::remove_file(self.paths.socket());
        let Some(starting) = starting else { return };
        let _ = composer_sandbox::remove(&self.paths.run());
        if left::leave_all(&self.paths, &self.stack).is_ok() {
            let _ = composer_sandbox::remove(&self.paths.state());
        }
        starting.end();
        paths::tidy();
    }
}

/// The containers that a plan ends.
pub(super) fn ends_of(plan: &Plan) -> Vec<&String> {
    let ended = plan.steps().into_iter().filter_map(|id| match &plan.get(id).step {
        Step::Stop { container } | Step::Remove { container, .. } => Some(container),
        Step::Recreate { old, .. } => Some(old),
        Step::Create { .. }
        | Step::Update { .. }
        | Step::Group
        | Step::Widen(_)
        | Step::Network(_)
        | Step::LeaveNetwork(_)
        | Step::Plug { .. }
        | Step::Volume(_)
        | Step::Start { .. }
        | Step::Await { .. }
        | Step::RemoveNetworks
        | Step::RemoveVolume(_)
        | Step::RemoveGroup => None,
    });
    ended.collect()
}

pub(super) fn worded(failures: Vec<StepError>) -> Vec<String> {
    failures
        .into_iter()
        .map(|failure| match failure {
            StepError::Broken(error) => error.to_string(),
            StepError::Unmet { why, .. } | StepError::Hook { why, .. } | StepError::Unchanged { why } => why,
            StepError::Interrupted => "interrupted".to_owned(),
        })
        .collect()
}
