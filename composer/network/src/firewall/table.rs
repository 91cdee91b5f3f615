//! The table of a stack, as one transaction:
//!
//! ```text
//! table inet compose-STACK {
//!     set bridges / internal / isolated / trusted / within, and for each family masquerading, routed, unprotected, back, direct and behind,
//!     map any4 / any6 / on4 / on6
//!     chain raw         { prerouting, raw;      iifname @bridges ip daddr 127.0.0.0/8 drop }
//!     chain prerouting  { prerouting, dstnat;   accept what back4, back6 have; dnat by on4, any4, on6, any6 }
//!     chain output      { output, dstnat;       the same, for what the host itself asks for }
//!     chain postrouting { postrouting, srcnat;  masquerade }
//!     chain forward     { forward, filter;      who may reach whom }
//! }
//! ```
//!
//! 127.0.0.1 is led to the container like any other address: a bridge with `route_localnet` lets the packets out,
//! `postrouting` gives them the bridge's address, and `raw` keeps containers from using it the other way round to
//! reach what the host has on its loopback. ::1 cannot be led anywhere; [`crate::proxy`] serves it. It serves as well what
//! comes from an isolated bridge and would be led back into it, where frames pass the firewall: they are led there within
//! the bridge, whose isolated ports send each other, and themselves, nothing.

use std::collections::BTreeSet;
use std::ffi::{CStr, CString};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use netlink_bindings::nftables::{Chained, CtKeys, Request};
use netlink_socket2::NetlinkSocket;

use super::rule::{ESTABLISHED_OR_RELATED, Family, Rule, STATUS_DNAT, header};
use super::set::{self, Set};
use super::transaction::Transactions;
use super::{Direct, Published, Rules};
use crate::nftables::batch_header;

/// NF_ACCEPT as a chain's policy.
const ACCEPT: u32 = 1;
/// Hooks and priorities (linux/netfilter.h, linux/netfilter_ipv4.h).
const PREROUTING: u32 = 0;
const FORWARD: u32 = 2;
const OUTPUT: u32 = 3;
const POSTROUTING: u32 = 4;
const RAW: i32 = -300;
const DSTNAT: i32 = -100;
const FILTER: i32 = 0;
const SRCNAT: i32 = 100;
/// The chain that keeps containers from the host's loopback, and the set of bridges that it is about.
pub(super) const GUARD: &CStr = c"raw";
pub(super) const BRIDGES: &CStr = c"bridges";

/// Makes the table, in the place of an earlier one: all of it in one transaction. That there is one to be deleted is seen
/// to first, as a transaction that is refused costs more than all of this: to abort one, the kernel waits for its readers.
pub(super) fn replace(transactions: &mut Transactions, table: &CStr, rules: &Rules) -> io::Result<()> {
    let mut batch = transactions.begin();
    batch.request().op_batch_begin_do(&batch_header());
    begin_anew(&mut batch, table);
    for (set, id) in sets(rules).iter().zip(1..) {
        set.make(&mut batch, table, id);
    }
    let mut made = Table { batch: &mut batch, name: table };
    made.guard_loopback();
    made.destinations(rules);
    made.sources(rules);
    made.forward();
    batch.request().op_batch_end_do(&batch_header());
    transactions.commit(batch)
}

/// Whether there is such a table.
pub(super) fn is_there(socket: &mut NetlinkSocket, table: &CStr) -> io::Result<bool> {
    let mut request = Request::new().op_gettable_do(&header());
    request.encode().push_name(table);
    let found = socket.request(&request)?.recv_one().map(drop).map_err(io::Error::from);
    match found {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        other => other.map(|()| true),
    }
}

/// An empty table in the place of an earlier one, if there is any.
pub(super) fn begin_anew(batch: &mut Chained<'static>, table: &CStr) {
    batch.request().set_create().op_newtable_do(&header()).encode().push_name(table);
    batch.request().op_deltable_do(&header()).encode().push_name(table);
    batch.request().set_create().op_newtable_do(&header()).encode().push_name(table);
}

