//! Queries and answers in wire format (RFC 1035, RFC 6891), by simple-dns.

use std::net::Ipv4Addr;

use simple_dns::rdata::{A, OPT, PTR, RData};
use simple_dns::{
    CLASS, Name, OPCODE, Packet, PacketFlag, QCLASS, QTYPE, Question, RCODE, ResourceRecord, SimpleDnsError,
    TYPE,
};

use super::question::{HEADER, Head, OPT_RECORD, RESPONSE, edns_size};
use super::zone::{Lookup, ReverseLookup, Zone};

/// Seconds that an answer may be kept: Docker's.
const TTL: u32 = 600;
/// Bytes of an answer that every client takes over UDP (RFC 1035, 4.2.1).
const PLAIN_LIMIT: u16 = 512;
/// Bytes that we take and at most send over UDP with EDNS: on the loopback nothing is fragmented.
const EDNS_LIMIT: u16 = 4096;
/// Bytes of a compressed A record: pointer, type, class, TTL, length, address.
const A_RECORD: usize = 16;
/// The zone of names for IPv4 addresses (RFC 1035, 3.5).
const REVERSE: [&[u8]; 2] = [b"in-addr", b"arpa"];

/// How an answer travels, and so how long it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transport {
    Udp,
    Tcp,
}

/// What is to be done with a message that arrived.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Sent back as it is.
    Answer(Vec<u8>),
    /// For the host's resolvers to answer, as it came.
    Forward {
        /// Whether the name has no dot: nobody beyond the host's own network can know it.
        single_label: bool,
    },
    /// Not a query: nothing is sent.
    Drop,
}

/// Decides about a message that arrived.
pub(super) fn examine(zone: &Zone, message: &[u8], transport: Transport) -> Verdict {
    let Some(header) = message.get(..HEADER) else {
        return Verdict::Drop;
    };
    if header[2] & RESPONSE != 0 {
        // A response: to answer it could make two servers talk for ever.
        return Verdict::Drop;
    }
    let head = Head::of(message);
    let packet = match head.parse() {
        Ok(packet) => packet,
        // Types that the library does not know are not ours to answer.
        Err(SimpleDnsError::InvalidQType(_) | SimpleDnsError::InvalidQClass(_)) => {
            return Verdict::Forward { single_label: false };
        }
        Err(_) => return refuse(message, RCODE::FormatError),
    };
    if packet.opcode() != OPCODE::StandardQuery {
        return refuse(message, RCODE::NotImplemented);
    }
    let [question] = packet.questions.as_slice() else {
        return refuse(message, RCODE::FormatError);
    };
    let forward = Verdict::Forward { single_label: question.qname.get_labels().len() == 1 };
    if !matches!(question.qclass, QCLASS::CLASS(CLASS::IN) | QCLASS::ANY) {
        return forward;
    }
    let Some(found) = find(zone, question) else {
        return forward;
    };
    found.encode(&packet, question, limit(message, transport)).map_or(Verdict::Drop, Verdict::Answer)
}

/// An error as the answer to a message whose header is whole; the question is repeated where it can be read.
pub(super) fn refusal(message: &[u8], code: RCODE) -> Option<Vec<u8>> {
    let id = u16::from_be_bytes(message.get(..2)?.try_into().ok()?);
    let mut reply = Packet::new_reply(id);
    reply.set_flags(PacketFlag::RECURSION_AVAILABLE);
    *reply.rcode_mut() = code;
    let head = Head::of(message);
    if let Ok(packet) = head.parse() {
        *reply.opcode_mut() = packet.opcode();
        if packet.has_flags(PacketFlag::RECURSION_DESIRED) {
            reply.set_flags(PacketFlag::RECURSION_DESIRED);
        }
        reply.questions = packet.questions;
        if edns_size(message).is_some() {
            *reply.opt_mut() = Some(our_opt());
        }
        return reply.build_bytes_vec_compressed().ok();
    }
    reply.build_bytes_vec_compressed().ok()
}

