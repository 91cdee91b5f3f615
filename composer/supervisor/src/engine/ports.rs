//! Published ports: taken before anything starts, held by the keeper for as long as their container is started or about
//! to be again, led to the container by the kernel while it runs, and served here for what the kernel cannot lead.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use composer_network::firewall::{Direct, Firewall, Net, Rules, bridged};
use composer_network::ports::{Place, Reserved};
use composer_network::proxy::Target;
use composer_network::{Bridge, names};
use composer_plan::{Plan, Step};
use composer_stack::{Driver, GatewayMode, Port, Service, Stack};

use super::container::Container;
use super::held::{Held, Tenure, matched, place, ports_of};
use super::network::interface;
use super::operations::ends_of;
use super::start::StartError;
use super::{Engine, taken};
use crate::diagnose;
use crate::protocol::{Action, Failure, Subject};
use crate::records::PublishedPort;
use tokio::sync::{Mutex, Notify};

/// Ports of the host that are named, and so are no way out for others: first and last of each range.
type Named = Vec<(u16, u16)>;

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
    pub(super) held: RefCell<BTreeMap<String, Vec<Held>>>,
    /// What containers publish that the operation under way is about to start.
    pub(super) awaited: RefCell<BTreeMap<String, Vec<Port>>>,
    /// The operation under way ends no more programs: nobody waits for their ports.
    pub(super) stalled: Cell<bool>,
    /// Ports have been given back, or will not be.
    pub(super) freed: Notify,
    firewall: RefCell<Firewall>,
    /// The indices of bridges that have been told to take large packets; the host's loopback has before the first.
    large: Mutex<BTreeSet<u32>>,
    /// What the kernel was last told.
    rules: RefCell<Option<Rules>>,
    /// What has been told of them since the last `up` began.
    pub(super) told: RefCell<BTreeSet<String>>,
    /// Whether nf_tables has failed: then everything is served here.
    by_hand: Cell<bool>,
    /// What an earlier supervisor left is being taken up: until all of it is known, its rules are right, and ours would
    /// lack something.
    adopting: Cell<bool>,
}

impl Ports {
    /// None yet.
    pub fn new(stack: &str) -> Self {
        Self {
            held: RefCell::default(),
            awaited: RefCell::default(),
            stalled: Cell::new(false),
            freed: Notify::new(),
            firewall: RefCell::new(Firewall::new(stack)),
            large: Mutex::default(),
            rules: RefCell::default(),
            told: RefCell::default(),
            by_hand: Cell::new(false),
            adopting: Cell::new(true),
        }
    }

    fn firewall_rules(&self, networks: Vec<Net>, direct: Vec<Direct>) -> Rules {
        let held = self.held.borrow();
        let published = held.values().flatten().filter_map(Held::published).collect();
        Rules { networks, published, direct, bridged: bridged() }
    }

    fn holds(&self, place: Place, port: u16) -> bool {
        let held = self.held.borrow();
        held.values().flatten().any(|held| held.reserved.place == place && held.reserved.port == port)
    }

    /// Whether a container that the operation under way is about to start would have it.
    pub(super) fn is_awaited(&self, held: &Held) -> bool {
        self.awaited.borrow().values().flatten().any(|port| held.would_do_for(port))
    }

    /// Whether a port is held by a container of ours whose program the operation under way ends.
    fn is_going(&self, port: &Port) -> bool {
        let held = self.held.borrow();
        held.values().flatten().any(|held| held.tenure == Tenure::Going && held.clashes(port))
    }

    /// Takes out one that is nobody's any more, with the container that had it.
    fn take_free(&self, is_it: impl Fn(&Held) -> bool) -> Option<(String, Held)> {
        self.held.borrow_mut().iter_mut().find_map(|(name, held)| {
            let at = held.iter().position(|held| held.tenure == Tenure::Free && is_it(held))?;
            Some((name.clone(), held.remove(at)))
        })
    }
}

