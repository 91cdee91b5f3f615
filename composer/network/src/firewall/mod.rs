//! What the kernel does with packets on their way between a stack's networks and everything else: a table of nf_tables
//! a stack ([`table`]), rules of ours where others' chains would drop ([`acceptance`]), forwarding ([`Forwarding`]).

pub(crate) mod acceptance;
mod chains;
mod forwarding;
mod rule;
mod set;
mod table;
mod tracked;
mod transaction;

use std::collections::BTreeSet;
use std::ffi::CString;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::{fs, io};

use ipnet::IpNet;
use netlink_socket2::NetlinkSocket;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

pub use forwarding::Forwarding;
use transaction::Transactions;

/// The length of a table's name that no tool cuts (NFT_NAME_MAXLEN, linux/netfilter/nf_tables.h, is far above).
const NAME: usize = 64;
/// The tables that a kernel module of iptables-legacy has, one a line; absent without it.
const LEGACY: [&str; 2] = ["/proc/net/ip_tables_names", "/proc/net/ip6_tables_names"];

/// A protocol that ports are published of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// What a stack's table is made from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// The networks that its containers are on.
    pub networks: Vec<Net>,
    /// The published ports of containers that run.
    pub published: Vec<Published>,
}

/// A network, as the firewall sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Net {
    /// Its bridge.
    pub bridge: String,
    /// Its subnets.
    pub subnets: Vec<IpNet>,
    /// Whether what leaves it gets the host's address.
    pub masquerade: bool,
    /// Whether nothing leaves it and nothing comes in.
    pub internal: bool,
    /// Whether its containers are kept from each other.
    pub isolated: bool,
}

/// A published port and where it leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The host's address that it is published at; all of them where it is none.
    pub host_ip: Option<IpAddr>,
    /// The port there.
    pub host_port: u16,
    /// Its protocol.
    pub protocol: Protocol,
    /// The container's addresses.
    pub to_v4: Option<Ipv4Addr>,
    /// The same.
    pub to_v6: Option<Ipv6Addr>,
    /// The container's port.
    pub port: u16,
}

/// The rules of one stack in the network namespace that this was made in. The connections to the kernel are kept: their
/// close would wait for what was removed over them.
pub struct Firewall {
    table: CString,
    socket: NetlinkSocket,
    transactions: Transactions,
    applied: Rules,
}

impl Protocol {
    fn number(self) -> u8 {
        match self {
            Self::Tcp => libc::IPPROTO_TCP as u8,
            Self::Udp => libc::IPPROTO_UDP as u8,
        }
    }
}

impl std::fmt::Display for Protocol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

impl Net {
    fn has_v4(&self) -> bool {
        self.subnets.iter().any(|subnet| subnet.addr().is_ipv4())
    }

    fn has_v6(&self) -> bool {
        self.subnets.iter().any(|subnet| subnet.addr().is_ipv6())
    }
}

impl Firewall {
    /// For this stack; nothing is done yet.
    pub fn new(stack: &str) -> Self {
        let (socket, transactions) = (NetlinkSocket::new(), Transactions::default());
        Self { table: table_name(stack), socket, transactions, applied: Rules::default() }
    }

    /// The name of its table.
    pub fn table(&self) -> String {
        self.table.to_string_lossy().into_owned()
    }

    /// Makes the stack's table what the rules say, in one transaction, lets its bridges' traffic pass others' chains,
    /// and takes 127.0.0.1 to be a source on the bridges. Connections and flows that are under way stay, but flows of
    /// UDP to a port that now leads elsewhere.
    ///
    /// # Errors
    /// When the kernel refuses: then nothing has changed, and the stack needs [`crate::proxy`].
    pub fn apply(&mut self, rules: &Rules) -> Result<()> {
        let failed = |doing| move |error: io::Error| Error::kernel(doing, "nf_tables", error);
        for net in rules.networks.iter().filter(|net| net.has_v4() && !net.internal) {
            let path = format!("/proc/sys/net/ipv4/conf/{}/route_localnet", net.bridge);
            fs::write(&path, "1").map_err(|error| Error::kernel("write", path, error))?;
        }
        table::replace(&mut self.transactions, &self.table, rules)
            .map_err(failed("set up the stack's table in"))?;
        let beyond: Vec<_> = rules.networks.iter().filter(|net| !net.internal).collect();
        let beyond: Vec<_> =
            beyond.iter().map(|net| (net.bridge.as_str(), net.has_v4(), net.has_v6())).collect();
        acceptance::beyond(&mut self.socket, &beyond)
            .map_err(failed("have other chains let pass the stack's traffic in"))?;
        let moved = moved(&self.applied.published, &rules.published);
        tracked::forget(&mut self.socket, &moved).map_err(failed("forget flows to published ports of"))?;
        self.applied = rules.clone();
        Ok(())
    }