/// What a zone says to a question.
enum Found {
    Addresses(Vec<Ipv4Addr>),
    Pointer(String),
    /// The name exists, but has nothing of the type that was asked for.
    NoData,
    NoName,
}

fn find(zone: &Zone, question: &Question<'_>) -> Option<Found> {
    if let Some(address) = reversed(&question.qname) {
        return match zone.reverse(address) {
            ReverseLookup::Known(name) if asks_for(question, TYPE::PTR) => Some(Found::Pointer(name)),
            ReverseLookup::Known(_) => Some(Found::NoData),
            ReverseLookup::Unknown => Some(Found::NoName),
            ReverseLookup::Foreign => None,
        };
    }
    match zone.lookup(&plain(&question.qname)?) {
        Lookup::Known(addresses) if asks_for(question, TYPE::A) => Some(Found::Addresses(addresses)),
        Lookup::Known(_) => Some(Found::NoData),
        Lookup::Unknown => Some(Found::NoName),
        Lookup::Foreign => None,
    }
}

fn asks_for(question: &Question<'_>, wanted: TYPE) -> bool {
    question.qtype == QTYPE::ANY || question.qtype == QTYPE::TYPE(wanted)
}

/// The name as text, when each label is some: a label with a dot in it is none of ours.
fn plain(name: &Name<'_>) -> Option<String> {
    let mut text = String::new();
    for label in name.as_bytes() {
        if !text.is_empty() {
            text.push('.');
        }
        text.push_str(std::str::from_utf8(label).ok().filter(|label| !label.contains('.'))?);
    }
    Some(text)
}

/// The address that a name under in-addr.arpa stands for.
fn reversed(name: &Name<'_>) -> Option<Ipv4Addr> {
    let labels: Vec<&[u8]> = name.as_bytes().collect();
    let (octets, zone) = labels.split_at_checked(4)?;
    if zone.len() != 2 || !zone.iter().zip(REVERSE).all(|(label, wanted)| label.eq_ignore_ascii_case(wanted))
    {
        return None;
    }
    let mut address = [0; 4];
    for (place, label) in octets.iter().rev().enumerate() {
        address[place] = std::str::from_utf8(label).ok()?.parse().ok()?;
    }
    Some(address.into())
}

impl Found {
    fn encode(self, query: &Packet<'_>, question: &Question<'_>, limit: Limit) -> Option<Vec<u8>> {
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
        match self {
            Self::Addresses(addresses) => {
                let base =
                    HEADER + question.qname.as_bytes().map(|label| label.len() + 1).sum::<usize>() + 1 + 4;
                let room =
                    limit.bytes.saturating_sub(base + if limit.edns { OPT_RECORD } else { 0 }) / A_RECORD;
                if addresses.len() > room {
                    reply.set_flags(PacketFlag::TRUNCATION);
                }
                // What fits goes along: resolvers that do not ask again over TCP live on it.
                reply.answers =
                    addresses.into_iter().take(room).map(|a| record(RData::A(A::from(a)))).collect();
            }
            Self::Pointer(name) => {
                pointer = name;
                reply.answers.push(record(RData::PTR(PTR(Name::new(&pointer).ok()?))));
            }
            Self::NoData => {}
            Self::NoName => *reply.rcode_mut() = RCODE::NameError,
        }
        reply.build_bytes_vec_compressed().ok()
    }
}

/// How long an answer may be, and whether it carries an OPT record.
#[derive(Clone, Copy)]
struct Limit {
    bytes: usize,
    edns: bool,
}

fn limit(message: &[u8], transport: Transport) -> Limit {
    let size = edns_size(message);
    let bytes = match transport {
        Transport::Udp => size.unwrap_or(PLAIN_LIMIT).clamp(PLAIN_LIMIT, EDNS_LIMIT),
        Transport::Tcp => u16::MAX,
    };
    Limit { bytes: bytes.into(), edns: size.is_some() }
}

