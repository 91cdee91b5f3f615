//! The sets and maps of a stack's table: what differs between stacks is in them, so that the rules are as many for a
//! thousand ports as for one, and a packet passes them in the same time.

use std::ffi::CStr;
use std::net::{IpAddr, SocketAddr};

use netlink_bindings::nftables::{Chained, SetFlags};

use super::rule::{header, octets};
use super::{Direct, Protocol, Published};

/// nft(8)'s numbers of data types (datatype.h), by which it prints elements; 6 bits each, the first highest.
const ADDRESS_V4: u32 = 7;
const ADDRESS_V6: u32 = 8;
const PROTOCOL: u32 = 12;
const SERVICE: u32 = 13;
const INDEX: u32 = 20;
const INTERFACE: u32 = 41;
/// IFNAMSIZ.
const NAME: usize = 16;
/// What is said of a set of names or indices to nft(8), which else prints empty names, that no `nft -f` reads: NFTNL_UDATA_SET_KEYBYTEORDER
/// (libnftnl's udata.h), its length, and BYTEORDER_HOST_ENDIAN (nft's datatype.h) as the host has it.
const KEYS_IN_HOST_ORDER: [u8; 6] = {
    let [a, b, c, d] = 1_u32.to_ne_bytes();
    [0, 4, a, b, c, d]
};
/// Elements in one message: the length of an attribute has 16 bits.
const ELEMENTS: usize = 256;

/// What a set is keyed by, and what a map has for it.
#[derive(Clone, Copy)]
pub(super) struct Kind {
    key: (u32, u32),
    value: Option<(u32, u32)>,
}

pub(super) const NAMES: Kind = Kind { key: (INTERFACE, NAME as u32), value: None };
pub(super) const INDICES: Kind = Kind { key: (INDEX, 4), value: None };
pub(super) const PAIRS: Kind = Kind { key: (INTERFACE << 6 | INTERFACE, 2 * NAME as u32), value: None };
/// An interface, and a protocol and port.
pub(super) const ENTRIES: Kind =
    Kind { key: (INTERFACE << 12 | PROTOCOL << 6 | SERVICE, NAME as u32 + 8), value: None };
/// An address, and a protocol and port.
pub(super) const DIRECT_V4: Kind =
    Kind { key: (ADDRESS_V4 << 12 | PROTOCOL << 6 | SERVICE, 12), value: None };
pub(super) const DIRECT_V6: Kind =
    Kind { key: (ADDRESS_V6 << 12 | PROTOCOL << 6 | SERVICE, 24), value: None };
const TO_V4: Option<(u32, u32)> = Some((ADDRESS_V4 << 6 | SERVICE, 8));
const TO_V6: Option<(u32, u32)> = Some((ADDRESS_V6 << 6 | SERVICE, 20));
pub(super) const PORTS_V4: Kind = Kind { key: (PROTOCOL << 6 | SERVICE, 8), value: TO_V4 };
pub(super) const PORTS_V6: Kind = Kind { key: (PROTOCOL << 6 | SERVICE, 8), value: TO_V6 };
pub(super) const ENDPOINTS_V4: Kind =
    Kind { key: (ADDRESS_V4 << 12 | PROTOCOL << 6 | SERVICE, 12), value: TO_V4 };
pub(super) const ENDPOINTS_V6: Kind =
    Kind { key: (ADDRESS_V6 << 12 | PROTOCOL << 6 | SERVICE, 24), value: TO_V6 };

/// A key, and in maps its value.
pub(super) type Element = (Vec<u8>, Option<Vec<u8>>);

/// A set and what is to be in it.
pub(super) struct Set {
    pub(super) name: &'static CStr,
    pub(super) kind: Kind,
    pub(super) elements: Vec<Element>,
}

impl Set {
    /// Makes it, with its elements. `id` is unlike that of every other of the batch.
    pub(super) fn make(&self, batch: &mut Chained<'static>, table: &CStr, id: u32) {
        let mut request = batch.request().set_create().op_newset_do(&header());
        let set = request.encode().push_table(table).push_name(self.name).push_id(id);
        let set = set.push_key_type(self.kind.key.0).push_key_len(self.kind.key.1);
        match self.kind.value {
            Some((value, length)) => {
                set.push_flags(SetFlags::Map as u32).push_data_type(value).push_data_len(length);
            }
            None => drop(set.push_flags(0).push_userdata(&KEYS_IN_HOST_ORDER)),
        }
        drop(request);
        self.fill(batch, table);
    }

    fn fill(&self, batch: &mut Chained<'static>, table: &CStr) {
        for some in self.elements.chunks(ELEMENTS) {
            let request = batch.request().set_create().op_newsetelem_do(&header());
            let mut list = request.into_encoder().push_table(table).push_set(self.name).nested_elements();
            for (key, value) in some {
                let element = list.nested_elem().nested_key().push_value(key).end_nested();
                list = match value {
                    Some(value) => element.nested_data().push_value(value).end_nested().end_nested(),
                    None => element.end_nested(),
                };
            }
            list.end_nested();
        }
    }
}

/// An interface.
pub(super) fn name(interface: &str) -> Element {
    (padded_name(interface), None)
}

/// An interface, however it is called.
pub(super) fn index(interface: u32) -> Element {
    (interface.to_ne_bytes().to_vec(), None)
}

/// The way from an interface to another.
pub(super) fn way(from: &str, to: &str) -> Element {
    ([padded_name(from), padded_name(to)].concat(), None)
}

/// A port of a container at its own address.
pub(super) fn direct(Direct { address, protocol, port }: &Direct) -> Element {
    ([octets(*address), padded_port(*protocol, *port).to_vec()].concat(), None)
}

/// A published port, asked for by what comes in by an interface.
pub(super) fn asked_by(interface: &str, port: &Published) -> Element {
    ([padded_name(interface), padded_port(port.protocol, port.host_port).to_vec()].concat(), None)
}

fn padded_name(interface: &str) -> Vec<u8> {
    let mut bytes = interface.as_bytes().to_vec();
    bytes.resize(NAME, 0);
    bytes
}

/// Where a published port leads, by protocol and port alone or by the host's address too.
pub(super) fn published(port: &Published, on: Option<IpAddr>, to: IpAddr) -> Element {
    let mut key = on.map(octets).unwrap_or_default();
    key.extend(padded_port(port.protocol, port.host_port));
    (key, Some(padded(SocketAddr::new(to, port.port))))
}

/// Each field of a key begins at a multiple of four bytes.
fn padded_port(protocol: Protocol, port: u16) -> [u8; 8] {
    let [high, low] = port.to_be_bytes();
    [protocol.number(), 0, 0, 0, high, low, 0, 0]
}

fn padded(to: SocketAddr) -> Vec<u8> {
    let [high, low] = to.port().to_be_bytes();
    [octets(to.ip()), vec![high, low, 0, 0]].concat()
}
