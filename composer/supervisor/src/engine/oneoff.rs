//! `compose run` and `compose attach`: a container beside a service's replicas, and whoever follows a container.
//!
//! Output goes to the log like any other's, and the client reads it there: nothing that either process does can lose a
//! byte of it. Input goes past the supervisor.

use std::cell::RefCell;
use std::fs::OpenOptions;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::rc::Rc;
use std::time::Duration;

use composer_plan::{Observed, Orphans, Plan, UpOptions};
use composer_stack::{Settable, Stack};
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;

use super::container::{Container, Given, Status};
use super::execute::{Order, StepError, new_record};
use super::naming::Names;
use super::operations::{Operation, failure};
use super::{Engine, asyncfd};
use crate::diagnose;
use crate::host::networks::Elsewhere;
use crate::protocol::{Attach, Attached, Failure, Following, Reply, Run};
use crate::records::{self, ContainerRecord, Halt, OneOff, Overs, Phase};

type Connection = AsyncFd<OwnedFd>;

/// How long a container that somebody waited for when a supervisor died is kept for them: they have to connect anew.
const RETURN: Duration = Duration::from_secs(5);

/// What a client has said.
enum Said {
    /// It reads the log.
    HasLog,
    /// It leaves, and the program runs on.
    Detached,
    /// It is gone.
    Gone,
}

/// How a client leaves before the end.
enum Parting {
    /// It has said so: the program runs on.
    Detached,
    /// It is gone.
    Gone,
}

/// What a container of `run` stands on has been brought up.
struct Stood {
    plan: Plan,
    order: Rc<Order>,
}

impl Engine {
    /// Starts a one-off container, and stays with it unless it is to run by itself.
    pub(super) async fn run_oneoff(
        self: &Rc<Self>,
        mut request: Run,
        fds: Vec<OwnedFd>,
        client: &Connection,
        operation: &Operation,
    ) -> Result<(), Failure> {
        if request.dry_run {
            let keys = self.unite_networks(&mut request.stack);
            keys.rename_in(&mut request.service.network);
            self.overlay_oneoff(&mut request)?;
            let plan = self.plan_oneoff(&request).await?;
            // A client that has gone needs no answer.
            let _ = asyncfd::send(client, &Reply::Plan(plan.to_string()), &[]).await;
            return Ok(());
        }
        let (detach, own) = (request.detach, request.remove && !request.detach);
        let caller = client.get_ref().try_clone().ok();
        let given = Given { stdin: fds.into_iter().next(), size: request.terminal, caller };
        let work = self.begin_oneoff(request, given, operation);
        let container = self.with_events(client, operation, work).await?;
        if detach { Ok(()) } else { self.accompany(&container, own, client).await }
    }

    /// What the service depends on, then the container itself.
    async fn begin_oneoff(
        self: &Rc<Self>,
        request: Run,
        given: Given,
        operation: &Operation,
    ) -> Result<Rc<Container>, Failure> {
        let interrupt = self.interrupt.subscribe();
        let (request, keys, stood) = loop {
            let turn = self.take_turn(operation).await?;
            self.not_overtaken(&interrupt)?;
            let mut request = request.clone();
            if let Some(known) = self.claim_name(&request).await? {
                return Ok(known);
            }
            let order = Rc::new(Order {
                stack: None,
                timeout: None,
                halt: Halt::User,
                stop_at_failure: true,
                cancel: operation.cancel.clone(),
                interrupt: interrupt.clone(),
                made: RefCell::default(),
            });
            let keys = self.unite_networks(&mut request.stack);
            keys.rename_in(&mut request.service.network);
            let stood = self.stand(&mut request, order).await;
            // Nothing is changed while it waits for others.
            drop(turn);
            let asked = match stood {
                Ok(Ok(stood)) => break (request, keys, stood),
                Ok(Err(elsewhere)) => self.have_shared(&elsewhere, &request.stack.networks, operation).await,
                Err(failure) => Err(failure),
            };
            asked.map_err(|failure| failure.in_file(&keys))?;
        };
        let order = &stood.order;
        if let Err(error) = self.meet(&request.stack, &request.service, order).await {
            let services = std::slice::from_ref(&request.service.name);
            self.brought_up(&[error], &stood.plan, false, order, (services, None)).await?;
        }
        let _turn = self.take_turn(operation).await?;
        if *order.cancel.borrow() || order.interrupt.has_changed().unwrap_or(false) {
            return Err(failure("interrupted: what has been started runs on".to_owned()));
        }
        // Another one may have been given the name meanwhile.
        match self.claim_name(&request).await? {
            Some(known) => Ok(known),
            None => self.start_oneoff(request, given).await.map_err(|failure| failure.in_file(&keys)),
        }
    }

