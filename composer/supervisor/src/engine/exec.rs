//! `compose exec`: a program in a running container.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use composer_cgroup::Group;
use composer_sandbox::{ExecSpec, pidfd};
use composer_stack::known_services;
use tokio::io::unix::AsyncFd;

use super::container::{Container, Status};
use super::link::{Born, End, Legacy};
use super::oom::Before;
use super::operations::{Operation, failure};
use super::pause::held_back;
use super::start::{self, Reported};
use super::{Engine, asyncfd, inside};
use crate::protocol::{Action, Exec, ExecAction, ExecStage, Failure, Reply};
use crate::{channel, identifier, words};

type Connection = AsyncFd<OwnedFd>;

/// What the tags of these programs begin with; the id of what asked for them follows.
const PURPOSE: &str = "exec";

/// A program that an earlier supervisor has started, whose client may not have been told so.
pub(super) enum Left {
    Running(Born),
    Ended(i32, End),
}

/// Those that the keeper knows of, by the ids of what asked for them.
pub(super) fn left(legacy: &mut Legacy) -> BTreeMap<String, Left> {
    let id = |tag: &str| Some(tag.strip_prefix(PURPOSE)?.strip_prefix('/')?.split('/').next()?.to_owned());
    let ended = legacy.tags.iter().filter_map(|(pid, tag)| {
        let end = legacy.ended.get(pid)?;
        Some((id(tag)?, Left::Ended(*pid, *end)))
    });
    let mut left: BTreeMap<_, _> = ended.collect();
    let running: Vec<_> = legacy.children.keys().filter_map(|tag| Some((id(tag)?, tag.clone()))).collect();
    let born = running.into_iter().filter_map(|(id, tag)| Some((id, legacy.children.remove(&tag)?)));
    left.extend(born.map(|(id, born)| (id, Left::Running(born))));
    left
}

impl Engine {
    /// Runs the program and tells the client of its end.
    pub(super) async fn exec(
        &self,
        request: Exec,
        fds: Vec<OwnedFd>,
        client: &Connection,
        operation: &Operation,
    ) -> Result<(), Failure> {
        let id = operation.id();
        let left = self.programs.borrow_mut().remove(&id);
        match left {
            Some(left) if request.terminal.is_none() => return self.go_on(left, &request, client).await,
            // Its terminal is gone.
            Some(Left::Running(born)) => {
                inside::kill(born.pid, born.pidfd.as_fd());
                let _ = born.end.await;
                self.link.acknowledge(born.pid);
            }
            Some(Left::Ended(..)) | None => {}
        }
        let container = self.target(&request.service, request.index)?;
        if *container.paused.borrow() {
            return Err(failure(held_back(&container)));
        }
        let events = Events::new(self, &container, request.argv.clone());
        events.tell(ExecStage::Created);
        let memory = self.memory_before(&container);
        let (born, terminal) = self.launch_in(&container, &request, fds, &id).await?;
        events.tell(ExecStage::Started);
        let with: Vec<_> = terminal.iter().map(AsFd::as_fd).collect();
        // A client that has gone already is noticed as one that goes later.
        let _ = asyncfd::send(client, &Reply::Executing { pid: born.pid }, &with).await;
        drop(terminal);
        if request.detach {
            return Ok(());
        }
        let code = self.await_end(born, Some(&container), client).await?;
        events.tell(|_| ExecStage::Ended(code));
        self.tell_program_end(&container, code, memory, client).await;
        Ok(())
    }

    /// Tells the client of a program's end.
    async fn tell_program_end(&self, container: &Container, code: i32, memory: Before, client: &Connection) {
        let starved = self.death_beside(container, code, memory);
        // A client that has gone needs no answer.
        let _ = asyncfd::send(client, &Reply::Exited { code, starved }, &[]).await;
    }

