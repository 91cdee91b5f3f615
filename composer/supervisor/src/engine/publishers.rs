//! Where the ports of a container are: those that are published, and those that are only said to be there.

use std::collections::{BTreeMap, BTreeSet};

use composer_network::firewall::Direct;

use super::held::{place, ports_of};
use super::taken;
use crate::protocol::Publisher;
use crate::records::ContainerRecord;

/// Those of a container that runs, of which these are open at its own addresses. What is exposed stays in ranges: an image may say it of every port that there is.
pub fn of(record: &ContainerRecord, direct: &[Direct]) -> Vec<Publisher> {
    let mut publishers = Vec::new();
    let mut published: BTreeMap<String, BTreeSet<u32>> = BTreeMap::new();
    for port in &record.published {
        let protocol = port.protocol.to_string();
        published.entry(protocol.clone()).or_default().insert(port.target.into());
        publishers.extend(taken::addresses(port.host_ip).into_iter().map(|address| Publisher {
            address: Some(address),
            target: port.target,
            more: 0,
            published: port.port,
            protocol: protocol.clone(),
        }));
    }
    // Those that are open at the container's own address are said to be there, as in Docker; also where the other family
    // is led to them from the host.
    for port in direct {
        if let Some(published) = published.get_mut(&port.protocol.to_string()) {
            published.remove(&port.port.into());
        }
    }
    let none = BTreeSet::new();
    let ports =
        ports_of(&record.service).iter().map(|port| format!("{}/{}", port.target, place(port).protocol));
    let words: Vec<String> = record.service.expose.iter().cloned().chain(ports).collect();
    for (protocol, ranges) in exposed(&words) {
        let published = published.get(protocol).unwrap_or(&none);
        let free = ranges.into_iter().flat_map(|range| without(range, published));
        publishers.extend(free.filter_map(|(first, end)| {
            Some(Publisher {
                address: None,
                target: u16::try_from(first).ok()?,
                more: u16::try_from(end - first - 1).ok()?,
                published: 0,
                protocol: protocol.to_owned(),
            })
        }));
    }
    publishers
}

/// Ranges of ports, each from its first to the one behind its last, in order and apart from each other, by protocol.
fn exposed(words: &[String]) -> BTreeMap<&str, Vec<(u32, u32)>> {
    let mut found: BTreeMap<&str, Vec<(u32, u32)>> = BTreeMap::new();
    for word in words {
        let (ports, protocol) = word.split_once('/').unwrap_or((word, "tcp"));
        let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
        if let (Ok(first), Ok(last)) = (first.parse::<u16>(), last.parse::<u16>())
            && first <= last
        {
            found.entry(protocol).or_default().push((first.into(), u32::from(last) + 1));
        }
    }
    for ranges in found.values_mut() {
        ranges.sort_unstable();
        ranges.dedup_by(|next, before| {
            let joined = next.0 <= before.1;
            if joined {
                before.1 = before.1.max(next.1);
            }
            joined
        });
    }
    found
}

/// What is left of a range without these ports.
fn without((mut first, end): (u32, u32), ports: &BTreeSet<u32>) -> Vec<(u32, u32)> {
    let mut left = Vec::new();
    for port in ports.range(first..end) {
        left.push((first, *port));
        first = port + 1;
    }
    left.push((first, end));
    left.retain(|(first, end)| first < end);
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_overlaps_is_one_range() {
        let words = ["1-65535/udp", "2-65535/udp", "80", "443/tcp", "81-90/tcp", "9-8", "x", "70000"];
        let words = words.map(str::to_owned);
        let found: Vec<_> = exposed(&words).into_iter().collect();
        assert_eq!(found, [("tcp", vec![(80, 91), (443, 444)]), ("udp", vec![(1, 65536)])]);
    }

    #[test]
    fn what_is_published_is_not_said_twice() {
        let published = BTreeSet::from([1, 2, 80, 65535]);
        assert_eq!(without((1, 65536), &published), [(3, 80), (81, 65535)]);
        assert_eq!(without((80, 81), &published), []);
        assert_eq!(without((90, 91), &published), [(90, 91)]);
    }
}
