//! Networks, and how services are on them.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::IpAddr;

use super::pairs;
use crate::driver_options::{self as options, Flag};
use crate::model::{
    Attachment, Bandwidth, Driver, ExternalLink, ExtraHost, HostAddress, IpNet, IpvlanFlag, IpvlanMode, Mac,
    MacvlanMode, Network, NetworkMode, Pool, Service, ServiceLink, Stack,
};
use crate::subnet::Subnet;
use crate::yaml::Node;
use crate::{rate, values};

/// The network of a service that names none.
pub(super) const DEFAULT: &str = "default";

/// The networks that a service is on; nobody else's are made.
pub(super) fn used(
    root: &Node,
    project: &str,
    services: &BTreeMap<String, Service>,
) -> BTreeMap<String, Network> {
    let keys = services.values().flat_map(|service| service.network.attachments()).map(|(key, _)| key);
    let section = root.get("networks");
    let nobody = Node::null(root.span);
    keys.map(|key| {
        let node = section.and_then(|section| section.get(key));
        let network = match node {
            // Of `network_mode`: somebody else's.
            None if key != DEFAULT => Network { external: true, ..bare(key, BTreeMap::new()) },
            _ => network(project, key, node.unwrap_or(&nobody)),
        };
        (key.to_owned(), network)
    })
    .collect()
}

/// What a file says of a network.
pub(crate) fn network(project: &str, key: &str, node: &Node) -> Network {
    let external = values::flag(node.get("external"));
    let named = values::text(node.get("name")).filter(|name| !name.is_empty());
    let derived = || if external { key.to_owned() } else { format!("{project}_{key}") };
    let pools = node.get("ipam").and_then(|ipam| ipam.get("config")).map(Node::items).unwrap_or_default();
    let bare = bare(&named.unwrap_or_else(derived), pairs(node.get("driver_opts")));
    let driver = driver(node.get("driver").and_then(Node::text_value).unwrap_or_default(), &bare.options);
    Network {
        external,
        internal: values::flag(node.get("internal")) || leads_nowhere(&driver),
        driver,
        attachable: values::flag(node.get("attachable")),
        ipv4: node.get("enable_ipv4").and_then(Node::bool_value).unwrap_or(true),
        ipv6: values::flag(node.get("enable_ipv6")),
        ipam: pools.iter().filter_map(pool).collect(),
        labels: pairs(node.get("labels")),
        ..bare
    }
}

/// Gives ports that name no address of the host the one that the network has for them by which they are reached: that of
/// the service's way out, of IPv4 or else of IPv6. Of what others have made nobody knows here.
pub(super) fn bind(service: &mut Service, networks: &BTreeMap<String, Network>) {
    let leads_in = |network: &Network| network.external || network.leads_in();
    let mut on =
        service.network.attachments().map(|(key, _)| networks.get(key).is_none_or(leads_in)).peekable();
    if on.peek().is_some() && !on.any(|leads_in| leads_in) {
        service.ports.clear();
    }
    let way = |has: fn(&Network) -> bool| {
        let ways = service.network.attachments().filter_map(|(key, at)| {
            let network = networks.get(key).filter(|network| has(network) && leads_in(network))?;
            Some((Reverse(at.gw_priority), key, network))
        });
        ways.min_by_key(|(priority, key, _)| (*priority, *key)).map(|(.., network)| network)
    };
    let way = way(|network| network.ipv4).or_else(|| way(|network| network.ipv6));
    let chosen = way.and_then(Network::host_binding);
    for port in &mut service.ports {
        port.host_ip = port.host_ip.or(chosen);
    }
}

/// A bridge of which nothing but options of its driver is given.
fn bare(name: &str, options: BTreeMap<String, String>) -> Network {
    let given = |key: &str| options.get(key).filter(|value| !value.is_empty()).cloned();
    Network {
        name: name.to_owned(),
        external: false,
        by_name: false,
        driver: Driver::Bridge,
        internal: false,
        attachable: false,
        ipv4: true,
        ipv6: false,
        ipam: Vec::new(),
        bridge: given(options::BRIDGE),
        mtu: given(options::MTU).and_then(|mtu| mtu.parse().ok()),
        masquerade: options::flag(&options, Flag::Masquerade),
        isolated: !options::flag(&options, Flag::InterContainer),
        labels: BTreeMap::new(),
        options,
    }
}

