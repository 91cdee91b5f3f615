//! Published ports: taken before anything starts, held by the keeper for as long as their container is started or about
//! to be again, led to the container by the kernel while it runs, and served here for what the kernel cannot lead.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use composer_network::firewall::{self, Firewall, Net, Protocol, Published, Rules};
use composer_network::names;
use composer_network::ports::{Place, Reserved};
use composer_network::proxy::{self, Served, Target};
use composer_plan::{Plan, Step};
use composer_stack::{NetworkMode, Port, Service, Stack};

use super::container::{Container, Status};
use super::operations::failure;
use super::start::StartError;
use super::{Engine, taken};
use crate::diagnose;
use crate::protocol::{Action, Failure, Subject};
use crate::records::PublishedPort;
use tokio::sync::Notify;

/// Descriptors in one message to the keeper.
const AT_ONCE: usize = 8;

/// What the keeper holds ports under begins with this.
pub const KEY: &str = "ports/";

/// What the keeper holds a part of a container's sockets under.
pub fn key(name: &str, part: usize) -> String {
    format!("{KEY}{name}/{part}")
}

/// Everything of a stack's ports.
pub struct Ports {
    held: RefCell<BTreeMap<String, Vec<Held>>>,
    /// Containers that the operation under way is about to start.
    awaited: RefCell<BTreeSet<String>>,
    /// Those that it takes away: what they have is waited for.
    leaving: RefCell<BTreeSet<String>>,
    /// Ports have been given back.
    freed: Notify,
    firewall: RefCell<Firewall>,
    /// What the kernel was last told.
    rules: RefCell<Option<Rules>>,
    /// Whether nf_tables has failed: then everything is served here.
    by_hand: Cell<bool>,
}

/// A port of the host and what it is for.
struct Held {
    reserved: Reserved,
    /// The container's port.
    target: u16,
    /// While the container runs.
    led: Option<Target>,
    served: Served,
}

impl Ports {
    /// None yet.
    pub fn new(stack: &str) -> Self {
        Self {
            held: RefCell::default(),
            awaited: RefCell::default(),
            leaving: RefCell::default(),
            freed: Notify::new(),
            firewall: RefCell::new(Firewall::new(stack)),
            rules: RefCell::default(),
            by_hand: Cell::new(false),
        }
    }

    fn firewall_rules(&self, networks: Vec<Net>) -> Rules {
        let held = self.held.borrow();
        let published = held.values().flatten().filter_map(|held| {
            let led = held.led?;
            let Reserved { place, port, .. } = held.reserved;
            let Place { host_ip, protocol } = place;
            Some(Published {
                host_ip,
                host_port: port,
                protocol,
                to_v4: led.v4,
                to_v6: led.v6,
                port: led.port,
            })
        });
        Rules { networks, published: published.collect() }
    }
}

impl Held {
    /// Leads it to a container from now on.
    fn lead(&mut self, target: Target) {
        self.led = Some(target);
        self.served.lead(Some(target));
    }

    fn record(&self) -> PublishedPort {
        let Reserved { place, port, .. } = self.reserved;
        let (v4, v6) = self.led.map_or((None, None), |led| (led.v4, led.v6));
        let (host_ip, protocol) = (place.host_ip, place.protocol);
        PublishedPort { host_ip, protocol, port, target: self.target, v4, v6 }
    }

    /// Whether it is what a service asks for.
    fn is_for(&self, port: &Port) -> bool {
        let number = self.reserved.port;
        self.reserved.place == place(port)
            && self.target == port.target
            && port.published.is_none_or(|(first, last)| (first..=last).contains(&number))
    }
}

fn place(port: &Port) -> Place {
    let protocol = match port.protocol {
        composer_stack::Protocol::Tcp => Protocol::Tcp,
        composer_stack::Protocol::Udp => Protocol::Udp,
    };
    Place { host_ip: port.host_ip, protocol }
}