    /// Fails where another container has the name. A container where the request is made again, as its supervisor has
    /// died.
    async fn claim_name(self: &Rc<Self>, request: &Run) -> Result<Option<Rc<Container>>, Failure> {
        let Some(known) = self.container(&request.name) else {
            // Taken for good when it is made; told before others are started for it.
            self.not_taken(&Names::from([(request.name.clone(), None)]))?;
            return Ok(None);
        };
        if known.record.borrow().id != request.id {
            return Err(in_use(&request.name));
        }
        let has_started = !matches!(*known.status.borrow(), Status::Created);
        if has_started {
            return Ok(Some(known));
        }
        self.remove(&request.name, true).await.map_err(|error| failure(error.message))?;
        Ok(None)
    }

    /// What `--dry-run` shows.
    async fn plan_oneoff(&self, request: &Run) -> Result<Plan, Failure> {
        if self.container(&request.name).is_some() {
            return Err(in_use(&request.name));
        }
        self.not_taken(&Names::from([(request.name.clone(), None)]))?;
        let (stack, observed, options) = self.without_replicas(request).await;
        Ok(composer_plan::run(&stack, &observed, &options, &request.name))
    }

    /// What `set` has changed of the service holds for its containers of `run` too.
    fn overlay_oneoff(&self, request: &mut Run) -> Result<Overs, Failure> {
        let (overs, _) = self.overlay(&mut request.stack);
        self.share_by_name(&mut request.stack).map_err(|error| Failure::from(&error))?;
        if let Some(service) = request.stack.services.get(&request.service.name) {
            Settable::of_service(service).give_to(&mut request.service);
        }
        Ok(overs)
    }

    /// What is planned with, and how.
    async fn without_replicas(&self, request: &Run) -> (Stack, Observed, UpOptions) {
        let mut observed = self.observe_for(&request.stack).await;
        // Planned as a service without replicas: what it stands on and depends on is there, and its replicas are left
        // as they are.
        let service = &request.service;
        let mut stack = request.stack.clone();
        stack
            .services
            .insert(service.name.clone(), composer_stack::Service { replicas: 0, ..service.clone() });
        observed.containers.retain(|_, container| container.service() != service.name);
        let options = UpOptions {
            services: vec![service.name.clone()],
            orphans: if request.remove_orphans { Orphans::Remove } else { Orphans::Ignore },
            ..UpOptions::default()
        };
        (stack, observed, options)
    }

    /// The stack's network, the volumes, and everything that the service depends on.
    async fn stand(
        self: &Rc<Self>,
        request: &mut Run,
        order: Rc<Order>,
    ) -> Result<Result<Stood, Elsewhere>, Failure> {
        let overs = self.overlay_oneoff(request)?;
        let (stack, observed, options) = self.without_replicas(request).await;
        let plan = composer_plan::up(&stack, &observed, &options);
        if let Some(elsewhere) = self.elsewhere(&plan, &stack) {
            return Ok(Err(elsewhere));
        }
        self.check_links_of(&request.service, Some(&stack));
        self.check_external_links(&plan, Some(&stack));
        self.check_networks(&plan, Some(&stack)).await?;
        let _names = self.claim_names(&plan)?;
        self.take_ports(&plan, Some(&stack))?;
        let new = match self.take_file(&request.stack, &request.path, overs)? {
            Ok(new) => new,
            Err(elsewhere) => return Ok(Err(elsewhere)),
        };
        let order = Rc::new(Order {
            stack: Some(Rc::new(stack)),
            timeout: order.timeout,
            halt: Halt::User,
            stop_at_failure: order.stop_at_failure,
            cancel: order.cancel.clone(),
            interrupt: order.interrupt.clone(),
            made: RefCell::default(),
        });
        let failures = self.execute(&plan, Rc::clone(&order)).await;
        self.brought_up(&failures, &plan, new, &order, (&options.services, None)).await?;
        Ok(Ok(Stood { plan, order }))
    }

    /// Waits for the service's own conditions.
    async fn meet(
        &self,
        stack: &Stack,
        service: &composer_stack::Service,
        order: &Order,
    ) -> Result<(), StepError> {
        for (dependency, terms) in &service.depends_on {
            if stack.services.contains_key(dependency) {
                self.wait_for(dependency, terms.condition, terms.required, order).await?;
            }
        }
        if *order.cancel.borrow() || order.interrupt.has_changed().unwrap_or(false) {
            return Err(StepError::Interrupted);
        }
        Ok(())
    }