impl Stack {
    /// Gives ports of a service that name no address of the host the one that its network has for them.
    pub fn bind_ports(&self, service: &mut Service) {
        bind(service, &self.networks);
    }
}

impl Network {
    /// A network of this name, with the driver of this kind and its options, of IPv6 or internal where that is asked for.
    ///
    /// # Errors
    /// What is wrong with an option.
    pub fn with_options(
        name: &str,
        kind: &str,
        options: BTreeMap<String, String>,
        (ipv6, internal): (bool, bool),
    ) -> Result<Self, String> {
        for (key, value) in &options {
            if let Some(wrong) = options::wrong(key, value, ipv6, internal) {
                return Err(format!("the option {key}: {wrong}"));
            }
        }
        let driver = driver(kind, &options);
        let internal = internal || leads_nowhere(&driver);
        Ok(Self { internal, driver, ipv6, ..bare(name, options) })
    }
}

fn driver(kind: &str, options: &BTreeMap<String, String>) -> Driver {
    let parent = || options.get(options::PARENT).filter(|parent| !parent.is_empty()).cloned();
    let word = |key: &str| options.get(key).map(String::as_str).unwrap_or_default();
    match kind {
        "macvlan" => Driver::Macvlan { parent: parent(), mode: macvlan_mode(word(options::MACVLAN_MODE)) },
        "ipvlan" => Driver::Ipvlan {
            parent: parent(),
            mode: match word(options::IPVLAN_MODE) {
                "l3" => IpvlanMode::L3,
                "l3s" => IpvlanMode::L3s,
                _ => IpvlanMode::L2,
            },
            flag: match word(options::IPVLAN_FLAG) {
                "private" => IpvlanFlag::Private,
                "vepa" => IpvlanFlag::Vepa,
                _ => IpvlanFlag::Bridge,
            },
        },
        _ => Driver::Bridge,
    }
}

/// Without an interface of the host's nothing outside is reached, as in Docker.
fn leads_nowhere(driver: &Driver) -> bool {
    *driver != Driver::Bridge && driver.parent().is_none()
}

fn macvlan_mode(text: &str) -> MacvlanMode {
    match text {
        "vepa" => MacvlanMode::Vepa,
        "private" => MacvlanMode::Private,
        "passthru" => MacvlanMode::Passthru,
        _ => MacvlanMode::Bridge,
    }
}

fn pool(node: &Node) -> Option<Pool> {
    let net = |key: &str| {
        let subnet = Subnet::parse(node.get(key)?.text_value()?)?;
        IpNet::new(subnet.first(), subnet.length).ok()
    };
    let others = node.get("aux_addresses").into_iter().flat_map(Node::entries);
    Some(Pool {
        subnet: net("subnet")?,
        gateway: node.get("gateway").and_then(address),
        ip_range: net("ip_range"),
        aux_addresses: others.filter_map(|(name, at)| Some((name.clone(), address(&at.node)?))).collect(),
    })
}

fn address<T: std::str::FromStr>(node: &Node) -> Option<T> {
    node.text_value()?.parse().ok()
}

/// A service without `network_mode` is on `networks`, of which normalizing has made sure that there is one. Docker's
/// own bridge, which `bridge` and `default` are, is the stack's here; another word is the name of a network of the host,
/// whoever has made it. An external network that is called `host` or `none` is what Docker Engine calls so.
pub(super) fn mode(service: &Node, root: &Node) -> NetworkMode {
    let text = service.get("network_mode").and_then(Node::text_value).unwrap_or_default();
    match text.split_once(':') {
        Some(("service", name)) => return NetworkMode::Service(name.to_owned()),
        Some(("container", name)) => return NetworkMode::Container(name.to_owned()),
        Some(_) | None => {}
    }
    match text {
        "host" => return NetworkMode::Host,
        "none" => return NetworkMode::None,
        "" | "bridge" | "default" => {}
        name => return NetworkMode::Networks(BTreeMap::from([(name.to_owned(), Attachment::default())])),
    }
    let named = service.get("networks").into_iter().flat_map(Node::entries);
    let networks: BTreeMap<_, _> = named.map(|(key, entry)| (key.clone(), attachment(&entry.node))).collect();
    let section = root.get("networks");
    let called = |key: &String| section.and_then(|section| predefined(key, section.get(key)?));
    match networks.keys().find_map(called) {
        Some("host") => NetworkMode::Host,
        Some(_) => NetworkMode::None,
        None if networks.is_empty() => {
            NetworkMode::Networks(BTreeMap::from([(DEFAULT.to_owned(), Attachment::default())]))
        }
        None => NetworkMode::Networks(networks),
    }
}

