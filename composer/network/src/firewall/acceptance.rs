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
//! The first is at the head, and only where bridged frames pass the firewall as if they were routed (br_netfilter):
//! nobody else has a say in what one container tells another. The other two are as far down as they help: before the
//! first rule that decides on every packet, so that what others have forbidden stays forbidden. They may be this wide,
//! as the stack's own table is passed too, and drops what is neither an answer nor published.
//!
//! Rules of others are neither changed nor moved. Those of iptables-legacy are not seen by nf_tables and stay as they
//! are, with what they drop.

use std::ffi::CString;
use std::{fs, io};

use netlink_bindings::nftables::{Chained, CmpOps, MetaKeys};
use netlink_socket2::NetlinkSocket;

use super::chains::{self, Chain, Chains, IPV4, IPV6, Place};
use crate::nftables::{accept, batch_header, compare, header, load_meta};

/// Whether bridged packets pass the firewall; per network namespace, absent without br_netfilter
/// (Documentation/networking/ip-sysctl.rst).
const CALLS: [(u8, &str); 2] = [
    (IPV4, "/proc/sys/net/bridge/bridge-nf-call-iptables"),
    (IPV6, "/proc/sys/net/bridge/bridge-nf-call-ip6tables"),
];
/// How often the rules of others may change between the look at them and the transaction.
const ATTEMPTS: usize = 16;

/// What of a bridge's traffic is to pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Within,
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
    let calls =
        CALLS.into_iter().filter(|(_, path)| fs::read_to_string(path).is_ok_and(|value| value.trim() != "0"));
    let wanted: Vec<_> =
        calls.map(|(family, _)| Wanted { bridge: bridge.to_owned(), way: Way::Within, family }).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    change(&mut NetlinkSocket::new(), |chains| missing(chains, &wanted))
}

/// Lets pass what the bridges' containers ask for outside, and what is let in to them. A bridge comes with the
/// families that are routed to it. Returned are the chains that take no rule of ours, and why.
pub(super) fn beyond(
    socket: &mut NetlinkSocket,
    bridges: &[(&str, bool, bool)],
) -> io::Result<Vec<(String, io::Error)>> {
    let wanted = wanted(bridges);
    if wanted.is_empty() || change(socket, |chains| missing(chains, &wanted)).is_ok() {
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
            let mut changes = missing(chains, &wanted)?;
            changes.retain(|change| matches!(change, Change::Insert { at, .. } if at.is(&home)));
            Ok(changes)
        };
        if let Err(error) = change(socket, only_there) {
            refusals.push((home.to_string(), error));
        }
    }
    Ok(refusals)
}

/// How many rules for what is forwarded are not there.
pub(super) fn lacking(socket: &mut NetlinkSocket, bridges: &[(&str, bool, bool)]) -> io::Result<usize> {
    let wanted = wanted(bridges);
    let mut lacking = 0;
    change(socket, |chains| {
        lacking = missing(chains, &wanted)?.len();
        Ok(Vec::new())
    })?;
    Ok(lacking)
}

fn wanted(bridges: &[(&str, bool, bool)]) -> Vec<Wanted> {
    let mut wanted = Vec::new();
    for (bridge, v4, v6) in bridges {
        for family in [(IPV4, v4), (IPV6, v6)].into_iter().filter(|(_, has)| **has).map(|(family, _)| family)
        {
            wanted.extend([Way::Out, Way::In].map(|way| Wanted {
                bridge: (*bridge).to_owned(),
                way,
                family,
            }));
        }
    }
    wanted
}

/// Removes the rules of these bridges, in whichever chain they are; that there are none is no error. The socket is
/// returned for its close, which waits for the kernel to free what was removed.
pub(crate) fn withdraw(bridges: &[&str]) -> io::Result<NetlinkSocket> {
    let mut socket = NetlinkSocket::new();
    change(&mut socket, |chains| present(chains, |bridge, _| bridges.contains(&bridge)))?;
    Ok(socket)
}

/// Removes all rules of the stack's own bridges, and of those that it leaves to others the ones for what is forwarded.
pub(super) fn withdraw_of(socket: &mut NetlinkSocket, own: &[String], left: &[&String]) -> io::Result<()> {
    let is_own = |bridge: &str| own.iter().any(|name| name == bridge);
    let is_left = |bridge: &str| left.iter().any(|name| *name == bridge);
    change(socket, |chains| {
        present(chains, |bridge, of_within| is_own(bridge) || (!of_within && is_left(bridge)))
    })
}

/// Makes changes in one transaction, which holds only if nothing has changed since they were decided upon.
fn change(
    socket: &mut NetlinkSocket,
    mut decide: impl FnMut(&mut Chains<'_>) -> io::Result<Vec<Change>>,
) -> io::Result<()> {
    for attempt in 1.. {
        let Some(generation) = chains::generation(socket)? else { break };
        let decided = Chains::list(socket).and_then(|mut chains| decide(&mut chains));
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
        let there: Vec<_> = chains.rules(&at)?.iter().filter_map(|rule| rule.tag.clone()).collect();
        let mut added: Vec<String> = Vec::new();
        for wanted in wanted.iter().filter(|wanted| base.sees(wanted.family)) {
            let tag = wanted.tag();
            if there.contains(&tag) || added.contains(&tag) {
                continue;
            }
            let place = match wanted.way {
                Way::Within => Place::Head,
                Way::Out | Way::In => chains.last_place(&at)?,
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

impl Wanted {
    fn tag(&self) -> String {
        match self.way {
            Way::Within => self.bridge.clone(),
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
        let keys: &[MetaKeys] = match self.way {
            Way::Within => &[MetaKeys::Iifname, MetaKeys::Oifname],
            Way::Out => &[MetaKeys::Iifname],
            Way::In => &[MetaKeys::Oifname],
        };
        for key in keys {
            // With its NUL, or every longer name that begins with it would match.
            expressions = compare(load_meta(expressions, *key), CmpOps::Eq, name.as_bytes_with_nul());
        }
        let counted = expressions.nested_elem().nested_data_counter().end_nested().end_nested();
        accept(counted).end_nested();
        Ok(())
    }
}