    async fn start_oneoff(self: &Rc<Self>, request: Run, given: Given) -> Result<Rc<Container>, Failure> {
        let oneoff = OneOff {
            remove: request.remove,
            attended: request.remove && !request.detach,
            aliases: request.aliases,
        };
        let record = ContainerRecord {
            prepared: true,
            oneoff: Some(oneoff),
            ..new_record(request.id, &request.name, &request.service, 1)
        };
        let _name = self.claim(&Names::from([(request.name.clone(), None)]))?;
        self.make(record).map_err(|error| Failure::from(&error))?;
        let container = self.container(&request.name);
        let container = container.ok_or_else(|| failure(format!("{} is gone already", request.name)))?;
        let started = match crate::logs::make_streams(container.paths.log()) {
            Ok(()) => {
                *container.given.borrow_mut() = Some(given);
                self.start(&container).await
            }
            Err(error) => Err(super::start::StartError::doing("make its log", &error)),
        };
        // Its input ends when nobody else has it.
        container.given.take();
        if let Err(error) = started {
            if let Err(error) = self.remove(&request.name, true).await {
                diagnose(&error.message);
            }
            return Err(Failure::from(&error));
        }
        Ok(container)
    }

    /// Follows a container's main program for a client.
    pub(super) async fn attach(
        self: &Rc<Self>,
        request: &Attach,
        client: &Connection,
    ) -> Result<(), Failure> {
        let container = match &request.name {
            Some(name) => self.container(name).ok_or_else(|| {
                failure(format!("container {name} is gone, and the code of its program with it"))
            })?,
            None => self.target(&request.service, request.index)?,
        };
        self.accompany(&container, request.own, client).await
    }

    /// Tells a client of a program's end. Where it `own`s the container and goes before that, the container goes too.
    async fn accompany(
        self: &Rc<Self>,
        container: &Rc<Container>,
        own: bool,
        client: &Connection,
    ) -> Result<(), Failure> {
        let status = container.status.subscribe();
        let input = self.input(container);
        // Without its caller it goes as one that nobody has come back for.
        container.owned.set(own && input.is_ok());
        let (terminal, input) = input?;
        let attached = Attached {
            name: container.name(),
            pid: container.live.borrow().as_ref().map(|live| live.pid),
            terminal,
            stdin: container.record.borrow().service.stdin_open,
        };
        let with: Vec<_> = input.iter().map(AsFd::as_fd).collect();
        // A client that has gone already is noticed as one that goes later.
        let _ = asyncfd::send(client, &Reply::Attached(attached), &with).await;
        drop(input);
        match parting(status, client).await {
            Some(Parting::Detached) => {
                container.owned.set(false);
                self.leave_alone(container)
            }
            Some(Parting::Gone) if own => {
                self.stop(container, None, Halt::User).await;
                self.clear_oneoff(container).await;
                Ok(())
            }
            Some(Parting::Gone) => Ok(()),
            None => self.tell_code(container, client).await,
        }
    }

    /// The code of a program that has ended, for whoever has waited for it.
    async fn tell_code(
        self: &Rc<Self>,
        container: &Rc<Container>,
        client: &Connection,
    ) -> Result<(), Failure> {
        let (code, starved) = {
            let record = container.record.borrow();
            match &record.phase {
                Phase::Exited { code, reason, .. } => (*code, reason.clone().filter(|_| record.starved)),
                Phase::Created { .. } | Phase::Started(_) => (None, None),
            }
        };
        if let Some(code) = code {
            // A client that has gone needs no answer.
            let _ = asyncfd::send(client, &Reply::Exited { code, starved }, &[]).await;
        }
        self.clear_oneoff(container).await;
        match code {
            Some(_) => Ok(()),
            None => Err(failure(format!("{}: the code of its program is not known", container.name()))),
        }
    }

    /// Nobody waits for a container any more, and it runs on.
    fn leave_alone(&self, container: &Container) -> Result<(), Failure> {
        let mut record = container.record.borrow_mut();
        let Some(oneoff) = &mut record.oneoff else { return Ok(()) };
        oneoff.attended = false;
        // That it runs is recorded elsewhere.
        let recorded = ContainerRecord { phase: Phase::Created { reason: None }, ..record.clone() };
        let written = records::write(&container.paths.record(), &recorded);
        written.map_err(|error| failure(format!("write the record of {}: {error}", record.name)))
    }

