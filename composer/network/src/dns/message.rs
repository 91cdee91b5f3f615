//! What is made of a message that arrived (RFC 1035, RFC 6891), by simple-dns.

use simple_dns::{
    CLASS, Name, OPCODE, Packet, PacketFlag, QCLASS, QTYPE, Question, RCODE, SimpleDnsError, TYPE,
};

use super::answer::{self, Answer, Content, Limit};
use super::question::{HEADER, Head, RESPONSE, edns_size};
use super::reverse;
use super::view::{Found, View};

/// How an answer travels, and so how long it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transport {
    Udp,
    Tcp,
}

/// What is to be done with a message that arrived.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Sent back as it is.
    Answer(Answer),
    /// For others to answer, as it came.
    Forward(Asked),
    /// Not a query: nothing is sent.
    Drop,
}

/// What is known of a question that is for others to answer.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Asked {
    /// In lower case; none where it is no text or not read.
    pub(super) name: Option<String>,
    /// It is for an address, A or AAAA.
    pub(super) wants_address: bool,
}

impl Asked {
    /// Whether the name has no dot: nobody beyond the host's own network can know it.
    pub(super) fn is_short(&self) -> bool {
        self.name.as_ref().is_some_and(|name| !name.is_empty() && !name.contains('.'))
    }
}

/// Decides about a message that arrived.
pub(super) fn examine(view: &View, message: &[u8], transport: Transport) -> Verdict {
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
            return Verdict::Forward(Asked::default());
        }
        Err(_) => return refuse(message, RCODE::FormatError),
    };
    if packet.opcode() != OPCODE::StandardQuery {
        return refuse(message, RCODE::NotImplemented);
    }
    let [question] = packet.questions.as_slice() else {
        return refuse(message, RCODE::FormatError);
    };
    let name = plain(&question.qname);
    let is_internet = matches!(question.qclass, QCLASS::CLASS(CLASS::IN) | QCLASS::ANY);
    let found = match (is_internet, &name) {
        (true, Some(name)) => find(view, &question.qname, name),
        _ => None,
    };
    match found {
        // What cannot be written is told at once: nobody waits for it.
        Some(found) => content(found, question)
            .encode(&packet, question, Limit::of(message, transport))
            .map_or_else(|| refuse(message, RCODE::ServerFailure), Verdict::Answer),
        None => Verdict::Forward(Asked {
            wants_address: matches!(question.qtype, QTYPE::TYPE(TYPE::A | TYPE::AAAA)),
            name,
        }),
    }
}

fn find(view: &View, name: &Name<'_>, plain: &str) -> Option<Found> {
    let labels: Vec<&[u8]> = name.as_bytes().collect();
    match reverse::address(&labels) {
        Some(address) => view.find_reverse(address),
        None => view.find(plain),
    }
}

/// What of it the question is for. A name that is there has no data of other types (RFC 2308, 2.2): its mail goes to
/// its address (RFC 5321, 5.1), and it has no services, keys or texts.
fn content(found: Found, question: &Question<'_>) -> Content {
    let asks_for = |wanted| question.qtype == QTYPE::ANY || question.qtype == QTYPE::TYPE(wanted);
    match found {
        Found::Addresses(named) => {
            Content::Addresses { v4: asks_for(TYPE::A), v6: asks_for(TYPE::AAAA), named }
        }
        Found::Pointer(Some(name)) if asks_for(TYPE::PTR) => Content::Pointer(name),
        Found::Pointer(_) => Content::NoData,
        Found::NoName => Content::NoName,
    }
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
            *reply.opt_mut() = Some(answer::our_opt());
        }
        return reply.build_bytes_vec_compressed().ok();
    }
    reply.build_bytes_vec_compressed().ok()
}

/// Somebody's answer as its asker takes it over UDP: one that is too long says that there is more, and nothing of it, as the
/// library does not know all types of records (RFC 1035, 4.2.1; RFC 6891, 7).
pub(super) fn fitting(answer: Vec<u8>, query: &[u8]) -> Option<Vec<u8>> {
    if answer.len() <= answer::PLAIN_LIMIT.into() {
        return Some(answer);
    }
    let size = edns_size(query);
    if answer.len() <= usize::from(size.unwrap_or_default().max(answer::PLAIN_LIMIT)) {
        return Some(answer);
    }
    let head = Head::of(&answer);
    let Ok(mut packet) = head.parse() else { return refusal(query, RCODE::ServerFailure) };
    packet.set_flags(PacketFlag::TRUNCATION);
    *packet.opt_mut() = size.map(|_| answer::our_opt());
    packet.build_bytes_vec_compressed().ok()
}

