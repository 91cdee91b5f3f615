//! Runs a plan: every step whose predecessors are done, at once.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::io;
use std::rc::Rc;
use std::time::Duration;

use composer_plan::{Plan, Step, StepId};
use composer_stack::{Condition, Resources, Service, Stack, config_hash};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::container::{Container, Status, Verdict};
use super::start::StartError;
use super::volumes::Volumes;
use super::{Engine, group, pause, removal};
use crate::host::storage;
use crate::protocol::{Action, Health};
use crate::records::{ContainerRecord, Halt, History, Phase};
use crate::{clock, identifier, paths};

/// Why a step failed.
pub enum StepError {
    /// Something could not be made or started: what the operation has made is taken back.
    Broken(StartError),
    /// A condition can no longer be met: what runs is left for the user to look at.
    Unmet {
        /// Of this container.
        container: Rc<Container>,
        /// Which, and how it has come.
        why: String,
    },
    /// A hook has failed: what runs is left as well.
    Hook {
        /// Its container.
        container: Rc<Container>,
        /// Which hook, and how.
        why: String,
    },
    /// A container that runs could not take something over as it is, and goes on as it was. Others are not concerned.
    Unchanged {
        /// Which, why, and what to do.
        why: String,
    },
    /// Somebody wants something else now.
    Interrupted,
}

impl StepError {
    /// Whether it keeps other steps from being done, where any failure does.
    fn stops(&self) -> bool {
        match self {
            Self::Broken(_) | Self::Unmet { .. } | Self::Hook { .. } | Self::Interrupted => true,
            Self::Unchanged { .. } => false,
        }
    }
}

impl From<StartError> for StepError {
    fn from(error: StartError) -> Self {
        if error.given_up { Self::Interrupted } else { Self::Broken(error) }
    }
}

/// What a plan is run with.
pub struct Order {
    /// The file, where containers are made.
    pub stack: Option<Rc<Stack>>,
    /// Grace period over the file's.
    pub timeout: Option<Duration>,
    /// On whose behalf containers are stopped.
    pub halt: Halt,
    /// Whether a failed step keeps others from being done: `down` goes on whatever happens.
    pub stop_at_failure: bool,
    /// Raised to make this operation give up.
    pub cancel: watch::Sender<bool>,
    /// The engine's, as it was when the operation was asked for.
    pub interrupt: watch::Receiver<u64>,
    /// The names of the volumes that it has made: no other may go where it is taken back.
    pub made: RefCell<BTreeSet<String>>,
}

impl Order {
    /// Returns when the operation is to give up: its client has gone, a step of it has failed, or a command has come
    /// that goes before it.
    pub async fn given_up(&self) {
        let (mut cancel, mut interrupt) = (self.cancel.subscribe(), self.interrupt.clone());
        // Neither sender goes before those who listen.
        tokio::select! {
            _ = cancel.wait_for(|cancelled| *cancelled) => {}
            _ = interrupt.changed() => {}
        }
    }
}

