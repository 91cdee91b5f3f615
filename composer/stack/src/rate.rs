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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units() {
        assert_eq!(parse("10mbit"), Some(10_000_000));
        assert_eq!(parse("1.5gbit"), Some(1_500_000_000));
        assert_eq!(parse("64kbit"), Some(64_000));
        assert_eq!(parse("8bit"), Some(8));
        for text in ["", "10", "mbit", "0mbit", "-1mbit", "10mb", "10 mbit"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