/// What a service publishes; one without a network of its own has nothing to.
fn ports_of(service: &Service) -> &[Port] {
    match service.network {
        NetworkMode::Networks(_) => &service.ports,
        NetworkMode::Host | NetworkMode::None | NetworkMode::Service(_) | NetworkMode::Container(_) => &[],
    }
}

impl Engine {
    /// Takes the ports of every container that a plan starts. Fails where one is somebody else's, before anything is
    /// done. The end of the operation gives back those of containers that have not come to be started.
    pub(super) fn take_ports(&self, plan: &Plan, stack: &Stack) -> Result<(), Failure> {
        let steps = || plan.steps().into_iter().map(|id| &plan.get(id).step);
        let mut made = BTreeMap::new();
        for step in steps() {
            if let Step::Create { container, service, .. } | Step::Recreate { container, service, .. } = step
            {
                made.insert(container, service);
            }
        }
        // What these have is given back before it is needed.
        *self.ports.leaving.borrow_mut() = steps()
            .filter_map(|step| match step {
                Step::Remove { container } | Step::Stop { container } => Some(container.clone()),
                Step::Recreate { old, .. } => Some(old.clone()),
                _ => None,
            })
            .collect();
        for step in steps() {
            let Step::Start { container } = step else { continue };
            let service = match made.get(container).and_then(|service| stack.services.get(*service)) {
                Some(service) => service.clone(),
                None => match self.container(container) {
                    Some(known) => known.record.borrow().service.clone(),
                    None => continue,
                },
            };
            self.ports.awaited.borrow_mut().insert(container.clone());
            self.reserve(container, &service).map_err(|error| failure(error.message))?;
        }
        Ok(())
    }

    /// Takes what a container publishes and does not have yet; whether that is all, or something is to be waited for.
    fn reserve(&self, name: &str, service: &Service) -> Result<bool, StartError> {
        let wanted = ports_of(service);
        let known = self.container(name);
        let recorded = known.map(|known| known.record.borrow().published.clone()).unwrap_or_default();
        let mut had = self.ports.held.borrow_mut().remove(name).unwrap_or_default();
        let before = had.len();
        let mut held = Vec::with_capacity(wanted.len());
        let mut outcome = Ok(true);
        for port in wanted {
            if let Some(at) = had.iter().position(|held| held.is_for(port)) {
                held.push(had.swap_remove(at));
                continue;
            }
            match self.take_port(service, port, &recorded) {
                Ok(taken) => held.push(taken),
                Err(error) if self.is_leaving(&error) => outcome = Ok(false),
                Err(error) => {
                    outcome = Err(StartError::new(error.to_string()));
                    break;
                }
            }
        }
        let changed = held.len() != before || !had.is_empty();
        if held.is_empty() && before == 0 {
            return outcome;
        }
        let kept = if changed { self.keep_ports(name, &held) } else { Ok(()) };
        self.ports.held.borrow_mut().insert(name.to_owned(), held);
        let whole = outcome?;
        kept.map_err(|error| StartError::doing(&format!("{name}: have its ports kept"), &error))?;
        Ok(whole)
    }

    /// Whether a port is taken by a container of ours that will have gone when it is needed.
    fn is_leaving(&self, error: &taken::Error) -> bool {
        let (held, leaving) = (self.ports.held.borrow(), self.ports.leaving.borrow());
        error.ports().is_some_and(|(place, (first, last))| {
            let clashes = |held: &Held| {
                held.reserved.place.protocol == place.protocol && (first..=last).contains(&held.reserved.port)
            };
            held.iter().any(|(name, ports)| leaving.contains(name) && ports.iter().any(clashes))
        })
    }

