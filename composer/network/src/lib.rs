//! The network of a stack: its bridge, a veth pair a container, addresses, routes, the host-wide registry of
//! subnets, and the resolver that answers inside each container at 127.0.0.11.
//!
//! Everything goes over netlink; no program is run. Of the host's sysctls only forwarding is changed, where it has to be,
//! and put back ([`firewall::Forwarding`]); so is how large packets its loopback takes ([`Loopback`]). Names of interfaces
//! are functions of the names of stack, network and container ([`names`]), so that what a crash left behind is
//! found again.

pub mod addresses;
mod attach;
pub mod dns;
mod error;
pub mod firewall;
mod folder;
mod host;
pub mod names;
pub mod netns;
mod nftables;
pub mod ports;
pub mod proxy;
pub mod subnets;

pub use attach::{Wiring, attach, isolate, reattach_dns};
pub use dns::Attached;
pub use error::{Error, Result};
pub use folder::Folder;
pub use host::{
    Bridge, BridgeSpec, Gateways, Host, IpvlanFlag, IpvlanMode, LinkInfo, Loopback, MacvlanMode, Medium,
    Plug, Taken, has_ipv6, mac_of, remove_inside, resolvers,
};
pub use host::{Counter, Counters, Direction, FIRST_CLASS, LAST_CLASS, Rates, Shaped, Shaper, counters};
pub use ipnet::{IpNet, Ipv4Net, Ipv6Net};