impl Engine {
    /// Runs the plan; every failure.
    pub(super) async fn execute(self: &Rc<Self>, plan: &Plan, order: Rc<Order>) -> Vec<StepError> {
        let steps = plan.steps();
        let mut missing: HashMap<StepId, usize> =
            steps.iter().map(|id| (*id, plan.predecessors(*id).count())).collect();
        let mut ready: Vec<StepId> = steps.iter().copied().filter(|id| missing[id] == 0).collect();
        let mut running = JoinSet::new();
        let (mut failures, mut stopped) = (Vec::new(), false);
        let given_up = order.given_up();
        tokio::pin!(given_up);
        loop {
            if stopped {
                self.stall_ports();
            } else {
                for id in ready.drain(..) {
                    let (engine, step, order) =
                        (Rc::clone(self), plan.get(id).step.clone(), Rc::clone(&order));
                    running.spawn_local(async move { (id, engine.perform(step, &order).await) });
                }
            }
            let done = tokio::select! {
                done = running.join_next() => done,
                () = &mut given_up, if order.stop_at_failure && !stopped => {
                    failures.push(StepError::Interrupted);
                    stopped = true;
                    continue;
                }
            };
            match done {
                None => return failures,
                Some(Err(error)) => {
                    failures.push(StepError::Broken(StartError::doing("a step of the plan", &error)));
                    stopped = order.stop_at_failure;
                }
                Some(Ok((id, result))) => {
                    let failed = result.is_err();
                    if result.as_ref().is_err_and(StepError::stops) && order.stop_at_failure && !stopped {
                        // What still waits for a condition waits in vain.
                        order.cancel.send_replace(true);
                        stopped = true;
                    }
                    failures.extend(result.err());
                    if !failed || !order.stop_at_failure {
                        for next in plan.successors(id) {
                            if let Some(count) = missing.get_mut(&next) {
                                *count -= 1;
                                if *count == 0 {
                                    ready.push(next);
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    async fn perform(self: &Rc<Self>, step: Step, order: &Order) -> Result<(), StepError> {
        let service = |name: &str| order.stack.as_ref().and_then(|stack| stack.services.get(name));
        match step {
            Step::Group => {
                *self.mask.borrow_mut() = None;
                self.group()?;
                self.watch_pressure();
                // With the limits, the mark below them was written anew.
                self.unwatch_stack();
                self.choose_victim();
                self.bring_bandwidth().await?;
            }
            Step::Widen(resources) => self.widen_group(&resources)?,
            Step::Network(key) => self.ensure_network(&key).await?,
            Step::LeaveNetwork(key) => self.leave_network(&key).await?,
            Step::Plug { container } => {
                if let Some(container) = self.container(&container) {
                    self.replug(&container).await?;
                }
            }
            Step::Volume(key) => self.make_volume(&key, order)?,
            Step::Create { service: name, index, container } => {
                if let Some(service) = service(&name) {
                    self.create(&container, service, index)?;
                }
            }
            Step::Recreate { service: name, index, container, old, renew_volumes } => {
                if let Some(service) = service(&name) {
                    self.recreate(&old, &container, service, index, renew_volumes).await?;
                }
            }
            Step::Update { container, service: name } => {
                if let (Some(service), Some(container)) = (service(&name), self.container(&container)) {
                    self.update(&container, service).await?;
                }
            }
            Step::Start { container } => {
                let known = self.container(&container);
                let known =
                    known.ok_or_else(|| StartError::doing("start", &format!("{container} is not known")))?;
                self.start_and_finish(&known, order).await?;
            }
            Step::Await { service, condition, required } => {
                self.wait_for(&service, condition, required, order).await?;
            }
            Step::Stop { container } => {
                if let Some(container) = self.container(&container) {
                    self.stop(&container, order.timeout, order.halt).await;
                }
            }
            Step::Remove { container, volumes } => self.remove(&container, volumes).await?,
            Step::RemoveNetworks => self.remove_networks().await?,
            Step::RemoveVolume(name) => self.remove_volume(&name).await?,
            Step::RemoveGroup => self.remove_group()?,
        }
        Ok(())
    }

    fn remove_group(&self) -> Result<(), StartError> {
        self.forget_pressure();
        let group = self.cgroups.group(&self.group_path());
        // A process that no record knows may be left in it: the group's word is final.
        self.unwatch_stack();
        let swept = group.kill().and_then(|()| group.remove());
        swept.map_err(|error| StartError::doing("remove the stack's cgroup", &error))
    }

    fn widen_group(&self, resources: &Resources) -> Result<(), StartError> {
        let group = self.cgroups.group(&self.group_path());
        let limits = self.with_reservations(group::limits_in_force(resources), resources);
        let widened = group.apply(None, &limits);
        widened.map(drop).map_err(|error| StartError::doing("give the stack's cgroup room", &error))
    }

    fn group(&self) -> Result<(), StartError> {
        let resources =
            self.record.borrow().as_ref().map(|record| record.resources.clone()).unwrap_or_default();
        let limits = group::limits(&resources).map_err(|error| StartError {
            message: format!("set the stack's limits: {}", error.message),
            ..error
        })?;
        let limits = self.with_reservations(limits, &resources);
        let unenforced = self
            .cgroups
            .group(&self.group_path())
            .create(&limits)
            .map_err(|error| StartError::doing("set the stack's limits", &error))?;
        self.warn_unenforced("x-resources", unenforced);
        self.spread_cores();
        Ok(())
    }

    fn create(&self, name: &str, service: &Service, index: u32) -> Result<(), StartError> {
        let id = identifier().map_err(|error| StartError::doing(&format!("create {name}"), &error))?;
        self.make(new_record(id, name, service, index))
    }

    /// Makes the container that a record describes.
    pub(super) fn make(&self, record: ContainerRecord) -> Result<(), StartError> {
        let name = record.name.clone();
        let folders = self.paths.container(&name);
        let failed = |error: io::Error| StartError::doing(&format!("create {name}"), &error);
        paths::make(folders.folder()).map_err(failed)?;
        let record = ContainerRecord { class: self.class_for(&record.service)?, ..record };
        let container = Container::new(record, folders);
        self.announce_container(&container, Action::Creating);
        container.change(|_| {}).map_err(failed)?;
        self.made(container).map_err(failed)
    }

    /// A container whose record has just been written is there for everybody.
    pub(super) fn made(&self, container: Rc<Container>) -> io::Result<()> {
        // The log is there from the beginning, so that it can be followed before the first byte.
        let keep = container.record.borrow().service.logging;
        drop(crate::logs::Writer::open(container.paths.log(), keep)?);
        self.announce_container(&container, Action::Created);
        self.containers.borrow_mut().insert(container.name(), container);
        Ok(())
    }

    /// Takes a container away. Its anonymous volumes go with it, or stay among the host's.
    pub(super) async fn remove(self: &Rc<Self>, name: &str, volumes: bool) -> Result<(), StartError> {
        let Some(container) = self.container(name) else {
            return Ok(());
        };
        self.announce_container(&container, Action::Removing);
        container.restart.borrow_mut().take();
        let _gate = container.enter().await;
        if !self.container(name).is_some_and(|known| Rc::ptr_eq(&known, &container)) {
            // Somebody else has taken it away meanwhile.
            return Ok(());
        }
        // An end that is only now being recorded is its last.
        container.record.borrow_mut().history.halt = Some(Halt::User);
        container.restart.borrow_mut().take();
        self.release(&container).await;
        self.unplugged(name).await;
        self.give_back_of(name)?;
        let failed = |error: io::Error| StartError::doing(&format!("remove {name}"), &error);
        let parting = if volumes { Volumes::Remove } else { Volumes::Leave };
        self.part_with_volumes(&container, &BTreeSet::new(), parting).await.map_err(failed)?;
        storage::lift(&container.paths)
            .map_err(|error| StartError::doing(&format!("lift the quota of {name}"), &error))?;
        let folder = container.paths.folder();
        for written in [container.paths.run(), folder] {
            removal::remove(written)
                .await
                .map_err(|error| StartError::doing(&format!("remove {}", written.display()), &error))?;
        }
        if volumes {
            // Now that its record has gone: who lent it something may be going at the same time, and looks for that.
            self.part_with_borrowed(&container).await.map_err(failed)?;
        }
        self.containers.borrow_mut().remove(name);
        self.give_back_ports(Some(name));
        self.announce_container(&container, Action::Removed);
        Ok(())
    }

    /// Waits until every container of a service meets a condition, or one never will.
    pub(super) async fn wait_for(
        &self,
        service: &str,
        condition: Condition,
        required: bool,
        order: &Order,
    ) -> Result<(), StepError> {
        for container in self.of_services(&[service.to_owned()]) {
            let (mut status, mut paused) = (container.status.subscribe(), container.paused.subscribe());
            if status.borrow().verdict(condition) == Verdict::Pending {
                self.announce_container(&container, Action::Waiting);
            }
            let decided = tokio::select! {
                biased;
                decided = status.wait_for(|status| status.verdict(condition) != Verdict::Pending) => decided,
                _ = paused.wait_for(|paused| *paused) => {
                    // It comes to nothing for as long as it is held.
                    let why = pause::held_back(&container);
                    if required {
                        return Err(StepError::Unmet { container, why });
                    }
                    self.announce_container(&container, Action::Warning(format!("{why}; it is not required")));
                    continue;
                }
                () = order.given_up() => return Err(StepError::Interrupted),
            };
            let Ok(status) = decided.map(|status| *status) else {
                return Err(StepError::Interrupted);
            };
            if status.verdict(condition) == Verdict::Never {
                let why = describe(&container, status, condition);
                if required {
                    return Err(StepError::Unmet { container, why });
                }
                self.announce_container(&container, Action::Warning(format!("{why}; it is not required")));
            }
        }
        Ok(())
    }
}

/// Why a condition of a container will not be met, and what has ended it where that was want of memory.
pub fn describe(container: &Container, status: Status, condition: Condition) -> String {
    let words = state_of(&container.name(), status, condition);
    let record = container.record.borrow();
    match (&record.phase, status) {
        (Phase::Exited { reason: Some(why), .. }, Status::Exited(_) | Status::Restarting(_))
            if record.starved =>
        {
            format!("{words}: {why}")
        }
        _ => words,
    }
}

fn state_of(name: &str, status: Status, condition: Condition) -> String {
    match (status, condition) {
        (Status::Running(Some(Health::Unhealthy)), _) => format!("container {name} is unhealthy"),
        (Status::Running(None), Condition::Healthy) => {
            format!("container {name} has no healthcheck, so it never becomes healthy")
        }
        (Status::Exited(Some(code)), Condition::CompletedSuccessfully) => {
            format!("container {name} didn't complete successfully: exit {code}")
        }
        (Status::Exited(Some(code)), _) => format!("container {name} exited ({code})"),
        (Status::Exited(None), _) => {
            format!("container {name} has ended, with a code that nobody knows")
        }
        (Status::Restarting(code), _) => {
            let code = code.map_or("an unknown code".to_owned(), |code| format!("code {code}"));
            format!("container {name} keeps ending with {code}")
        }
        (Status::Created | Status::Starting | Status::Running(_), _) => {
            format!("container {name} is not ready")
        }
    }
}

/// The record of a container that is made in this moment.
pub fn new_record(id: String, name: &str, service: &Service, index: u32) -> ContainerRecord {
    ContainerRecord {
        id,
        name: name.to_owned(),
        index,
        service: service.clone(),
        config_hash: config_hash(service),
        created: clock::now(),
        addresses: Default::default(),
        published: Vec::new(),
        phase: Phase::Created { reason: None },
        history: History::default(),
        prepared: false,
        unfinished: false,
        oneoff: None,
        starved: false,
        cores: BTreeSet::new(),
        class: None,
        userns: None,
    }
}
