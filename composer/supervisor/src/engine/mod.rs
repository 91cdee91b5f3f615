//! The supervisor: one loop that decides and does everything for one stack.

mod adopt;
mod asyncfd;
mod attend;
mod bandwidth;
mod change;
mod container;
mod copy;
mod cores;
mod ends;
mod exec;
mod execute;
mod external;
mod group;
mod handback;
mod health;
mod held;
mod hooks;
mod identity;
mod inside;
mod isolation;
mod layer;
mod life;
mod link;
mod logpipes;
mod mounts;
mod naming;
mod network;
mod oneoff;
pub(crate) mod oom;
mod operations;
mod overtaken;
mod pause;
mod ports;
mod pressure;
mod prestart;
mod probe;
pub(crate) mod program;
mod publishers;
mod removal;
mod restart;
mod revive;
mod serve;
mod setting;
mod sought;
mod spec;
mod start;
mod strangers;
mod taken;
mod turn;
mod unplug;
mod volumes;
mod wake;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;

use composer_cgroup::Hierarchy;
use composer_network::dns::{Listener, Server, Upstreams};
use composer_network::firewall::Forwarding;
use composer_network::subnets::Registry;
use composer_network::{Host, Loopback};
use composer_plan::{Lack, Observed, ObservedContainer, ObservedState};
use composer_sandbox::descriptor;
use composer_stack::Stack;
use nix::fcntl::{Flock, FlockArg};
use tokio::sync::{Mutex, Notify, OnceCell, RwLock, broadcast, watch};

use crate::events::{self, Happening, Journal};
use crate::keeper::protocol::{LISTENER, PEER};
use crate::paths::{self, StackPaths};
use crate::protocol::{Action, Event, Subject};
use crate::records::{self, Process, StackRecord};
use crate::{clock, diagnose};
use container::{Container, Status};
use link::Link;
use turn::Turns;
use unplug::Leaving;

pub(crate) use network::{claim_subnets, interface, medium};

/// Everything the supervisor has of its stack.
struct Engine {
    stack: String,
    paths: StackPaths,
    record: RefCell<Option<StackRecord>>,
    containers: RefCell<BTreeMap<String, Rc<Container>>>,
    link: Rc<Link>,
    cgroups: Hierarchy,
    host: Host,
    registry: Registry,
    /// Those that are there, by their keys in the file.
    networks: RefCell<BTreeMap<String, network::Net>>,
    /// Programs of other stacks in the networks of this stack's containers, as each operation finds them.
    guests: RefCell<Vec<(String, Process)>>,
    /// Written by whoever makes one the host's, read by whoever brings one about for a container.
    giving: RwLock<()>,
    /// What has to be taken away inside when a container's program has ended.
    spaces: RefCell<network::Spaces>,
    ports: ports::Ports,
    forwarding: Forwarding,
    loopback: Loopback,
    /// What hides the host's secrets from containers that start now; looked at again by each `up`.
    mask: RefCell<Option<PathBuf>>,
    resolver: Server,
    listeners: RefCell<BTreeMap<String, Listener>>,
    events: broadcast::Sender<Event>,
    journal: RefCell<Journal>,
    /// One operation that changes the stack at a time.
    turn: Mutex<()>,
    turns: Turns,
    /// Programs of `exec` that an earlier supervisor has left, by the ids of what asked for them.
    programs: RefCell<BTreeMap<String, exec::Left>>,
    /// By service: one container at a time runs the steps of `pre_start`, and the configuration for which another than
    /// the first has run those of the service.
    preparing: RefCell<BTreeMap<String, Rc<Mutex<Option<String>>>>>,
    /// Raised to make the operation under way give up.
    interrupt: watch::Sender<u64>,
    /// How many commands have ended the whole stack, or begun to.
    endings: Cell<u64>,
    /// Whether somebody waits to take away what ended programs stood on.
    tidying: Cell<bool>,
    /// Who watches over the memory of all.
    memory: oom::StackMemory,
    /// Links are about to go in one sweep: no container takes its own away.
    sweeping: Cell<bool>,
    /// Links that single containers have taken away, while the kernel is at it.
    unplugging: Leaving,
    /// Whether there may be devices for limits of bandwidth.
    shaped: Cell<bool>,
    /// Whether the kernel has been found to lack what limits of bandwidth are made of.
    unlimited: Cell<bool>,
    /// Whether cores may have been divided between containers.
    shares_cores: Cell<bool>,
    /// What tells of shortages of memory.
    pressure: RefCell<Option<tokio::task::AbortHandle>>,
    /// What of it is brought about by limits that are lowered.
    own_doing: pressure::OwnDoing,
    /// Limits that are not in force have been named once.
    warned: RefCell<BTreeSet<String>>,
    /// Connections that want something of the stack, not those that only watch it.
    connections: Cell<usize>,
    /// Those of them that only wait for the others to end.
    parting: Cell<usize>,
    /// A connection has ended, or the stack has begun anew.
    stirred: Notify,
    /// Whether this process is about to end: watchers are told so.
    leaving: watch::Sender<bool>,
    /// What it stood on has been taken away.
    left: OnceCell<()>,
    finished: Notify,
    /// Held for as long as this process lives: one writer a stack.
    _lock: Flock<File>,
}

