//! A host that forwards for its stacks is no router for strangers.
//!
//! Where composer has turned forwarding on, one table for the whole host lets nothing pass between interfaces that were
//! there before and did not forward: between them all is as it was. What comes from or goes to a bridge passes, and
//! what comes from or goes to an interface that was made later, as whoever makes one (Docker, a VPN) may rely on
//! forwarding that is on already. An interface is known by its name, which it has again when it is made anew, and by its
//! index, which it keeps when it is renamed:
//!
//! ```text
//! table inet compose-host.forward {
//!     set closed4 / index4 / closed6 / index6
//!     chain forward { forward, filter; iifkind bridge accept; oifkind bridge accept;
//!                     iifname @closed4 oifname @closed4 drop, for IPv4; the same with iif @index4, with oif @index4 and
//!                     with both, and all of it for IPv6 }
//! }
//! ```

use std::collections::BTreeSet;
use std::ffi::CStr;
use std::{fs, io};

use netlink_bindings::nftables::{MetaKeys, Request};
use netlink_socket2::NetlinkSocket;
use nix::net::if_::if_nametoindex;

use super::rule::{Family, INET, Rule};
use super::set::{self, Set};
use super::transaction::Transactions;
use super::{chains, legacy, table};
use crate::nftables::batch_header;

/// With a dot, which no stack's name has.
pub(super) const TABLE: &CStr = c"compose-host.forward";
const CHAIN: &CStr = c"forward";
const CONF_V4: &str = "/proc/sys/net/ipv4/conf";
const CONF_V6: &str = "/proc/sys/net/ipv6/conf";
/// Forwarding and source addresses are changed there (NF_INET_FORWARD and NF_INET_POST_ROUTING, linux/netfilter.h).
const ROUTERS: [u32; 2] = [2, 4];

/// The interfaces that packets of IPv4 are not forwarded from.
pub(super) fn closed_v4() -> BTreeSet<String> {
    let is_closed = |name: &String| {
        fs::read_to_string(format!("{CONF_V4}/{name}/forwarding")).is_ok_and(|value| value.trim() == "0")
    };
    interfaces(CONF_V4).filter(is_closed).collect()
}

/// The same of IPv6, where the host does not forward: all.
pub(super) fn closed_v6() -> BTreeSet<String> {
    interfaces(CONF_V6).collect()
}

/// What interfaces are known by however they come to be called.
pub(super) fn indices(names: &BTreeSet<String>) -> BTreeSet<u32> {
    names.iter().filter_map(|name| if_nametoindex(name.as_str()).ok()).collect()
}

fn interfaces(folder: &str) -> impl Iterator<Item = String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| !["all", "default", "lo"].contains(&name.as_str()))
}

/// Names and indices of interfaces.
type Closed<'a> = (&'a BTreeSet<String>, &'a BTreeSet<u32>);

/// Lets nothing pass between these interfaces.
pub(super) fn keep_out(v4: Closed<'_>, v6: Closed<'_>) -> io::Result<()> {
    let mut transactions = Transactions::default();
    let mut batch = transactions.begin();
    batch.request().op_batch_begin_do(&batch_header());
    table::begin_anew(&mut batch, TABLE);
    let closed = [
        (Family::V4, v4, [c"closed4", c"index4"], [1, 2]),
        (Family::V6, v6, [c"closed6", c"index6"], [3, 4]),
    ];
    for (_, (names, indices), sets, ids) in &closed {
        let names = names.iter().map(|interface| set::name(interface)).collect();
        let indices = indices.iter().map(|interface| set::index(*interface)).collect();
        Set { name: sets[0], kind: set::NAMES, elements: names }.make(&mut batch, TABLE, ids[0]);
        Set { name: sets[1], kind: set::INDICES, elements: indices }.make(&mut batch, TABLE, ids[1]);
    }
    table::forward_chain(&mut batch, TABLE, CHAIN);
    for kind in [MetaKeys::Iifkind, MetaKeys::Oifkind] {
        Rule::append(&mut batch, TABLE, CHAIN).kind(kind, "bridge").accept();
    }
    for (family, _, [names, indices], _) in closed {
        for (from_index, to_index) in [(false, false), (false, true), (true, false), (true, true)] {
            let rule = Rule::append(&mut batch, TABLE, CHAIN).family(family);
            let rule = if from_index { rule.iif(indices) } else { rule.iifname(names) };
            let rule = if to_index { rule.oif(indices) } else { rule.oifname(names) };
            rule.drop();
        }
    }
    batch.request().op_batch_end_do(&batch_header());
    transactions.commit(batch)
}

/// Whether the table is there.
pub(super) fn are_kept_out() -> io::Result<bool> {
    table::is_there(&mut NetlinkSocket::new(), TABLE)
}

/// Takes the table away; that there is none is no error.
pub(super) fn let_in() -> io::Result<()> {
    match chains::generation(&mut NetlinkSocket::new())? {
        Some(_) => table::remove(&mut Transactions::default(), TABLE),
        None => Ok(()),
    }
}

/// Who else forwards or changes source addresses: base chains of others, and tables of iptables-legacy.
pub(super) fn routers() -> io::Result<BTreeSet<String>> {
    let mut routers = BTreeSet::new();
    for path in legacy::NAMES {
        let names = fs::read_to_string(path).unwrap_or_default();
        routers.extend(names.lines().map(|name| format!("{path} {name}")));
    }
    let mut socket = NetlinkSocket::new();
    if chains::generation(&mut socket)?.is_none() {
        return Ok(routers);
    }
    let request = Request::new().op_getchain_dump(&crate::nftables::header(0));
    let mut reply = socket.request(&request)?;
    while let Some(answer) = reply.recv() {
        let (header, chain) = answer?;
        let hook = chain.get_hook().and_then(|hook| hook.get_num());
        let (Ok(hook), Ok(table), Ok(name)) = (hook, chain.get_table(), chain.get_name()) else { continue };
        let family = header.nfgen_family;
        let routes = [chains::IPV4, chains::IPV6, INET].contains(&family);
        if routes && ROUTERS.contains(&hook) && !table.to_bytes().starts_with(chains::OWN.as_bytes()) {
            routers.insert(format!("{family} {} {}", table.to_string_lossy(), name.to_string_lossy()));
        }
    }
    Ok(routers)
}
