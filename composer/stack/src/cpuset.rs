//! Lists of CPUs as the kernel writes them: `0-2,4` (cpuset(7), "List format").

use std::collections::BTreeSet;

/// No kernel is built for more.
const MOST: u32 = 8192;

/// The CPUs of `text`; `None` where it is no list or an empty one.
pub(crate) fn parse(text: &str) -> Option<BTreeSet<u32>> {
    let mut ranges = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return None;
        }
        ranges.push((first, last));
    }
    // Sorted, each CPU is looked at once, however often it is given.
    ranges.sort_unstable();
    let mut next = 0;
    let mut cpus = BTreeSet::new();
    for (first, last) in ranges {
        cpus.extend(first.max(next)..=last);
        next = next.max(last + 1);
    }
    Some(cpus)
}

fn number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten().filter(|&cpu| cpu < MOST)
}

/// The shortest list of `cpus`.
pub(crate) fn show(cpus: &BTreeSet<u32>) -> String {
    let mut parts: Vec<(u32, u32)> = Vec::new();
    for &cpu in cpus {
        match parts.last_mut() {
            Some((_, last)) if *last + 1 == cpu => *last = cpu,
            _ => parts.push((cpu, cpu)),
        }
    }
    let parts = parts.iter().map(|(a, b)| if a == b { a.to_string() } else { format!("{a}-{b}") });
    parts.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists() {
        assert_eq!(parse("0-2,4").map(|cpus| show(&cpus)).as_deref(), Some("0-2,4"));
        assert_eq!(parse("4,0,1").map(|cpus| show(&cpus)).as_deref(), Some("0-1,4"));
        let ten = BTreeSet::from_iter(0..10);
        assert_eq!(parse("2-9,0-5,3,7-9,0-9"), Some(ten));
        let many = parse(&["0-8191"; 10_000].join(",")).map(|cpus| cpus.len());
        assert_eq!(many, Some(8192));
        for text in ["", "a", "2-1", "0-", "-1", "0,,1", "0-99999", "+1"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
