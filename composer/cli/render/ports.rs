//! Ports of a container in one line, as Docker has them.

use std::net::IpAddr;

use composer_supervisor::protocol::Publisher;

/// `0.0.0.0:8080->80/tcp, [::]:8080->80/tcp, 443/tcp`. Ports in a row that are the same on both sides are one range.
pub fn line(publishers: &[Publisher]) -> String {
    let mut ports: Vec<&Publisher> = publishers.iter().collect();
    ports.sort_by_key(|port| (port.target, url(port), port.published, port.protocol.clone()));
    let (mut done, mut mapped) = (Vec::new(), Vec::new());
    let mut ranges: Vec<Range<'_>> = Vec::new();
    for port in ports {
        match port.address {
            Some(address) if port.published != port.target => {
                mapped.push(format!(
                    "{}->{}/{}",
                    joined(address, &port.published.to_string()),
                    port.target,
                    port.protocol
                ));
            }
            address => {
                let last = port.target.saturating_add(port.more);
                let new = Range { address, protocol: &port.protocol, first: port.target, last };
                match ranges.iter_mut().find(|range| range.is_of(&new)) {
                    None => ranges.push(new),
                    Some(range) if range.last.checked_add(1) == Some(port.target) => range.last = last,
                    Some(range) => done.push(std::mem::replace(range, new).to_string()),
                }
            }
        }
    }
    done.extend(ranges.iter().map(Range::to_string));
    done.extend(mapped);
    done.join(", ")
}

/// The host's address as Docker's objects have it.
pub fn url(port: &Publisher) -> String {
    port.address.map(|address| address.to_string()).unwrap_or_default()
}

/// An address and a port, or a range of them.
pub fn joined(address: IpAddr, ports: &str) -> String {
    match address {
        IpAddr::V4(address) => format!("{address}:{ports}"),
        IpAddr::V6(address) => format!("[{address}]:{ports}"),
    }
}

struct Range<'a> {
    address: Option<IpAddr>,
    protocol: &'a str,
    first: u16,
    last: u16,
}

impl Range<'_> {
    fn is_of(&self, other: &Range<'_>) -> bool {
        (self.address, self.protocol) == (other.address, other.protocol)
    }
}

impl std::fmt::Display for Range<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ports = if self.first == self.last {
            self.first.to_string()
        } else {
            format!("{}-{}", self.first, self.last)
        };
        match self.address {
            Some(address) => write!(f, "{}->{ports}/{}", joined(address, &ports), self.protocol),
            None => write!(f, "{ports}/{}", self.protocol),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(address: &str, published: u16, target: u16) -> Publisher {
        Publisher { address: address.parse().ok(), target, more: 0, published, protocol: "tcp".to_owned() }
    }

    #[test]
    fn ports_are_put_as_docker_puts_them() {
        assert_eq!(line(&[]), "");
        let both = [port("0.0.0.0", 8080, 80), port("::", 8080, 80), port("", 0, 443)];
        assert_eq!(line(&both), "443/tcp, 0.0.0.0:8080->80/tcp, [::]:8080->80/tcp");
        let same: Vec<_> = [81, 80, 83].map(|number| port("127.0.0.1", number, number)).to_vec();
        assert_eq!(line(&same), "127.0.0.1:80-81->80-81/tcp, 127.0.0.1:83->83/tcp");
        let exposed = [("", 65535, 0), ("", 10, 65524)];
        let exposed = exposed.map(|(address, target, more)| Publisher { more, ..port(address, 0, target) });
        assert_eq!(line(&exposed), "10-65535/tcp");
    }
}
