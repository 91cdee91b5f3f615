//! Rules of ours in the chains of others.
//!
//! An accept in a table of our own does not help where another chain of the forward hook drops what it does not know
//! (Docker, ufw, firewalld, a policy): every chain must let a packet pass. Each that would not gets rules, with the
//! bridge's name in their comment, by which they are found again:
//!
//! ```text
//! iifname BRIDGE oifname BRIDGE counter accept comment "composer:BRIDGE"
//! iifname BRIDGE counter accept comment "composer:BRIDGE out"
//! oifname BRIDGE counter accept comment "composer:BRIDGE in"
//! ```
//!
//! Within Docker's own chain those for what leaves the bridge are preceded by
//!
//! ```text
//! iifname BRIDGE oifname UPLINK counter accept comment "composer:BRIDGE out to UPLINK"
//! iifname BRIDGE oifname "docker*" counter return comment "composer:BRIDGE out docker"
//! iifname BRIDGE oifname "br-*" counter return comment "composer:BRIDGE out br-"
//! ```
//!
//! so that it is Docker's rules that decide about what its bridges are sent: an accept would open every port of its
//! containers. By name, as iptables shows, checks and deletes nothing in a chain in which it does not know a match (as
//! it does not know `meta oifkind`); an uplink is a default route's interface of such a name.
//!
//! The first is at the head, and only where bridged frames pass the firewall as if they were routed (br_netfilter):
//! nobody else has a say in what one container tells another. It is the only one that a network has which is internal. The
//! others are as far down as they help: before the
//! first rule that decides on every packet, so that what others have forbidden stays forbidden. They may be this wide,
//! as the stack's own table is passed too, and drops what is neither an answer nor published.
//!
//! Rules of others are neither changed nor moved. Those of iptables-legacy are not seen by nf_tables: ours among them are
//! made by its own programs ([`super::legacy_rules`]).

use std::collections::BTreeSet;
use std::ffi::CString;
use std::{fs, io};

use netlink_bindings::nftables::{Chained, CmpOps, MetaKeys, VerdictCode};
use netlink_socket2::NetlinkSocket;

use super::chains::{self, Chain, Chains, IPV4, IPV6, Place};
use super::{Rules, legacy_rules, open};
use crate::nftables::{batch_header, compare, header, load_meta, verdict};

/// Whether bridged packets pass the firewall; per network namespace, absent without br_netfilter
/// (Documentation/networking/ip-sysctl.rst).
pub(super) const CALLS: [(u8, &str); 2] = [
    (IPV4, "/proc/sys/net/bridge/bridge-nf-call-iptables"),
    (IPV6, "/proc/sys/net/bridge/bridge-nf-call-ip6tables"),
];
/// How often the rules of others may change between the look at them and the transaction.
const ATTEMPTS: usize = 16;

/// What the names of Docker's bridges begin with.
const OF_DOCKER: [&str; 2] = ["docker", "br-"];

/// What of a bridge's traffic is to pass.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Way {
    Within,
    /// Out by a default route's interface.
    Uplink(String),
    /// Not by this, but as Docker has it: what goes to interfaces with such names.
    Docker(&'static str),
    Out,
    In,
}

/// A rule that a bridge is to have.
#[derive(Debug, Clone)]
struct Wanted {
    bridge: String,
    way: Way,
    /// AF_INET or AF_INET6.
    family: u8,
}

enum Change {
    Insert { at: Chain, place: Place, wanted: Wanted },
    Delete { from: Chain, handle: u64 },
}

/// Lets traffic within the bridge pass, unless it does already, in the thread's namespace.
pub(crate) fn within(bridge: &str) -> io::Result<()> {
    let calls = super::bridged();
    let wanted: Vec<_> = of_within(bridge, calls).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    // What cannot be done is told with the rules for what is forwarded.
    let _ = legacy_rules::within(bridge, calls);
    insert(&mut NetlinkSocket::new(), &wanted).map(drop)
}