    /// The port that a container had before, else the first that is free among those asked for.
    fn take_port(
        &self,
        service: &Service,
        port: &Port,
        recorded: &[PublishedPort],
    ) -> Result<Held, taken::Error> {
        let place = place(port);
        // One that nobody chose is none that the file gives to another of the service's ports.
        let is_chosen = |number: u16| {
            let others = ports_of(service).iter().filter_map(|other| other.published);
            port.published.is_none()
                && others.into_iter().any(|(first, last)| (first..=last).contains(&number))
        };
        let mine = |had: &&PublishedPort| {
            (had.host_ip, had.protocol, had.target) == (place.host_ip, place.protocol, port.target)
                && port.published.is_none_or(|(first, last)| (first..=last).contains(&had.port))
                && !self.holds(place, had.port)
                && !is_chosen(had.port)
        };
        let before = recorded.iter().filter(mine).find_map(|had| place.take(had.port).ok());
        let reserved = match (before, port.published) {
            (Some(reserved), _) => Ok(reserved),
            (None, None) => place.take_any(),
            (None, Some((first, last))) => first_free(place, first, last),
        };
        let failed = |error| taken::Error::new(&service.name, place, port.published, error);
        let reserved = reserved.map_err(failed)?;
        let served = serve(&reserved, None).map_err(failed)?;
        Ok(Held { reserved, target: port.target, led: None, served })
    }

    fn holds(&self, place: Place, port: u16) -> bool {
        let held = self.ports.held.borrow();
        held.values().flatten().any(|held| held.reserved.place == place && held.reserved.port == port)
    }

    /// Has the keeper hold the sockets, some at a time.
    fn keep_ports(&self, name: &str, held: &[Held]) -> io::Result<()> {
        self.release_ports(name);
        let sockets: Vec<BorrowedFd<'_>> =
            held.iter().flat_map(|held| &held.reserved.sockets).map(AsFd::as_fd).collect();
        for (part, sockets) in sockets.chunks(AT_ONCE).enumerate() {
            self.link.hold(&key(name, part), sockets)?;
        }
        Ok(())
    }

    fn release_ports(&self, name: &str) {
        for part in 0.. {
            if !self.link.release(&key(name, part)) {
                break;
            }
        }
    }

    /// Leads the ports of a container to it, just before its program starts.
    pub(super) async fn open_ports(&self, container: &Container) -> Result<(), StartError> {
        let name = container.name();
        let service = container.record.borrow().service.clone();
        loop {
            let freed = self.ports.freed.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            if self.reserve(&name, &service)? {
                break;
            }
            freed.await;
        }
        self.lead_ports(container)?;
        if !ports_of(&service).is_empty() {
            let ways = self.ways_in(&container.record.borrow());
            for key in &ways.networks {
                let set = self.host.return_own(&names::veth(&self.stack, &name, key)).await;
                set.map_err(|error| StartError::doing(&format!("{name}: publish its ports"), &error))?;
            }
        }
        self.refresh_firewall(false);
        Ok(())
    }

    /// The ports that a container holds lead to it from now on, and its record says which they are.
    fn lead_ports(&self, container: &Container) -> Result<(), StartError> {
        let name = container.name();
        let ways = self.ways_in(&container.record.borrow());
        let mut published = Vec::new();
        if let Some(held) = self.ports.held.borrow_mut().get_mut(&name) {
            for held in held {
                held.lead(Target { v4: ways.v4, v6: ways.v6, port: held.target });
                published.push(held.record());
            }
        }
        if container.record.borrow().published == published {
            return Ok(());
        }
        container.record.borrow_mut().published = published;
        let written = container.record.borrow().rewrite(&container.paths);
        written.map_err(|error| StartError::doing(&format!("{name}: write its record"), &error))
    }

    /// The ports of a container lead nowhere from now on.
    pub(super) fn close_ports(&self, name: &str) {
        let mut was_led = false;
        if let Some(held) = self.ports.held.borrow_mut().get_mut(name) {
            for held in held {
                was_led |= held.led.take().is_some();
                held.served.lead(None);
            }
        }
        if was_led && !self.sweeping.get() {
            self.refresh_firewall(false);
        }
    }