/// A chain of a table that forwarded packets pass.
pub(super) fn forward_chain(batch: &mut Chained<'static>, table: &CStr, name: &CStr) {
    Table { batch, name: table }.chain(name, c"filter", FORWARD, FILTER);
}

/// Makes a table with a chain in the namespace that the process is in, to see whether there are any.
pub(super) fn attempt() -> io::Result<()> {
    let mut transactions = Transactions::default();
    let mut batch = transactions.begin();
    batch.request().op_batch_begin_do(&batch_header());
    begin_anew(&mut batch, c"compose-doctor");
    forward_chain(&mut batch, c"compose-doctor", c"forward");
    batch.request().op_batch_end_do(&batch_header());
    transactions.commit(batch)
}

/// Removes the table; that there is none is no error.
pub(super) fn remove(transactions: &mut Transactions, table: &CStr) -> io::Result<()> {
    let mut batch = transactions.begin();
    batch.request().op_batch_begin_do(&batch_header());
    batch.request().set_create().op_newtable_do(&header()).encode().push_name(table);
    batch.request().op_deltable_do(&header()).encode().push_name(table);
    batch.request().op_batch_end_do(&batch_header());
    transactions.commit(batch)
}

fn sets(rules: &Rules) -> Vec<Set> {
    let names = |chosen: fn(&super::Net) -> bool| {
        let nets = rules.networks.iter().filter(|net| chosen(net));
        nets.map(|net| set::name(&net.bridge)).collect::<Vec<_>>()
    };
    let pairs = |chosen: fn(&super::Net) -> bool| {
        let nets = rules.networks.iter().filter(|net| chosen(net));
        nets.map(|net| set::way(&net.bridge, &net.bridge)).collect::<Vec<_>>()
    };
    let ways =
        rules.networks.iter().flat_map(|net| net.trusted.iter().map(|from| set::way(from, &net.bridge)));
    let trusted: BTreeSet<_> = ways.collect();
    let behind = behind(rules);
    let direct = |ports: &[Direct], is_of: fn(&IpAddr) -> bool| {
        let ports: BTreeSet<_> = ports.iter().filter(|port| is_of(&port.address)).map(set::direct).collect();
        ports.into_iter().collect()
    };
    let (v4, v6) = (published_v4(&rules.published), published_v6(&rules.published));
    let set = |name, kind, elements| Set { name, kind, elements };
    vec![
        set(BRIDGES, set::NAMES, names(|_| true)),
        set(c"internal", set::NAMES, names(|net| net.internal)),
        set(c"masquerading4", set::NAMES, names(|net| net.masquerades(0))),
        set(c"masquerading6", set::NAMES, names(|net| net.masquerades(1))),
        set(c"within", set::PAIRS, pairs(|_| true)),
        set(c"isolated", set::PAIRS, pairs(|net| net.isolated)),
        set(c"unprotected4", set::NAMES, names(|net| net.unprotected[0])),
        set(c"unprotected6", set::NAMES, names(|net| net.unprotected[1])),
        set(c"routed4", set::NAMES, names(|net| net.routed[0])),
        set(c"routed6", set::NAMES, names(|net| net.routed[1])),
        set(c"direct4", set::DIRECT_V4, direct(&rules.direct, IpAddr::is_ipv4)),
        set(c"direct6", set::DIRECT_V6, direct(&rules.direct, IpAddr::is_ipv6)),
        set(c"trusted", set::PAIRS, trusted.into_iter().collect()),
        set(c"behind4", set::DIRECT_V4, direct(&behind, IpAddr::is_ipv4)),
        set(c"behind6", set::DIRECT_V6, direct(&behind, IpAddr::is_ipv6)),
        set(c"back4", set::ENTRIES, led_back(rules, |port| port.to_v4.map(IpAddr::V4))),
        set(c"back6", set::ENTRIES, led_back(rules, |port| port.to_v6.map(IpAddr::V6))),
        set(c"any4", set::PORTS_V4, v4.0),
        set(c"on4", set::ENDPOINTS_V4, v4.1),
        set(c"any6", set::PORTS_V6, v6.0),
        set(c"on6", set::ENDPOINTS_V6, v6.1),
    ]
}

