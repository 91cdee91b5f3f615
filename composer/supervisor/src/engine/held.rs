//! Ports of the host that are held for a container, each with what it is for.

use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;

use composer_network::firewall::{Protocol, Published};
use composer_network::ports::{Place, Reserved};
use composer_network::proxy::{self, Served, Target};
use composer_stack::{NetworkMode, Port, Service};

use crate::records::PublishedPort;

/// How long a port is its container's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tenure {
    /// While the container is started, or about to be again.
    Lasting,
    /// Until the operation under way has ended the container's program.
    Going,
    /// No more: another that waits for it may have it.
    Free,
}

/// A port of the host and what it is for.
pub struct Held {
    pub reserved: Reserved,
    /// The container's port.
    pub target: u16,
    /// While the container runs.
    pub led: Option<Target>,
    pub tenure: Tenure,
    served: Served,
}

impl Held {
    /// Leads nowhere yet.
    pub fn new(reserved: Reserved, target: u16) -> io::Result<Self> {
        let copies = reserved.sockets.iter().map(OwnedFd::try_clone).collect::<io::Result<_>>()?;
        let served = proxy::serve(reserved.place.protocol, copies, None).map_err(io::Error::other)?;
        Ok(Self { reserved, target, led: None, tenure: Tenure::Lasting, served })
    }

    /// Leads it to a container from now on, or nowhere.
    pub fn lead(&mut self, target: Option<Target>) {
        self.led = target;
        self.served.lead(target);
    }

    /// Serves it no more: another may take it. The keeper's copies go a moment later.
    pub fn close(self) {
        drop(self.served);
        self.reserved.close();
    }

    pub fn record(&self) -> PublishedPort {
        let Reserved { place, port, .. } = self.reserved;
        let (v4, v6) = self.led.map_or((None, None), |led| (led.v4, led.v6));
        let (host_ip, protocol) = (place.host_ip, place.protocol);
        PublishedPort { host_ip, protocol, port, target: self.target, v4, v6 }
    }

    /// For the firewall, while it leads somewhere.
    pub fn published(&self) -> Option<Published> {
        let led = self.led?;
        let Reserved { place, port, .. } = self.reserved;
        let (host_ip, protocol): (Option<IpAddr>, Protocol) = (place.host_ip, place.protocol);
        Some(Published { host_ip, host_port: port, protocol, to_v4: led.v4, to_v6: led.v6, port: led.port })
    }

    /// Whether it is what a service asks for.
    pub fn is_for(&self, port: &Port) -> bool {
        self.target == port.target
            && self.reserved.place == place(port)
            && port.published.is_none_or(|_| self.is_among(port))
    }

    /// Whether it would do for another container that asks for this port by its number.
    pub fn would_do_for(&self, port: &Port) -> bool {
        self.reserved.place == place(port) && self.is_among(port)
    }

    /// Whether it keeps somebody from having this port.
    pub fn clashes(&self, port: &Port) -> bool {
        self.reserved.place.clashes(place(port)) && self.is_among(port)
    }

    fn is_among(&self, port: &Port) -> bool {
        port.published.is_some_and(|(first, last)| (first..=last).contains(&self.reserved.port))
    }
}

pub fn place(port: &Port) -> Place {
    let protocol = match port.protocol {
        composer_stack::Protocol::Tcp => Protocol::Tcp,
        composer_stack::Protocol::Udp => Protocol::Udp,
    };
    Place { host_ip: port.host_ip, protocol }
}

/// What a service publishes; one without a network of its own has nothing to.
pub fn ports_of(service: &Service) -> &[Port] {
    match service.network {
        NetworkMode::Networks(_) => &service.ports,
        NetworkMode::Host | NetworkMode::None | NetworkMode::Service(_) | NetworkMode::Container(_) => &[],
    }
}

/// Which of those that a container holds are which of its service's ports, and the ports that it does not hold.
pub fn matched<'a>(held: &[Held], wanted: &'a [Port]) -> (Vec<usize>, Vec<&'a Port>) {
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    let mut is_found = vec![false; held.len()];
    for port in wanted {
        let fits = |at: &usize| !is_found[*at] && held[*at].is_for(port);
        // One that leads to the container is not given up for another of the same range.
        match (0..held.len()).filter(fits).min_by_key(|at| held[*at].led.is_none()) {
            Some(at) => {
                is_found[at] = true;
                found.push(at);
            }
            None => missing.push(port),
        }
    }
    (found, missing)
}
