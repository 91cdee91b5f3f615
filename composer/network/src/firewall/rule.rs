//! The expressions that the rules of a stack's table are made of. A rule reads as nft(8) prints it:
//! `rule.oifname(set).ct(..).accept()`.

use std::ffi::CStr;
use std::net::IpAddr;

use ipnet::IpNet;
use netlink_bindings::nftables::{
    Chained, CmpOps, CtKeys, FibFlags, MetaKeys, Nfgenmsg, PayloadBase, VerdictCode,
};
use netlink_bindings::traits::Pusher;

use crate::nftables::{self, Expressions, compare, load_meta};

/// NFPROTO_INET (linux/netfilter.h): tables for IPv4 and IPv6.
pub(super) const INET: u8 = 1;
/// RTN_LOCAL (linux/rtnetlink.h): an address of this host.
const LOCAL: u32 = 2;
/// NFT_FIB_RESULT_ADDRTYPE (linux/netfilter/nf_tables.h); the bindings have it by one too low.
const FIB_ADDRTYPE: u32 = 3;
/// NFT_NAT_DNAT (linux/netfilter/nf_tables.h).
const DNAT: u32 = 1;
/// NFT_NAT_SNAT (the same).
const SNAT: u32 = 0;
/// Bits of a connection's state as nf_tables has them (NF_CT_STATE_BIT of nf_conntrack_common.h), and of its status.
pub(super) const ESTABLISHED_OR_RELATED: u32 = 1 << 1 | 1 << 2;
pub(super) const STATUS_DNAT: u32 = 1 << 5;
/// Where a transport header has its destination port.
const DESTINATION_PORT: u32 = 2;
/// NFT_REG_1 and the first of the 32-bit registers, which is its beginning: a key of several fields is put together
/// from there on.
const REGISTER: u32 = 1;
const FIELD: u32 = 8;
/// NFTA_LOOKUP_* and NFT_LOOKUP_F_INV (linux/netfilter/nf_tables.h).
const LOOKUP_SREG: u16 = 2;
const LOOKUP_DREG: u16 = 3;
const LOOKUP_FLAGS: u16 = 5;
const LOOKUP_INVERTED: u32 = 1;
/// Registers that an interface's name takes (IFNAMSIZ).
pub(super) const NAME: u32 = 4;

/// The family of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    fn of(net: &IpNet) -> Self {
        if net.addr().is_ipv4() { Self::V4 } else { Self::V6 }
    }

    fn number(self) -> u32 {
        match self {
            Self::V4 => libc::NFPROTO_IPV4 as u32,
            Self::V6 => libc::NFPROTO_IPV6 as u32,
        }
    }

    /// Where the headers (RFC 791, RFC 8200) have source and destination, and how many registers an address takes.
    fn layout(self) -> (u32, u32, u32) {
        match self {
            Self::V4 => (12, 16, 1),
            Self::V6 => (8, 24, 4),
        }
    }

    /// Registers of an address.
    pub(super) fn registers(self) -> u32 {
        self.layout().2
    }
}

/// A rule that is being put into a batch.
pub(super) struct Rule<'a>(Expressions<'a>);

impl<'a> Rule<'a> {
    /// One at the end of a chain of an `inet` table.
    pub(super) fn append(batch: &'a mut Chained<'static>, table: &CStr, chain: &CStr) -> Self {
        let rule = batch.request().set_create().set_append().op_newrule_do(&header()).into_encoder();
        Self(rule.push_table(table).push_chain(chain).nested_expressions())
    }

    pub(super) fn iifname(self, set: &CStr) -> Self {
        self.meta(MetaKeys::Iifname, 0).in_set(set)
    }

    pub(super) fn oifname(self, set: &CStr) -> Self {
        self.meta(MetaKeys::Oifname, 0).in_set(set)
    }

    /// By an interface whose index is in the set.
    pub(super) fn iif(self, indices: &CStr) -> Self {
        self.meta(MetaKeys::Iif, 0).in_set(indices)
    }

    /// The same of the one that it leaves by.
    pub(super) fn oif(self, indices: &CStr) -> Self {
        self.meta(MetaKeys::Oif, 0).in_set(indices)
    }

    /// By the interface of this name.
    pub(super) fn iifname_is(self, name: &CStr) -> Self {
        Self(compare(load_meta(self.0, MetaKeys::Iifname), CmpOps::Eq, name.to_bytes_with_nul()))
    }

