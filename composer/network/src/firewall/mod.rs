//! What the kernel does with packets on their way between a stack's networks and everything else: a table of nf_tables
//! a stack ([`table`]), rules of ours where others' chains would drop ([`acceptance`]), forwarding ([`Forwarding`]).

pub(crate) mod acceptance;
mod chains;
mod forwarding;
mod legacy;
mod legacy_rules;
mod outgoing;
mod rule;
mod set;
mod sharing;
mod strangers;
mod table;
mod tracked;
mod transaction;
mod watch;

use std::ffi::CString;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::{fs, io};

use ipnet::IpNet;
use netlink_socket2::NetlinkSocket;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

pub use forwarding::Forwarding;
pub use outgoing::{Dropping, dropping};
pub use tracked::addresses_of_host;
use transaction::Transactions;
pub use watch::Watch;

/// The length of a table's name that no tool cuts (NFT_NAME_MAXLEN, linux/netfilter/nf_tables.h, is far above).
const NAME: usize = 64;
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
    /// The ports of containers that run that are open at their own addresses.
    pub direct: Vec<Direct>,
    /// Whether frames within a bridge pass the firewall, of IPv4 and of IPv6: see [`bridged`].
    pub bridged: [bool; 2],
}

/// Whether frames within a bridge pass the firewall as if they were routed, in the thread's namespace.
pub fn bridged() -> [bool; 2] {
    acceptance::CALLS.map(|(_, path)| fs::read_to_string(path).is_ok_and(|value| value.trim() != "0"))
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
    /// Whether those who know the way reach its containers at their own addresses, over IPv4 and over IPv6.
    pub unprotected: [bool; 2],
    /// Whether its containers are known outside by their own addresses, at which published ports are open, over IPv4 and
    /// over IPv6.
    pub routed: [bool; 2],
    /// The addresses that what leaves it gets in place of that of the interface it leaves by, of IPv4 and of IPv6.
    pub source: [Option<IpAddr>; 2],
    /// The host's interfaces by which published ports are reached at the containers' own addresses.
    pub trusted: Vec<String>,
}

/// A port that is open at a container's own address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Direct {
    /// The container's address.
    pub address: IpAddr,
    /// The protocol.
    pub protocol: Protocol,
    /// The container's port.
    pub port: u16,
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
    /// Rules that chains of others have not taken.
    refused: usize,
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
    /// Whether what leaves it gets the address of the interface it leaves by, of IPv4 (0) or IPv6 (1).
    fn masquerades(&self, family: usize) -> bool {
        self.hides(family) && self.source[family].is_none()
    }

    /// Whether what leaves it gets an address of the host's.
    fn hides(&self, family: usize) -> bool {
        self.masquerade && !self.internal && !self.routed[family]
    }

    /// The address that it gets, of each family, where one is chosen.
    fn sources(&self) -> [Option<IpAddr>; 2] {
        [0, 1].map(|family| self.source[family].filter(|_| self.hides(family)))
    }

    fn has_v4(&self) -> bool {
        self.subnets.iter().any(|subnet| subnet.addr().is_ipv4())
    }

    fn has_v6(&self) -> bool {
        self.subnets.iter().any(|subnet| subnet.addr().is_ipv6())
    }
}

impl Published {
    /// Whether it is published at ::1, where the proxy serves it.
    fn is_at_loopback_v6(&self) -> bool {
        let v6 = |address: IpAddr| address.is_ipv6() && (address.is_unspecified() || address.is_loopback());
        self.host_ip.is_none_or(v6)
    }
}

impl Firewall {
    /// For this stack; nothing is done yet.
    pub fn new(stack: &str) -> Self {
        let (socket, transactions) = (NetlinkSocket::new(), Transactions::default());
        Self { table: table_name(stack), socket, transactions, applied: Rules::default(), refused: 0 }
    }

