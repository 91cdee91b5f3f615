//! Why a port of the host cannot be taken, and who has it.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};

use composer_network::firewall::Protocol;
use composer_network::ports::{Holder, Place, holders};
use composer_stack::Port;

use super::held::place;
use crate::paths::StackPaths;
use crate::records::ContainerRecord;

/// How many ports of a range are looked at for who has them.
const LOOKED_AT: usize = 16;
/// How many arguments of a program are told.
const WORDS: usize = 6;
/// How many characters of them.
const LONGEST: usize = 120;

/// A port, or a range of which none is free.
#[derive(Debug)]
pub struct Error {
    service: String,
    place: Place,
    /// `None` where any port would have done.
    wanted: Option<(u16, u16)>,
    /// The container's.
    target: u16,
    reason: io::Error,
    /// Who has one, and which.
    holder: Option<(u16, String)>,
}

impl Error {
    /// Of a port that a service asks for.
    pub fn new(service: &str, port: &Port, reason: io::Error) -> Self {
        let (place, wanted, target) = (place(port), port.published, port.target);
        Self { service: service.to_owned(), place, wanted, target, reason, holder: None }
    }

    /// Whether somebody has it.
    pub fn is_taken(&self) -> bool {
        self.reason.kind() == io::ErrorKind::AddrInUse
    }

    /// Looks for whoever has it, among all processes; of a range, rather for others than the stack itself, whose replicas
    /// may have the rest.
    pub fn with_holder(mut self, stack: &str) -> Self {
        let ports = self.wanted.filter(|_| self.is_taken()).map(|(first, last)| first..=last);
        let found = ports.into_iter().flatten().take(LOOKED_AT);
        let found = found.filter_map(|port| Some((port, holders(self.place, port).into_iter().next()?)));
        let found: Vec<(u16, Holder)> = found.collect();
        let other = found.iter().find(|(_, holder)| of_stack(holder) != Some(stack));
        self.holder = other
            .or_else(|| found.first())
            .map(|(port, holder)| (*port, describe(holder, self.place.protocol, *port)));
        self
    }

    /// What to do where somebody has it, or there are too many. What is proposed is free, and not among the `named` ports,
    /// of which it is one from now on.
    pub fn help(&self, named: &mut Vec<(u16, u16)>) -> Option<String> {
        if let Some(help) = too_many(&self.reason) {
            return Some(help);
        }
        let wanted = self.wanted.filter(|_| self.is_taken())?;
        let Some(other) = self.elsewhere(wanted, named) else { return Some("stop it".to_owned()) };
        match self.wanted {
            Some((first, last)) if first < last => Some(format!(
                "each replica takes one: publish a range that has as many more, or others: `{other}`"
            )),
            _ => Some(format!("stop it, or publish another port: `{other}`")),
        }
    }

    /// What the file may say in place of what cannot be had: the next port that is free.
    fn elsewhere(&self, (first, last): (u16, u16), named: &mut Vec<(u16, u16)>) -> Option<String> {
        let is_free = |port: &u16| {
            !named.iter().any(|(first, last)| (first..=last).contains(&port))
                && self.place.take(*port).is_ok()
        };
        let above = last.checked_add(1).into_iter().flat_map(|next| next..=u16::MAX);
        let other = above.chain((1..first).rev()).find(is_free)?;
        named.push((other, other));
        let address = match self.place.host_ip {
            Some(IpAddr::V6(address)) => format!("[{address}]:"),
            Some(IpAddr::V4(address)) => format!("{address}:"),
            None => String::new(),
        };
        let protocol = match self.place.protocol {
            Protocol::Tcp => "",
            Protocol::Udp => "/udp",
        };
        Some(format!("{address}{other}:{}{protocol}", self.target))
    }
}

/// What to do where a process may not have more files open.
pub fn too_many(error: &io::Error) -> Option<String> {
    let help = "each port takes several of the files that a process may have open: raise `ulimit -Hn`, or publish fewer";
    (error.raw_os_error() == Some(libc::EMFILE)).then(|| help.to_owned())
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
            (io::ErrorKind::AddrInUse, Some((_, holder)), Some((first, last))) if first == last => {
                write!(f, " is taken: {holder}")
            }
            (io::ErrorKind::AddrInUse, Some((port, holder)), _) => {
                write!(f, " are all taken, {port} of them: {holder}")
            }
            (io::ErrorKind::AddrInUse, None, _) => {
                write!(f, ": taken, by a process that cannot be seen from here")
            }
            (io::ErrorKind::AddrNotAvailable, ..) => {
                write!(f, ": the host has no such address; `ip address` lists those it has")
            }
            // Of IPv6 addresses bind(2) refuses so what is one of each link, and sockets of IPv6 alone what is of IPv4.
            (io::ErrorKind::InvalidInput, ..) => write!(
                f,
                ": no port is published at such an address: one of a link alone (fe80::) is each interface's, and one of \
                 IPv4 is written as that"
            ),
            _ => write!(f, ": {}", self.reason),
        }
    }
}