struct Table<'a> {
    batch: &'a mut Chained<'static>,
    name: &'a CStr,
}

impl Table<'_> {
    fn guard_loopback(&mut self) {
        self.chain(GUARD, c"filter", PREROUTING, RAW);
        self.rule(GUARD).iifname(BRIDGES).daddr(loopback_v4()).drop();
    }

    fn destinations(&mut self, rules: &Rules) {
        for (chain, hook) in [(c"prerouting", PREROUTING), (c"output", OUTPUT)] {
            self.chain(chain, c"nat", hook, DSTNAT);
            let outside = hook == PREROUTING;
            for (family, set, bridged) in
                [(Family::V4, c"back4", rules.bridged[0]), (Family::V6, c"back6", rules.bridged[1])]
            {
                if outside && bridged {
                    self.rule(chain).family(family).asks_by(set).accept();
                }
            }
            let on4 = self.rule(chain).family(Family::V4);
            // Nobody but the host itself has business at its loopback, whatever its settings let in.
            let on4 = if outside { on4.not_daddr(loopback_v4()) } else { on4 };
            on4.dnat_by_address(Family::V4, c"on4");
            let any4 = self.rule(chain).family(Family::V4);
            let any4 = if outside { any4.not_daddr(loopback_v4()) } else { any4 };
            any4.at_host().dnat_by_port(Family::V4, c"any4");
            self.rule(chain).not_daddr(loopback_v6()).dnat_by_address(Family::V6, c"on6");
            self.rule(chain).not_daddr(loopback_v6()).at_host().dnat_by_port(Family::V6, c"any6");
        }
    }

    fn sources(&mut self, rules: &Rules) {
        let chain = c"postrouting";
        self.chain(chain, c"nat", POSTROUTING, SRCNAT);
        self.rule(chain).saddr(loopback_v4()).oifname(BRIDGES).masquerade();
        // A container's way to a published port of its own network: the answer has to come back this way. By its
        // address, as bridged packets have no interface here that they came by.
        for net in &rules.networks {
            let Ok(bridge) = CString::new(net.bridge.as_str()) else { continue };
            for subnet in &net.subnets {
                let rule = self.rule(chain).saddr(subnet.trunc()).oifname_is(&bridge);
                rule.ct(CtKeys::Status, STATUS_DNAT).masquerade();
            }
        }
        for net in &rules.networks {
            let Ok(bridge) = CString::new(net.bridge.as_str()) else { continue };
            for (family, address) in [Family::V4, Family::V6].into_iter().zip(net.sources()) {
                if let Some(address) = address {
                    self.rule(chain).family(family).iifname_is(&bridge).not_between(c"within").snat(address);
                }
            }
        }
        for (family, set) in [(Family::V4, c"masquerading4"), (Family::V6, c"masquerading6")] {
            self.rule(chain).family(family).iifname(set).not_between(c"within").masquerade();
        }
    }

    fn forward(&mut self) {
        let chain = c"forward";
        self.chain(chain, c"filter", FORWARD, FILTER);
        self.rule(chain).ct(CtKeys::State, ESTABLISHED_OR_RELATED).accept();
        self.rule(chain).between(c"within").ct(CtKeys::Status, STATUS_DNAT).accept();
        self.rule(chain).between(c"isolated").drop();
        self.rule(chain).between(c"within").accept();
        self.rule(chain).iifname(c"internal").drop();
        self.rule(chain).oifname(c"internal").drop();
        self.rule(chain).oifname(BRIDGES).ct(CtKeys::Status, STATUS_DNAT).accept();
        for (family, unprotected, routed, direct, behind) in [
            (Family::V4, c"unprotected4", c"routed4", c"direct4", c"behind4"),
            (Family::V6, c"unprotected6", c"routed6", c"direct6", c"behind6"),
        ] {
            self.rule(chain).between(c"trusted").goes_to(family, behind).accept();
            // From other networks of the host as from anywhere: Docker has had it so since 29 (moby's "Drop DOCKER-ISOLATION
            // rules"). Those that are internal are held by the table of their own stack.
            self.rule(chain).family(family).oifname(unprotected).accept();
            self.rule(chain).goes_to(family, direct).accept();
            self.rule(chain).icmp(family).oifname(routed).accept();
        }
        self.rule(chain).oifname(BRIDGES).drop();
    }

    fn chain(&mut self, name: &CStr, kind: &CStr, hook: u32, priority: i32) {
        let mut request = self.batch.request().set_create().op_newchain_do(&header());
        let chain = request.encode().push_table(self.name).push_name(name);
        let hooked = chain.nested_hook().push_num(hook).push_priority(priority).end_nested();
        hooked.push_policy(ACCEPT).push_type(kind);
    }

    fn rule(&mut self, chain: &CStr) -> Rule<'_> {
        Rule::append(self.batch, self.name, chain)
    }
}