/// What Docker Engine calls networks of every host: nobody makes one of such a name.
pub const PREDEFINED_NETWORKS: [&str; 4] = ["bridge", "default", "host", "none"];

/// What an external network is called on the host.
pub(crate) fn external_name<'n>(key: &'n str, network: &'n Node) -> &'n str {
    network.get("name").and_then(Node::text_value).filter(|name| !name.is_empty()).unwrap_or(key)
}

/// Which of Docker Engine's own networks an external one is.
pub(crate) fn predefined(key: &str, network: &Node) -> Option<&'static str> {
    let name = external_name(key, network);
    let known = ["host", "none"].into_iter().find(|known| *known == name);
    known.filter(|_| values::flag(network.get("external")))
}

fn attachment(node: &Node) -> Attachment {
    let list = |key: &str| node.get(key).map(Node::items).unwrap_or_default().iter();
    let whole = |key: &str| node.get(key).and_then(values::whole).unwrap_or_default();
    Attachment {
        aliases: list("aliases").filter_map(values::scalar).collect(),
        ipv4_address: node.get("ipv4_address").and_then(address),
        ipv6_address: node.get("ipv6_address").and_then(address),
        link_local_ips: list("link_local_ips").filter_map(address).collect(),
        mac_address: node.get("mac_address").and_then(address),
        priority: whole("priority"),
        gw_priority: whole("gw_priority"),
        interface_name: values::text(node.get("interface_name")).filter(|name| !name.is_empty()),
        driver_opts: pairs(node.get("driver_opts")),
    }
}

pub(super) fn mac(service: &Node) -> Option<Mac> {
    service.get("mac_address").and_then(address)
}

pub(super) fn links(service: &Node) -> Vec<ServiceLink> {
    let links = service.get("links").map(Node::items).unwrap_or_default().iter();
    let links = links.filter_map(Node::text_value).map(|text| {
        let (service, alias) = crate::links::parts(text);
        ServiceLink { service: service.to_owned(), alias: alias.map(str::to_owned) }
    });
    links.collect()
}

pub(super) fn external_links(service: &Node) -> Vec<ExternalLink> {
    let links = service.get("external_links").map(Node::items).unwrap_or_default().iter();
    let links = links.filter_map(Node::text_value).map(|text| {
        let (container, alias) = crate::links::parts(text);
        ExternalLink { container: container.to_owned(), alias: alias.map(str::to_owned) }
    });
    links.collect()
}

pub(super) fn servers(service: &Node) -> Vec<IpAddr> {
    service.get("dns").map(Node::items).unwrap_or_default().iter().filter_map(address).collect()
}

pub(super) fn hosts(service: &Node) -> Vec<ExtraHost> {
    let hosts = service.get("extra_hosts").map(Node::items).unwrap_or_default().iter();
    let hosts = hosts.filter_map(|item| {
        let (name, text) = item.text_value()?.split_once('=')?;
        let address = match text {
            "host-gateway" => HostAddress::HostGateway,
            text => HostAddress::Ip(text.trim_start_matches('[').trim_end_matches(']').parse().ok()?),
        };
        Some(ExtraHost { name: name.to_owned(), address })
    });
    hosts.collect()
}

/// `x-bandwidth`, or that of the whole stack.
pub(super) fn bandwidth(node: Option<&Node>) -> Bandwidth {
    let rate = |key: &str| rate::parse(node?.get(key)?.text_value()?);
    Bandwidth { ingress: rate("ingress"), egress: rate("egress") }
}