    /// Makes the stack's table what the rules say, in one transaction, lets its bridges' traffic pass others' chains,
    /// and takes 127.0.0.1 to be a source on the bridges. Connections and flows that are under way stay, but flows of
    /// UDP to a port that now leads elsewhere. What could not be done besides the table is returned, for users.
    ///
    /// # Errors
    /// When the kernel refuses the table: then it is as it was, and the stack needs [`crate::proxy`].
    pub fn apply(&mut self, rules: &Rules) -> Result<Vec<String>> {
        let is_in = |net: &Net, rules: &Rules| rules.networks.iter().any(|other| other.bridge == net.bridge);
        let gone: Vec<String> = bridges(&self.applied, |net| !is_in(net, rules));
        self.forsake(&[], &gone).map_err(|error| failed("set up the stack's table in", error))?;
        if let Err(error) = table::replace(&mut self.transactions, &self.table, rules) {
            // Nothing guards the loopback from what comes by these.
            let unguarded: Vec<String> = bridges(rules, |net| !is_in(net, &self.applied));
            let _ = self.forsake(&[], &unguarded);
            return Err(failed("set up the stack's table in", error));
        }
        let mut warnings = Vec::new();
        for net in rules.networks.iter().filter(|net| net.has_v4() && !net.internal) {
            if let Err(error) = loopback(&net.bridge, true) {
                warnings.push(format!(
                    "published ports are not reached at 127.0.0.1 by the kernel: cannot write {}: {error}",
                    route_localnet(&net.bridge)
                ));
            }
        }
        let refusals = match acceptance::pass(&mut self.socket, rules) {
            Ok(refusals) => refusals,
            Err(error) => vec![("a chain of others".to_owned(), error)],
        };
        self.refused = match refusals.is_empty() {
            true => 0,
            false => acceptance::lacking(&mut self.socket, rules).unwrap_or(usize::MAX),
        };
        warnings.extend(refusals.into_iter().map(|(chain, error)| unpassed(&chain, &error, rules)));
        let open = open(rules);
        warnings.extend(legacy_rules::pass(&bridges(rules, |_| true), rules.bridged, &open));
        if rules.published.iter().any(Published::is_at_loopback_v6) {
            let dropping = open.iter().flat_map(|(bridge, v4, v6)| dropping(bridge, [*v4, *v6]));
            warnings.extend(dropping.map(|dropping| dropping.to_string()));
        }
        let moved = moved(&self.applied.published, &rules.published);
        warnings.extend(self.forget(&moved));
        self.applied = rules.clone();
        Ok(warnings)
    }

    /// Watches for others who take the stack's rules away.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn watch(&mut self) -> Result<Watch> {
        let own = self.transactions.port().map_err(|error| failed("watch the rules of", error))?;
        Watch::new(&self.table, own)
    }

    /// Whether something of what was last applied is not there any more, or does not suit the host any more.
    ///
    /// # Errors
    /// When the kernel refuses to list it.
    pub fn has_lost(&mut self) -> Result<bool> {
        let failed = |error| failed("list the stack's rules in", error);
        if self.applied.bridged != bridged()
            || !table::is_there(&mut self.socket, &self.table).map_err(failed)?
        {
            return Ok(true);
        }
        let lacking = acceptance::lacking(&mut self.socket, &self.applied).map_err(failed)?;
        Ok(lacking > self.refused)
    }

    /// Takes all of it away, with whatever was let pass for the stack's own bridges, and into and out of those that it shared where no
    /// other stack is on them; that there is nothing is no error. What fails does not keep the rest.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn remove(&mut self, own: &[String], shared: &[String]) -> Result<()> {
        let failed = |error| failed("remove the stack's rules from", error);
        if chains::generation(&mut self.socket).map_err(failed)?.is_none() {
            return Ok(());
        }
        // Before the table that guards it.
        let forsaken = self.forsake(own, shared);
        let removed = table::remove(&mut self.transactions, &self.table);
        // Who left in the same moment has seen this stack's table, as this one has seen theirs.
        let again = self.forsake(&[], shared);
        let moved = moved(&self.applied.published, &[]);
        // A flow that is left over leads nowhere.
        let _ = self.forget(&moved);
        self.applied = Rules::default();
        removed.and(forsaken).and(again).map_err(failed)
    }

    /// Lets nothing pass for these bridges any more, and takes 127.0.0.1 to be nobody on them: without a table that
    /// guards it, containers would reach what the host has on its loopback (CVE-2020-8558). Where other stacks are on
    /// a shared one they guard it, and go on to need it.
    fn forsake(&mut self, own: &[String], shared: &[String]) -> io::Result<()> {
        let mut left = Vec::new();
        if !shared.is_empty() {
            let others = sharing::of_others(&mut self.socket, &self.table)?;
            left.extend(shared.iter().filter(|bridge| !others.contains(*bridge)));
        }
        if own.is_empty() && left.is_empty() {
            return Ok(());
        }
        let bridges = own.iter().chain(left.iter().copied());
        // All of them, whatever becomes of one.
        let closed = bridges.map(|bridge| loopback(bridge, false)).fold(Ok(()), Result::and);
        acceptance::withdraw_of(&mut self.socket, own, &left).and(closed)
    }

    /// Forgets flows to ports that lead elsewhere; else what to do about them.
    fn forget(&mut self, moved: &tracked::Moved) -> Option<String> {
        let error = tracked::forget(&mut self.socket, moved).err()?;
        let ports: Vec<String> = moved.keys().map(u16::to_string).collect();
        Some(format!(
            "clients of UDP may go on to be led to a container that was there before, as the kernel does not forget their \
             flows ({error}): `conntrack -D -p udp --orig-port-dst PORT` does, for {}",
            ports.join(", ")
        ))
    }
}

