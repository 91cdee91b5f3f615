//! Why a port of the host cannot be taken, and who has it.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};

use composer_network::firewall::Protocol;
use composer_network::ports::{Holder, Place, holders};

use crate::paths::StackPaths;
use crate::records::ContainerRecord;

/// How many arguments of a program are told.
const WORDS: usize = 6;

/// A port, or a range of which none is free.
#[derive(Debug)]
pub struct Error {
    service: String,
    place: Place,
    /// `None` where any port would have done.
    wanted: Option<(u16, u16)>,
    reason: io::Error,
    /// Whoever has the first.
    holder: Option<String>,
}

impl Error {
    /// Looks for the holder too.
    pub fn new(service: &str, place: Place, wanted: Option<(u16, u16)>, reason: io::Error) -> Self {
        let is_taken = reason.kind() == io::ErrorKind::AddrInUse;
        let port = wanted.map(|(first, _)| first).filter(|_| is_taken);
        let holder = port.and_then(|port| {
            let found = holders(place, port).into_iter().next()?;
            Some(describe(&found, place.protocol, port))
        });
        Self { service: service.to_owned(), place, wanted, reason, holder }
    }

    /// The ports that are somebody else's.
    pub fn ports(&self) -> Option<(Place, (u16, u16))> {
        let is_taken = self.reason.kind() == io::ErrorKind::AddrInUse;
        self.wanted.filter(|_| is_taken).map(|wanted| (self.place, wanted))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = self.place.protocol;
        write!(f, "service {}: ", self.service)?;
        match self.wanted {
            None => write!(f, "a free {protocol} port of the host")?,
            Some((first, last)) if first == last => write!(f, "port {first}/{protocol} of the host")?,
            Some((first, last)) => write!(f, "ports {first}-{last}/{protocol} of the host")?,
        }
        if let Some(address) = self.place.host_ip {
            write!(f, " at {address}")?;
        }
        match (self.reason.kind(), &self.holder, self.wanted) {
            (io::ErrorKind::AddrInUse, Some(holder), Some((first, last))) if first == last => {
                write!(f, " is taken: {holder}")
            }
            (io::ErrorKind::AddrInUse, Some(holder), _) => {
                write!(f, " are all taken, the first by: {holder}")
            }
            (io::ErrorKind::AddrInUse, None, _) => {
                write!(f, ": taken, by a process that cannot be seen from here")
            }
            (io::ErrorKind::AddrNotAvailable, ..) => {
                write!(f, ": the host has no such address; `ip address` lists those it has")
            }
            _ => write!(f, ": {}", self.reason),
        }
    }
}

/// `process 4711 (python3 -m http.server) has 0.0.0.0:8080`, or `service db of stack shop publishes it`.
fn describe(holder: &Holder, protocol: Protocol, port: u16) -> String {
    if let [program, stack, ..] = holder.argv.as_slice()
        && ["compose-keeper", "compose-supervisor"].contains(&program.as_str())
    {
        return match publisher(stack, protocol, port) {
            Some(service) => format!("service {service} of stack {stack} publishes it"),
            None => format!("stack {stack} publishes it"),
        };
    }
    let address = SocketAddr::new(holder.address, port);
    let program = match holder.argv.as_slice() {
        [] => String::new(),
        argv => format!(
            " ({}{})",
            argv[..argv.len().min(WORDS)].join(" "),
            if argv.len() > WORDS { " …" } else { "" }
        ),
    };
    format!("process {}{program} has {address}", holder.pid)
}

/// The service of a stack that publishes a port, by the stack's records.
fn publisher(stack: &str, protocol: Protocol, port: u16) -> Option<String> {
    let paths = StackPaths::new(stack);
    let containers = std::fs::read_dir(paths.containers()).ok()?.flatten();
    let records =
        containers.filter_map(|entry| ContainerRecord::read(&paths.container(entry.file_name().to_str()?)));
    let publishes = |record: &ContainerRecord| {
        record.published.iter().any(|published| (published.protocol, published.port) == (protocol, port))
    };
    records.into_iter().find(publishes).map(|record| record.service.name)
}

/// Where it is published, for `ps` and `port`: all addresses where none is given.
pub fn addresses(host_ip: Option<IpAddr>) -> Vec<IpAddr> {
    match host_ip {
        Some(address) => vec![address],
        None => vec![[0; 4].into(), [0; 16].into()],
    }
}