/// Lets pass what the networks' containers say to each other, where that passes the firewall, and what those of networks
/// that are not internal ask for outside and are let in to. Returned are the chains that take no rule of ours, and why.
pub(super) fn pass(socket: &mut NetlinkSocket, rules: &Rules) -> io::Result<Vec<(String, io::Error)>> {
    insert(socket, &wanted(rules))
}

/// Inserts those that are not there yet, wherever that can be done.
fn insert(socket: &mut NetlinkSocket, wanted: &[Wanted]) -> io::Result<Vec<(String, io::Error)>> {
    if wanted.is_empty() || change(socket, |chains| missing(chains, wanted)).is_ok() {
        return Ok(Vec::new());
    }
    // One that belongs to somebody (of firewalld, for one) does not keep ours out of the others.
    let mut homes: Vec<Chain> = Vec::new();
    change(socket, |chains| {
        homes.clear();
        for base in chains.that_may_drop()? {
            homes.push(chains.home(&base)?);
        }
        Ok(Vec::new())
    })?;
    let mut refusals = Vec::new();
    for home in homes {
        let only_there = |chains: &mut Chains<'_>| {
            let mut changes = missing(chains, wanted)?;
            changes.retain(|change| matches!(change, Change::Insert { at, .. } if at.is(&home)));
            Ok(changes)
        };
        if let Err(error) = change(socket, only_there) {
            refusals.push((home.to_string(), error));
        }
    }
    Ok(refusals)
}

/// How many rules that are wanted for these are not there.
pub(super) fn lacking(socket: &mut NetlinkSocket, rules: &Rules) -> io::Result<usize> {
    let wanted = wanted(rules);
    let mut lacking = 0;
    change(socket, |chains| {
        lacking = missing(chains, &wanted)?.len();
        Ok(Vec::new())
    })?;
    Ok(lacking)
}

fn wanted(rules: &Rules) -> Vec<Wanted> {
    let mut wanted: Vec<Wanted> =
        rules.networks.iter().flat_map(|net| of_within(&net.bridge, rules.bridged)).collect();
    let mut ways: Vec<Way> = uplinks().into_iter().map(Way::Uplink).collect();
    ways.extend(OF_DOCKER.map(Way::Docker));
    ways.extend([Way::Out, Way::In]);
    for (bridge, v4, v6) in open(rules) {
        for family in [(IPV4, v4), (IPV6, v6)].into_iter().filter(|(_, has)| *has).map(|(family, _)| family) {
            wanted.extend(ways.iter().map(|way| Wanted {
                bridge: bridge.to_owned(),
                way: way.clone(),
                family,
            }));
        }
    }
    wanted
}

/// The rules for what is within a bridge, of the families whose frames pass the firewall.
fn of_within(bridge: &str, bridged: [bool; 2]) -> impl Iterator<Item = Wanted> {
    let called = CALLS.into_iter().zip(bridged).filter(|(_, calls)| *calls);
    called.map(move |((family, _), _)| Wanted { bridge: bridge.to_owned(), way: Way::Within, family })
}

/// Removes the rules of these bridges, in whichever chain they are; that there are none is no error. The socket is
/// returned for its close, which waits for the kernel to free what was removed.
pub(crate) fn withdraw(bridges: &[&str]) -> io::Result<NetlinkSocket> {
    let mut socket = NetlinkSocket::new();
    let changed = change(&mut socket, |chains| present(chains, |bridge, _| bridges.contains(&bridge)));
    legacy_rules::withdraw(|bridge, _| bridges.contains(&bridge)).and(changed)?;
    Ok(socket)
}

/// Removes all rules of the stack's own bridges, and of those that it leaves to others the ones for what is forwarded.
pub(super) fn withdraw_of(socket: &mut NetlinkSocket, own: &[String], left: &[&String]) -> io::Result<()> {
    let is_own = |bridge: &str| own.iter().any(|name| name == bridge);
    let is_left = |bridge: &str| left.iter().any(|name| *name == bridge);
    let is_gone = |bridge: &str, of_within: bool| is_own(bridge) || (!of_within && is_left(bridge));
    let changed = change(socket, |chains| present(chains, is_gone));
    legacy_rules::withdraw(is_gone).and(changed)
}

