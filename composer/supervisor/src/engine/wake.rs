//! `start`, `restart` and `rm`: what needs no file but what exists.

use std::collections::BTreeSet;
use std::rc::Rc;

use composer_plan::{Plan, Step};
use composer_stack::Stack;
use tokio::sync::watch;

use super::Engine;
use super::container::Status;
use super::ends::Late;
use super::execute::{Order, StepError};
use super::operations::{Operation, failure, worded};
use crate::protocol::{Action, Failure, Remove, Reply, Restart, Start};
use crate::records::Halt;

impl Engine {
    /// `compose start`. The plan of a dry run is the answer.
    pub(super) async fn start_services(
        self: &Rc<Self>,
        request: Start,
        operation: &Operation,
    ) -> Result<Option<Reply>, Failure> {
        let interrupt = self.interrupt.subscribe();
        let _turn = self.take_turn().await;
        operation.begun.set(true);
        self.not_overtaken(&interrupt)?;
        for service in &request.services {
            if self.of_services(std::slice::from_ref(service)).is_empty() {
                return Err(failure(format!(
                    "service {service:?} has no container to start: `compose up` and `compose create` make one"
                )));
            }
        }
        if self.of_services(&[]).is_empty() {
            return Err(failure(
                "the stack has no container to start: `compose up` and `compose create` make them".to_owned(),
            ));
        }
        let observed = self.observe().await;
        let missing =
            composer_plan::missing_dependency(&observed, &request.services, &self.without_containers());
        if let Some((service, dependency)) = missing {
            return Err(failure(format!(
                "service {service} depends on {dependency}, which has no container to start: `compose up` makes one"
            )));
        }
        let plan = composer_plan::start(&observed, &request.services);
        if request.dry_run {
            return Ok(Some(Reply::Plan(plan.to_string())));
        }
        let order = self.waking_order(operation.cancel.clone(), interrupt, None);
        self.none_held(order.stack.as_deref(), (&request.services, true), &[])?;
        let late = Late::of(request.wait, request.wait_timeout);
        self.wake(&plan, &order).await?;
        if request.wait {
            self.wait_until_ready(&order, &request.services, late).await?;
        }
        Ok(None)
    }

    /// `compose restart`.
    pub(super) async fn restart(self: &Rc<Self>, request: Restart) -> Result<Option<Reply>, Failure> {
        let interrupt = self.interrupt.subscribe();
        let _turn = self.take_turn().await;
        self.not_overtaken(&interrupt)?;
        let plan = composer_plan::restart(&self.observe().await, &request.services, request.no_deps);
        if request.dry_run {
            return Ok(Some(Reply::Plan(plan.to_string())));
        }
        let order = self.waking_order(watch::Sender::new(false), interrupt, request.timeout);
        let endings = self.endings.get();
        let woken = self.wake(&plan, &order).await;
        if order.interrupt.has_changed().unwrap_or(false) && self.endings.get() == endings {
            self.start_again(&plan).await?;
        }
        woken?;
        for id in plan.steps() {
            if let Step::Start { container } = &plan.get(id).step
                && let Some(container) = self.container(container)
            {
                self.announce_container(&container, Action::Restarted);
            }
        }
        Ok(None)
    }

    /// Starts what an interrupted `restart` has stopped: nobody else would. It waits for no condition any more, so that
    /// the command that interrupts it soon has its turn.
    async fn start_again(self: &Rc<Self>, plan: &Plan) -> Result<(), Failure> {
        let mut messages = Vec::new();
        for id in plan.steps() {
            let Step::Stop { container } = &plan.get(id).step else { continue };
            if let Some(container) = self.container(container)
                && matches!(*container.status.borrow(), Status::Exited(_))
                && let Err(error) = self.start(&container).await
            {
                messages.push(error.message);
            }
        }
        if messages.is_empty() { Ok(()) } else { Err(failure(messages.join("\n"))) }
    }

    /// `compose rm`.
    pub(super) async fn remove_stopped(self: &Rc<Self>, request: Remove) -> Result<Option<Reply>, Failure> {
        let _turn = self.take_turn().await;
        let observed = self.observe().await;
        if request.dry_run {
            let plan = composer_plan::remove(&observed, &request.services, &[], request.stop);
            return Ok(Some(Reply::Plan(plan.to_string())));
        }
        let plan = composer_plan::remove(&observed, &request.services, &request.containers, false);
        let messages = worded(self.execute(&plan, self.down_order(None)).await);
        if messages.is_empty() { Ok(None) } else { Err(failure(messages.join("\n"))) }
    }

    /// Fails where a command that goes before it has come while this one waited for its turn.
    pub(super) fn not_overtaken(&self, interrupt: &watch::Receiver<u64>) -> Result<(), Failure> {
        match interrupt.has_changed() {
            Ok(true) => Err(failure("interrupted by a later command: nothing has been started".to_owned())),
            Ok(false) | Err(_) => Ok(()),
        }
    }

    /// Services that are to have no container at all.
    fn without_containers(&self) -> BTreeSet<String> {
        let record = self.record.borrow();
        let services = record.iter().flat_map(|record| record.services.values());
        services.filter(|service| service.replicas == 0).map(|service| service.name.clone()).collect()
    }

    /// Starting needs no file: its stack is the one that was last brought up.
    fn waking_order(
        &self,
        cancel: watch::Sender<bool>,
        interrupt: watch::Receiver<u64>,
        timeout: Option<std::time::Duration>,
    ) -> Rc<Order> {
        let record = self.record.borrow();
        let stack = record.as_ref().map(|record| {
            Rc::new(Stack {
                name: record.name.clone(),
                directory: record.directory.clone(),
                files: record.files.clone(),
                resources: record.resources.clone(),
                services: record.services.clone(),
                volumes: record.volumes.clone(),
                networks: record.networks.clone(),
                bandwidth: record.bandwidth,
            })
        });
        Rc::new(Order { stack, timeout, halt: Halt::User, stop_at_failure: true, cancel, interrupt })
    }

    async fn wake(self: &Rc<Self>, plan: &Plan, order: &Rc<Order>) -> Result<(), Failure> {
        let failures = self.execute(plan, Rc::clone(order)).await;
        // What was broken is why the others gave up.
        let mut first: Option<Failure> = None;
        for step in failures {
            let found = match step {
                StepError::Broken(error) => Failure { message: error.message, code: error.code },
                StepError::Hook { why, .. } => failure(why),
                StepError::Unmet(why) => failure(format!("dependency failed to start: {why}")),
                StepError::Interrupted => failure("interrupted: what has been started runs on".to_owned()),
            };
            first.get_or_insert(found);
        }
        first.map_or(Ok(()), Err)
    }
}
