//! Names that stand for addresses: under in-addr.arpa (RFC 1035, 3.5) and ip6.arpa (RFC 3596, 2.5).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Labels of an address, before the zone's two.
const V4_LABELS: usize = 4;
const V6_LABELS: usize = 32;

/// The address that a name stands for, given its labels.
pub(super) fn address(labels: &[&[u8]]) -> Option<IpAddr> {
    let (digits, zone) = labels.split_at(labels.len().checked_sub(2)?);
    let is =
        |wanted: [&[u8]; 2]| zone.iter().zip(wanted).all(|(label, name)| label.eq_ignore_ascii_case(name));
    if digits.len() == V4_LABELS && is([b"in-addr", b"arpa"]) {
        let mut octets = [0; V4_LABELS];
        for (octet, label) in octets.iter_mut().rev().zip(digits) {
            *octet = std::str::from_utf8(label).ok()?.parse().ok()?;
        }
        return Some(Ipv4Addr::from(octets).into());
    }
    if digits.len() == V6_LABELS && is([b"ip6", b"arpa"]) {
        let mut bits = 0_u128;
        for label in digits.iter().rev() {
            let [digit] = label else { return None };
            bits = bits << 4 | u128::from(char::from(*digit).to_digit(16)?);
        }
        return Some(Ipv6Addr::from_bits(bits).into());
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str) -> Option<IpAddr> {
        let labels: Vec<&[u8]> = name.split('.').map(str::as_bytes).collect();
        address(&labels)
    }

    #[test]
    fn names_of_both_families_are_read_backwards() {
        assert_eq!(of("4.3.2.1.In-Addr.arpa"), Some(Ipv4Addr::new(1, 2, 3, 4).into()));
        let zeros = "0.".repeat(28);
        let name = format!("2.0.0.A.{zeros}ip6.ARPA");
        assert_eq!(of(&name), Some("::a002".parse().expect("an address")));
    }

    #[test]
    fn other_names_are_none() {
        for name in [
            "",
            "arpa",
            "in-addr.arpa",
            "3.2.1.in-addr.arpa",
            "256.3.2.1.in-addr.arpa",
            "4.3.2.1.in-addr.org",
        ] {
            assert_eq!(of(name), None, "{name}");
        }
        assert_eq!(of(&format!("g.{}ip6.arpa", "0.".repeat(31))), None);
        assert_eq!(of(&format!("00.{}ip6.arpa", "0.".repeat(31))), None);
        assert_eq!(of(&format!("{}ip6.arpa", "0.".repeat(31))), None);
    }
}
