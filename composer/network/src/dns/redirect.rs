//! The redirect inside a container's namespace, from 127.0.0.11:53 to the port the resolver really has.
//!
//! Four stateless rules that rewrite ports in the `output` hook at raw priority, before connection tracking: no
//! entry is made there and no `nat` hook registered, so service-to-service traffic pays for neither. What does
//! not leave by the loopback is let go by the first rule. Two rules do the queries, two the answers, for UDP and TCP:
//!
//! ```text
//! oif != lo accept
//! ip daddr 127.0.0.11 udp dport 53 udp dport set PORT accept
//! ip saddr 127.0.0.11 udp sport PORT udp sport set 53 accept
//! ```

use std::ffi::CStr;
use std::io;

use netlink_bindings::nftables::{Chained, CmpOps, MetaKeys, Nfgenmsg, PayloadBase, Registers};
use netlink_socket2::NetlinkSocket;

use super::sockets::{ADDRESS, PORT};
use crate::nftables::{self, Expressions, accept, batch_header, compare, load_meta};

const TABLE: &CStr = c"compose_dns";
const CHAIN: &CStr = c"output";
/// NF_INET_LOCAL_OUT and NF_IP_PRI_RAW (linux/netfilter.h, linux/netfilter_ipv4.h).
const LOCAL_OUT: u32 = 3;
const PRIORITY_RAW: i32 = -300;
/// NF_ACCEPT as a chain's policy.
const ACCEPT: u32 = 1;
const LOOPBACK: u32 = 1;
/// Offsets in the IPv4 header (RFC 791) and in those of UDP (RFC 768) and TCP (RFC 9293).
const SOURCE_ADDRESS: u32 = 12;
const DESTINATION_ADDRESS: u32 = 16;
const SOURCE_PORT: u32 = 0;
const DESTINATION_PORT: u32 = 2;
const PROTOCOLS: [Protocol; 2] = [
    Protocol { number: libc::IPPROTO_UDP as u8, checksum: 6 },
    Protocol { number: libc::IPPROTO_TCP as u8, checksum: 16 },
];
/// NFT_PAYLOAD_CSUM_INET (linux/netfilter/nf_tables.h): the internet checksum follows what is written.
const CHECKSUM_INET: u32 = 1;

#[derive(Clone, Copy)]
struct Protocol {
    number: u8,
    /// Where its checksum is.
    checksum: u32,
}

/// Puts the rules into the thread's namespace, in one transaction; those of an earlier port are replaced in it.
pub(super) fn install(port: u16) -> io::Result<()> {
    match commit(port, Before::Nothing) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => commit(port, Before::AnotherPort),
        other => other,
    }
}

/// What the namespace has of ours.
#[derive(Clone, Copy, PartialEq)]
enum Before {
    Nothing,
    /// Not the general case: after a transaction that removes anything, be it what it just made, the close of its
    /// socket waits for the kernel to free it. With that, fifty containers took 170 ms to attach in place of 60.
    AnotherPort,
}

fn commit(port: u16, before: Before) -> io::Result<()> {
    let mut socket = NetlinkSocket::new();
    let mut batch = Chained::new(socket.reserve_seq(16));
    batch.request().op_batch_begin_do(&batch_header());
    if before == Before::AnotherPort {
        batch.request().op_deltable_do(&header()).encode().push_name(TABLE);
    }
    batch.request().set_create().set_excl().op_newtable_do(&header()).encode().push_name(TABLE);
    batch
        .request()
        .set_create()
        .op_newchain_do(&header())
        .encode()
        .push_table(TABLE)
        .push_name(CHAIN)
        .nested_hook()
        .push_num(LOCAL_OUT)
        .push_priority(PRIORITY_RAW)
        .end_nested()
        .push_policy(ACCEPT)
        .push_type(c"filter");
    skip_other_interfaces(&mut batch);
    for protocol in PROTOCOLS {
        rewrite(&mut batch, protocol, DESTINATION_ADDRESS, DESTINATION_PORT, PORT, port);
        rewrite(&mut batch, protocol, SOURCE_ADDRESS, SOURCE_PORT, port, PORT);
    }
    batch.request().op_batch_end_do(&batch_header());
    socket.request_chained(&batch.finalize())?.recv_all().map_err(io::Error::from)
}

fn skip_other_interfaces(batch: &mut Chained<'static>) {
    let expressions = load_meta(rule(batch), MetaKeys::Oif);
    accept(compare(expressions, CmpOps::Neq, &LOOPBACK.to_ne_bytes())).end_nested();
}

/// A rule that changes one port to another in packets from or to the resolver's address.
fn rewrite(batch: &mut Chained<'static>, protocol: Protocol, address: u32, at: u32, from: u16, to: u16) {
    let expressions = load(rule(batch), PayloadBase::NetworkHeader, address, 4);
    let expressions = compare(expressions, CmpOps::Eq, &ADDRESS.octets());
    let expressions = load_meta(expressions, MetaKeys::L4Proto);
    let expressions = compare(expressions, CmpOps::Eq, &[protocol.number]);
    let expressions = load(expressions, PayloadBase::TransportHeader, at, 2);
    let expressions = compare(expressions, CmpOps::Eq, &from.to_be_bytes())
        .nested_elem()
        .nested_data_immediate()
        .push_dreg(Registers::Reg1 as u32)
        .nested_data()
        .push_value(&to.to_be_bytes())
        .end_nested()
        .end_nested()
        .end_nested()
        .nested_elem()
        .nested_data_payload()
        .push_sreg(Registers::Reg1 as u32)
        .push_base(PayloadBase::TransportHeader as u32)
        .push_offset(at)
        .push_len(2)
        .push_csum_type(CHECKSUM_INET)
        .push_csum_offset(protocol.checksum)
        .end_nested()
        .end_nested();
    accept(expressions).end_nested();
}

fn rule<'a>(batch: &'a mut Chained<'static>) -> Expressions<'a> {
    batch
        .request()
        .set_create()
        .set_append()
        .op_newrule_do(&header())
        .into_encoder()
        .push_table(TABLE)
        .push_chain(CHAIN)
        .nested_expressions()
}

fn load(expressions: Expressions<'_>, base: PayloadBase, offset: u32, length: u32) -> Expressions<'_> {
    expressions
        .nested_elem()
        .nested_data_payload()
        .push_dreg(Registers::Reg1 as u32)
        .push_base(base as u32)
        .push_offset(offset)
        .push_len(length)
        .end_nested()
        .end_nested()
}

fn header() -> Nfgenmsg {
    nftables::header(libc::AF_INET as u8)
}
