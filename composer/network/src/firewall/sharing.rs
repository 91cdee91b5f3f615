//! Who else is on a bridge: every stack's table names the bridges of its networks.

use std::collections::BTreeSet;
use std::ffi::{CStr, CString};
use std::io;

use netlink_bindings::nftables::Request;
use netlink_socket2::NetlinkSocket;

use super::rule::header;
use super::{chains, table};

/// The bridges that tables of other stacks have rules about.
pub(super) fn of_others(socket: &mut NetlinkSocket, own: &CStr) -> io::Result<BTreeSet<String>> {
    let mut bridges = BTreeSet::new();
    for table in tables(socket)?.into_iter().filter(|table| table.as_c_str() != own) {
        match bridges_in(socket, &table) {
            // It has gone meanwhile.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
            found => bridges.extend(found?),
        }
    }
    Ok(bridges)
}

/// The tables of stacks, told by the chain that guards the loopback.
fn tables(socket: &mut NetlinkSocket) -> io::Result<BTreeSet<CString>> {
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
