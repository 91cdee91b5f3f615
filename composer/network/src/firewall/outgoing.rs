//! What others keep the host itself from sending to containers.
//!
//! What the kernel leads from the host's own addresses to a container leaves by the loopback, as a chain of the output
//! hook sees it. What the proxy leads on leaves by the bridge: a chain whose policy is to drop stops it, as it does
//! docker-proxy's, and who asks for ::1 gets a connection that ends. Nothing is put there: it is about what programs of
//! this host may reach, which only its administrator knows. Who has it so is told what lets it pass.

use std::fmt;

use netlink_socket2::NetlinkSocket;

use super::chains::{self, Chain, Chains, IPV4, IPV6};
use super::legacy_rules;
use crate::names;

/// A chain that drops what the host sends to containers, as far as none of its rules lets it pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropping {
    /// It, for users.
    pub chain: String,
    /// The command that lets it pass.
    pub command: String,
}

/// The chains that drop what the host sends out by an interface of this name, of IPv4 and of IPv6. What cannot be read is
/// not spoken of.
pub fn dropping(interface: &str, families: [bool; 2]) -> Vec<Dropping> {
    let of_nf_tables = of_nf_tables(interface, families)
        .into_iter()
        .map(|chain| Dropping { chain: chain.to_string(), command: lets_out(&chain, interface) });
    let of_legacy =
        legacy_rules::that_drop_leaving(interface, families).into_iter().map(|program| Dropping {
            chain: format!("chain OUTPUT of {program}"),
            command: format!("{program} -I OUTPUT -o {} -j ACCEPT", pattern(interface, '+')),
        });
    of_nf_tables.chain(of_legacy).collect()
}

fn of_nf_tables(interface: &str, families: [bool; 2]) -> Vec<Chain> {
    let mut socket = NetlinkSocket::new();
    let Ok(Some(_)) = chains::generation(&mut socket) else { return Vec::new() };
    let found = Chains::list(&mut socket, chains::OUTPUT_HOOK)
        .and_then(|mut chains| chains.that_drop_leaving(interface))
        .unwrap_or_default();
    let sees = |chain: &Chain| (families[0] && chain.sees(IPV4)) || (families[1] && chain.sees(IPV6));
    found.into_iter().filter(sees).collect()
}

fn lets_out(chain: &Chain, interface: &str) -> String {
    let (table, name) = (chain.table.to_string_lossy(), chain.name.to_string_lossy());
    if chain.is_of_iptables() {
        let program = if chain.sees(IPV4) { "iptables" } else { "ip6tables" };
        return format!("{program} -I {name} -o {} -j ACCEPT", pattern(interface, '+'));
    }
    format!(
        "nft insert rule {} {table} {name} oifname '\"{}\"' accept",
        chain.kind(),
        pattern(interface, '*')
    )
}

/// All bridges that have such names as this one, whose name nobody chose.
fn pattern(interface: &str, any: char) -> String {
    if names::is_ours(interface) { format!("{}{any}", names::BRIDGE) } else { interface.to_owned() }
}

impl fmt::Display for Dropping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { chain, command } = self;
        write!(
            f,
            "{chain} drops what this host sends to containers, unless one of its rules knows better: published ports are \
             not reached from the host itself at ::1 then; `{command}` lets it pass"
        )
    }
}
