//! Amounts of bytes as Docker writes them: `64m`, `1.5gb`, `1073741824`; every unit is a power of 1024.

/// Bytes of `text`; `None` where it is not an amount (docker/go-units `RAMInBytes`).
pub(crate) fn parse(text: &str) -> Option<u64> {
    scaled(text, 1024.0)
}

/// The same where every unit is a power of 1000 (docker/go-units `FromHumanSize`).
pub(crate) fn parse_decimal(text: &str) -> Option<u64> {
    scaled(text, 1000.0)
}

fn scaled(text: &str, base: f64) -> Option<u64> {
    let split = text.rfind(|c: char| c.is_ascii_digit() || matches!(c, '.' | ' '))?;
    let (front, unit) = text.split_at(split + 1);
    let front = front.strip_suffix(' ').unwrap_or(front);
    // Go lets underscores stand between digits.
    let bytes = front.as_bytes();
    let parted = bytes
        .windows(3)
        .all(|three| three[1] != b'_' || (three[0].is_ascii_digit() && three[2].is_ascii_digit()));
    if !parted || front.starts_with('_') || front.ends_with('_') {
        return None;
    }
    let number: f64 = front.replace('_', "").parse().ok()?;
    let unit = unit.to_ascii_lowercase();
    let power = match unit.strip_suffix("ib").or_else(|| unit.strip_suffix('b')).unwrap_or(&unit) {
        "" if unit != "ib" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => return None,
    };
    let bytes = number * base.powi(power);
    // Beyond i64 neither Docker nor the kernel has a use for it.
    (bytes >= 0.0 && bytes < i64::MAX as f64).then_some(bytes as u64)
}

/// An amount for users: `64 MiB`.
pub fn show(bytes: u64) -> String {
    for (unit, size) in [("TiB", 1_u64 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
        if bytes >= size {
            let tenths = bytes as f64 / size as f64;
            return if bytes.is_multiple_of(size) {
                format!("{} {unit}", bytes / size)
            } else {
                format!("{tenths:.1} {unit}")
            };
        }
    }
    if bytes == 1 { "1 byte".to_owned() } else { format!("{bytes} bytes") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts() {
        for (text, bytes) in [
            ("0", 0),
            ("64m", 64 << 20),
            ("64MB", 64 << 20),
            ("64MiB", 64 << 20),
            ("1.5g", 3 << 29),
            ("10 k", 10 << 10),
            ("5b", 5),
            ("2t", 2 << 40),
            ("1e3", 1000),
            ("1.5", 1),
        ] {
            assert_eq!(parse(text), Some(bytes), "{text}");
        }
        for text in ["", "m", "64q", "1.2.3m", "-5m", "99999999999p", "5ib", "64m m"] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(parse_decimal("10m"), Some(10_000_000));
        assert_eq!(show(64 << 20), "64 MiB");
        assert_eq!(show(3 << 29), "1.5 GiB");
        assert_eq!([0, 1, 2].map(show), ["0 bytes", "1 byte", "2 bytes"]);
    }
}
