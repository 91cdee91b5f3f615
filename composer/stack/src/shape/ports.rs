//! `ports`: `[[ADDRESS:]HOST:]CONTAINER[/PROTOCOL]`, each side a port or a range, or mappings. Ranges become one item
//! a port, in the order in which Docker's library sorts them.

use std::net::IpAddr;

use super::forms::{mapping, scalar_text};
use super::{Conversion, Shaper};
use crate::spec::container::PORT;
use crate::spec::{INT, Shape};
use crate::yaml::{Entry, Node, Resolved, Value, limits};

const HELP: &str = "write `CONTAINER`, `HOST:CONTAINER` or `ADDRESS:HOST:CONTAINER`, such as `8080:80`";

/// The list of ports.
pub(crate) const PORTS: Shape = Shape::Short(&Conversion {
    what: "a list",
    forms: &[Shape::List(&Shape::Text), Shape::List(&INT)],
    lengthen: ports,
    long: Shape::List(&Shape::Record(&PORT)),
});

fn ports(node: Node, _: &str, shaper: &mut Shaper<'_>) -> Option<Node> {
    let Value::List(items) = node.value else {
        return Some(node);
    };
    let mut out = Vec::with_capacity(items.len());
    for item in items {
        match &item.value {
            Value::Map(_) => out.push(item),
            Value::Scalar(scalar) => match scalar.resolve() {
                Resolved::Text(_) | Resolved::Int(_) => {
                    let text = scalar_text(&item).unwrap_or_default();
                    match parse(&text) {
                        Ok(ports) => {
                            let left = (*shaper.ports)?;
                            *shaper.ports = left.checked_sub(ports.len());
                            if shaper.ports.is_none() {
                                shaper.value(&item, "the ports of all services add up to too many").note(
                                    format!("short forms may stand for {} ports in all", limits::PORTS),
                                );
                                return None;
                            }
                            out.extend(ports.into_iter().map(|port| port.node(&item)));
                        }
                        Err(wrong) => {
                            shaper.value(&item, format!("`{text}` is not a port: {wrong}")).help(HELP);
                            // Where expressions are kept, so is this one's list.
                            if !shaper.interpolated {
                                return None;
                            }
                        }
                    }
                }
                Resolved::Null | Resolved::Bool(_) | Resolved::Float(_) => {
                    let expected = "a string, a whole number or a mapping";
                    shaper.wrong_type(&item, "an item of `ports`", expected).unwrap_or(())
                }
            },
            Value::List(_) => {
                shaper.wrong_type(&item, "an item of `ports`", "a string or a mapping").unwrap_or(())
            }
        }
    }
    Some(Node { value: Value::List(out), ..node })
}

/// One published port.
#[derive(Debug, PartialEq)]
pub(crate) struct Port {
    pub address: Option<String>,
    pub target: u16,
    /// A port, or a range of which a free one is taken.
    pub published: Option<String>,
    pub protocol: String,
}

impl Port {
    fn node(self, item: &Node) -> Node {
        let span = item.span;
        let written = item.text_value().and_then(|text| text.rsplit_once('/'));
        let protocol =
            if written.is_some_and(|(_, protocol)| !protocol.is_empty()) { span } else { span.implied() };
        let mut node = mapping(
            span,
            [
                ("mode", Node::text(span.implied(), "ingress")),
                ("target", Node::bare(span, self.target)),
                ("protocol", Node::text(protocol, self.protocol)),
            ],
        );
        if let Value::Map(map) = &mut node.value {
            let optional = [("host_ip", self.address), ("published", self.published)];
            for (key, text) in optional.into_iter().filter_map(|(key, text)| Some((key, text?))) {
                map.insert(key.to_owned(), Entry { key: span, node: Node::text(span, text) });
            }
        }
        node
    }
}

