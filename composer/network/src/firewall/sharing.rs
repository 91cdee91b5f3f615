//! Who else is on a bridge: every stack's table names the bridges of its networks.
//!
//! The kernel lists tables and what is in them a part at a time, while others go on to change them.

use std::collections::BTreeSet;
use std::ffi::{CStr, CString};
use std::io;

use netlink_bindings::nftables::Request;
use netlink_socket2::NetlinkSocket;

use super::rule::header;
use super::{chains, table};

/// How often others may change something while it is read.
const ATTEMPTS: usize = 16;

/// The bridges that tables of other stacks have rules about.
pub(super) fn of_others(socket: &mut NetlinkSocket, own: &CStr) -> io::Result<BTreeSet<String>> {
    let mut bridges = BTreeSet::new();
    for table in tables(socket)?.into_iter().filter(|table| table.as_c_str() != own) {
        bridges.extend(bridges_of(socket, &table)?);
    }
    Ok(bridges)
}

/// The tables of stacks, and some of those that have gone meanwhile.
fn tables(socket: &mut NetlinkSocket) -> io::Result<BTreeSet<CString>> {
    let mut tables = BTreeSet::new();
    for _ in 0..ATTEMPTS {
        let generation = chains::generation(socket)?;
        tables.append(&mut listed(socket)?);
        // Where one goes the list goes on by its number in the list, and one that stays is left out.
        if chains::generation(socket)? == generation {
            break;
        }
    }
    Ok(tables)
}

/// Those in one list, told by the chain that guards the loopback.
fn listed(socket: &mut NetlinkSocket) -> io::Result<BTreeSet<CString>> {
    let request = Request::new().op_getchain_dump(&header());
    let mut reply = socket.request(&request)?;
    let mut tables = BTreeSet::new();
    while let Some(answer) = reply.recv() {
        let (_, chain) = answer?;
        let (Ok(table), Ok(name)) = (chain.get_table(), chain.get_name()) else { continue };
        if name == table::GUARD && table.to_bytes().starts_with(chains::OWN.as_bytes()) {
            tables.insert(table.to_owned());
        }
    }
    Ok(tables)
}

/// The bridges that a table has rules about; none where it has gone. One that is replaced while it is read is read again:
/// the kernel ends the list of a set that has gone with ENOENT (nf_tables_dump_set in net/netfilter/nf_tables_api.c), which
/// netlink-socket2 0.3 takes for a message that was cut off, as it wants a copy of the request behind every error.
fn bridges_of(socket: &mut NetlinkSocket, table: &CStr) -> io::Result<BTreeSet<String>> {
    for attempt in 1.. {
        match bridges_in(socket, table) {
            Err(_) if !table::is_there(socket, table)? => break,
            Err(_) if attempt < ATTEMPTS => {}
            found => return found,
        }
    }
    Ok(BTreeSet::new())
}

fn bridges_in(socket: &mut NetlinkSocket, table: &CStr) -> io::Result<BTreeSet<String>> {
    let mut request = Request::new().op_getsetelem_dump(&header());
    request.encode().push_table(table).push_set(table::BRIDGES);
    let mut reply = socket.request(&request)?;
    let mut bridges = BTreeSet::new();
    while let Some(answer) = reply.recv() {
        let (_, set) = answer?;
        let Ok(elements) = set.get_elements() else { continue };
        for element in elements.get_elem() {
            let Ok(name) = element.get_key().and_then(|key| key.get_value()) else { continue };
            let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
            bridges.insert(String::from_utf8_lossy(&name[..end]).into_owned());
        }
    }
    Ok(bridges)
}