    /// Whether a container has a terminal, and where its program's input comes from.
    fn input(&self, container: &Container) -> Result<(bool, Option<OwnedFd>), Failure> {
        let name = container.name();
        let failed = |error: std::io::Error| failure(format!("attach to {name}: {error}"));
        let (tty, stdin_open) = {
            let record = container.record.borrow();
            (record.service.tty, record.service.stdin_open)
        };
        if tty {
            let held = self.link.held(&format!("terminal/{name}")).map_err(failed)?;
            return Ok((true, held.into_iter().next()));
        }
        if !stdin_open {
            return Ok((false, None));
        }
        let opened =
            OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(container.paths.fifo("in"));
        match opened {
            Ok(pipe) => Ok((false, Some(pipe.into()))),
            // The input of a container of `run` is its caller's; one that its program has closed has no reader.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENXIO)) => {
                Ok((false, None))
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// The containers of `run` for a service.
    pub(super) fn oneoffs_of(&self, service: &str) -> Vec<Rc<Container>> {
        let chosen = |container: &&Rc<Container>| {
            let record = container.record.borrow();
            record.oneoff.is_some() && record.service.name == service
        };
        self.containers.borrow().values().filter(chosen).cloned().collect()
    }

    /// The program of a container of `run` has ended. Where an earlier supervisor left it, whoever waits for it may not
    /// have come back yet.
    pub(super) async fn clear_ended_oneoff(self: &Rc<Self>, container: &Rc<Container>) {
        if container.oneoff().is_some_and(|oneoff| oneoff.remove && oneoff.attended) {
            if container.owned.get() {
                // Whoever accompanies it takes it away once its caller has seen its end.
                return;
            }
            let (engine, container) = (Rc::clone(self), Rc::clone(container));
            tokio::task::spawn_local(async move {
                tokio::time::sleep(RETURN).await;
                engine.clear_oneoff(&container).await;
            });
            return;
        }
        self.clear_oneoff(container).await;
    }

    /// Takes away a container of `run` that goes with its program. It waits for nobody's turn: no plan but that of `down`
    /// knows of it, and who takes it away second finds nothing.
    pub(super) async fn clear_oneoff(self: &Rc<Self>, container: &Rc<Container>) {
        if !container.oneoff().is_some_and(|oneoff| oneoff.remove) {
            return;
        }
        let name = container.name();
        let is_there = self.container(&name).is_some_and(|known| Rc::ptr_eq(&known, container));
        let has_ended = !is_under_way(*container.status.borrow());
        if is_there
            && has_ended
            && let Err(error) = self.remove(&name, true).await
        {
            diagnose(&error.message);
        }
    }

    /// Keeps the containers of `run` that an earlier supervisor left for those who wait for them, for a while.
    pub(super) fn await_owners(self: &Rc<Self>) {
        for container in self.containers.borrow().values() {
            let Some(oneoff) = container.oneoff().filter(|oneoff| oneoff.remove) else {
                continue;
            };
            let (engine, container) = (Rc::clone(self), Rc::clone(container));
            tokio::task::spawn_local(async move {
                tokio::time::sleep(RETURN).await;
                if oneoff.attended && !container.owned.get() {
                    engine.stop(&container, None, Halt::User).await;
                }
                engine.clear_oneoff(&container).await;
            });
        }
    }
}

fn in_use(name: &str) -> Failure {
    failure(format!(
        "container name {name:?} is in use already: give another one with `--name`, or take that container away"
    ))
}

fn is_under_way(status: Status) -> bool {
    match status {
        Status::Starting | Status::Running(_) => true,
        Status::Created | Status::Restarting(_) | Status::Exited(_) => false,
    }
}

/// How a client leaves; `None` where the program has ended before that.
async fn parting(mut status: watch::Receiver<Status>, client: &Connection) -> Option<Parting> {
    // The log goes with the container: not before the client has that open.
    let mut has_log = false;
    loop {
        tokio::select! {
            biased;
            // Fails only when the container itself is gone.
            _ = status.wait_for(|status| !is_under_way(*status)), if has_log => return None,
            said = heard(client) => match said {
                Said::HasLog => has_log = true,
                Said::Detached => return Some(Parting::Detached),
                Said::Gone => return Some(Parting::Gone),
            },
        }
    }
}

/// What a client says next.
async fn heard(client: &Connection) -> Said {
    match asyncfd::receive::<Following>(client).await {
        Ok(Some((Following::HasLog, _))) => Said::HasLog,
        Ok(Some((Following::Leaves, _))) => Said::Detached,
        Ok(None) | Err(_) => Said::Gone,
    }
}
