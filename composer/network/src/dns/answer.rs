//! Answers in wire format, by simple-dns.

use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::rc::Rc;

use simple_dns::rdata::{A, AAAA, OPT, PTR, RData};
use simple_dns::{CLASS, Name, Packet, PacketFlag, Question, RCODE, ResourceRecord};

use super::message::Transport;
use super::question::{HEADER, OPT_RECORD, edns_size};
use super::zone::{Named, next_turn};

/// Seconds that an answer may be kept. Docker's are 600, for which an nginx goes on asking a container that has long
/// been replaced. An answer costs microseconds on the loopback, so keeping it spares nothing; not 0, as some clients
/// take that for an error.
const TTL: u32 = 1;
/// Bytes of an answer that every client takes over UDP (RFC 1035, 4.2.1).
pub(super) const PLAIN_LIMIT: u16 = 512;
/// Bytes that we take and at most send over UDP with EDNS: on the loopback nothing is fragmented.
pub(super) const EDNS_LIMIT: u16 = 4096;
/// Bytes of a compressed record before its data: pointer, type, class, TTL, length.
const RECORD: usize = 12;

/// What is to be said.
#[derive(Debug)]
pub(super) enum Content {
    /// The addresses of these families, of which a name may have none.
    Addresses {
        v4: bool,
        v6: bool,
        named: Rc<Named>,
    },
    Pointer(String),
    /// The name exists, but has nothing of the type that was asked for.
    NoData,
    NoName,
}

/// A message to be sent.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) bytes: Vec<u8>,
    /// The same question is answered so until a zone changes, except for whose turn it is.
    pub(super) turns: Option<Turns>,
}

/// How the answers to one question follow each other.
#[derive(Debug, Clone)]
pub(super) struct Turns {
    named: Rc<Named>,
    family: Family,
    /// Which of how many addresses this one begins with.
    pub(super) turn: usize,
    pub(super) of: usize,
}

#[derive(Debug, Clone, Copy)]
enum Family {
    V4,
    V6,
}

impl Turns {
    /// Which address the next answer begins with.
    pub(super) fn coming(&self) -> usize {
        self.counter().get() % self.of
    }

    /// Counts that answer as given.
    pub(super) fn take(&self) {
        next_turn(self.counter(), self.of);
    }

    fn counter(&self) -> &Cell<usize> {
        match self.family {
            Family::V4 => &self.named.v4_turn,
            Family::V6 => &self.named.v6_turn,
        }
    }
}

impl Answer {
    /// One that may differ the next time.
    pub(super) fn fixed(bytes: Vec<u8>) -> Self {
        Self { bytes, turns: None }
    }
}

impl Content {
    pub(super) fn encode(self, query: &Packet<'_>, question: &Question<'_>, limit: Limit) -> Option<Answer> {
        let mut reply = Packet::new_reply(query.id());
        reply.set_flags(PacketFlag::RECURSION_AVAILABLE);
        if query.has_flags(PacketFlag::RECURSION_DESIRED) {
            reply.set_flags(PacketFlag::RECURSION_DESIRED);
        }
        reply.questions.push(question.clone());
        if limit.edns {
            *reply.opt_mut() = Some(our_opt());
        }
        let record = |data| ResourceRecord::new(question.qname.clone(), CLASS::IN, TTL, data);
        let pointer;
        let mut turns = None;
        match self {
            Self::Addresses { v4, v6, named } => {
                let addresses;
                (addresses, turns) = in_turn(named, v4, v6);
                let room = limit.room(question);
                let fitting = fitting(&addresses, room);
                if fitting < addresses.len() {
                    reply.set_flags(PacketFlag::TRUNCATION);
                }
                // What fits goes along: resolvers that do not ask again over TCP live on it.
                reply.answers = addresses[..fitting].iter().map(|address| record(data(*address))).collect();
            }
            Self::Pointer(name) => {
                pointer = name;
                reply.answers.push(record(RData::PTR(PTR(Name::new(&pointer).ok()?))));
            }
            Self::NoData => {}
            Self::NoName => *reply.rcode_mut() = RCODE::NameError,
        }
        Some(Answer { bytes: reply.build_bytes_vec_compressed().ok()?, turns })
    }
}

/// The addresses of the wanted families, each beginning with the one whose turn it is.
fn in_turn(named: Rc<Named>, v4: bool, v6: bool) -> (Vec<IpAddr>, Option<Turns>) {
    let mut addresses = Vec::new();
    let mut one = |family| {
        let (turn, of) = match family {
            Family::V4 => (rotate(&mut addresses, &named.v4, &named.v4_turn), named.v4.len()),
            Family::V6 => (rotate(&mut addresses, &named.v6, &named.v6_turn), named.v6.len()),
        };
        Turns { named: Rc::clone(&named), family, turn, of: of.max(1) }
    };
    let turns = match (v4, v6) {
        (true, false) => Some(one(Family::V4)),
        (false, true) => Some(one(Family::V6)),
        // Each turns by itself: such an answer (to ANY) is made every time.
        (true, true) => {
            one(Family::V4);
            one(Family::V6);
            None
        }
        (false, false) => None,
    };
    (addresses, turns)
}

fn rotate<T: Copy + Into<IpAddr>>(into: &mut Vec<IpAddr>, from: &[T], turn: &Cell<usize>) -> usize {
    let turn = next_turn(turn, from.len());
    into.extend(from[turn..].iter().chain(&from[..turn]).map(|address| (*address).into()));
    turn
}

/// How many of the addresses fit into so many bytes.
fn fitting(addresses: &[IpAddr], room: usize) -> usize {
    let mut used = 0;
    let fits = |address: &&IpAddr| {
        used += RECORD + if address.is_ipv4() { size_of::<Ipv4Addr>() } else { size_of::<Ipv6Addr>() };
        used <= room
    };
    addresses.iter().take_while(fits).count()
}

fn data(address: IpAddr) -> RData<'static> {
    match address {
        IpAddr::V4(address) => RData::A(A::from(address)),
        IpAddr::V6(address) => RData::AAAA(AAAA::from(address)),
    }
}

/// How long an answer may be, and whether it carries an OPT record.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limit {
    bytes: usize,
    edns: bool,
}

impl Limit {
    /// Of the answer to this query.
    pub(super) fn of(message: &[u8], transport: Transport) -> Self {
        let size = edns_size(message);
        let bytes = match transport {
            Transport::Udp => size.unwrap_or(PLAIN_LIMIT).clamp(PLAIN_LIMIT, EDNS_LIMIT),
            Transport::Tcp => u16::MAX,
        };
        Self { bytes: bytes.into(), edns: size.is_some() }
    }

    /// What is left of it for records.
    fn room(self, question: &Question<'_>) -> usize {
        let name = question.qname.as_bytes().map(|label| label.len() + 1).sum::<usize>() + 1;
        let base = HEADER + name + 4 + if self.edns { OPT_RECORD } else { 0 };
        self.bytes.saturating_sub(base)
    }
}

pub(super) fn our_opt() -> OPT<'static> {
    OPT { opt_codes: Vec::new(), udp_packet_size: EDNS_LIMIT, version: 0 }
}