fn our_opt() -> OPT<'static> {
    OPT { opt_codes: Vec::new(), udp_packet_size: EDNS_LIMIT, version: 0 }
}

fn refuse(message: &[u8], code: RCODE) -> Verdict {
    refusal(message, code).map_or(Verdict::Drop, Verdict::Answer)
}

#[cfg(test)]
mod tests {
    use super::super::question::response_code;
    use super::*;

    const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 2);

    fn zone() -> Zone {
        let zone = Zone::new("shop_default", "10.1.0.0/24".parse().expect("a subnet"));
        zone.set("api-1", vec!["shop-api-1".into(), "api".into()], ADDRESS);
        zone
    }

    fn query(name: &str, kind: TYPE) -> Vec<u8> {
        let mut packet = Packet::new_query(7);
        packet.questions.push(Question::new(
            Name::new(name).expect("a name"),
            kind.into(),
            CLASS::IN.into(),
            false,
        ));
        packet.build_bytes_vec().expect("a query")
    }

    fn examined(message: &[u8]) -> Verdict {
        examine(&zone(), message, Transport::Udp)
    }

    fn code(message: &[u8]) -> RCODE {
        match examined(message) {
            Verdict::Answer(answer) => response_code(&answer).expect("a header"),
            other => panic!("no answer: {other:?}"),
        }
    }

    #[test]
    fn responses_and_fragments_of_a_header_are_dropped() {
        let mut response = query("api", TYPE::A);
        response[2] |= RESPONSE;
        assert_eq!(examined(&response), Verdict::Drop);
        assert_eq!(examined(&query("api", TYPE::A)[..11]), Verdict::Drop);
        assert_eq!(examined(&[]), Verdict::Drop);
    }

    #[test]
    fn no_question_several_or_half_a_question_are_format_errors() {
        let whole = query("api", TYPE::A);
        for count in [0, 2, 255] {
            let mut message = whole.clone();
            message[5] = count;
            assert_eq!(code(&message), RCODE::FormatError);
        }
        for length in HEADER..whole.len() {
            assert_eq!(code(&whole[..length]), RCODE::FormatError, "{length} bytes");
        }
        // A name that points to itself.
        assert_eq!(code(&[&whole[..HEADER], &[0xc0, 12, 0, 1, 0, 1]].concat()), RCODE::FormatError);
    }

    #[test]
    fn other_operations_are_not_implemented() {
        let mut notify = query("api", TYPE::A);
        notify[2] |= 4 << 3;
        assert_eq!(code(&notify), RCODE::NotImplemented);
    }

    #[test]
    fn unknown_types_and_other_classes_are_forwarded() {
        let mut message = query("example.com", TYPE::A);
        let kind = message.len() - 4;
        message[kind..kind + 2].copy_from_slice(&0xfdfd_u16.to_be_bytes());
        assert!(matches!(examined(&message), Verdict::Forward { .. }));
        let mut message = query("api", TYPE::TXT);
        let class = message.len() - 1;
        message[class] = 3;
        assert!(matches!(examined(&message), Verdict::Forward { .. }));
    }

    #[test]
    fn records_after_the_question_that_cannot_be_read_do_not_matter() {
        let mut message = query("api", TYPE::A);
        // More records than memory would be reserved for, none of which is there.
        message[6..HEADER].fill(0xff);
        assert_eq!(code(&message), RCODE::NoError);
    }

    #[test]
    fn the_case_of_the_question_is_kept() {
        let Verdict::Answer(answer) = examined(&query("ApI", TYPE::A)) else { panic!("no answer") };
        let packet = Packet::parse(&answer).expect("an answer");
        assert_eq!(packet.questions[0].qname.to_string(), "ApI");
        assert_eq!(packet.answers[0].rdata, RData::A(ADDRESS.into()));
    }
}
