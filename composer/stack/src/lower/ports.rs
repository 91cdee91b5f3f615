//! Published ports.

use crate::model::{Port, PortMode, Protocol};
use crate::values;
use crate::yaml::Node;

/// The ports of a service, in the order of the canonical file.
pub(super) fn of_service(service: &Node) -> Vec<Port> {
    service.get("ports").map(Node::items).unwrap_or_default().iter().filter_map(port).collect()
}

fn port(node: &Node) -> Option<Port> {
    let text = |key: &str| values::text(node.get(key)).filter(|text| !text.is_empty());
    let protocol = text("protocol").unwrap_or_default();
    Some(Port {
        host_ip: text("host_ip").and_then(|text| text.parse().ok()),
        published: node.get("published").and_then(values::scalar).as_deref().and_then(published),
        target: u16::try_from(values::whole(node.get("target")?)?).ok()?,
        protocol: if protocol.eq_ignore_ascii_case("udp") { Protocol::Udp } else { Protocol::Tcp },
        mode: if text("mode").as_deref() == Some("host") { PortMode::Host } else { PortMode::Ingress },
        name: text("name"),
        app_protocol: text("app_protocol"),
    })
}

/// A port, or a range; zero is any free one.
pub(crate) fn published(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first > 0).then_some((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_ports() {
        assert_eq!(published("8080"), Some((8080, 8080)));
        assert_eq!(published("8000-8010"), Some((8000, 8010)));
        assert_eq!((published("0"), published("")), (None, None));
    }
}