/// What is published of containers on networks that trust interfaces of the host, at the containers' own addresses.
fn behind(rules: &Rules) -> Vec<Direct> {
    let trusting: Vec<_> = rules.networks.iter().filter(|net| !net.trusted.is_empty()).collect();
    let is_behind = |address: &IpAddr| {
        trusting.iter().flat_map(|net| &net.subnets).any(|subnet| subnet.contains(address))
    };
    let ports = rules.published.iter().flat_map(|port| {
        let addresses = [port.to_v4.map(IpAddr::V4), port.to_v6.map(IpAddr::V6)];
        let behind = addresses.into_iter().flatten().filter(is_behind);
        behind.map(|address| Direct { address, protocol: port.protocol, port: port.port }).collect::<Vec<_>>()
    });
    ports.collect()
}

/// The ports of containers on isolated bridges, as asked for from there.
fn led_back(rules: &Rules, to: impl Fn(&Published) -> Option<IpAddr>) -> Vec<set::Element> {
    let isolated = rules.networks.iter().filter(|net| net.isolated);
    let entries: BTreeSet<set::Element> = isolated
        .flat_map(|net| {
            let is_on = |address: &IpAddr| net.subnets.iter().any(|subnet| subnet.contains(address));
            let ports = rules.published.iter().filter(|port| to(port).as_ref().is_some_and(is_on));
            ports.map(|port| set::asked_by(&net.bridge, port)).collect::<Vec<_>>()
        })
        .collect();
    entries.into_iter().collect()
}

/// Ports of every address, and those of one address.
type Maps = (Vec<set::Element>, Vec<set::Element>);

fn published_v4(ports: &[Published]) -> Maps {
    let (mut any, mut on) = (Vec::new(), Vec::new());
    for port in ports {
        let Some(to) = port.to_v4.map(IpAddr::V4) else { continue };
        match port.host_ip {
            None => any.push(set::published(port, None, to)),
            Some(IpAddr::V4(address)) if address.is_unspecified() => any.push(set::published(port, None, to)),
            Some(IpAddr::V4(_)) => on.push(set::published(port, port.host_ip, to)),
            Some(IpAddr::V6(_)) => {}
        }
    }
    (any, on)
}

fn published_v6(ports: &[Published]) -> Maps {
    let (mut any, mut on) = (Vec::new(), Vec::new());
    for port in ports {
        let Some(to) = port.to_v6.map(IpAddr::V6) else { continue };
        match port.host_ip {
            None => any.push(set::published(port, None, to)),
            Some(IpAddr::V6(address)) if address.is_unspecified() => any.push(set::published(port, None, to)),
            Some(IpAddr::V6(address)) if address.is_loopback() => {}
            Some(IpAddr::V6(_)) => on.push(set::published(port, port.host_ip, to)),
            Some(IpAddr::V4(_)) => {}
        }
    }
    (any, on)
}

fn loopback_v4() -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8))
}

fn loopback_v6() -> IpNet {
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128))
}
