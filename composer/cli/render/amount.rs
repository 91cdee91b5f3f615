//! Amounts of bytes as Docker writes them.

/// `23.54GiB`: four digits, units of 1024 (go-units' `BytesSize`).
pub fn binary(bytes: u64) -> String {
    scaled(bytes, 1024.0, &["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"], 4)
}

/// `1.07kB`: three digits, units of 1000 (go-units' `HumanSizeWithPrecision`).
pub fn decimal(bytes: u64) -> String {
    scaled(bytes, 1000.0, &["B", "kB", "MB", "GB", "TB", "PB", "EB"], 3)
}

/// So many digits, in the largest unit that leaves something before the point.
pub fn scaled(bytes: u64, base: f64, units: &[&str], digits: usize) -> String {
    let mut value = bytes as f64;
    let mut units = units.iter();
    let mut unit = units.next().copied().unwrap_or_default();
    while value >= base {
        let Some(next) = units.next() else { break };
        value /= base;
        unit = next;
    }
    // Go's %g: so many digits in all, and no zeros at the end.
    let whole = (value as u64).to_string().len();
    let text = format!("{value:.*}", digits.saturating_sub(whole));
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_written_as_docker_does() {
        assert_eq!(binary(0), "0B");
        assert_eq!(binary(320 << 10), "320KiB");
        assert_eq!(binary(25_276_000_000), "23.54GiB");
        assert_eq!(decimal(1070), "1.07kB");
        assert_eq!(decimal(999), "999B");
        assert_eq!(decimal(12_345_678), "12.3MB");
    }
}