/// The stack that a process is behind.
fn of_stack(holder: &Holder) -> Option<&str> {
    match holder.argv.as_slice() {
        [program, stack, ..] if ["compose-keeper", "compose-supervisor"].contains(&program.as_str()) => {
            Some(stack)
        }
        _ => None,
    }
}

/// `process 4711 (python3 -m http.server) has 0.0.0.0:8080`, or `service db of stack shop publishes it`.
fn describe(holder: &Holder, protocol: Protocol, port: u16) -> String {
    if let Some(stack) = of_stack(holder) {
        return match publisher(stack, protocol, port) {
            Some(publisher) => format!("{publisher} of stack {stack} publishes it"),
            None => format!("stack {stack} publishes it"),
        };
    }
    let address = SocketAddr::new(holder.address, port);
    let program = match holder.argv.as_slice() {
        [] => String::new(),
        argv => format!(" ({})", shown(argv)),
    };
    format!("process {}{program} has {address}", holder.pid)
}

/// A program by its first arguments. They are whatever its user has chosen: a terminal is to take none of them for its own.
fn shown(argv: &[String]) -> String {
    let words: Vec<String> =
        argv[..argv.len().min(WORDS)].iter().map(|word| word.replace(char::is_control, " ")).collect();
    let line = words.join(" ");
    let text: String = line.chars().take(LONGEST).collect();
    if argv.len() > WORDS || text.len() < line.len() { format!("{text} …") } else { text }
}

/// Who of a stack publishes a port, by its records: a service, or a container of `run`, which is none's replica.
fn publisher(stack: &str, protocol: Protocol, port: u16) -> Option<String> {
    let paths = StackPaths::new(stack);
    let publishes = |record: &ContainerRecord| {
        record.published.iter().any(|published| (published.protocol, published.port) == (protocol, port))
    };
    // What has ended keeps in its record what it had.
    let running = ContainerRecord::running(&paths).into_iter().find(publishes);
    let record = running.or_else(|| ContainerRecord::all(&paths).find(publishes))?;
    Some(match record.oneoff {
        Some(_) => format!("container {}", record.name),
        None => format!("service {}", record.service.name),
    })
}

/// Where it is published, for `ps` and `port`: all addresses where none is given.
pub fn addresses(host_ip: Option<IpAddr>) -> Vec<IpAddr> {
    match host_ip {
        Some(address) => vec![address],
        None => vec![[0; 4].into(), [0; 16].into()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_told_in_one_line_of_a_length() {
        let argv = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        assert_eq!(shown(&argv(&["sh", "-c", "a\nb\u{1b}[2J"])), "sh -c a b [2J");
        assert_eq!(shown(&argv(&["x"; 7])), "x x x x x x …");
        assert_eq!(shown(&argv(&[&"ä".repeat(200)])), format!("{} …", "ä".repeat(120)));
    }

    #[test]
    fn a_taken_port_comes_with_a_way_out() {
        let text = |host_ip: &str, protocol, published, named: &mut Vec<(u16, u16)>| {
            let port = Port {
                host_ip: Some(host_ip.parse().expect("an address")),
                published: Some(published),
                target: 53,
                protocol,
                mode: composer_stack::PortMode::Ingress,
                name: None,
                app_protocol: None,
            };
            Error::new("dns", &port, io::ErrorKind::AddrInUse.into()).help(named).expect("a way out")
        };
        // Addresses that nobody else is at.
        let (tcp, udp) = (composer_stack::Protocol::Tcp, composer_stack::Protocol::Udp);
        let highest = text("127.82.7.1", tcp, (65535, 65535), &mut Vec::new());
        assert_eq!(highest, "stop it, or publish another port: `127.82.7.1:65534:53`");
        let mut named = vec![(8080, 8081), (8083, 8090)];
        let range = text("127.82.7.1", udp, (8080, 8081), &mut named);
        assert!(range.ends_with("`127.82.7.1:8082:53/udp`"), "{range}");
        // Neither what was proposed for another, nor what somebody has.
        let _taken = std::net::UdpSocket::bind("127.82.7.1:8091").expect("a socket");
        let next = text("127.82.7.1", udp, (8080, 8081), &mut named);
        assert!(next.ends_with("`127.82.7.1:8092:53/udp`"), "{next}");
        let six = text("::1", tcp, (18080, 18080), &mut Vec::new());
        assert!(six.contains("`[::1]:180"), "{six}");
    }
}