impl Engine {
    /// Takes the ports of every container that a plan starts. Fails where one is somebody else's, before anything is
    /// done. The end of the operation gives back those of containers that have not come to be started, and leaves what
    /// runs on with what it had.
    pub(super) fn take_ports(&self, plan: &Plan, stack: Option<&Stack>) -> Result<(), Failure> {
        let mut started = self.to_start(plan, stack);
        for (_, service) in &mut started {
            self.leave_leading_ports(service, stack);
        }
        let ports = |(name, service): &(String, Service)| (name.clone(), ports_of(service).to_vec());
        *self.ports.awaited.borrow_mut() = started.iter().map(ports).collect();
        self.ports.stalled.set(false);
        for name in ends_of(plan) {
            if let Some(held) = self.ports.held.borrow_mut().get_mut(name) {
                let awaited = self.ports.awaited.borrow();
                let (kept, _) = matched(held, awaited.get(name).map_or(&[], Vec::as_slice));
                let lost = held.iter_mut().enumerate().filter(|(at, _)| !kept.contains(at));
                lost.for_each(|(_, held)| held.tenure = Tenure::Going);
            }
        }
        let mut named = self.named_ports(stack);
        let mut failures: Vec<Failure> = Vec::new();
        for (name, service) in started {
            let Err(errors) = self.reserve(&name, &service, &mut named) else { continue };
            for failure in errors.iter().map(of_ports) {
                // Of several replicas it is the same.
                if failures.iter().all(|other| other.message != failure.message) {
                    failures.push(failure);
                }
            }
        }
        all_of(failures)
    }

    /// Takes again what containers that a plan lets run on publish and nobody holds: while both processes behind the stack
    /// were dead somebody else may have taken it.
    pub(super) fn retake_ports(&self, plan: &Plan, stack: &Stack) -> Result<(), Failure> {
        let ends = ends_of(plan);
        let mut named = self.named_ports(Some(stack));
        let mut errors = Vec::new();
        let running = self.of_services(&[]).into_iter().filter(|container| container.live.borrow().is_some());
        for container in running {
            let name = container.name();
            if ends.contains(&&name) || self.ports.awaited.borrow().contains_key(&name) {
                continue;
            }
            let mut service = container.record.borrow().service.clone();
            self.leave_leading_ports(&mut service, Some(stack));
            let lacks = {
                let held = self.ports.held.borrow();
                let held = held.get(&name).map_or(&[][..], Vec::as_slice);
                // One that is on its way out is another's already.
                !matched(held, ports_of(&service)).1.is_empty()
                    && held.iter().all(|held| held.tenure == Tenure::Lasting)
            };
            if !lacks {
                continue;
            }
            match self.reserve(&name, &service, &mut named) {
                Ok(_) => errors.extend(self.lead_ports(&container, &service).err()),
                Err(more) => errors.extend(more),
            }
            self.refresh_firewall(false);
        }
        all_of(errors.iter().map(of_ports))
    }

    /// The ports of the host that the file names, whoever has them; without a file, those of the containers that there are.
    fn named_ports(&self, stack: Option<&Stack>) -> Named {
        let of = |service: &Service| -> Named {
            ports_of(service).iter().filter_map(|port| port.published).collect()
        };
        match stack {
            Some(stack) => stack.services.values().flat_map(of).collect(),
            None => {
                let containers = self.containers.borrow();
                containers.values().flat_map(|container| of(&container.record.borrow().service)).collect()
            }
        }
    }

    /// Leaves a service the ports of the host that are to lead to it, and none where none would: what others have made of an
    /// external network the file does not say.
    pub(super) fn leave_leading_ports(&self, service: &mut Service, stack: Option<&Stack>) {
        if ports_of(service).is_empty() {
            return;
        }
        let networks = stack.map(|stack| &stack.networks);
        let Some(why) = self.unreached(service, networks) else {
            return self.leave_host_ports(service, networks);
        };
        service.ports.clear();
        let text =
            format!("service {}: none of its ports is published: all its networks are {why}", service.name);
        if self.warned.borrow_mut().insert(text.clone()) {
            self.announce(Subject::Group, Action::Warning(text));
        }
    }

    /// The containers that a plan starts, with what their services are to be.
    pub(super) fn to_start(&self, plan: &Plan, stack: Option<&Stack>) -> Vec<(String, Service)> {
        let steps = || plan.steps().into_iter().map(|id| &plan.get(id).step);
        let made: BTreeMap<&String, &String> = steps()
            .filter_map(|step| match step {
                Step::Create { container, service, .. } | Step::Recreate { container, service, .. } => {
                    Some((container, service))
                }
                _ => None,
            })
            .collect();
        let started = steps().filter_map(|step| {
            let Step::Start { container } = step else { return None };
            let service = made.get(container).and_then(|service| stack?.services.get(*service)).cloned();
            let known = || Some(self.container(container)?.record.borrow().service.clone());
            Some((container.clone(), service.or_else(known)?))
        });
        started.collect()
    }

