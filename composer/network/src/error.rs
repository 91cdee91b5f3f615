//! What can go wrong: what was being done, to what, and the operating system's error.

use std::fmt::Display;
use std::io;
use std::path::PathBuf;

use ipnet::IpNet;

/// The result of this crate's operations.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An operation on the network that failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A request that the kernel refused.
    #[error("cannot {doing} {subject}: {source}")]
    Kernel {
        /// What was being done, as a verb and its object: `add the address of`.
        doing: &'static str,
        /// The interface, socket or namespace it was done to.
        subject: String,
        /// The operating system's error.
        source: io::Error,
    },
    /// A parameter that the kernel does not have, or not with this value.
    #[error("cannot set the parameter {key} to {value}: {source}")]
    Parameter {
        /// Its name, as it was given.
        key: String,
        /// What it was to be.
        value: String,
        /// The operating system's error.
        source: io::Error,
    },
    /// A file of the registry of subnets could not be read or written.
    #[error("cannot {doing} {}: {source}", path.display())]
    Registry {
        /// What was being done.
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// The registry of subnets holds something else than a registry.
    #[error("{} is damaged: {source}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What its parser found.
        source: serde_json::Error,
    },
    /// Every subnet that could be given is routed, or held by a stack.
    #[error(
        "no subnet is free for network {network} of stack {stack}: routes of the host or other stacks cover \
         {pools}; choose one that the host does without, as the network's `ipam.config.subnet` (`--subnet` of \
         `compose network create`)"
    )]
    NoSubnet {
        /// The stack that asked.
        stack: String,
        /// Its network.
        network: String,
        /// The pools that were searched.
        pools: String,
    },
    /// A subnet that was chosen is another's.
    #[error(
        "the subnet {subnet} of network {network} overlaps {holder}: give it another `subnet`, or none, which takes a free one"
    )]
    Overlap {
        /// The subnet.
        subnet: IpNet,
        /// The network that is to have it.
        network: String,
        /// Whose it is.
        holder: String,
    },
    /// A subnet has no address left.
    #[error("no address is free in {subnet}")]
    NoAddress {
        /// The full subnet.
        subnet: IpNet,
    },
    /// IPv6 was asked for on a kernel that has none.
    #[error("IPv6 is off in the kernel ({why}): it cannot be given to {subject}")]
    NoIpv6 {
        /// What shows it.
        why: &'static str,
        /// What was to have it.
        subject: String,
    },
    /// An interface of that name is there, but is none that this crate makes.
    #[error("interface {name} exists and is not a {wanted}")]
    WrongKind {
        /// The interface.
        name: String,
        /// What it should be.
        wanted: &'static str,
    },
    /// A bridge's name, which its user chose, is that of an interface of the host's.
    #[error("the host has an interface {name} that is not this network's: give the bridge another name")]
    ForeignBridge {
        /// The interface.
        name: String,
    },
    /// The interface of the host's that a network is to be on is not there.
    #[error("the host has no interface {name}: `ip link` lists those it has")]
    NoParent {
        /// The interface.
        name: String,
    },
    /// The interface of the host's that a network is to be on would have to be made.
    #[error(
        "there is no interface {name}, and it cannot be made: the kernel has no 802.1Q VLANs (module 8021q)"
    )]
    NoVlans {
        /// The interface.
        name: String,
    },
    /// An interface of the host's gives itself to one container.
    #[error(
        "the host's interface {parent} is another's already: with mode passthru one container alone is on it"
    )]
    Alone {
        /// The interface.
        parent: String,
    },
    /// The kernel does not make interfaces of this kind.
    #[error("the kernel has no ipvlan: load it with `modprobe ipvlan`, or use `driver: macvlan`")]
    NoIpvlan,
    /// An interface of the host's is in use by what can be alone on it.
    #[error(
        "the host's interface {parent} is in a bridge or bond, or has interfaces of another kind on it: macvlan and \
         ipvlan cannot share it"
    )]
    Occupied {
        /// The interface.
        parent: String,
    },
    /// The kernel has not all that limits of bandwidth are made of.
    #[error(
        "the kernel has no {part} ({source}): load it with `modprobe {part}`, or run a kernel that has it"
    )]
    NoShaping {
        /// The module that is missing.
        part: &'static str,
        /// What the kernel has said.
        source: io::Error,
    },
    /// Group 0 is the group of every interface that was put into none.
    #[error("link group 0 holds the interfaces of the host and cannot be removed")]
    DefaultGroup,
}

impl Error {
    pub(crate) fn kernel(doing: &'static str, subject: impl Display, source: impl Into<io::Error>) -> Self {
        Self::Kernel { doing, subject: subject.to_string(), source: source.into() }
    }

    /// The same for an error of rtnetlink, which carries the kernel's answer.
    pub(crate) fn netlink(doing: &'static str, subject: impl Display, source: rtnetlink::Error) -> Self {
        Self::kernel(doing, subject, netlink_to_io(source))
    }
}

/// The kernel's errno, where the answer carries one.
pub(crate) fn netlink_to_io(error: rtnetlink::Error) -> io::Error {
    match error {
        rtnetlink::Error::NetlinkError(message) => message.to_io(),
        other => io::Error::other(other.to_string()),
    }
}
