//! What can be read from a message without understanding all of it: header, question, OPT record.

use simple_dns::{Packet, RCODE, SimpleDnsError, header_buffer};

/// Bytes of a message's header.
pub(super) const HEADER: usize = 12;
/// The bit of the header's third byte that makes a message a response.
pub(super) const RESPONSE: u8 = 0x80;
/// Bytes of a question after its name's last label: the root's zero, type and class.
const QUESTION_TAIL: usize = 5;
/// Bytes of a header and the longest question: a name of 255 bytes.
const HEAD: usize = HEADER + 255 + 4;
/// Bytes of an OPT record without options.
pub(super) const OPT_RECORD: usize = 11;

/// Whether `answer` is a response to `query`: the same id and the same question, names in any case.
pub(super) fn answers(query: &[u8], answer: &[u8]) -> bool {
    let (Some(asked), Some(header)) = (query.get(HEADER..question_end(query)), answer.get(..HEADER)) else {
        return false;
    };
    if query.get(..2) != header.get(..2) || header[2] & RESPONSE == 0 {
        return false;
    }
    match answer.get(HEADER..HEADER + asked.len()) {
        Some(answered) if is_same(asked, answered) => true,
        // An upstream that could not read the question need not repeat it.
        _ => response_code(answer) != Some(RCODE::NoError) && header_buffer::questions(answer) == Ok(0),
    }
}

/// Whether two questions are the same: their names in any case, type and class to the bit.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    one.eq_ignore_ascii_case(other) && one.iter().rev().take(4).eq(other.iter().rev().take(4))
}

/// The response code in a message's header.
pub(super) fn response_code(message: &[u8]) -> Option<RCODE> {
    header_buffer::rcode(message).ok()
}

/// Bytes of an answer that the asker takes over UDP, from the query's OPT record (RFC 6891, 6.2.3). The rest of a
/// query that cannot be parsed counts as not being there. (The version is not looked at: simple-dns 0.13 reads
/// it from the place of the flags.)
pub(super) fn edns_size(message: &[u8]) -> Option<u16> {
    let records = [header_buffer::answers, header_buffer::name_servers, header_buffer::additional_records];
    let claimed: usize = records.iter().filter_map(|count| count(message).ok()).map(usize::from).sum();
    // The library reserves room for as many records as the header claims: only for what can be there.
    if claimed == 0 || claimed > message.len() / OPT_RECORD {
        return None;
    }
    Packet::parse(message).ok()?.opt().map(|opt| opt.udp_packet_size)
}

/// Where the question ends; the length of the message when it has no end.
fn question_end(message: &[u8]) -> usize {
    let mut place = HEADER;
    while let Some(length) = message.get(place) {
        match length {
            0 => return (place + QUESTION_TAIL).min(message.len()),
            // A pointer ends a name as well, though the first name of a message has nothing to point to.
            0xc0.. => return (place + 1 + QUESTION_TAIL).min(message.len()),
            length => place += 1 + usize::from(*length),
        }
    }
    message.len()
}

/// A message's header and question without the rest, which may be of types that the library does not know and is
/// forwarded as it came.
pub(super) struct Head {
    bytes: [u8; HEAD],
    length: usize,
}

impl Head {
    pub(super) fn of(message: &[u8]) -> Self {
        let mut bytes = [0; HEAD];
        let length = question_end(message).min(HEAD).min(message.len());
        bytes[..length].copy_from_slice(&message[..length]);
        // The counts of answers, name servers and additional records.
        bytes[6..HEADER].fill(0);
        Self { bytes, length }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    pub(super) fn parse(&self) -> simple_dns::Result<Packet<'_>> {
        let bytes = self.bytes();
        if header_buffer::questions(bytes)? != 1 {
            return Err(SimpleDnsError::InvalidDnsPacket);
        }
        Packet::parse(bytes)
    }
}

#[cfg(test)]
mod tests {
    use simple_dns::{CLASS, Name, Question, TYPE};

    use super::*;

    fn query(name: &str, kind: TYPE) -> Vec<u8> {
        let mut packet = Packet::new_query(7);
        let name = Name::new(name).expect("a name");
        packet.questions.push(Question::new(name, kind.into(), CLASS::IN.into(), false));
        packet.build_bytes_vec().expect("a query")
    }

    #[test]
    fn an_answer_must_have_the_id_and_the_question() {
        let asked = query("api.example", TYPE::A);
        let respond = |name: &str, kind| {
            let mut message = query(name, kind);
            message[2] |= RESPONSE;
            message
        };
        assert!(answers(&asked, &respond("API.example", TYPE::A)));
        assert!(!answers(&asked, &asked), "a query is no answer");
        assert!(!answers(&asked, &respond("api.example", TYPE::AAAA)));
        assert!(!answers(&asked, &respond("other.example", TYPE::A)));
        let mut other_id = respond("api.example", TYPE::A);
        other_id[1] ^= 1;
        assert!(!answers(&asked, &other_id));
        assert!(!answers(&asked, &respond("api.example", TYPE::A)[..20]));
        // An error without a question, as some send it.
        let mut refused = respond("api.example", TYPE::A)[..HEADER].to_vec();
        refused[3] |= 5;
        refused[5] = 0;
        assert!(answers(&asked, &refused));
    }
}
