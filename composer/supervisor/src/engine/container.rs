//! One container, as the supervisor has it in memory.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use composer_network::firewall::Direct;
use composer_sandbox::ProcessSpec;
use composer_stack::{Condition, ImageUse, Volume};
use tokio::sync::{Mutex, MutexGuard, mpsc, oneshot, watch};

use super::oom::{Held, Memory};
use super::publishers;
use crate::channel;
use crate::host::volumes::left;
use crate::logs::Writer;
use crate::paths::ContainerPaths;
use crate::protocol::{self, ContainerStatus, Health};
use crate::records::{ContainerRecord, OneOff, Phase};

/// What others wait for on a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// No program.
    Created,
    /// On its way to exec.
    Starting,
    /// Its program runs.
    Running(Option<Health>),
    /// Its program has ended with this code, and is about to be started again, or is on its way.
    Restarting(Option<i32>),
    /// Its program has ended.
    Exited(Option<i32>),
}

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It does.
    Holds,
    /// It may come to hold.
    Pending,
    /// It will not, unless the container is started again.
    Never,
}

impl Status {
    /// Whether a condition holds of a container in this state.
    pub fn verdict(self, condition: Condition) -> Verdict {
        match (condition, self) {
            (Condition::Started, Self::Running(_) | Self::Restarting(_) | Self::Exited(_)) => Verdict::Holds,
            (Condition::Healthy, Self::Running(Some(Health::Healthy))) => Verdict::Holds,
            (Condition::CompletedSuccessfully, Self::Exited(Some(0))) => Verdict::Holds,
            (Condition::Healthy, Self::Running(Some(Health::Unhealthy) | None) | Self::Exited(_))
            | (Condition::CompletedSuccessfully, Self::Exited(_)) => Verdict::Never,
            (_, Self::Created | Self::Starting | Self::Running(_) | Self::Restarting(_)) => Verdict::Pending,
        }
    }
}

/// Asks a running program to end.
#[derive(Clone, Copy, Debug)]
pub struct StopOrder {
    /// Over the file's.
    pub timeout: Option<Duration>,
    /// How much of the grace period is over.
    pub spent: Duration,
}

/// A program that runs.
pub struct Live {
    /// PID 1 in the host's PID namespace.
    pub pid: i32,
    /// The same.
    pub pidfd: Rc<OwnedFd>,
    /// When its program was exec'd, as far as anybody remembers.
    pub since: Instant,
    /// To whom attends it.
    pub stop: mpsc::UnboundedSender<StopOrder>,
    /// What writes its log.
    pub log: Rc<RefCell<Writer>>,
}

/// What `run` gives a program.
#[derive(Default)]
pub struct Given {
    /// Its standard input, where that is not the service's.
    pub stdin: Option<OwnedFd>,
    /// Rows and columns of its terminal.
    pub size: Option<(u16, u16)>,
    /// Who waits for its end.
    pub caller: Option<OwnedFd>,
}

/// One container.
pub struct Container {
    /// Its record, as on disk.
    pub record: RefCell<ContainerRecord>,
    /// Where its files are.
    pub paths: ContainerPaths,
    /// Changes are seen by whoever waits.
    pub status: watch::Sender<Status>,
    /// Its program while it runs.
    pub live: RefCell<Option<Live>>,
    /// What the last probe of its health printed, or why it failed.
    pub last_probe: RefCell<String>,
    /// What is known of its memory.
    pub memory: Memory,
    /// Whether its program is held where it is.
    pub paused: watch::Sender<bool>,
    /// What `run` gives its program, until it is started.
    pub given: RefCell<Option<Given>>,
    /// Whether somebody waits for the end of a container of `run`.
    pub owned: Cell<bool>,
    /// Whether `kill` has come while its program was on its way.
    pub doomed: Cell<bool>,
    /// It has taken the place of one whose program may have run.
    pub replaces: Cell<bool>,
    /// Whether what its last program stood on (link, cgroup, pipes) may still be there.
    pub standing: Cell<bool>,
    /// The ports that are open at its own addresses.
    pub direct: RefCell<Vec<Direct>>,
    /// The restart that is waited for; dropped, it does not come.
    pub restart: RefCell<Option<oneshot::Sender<()>>>,
    /// Held by whoever starts its program or takes away what it stood on. One who has the engine's turn may wait for
    /// it, never the other way round.
    pub gate: Mutex<()>,
    /// How often somebody has come to the gate for whom those make way who only copy files.
    asked: watch::Sender<u64>,
}

