//! Options that Docker's drivers of networks know, by Docker's names.

use std::collections::BTreeMap;

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
/// The interface of the host that macvlan interfaces are on.
pub(crate) const PARENT: &str = "parent";
/// How macvlan interfaces reach each other.
pub(crate) const MACVLAN_MODE: &str = "macvlan_mode";
/// Its values.
pub(crate) const MACVLAN_MODES: [&str; 4] = ["bridge", "vepa", "private", "passthru"];

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

/// Whether packets pass the bridge with the addresses they have.
pub(crate) fn is_routed(options: &BTreeMap<String, String>) -> bool {
    GATEWAY_MODES.iter().any(|key| options.get(*key).is_some_and(|mode| mode == "routed"))
}