    /// With its NUL, or every longer name that begins with it would match.
    pub(super) fn oifname_is(self, name: &CStr) -> Self {
        Self(compare(load_meta(self.0, MetaKeys::Oifname), CmpOps::Eq, name.to_bytes_with_nul()))
    }

    /// That an interface is of this kind, as ip(8) names it; padded, as the kernel has it.
    pub(super) fn kind(self, which: MetaKeys, kind: &str) -> Self {
        let mut name = kind.as_bytes().to_vec();
        name.resize(NAME as usize * 4, 0);
        Self(compare(load_meta(self.0, which), CmpOps::Eq, &name))
    }

    /// From and to a pair of interfaces of the set.
    pub(super) fn between(self, pairs: &CStr) -> Self {
        self.meta(MetaKeys::Iifname, 0).meta(MetaKeys::Oifname, NAME).in_set(pairs)
    }

    /// From and to a pair that is not in the set.
    pub(super) fn not_between(self, pairs: &CStr) -> Self {
        self.meta(MetaKeys::Iifname, 0).meta(MetaKeys::Oifname, NAME).lookup(pairs, Lookup::Absent)
    }

    /// To an address, protocol and port that are in the set together.
    pub(super) fn goes_to(self, family: Family, set: &CStr) -> Self {
        self.family(family).endpoint(family).in_set(set)
    }

    /// Of the protocol by which a family tells of errors, and is asked whether anybody is there.
    pub(super) fn icmp(self, family: Family) -> Self {
        let protocol = match family {
            Family::V4 => libc::IPPROTO_ICMP,
            Family::V6 => libc::IPPROTO_ICMPV6,
        };
        Self(compare(load_meta(self.0, MetaKeys::L4Proto), CmpOps::Eq, &[protocol as u8]))
    }

    /// From an interface to a protocol and port that are in the set together.
    pub(super) fn asks_by(self, entries: &CStr) -> Self {
        self.meta(MetaKeys::Iifname, 0)
            .meta(MetaKeys::L4Proto, NAME)
            .payload(PayloadBase::TransportHeader, DESTINATION_PORT, 2, NAME + 1)
            .in_set(entries)
    }

    pub(super) fn saddr(self, net: IpNet) -> Self {
        let (source, ..) = Family::of(&net).layout();
        self.address(source, CmpOps::Eq, net)
    }

    pub(super) fn daddr(self, net: IpNet) -> Self {
        let (_, destination, _) = Family::of(&net).layout();
        self.address(destination, CmpOps::Eq, net)
    }

    pub(super) fn not_daddr(self, net: IpNet) -> Self {
        let (_, destination, _) = Family::of(&net).layout();
        self.address(destination, CmpOps::Neq, net)
    }

    fn address(self, offset: u32, how: CmpOps, net: IpNet) -> Self {
        let (network, mask) = (octets(net.network()), octets(net.netmask()));
        let rule = self.family(Family::of(&net));
        let rule = rule.payload(PayloadBase::NetworkHeader, offset, network.len() as u32, 0);
        let rule = if net.prefix_len() == net.max_prefix_len() { rule } else { rule.and(&mask) };
        Self(compare(rule.0, how, &network))
    }

    pub(super) fn family(self, family: Family) -> Self {
        Self(compare(load_meta(self.0, MetaKeys::Nfproto), CmpOps::Eq, &[family.number() as u8]))
    }

    /// To an address of this host.
    pub(super) fn at_host(self) -> Self {
        let fib = self.0.nested_elem().nested_data_fib();
        let fib = fib.push_dreg(REGISTER).push_result(FIB_ADDRTYPE).push_flags(FibFlags::Daddr as u32);
        Self(compare(fib.end_nested().end_nested(), CmpOps::Eq, &LOCAL.to_ne_bytes()))
    }

    /// Of connections whose state or status has one of the bits.
    pub(super) fn ct(self, key: CtKeys, bits: u32) -> Self {
        let ct = self.0.nested_elem().nested_data_ct();
        let ct = ct.push_dreg(REGISTER).push_key(key as u32);
        let rule = Self(ct.end_nested().end_nested()).and(&bits.to_ne_bytes());
        Self(compare(rule.0, CmpOps::Neq, &[0; 4]))
    }

    /// Leads what goes to a protocol and port of the map to the address and port that it has for them.
    pub(super) fn dnat_by_port(self, family: Family, map: &CStr) {
        let key =
            self.meta(MetaKeys::L4Proto, 0).payload(PayloadBase::TransportHeader, DESTINATION_PORT, 2, 1);
        key.lookup(map, Lookup::Value).dnat(family);
    }

