//! Answers as they were encoded, to be sent again: clients ask the same few questions over and over.

use std::cell::RefCell;
use std::collections::HashMap;

use super::answer::{Answer, Turns};

/// Questions that are kept for one container. More than its programs ask; and who asks for thousands of names, or for
/// the same in random case, makes it begin anew.
const QUESTIONS: usize = 256;
/// Bytes of the longest query and answer that are kept: what fits plain UDP.
const LONGEST: usize = 512;
/// Among so many addresses the answers take turns: each turn is kept by itself.
const MOST_TURNS: usize = 16;
/// Bytes of a message's id, which is the client's own each time.
const ID: usize = 2;

/// One container's answers over UDP.
#[derive(Debug, Default)]
pub(super) struct Cache(RefCell<Kept>);

#[derive(Debug, Default)]
struct Kept {
    /// Of the view when these were made.
    version: u64,
    /// By the query without its id: all of it counts, flags and EDNS as well.
    answers: HashMap<Box<[u8]>, ByTurn>,
}

#[derive(Debug)]
struct ByTurn {
    turns: Turns,
    /// None where this turn has not come yet.
    answers: Box<[Option<Box<[u8]>>]>,
}

impl Cache {
    /// Writes the answer to `query` into `to`, if it is there and the view has still this version.
    pub(super) fn answer(&self, version: u64, query: &[u8], to: &mut Vec<u8>) -> bool {
        let Some((id, question)) = query.split_at_checked(ID) else {
            return false;
        };
        let kept = self.0.borrow();
        if kept.version != version {
            return false;
        }
        let Some(by_turn) = kept.answers.get(question) else {
            return false;
        };
        // Its turn is not taken before it is known to be there: else the one who makes it would take the next.
        let Some(Some(answer)) = by_turn.answers.get(by_turn.turns.coming()) else {
            return false;
        };
        by_turn.turns.take();
        to.clear();
        to.extend_from_slice(id);
        to.extend_from_slice(answer);
        true
    }

    /// Keeps the answer to `query` that was made from the view at this version.
    pub(super) fn keep(&self, version: u64, query: &[u8], answer: &Answer) {
        let (Some((_, question)), Some((_, bytes)), Some(turns)) =
            (query.split_at_checked(ID), answer.bytes.split_at_checked(ID), &answer.turns)
        else {
            return;
        };
        if question.len() > LONGEST || bytes.len() > LONGEST || turns.of > MOST_TURNS {
            return;
        }
        let mut kept = self.0.borrow_mut();
        if kept.version != version
            || (kept.answers.len() >= QUESTIONS && !kept.answers.contains_key(question))
        {
            *kept = Kept { version, ..Kept::default() };
        }
        let by_turn = kept
            .answers
            .entry(question.into())
            .or_insert_with(|| ByTurn { turns: turns.clone(), answers: vec![None; turns.of].into() });
        if let Some(place) = by_turn.answers.get_mut(turns.turn) {
            *place = Some(bytes.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::rc::Rc;

    use simple_dns::{CLASS, Name, Packet, Question, TYPE};

    use super::super::message::{self, Transport, Verdict};
    use super::super::view::View;
    use super::super::zone::{Entry, Zone};
    use super::*;

    fn query(id: u16, name: &str) -> Vec<u8> {
        let mut packet = Packet::new_query(id);
        let name = Name::new(name).expect("a name");
        packet.questions.push(Question::new(name, TYPE::A.into(), CLASS::IN.into(), false));
        packet.build_bytes_vec().expect("a query")
    }

    fn zone(replicas: u8) -> Rc<Zone> {
        let zone = Zone::new("shop_default", []);
        for last in 0..replicas {
            let names = vec!["api".to_owned()];
            let ipv4 = Some(Ipv4Addr::new(10, 1, 0, last));
            zone.set(&last.to_string(), Entry { names, ipv4, ipv6: None });
        }
        Rc::new(zone)
    }

    /// The answer, and whether it was kept before.
    fn asked(cache: &Cache, view: &View, query: &[u8]) -> (Vec<u8>, bool) {
        let mut answer = Vec::new();
        if cache.answer(view.version(), query, &mut answer) {
            return (answer, true);
        }
        let Verdict::Answer(answer) = message::examine(view, query, Transport::Udp) else {
            panic!("no answer")
        };
        cache.keep(view.version(), query, &answer);
        (answer.bytes, false)
    }

    #[test]
    fn what_is_kept_is_what_would_be_made_under_the_askers_id_and_in_turn() {
        let (kept, made) = (Cache::default(), Cache::default());
        let [one, other] = [zone(3), zone(3)].map(|zone| View { zones: vec![zone], ..View::default() });
        for id in 0..12 {
            let (answer, was_kept) = asked(&kept, &one, &query(id, "api"));
            let (same, _) = asked(&made, &other, &query(id, "api"));
            made.0.borrow_mut().answers.clear();
            assert_eq!((answer, was_kept), (same, id >= 3), "{id}");
        }
    }

    #[test]
    fn nothing_is_kept_beyond_a_change_nor_without_bound() {
        let (cache, zone) = (Cache::default(), zone(1));
        let view = View { zones: vec![Rc::clone(&zone)], ..View::default() };
        asked(&cache, &view, &query(1, "api"));
        assert!(asked(&cache, &view, &query(2, "api")).1);
        zone.set(
            "0",
            Entry { names: vec!["api".to_owned()], ipv4: Some(Ipv4Addr::new(10, 1, 0, 9)), ipv6: None },
        );
        let (answer, was_kept) = asked(&cache, &view, &query(3, "api"));
        assert!(!was_kept && answer.ends_with(&[10, 1, 0, 9]));
        // The same name in more spellings than are kept.
        zone.set(
            "long",
            Entry { names: vec!["a".repeat(12)], ipv4: Some(Ipv4Addr::new(10, 1, 0, 8)), ipv6: None },
        );
        for case in 0..1000_u32 {
            let spell = |bit: u32| if case >> bit & 1 == 0 { 'a' } else { 'A' };
            asked(&cache, &view, &query(4, &(0..12).map(spell).collect::<String>()));
            assert!(cache.0.borrow().answers.len() <= QUESTIONS);
        }
    }
}
