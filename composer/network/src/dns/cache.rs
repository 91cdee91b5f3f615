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