    /// An operation has ended: ports of containers that neither run nor are about to be started again are given back.
    pub(super) fn settle_ports(&self) {
        self.ports.awaited.borrow_mut().clear();
        self.ports.leaving.borrow_mut().clear();
        self.give_back_ports(None);
    }

    /// The same while one may be under way; of this container alone, where one is named.
    pub(super) fn give_back_ports(&self, of: Option<&str>) {
        let is_needed = |name: &String| {
            self.ports.awaited.borrow().contains(name)
                || self.container(name).is_some_and(|container| {
                    matches!(
                        *container.status.borrow(),
                        Status::Starting | Status::Running(_) | Status::Restarting(_)
                    )
                })
        };
        let names: Vec<String> = self.ports.held.borrow().keys().cloned().collect();
        for name in names {
            if of.is_none_or(|of| of == name) && !is_needed(&name) {
                let held = self.ports.held.borrow_mut().remove(&name);
                for Held { reserved, served, .. } in held.into_iter().flatten() {
                    drop(served);
                    // The keeper's copies go a moment later.
                    reserved.close();
                }
                self.release_ports(&name);
                self.ports.leaving.borrow_mut().remove(&name);
                self.ports.freed.notify_waiters();
            }
        }
    }

    /// Takes up the ports of a container whose program runs on, from the keeper or anew.
    pub(super) fn adopt_ports(&self, container: &Container, sockets: Vec<OwnedFd>) {
        let name = container.name();
        let mut sockets = sockets.into_iter().peekable();
        let mut held = Vec::new();
        let published = container.record.borrow().published.clone();
        for PublishedPort { host_ip, protocol, port, target, v4, v6 } in published {
            let place = Place { host_ip, protocol };
            let count = place.families();
            let own: Vec<OwnedFd> = sockets.by_ref().take(count).collect();
            let reserved = match place.adopt(port, own) {
                Some(reserved) => Ok(reserved),
                None => place.take(port),
            };
            let outcome = reserved.and_then(|reserved| {
                let served = serve(&reserved, None)?;
                let mut held = Held { reserved, target, led: None, served };
                held.lead(Target { v4, v6, port: target });
                Ok(held)
            });
            match outcome {
                Ok(taken) => held.push(taken),
                Err(error) => diagnose(&format!("port {port}/{protocol} of {name}: {error}")),
            }
        }
        if held.is_empty() {
            return;
        }
        if let Err(error) = self.keep_ports(&name, &held) {
            diagnose(&format!("ports of {name}: {error}"));
        }
        self.ports.held.borrow_mut().insert(name, held);
    }

    /// Has the host forward where a network wants it, and the stack's rules be what they should.
    pub(super) fn open_network(&self) -> Result<(), StartError> {
        let nets = self.nets();
        let mut open = nets.iter().filter(|net| !net.internal).flat_map(|net| &net.subnets);
        let (v4, v6) = (open.clone().any(|net| net.addr().is_ipv4()), open.any(|net| net.addr().is_ipv6()));
        if v4 || v6 {
            let needed = self.forwarding.need(&self.stack, v4, v6);
            let told = needed.map_err(|error| StartError::doing("have the host forward packets", &error))?;
            if let Some(told) = told.filter(|told| self.warned.borrow_mut().insert(told.clone())) {
                self.announce(Subject::Group, Action::Warning(told));
            }
        }
        self.refresh_firewall(true);
        Ok(())
    }

