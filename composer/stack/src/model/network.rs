//! What a file says of networks: those there are, how a service is on them, and what it publishes.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use crate::driver_options::{
    self as options, ENDPOINT_SYSCTLS, Flag, GATEWAY_MODES, INHIBIT_IPV4, ISOLATED, NAT_UNPROTECTED, ROUTED,
    SOURCES, TRUSTED,
};
pub use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// One entry under `networks:`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// The name on the host: `name:`, or `STACK_KEY`.
    pub name: String,
    /// `external`: made and removed by somebody else; then nothing but the name means anything.
    pub external: bool,
    /// Somebody else has one of that name, without the file saying so: what it says of it holds once there is none.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_name: bool,
    /// `driver`.
    pub driver: Driver,
    /// `internal`: nothing outside of the network is reached from it, nor it from outside.
    pub internal: bool,
    /// `attachable`.
    pub attachable: bool,
    /// `enable_ipv4`.
    pub ipv4: bool,
    /// `enable_ipv6`.
    pub ipv6: bool,
    /// `ipam.config`; where there is none of an address family that is on, a free subnet is taken.
    pub ipam: Vec<Pool>,
    /// The bridge's name, where `driver_opts` chooses it.
    pub bridge: Option<String>,
    /// The interfaces' MTU, where `driver_opts` chooses it.
    pub mtu: Option<u32>,
    /// What leaves the host has the host's address.
    pub masquerade: bool,
    /// Containers on it do not reach each other (`enable_icc: false`).
    pub isolated: bool,
    /// `labels`.
    pub labels: BTreeMap<String, String>,
    /// `driver_opts`, as they were given.
    pub options: BTreeMap<String, String>,
}

/// What becomes of packets of a family between a bridge and what is outside of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GatewayMode {
    /// From outside published ports are reached, at the host's address.
    #[default]
    Nat,
    /// So is everything else, at the containers' own addresses.
    Unprotected,
    /// From outside published ports are reached at the containers' own addresses, by which what they send is known: others
    /// have the way there. No port of the host leads to them.
    Routed,
    /// Nothing: the bridge has no address, and the host is not reached either. Of internal networks alone.
    Isolated,
}

impl Network {
    /// That of IPv4, or of IPv6.
    pub fn gateway_mode(&self, v4: bool) -> GatewayMode {
        let key = GATEWAY_MODES[usize::from(!v4)];
        match self.options.get(key).map(String::as_str) {
            Some(NAT_UNPROTECTED) => GatewayMode::Unprotected,
            Some(ROUTED) => GatewayMode::Routed,
            Some(ISOLATED) if self.internal => GatewayMode::Isolated,
            _ => GatewayMode::Nat,
        }
    }

    /// Whether its bridge has no address of a family, or none but those that somebody gives it: the host does not reach
    /// the containers then.
    pub fn has_bare_bridge(&self, v4: bool) -> bool {
        let inhibited = || self.options.get(INHIBIT_IPV4).and_then(|text| options::boolean(text));
        self.gateway_mode(v4) == GatewayMode::Isolated || (v4 && inhibited() == Some(true))
    }

    /// The address that what leaves the host has, of IPv4 or of IPv6; that of the interface which it leaves by where none is
    /// chosen.
    pub fn source(&self, v4: bool) -> Option<IpAddr> {
        options::source(self.options.get(SOURCES[usize::from(!v4)])?, v4)
    }

    /// The interfaces of the host by which published ports are reached at the containers' own addresses.
    pub fn trusted(&self) -> Vec<String> {
        let text = self.options.get(TRUSTED).map(String::as_str).unwrap_or_default();
        options::trusted(text).map(str::to_owned).collect()
    }

    /// The address of the host that ports are published on which name none; all of them where none is chosen.
    pub fn host_binding(&self) -> Option<IpAddr> {
        options::host_binding(&self.options)
    }
}

/// What makes a network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Driver {
    /// A bridge of the host.
    #[default]
    Bridge,
    /// Interfaces with hardware addresses of their own on one of the host's.
    Macvlan {
        /// The host's interface; without one nothing outside is reached.
        parent: Option<String>,
        /// How they reach each other.
        mode: MacvlanMode,
    },
    /// Interfaces with addresses of their own, and the hardware address of one of the host's, on that.
    Ipvlan {
        /// The host's interface; without one nothing outside is reached.
        parent: Option<String>,
        /// By what packets find their way.
        mode: IpvlanMode,
        /// How they reach each other.
        flag: IpvlanFlag,
    },
}

impl Driver {
    /// As the file calls it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Bridge => "bridge",
            Self::Macvlan { .. } => "macvlan",
            Self::Ipvlan { .. } => "ipvlan",
        }
    }

    /// The host's interface that containers are on; `None` with a bridge as well.
    pub fn parent(&self) -> Option<&str> {
        match self {
            Self::Bridge => None,
            Self::Macvlan { parent, .. } | Self::Ipvlan { parent, .. } => parent.as_deref(),
        }
    }
}