    /// Takes all of it away, with what was let pass for these bridges; that there is nothing is no error.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn remove(&mut self, bridges: &[&str]) -> Result<()> {
        let failed = |error| Error::kernel("remove the stack's rules from", "nf_tables", error);
        if chains::generation(&mut self.socket).map_err(failed)?.is_none() {
            return Ok(());
        }
        table::remove(&mut self.transactions, &self.table).map_err(failed)?;
        acceptance::withdraw_beyond(&mut self.socket, bridges).map_err(failed)?;
        let moved = moved(&self.applied.published, &[]);
        tracked::forget(&mut self.socket, &moved).map_err(failed)?;
        self.applied = Rules::default();
        Ok(())
    }
}

/// Rules that nf_tables does not see, and that nobody can make exceptions from over it: iptables-legacy has a table of
/// filters. For users, where there is one.
pub fn unseen() -> Option<String> {
    let is_in =
        |path: &&str| fs::read_to_string(path).is_ok_and(|names| names.lines().any(|name| name == "filter"));
    let program = match LEGACY.map(|path| is_in(&path)) {
        [true, _] => "iptables-legacy",
        [false, true] => "ip6tables-legacy",
        [false, false] => return None,
    };
    Some(format!(
        "the host has rules of {program}, which cannot be seen here: where they drop forwarded packets, nothing gets in \
         or out until they let bridges named cb* pass (`{program} -I FORWARD -i cb+ -j ACCEPT`, the same with `-o`)"
    ))
}

/// The host's UDP ports that lead elsewhere than they did.
fn moved(before: &[Published], now: &[Published]) -> BTreeSet<u16> {
    let only_in = |one: &[Published], other: &[Published]| -> Vec<u16> {
        let udp = one.iter().filter(|port| port.protocol == Protocol::Udp && !other.contains(port));
        udp.map(|port| port.host_port).collect()
    };
    only_in(before, now).into_iter().chain(only_in(now, before)).collect()
}

/// A function of the stack's name, and the name itself where it is short enough.
fn table_name(stack: &str) -> CString {
    let fits = stack.len() <= NAME && !stack.contains('\0');
    let name = if fits {
        format!("{}{stack}", chains::OWN)
    } else {
        let digest = Sha256::digest(stack);
        let hash: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        format!("{}{hash}", chains::OWN)
    };
    CString::new(name).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn udp(host_port: u16, last: u8) -> Published {
        let to_v4 = Some(Ipv4Addr::new(10, 0, 0, last));
        Published { host_ip: None, host_port, protocol: Protocol::Udp, to_v4, to_v6: None, port: 53 }
    }

    #[test]
    fn a_table_is_named_after_its_stack() {
        assert_eq!(table_name("shop").to_str(), Ok("compose-shop"));
        let long = "x".repeat(300);
        let name = table_name(&long);
        assert!(name.as_bytes().len() < NAME && name != table_name(&"x".repeat(301)));
    }

    #[test]
    fn ports_have_moved_that_come_go_or_lead_elsewhere() {
        let (before, now) = ([udp(1, 1), udp(2, 2), udp(3, 3)], [udp(2, 2), udp(3, 4), udp(5, 5)]);
        assert_eq!(moved(&before, &now).into_iter().collect::<Vec<_>>(), [1, 3, 5]);
    }
}