    /// Answers for a program that an earlier supervisor has started: it is not run a second time.
    async fn go_on(&self, left: Left, request: &Exec, client: &Connection) -> Result<(), Failure> {
        let (Left::Running(Born { pid, .. }) | Left::Ended(pid, _)) = &left;
        let _ = asyncfd::send(client, &Reply::Executing { pid: *pid }, &[]).await;
        let code = match left {
            _ if request.detach => return Ok(()),
            Left::Running(born) => {
                let container = self.target(&request.service, request.index).ok();
                self.await_end(born, container.as_deref(), client).await?
            }
            Left::Ended(_, end) => end.code.ok_or_else(unknown_code)?,
        };
        match self.beside(&request.service, request.index) {
            Some(container) => {
                self.tell_program_end(&container, code, Before::an_earlier_supervisor(), client).await
            }
            None => {
                let _ = asyncfd::send(client, &Reply::Exited { code, starved: None }, &[]).await;
            }
        }
        Ok(())
    }

    /// Makes the process and returns when it has exec'd its program, with the master of its terminal.
    async fn launch_in(
        &self,
        container: &Container,
        request: &Exec,
        fds: Vec<OwnedFd>,
        id: &str,
    ) -> Result<(Born, Option<OwnedFd>), Failure> {
        let name = container.name();
        let text = |error: std::io::Error| failure(format!("exec in {name}: {error}"));
        let (target, pidfd) = {
            let live = container.live.borrow();
            let live = live.as_ref().ok_or_else(|| failure(words::not_running(&request.service, true)))?;
            (live.pid, live.pidfd.try_clone().map_err(text)?)
        };
        let (report_read, report_write) = channel::pair().map_err(text)?;
        let report_read = asyncfd::new(report_read).map_err(text)?;
        let (spec, group) = self.spec_of_exec(container, request);
        let mut all = vec![pidfd];
        all.extend(three(fds).map_err(text)?);
        all.push(report_write);
        all.extend(group.open().map_err(|error| failure(error.to_string()))?);
        let born = self.link.exec(&format!("{PURPOSE}/{id}"), target, spec, all).await;
        let born = born.map_err(|refusal| failure(format!("exec in {name}: {refusal}")))?;
        match start::report(&report_read, &name).await {
            Reported::Started(terminal) => Ok((born, terminal)),
            Reported::Failed(error) => {
                let _ = born.end.await;
                self.link.acknowledge(born.pid);
                // As Docker: what could not even be tried is 126, so that it is told from the program's own failure.
                let code = if error.code == 1 { 126 } else { error.code };
                Err(Failure::new(error.message, code))
            }
        }
    }

    /// The service's process with what was asked for over it.
    fn spec_of_exec(&self, container: &Container, request: &Exec) -> (ExecSpec, Group) {
        let (mut spec, group) = self.exec_spec(container, request.argv.clone());
        spec.privileged = request.privileged;
        spec.process.terminal = request.terminal.is_some();
        spec.process.terminal_size = request.terminal;
        spec.process.user = request.user.clone().or(spec.process.user);
        spec.process.cwd = request.cwd.clone().or(spec.process.cwd);
        for (name, value) in &request.env {
            spec.process.env.retain(|(known, _)| known != name);
            spec.process.env.push((name.clone(), value.clone()));
        }
        (spec, group)
    }

    /// Waits for the end of a program: its code. Where whoever waits for it goes, it is told as by a terminal that goes;
    /// in a container that is held it hears of it later, and who waits is told so.
    async fn await_end(
        &self,
        born: Born,
        container: Option<&Container>,
        client: &Connection,
    ) -> Result<i32, Failure> {
        let mut end = born.end;
        let ended = tokio::select! {
            end = &mut end => end,
            never = tell_pauses(container, client) => match never {},
            () = hangup(client) => {
                let _ = pidfd::signal(born.pidfd.as_fd(), libc::SIGHUP);
                end.await
            }
        };
        self.link.acknowledge(born.pid);
        let code = ended.ok().and_then(|end| end.code);
        code.ok_or_else(unknown_code)
    }

