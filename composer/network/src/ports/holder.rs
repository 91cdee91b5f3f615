//! Who has a port: the process behind a socket, by /proc.

use std::collections::HashSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Place;
use crate::firewall::Protocol;

/// A process with a socket on a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its process id.
    pub pid: i32,
    /// Its arguments, the program first.
    pub argv: Vec<String>,
    /// The address that its socket is bound to.
    pub address: IpAddr,
}

/// TCP's state of a socket that listens, in /proc/net/tcp (TCP_LISTEN, linux/tcp_states.h).
const LISTENS: &str = "0A";

/// Processes whose sockets keep a port from being taken at this place; in other namespaces there may be none to be seen.
pub fn holders(place: Place, port: u16) -> Vec<Holder> {
    let files = match place.protocol {
        Protocol::Tcp => ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"],
        Protocol::Udp => ["/proc/thread-self/net/udp", "/proc/thread-self/net/udp6"],
    };
    let mut sockets = Vec::new();
    for file in files {
        let text = fs::read_to_string(file).unwrap_or_default();
        let found = text.lines().skip(1).filter_map(|line| socket(line, place, port));
        sockets.extend(found);
    }
    let inodes: HashSet<u64> = sockets.iter().map(|(_, inode)| *inode).collect();
    let mut holders = Vec::new();
    for pid in processes() {
        let Some(inode) = socket_of(pid, &inodes) else { continue };
        let Some((address, _)) = sockets.iter().find(|(_, known)| *known == inode) else { continue };
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let argv = line.split(|byte| *byte == 0).filter(|word| !word.is_empty());
        let argv = argv.map(|word| String::from_utf8_lossy(word).into_owned()).collect();
        holders.push(Holder { pid, argv, address: *address });
    }
    holders
}

/// The address and inode of a line of /proc/net/tcp that has the port where the place wants it (proc_pid_net(5)).
fn socket(line: &str, place: Place, port: u16) -> Option<(IpAddr, u64)> {
    let mut fields = line.split_whitespace().skip(1);
    let (address, bound) = fields.next()?.split_once(':')?;
    let state = fields.nth(1)?;
    let inode = fields.nth(5)?.parse().ok()?;
    let address = address_of(address)?;
    let is_port = u16::from_str_radix(bound, 16) == Ok(port);
    let listens = place.protocol == Protocol::Udp || state == LISTENS;
    (is_port && listens && inode != 0 && clash(address, place.host_ip)).then_some((address, inode))
}

/// Words of four bytes, each as the host has it.
fn address_of(text: &str) -> Option<IpAddr> {
    let word = |from: usize| Some(u32::from_str_radix(text.get(from..from + 8)?, 16).ok()?.to_ne_bytes());
    if text.len() == 8 {
        return Some(Ipv4Addr::from(word(0)?).into());
    }
    let bytes: Vec<u8> = [word(0)?, word(8)?, word(16)?, word(24)?].concat();
    Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).into())
}

fn clash(held: IpAddr, wanted: Option<IpAddr>) -> bool {
    let Some(wanted) = wanted else { return true };
    // A socket of IPv6 for all addresses mostly has those of IPv4 too.
    let same_family = held.is_ipv4() == wanted.is_ipv4() || held == IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    same_family && (held == wanted || held.is_unspecified() || wanted.is_unspecified())
}

fn processes() -> Vec<i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut pids: Vec<i32> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    pids.sort_unstable();
    pids
}

/// The inode of one of the sockets that the process has open.
fn socket_of(pid: i32, inodes: &HashSet<u64>) -> Option<u64> {
    let fds = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let mut sockets = fds.filter_map(|fd| {
        let link = fs::read_link(fd.path()).ok()?;
        link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse::<u64>().ok()
    });
    sockets.find(|inode| inodes.contains(inode))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_proc() {
        let tcp = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1";
        let at = |host_ip: Option<&str>, protocol| Place {
            host_ip: host_ip.map(|ip| ip.parse().expect("an address")),
            protocol,
        };
        let found = Some((Ipv4Addr::LOCALHOST.into(), 4711));
        assert_eq!(socket(tcp, at(None, Protocol::Tcp), 8080), found);
        assert_eq!(socket(tcp, at(Some("127.0.0.1"), Protocol::Tcp), 8080), found);
        assert_eq!(socket(tcp, at(Some("127.0.0.2"), Protocol::Tcp), 8080), None);
        assert_eq!(socket(tcp, at(Some("::1"), Protocol::Tcp), 8080), None);
        assert_eq!(socket(tcp, at(None, Protocol::Tcp), 8081), None);
        assert_eq!(socket(&tcp.replace(" 0A ", " 01 "), at(None, Protocol::Tcp), 8080), None);
        let all = "   0: 00000000000000000000000000000000:0035 00000000000000000000000000000000:0000 07 \
                   00000000:00000000 00:00000000 00000000     0        0 12 2";
        assert_eq!(
            socket(all, at(Some("10.0.0.1"), Protocol::Udp), 53),
            Some((Ipv6Addr::UNSPECIFIED.into(), 12))
        );
    }
}
