//! What an earlier supervisor left is taken up: records, the keeper's word, and the kernel's.

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use composer_network::{netns, reattach_dns};
use composer_sandbox::pidfd;
use composer_stack::NetworkMode;

use super::container::{Container, Status};
use super::link::{Born, End, Legacy, Link};
use super::oom::Death;
use super::{Engine, exec, inside, logpipes, network, ports, prestart, program, removal};
use crate::host::storage;
use crate::host::volumes::left;
use crate::logs::Stream;
use crate::records::{ContainerRecord, Phase, Process};
use crate::{diagnose, events, records};

impl Engine {
    /// Takes up everything that exists of the stack.
    pub(super) async fn adopt(self: &Rc<Self>, mut legacy: Legacy) {
        self.know_own_names();
        let recorded = self.recorded().await;
        if let Err(error) = self.finish_giving(&recorded) {
            diagnose(&error.message);
        }
        // All of them before the network is looked at: the kernel is told of them at once.
        for container in &recorded {
            let runs = matches!(container.record.borrow().phase, Phase::Started(_));
            if runs || is_due(container) {
                self.adopt_ports(container, ports_of(&mut legacy, &container.name()), runs);
            }
        }
        for key in legacy.held.keys().filter(|key| key.starts_with(ports::KEY)) {
            self.link.release(key);
        }
        for container in recorded {
            let name = container.name();
            let born = legacy.children.remove(&format!("container/{name}"));
            self.containers.borrow_mut().insert(name, Rc::clone(&container));
            let phase = container.record.borrow().phase.clone();
            match phase {
                Phase::Created { .. } => {}
                Phase::Exited { code, finished, .. } => {
                    self.recall(&container, code);
                    let tag = format!("container/{}", container.name());
                    if legacy.tags.values().any(|known| *known == tag) {
                        self.tell_end_once(&container, code, finished);
                    }
                }
                Phase::Started(process) => {
                    self.take_up(&container, process, born, &mut legacy).await;
                }
            }
        }
        *self.programs.borrow_mut() = exec::left(&mut legacy);
        // Ends of programs that nobody waits for any more: probes, and `exec` whose client has lost us.
        for pid in legacy.ended.keys() {
            self.link.acknowledge(*pid);
        }
        for (tag, born) in &legacy.children {
            // What waited for these has gone.
            if matches!(tag.split('/').next(), Some(inside::PROBE | inside::HOOK | prestart::STEP)) {
                inside::kill(born.pid, born.pidfd.as_fd());
            }
        }
        self.sweep();
        self.spread_cores();
        self.ports_adopted();
        // Not before: what has no program yet is swept.
        for container in self.of_services(&[]) {
            if matches!(*container.status.borrow(), Status::Restarting(_)) {
                self.schedule(&container);
            }
        }
        self.renew_shared_names();
        self.await_owners();
        self.tidy_soon();
        self.choose_victim();
    }

    /// The containers that have a readable record; folders without one are what a crash left half-made.
    async fn recorded(&self) -> Vec<Rc<Container>> {
        let mut found = Vec::new();
        for name in self.paths.container_names() {
            let paths = self.paths.container(&name);
            match ContainerRecord::read(&paths) {
                Some(record) if record.name == name => found.push(Container::new(record, paths)),
                Some(_) | None => {
                    // What is in its volumes is the user's.
                    let left = left::leave_unknown(&self.stack, &paths).and_then(|()| storage::lift(&paths));
                    let removed = match left {
                        Ok(()) => removal::remove(paths.folder()).await,
                        Err(error) => Err(error),
                    };
                    if let Err(error) = removed {
                        diagnose(&format!("remove {}: {error}", paths.folder().display()));
                    }
                }
            }
        }
        found
    }

    async fn take_up(
        self: &Rc<Self>,
        container: &Rc<Container>,
        process: Process,
        born: Option<Born>,
        legacy: &mut Legacy,
    ) {
        let name = container.name();
        let ended = legacy.ended.remove(&process.pid);
        // Before it is looked whether the program still runs: what that leaves in its pipes when it ends is kept there
        // by whoever has them open, and by nobody else.
        let pipes = Pipes::open(container, legacy);
        let born = born.or_else(|| orphan(&process));
        let init = container.record.borrow().service.init;
        // One that is on its way may not be in the namespace yet that it is to join.
        let is_in = born.as_ref().is_some_and(|born| !program::is_on_its_way(born.pid, init));
        self.recover_space(container, is_in.then_some(&process), &pipes);
        let Some(born) = born else {
            return self.take_end(container, process.pid, ended, pipes).await;
        };
        if program::is_on_its_way(born.pid, init) {
            return self.take_back(container, born).await;
        }
        self.link.release(&format!("start/{name}"));
        self.answer_again(container, born.pid, &pipes.output, pipes.resolver).await;
        self.see_whether_paused(container);
        if let Err(error) = self.run(container, born, pipes.output, false) {
            diagnose(&format!("log of {name}: {error}"));
        }
    }

