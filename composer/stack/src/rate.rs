//! Rates in bits a second, as tc(8) spells them: `10mbit`.

/// The rate of `text`; `None` where it is none. Units are powers of 1000.
pub(crate) fn parse(text: &str) -> Option<u64> {
    let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match &text[number.len()..] {
        "bit" => 1.0,
        "kbit" => 1e3,
        "mbit" => 1e6,
        "gbit" => 1e9,
        _ => return None,
    };
    let rate = number.parse::<f64>().ok()? * factor;
    // A fraction of a bit is none.
    (rate.is_finite() && rate >= 1.0).then_some(rate as u64)
}

/// A rate as a file has it, in the greatest unit that leaves no more than three places.
pub(crate) fn show(bits: u64) -> String {
    let units = [(1_000_000_000, "gbit"), (1_000_000, "mbit"), (1_000, "kbit")];
    match units.into_iter().find(|(unit, _)| bits >= *unit && bits.is_multiple_of(unit / 1000)) {
        #[expect(clippy::cast_precision_loss, reason = "a number of three places and the whole ones")]
        Some((unit, word)) => format!("{}{word}", bits as f64 / unit as f64),
        None => format!("{bits}bit"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units() {
        assert_eq!(parse("10mbit"), Some(10_000_000));
        assert_eq!(parse("1.5gbit"), Some(1_500_000_000));
        assert_eq!(parse("64kbit"), Some(64_000));
        assert_eq!(parse("8bit"), Some(8));
        for text in ["10mbit", "1.5gbit", "64kbit", "8bit", "1234.567kbit"] {
            assert_eq!(show(parse(text).unwrap()), text);
        }
        for text in ["", "10", "mbit", "0mbit", "-1mbit", "10mb", "10 mbit"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