/// The name as text in lower case, when each label is some: a label with a dot in it is none of ours.
fn plain(name: &Name<'_>) -> Option<String> {
    let mut text = String::new();
    for label in name.as_bytes() {
        if !text.is_empty() {
            text.push('.');
        }
        text.push_str(std::str::from_utf8(label).ok().filter(|label| !label.contains('.'))?);
    }
    text.make_ascii_lowercase();
    Some(text)
}

fn refuse(message: &[u8], code: RCODE) -> Verdict {
    refusal(message, code).map_or(Verdict::Drop, |bytes| Verdict::Answer(Answer::fixed(bytes)))
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};
    use std::rc::Rc;

    use simple_dns::rdata::RData;

    use super::super::question::response_code;
    use super::super::zone::{Entry, Zone};
    use super::*;

    const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 2);
    const SIX: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2);

    fn view() -> View {
        let zone = Zone::new("shop_default", ["10.1.0.0/24".parse().expect("a subnet")]);
        let names = vec!["shop-api-1".into(), "api".into()];
        zone.set("api-1", Entry { names, ipv4: Some(ADDRESS), ipv6: Some(SIX) });
        zone.set("old-1", Entry { names: vec!["old".into()], ipv4: Some(ADDRESS), ipv6: None });
        View { zones: vec![Rc::new(zone)], ..View::default() }
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
        examine(&view(), message, Transport::Udp)
    }

    fn code(message: &[u8]) -> RCODE {
        match examined(message) {
            Verdict::Answer(answer) => response_code(&answer.bytes).expect("a header"),
            other => panic!("no answer: {other:?}"),
        }
    }

    #[test]
    fn responses_and_fragments_of_a_header_are_dropped() {
        let mut response = query("api", TYPE::A);
        response[2] |= RESPONSE;
        for message in [&response[..], &query("api", TYPE::A)[..11], &[]] {
            assert!(matches!(examined(message), Verdict::Drop));
        }
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
        let packet = Packet::parse(&answer.bytes).expect("an answer");
        assert_eq!(packet.questions[0].qname.to_string(), "ApI");
        assert_eq!(packet.answers[0].rdata, RData::A(ADDRESS.into()));
    }

    #[test]
    fn each_type_has_its_records_and_the_others_none() {
        let answers = |name: &str, kind| match examined(&query(name, kind)) {
            Verdict::Answer(answer) => Packet::parse(&answer.bytes)
                .expect("an answer")
                .answers
                .into_iter()
                .map(|record| record.rdata.into_owned())
                .collect::<Vec<_>>(),
            other => panic!("no answer: {other:?}"),
        };
        assert_eq!(answers("api", TYPE::A), [RData::A(ADDRESS.into())]);
        assert_eq!(answers("api", TYPE::AAAA), [RData::AAAA(SIX.into())]);
        for (name, kind) in [("old", TYPE::AAAA), ("api", TYPE::MX), ("api", TYPE::SRV), ("api", TYPE::HTTPS)]
        {
            assert!(answers(name, kind).is_empty(), "{name} {kind:?}");
        }
        let mut any = query("api", TYPE::A);
        let kind = any.len() - 3;
        any[kind] = 255;
        let Verdict::Answer(answer) = examined(&any) else { panic!("no answer") };
        assert_eq!(Packet::parse(&answer.bytes).expect("an answer").answers.len(), 2);
        let reverse = format!("2.{}d.f.ip6.arpa", "0.".repeat(29));
        assert_eq!(answers(&reverse, TYPE::PTR).len(), 1);
    }

    #[test]
    fn an_address_of_which_no_name_can_be_written_has_an_answer_too() {
        let zone = Zone::new("shop_default", ["10.1.0.0/24".parse().expect("a subnet")]);
        zone.set("long-1", Entry { names: vec!["a".repeat(68)], ipv4: Some(ADDRESS), ipv6: None });
        let view = View { zones: vec![Rc::new(zone)], ..View::default() };
        for transport in [Transport::Udp, Transport::Tcp] {
            let asked = query("2.0.1.10.in-addr.arpa", TYPE::PTR);
            let Verdict::Answer(answer) = examine(&view, &asked, transport) else { panic!("no answer") };
            let answer = Packet::parse(&answer.bytes).expect("an answer");
            assert_eq!((answer.rcode(), answer.answers.len()), (RCODE::NoError, 0));
        }
    }

    #[test]
    fn what_is_for_others_is_known_by_name_and_type() {
        let asked = |name: &str, kind| match examined(&query(name, kind)) {
            Verdict::Forward(asked) => asked,
            other => panic!("not forwarded: {other:?}"),
        };
        assert!(asked("Store", TYPE::A).is_short() && asked("store", TYPE::AAAA).wants_address);
        assert!(!asked("example.com", TYPE::A).is_short());
        assert!(!asked("store", TYPE::MX).wants_address);
        assert_eq!(asked("Store", TYPE::A).name.as_deref(), Some("store"));
    }
}