    /// Its namespace, of the sockets that the keeper has of it or of its process.
    fn recover_space(&self, container: &Container, process: Option<&Process>, pipes: &Pipes) {
        let service = container.record.borrow().service.clone();
        let of_socket = pipes.resolver.as_ref().and_then(|(udp, _)| netns::of_socket(udp.as_fd()).ok());
        if let Some(netns) = of_socket.or_else(|| network::open(process?).ok()) {
            self.keep_space(&container.name(), &service, netns);
        }
    }

    /// A program has ended while no supervisor was there.
    async fn take_end(
        self: &Rc<Self>,
        container: &Rc<Container>,
        pid: i32,
        ended: Option<End>,
        pipes: Pipes,
    ) {
        self.save_rest(container, pipes.output);
        let starved = self.death_unseen(container, ended.as_ref().and_then(|end| end.code));
        let unknown =
            || ended.is_none().then(|| "its code is not known: nobody was there when it ended".to_owned());
        let starvation = Death::reason(starved.as_ref());
        container.record.borrow_mut().starved = starvation.is_some();
        let reason = starvation.or_else(unknown);
        let end = ended.unwrap_or(End { code: None, time: crate::clock::now() });
        let recorded = self.finish(container, end, reason);
        self.release(container).await;
        self.recall(container, end.code);
        self.tell_death(container, starved);
        self.tell_end(container, end.code);
        if recorded && ended.is_some() {
            self.link.acknowledge(pid);
        }
    }

    /// An end that is recorded, and of which the keeper has not heard that it was told: it was, or the supervisor died
    /// just before.
    fn tell_end_once(&self, container: &Container, code: Option<i32>, finished: u64) {
        match events::has_end(&self.stack, &container.name(), finished) {
            Ok(true) => {}
            Ok(false) => self.tell_end(container, code),
            Err(error) => diagnose(&format!("events of {}: {error}", container.name())),
        }
    }

    /// Ends a process that waits for a supervisor that is dead, or is on its way to exec: the next `up` starts it again.
    async fn take_back(self: &Rc<Self>, container: &Rc<Container>, born: Born) {
        let _ = pidfd::signal(born.pidfd.as_fd(), libc::SIGKILL);
        let _ = born.end.await;
        self.link.acknowledge(born.pid);
        // One that was being started again has its last end on disk still, with the restart that is due.
        let before: Option<ContainerRecord> = records::read(&container.paths.record());
        let before = before.filter(|record| record.history.due.is_some());
        let recorded = container.change(|record| match before {
            Some(before) => *record = before,
            None => record.phase = Phase::Created { reason: None },
        });
        if let Err(error) = recorded {
            diagnose(&format!("record of {}: {error}", container.name()));
        }
        self.release(container).await;
        let phase = container.record.borrow().phase.clone();
        match phase {
            Phase::Exited { code, .. } => self.recall(container, code),
            Phase::Created { .. } | Phase::Started(_) => {
                container.status.send_replace(Status::Created);
            }
        }
    }

    /// The state of a container whose program had ended: a restart that was due goes on being so, within one boot.
    fn recall(&self, container: &Container, code: Option<i32>) {
        let is_due = is_due(container);
        if !is_due {
            container.record.borrow_mut().history.due = None;
        }
        let status = if is_due { Status::Restarting(code) } else { Status::Exited(code) };
        container.status.send_replace(status);
    }