    /// A running container of a service: this replica, or the first that runs, else one that `run` has made.
    pub(super) fn target(&self, service: &str, index: Option<u32>) -> Result<Rc<Container>, Failure> {
        let mut found = self.of_services(&[service.to_owned()]);
        found.sort_by_key(|container| container.record.borrow().index);
        if let Some(index) = index {
            let wanted = found.iter().find(|container| container.record.borrow().index == index);
            let container = wanted.cloned().ok_or_else(|| {
                let indexes = found.iter().map(|container| container.record.borrow().index).collect();
                failure(format!("service {service:?} has no container {index}: {}", words::range(&indexes)))
            })?;
            found = vec![container];
        } else {
            found.extend(self.oneoffs_of(service));
        }
        let running = |container: &&Rc<Container>| matches!(*container.status.borrow(), Status::Running(_));
        let restarting =
            |container: &Rc<Container>| matches!(*container.status.borrow(), Status::Restarting(_));
        found.iter().find(running).cloned().ok_or_else(|| match found.iter().any(restarting) {
            true => failure(format!("service {service:?} is being restarted: wait until it runs")),
            false => self.not_running(service),
        })
    }

    /// The container in which such a program ran, which may have ended with it.
    fn beside(&self, service: &str, index: Option<u32>) -> Option<Rc<Container>> {
        self.target(service, index).ok().or_else(|| {
            let all = self.of_services(&[service.to_owned()]);
            let is_it = |one: &Rc<Container>| index.is_none_or(|index| one.record.borrow().index == index);
            all.into_iter().find(is_it)
        })
    }

    fn not_running(&self, service: &str) -> Failure {
        let exists = !self.of_services(&[service.to_owned()]).is_empty();
        let record = self.record.borrow();
        let of_file = record.as_ref().map(|record| &record.services);
        match of_file.filter(|services| !exists && !services.contains_key(service)) {
            None => failure(words::not_running(service, exists)),
            Some(services) => {
                let known = known_services("the file", service, services.keys().map(String::as_str));
                failure(format!("service {service:?} is not running: no such service{known}"))
            }
        }
    }
}

/// Tells of one program.
struct Events<'a> {
    engine: &'a Engine,
    container: &'a Rc<Container>,
    id: String,
    argv: Vec<String>,
}

impl<'a> Events<'a> {
    fn new(engine: &'a Engine, container: &'a Rc<Container>, argv: Vec<String>) -> Self {
        // The kernel's random source does not fail once the host runs; without an id the event is as true.
        Self { engine, container, id: identifier().unwrap_or_default(), argv }
    }

    fn tell(&self, stage: impl FnOnce(Vec<String>) -> ExecStage) {
        let action = ExecAction { id: self.id.clone(), stage: stage(self.argv.clone()) };
        self.engine.announce_container(self.container, Action::Exec(action));
    }
}

/// Standard streams: those that came along, else none.
fn three(mut fds: Vec<OwnedFd>) -> std::io::Result<Vec<OwnedFd>> {
    while fds.len() < 3 {
        fds.push(std::fs::OpenOptions::new().read(true).write(true).open("/dev/null")?.into());
    }
    fds.truncate(3);
    Ok(fds)
}

fn unknown_code() -> Failure {
    failure("its code is not known: the keeper was killed".to_owned())
}

/// Tells a client whether the container of its program stands still.
async fn tell_pauses(container: Option<&Container>, client: &Connection) -> Infallible {
    let Some(container) = container else { return std::future::pending().await };
    let mut paused = container.paused.subscribe();
    let mut told = false;
    loop {
        // Cannot fail: the container has the other end.
        let _ = paused.wait_for(|paused| *paused != told).await;
        told = !told;
        // A client that has gone is noticed by its hangup.
        let _ = asyncfd::send(client, &Reply::Paused(told), &[]).await;
    }
}

/// Waits until the client has closed its connection.
pub async fn hangup(client: &Connection) {
    while let Ok(Some(_)) = asyncfd::receive::<serde_json::Value>(client).await {}
}