    /// Takes what a container publishes and does not have yet; whether that is all, or something is to be waited for. All
    /// that somebody else has is told.
    fn reserve(&self, name: &str, service: &Service, named: &mut Named) -> Result<bool, Vec<StartError>> {
        let recorded = self.container(name).map(|known| known.record.borrow().published.clone());
        let missing = {
            let mut all = self.ports.held.borrow_mut();
            let held = all.get_mut(name).map_or(&mut [][..], Vec::as_mut_slice);
            let (kept, missing) = matched(held, ports_of(service));
            for (at, held) in held.iter_mut().enumerate() {
                held.tenure = match (kept.contains(&at), held.tenure) {
                    (true, Tenure::Free) => Tenure::Lasting,
                    (false, Tenure::Lasting) => Tenure::Free,
                    (_, tenure) => tenure,
                };
            }
            missing
        };
        let (mut is_whole, mut changed, mut errors) = (true, false, Vec::new());
        let (recorded, mut losers) = (recorded.unwrap_or_default(), BTreeSet::new());
        for port in missing {
            match self.obtain(name, (service, port), &recorded, &mut losers) {
                Ok(Some(taken)) => {
                    self.ports.held.borrow_mut().entry(name.to_owned()).or_default().push(taken);
                    changed = true;
                }
                Ok(None) => is_whole = false,
                Err((error, given_up)) => {
                    let (help, at) = (error.help(named), path(service, port));
                    errors.push(StartError { help, at, given_up, ..StartError::new(error.to_string()) });
                    // What is nobody's fault is that of all others too.
                    if !error.is_taken() {
                        break;
                    }
                }
            }
        }
        let kept = if changed { self.keep_ports(name) } else { Ok(()) };
        losers.iter().for_each(|name| self.keep_rest(name));
        if !errors.is_empty() {
            return Err(errors);
        }
        kept.map_err(|error| {
            let failed = StartError::doing(&format!("{name}: have its ports kept"), &error);
            vec![StartError { help: taken::too_many(&error), ..failed }]
        })?;
        Ok(is_whole)
    }

