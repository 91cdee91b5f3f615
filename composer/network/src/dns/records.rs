//! The records of a message, by their bytes: upstreams answer with types that the library does not know.

use std::iter::repeat_n;

use super::question::{HEADER, question_end};

/// Bytes of type, class, TTL and length, between a record's name and its data.
const FIXED: usize = 10;
/// OPT (RFC 6891, 6.1.1).
const OPT: u16 = 41;
/// The bit of the header's third byte that says that something was left out.
const TRUNCATED: u8 = 0x02;

/// A section of a message, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Section {
    Answers,
    Authority,
    Additional,
}

/// Where a record is.
#[derive(Debug, Clone, Copy)]
struct Record {
    section: Section,
    start: usize,
    /// Where its type is.
    fixed: usize,
    end: usize,
}

/// The records as far as they can be read.
fn records(message: &[u8]) -> impl Iterator<Item = Record> {
    let sections = [(6, Section::Answers), (8, Section::Authority), (10, Section::Additional)];
    let claimed = sections
        .into_iter()
        .flat_map(|(at, section)| repeat_n(section, number(message, at).unwrap_or_default().into()));
    let mut place = match number(message, 4) {
        Some(0) => HEADER,
        _ => question_end(message),
    };
    claimed.map_while(move |section| {
        let start = place;
        let fixed = name_end(message, start)?;
        let end = fixed + FIXED + usize::from(number(message, fixed + FIXED - 2)?);
        place = end;
        (end <= message.len()).then_some(Record { section, start, fixed, end })
    })
}

/// The record of a message that is about EDNS.
fn opt(message: &[u8]) -> Option<Record> {
    let is_it = |record: &Record| {
        record.section == Section::Additional
            && record.fixed == record.start + 1
            && number(message, record.fixed) == Some(OPT)
    };
    records(message).find(is_it)
}

/// Bytes of an answer that the asker takes over UDP, from the query's OPT record (RFC 6891, 6.2.3). What cannot be read of
/// a query counts as not being there.
pub(super) fn edns_size(query: &[u8]) -> Option<u16> {
    // In the place of the class.
    number(query, opt(query)?.fixed + 2)
}

/// Somebody's answer as the asker takes it over UDP: where it is too long, the answers that fit, and that there is more
/// (RFC 1035, 4.2.1; RFC 2181, 9). Resolvers that do not ask again over TCP live on what fits.
pub(super) fn fitting(mut answer: Vec<u8>, limit: u16, edns: bool) -> Vec<u8> {
    let limit = usize::from(limit);
    if answer.len() <= limit || answer.len() < HEADER {
        return answer;
    }
    // Its flags are of the whole answer, its options perhaps of what is left out.
    let opt =
        opt(&answer).filter(|_| edns).map(|opt| [&answer[opt.start..opt.end - data(&opt)], &[0; 2]].concat());
    let opt = opt.unwrap_or_default();
    let fits = |record: &Record| record.section == Section::Answers && record.end + opt.len() <= limit;
    // Names point backwards alone: what they point to stays.
    let kept: Vec<Record> = records(&answer).take_while(fits).collect();
    let end = kept.last().map_or_else(|| question_end(&answer), |record| record.end);
    let count = u16::try_from(kept.len()).unwrap_or(u16::MAX);
    answer.truncate(end.min(limit));
    answer[2] |= TRUNCATED;
    answer[6..8].copy_from_slice(&count.to_be_bytes());
    answer[8..10].fill(0);
    answer[10..HEADER].copy_from_slice(&u16::from(!opt.is_empty()).to_be_bytes());
    answer.extend(opt);
    answer
}

/// Bytes of a record's data and of its length.
fn data(record: &Record) -> usize {
    record.end - record.fixed - (FIXED - 2)
}

fn number(message: &[u8], at: usize) -> Option<u16> {
    message.get(at..at + 2)?.try_into().ok().map(u16::from_be_bytes)
}

/// Where a name ends.
fn name_end(message: &[u8], mut place: usize) -> Option<usize> {
    loop {
        match *message.get(place)? {
            0 => return Some(place + 1),
            0xc0.. => return Some(place + 2),
            length @ ..0x40 => place += 1 + usize::from(length),
            // Never used (RFC 6891, 5).
            0x40..0xc0 => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use simple_dns::rdata::{A, OPT, RData};
    use simple_dns::{CLASS, Name, Packet, PacketFlag, Question, ResourceRecord, TYPE};

    use super::*;

    fn opt(size: u16) -> OPT<'static> {
        OPT { opt_codes: Vec::new(), udp_packet_size: size, version: 0 }
    }

    /// An answer of so many addresses.
    fn answer(addresses: u8, edns: bool) -> Vec<u8> {
        let mut packet = Packet::new_reply(7);
        let name = Name::new("big.example").expect("a name");
        packet.questions.push(Question::new(name.clone(), TYPE::A.into(), CLASS::IN.into(), false));
        for last in 0..addresses {
            let data = RData::A(A::from(Ipv4Addr::new(192, 0, 2, last)));
            packet.answers.push(ResourceRecord::new(name.clone(), CLASS::IN, 5, data));
        }
        if edns {
            *packet.opt_mut() = Some(opt(1232));
        }
        packet.build_bytes_vec_compressed().expect("an answer")
    }

    #[test]
    fn an_answer_that_is_too_long_is_cut_at_a_record() {
        for edns in [false, true] {
            let whole = answer(100, edns);
            for limit in [512, 600, 1232] {
                let cut = fitting(whole.clone(), limit, edns);
                let packet = Packet::parse(&cut).expect("an answer");
                assert!(packet.has_flags(PacketFlag::TRUNCATION));
                assert_eq!(packet.opt().is_some(), edns);
                // No more would have fitted.
                assert!(cut.len() <= limit.into() && cut.len() + 16 > limit.into(), "{} {limit}", cut.len());
                assert_eq!(packet.answers[0].rdata, RData::A(A::from(Ipv4Addr::new(192, 0, 2, 0))));
            }
            assert_eq!(fitting(whole.clone(), 4096, edns), whole);
        }
        // Who has not said that it knows of EDNS hears nothing of it.
        let cut = fitting(answer(100, true), 512, false);
        assert!(Packet::parse(&cut).expect("an answer").opt().is_none());
    }

    #[test]
    fn what_cannot_be_read_is_cut_to_its_question() {
        let mut strange = answer(100, false);
        let first = question_end(&strange);
        strange[first] = 0x80;
        let cut = fitting(strange.clone(), 512, false);
        assert_eq!((cut.len(), &cut[6..HEADER]), (first, &[0; 6][..]));
        assert!(Packet::parse(&cut).expect("an answer").has_flags(PacketFlag::TRUNCATION));
        for length in 0..strange.len() {
            fitting(strange[..length].to_vec(), 20, true);
            edns_size(&strange[..length]);
        }
        assert!(fitting(vec![0xff; 600], 512, true).len() <= 512);
    }

    #[test]
    fn the_size_is_known_whatever_is_asked_for() {
        let mut query = Packet::new_query(7);
        let name = Name::new("big.example").expect("a name");
        query.questions.push(Question::new(name, TYPE::A.into(), CLASS::IN.into(), false));
        *query.opt_mut() = Some(opt(1400));
        let mut bytes = query.build_bytes_vec().expect("a query");
        // A type that the library does not know.
        let kind = question_end(&bytes) - 4;
        bytes[kind..kind + 2].copy_from_slice(&0xfdfd_u16.to_be_bytes());
        assert_eq!(edns_size(&bytes), Some(1400));
        assert_eq!(edns_size(&bytes[..bytes.len() - 1]), None);
    }
}