    /// The same by address, protocol and port.
    pub(super) fn dnat_by_address(self, family: Family, map: &CStr) {
        self.endpoint(family).lookup(map, Lookup::Value).dnat(family);
    }

    /// Makes a key of address, protocol and port.
    fn endpoint(self, family: Family) -> Self {
        let (_, destination, registers) = family.layout();
        self.payload(PayloadBase::NetworkHeader, destination, registers * 4, 0)
            .meta(MetaKeys::L4Proto, registers)
            .payload(PayloadBase::TransportHeader, DESTINATION_PORT, 2, registers + 1)
    }

    fn dnat(self, family: Family) {
        let nat = self.0.nested_elem().nested_data_nat();
        nat.push_type(DNAT)
            .push_family(family.number())
            .push_reg_addr_min(FIELD)
            .push_reg_proto_min(FIELD + family.registers())
            .end_nested()
            .end_nested()
            .end_nested();
    }

    /// Gives the connection this source address.
    pub(super) fn snat(self, address: IpAddr) {
        let family = Family::of(&address.into());
        let immediate = self.0.nested_elem().nested_data_immediate().push_dreg(FIELD);
        let rule =
            immediate.nested_data().push_value(&octets(address)).end_nested().end_nested().end_nested();
        let nat = rule.nested_elem().nested_data_nat();
        nat.push_type(SNAT)
            .push_family(family.number())
            .push_reg_addr_min(FIELD)
            .end_nested()
            .end_nested()
            .end_nested();
    }

    /// Gives the connection the source address of the interface that it leaves by. The bindings do not know this
    /// expression; it needs no attributes.
    pub(super) fn masquerade(self) {
        self.0.nested_elem().push_name(c"masq").end_nested().end_nested();
    }

    pub(super) fn accept(self) {
        nftables::accept(self.0).end_nested();
    }

    pub(super) fn drop(self) {
        nftables::verdict(self.0, VerdictCode::Drop).end_nested();
    }

    /// Puts a property of the packet into a field of the key.
    fn meta(self, key: MetaKeys, field: u32) -> Self {
        let meta = self.0.nested_elem().nested_data_meta();
        Self(meta.push_dreg(FIELD + field).push_key(key as u32).end_nested().end_nested())
    }

    fn payload(self, base: PayloadBase, offset: u32, length: u32, field: u32) -> Self {
        let payload = self.0.nested_elem().nested_data_payload();
        let payload =
            payload.push_dreg(FIELD + field).push_base(base as u32).push_offset(offset).push_len(length);
        Self(payload.end_nested().end_nested())
    }

    /// Leaves of the first register what the mask has.
    fn and(self, mask: &[u8]) -> Self {
        let bitwise = self.0.nested_elem().nested_data_bitwise();
        let bitwise = bitwise
            .push_sreg(REGISTER)
            .push_dreg(REGISTER)
            .push_len(mask.len() as u32)
            .nested_mask()
            .push_value(mask)
            .end_nested()
            .nested_xor()
            .push_value(&vec![0; mask.len()])
            .end_nested();
        Self(bitwise.end_nested().end_nested())
    }

    fn in_set(self, set: &CStr) -> Self {
        self.lookup(set, Lookup::Present)
    }

    fn lookup(self, set: &CStr, what: Lookup) -> Self {
        let mut lookup = self.0.nested_elem().nested_data_lookup().push_set(set);
        number(&mut lookup, LOOKUP_SREG, FIELD);
        match what {
            Lookup::Present => {}
            Lookup::Absent => number(&mut lookup, LOOKUP_FLAGS, LOOKUP_INVERTED),
            Lookup::Value => number(&mut lookup, LOOKUP_DREG, FIELD),
        }
        Self(lookup.end_nested().end_nested())
    }
}

/// A number in network order as an attribute (linux/netlink.h): the bindings have those of a lookup under wrong numbers.
fn number(to: &mut impl Pusher, attribute: u16, value: u32) {
    let bytes = to.as_vec_mut();
    // What was pushed before may have ended anywhere; the batch itself begins at a multiple of four.
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes.extend([8_u16.to_ne_bytes(), attribute.to_ne_bytes()].concat());
    bytes.extend(value.to_be_bytes());
}

/// What is asked of a set: that the key is in it, that it is not, or what a map has for it.
#[derive(Clone, Copy)]
enum Lookup {
    Present,
    Absent,
    Value,
}

pub(super) fn header() -> Nfgenmsg {
    nftables::header(INET)
}

pub(super) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}