/// `ipvlan_mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IpvlanMode {
    /// By hardware addresses, as on any network.
    #[default]
    L2,
    /// By routes alone: nothing is sent to all.
    L3,
    /// The same, seen by the host's firewall.
    L3s,
}

/// `ipvlan_flag`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IpvlanFlag {
    /// Directly.
    #[default]
    Bridge,
    /// Not at all.
    Private,
    /// By a switch outside.
    Vepa,
}

/// `macvlan_mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MacvlanMode {
    /// Directly.
    #[default]
    Bridge,
    /// By a switch outside.
    Vepa,
    /// Not at all.
    Private,
    /// There is one alone.
    Passthru,
}

/// One entry of `ipam.config`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// `subnet`, without bits beyond its prefix.
    pub subnet: IpNet,
    /// `gateway`: the bridge's own address; the subnet's first where it is not given.
    pub gateway: Option<IpAddr>,
    /// `ip_range`: where containers get addresses from; the whole subnet where it is not given.
    pub ip_range: Option<IpNet>,
    /// `aux_addresses`: nobody gets them.
    pub aux_addresses: BTreeMap<String, IpAddr>,
}

/// How a service is on networks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkMode {
    /// `networks`: keys of [`super::Stack::networks`].
    Networks(BTreeMap<String, Attachment>),
    /// `network_mode: host`: the host's own network namespace.
    Host,
    /// `network_mode: none`: a network namespace with nothing but a loopback.
    None,
    /// `network_mode: service:NAME`: that of the service's first container.
    Service(String),
    /// `network_mode: container:NAME`: that of any container of the host.
    Container(String),
}

/// One entry of a service's `networks`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Attachment {
    /// `aliases`: further names of the service on this network.
    pub aliases: BTreeSet<String>,
    /// `ipv4_address`.
    pub ipv4_address: Option<Ipv4Addr>,
    /// `ipv6_address`.
    pub ipv6_address: Option<Ipv6Addr>,
    /// `link_local_ips`.
    pub link_local_ips: Vec<IpAddr>,
    /// `mac_address`.
    pub mac_address: Option<Mac>,
    /// `priority`: the highest one is joined first.
    pub priority: i64,
    /// `gw_priority`: the highest one gives the default route.
    pub gw_priority: i64,
    /// `interface_name`; `ethN` in the order of joining where it is not given.
    pub interface_name: Option<String>,
    /// `driver_opts`.
    pub driver_opts: BTreeMap<String, String>,
}

impl Attachment {
    /// The parameters of its interface, where that has this name.
    pub fn sysctls(&self, interface: &str) -> Vec<(String, String)> {
        let text = self.driver_opts.get(ENDPOINT_SYSCTLS);
        text.and_then(|text| options::interface_sysctls(text, interface).ok()).unwrap_or_default()
    }
}

/// One item of `ports`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// `host_ip`: every address of the host where it is not given.
    pub host_ip: Option<IpAddr>,
    /// `published`: the first and last port of a range, of which one is taken; any free one where it is not given.
    pub published: Option<(u16, u16)>,
    /// `target`: the container's port.
    pub target: u16,
    /// `protocol`.
    pub protocol: Protocol,
    /// `mode`.
    pub mode: PortMode,
    /// `name`: for people.
    pub name: Option<String>,
    /// `app_protocol`: for people.
    pub app_protocol: Option<String>,
}

/// What is spoken on a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// `mode` of a port; on one host both are the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PortMode {
    /// By a cluster's mesh.
    #[default]
    Ingress,
    /// By the host.
    Host,
}

/// One item of `links`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceLink {
    /// The other service.
    pub service: String,
    /// What it is called here; its own name where it is not given.
    pub alias: Option<String>,
}

/// One item of `external_links`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExternalLink {
    /// The container.
    pub container: String,
    /// What it is called here; its own name where it is not given.
    pub alias: Option<String>,
}

/// One item of `extra_hosts`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtraHost {
    /// The name.
    pub name: String,
    /// What it stands for.
    pub address: HostAddress,
}

/// The right side of an item of `extra_hosts`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostAddress {
    /// `host-gateway`: the host, as the container sees it.
    HostGateway,
    /// This one.
    Ip(IpAddr),
}

/// `x-bandwidth`, in bits a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bandwidth {
    /// What is received at most.
    pub ingress: Option<u64>,
    /// What is sent at most.
    pub egress: Option<u64>,
}

/// A hardware address. On disk it is text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mac(pub [u8; 6]);

impl Network {
    /// Whether one that was made by this configuration serves as it is for another. What is for people alone does not
    /// count.
    pub fn serves(&self, wanted: &Self) -> bool {
        self.bare() == wanted.bare()
    }

    /// Whether one that was made by this configuration becomes another by other rules of the firewall alone: whoever is on
    /// it stays.
    pub fn becomes(&self, wanted: &Self) -> bool {
        self.without_rules() == wanted.without_rules()
    }