/// Makes changes in one transaction, which holds only if nothing has changed since they were decided upon.
fn change(
    socket: &mut NetlinkSocket,
    mut decide: impl FnMut(&mut Chains<'_>) -> io::Result<Vec<Change>>,
) -> io::Result<()> {
    for attempt in 1.. {
        let Some(generation) = chains::generation(socket)? else { break };
        let decided = Chains::list(socket, chains::FORWARD_HOOK).and_then(|mut chains| decide(&mut chains));
        let outcome = decided.and_then(|changes| {
            // What was listed while it changed may be incomplete, which a transaction would be refused for.
            if changes.is_empty() && chains::generation(socket)? != Some(generation) {
                return Err(io::Error::from_raw_os_error(libc::ERESTART));
            }
            commit(socket, generation, &changes)
        });
        match outcome.as_ref().map_err(io::Error::raw_os_error) {
            // Refused for its generation, or a table was gone before its rules were listed.
            Err(Some(libc::ERESTART | libc::ENOENT)) if attempt < ATTEMPTS => {}
            _ => return outcome,
        }
    }
    Ok(())
}

/// The rules that are not there and should be.
fn missing(chains: &mut Chains<'_>, wanted: &[Wanted]) -> io::Result<Vec<Change>> {
    let mut missing = Vec::new();
    for base in chains.that_may_drop()? {
        let at = chains.home(&base)?;
        let is_docker = at != base;
        let concerns = |wanted: &&Wanted| {
            base.sees(wanted.family) && (is_docker || !matches!(wanted.way, Way::Uplink(_) | Way::Docker(_)))
        };
        let wanted: Vec<&Wanted> = wanted.iter().filter(concerns).collect();
        let mut there: Vec<(String, u64)> = Vec::new();
        there.extend(chains.rules(&at)?.iter().filter_map(|rule| Some((rule.tag.clone()?, rule.handle))));
        // Their order counts: where one is missing, all that let a bridge's traffic out are put there anew.
        let is_there = |tag: &String| there.iter().any(|(other, _)| other == tag);
        let torn: Vec<&str> = wanted
            .iter()
            .filter(|wanted| wanted.leads_out() && !is_there(&wanted.tag()))
            .map(|wanted| wanted.bridge.as_str())
            .collect();
        let anew: Vec<String> = wanted
            .iter()
            .filter(|wanted| wanted.leads_out() && torn.contains(&wanted.bridge.as_str()))
            .map(|wanted| wanted.tag())
            .collect();
        let stale = there.iter().filter(|(tag, _)| anew.contains(tag));
        missing.extend(stale.map(|(_, handle)| Change::Delete { from: at.clone(), handle: *handle }));
        there.retain(|(tag, _)| !anew.contains(tag));
        let mut added: Vec<String> = Vec::new();
        for wanted in wanted {
            let tag = wanted.tag();
            if there.iter().any(|(other, _)| *other == tag) || added.contains(&tag) {
                continue;
            }
            let place = match wanted.way {
                Way::Within => Place::Head,
                Way::Uplink(_) | Way::Docker(_) | Way::Out | Way::In => chains.last_place(&at)?,
            };
            added.push(tag);
            missing.push(Change::Insert { at: at.clone(), place, wanted: wanted.clone() });
        }
    }
    Ok(missing)
}

/// The rules that are there and of which the name of their bridge, and whether it is for traffic within, say so.
fn present(chains: &mut Chains<'_>, is_meant: impl Fn(&str, bool) -> bool) -> io::Result<Vec<Change>> {
    let mut present = Vec::new();
    for chain in chains.all.clone() {
        let ours = chains.rules(&chain)?.iter().filter(|rule| {
            rule.tag.as_deref().is_some_and(|tag| {
                let bridge = chains::bridge_of(tag);
                is_meant(bridge, bridge == tag)
            })
        });
        present.extend(ours.map(|rule| Change::Delete { from: chain.clone(), handle: rule.handle }));
    }
    Ok(present)
}

fn commit(socket: &mut NetlinkSocket, generation: u32, changes: &[Change]) -> io::Result<()> {
    if changes.is_empty() {
        return Ok(());
    }
    let mut batch = chains::begin(socket, changes.len(), generation);
    for change in changes {
        match change {
            Change::Insert { at, place, wanted } => wanted.insert(&mut batch, at, *place)?,
            Change::Delete { from, handle } => {
                batch
                    .request()
                    .op_delrule_do(&header(from.family))
                    .encode()
                    .push_table(&from.table)
                    .push_chain(&from.name)
                    .push_handle(*handle);
            }
        }
    }
    batch.request().op_batch_end_do(&batch_header());
    socket.request_chained(&batch.finalize())?.recv_all().map_err(io::Error::from)
}

/// Interfaces of default routes that have names as Docker's bridges have, in the thread's namespace.
fn uplinks() -> BTreeSet<String> {
    let read = |file: &str| fs::read_to_string(format!("/proc/thread-self/net/{file}")).unwrap_or_default();
    let (v4, v6) = (read("route"), read("ipv6_route"));
    // Interface, destination, gateway, flags, counters, metric and mask (fib_route_seq_show, net/ipv4/fib_trie.c).
    let v4 = v4.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let v4 = v4.filter(|fields| fields.get(1) == Some(&"00000000") && fields.get(7) == Some(&"00000000"));
    // Destination and its prefix length, and the interface at the end (rt6_info_route, net/ipv6/route.c).
    let v6 = v6.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let v6 = v6.filter(|fields| fields.get(1) == Some(&"00"));
    let names =
        v4.filter_map(|fields| fields.first().copied()).chain(v6.filter_map(|fields| fields.last().copied()));
    let like_docker = names.filter(|name| OF_DOCKER.iter().any(|prefix| name.starts_with(prefix)));
    like_docker.map(str::to_owned).collect()
}

impl Wanted {
    fn leads_out(&self) -> bool {
        matches!(self.way, Way::Uplink(_) | Way::Docker(_) | Way::Out)
    }

    fn tag(&self) -> String {
        match &self.way {
            Way::Within => self.bridge.clone(),
            Way::Uplink(name) => format!("{} out to {name}", self.bridge),
            Way::Docker(prefix) => format!("{} out {prefix}", self.bridge),
            Way::Out => format!("{} out", self.bridge),
            Way::In => format!("{} in", self.bridge),
        }
    }

    fn insert(&self, batch: &mut Chained<'static>, chain: &Chain, place: Place) -> io::Result<()> {
        let name = CString::new(self.bridge.as_str())?;
        let request = batch.request().set_create();
        let request = if place == Place::End { request.set_append() } else { request };
        let rule = request.op_newrule_do(&header(chain.family)).into_encoder();
        let rule = rule.push_table(&chain.table).push_chain(&chain.name);
        // Without a position and not appended it goes to the head of its chain, with one before that.
        let rule = if let Place::Before(handle) = place { rule.push_position(handle) } else { rule };
        let mut expressions = rule.push_userdata(&chains::tagged(&self.tag())?).nested_expressions();
        // With its NUL, or every longer name that begins with it would match.
        let name = name.as_bytes_with_nul();
        let from = |to| vec![(MetaKeys::Iifname, name.to_vec()), (MetaKeys::Oifname, to)];
        let matched: Vec<(MetaKeys, Vec<u8>)> = match &self.way {
            Way::Within => from(name.to_vec()),
            Way::Uplink(uplink) => from(CString::new(uplink.as_str())?.into_bytes_with_nul()),
            Way::Docker(prefix) => from(prefix.as_bytes().to_vec()),
            Way::Out => vec![(MetaKeys::Iifname, name.to_vec())],
            Way::In => vec![(MetaKeys::Oifname, name.to_vec())],
        };
        for (key, text) in matched {
            expressions = compare(load_meta(expressions, key), CmpOps::Eq, &text);
        }
        let counted = expressions.nested_elem().nested_data_counter().end_nested().end_nested();
        let code = match self.way {
            Way::Docker(_) => VerdictCode::Return,
            Way::Within | Way::Uplink(_) | Way::Out | Way::In => VerdictCode::Accept,
        };
        verdict(counted, code).end_nested();
        Ok(())
    }
}
