//! `start`, `restart` and `rm`: what needs no file but what exists.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use composer_plan::{Plan, RemoveOptions, Step};
use composer_stack::Stack;
use tokio::sync::watch;

use super::Engine;
use super::container::{Container, Status};
use super::ends::Late;
use super::execute::Order;
use super::operations::{Operation, failure, worded};
use crate::protocol::{Action, Failure, Remove, Reply, Restart, Start};
use crate::records::{Halt, Phase};

impl Engine {
    /// `compose start`. The plan of a dry run is the answer.
    pub(super) async fn start_services(
        self: &Rc<Self>,
        request: Start,
        operation: &Operation,
    ) -> Result<Option<Reply>, Failure> {
        let interrupt = self.interrupt.subscribe();
        let _turn = self.take_turn_unless(request.dry_run, operation).await?;
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
        self.wake(&plan, &order, &request.services, late).await?;
        if request.wait {
            self.wait_until_ready(&order, &request.services, late).await?;
        }
        Ok(None)
    }

    /// `compose restart`.
    pub(super) async fn restart(
        self: &Rc<Self>,
        request: Restart,
        operation: &Operation,
    ) -> Result<Option<Reply>, Failure> {
        let interrupt = self.interrupt.subscribe();
        let _turn = self.take_turn_unless(request.dry_run, operation).await?;
        self.not_overtaken(&interrupt)?;
        let plan = composer_plan::restart(&self.observe().await, &request.services, request.no_deps);
        if request.dry_run {
            return Ok(Some(Reply::Plan(plan.to_string())));
        }
        let order = self.waking_order(watch::Sender::new(false), interrupt, request.timeout);
        let endings = self.endings.get();
        let begun = self.begun(&plan);
        let woken = self.wake(&plan, &order, &request.services, None).await;
        if order.interrupt.has_changed().unwrap_or(false) && self.endings.get() == endings {
            self.start_again(&begun).await?;
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

    /// The containers that a plan stops, each with when its program was started.
    fn begun(&self, plan: &Plan) -> Vec<(Rc<Container>, Option<u64>)> {
        let stopped = plan.steps().into_iter().filter_map(|id| match &plan.get(id).step {
            Step::Stop { container } => self.container(container),
            _ => None,
        });
        stopped.map(|container| (Rc::clone(&container), last_start(&container))).collect()
    }

    /// Starts what an interrupted `restart` has stopped: nobody else would. It waits for no condition any more, so that
    /// the command that interrupts it soon has its turn. What has ended after it had been started anew has had its turn.
    async fn start_again(self: &Rc<Self>, begun: &[(Rc<Container>, Option<u64>)]) -> Result<(), Failure> {
        let mut messages = Vec::new();
        for (container, before) in begun {
            if *before != last_start(container) || !matches!(*container.status.borrow(), Status::Exited(_)) {
                continue;
            }
            // Nobody waits for its hooks here: the next `up` runs them.
            Self::expect_hooks(container);
            if let Err(error) = self.start(container).await {
                messages.push(error.to_string());
            }
        }
        if messages.is_empty() { Ok(()) } else { Err(failure(messages.join("\n"))) }
    }

    /// `compose rm`.
    pub(super) async fn remove_stopped(
        self: &Rc<Self>,
        request: Remove,
        operation: &Operation,
    ) -> Result<Option<Reply>, Failure> {
        let _turn = self.take_turn_unless(request.dry_run, operation).await?;
        let observed = self.observe().await;
        let Remove { services, containers: named, stop, volumes, dry_run } = request;
        if dry_run {
            let options = RemoveOptions { services, named: Vec::new(), stop, volumes };
            let plan = composer_plan::remove(&observed, &options);
            return Ok(Some(Reply::Plan(plan.to_string())));
        }
        let plan = composer_plan::remove(&observed, &RemoveOptions { services, named, stop: false, volumes });
        let messages = worded(self.execute(&plan, self.down_order(None)).await);
        if messages.is_empty() { Ok(None) } else { Err(failure(messages.join("\n"))) }
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
                victim: record.victim,
                contents: BTreeMap::new(),
            })
        });
        let (halt, made) = (Halt::User, RefCell::default());
        Rc::new(Order { stack, timeout, halt, stop_at_failure: true, cancel, interrupt, made })
    }

    /// Runs a plan that starts what was `asked` for, or all.
    async fn wake(
        self: &Rc<Self>,
        plan: &Plan,
        order: &Rc<Order>,
        asked: &[String],
        late: Option<Late>,
    ) -> Result<(), Failure> {
        self.check_external_links(plan, order.stack.as_deref());
        self.check_networks(plan, order.stack.as_deref()).await?;
        self.take_ports(plan, order.stack.as_deref())?;
        let failures = self.execute_until(plan, order, late).await;
        self.brought_up(&failures, plan, false, order, (asked, late)).await
    }
}

/// When the program that a container runs, or ran last, was started.
fn last_start(container: &Container) -> Option<u64> {
    match &container.record.borrow().phase {
        Phase::Started(process) => Some(process.started),
        Phase::Exited { started, .. } => Some(*started),
        Phase::Created { .. } => None,
    }
}