/// Runs the supervisor of this stack until the stack is gone.
pub(crate) fn run(stack: &str) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
    let result = runtime.and_then(|runtime| {
        let local = tokio::task::LocalSet::new();
        local.block_on(&runtime, supervise(stack))
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            diagnose(&format!("supervisor of {stack}: {error}"));
            ExitCode::FAILURE
        }
    }
}

// The lock of whoever writes the stack's files is taken once, and held to the end.
#[allow(clippy::await_holding_invalid_type)]
async fn supervise(stack: &str) -> io::Result<()> {
    let missing = || io::Error::other("started without its keeper");
    let listener = descriptor::inherited(LISTENER).ok_or_else(missing)?;
    let peer = descriptor::inherited(PEER).ok_or_else(missing)?;
    if let Err(error) = composer_sandbox::raise_descriptor_limit() {
        diagnose(&format!("supervisor of {stack}: raise its limit of open files: {error}"));
    }
    let paths = StackPaths::new(stack);
    paths.make()?;
    let lock = File::create(paths.writer_lock())?;
    let lock = Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, errno)| io::Error::from(errno))?;
    let (link, legacy) = Link::open(stack, peer, listener.try_clone()?).await?;
    let record: Option<StackRecord> = records::read(&paths.record());
    let engine = Rc::new(Engine {
        stack: stack.to_owned(),
        paths,
        containers: RefCell::default(),
        link,
        cgroups: Hierarchy::detect().map_err(io::Error::other)?,
        host: Host::open().map_err(io::Error::other)?,
        registry: Registry::open(&paths::registry()),
        networks: RefCell::default(),
        spaces: RefCell::default(),
        ports: ports::Ports::new(stack),
        forwarding: Forwarding::open(&paths::registry()),
        loopback: Loopback::open(&paths::registry()),
        guests: RefCell::default(),
        mask: RefCell::default(),
        resolver: Server::new(Upstreams::host()),
        listeners: RefCell::default(),
        events: broadcast::Sender::new(1024),
        journal: RefCell::new(Journal::new(StackPaths::new(stack))),
        turn: Mutex::new(()),
        giving: RwLock::new(()),
        programs: RefCell::default(),
        turns: Turns::new(&StackPaths::new(stack)),
        preparing: RefCell::default(),
        interrupt: watch::Sender::new(0),
        endings: Cell::new(0),
        tidying: Cell::new(false),
        memory: oom::StackMemory::default(),
        sweeping: Cell::new(false),
        unplugging: watch::Sender::new(BTreeMap::new()),
        shaped: Cell::new(record.is_some()),
        record: RefCell::new(record),
        unlimited: Cell::new(false),
        shares_cores: Cell::new(false),
        pressure: RefCell::default(),
        own_doing: pressure::OwnDoing::default(),
        warned: RefCell::default(),
        connections: Cell::new(0),
        parting: Cell::new(0),
        stirred: Notify::new(),
        leaving: watch::Sender::new(false),
        left: OnceCell::new(),
        finished: Notify::new(),
        _lock: lock,
    });
    engine.end_strangers();
    engine.adopt(legacy).await;
    engine.watch_pressure();
    let kept = async {
        engine.keep_firewall().await;
        // A kernel that tells of no changes has no such rules.
        std::future::pending().await
    };
    tokio::select! {
        served = engine.serve(listener) => served,
        never = kept => never,
    }
}

impl Engine {
    /// Tells everybody who listens.
    fn announce(&self, subject: Subject, action: Action) {
        self.announce_at(clock::now(), subject, action);
    }

    fn announce_at(&self, time: u64, subject: Subject, action: Action) {
        // Nobody listening is no error.
        let _ = self.events.send(Event { time, subject, action });
    }

    fn announce_container(&self, container: &Container, action: Action) {
        let time = clock::now();
        self.keep(container, time, &action);
        let record = container.record.borrow();
        let (name, service) = (record.name.clone(), record.service.name.clone());
        let subject = match record.oneoff {
            Some(_) => Subject::OneOff { name, service },
            None => Subject::Container { name, service },
        };
        drop(record);
        self.announce_at(time, subject, action);
    }

