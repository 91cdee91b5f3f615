//! The order of keys that users choose: in YAML that of Go's library, where `s2` stands before `s10`.

use std::cmp::Ordering;
use std::iter::Peekable;
use std::str::Chars;

/// Compares keys piece by piece. The pieces are ordered among themselves, so that this is an order whatever the keys.
pub(crate) fn natural(one: &str, other: &str) -> Ordering {
    let (mut one, mut other) = (one.chars().peekable(), other.chars().peekable());
    let mut behind_number = false;
    loop {
        let order = match (piece(&mut one, behind_number), piece(&mut other, behind_number)) {
            (None, None) => return Ordering::Equal,
            (a, b) => {
                behind_number = matches!(a, Some(Piece { number: Some(_), .. }));
                a.cmp(&b)
            }
        };
        if order != Ordering::Equal {
            return order;
        }
    }
}

/// A character or a number; the end of a key comes before all of them.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Piece {
    /// Behind a number letters come first, elsewhere last.
    class: u8,
    number: Option<Number>,
    character: char,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Number {
    /// How long it is without zeros before it: the longer one is the greater one.
    length: usize,
    digits: String,
    /// With them.
    written: usize,
}

fn piece(rest: &mut Peekable<Chars<'_>>, behind_number: bool) -> Option<Piece> {
    let character = rest.next()?;
    if !character.is_ascii_digit() {
        let class = match (character.is_alphabetic(), behind_number) {
            (true, false) => 2,
            (false, true) => 1,
            (true, true) | (false, false) => 0,
        };
        return Some(Piece { class, number: None, character });
    }
    let mut digits = String::from(character);
    while let Some(digit) = rest.next_if(char::is_ascii_digit) {
        digits.push(digit);
    }
    let written = digits.len();
    let digits = digits.trim_start_matches('0').to_owned();
    Some(Piece { class: 1, number: Some(Number { length: digits.len(), digits, written }), character: '0' })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_compared_as_numbers() {
        let sorted = [
            "", "A", "V", "V-", "V0", "V00", "V1", "V01", "V1a", "V1-", "V2", "V10", "V10a", "Va", "_", "a",
            "é",
        ];
        let mut keys = sorted.to_vec();
        keys.reverse();
        keys.sort_by(|one, other| natural(one, other));
        // What has no letter comes before what has one.
        let expected = [
            "", "_", "A", "V", "V-", "V0", "V00", "V1", "V1a", "V1-", "V01", "V2", "V10", "V10a", "Va", "a",
            "é",
        ];
        assert_eq!(keys, expected);
    }
}