fn failed(doing: &'static str, error: io::Error) -> Error {
    Error::kernel(doing, "nf_tables", error)
}

/// The bridges that are not internal, with the families that are routed to them.
fn open(rules: &Rules) -> Vec<(&str, bool, bool)> {
    let open = rules.networks.iter().filter(|net| !net.internal);
    open.map(|net| (net.bridge.as_str(), net.has_v4(), net.has_v6())).collect()
}

fn bridges(rules: &Rules, chosen: impl Fn(&Net) -> bool) -> Vec<String> {
    rules.networks.iter().filter(|net| chosen(net)).map(|net| net.bridge.clone()).collect()
}

fn route_localnet(bridge: &str) -> String {
    format!("/proc/sys/net/ipv4/conf/{bridge}/route_localnet")
}

/// Whether 127.0.0.1 may be a source on a bridge.
fn loopback(bridge: &str, may: bool) -> io::Result<()> {
    let path = route_localnet(bridge);
    // Not written where it is right, so that a /proc that cannot be written to is only told of where it matters.
    if fs::read_to_string(&path).is_ok_and(|value| (value.trim() == "1") == may) {
        return Ok(());
    }
    match fs::write(path, if may { "1" } else { "0" }) {
        // The bridge has gone, and what comes by it with it.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// What users are told of chains that take no rules of ours.
fn unpassed(chain: &str, error: &io::Error, rules: &Rules) -> String {
    // What stays within an internal network passes the firewall only where bridged frames do.
    let names = bridges(rules, |net| !net.internal || rules.bridged.contains(&true));
    let commands: Vec<String> = names
        .iter()
        .map(|bridge| format!("`firewall-cmd --zone=trusted --add-interface={bridge}`"))
        .collect();
    format!(
        "{chain} may drop what the stack's containers send out and are sent, and no rule could be put there ({error}): \
         have it let pass {}; with firewalld {}",
        names.join(", "),
        commands.join(", ")
    )
}

/// Whether tables of nf_tables can be made, by one in the namespace that the process is in: to be one that goes with it.
///
/// # Errors
/// The kernel's refusal.
pub fn attempt() -> std::io::Result<()> {
    table::attempt()
}

/// The host's UDP ports that lead elsewhere than they did, with where they led and lead.
fn moved(before: &[Published], now: &[Published]) -> tracked::Moved {
    let mut moved = tracked::Moved::new();
    for (one, other) in [(before, now), (now, before)] {
        for port in one.iter().filter(|port| port.protocol == Protocol::Udp && !other.contains(port)) {
            let targets = [port.to_v4.map(IpAddr::V4), port.to_v6.map(IpAddr::V6)];
            moved.entry(port.host_port).or_default().extend(targets.into_iter().flatten());
        }
    }
    moved
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
        let moved = moved(&before, &now);
        assert_eq!(moved.keys().copied().collect::<Vec<_>>(), [1, 3, 5]);
        let targets = |last: &[u8]| last.iter().map(|last| Ipv4Addr::new(10, 0, 0, *last).into()).collect();
        assert_eq!(moved.get(&3), Some(&targets(&[3, 4])));
    }
}