    /// Names and resolver of a container that is taken up.
    async fn answer_again(
        self: &Rc<Self>,
        container: &Container,
        pid: i32,
        pipes: &[(Stream, OwnedFd)],
        resolver: Option<(OwnedFd, OwnedFd)>,
    ) {
        let name = container.name();
        let mode = container.record.borrow().service.network.clone();
        let attempt = async {
            let text = |error: &dyn std::fmt::Display| error.to_string();
            self.ensure_networks_of(container).await.map_err(|error| error.message)?;
            let resolver = match (resolver, &mode) {
                (
                    _,
                    NetworkMode::Host
                    | NetworkMode::None
                    | NetworkMode::Service(_)
                    | NetworkMode::Container(_),
                ) => None,
                (Some(resolver), NetworkMode::Networks(_)) => Some(resolver),
                (None, NetworkMode::Networks(_)) => {
                    let netns =
                        fs::File::open(format!("/proc/{pid}/ns/net")).map_err(|error| text(&error))?;
                    let attached = reattach_dns(netns.into()).await.map_err(|error| text(&error))?;
                    Some((attached.dns_udp, attached.dns_tcp))
                }
            };
            let mut held: Vec<_> = pipes.iter().map(|(_, pipe)| pipe.as_fd()).collect();
            held.extend(resolver.iter().flat_map(|(udp, tcp)| [udp.as_fd(), tcp.as_fd()]));
            self.link.hold(&format!("container/{name}"), &held).map_err(|error| text(&error))?;
            match resolver {
                Some((udp, tcp)) => self.publish(container, udp, tcp).map_err(|error| text(&error)),
                None => Ok(()),
            }
        };
        if let Err(error) = attempt.await {
            diagnose(&format!("names of {name}: {error}"));
        }
    }

    /// Takes what is left in the pipes of a program that has ended.
    fn save_rest(&self, container: &Container, pipes: Vec<(Stream, OwnedFd)>) {
        let keep = container.record.borrow().service.logging;
        let saved = crate::logs::Writer::open(container.paths.log(), keep).and_then(|mut writer| {
            for (stream, pipe) in pipes {
                while writer.take(stream, pipe.as_fd(), usize::MAX)?.is_none() {}
            }
            Ok(())
        });
        if let Err(error) = saved {
            diagnose(&format!("log of {}: {error}", container.name()));
        }
    }

    /// cgroups in the stack's that belong to no container that runs.
    fn sweep(&self) {
        let running: BTreeSet<String> = {
            let containers = self.containers.borrow();
            let live = containers.iter().filter(|(_, container)| container.live.borrow().is_some());
            live.map(|(name, _)| name.clone()).collect()
        };
        for name in self.cgroups.list(&self.group_path()).unwrap_or_default() {
            if running.contains(&name) {
                continue;
            }
            let group = self.container_group(&name);
            if let Err(error) = group.kill().and_then(|()| group.remove()) {
                diagnose(&format!("cgroup of {name}: {error}"));
            }
        }
    }
}

/// What a container that is taken up has: as the keeper has held it, or else by its path; the resolver may be had
/// through the namespace too.
struct Pipes {
    output: Vec<(Stream, OwnedFd)>,
    resolver: Option<(OwnedFd, OwnedFd)>,
}

impl Pipes {
    fn open(container: &Container, legacy: &mut Legacy) -> Self {
        let name = container.name();
        let held = legacy.held.remove(&format!("container/{name}")).unwrap_or_default();
        let terminal = legacy.held.remove(&format!("terminal/{name}"));
        let mut held = held.into_iter();
        let mut pipe =
            |stream: &str| held.next().map_or_else(|| logpipes::open(&container.paths.fifo(stream)), Ok);
        let pipes = (pipe("out"), pipe("err"));
        let output = match (terminal.and_then(|fds| fds.into_iter().next()), pipes) {
            (Some(master), _) => vec![(Stream::Stdout, master)],
            (None, _) if container.record.borrow().service.tty => Vec::new(),
            (None, (Ok(out), Ok(err))) => vec![(Stream::Stdout, out), (Stream::Stderr, err)],
            (None, (Err(error), _) | (_, Err(error))) => {
                diagnose(&format!("log of {name}: {error}"));
                Vec::new()
            }
        };
        Self { output, resolver: held.next().zip(held.next()) }
    }
}

/// The sockets that the keeper has of a container's ports.
fn ports_of(legacy: &mut Legacy, name: &str) -> Vec<OwnedFd> {
    let parts = (0..).map_while(|part| legacy.held.remove(&ports::key(name, part)));
    parts.flatten().collect()
}

/// Whether a restart that was due goes on being so.
fn is_due(container: &Container) -> bool {
    let due = container.record.borrow().history.due.clone();
    due.is_some_and(|due| due.boot == program::boot())
}

/// The recorded process, if it still is the same one.
fn orphan(process: &Process) -> Option<Born> {
    if process.boot != program::boot() {
        return None;
    }
    // Opened first: what is then compared cannot be another process any more.
    let fd = pidfd::open(process.pid).ok()?;
    (program::ticks(process.pid)? == process.ticks).then(|| Link::orphan(process.pid, fd))
}