    /// Takes a port, from another of our containers where that has no more need of it, which is then among the `losers`;
    /// `None` where one will have none soon. Why not, and whether it has been waited for.
    fn obtain(
        &self,
        name: &str,
        (service, port): (&Service, &Port),
        recorded: &[PublishedPort],
        losers: &mut BTreeSet<String>,
    ) -> Result<Option<Held>, (taken::Error, bool)> {
        let error = match self.take_port(service, port, recorded) {
            Ok(taken) => return Ok(Some(taken)),
            Err(error) if error.is_taken() => error,
            Err(error) => return Err((error, false)),
        };
        if let Some((before, mut held)) = self.ports.take_free(|held| held.would_do_for(port)) {
            // Handed over as it is: the keeper has copies of the sockets, so they cannot be made anew at once.
            losers.insert(before);
            (held.target, held.tenure) = (port.target, Tenure::Lasting);
            return Ok(Some(held));
        }
        while let Some((before, held)) = self.ports.take_free(|held| held.clashes(port)) {
            held.close();
            losers.insert(before);
            if let Ok(taken) = self.take_port(service, port, recorded) {
                return Ok(Some(taken));
            }
        }
        let is_going = self.ports.is_going(port);
        let stalled = self.ports.stalled.get();
        if is_going && !stalled && self.ports.awaited.borrow().contains_key(name) {
            return Ok(None);
        }
        Err((error.with_holder(&self.stack), is_going && stalled))
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
                && !self.ports.holds(place, had.port)
                && !is_chosen(had.port)
        };
        let before = recorded.iter().filter(mine).find_map(|had| place.take(had.port).ok());
        let reserved = match (before, port.published) {
            (Some(reserved), _) => Ok(reserved),
            (None, None) => place.take_any(),
            (None, Some((first, last))) => first_free(place, first, last),
        };
        let taken = reserved.and_then(|reserved| Held::new(reserved, port.target));
        taken.map_err(|error| taken::Error::new(&service.name, port, error))
    }

    /// Has the keeper hold the sockets of a container's ports, some at a time.
    fn keep_ports(&self, name: &str) -> io::Result<()> {
        self.release_ports(name);
        let held = self.ports.held.borrow();
        let held = held.get(name).into_iter().flatten();
        let sockets: Vec<BorrowedFd<'_>> =
            held.flat_map(|held| &held.reserved.sockets).map(AsFd::as_fd).collect();
        for (part, sockets) in sockets.chunks(AT_ONCE).enumerate() {
            self.link.hold(&key(name, part), sockets)?;
        }
        Ok(())
    }

    /// The same of a container that has lost one.
    pub(super) fn keep_rest(&self, name: &str) {
        self.ports.held.borrow_mut().retain(|_, held| !held.is_empty());
        if let Err(error) = self.keep_ports(name) {
            diagnose(&format!("ports of {name}: {error}"));
        }
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
        let mut service = container.record.borrow().service.clone();
        self.leave_leading_ports(&mut service, None);
        loop {
            let freed = self.ports.freed.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            let reserved = self.reserve(&name, &service, &mut self.named_ports(None));
            if reserved.map_err(|mut errors| errors.swap_remove(0))? {
                break;
            }
            freed.await;
        }
        self.lead_ports(container, &service)?;
        if !ports_of(&service).is_empty() {
            let ways = self.ways_in(&container.record.borrow());
            for key in &ways.networks {
                let set = self.host.return_own(&names::veth(&self.stack, &name, key)).await;
                set.map_err(|error| StartError::doing(&format!("{name}: publish its ports"), &error))?;
            }
            if ports_of(&service).iter().any(is_at_loopback) {
                self.enlarge(&ways.networks).await;
            }
        }
        self.refresh_firewall(false);
        Ok(())
    }

    /// Has clients on this host get through to published ports as fast as they can. Without it they get there as well.
    async fn enlarge(&self, networks: &BTreeSet<String>) {
        let mut large = self.ports.large.lock().await;
        if large.is_empty()
            && let Err(error) = self.loopback.need(&self.host, &self.stack).await
        {
            diagnose(&error.to_string());
        }
        let bridges: Vec<Bridge> = {
            let known = self.networks.borrow();
            networks.iter().filter_map(|key| Some(known.get(key)?.bridge.clone())).collect()
        };
        for bridge in bridges {
            if large.insert(bridge.index)
                && let Err(error) = self.host.enlarge(&bridge).await
            {
                diagnose(&error.to_string());
            }
        }
    }

    /// The loopback is as it was, as far as this stack is concerned.
    pub(super) async fn reduce_loopback(&self) -> Result<(), StartError> {
        let mut large = self.ports.large.lock().await;
        large.clear();
        let released = self.loopback.release(&self.host, &self.stack).await;
        released.map_err(|error| StartError::doing("set the host's loopback as it was before", &error))
    }

    /// The ports that a container holds lead to it from now on, and its record says which they are.
    fn lead_ports(&self, container: &Container, service: &Service) -> Result<(), StartError> {
        let name = container.name();
        self.open_directly(container);
        let ways = self.ways_in(&container.record.borrow());
        let mut published = Vec::new();
        if let Some(held) = self.ports.held.borrow_mut().get_mut(&name) {
            let (own, _) = matched(held, ports_of(service));
            for at in own {
                let held = &mut held[at];
                held.lead(Some(Target { v4: ways.v4, v6: ways.v6, port: held.target }));
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

    /// Takes up the ports of a container whose program runs on, or is about to be started again; from the keeper or
    /// anew.
    pub(super) fn adopt_ports(&self, container: &Container, mut sockets: Vec<OwnedFd>, runs: bool) {
        let name = container.name();
        let mut held = Vec::new();
        let published = container.record.borrow().published.clone();
        for PublishedPort { host_ip, protocol, port, target, v4, v6 } in published {
            let place = Place { host_ip, protocol };
            let reserved = place.adopt(port, &mut sockets).map_or_else(|| place.take(port), Ok);
            let outcome = reserved.and_then(|reserved| {
                let mut held = Held::new(reserved, target)?;
                held.lead(runs.then_some(Target { v4, v6, port: target }));
                Ok(held)
            });
            match outcome {
                Ok(taken) => held.push(taken),
                Err(error) => diagnose(&format!("port {port}/{protocol} of {name}: {error}")),
            }
        }
        // What has not been taken up is let go of.
        self.ports.held.borrow_mut().insert(name.clone(), held);
        self.keep_rest(&name);
    }

    /// Has the host forward where a network wants it, and the stack's rules be what they should.
    pub(super) fn open_network(&self) -> Result<(), StartError> {
        let nets = self.nets();
        let mut open = nets.iter().filter(|net| !net.internal).flat_map(|net| &net.subnets);
        let (v4, v6) = (open.clone().any(|net| net.addr().is_ipv4()), open.any(|net| net.addr().is_ipv6()));
        if v4 || v6 {
            let needed = self.forwarding.need(&self.stack, v4, v6);
            let told = needed.map_err(|error| StartError::doing("have the host forward packets", &error))?;
            self.warn_of_rules(told);
        }
        self.refresh_firewall(true);
        Ok(())
    }

    /// All that an earlier supervisor left has been taken up.
    pub(super) fn ports_adopted(&self) {
        let live = self.of_services(&[]).into_iter().filter(|container| container.live.borrow().is_some());
        live.for_each(|container| self.open_directly(&container));
        self.ports.adopting.set(false);
        self.refresh_firewall(true);
        self.give_back_ports(None);
    }

    /// Tells the kernel who may reach whom and what leads where. With `mend`, whatever it was told before.
    pub(super) fn refresh_firewall(&self, mend: bool) {
        let networks = self.nets();
        if networks.is_empty() || self.ports.adopting.get() {
            return;
        }
        let direct = {
            let containers = self.containers.borrow();
            containers.values().flat_map(|known| known.direct.borrow().clone()).collect()
        };
        let rules = self.ports.firewall_rules(networks, direct);
        if !mend && self.ports.rules.borrow().as_ref() == Some(&rules) {
            return;
        }
        match self.ports.firewall.borrow_mut().apply(&rules) {
            Ok(warnings) => {
                *self.ports.rules.borrow_mut() = Some(rules);
                self.ports.by_hand.set(false);
                self.warn_of_rules(warnings);
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
    }

    /// Tells what of the host keeps rules from doing all that they should; once, and again by the next `up`, also where that
    /// has nothing else to do.
    fn warn_of_rules(&self, warnings: impl IntoIterator<Item = String>) {
        for warning in warnings {
            if self.ports.told.borrow_mut().insert(warning.clone()) {
                self.announce(Subject::Group, Action::Warning(warning));
            }
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
            if let Err(error) = self.forwarding.restore() {
                diagnose(&error.to_string());
            }
        }
    }

    /// Takes the stack's rules away: of its own bridges, also where somebody has deleted them, and of those that it shares
    /// with other stacks what these do not need.
    pub(super) fn remove_firewall(&self) -> Result<(), StartError> {
        let (mut own, mut shared) = (BTreeSet::new(), BTreeSet::new());
        for net in self.networks.borrow().values() {
            if !net.has_bridge() {
                continue;
            }
            let bridges = if net.config.external { &mut shared } else { &mut own };
            bridges.insert(net.bridge.name.clone());
        }
        for (key, made) in self.record.borrow().iter().flat_map(|record| &record.made) {
            if !made.external && made.driver == Driver::Bridge {
                own.insert(interface(&self.stack, key, made));
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
        let nets = networks.values().filter(|net| net.has_bridge()).map(|net| Net {
            bridge: net.bridge.name.clone(),
            subnets: net.bridge.subnets.iter().map(|subnet| subnet.net).collect(),
            masquerade: net.made.masquerade,
            internal: net.made.internal,
            isolated: net.made.isolated,
            unprotected: [true, false].map(|v4| net.made.gateway_mode(v4) == GatewayMode::Unprotected),
            routed: [true, false].map(|v4| net.made.gateway_mode(v4) == GatewayMode::Routed),
            source: [true, false].map(|v4| net.made.source(v4)),
            trusted: net.made.trusted(),
        });
        nets.collect()
    }
}

/// Whether a port is published for TCP at 127.0.0.1.
fn is_at_loopback(port: &Port) -> bool {
    let v4 = |address: IpAddr| address.is_ipv4() && (address.is_unspecified() || address.is_loopback());
    port.protocol == composer_stack::Protocol::Tcp && port.host_ip.is_none_or(v4)
}

/// Where a service publishes a port.
fn of_ports(error: &StartError) -> Failure {
    Failure { code: 1, ..Failure::from(error) }
}

/// Fails by the first, with which all others are told.
fn all_of(failures: impl IntoIterator<Item = Failure>) -> Result<(), Failure> {
    let mut failures = failures.into_iter();
    failures.next().map_or(Ok(()), |first| Err(Failure { more: failures.collect(), ..first }))
}

fn path(service: &Service, port: &Port) -> Vec<String> {
    let place = service.ports.iter().position(|other| std::ptr::eq(other, port)).unwrap_or_default();
    let mut path: Vec<String> =
        ["services", &service.name, "ports", &place.to_string()].map(str::to_owned).into();
    path.extend(port.published.map(|_| "published".to_owned()));
    path
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