    /// Tells the kernel who may reach whom and what leads where. With `mend`, whatever it was told before.
    pub(super) fn refresh_firewall(&self, mend: bool) {
        let networks = self.nets();
        if networks.is_empty() {
            return;
        }
        let rules = self.ports.firewall_rules(networks);
        if !mend && self.ports.rules.borrow().as_ref() == Some(&rules) {
            return;
        }
        match self.ports.firewall.borrow_mut().apply(&rules) {
            Ok(warnings) => {
                *self.ports.rules.borrow_mut() = Some(rules);
                self.ports.by_hand.set(false);
                for warning in warnings {
                    if self.warned.borrow_mut().insert(warning.clone()) {
                        self.announce(Subject::Group, Action::Warning(warning));
                    }
                }
            }
            Err(error) => {
                *self.ports.rules.borrow_mut() = None;
                if !self.ports.by_hand.replace(true) {
                    let text = format!(
                        "{error}: published ports are served by the supervisor, which clients' addresses do not get \
                         past, and nothing outside is reached from the stack's networks"
                    );
                    self.announce(Subject::Group, Action::Warning(text));
                }
            }
        }
        if mend
            && let Some(unseen) = firewall::unseen()
            && self.warned.borrow_mut().insert(unseen.clone())
        {
            self.announce(Subject::Group, Action::Warning(unseen));
        }
    }

    /// Puts the stack's rules back whenever somebody takes them away who sets the host's firewall anew.
    pub(super) async fn keep_firewall(&self) {
        let watch = self.ports.firewall.borrow_mut().watch();
        let Ok(mut watch) = watch else { return };
        let bridges = || self.nets().into_iter().map(|net| net.bridge).collect();
        while watch.taken_away(bridges).await.is_ok() {
            let is_ours_to_have = self.ports.rules.borrow().is_some();
            if is_ours_to_have && self.ports.firewall.borrow_mut().has_lost().unwrap_or(false) {
                self.refresh_firewall(true);
            }
        }
    }

    /// Takes the stack's rules away: of its own bridges, also where somebody has deleted them, and of those that it shares
    /// with other stacks what these do not need.
    pub(super) fn remove_firewall(&self) -> Result<(), StartError> {
        let (mut own, mut shared) = (BTreeSet::new(), BTreeSet::new());
        for net in self.networks.borrow().values() {
            let bridges = if net.config.external { &mut shared } else { &mut own };
            bridges.insert(net.bridge.name.clone());
        }
        for (key, made) in self.record.borrow().iter().flat_map(|record| &record.made) {
            if !made.external {
                own.insert(made.bridge.clone().unwrap_or_else(|| names::bridge(&self.stack, key)));
            }
        }
        let (own, shared): (Vec<String>, Vec<String>) =
            (own.into_iter().collect(), shared.into_iter().collect());
        *self.ports.rules.borrow_mut() = None;
        let removed = self.ports.firewall.borrow_mut().remove(&own, &shared);
        match removed {
            // There was nothing of ours to take away.
            Err(_) if self.ports.by_hand.get() => Ok(()),
            other => other.map_err(|error| StartError::doing("take down the stack's rules", &error)),
        }
    }

    /// The stack's networks, as the firewall sees them.
    fn nets(&self) -> Vec<Net> {
        let networks = self.networks.borrow();
        let nets = networks.values().map(|net| Net {
            bridge: net.bridge.name.clone(),
            subnets: net.bridge.subnets.iter().map(|subnet| subnet.net).collect(),
            masquerade: net.made.masquerade,
            internal: net.made.internal,
            isolated: net.made.isolated,
        });
        nets.collect()
    }
}

fn first_free(place: Place, first: u16, last: u16) -> io::Result<Reserved> {
    let mut error = io::Error::from(io::ErrorKind::AddrInUse);
    for port in first..=last {
        match place.take(port) {
            Err(taken) if taken.kind() == io::ErrorKind::AddrInUse => error = taken,
            other => return other,
        }
    }
    Err(error)
}

fn serve(reserved: &Reserved, target: Option<Target>) -> io::Result<Served> {
    let copies = reserved.sockets.iter().map(OwnedFd::try_clone).collect::<io::Result<_>>()?;
    proxy::serve(reserved.place.protocol, copies, target).map_err(io::Error::other)
}