/// Docker's `nat.ParsePortSpecs` of one string.
pub(crate) fn parse(text: &str) -> Result<Vec<Port>, String> {
    let (front, container) = text.rsplit_once(':').map_or((None, text), |(front, last)| (Some(front), last));
    let (address, host) = match front {
        Some(front) => front.rsplit_once(':').map_or(("", front), |(address, host)| (address, host)),
        None => ("", ""),
    };
    let (ports, protocol) = match container.split_once('/') {
        Some((ports, "")) => (ports, "tcp"),
        // What follows a second slash is not looked at.
        Some((ports, rest)) => (ports, rest.split('/').next().unwrap_or(rest)),
        None => (container, "tcp"),
    };
    let protocol = protocol.to_ascii_lowercase();
    if !["tcp", "udp", "sctp"].contains(&protocol.as_str()) {
        return Err(format!("`{protocol}` is not a protocol (`tcp`, `udp` and `sctp` are)"));
    }
    if ports.is_empty() {
        return Err("the port of the container is missing".to_owned());
    }
    let address = (!address.is_empty()).then(|| self::address(address)).transpose()?;
    let (first, last) = range(ports).ok_or_else(|| wrong_range(ports))?;
    if first == 0 {
        return Err("the container has no port 0".to_owned());
    }
    let host = (!host.is_empty()).then(|| range(host).ok_or_else(|| wrong_range(host))).transpose()?;
    if let Some((from, to)) = host
        && last != first
        && to - from != last - first
    {
        return Err(format!(
            "{} ports of the host for {} of the container",
            count(from, to),
            count(first, last)
        ));
    }
    let mut out: Vec<Port> = (first..=last)
        .map(|target| {
            let published = host.map(|(from, to)| match target - first {
                0 if first == last && to != from => format!("{from}-{to}"),
                offset => (u32::from(from) + u32::from(offset)).to_string(),
            });
            Port { address: address.clone(), target, published, protocol: protocol.clone() }
        })
        .collect();
    // By the port's text, as Go sorts its keys: 10 comes before 9.
    out.sort_by_key(|port| port.target.to_string());
    Ok(out)
}

fn address(text: &str) -> Result<String, String> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    match bare.parse::<IpAddr>() {
        Ok(_) => Ok(bare.to_owned()),
        Err(_) => Err(format!("`{text}` is not an IP address")),
    }
}

fn range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let port = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse().ok()).flatten()
    };
    let (first, last): (u16, u16) = (port(first)?, port(last)?);
    (first <= last).then_some((first, last))
}

fn count(first: u16, last: u16) -> u32 {
    u32::from(last) - u32::from(first) + 1
}

fn wrong_range(text: &str) -> String {
    format!("`{text}` is neither a port nor a range of ports (1 to 65535)")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Result<Vec<String>, String> {
        let show = |port: Port| {
            let (address, published) = (port.address.unwrap_or_default(), port.published.unwrap_or_default());
            format!("{address}|{published}|{}|{}", port.target, port.protocol)
        };
        parse(text).map(|ports| ports.into_iter().map(show).collect())
    }

    #[test]
    fn short_forms() {
        for (text, ports) in [
            ("80", &["||80|tcp"][..]),
            ("80/", &["||80|tcp"]),
            ("80/SCTP", &["||80|sctp"]),
            (":80", &["||80|tcp"]),
            ("8080:80", &["|8080|80|tcp"]),
            ("3000-3001", &["||3000|tcp", "||3001|tcp"]),
            ("9090-9091:8080-8081", &["|9090|8080|tcp", "|9091|8081|tcp"]),
            ("12400-12500:1240", &["|12400-12500|1240|tcp"]),
            ("127.0.0.1:8001:8001", &["127.0.0.1|8001|8001|tcp"]),
            ("127.0.0.1::53/udp", &["127.0.0.1||53|udp"]),
            ("[::1]:80:80", &["::1|80|80|tcp"]),
            ("::1:8080:80/udp", &["::1|8080|80|udp"]),
            ("::::80", &["::||80|tcp"]),
            ("9-10", &["||10|tcp", "||9|tcp"]),
        ] {
            assert_eq!(
                shown(text).as_deref(),
                Ok(ports.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>().as_slice()),
                "{text}"
            );
        }
        for text in [
            "",
            "a",
            "8080:",
            "80/foo",
            "99999:80",
            "a:80",
            "::1:80",
            "[::1:80:80",
            "x:1:2",
            "1-2:1-3",
            "2-1",
            "+1",
            "1-2-3",
            "0-65535:1-2",
            "0",
            "80:00",
            "0-1:0-1",
            "0-1",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