impl Container {
    /// A container with this record.
    pub fn new(record: ContainerRecord, paths: ContainerPaths) -> Rc<Self> {
        let status = match &record.phase {
            Phase::Created { .. } => Status::Created,
            Phase::Started(_) => Status::Starting,
            Phase::Exited { code, .. } if record.history.due.is_some() => Status::Restarting(*code),
            Phase::Exited { code, .. } => Status::Exited(*code),
        };
        let standing = !matches!(record.phase, Phase::Created { .. });
        Rc::new(Self {
            record: RefCell::new(record),
            paths,
            status: watch::Sender::new(status),
            live: RefCell::new(None),
            last_probe: RefCell::default(),
            memory: Memory::default(),
            paused: watch::Sender::new(false),
            given: RefCell::new(None),
            owned: Cell::new(false),
            doomed: Cell::new(false),
            replaces: Cell::new(false),
            standing: Cell::new(standing),
            direct: RefCell::default(),
            restart: RefCell::default(),
            gate: Mutex::new(()),
            asked: watch::Sender::new(0),
        })
    }

    /// Waits for the gate. Who holds it to copy files may wait for ever for more of them, and makes way.
    pub async fn enter(&self) -> MutexGuard<'_, ()> {
        self.asked.send_modify(|times| *times += 1);
        self.gate.lock().await
    }

    /// Tells who copies files that he is to make way.
    pub fn asked(&self) -> watch::Receiver<u64> {
        self.asked.subscribe()
    }

    /// Its name.
    pub fn name(&self) -> String {
        self.record.borrow().name.clone()
    }

    /// What `run` gives its program: the standard input, and the terminal's size in its description.
    pub fn given(&self, process: &mut ProcessSpec) -> io::Result<Option<OwnedFd>> {
        let given = self.given.borrow();
        process.terminal_size = given.as_ref().and_then(|given| given.size);
        given.as_ref().and_then(|given| given.stdin.as_ref()).map(OwnedFd::try_clone).transpose()
    }

    /// Has whoever waits for its end hold the ends to read of its output, before there is a program: what that prints
    /// is in the pipe then, even where it and both processes behind the stack end at once.
    pub fn entrust(&self, pipes: &[&OwnedFd]) {
        if let Some(caller) = self.given.borrow().as_ref().and_then(|given| given.caller.as_ref()) {
            let pipes: Vec<_> = pipes.iter().map(|pipe| pipe.as_fd()).collect();
            // One that is gone, or does not read, does not wait for it.
            let _ = channel::send(caller.as_fd(), &protocol::Reply::Hold, &pipes);
        }
    }

    /// What `run` has made it for.
    pub fn oneoff(&self) -> Option<OneOff> {
        self.record.borrow().oneoff
    }

    /// When its program was started, while it runs: nanoseconds since the Unix epoch.
    pub fn started(&self) -> Option<u64> {
        match &self.record.borrow().phase {
            Phase::Started(process) => Some(process.started),
            Phase::Created { .. } | Phase::Exited { .. } => None,
        }
    }

    /// Writes a change of the record to disk.
    pub fn change(&self, change: impl FnOnce(&mut ContainerRecord)) -> io::Result<()> {
        let mut record = self.record.borrow_mut();
        change(&mut record);
        record.write(&self.paths)
    }

    /// What `ps` shows. The volumes are those of its stack, by key.
    pub fn describe(&self, volumes: &BTreeMap<String, Volume>) -> ContainerStatus {
        let record = self.record.borrow();
        let service = &record.service;
        let status = *self.status.borrow();
        let (mut exit_code, mut reason, mut started, mut finished) = (None, None, None, None);
        match &record.phase {
            Phase::Created { reason: why } => reason.clone_from(why),
            Phase::Started(process) => {
                started = Some(process.started);
                reason = self.memory.short();
            }
            Phase::Exited { code, reason: why, started: from, finished: to } => {
                exit_code = *code;
                reason.clone_from(why);
                started = Some(*from);
                finished = Some(*to);
            }
        }
        let local = service.mounts.iter().filter(|mount| {
            matches!(
                mount.kind,
                composer_stack::MountKind::Volume { .. } | composer_stack::MountKind::Anonymous
            )
        });
        ContainerStatus {
            id: record.id.clone(),
            name: record.name.clone(),
            service: service.name.clone(),
            index: record.index,
            rootfs: image(service),
            argv: service.argv(),
            labels: service.labels.clone(),
            local_volumes: u32::try_from(local.count()).unwrap_or(u32::MAX),
            mounts: service.mounts.iter().map(|mount| source(mount, &record, volumes)).collect(),
            state: match status {
                Status::Created | Status::Starting => protocol::State::Created,
                Status::Running(_) if self.memory.held() == Some(Held::Pausing) => protocol::State::Pausing,
                Status::Running(_) if *self.paused.borrow() => protocol::State::Paused,
                Status::Running(_) => protocol::State::Running,
                Status::Restarting(_) => protocol::State::Restarting,
                Status::Exited(_) => protocol::State::Exited,
            },
            health: match status {
                Status::Running(health) => health,
                Status::Created | Status::Starting | Status::Restarting(_) | Status::Exited(_) => None,
            },
            exit_code,
            reason,
            out_of_memory: match status {
                Status::Exited(_) | Status::Restarting(_) => record.starved,
                Status::Created | Status::Starting | Status::Running(_) => self.memory.held().is_some(),
            },
            restarts: record.history.restarts,
            pid: self.live.borrow().as_ref().map(|live| live.pid),
            address: record.all_addresses().first().copied(),
            networks: service.network.attachments().map(|(key, _)| key.to_owned()).collect(),
            publishers: if self.live.borrow().is_some() {
                publishers::of(&record, &self.direct.borrow())
            } else {
                Vec::new()
            },
            created: record.created,
            started,
            finished,
            attach: service.attach,
            oneoff: record.oneoff.is_some(),
            log: self.paths.log().to_owned(),
            cores: Some(super::cores::shown(&record.cores)).filter(|cores| !cores.is_empty()),
            keeps_log: service.logging != composer_stack::Logging::Nothing,
        }
    }
}

/// What stands in an image's place.
pub fn image(service: &composer_stack::Service) -> String {
    match &service.rootfs {
        composer_stack::Rootfs::Host => "host".to_owned(),
        composer_stack::Rootfs::Path(path) => path.display().to_string(),
        composer_stack::Rootfs::Source(image) => image.reference.clone(),
        composer_stack::Rootfs::Image(image) => image.reference.clone(),
    }
}

fn source(
    mount: &composer_stack::Mount,
    record: &ContainerRecord,
    volumes: &BTreeMap<String, Volume>,
) -> String {
    match &mount.kind {
        composer_stack::MountKind::Bind { source, .. } => source.display().to_string(),
        composer_stack::MountKind::Volume { source } => {
            volumes.get(source).map_or_else(|| source.clone(), |volume| volume.name.clone())
        }
        composer_stack::MountKind::Anonymous => left::name(record, &mount.target),
        composer_stack::MountKind::Image(ImageUse::Source(image)) => image.reference.clone(),
        composer_stack::MountKind::Image(ImageUse::Found(image)) => image.reference.clone(),
        composer_stack::MountKind::Borrowed { .. } | composer_stack::MountKind::Tmpfs { .. } => {
            mount.target.clone()
        }
    }
}
