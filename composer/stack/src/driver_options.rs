//! Options that Docker's drivers of networks know, by Docker's names.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

/// Whether networks of a driver are on an interface of the host's, and have no bridge.
pub(crate) fn is_on_host(driver: &str) -> bool {
    ["macvlan", "ipvlan"].contains(&driver)
}

/// The bridge's name.
pub(crate) const BRIDGE: &str = "com.docker.network.bridge.name";
/// The interfaces' MTU.
pub(crate) const MTU: &str = "com.docker.network.driver.mtu";
/// What interfaces inside are called, with a number behind; `eth`.
pub(crate) const PREFIX: &str = "com.docker.network.container_iface_prefix";
/// The address of the host that ports are published on where they name none.
pub(crate) const HOST_BINDING: &str = "com.docker.network.bridge.host_binding_ipv4";
/// How packets pass the bridge; `nat` by default.
pub(crate) const GATEWAY_MODES: [&str; 2] =
    ["com.docker.network.bridge.gateway_mode_ipv4", "com.docker.network.bridge.gateway_mode_ipv6"];
/// Whether the bridge has no address.
pub(crate) const INHIBIT_IPV4: &str = "com.docker.network.bridge.inhibit_ipv4";
/// What an interface is called, of a container on a network.
pub(crate) const IFNAME: &str = "com.docker.network.endpoint.ifname";
/// Parameters of such an interface.
pub(crate) const ENDPOINT_SYSCTLS: &str = "com.docker.network.endpoint.sysctls";
/// The address of the host that what leaves it has, of IPv4 and of IPv6; that of the interface which it leaves by.
pub(crate) const SOURCES: [&str; 2] = ["com.docker.network.host_ipv4", "com.docker.network.host_ipv6"];
/// The host's interfaces, with colons between, by which published ports are reached at the containers' own addresses.
pub(crate) const TRUSTED: &str = "com.docker.network.bridge.trusted_host_interfaces";
/// One that Docker knows for its own bridge, which there is none of here.
pub(crate) const DEFAULT_BRIDGE: &str = "com.docker.network.bridge.default_bridge";

/// What reaches containers from outside at their own addresses.
pub(crate) const NAT_UNPROTECTED: &str = "nat-unprotected";
/// What is published is reached at the containers' own addresses, which are known outside.
pub(crate) const ROUTED: &str = "routed";
/// A bridge without an address.
pub(crate) const ISOLATED: &str = "isolated";
/// All modes.
const MODES: [&str; 4] = ["nat", NAT_UNPROTECTED, ROUTED, ISOLATED];

/// The interface of the host that macvlan interfaces are on.
pub(crate) const PARENT: &str = "parent";
/// How macvlan interfaces reach each other.
pub(crate) const MACVLAN_MODE: &str = "macvlan_mode";
/// By what packets of ipvlan interfaces find their way.
pub(crate) const IPVLAN_MODE: &str = "ipvlan_mode";
/// Its values.
const IPVLAN_MODES: [&str; 3] = ["l2", "l3", "l3s"];
/// How ipvlan interfaces reach each other.
pub(crate) const IPVLAN_FLAG: &str = "ipvlan_flag";
/// Its values.
const IPVLAN_FLAGS: [&str; 3] = ["bridge", "private", "vepa"];
/// Its values.
const MACVLAN_MODES: [&str; 4] = ["bridge", "vepa", "private", "passthru"];

/// Options that are true or false, and true by themselves.
#[derive(Clone, Copy)]
pub(crate) enum Flag {
    /// What leaves the host has the host's address.
    Masquerade,
    /// Containers reach each other.
    InterContainer,
}

/// All flags.
pub(crate) const FLAGS: [Flag; 2] = [Flag::Masquerade, Flag::InterContainer];

impl Flag {
    /// Docker's name.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Masquerade => "com.docker.network.bridge.enable_ip_masquerade",
            Self::InterContainer => "com.docker.network.bridge.enable_icc",
        }
    }
}

/// A truth value as Go's strconv.ParseBool reads it.
pub(crate) fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// The value of a flag.
pub(crate) fn flag(options: &BTreeMap<String, String>, flag: Flag) -> bool {
    options.get(flag.key()).and_then(|text| boolean(text)).unwrap_or(true)
}

/// IFNAMSIZ of linux/if.h, less the NUL.
const LONGEST_INTERFACE: usize = 15;
/// The least that IPv4 takes, and the most that the kernel gives a bridge or veth (ETH_MAX_MTU).
const MTUS: std::ops::RangeInclusive<u32> = 68..=65_535;
/// The least that IPv6 takes (RFC 8200).
const LEAST_OF_IPV6: u32 = 1280;

/// What is wrong with a value, for users.
pub(crate) struct Wrong {
    pub(crate) what: String,
    /// What it may be.
    pub(crate) help: String,
    /// The words of which it was to be one.
    pub(crate) words: &'static [&'static str],
}

impl Wrong {
    fn new(what: String, help: impl Into<String>) -> Self {
        Self { what, help: help.into(), words: &[] }
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.help)
    }
}

/// What is wrong with a name for an interface (dev_valid_name in net/core/dev.c).
pub(crate) fn wrong_interface(name: &str) -> Option<Wrong> {
    if name.len() > LONGEST_INTERFACE {
        let what = format!("the interface name `{name}` has {} characters", name.len());
        return Some(Wrong::new(what, format!("{LONGEST_INTERFACE} fit")));
    }
    let bad = name.is_empty()
        || [".", "..", "lo"].contains(&name)
        || name.contains(['/', ':', '%'])
        || name.contains(char::is_whitespace);
    let wrong = || {
        Wrong::new(
            format!("`{name}` is not a name for an interface"),
            "letters, digits, `-`, `_` and `.`: for example `lan0`",
        )
    };
    bad.then(wrong)
}