    /// The same of the stack as a whole.
    fn announce_stack(&self, action: Action) {
        let time = clock::now();
        let happening = Happening {
            time,
            id: String::new(),
            container: String::new(),
            service: String::new(),
            image: String::new(),
            labels: BTreeMap::new(),
            action: action.clone(),
        };
        if let Err(error) = self.journal.borrow_mut().append(&happening) {
            diagnose(&format!("events of stack {}: {error}", self.stack));
        }
        self.announce_at(time, Subject::Group, action);
    }

    /// Writes what has happened to a container into the stack's journal.
    fn keep(&self, container: &Container, time: u64, action: &Action) {
        if !events::is_kept(action) {
            return;
        }
        let record = container.record.borrow();
        let happening = Happening {
            time,
            id: record.id.clone(),
            container: record.name.clone(),
            service: record.service.name.clone(),
            image: container::image(&record.service),
            labels: record.service.labels.clone(),
            action: action.clone(),
        };
        if let Err(error) = self.journal.borrow_mut().append(&happening) {
            diagnose(&format!("events of {}: {error}", happening.container));
        }
    }

    fn container(&self, name: &str) -> Option<Rc<Container>> {
        self.containers.borrow().get(name).cloned()
    }

    /// The replicas of these services; of all where none is named. What `run` has made is none of them.
    fn of_services(&self, services: &[String]) -> Vec<Rc<Container>> {
        let chosen = |container: &&Rc<Container>| {
            let record = container.record.borrow();
            record.oneoff.is_none() && (services.is_empty() || services.contains(&record.service.name))
        };
        self.containers.borrow().values().filter(chosen).cloned().collect()
    }

    fn group_path(&self) -> String {
        format!("compose/{}", self.stack)
    }

    fn container_group(&self, name: &str) -> composer_cgroup::Group {
        self.cgroups.group(&format!("{}/{name}", self.group_path()))
    }

    /// Whether nothing is known of the stack: then these two processes have no reason to be.
    fn is_empty(&self) -> bool {
        self.containers.borrow().is_empty() && self.record.borrow().is_none()
    }

    /// What exists, for the planner: without what `run` has made, which is not the file's.
    async fn observe(&self) -> Observed {
        self.observe_with(false).await
    }

    /// The same, for a plan that makes what a file asks for: a volume that `down` has left is there without a record.
    async fn observe_for(&self, stack: &Stack) -> Observed {
        let mut observed = self.observe().await;
        let own = stack.volumes.values().filter(|volume| !volume.external);
        observed.volumes.extend(own.map(|v| v.name.clone()).filter(|name| paths::volume(name).is_dir()));
        observed
    }

    /// What exists; the containers of `run` too, where `oneoffs` are wanted.
    async fn observe_with(&self, oneoffs: bool) -> Observed {
        // Where links cannot be listed, networks are set up again, which mends whatever is there.
        let links = self.host.links().await.unwrap_or_default();
        let unlimited = self.lacking_limits().await;
        let mut observed = Observed {
            group: self.cgroups.group(&self.group_path()).exists(),
            networks: self.observed_networks(&links),
            ..Observed::default()
        };
        if let Some(record) = &*self.record.borrow() {
            let own = record.volumes.values().filter(|volume| !volume.external);
            observed.resources = record.resources.clone();
            observed.bandwidth = record.bandwidth;
            observed.volumes =
                own.map(|v| v.name.clone()).filter(|name| paths::volume(name).is_dir()).collect();
        }
        for (name, container) in &*self.containers.borrow() {
            let record = container.record.borrow();
            if record.oneoff.is_some() && !oneoffs {
                continue;
            }
            let state = match *container.status.borrow() {
                Status::Created => ObservedState::Created,
                // It runs as far as anybody's plans go, as in Docker.
                Status::Starting | Status::Running(_) | Status::Restarting(_) => ObservedState::Running,
                // A code that nobody knows is no success.
                Status::Exited(code) => ObservedState::Exited(code.unwrap_or(255)),
            };
            observed.containers.insert(
                name.clone(),
                ObservedContainer {
                    config: record.service.clone(),
                    index: record.index,
                    state,
                    unfinished: record.unfinished,
                    lack: if self.is_unplugged(container, &links) {
                        Some(Lack::Link)
                    } else {
                        record.class.filter(|class| unlimited.contains(class)).map(|_| Lack::Limit)
                    },
                },
            );
        }
        observed
    }
}