    fn bare(&self) -> Self {
        Self { labels: BTreeMap::new(), attachable: false, by_name: false, ..self.clone() }
    }

    /// Without what rules alone depend on. By `routed` ports of the host are taken or not, which containers are started
    /// with, and `isolated` is the bridge's.
    fn without_rules(&self) -> Self {
        let mut bare = Self { masquerade: true, ..self.bare() };
        bare.options.retain(|key, value| {
            let key = key.as_str();
            let is_rule = [Flag::Masquerade.key(), TRUSTED, SOURCES[0], SOURCES[1]].contains(&key)
                || (GATEWAY_MODES.contains(&key) && ![ROUTED, ISOLATED].contains(&value.as_str()));
            !is_rule
        });
        bare
    }

    /// Whether it is called as a stack's own under this key is by itself.
    pub fn is_named_by_itself(&self, stack: &str, key: &str) -> bool {
        self.name == format!("{stack}_{key}")
    }

    /// Its place among the networks that a container is on, before their names, for routes, ports and names alike. As in
    /// Docker (libnetwork, `Endpoint.Less`): `gw_priority`, then what leads out, in both families rather than in one. In
    /// which order they are joined (`priority`) has no part in it.
    pub fn rank(&self, gw_priority: i64) -> impl Ord + Copy + use<> {
        let families = usize::from(self.ipv4) + usize::from(self.ipv6);
        (Reverse(gw_priority), self.internal, Reverse(if self.internal { 0 } else { families }))
    }

    /// Whether ports of the host lead to the containers on it: to internal ones nothing does, and on an interface of
    /// the host's each is reached at its own address.
    pub fn leads_in(&self) -> bool {
        !self.internal && self.driver == Driver::Bridge
    }
}

impl Bandwidth {
    /// Whether nothing is limited.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

impl Default for NetworkMode {
    /// The stack's own network alone.
    fn default() -> Self {
        Self::Networks(BTreeMap::from([("default".to_owned(), Attachment::default())]))
    }
}

impl NetworkMode {
    /// Whether it is the stack's own network alone.
    pub fn is_plain(&self) -> bool {
        *self == Self::default()
    }

    /// The networks it is on, by their keys in the file.
    pub fn attachments(&self) -> impl Iterator<Item = (&str, &Attachment)> {
        let networks = match self {
            Self::Networks(networks) => Some(networks),
            Self::Host | Self::None | Self::Service(_) | Self::Container(_) => None,
        };
        networks.into_iter().flatten().map(|(key, attachment)| (key.as_str(), attachment))
    }

    /// The networks in the order in which they are joined: by `priority`, then by name, as in Docker Compose.
    pub fn in_order(&self) -> Vec<(&str, &Attachment)> {
        let mut networks: Vec<_> = self.attachments().collect();
        networks.sort_by(|(a, one), (b, other)| (other.priority, a).cmp(&(one.priority, b)));
        networks
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// What is no hardware address.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a hardware address")]
pub struct NotAMac(String);

impl FromStr for Mac {
    type Err = NotAMac;

    fn from_str(text: &str) -> Result<Self, NotAMac> {
        let wrong = || NotAMac(text.to_owned());
        let mut bytes = [0; 6];
        let mut parts = text.split([':', '-']);
        for byte in &mut bytes {
            let part =
                parts.next().filter(|part| part.len() == 2 && !part.contains('+')).ok_or_else(wrong)?;
            *byte = u8::from_str_radix(part, 16).map_err(|_| wrong())?;
        }
        parts.next().is_none().then_some(Self(bytes)).ok_or_else(wrong)
    }
}

impl TryFrom<String> for Mac {
    type Error = NotAMac;

    fn try_from(text: String) -> Result<Self, NotAMac> {
        text.parse()
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> Self {
        mac.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hardware_addresses() {
        let mac: Mac = "02-42-AC-11-00-02".parse().unwrap();
        assert_eq!(mac.to_string(), "02:42:ac:11:00:02");
        for text in [
            "",
            "02:42:ac:11:00",
            "02:42:ac:11:00:02:03",
            "2:42:ac:11:00:02",
            "02:42:ac:11:00:+2",
            "zz:42:ac:11:00:02",
        ] {
            assert!(text.parse::<Mac>().is_err(), "{text}");
        }
    }

    #[test]
    fn networks_are_joined_by_priority_then_name() {
        let at = |priority| Attachment { priority, ..Attachment::default() };
        let networks = [("c", at(0)), ("a", at(0)), ("z", at(9)), ("b", at(-1))];
        let mode = NetworkMode::Networks(networks.map(|(key, at)| (key.to_owned(), at)).into());
        let order: Vec<&str> = mode.in_order().into_iter().map(|(key, _)| key).collect();
        assert_eq!(order, ["z", "a", "c", "b"]);
    }
}