/// What is wrong with the value of an option of a network that has IPv6 and is internal, or not: whoever makes one says it
/// in these words, in a file or by `network create`.
pub(crate) fn wrong(key: &str, value: &str, ipv6: bool, internal: bool) -> Option<Wrong> {
    let unless = |is_right: bool, what: &str, help: &str| {
        (!is_right).then(|| Wrong::new(format!("`{value}` is {what}"), help))
    };
    match key {
        BRIDGE => wrong_interface(value),
        PREFIX => wrong_prefix(value),
        MTU => {
            let least = if ipv6 { LEAST_OF_IPV6 } else { *MTUS.start() };
            let is_one = value.parse().is_ok_and(|mtu: u32| (least..=*MTUS.end()).contains(&mtu));
            let help = format!("a number of bytes from {least} to {}", MTUS.end());
            unless(is_one, "not an MTU for this network", &help)
        }
        HOST_BINDING => unless(
            value.is_empty() || value.parse::<IpAddr>().is_ok(),
            "not an address",
            "an address of this host, for the ports that name none: `127.0.0.1`",
        ),
        PARENT if value.is_empty() => None,
        PARENT => wrong_interface(value),
        MACVLAN_MODE => no_word(value, &MACVLAN_MODES),
        IPVLAN_MODE => no_word(value, &IPVLAN_MODES),
        IPVLAN_FLAG => no_word(value, &IPVLAN_FLAGS),
        TRUSTED => trusted(value).find_map(wrong_interface),
        _ if SOURCES.contains(&key) => {
            let v4 = key == SOURCES[0];
            let family = if v4 { "IPv4" } else { "IPv6" };
            unless(
                value.is_empty() || source(value, v4).is_some(),
                &format!("not an address of {family} that others could answer to"),
                "the address of this host that what leaves it is to have",
            )
        }
        _ if key == INHIBIT_IPV4 || FLAGS.iter().any(|flag| flag.key() == key) => {
            unless(boolean(value).is_some(), "neither true nor false", "write `\"true\"` or `\"false\"`")
        }
        _ if GATEWAY_MODES.contains(&key) && value == ISOLATED => unless(
            internal,
            "for internal networks alone: it takes the way out",
            "make the network internal: `internal: true`, or `--internal`",
        ),
        _ if GATEWAY_MODES.contains(&key) => no_word(value, &MODES),
        _ => None,
    }
}

/// A number of up to three digits comes behind it.
fn wrong_prefix(text: &str) -> Option<Wrong> {
    if text.len() + 3 <= LONGEST_INTERFACE {
        return wrong_interface(text);
    }
    let what = format!("`{text}` is too long to begin names of interfaces with");
    Some(Wrong::new(what, format!("{} characters fit", LONGEST_INTERFACE - 3)))
}

fn no_word(value: &str, words: &'static [&'static str]) -> Option<Wrong> {
    let wrong = || Wrong {
        words,
        ..Wrong::new(
            format!("`{value}` is not a value of this option"),
            format!("it may be `{}`", words.join("`, `")),
        )
    };
    (!words.contains(&value)).then(wrong)
}

/// The address of the host that a network publishes ports on; all of them where none is chosen. `::` is all of IPv6 alone,
/// as Docker has it.
pub(crate) fn host_binding(options: &BTreeMap<String, String>) -> Option<IpAddr> {
    let address: IpAddr = options.get(HOST_BINDING)?.parse().ok()?;
    (address.is_ipv6() || !address.is_unspecified()).then_some(address)
}

/// An address that packets of IPv4, or of IPv6, can come from.
pub(crate) fn source(text: &str, v4: bool) -> Option<IpAddr> {
    let address: IpAddr = text.parse().ok()?;
    // Nobody answers to the others beyond the host.
    let is_near = match address {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_link_local() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unicast_link_local(),
    };
    let is_whole = address.is_unspecified() || address.is_multicast();
    (address.is_ipv4() == v4 && !is_near && !is_whole).then_some(address)
}

/// The interfaces of a list.
pub(crate) fn trusted(text: &str) -> impl Iterator<Item = &str> {
    text.split(':').filter(|name| !name.is_empty())
}

/// What stands for an interface's name in its parameters; the second as Docker's command line leaves it.
const ANY_INTERFACE: [&str; 2] = ["IFNAME", "ifname"];
const OF_INTERFACES: [&str; 3] = ["ipv4", "ipv6", "mpls"];

/// The parameters of an interface, as `net.FAMILY.KIND.IFNAME.KEY=VALUE` between commas; the one that is none.
///
/// Their names have slashes, so that one of an interface may have a dot.
pub(crate) fn interface_sysctls(text: &str, interface: &str) -> Result<Vec<(String, String)>, String> {
    let parameter = |item: &str| {
        let (key, value) = item.split_once('=')?;
        let parts: Vec<&str> = key.split('.').collect();
        let ["net", family, kind, name, key] = parts[..] else { return None };
        let is_word = |word: &str| !word.is_empty() && !word.contains('/');
        let is_one = OF_INTERFACES.contains(&family)
            && ANY_INTERFACE.contains(&name)
            && is_word(kind)
            && is_word(key)
            && !value.is_empty();
        is_one.then(|| (format!("net/{family}/{kind}/{interface}/{key}"), value.to_owned()))
    };
    text.split(',').map(|item| parameter(item).ok_or_else(|| item.to_owned())).collect()
}
