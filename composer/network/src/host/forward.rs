//! The host's firewall and the traffic within a bridge.
//!
//! With br_netfilter on (`net.bridge.bridge-nf-call-iptables`), frames from one container to another pass the host's
//! IPv4 `forward` hook as if they were routed, and Docker and many firewalls drop there what they do not know. An
//! accept in a table of our own would not help: every chain of the hook must let a packet pass. So each that would
//! not gets one rule at its head, with the bridge's name in its comment, by which it is found again:
//!
//! ```text
//! iifname BRIDGE oifname BRIDGE counter accept comment "composer:BRIDGE"
//! ```
//!
//! Docker's own place for such rules is the chain `DOCKER-USER`, which it leaves alone when it makes its others
//! anew; where `FORWARD` leads there, the rule goes there. Rules of others are neither changed nor moved. Those of
//! iptables-legacy are not seen by nf_tables and stay as they are, with what they drop.

use std::ffi::{CStr, CString};
use std::{fs, io};

use netlink_bindings::nftables::{
    Chained, CmpOps, ExprOps, IterableChainAttrs, IterableRuleAttrs, MetaKeys, Request, VerdictCode,
};
use netlink_socket2::NetlinkSocket;

use crate::nftables::{accept, batch_header, compare, header, load_meta};

/// Whether bridged IPv4 passes the firewall; per network namespace, absent without br_netfilter
/// (Documentation/networking/ip-sysctl.rst).
const CALLS_IPTABLES: &str = "/proc/sys/net/bridge/bridge-nf-call-iptables";
/// NFPROTO_INET (linux/netfilter.h): tables for IPv4 and IPv6.
const INET: u8 = 1;
const IPV4: u8 = libc::AF_INET as u8;
/// NF_INET_FORWARD (linux/netfilter.h).
const FORWARD_HOOK: u32 = 2;
/// Names that iptables and Docker give.
const FILTER: &CStr = c"filter";
const FORWARD: &CStr = c"FORWARD";
const DOCKER_USER: &CStr = c"DOCKER-USER";
const TAG: &str = "composer:";
/// NFTNL_UDATA_RULE_COMMENT (libnftnl's udata.h): text that ends with a NUL.
const COMMENT: u8 = 0;
/// How often the rules of others may change between the look at them and the transaction.
const ATTEMPTS: usize = 16;

/// Lets traffic within the bridge pass, unless it does already, in the thread's namespace.
pub(super) fn allow(bridge: &str) -> io::Result<()> {
    if fs::read_to_string(CALLS_IPTABLES).is_ok_and(|value| value.trim() != "0") {
        change(|chains| chains.missing(bridge))?;
    }
    Ok(())
}

/// Removes the rules of these bridges, in whichever chain they are; that there are none is no error. The socket is
/// returned for its close, which waits for the kernel to free what was removed.
pub(super) fn withdraw(bridges: &[&str]) -> io::Result<Option<NetlinkSocket>> {
    // Not its value, which may have changed since the rules were made.
    if !fs::exists(CALLS_IPTABLES)? {
        return Ok(None);
    }
    change(|chains| chains.present(bridges)).map(Some)
}

/// A base chain of the forward hook, or a `DOCKER-USER`.
#[derive(Debug, Clone, PartialEq)]
struct Chain {
    family: u8,
    table: CString,
    name: CString,
    /// Whether it is called by the hook.
    base: bool,
    /// Whether its policy is to drop.
    drops: bool,
    /// How many rules it has, and how many lead to it.
    uses: usize,
}

struct Rule {
    handle: u64,
    /// The name in the rule's comment, if it is one of ours.
    bridge: Option<String>,
}

enum Change {
    Insert { at: Chain, bridge: String },
    Delete { from: Chain, handle: u64 },
}

/// The chains that may drop what a bridge forwards, and a connection to look into them.
struct Chains<'a> {
    socket: &'a mut NetlinkSocket,
    all: Vec<Chain>,
}

/// Makes changes in one transaction, which holds only if nothing has changed since they were decided upon.
fn change(mut decide: impl FnMut(&mut Chains<'_>) -> io::Result<Vec<Change>>) -> io::Result<NetlinkSocket> {
    let mut socket = NetlinkSocket::new();
    for attempt in 1.. {
        let generation = match generation(&mut socket) {
            // A kernel without nf_tables (nfnetlink_rcv_msg in net/netfilter/nfnetlink.c).
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => break,
            other => other?,
        };
        let all = list_chains(&mut socket)?;
        let decided = decide(&mut Chains { socket: &mut socket, all });
        let outcome = decided.and_then(|changes| commit(&mut socket, generation, &changes));
        match outcome.as_ref().map_err(io::Error::raw_os_error) {
            // Refused for its generation, or the chain was gone before its rules were listed.
            Err(Some(libc::ERESTART | libc::ENOENT)) if attempt < ATTEMPTS => {}
            _ => {
                outcome?;
                break;
            }
        }
    }
    Ok(socket)
}

impl Chains<'_> {
    /// The rules that are not there and should be.
    fn missing(&mut self, bridge: &str) -> io::Result<Vec<Change>> {
        let mut missing = Vec::new();
        for chain in self.all.clone().into_iter().filter(Chain::may_drop) {
            let (at, rules) = self.place(chain)?;
            if !rules.iter().any(|rule| rule.bridge.as_deref() == Some(bridge)) {
                missing.push(Change::Insert { at, bridge: bridge.to_owned() });
            }
        }
        Ok(missing)
    }

    /// The rules that are there and belong to one of the bridges.
    fn present(&mut self, bridges: &[&str]) -> io::Result<Vec<Change>> {
        let mut present = Vec::new();
        for chain in self.all.iter().filter(|chain| chain.uses > 0) {
            let rules = list_rules(self.socket, chain)?.into_iter();
            let ours =
                rules.filter(|rule| rule.bridge.as_deref().is_some_and(|name| bridges.contains(&name)));
            present.extend(ours.map(|rule| Change::Delete { from: chain.clone(), handle: rule.handle }));
        }
        Ok(present)
    }

    /// Where the rule for a base chain goes, and the rules there.
    fn place(&mut self, base: Chain) -> io::Result<(Chain, Vec<Rule>)> {
        let docker_user = self.all.iter().find(|chain| {
            base.name.as_c_str() == FORWARD
                && chain.name.as_c_str() == DOCKER_USER
                && (chain.family, &chain.table) == (base.family, &base.table)
        });
        if let Some(chain) = docker_user {
            let rules = list_rules(self.socket, chain)?;
            // Else nothing leads there: FORWARD was emptied since Docker started.
            if chain.uses > rules.len() {
                return Ok((chain.clone(), rules));
            }
        }
        let rules = list_rules(self.socket, &base)?;
        Ok((base, rules))
    }
}

impl Chain {
    fn new(family: u8, attributes: &IterableChainAttrs<'_>) -> Option<Self> {
        let hook = attributes.get_hook().and_then(|hook| hook.get_num()).ok();
        let name = attributes.get_name().ok()?;
        let concerns = hook == Some(FORWARD_HOOK) || (hook.is_none() && name == DOCKER_USER);
        (concerns && [IPV4, INET].contains(&family)).then_some(Self {
            family,
            table: attributes.get_table().ok()?.to_owned(),
            name: name.to_owned(),
            base: hook.is_some(),
            drops: attributes.get_policy() == Ok(VerdictCode::Drop as u32),
            uses: attributes.get_use().ok()? as usize,
        })
    }

    /// iptables' chain may also have a rule that drops the rest.
    fn may_drop(&self) -> bool {
        let of_iptables = self.family == IPV4 && self.table.as_c_str() == FILTER;
        self.base && (self.drops || (of_iptables && self.uses > 0))
    }
}

fn generation(socket: &mut NetlinkSocket) -> io::Result<u32> {
    let request = Request::new().op_getgen_do(&header(0));
    let mut reply = socket.request(&request)?;
    let (_, attributes) = reply.recv_one()?;
    attributes.get_id().map_err(io::Error::other)
}

fn list_chains(socket: &mut NetlinkSocket) -> io::Result<Vec<Chain>> {
    let request = Request::new().op_getchain_dump(&header(0));
    let mut reply = socket.request(&request)?;
    let mut chains = Vec::new();
    while let Some(answer) = reply.recv() {
        let (header, attributes) = answer?;
        chains.extend(Chain::new(header.nfgen_family, &attributes));
    }
    Ok(chains)
}

fn list_rules(socket: &mut NetlinkSocket, chain: &Chain) -> io::Result<Vec<Rule>> {
    let mut request = Request::new().op_getrule_dump(&header(chain.family));
    request.encode().push_table(&chain.table).push_chain(&chain.name);
    let mut reply = socket.request(&request)?;
    let mut rules = Vec::new();
    while let Some(answer) = reply.recv() {
        let (_, attributes) = answer?;
        let handle = attributes.get_handle().map_err(io::Error::other)?;
        rules.push(Rule { handle, bridge: bridge_of(&attributes) });
    }
    Ok(rules)
}

/// The bridge that a rule names in its comment. iptables-restore turns the comment of what iptables-save saw into
/// a match of xtables, whose data begins with the text.
fn bridge_of(rule: &IterableRuleAttrs<'_>) -> Option<String> {
    let of_nft = rule.get_userdata().ok().and_then(comment_in);
    let text = of_nft.or_else(|| {
        rule.get_expressions().ok()?.get_elem().find_map(|expression| match expression.get_data() {
            Ok(ExprOps::Match(matching)) if matching.get_name() == Ok(c"comment") => matching.get_info().ok(),
            _ => None,
        })
    })?;
    let text = CStr::from_bytes_until_nul(text).ok()?.to_str().ok()?;
    text.strip_prefix(TAG).map(str::to_owned)
}

/// The comment among a rule's user data: entries of a type, a length and a value.
fn comment_in(mut data: &[u8]) -> Option<&[u8]> {
    while let [kind, length, rest @ ..] = data {
        let (value, after) = rest.split_at_checked((*length).into())?;
        if *kind == COMMENT {
            return Some(value);
        }
        data = after;
    }
    None
}

fn commit(socket: &mut NetlinkSocket, generation: u32, changes: &[Change]) -> io::Result<()> {
    if changes.is_empty() {
        return Ok(());
    }
    let messages = u32::try_from(changes.len() + 2).map_err(io::Error::other)?;
    let mut batch = Chained::new(socket.reserve_seq(messages));
    batch.request().op_batch_begin_do(&batch_header()).encode().push_genid(generation);
    for change in changes {
        match change {
            Change::Insert { at, bridge } => insert(&mut batch, at, bridge)?,
            Change::Delete { from, handle } => {
                batch
                    .request()
                    .op_delrule_do(&header(from.family))
                    .encode()
                    .push_table(&from.table)
                    .push_chain(&from.name)
                    .push_handle(*handle);
            }
        }
    }
    batch.request().op_batch_end_do(&batch_header());
    socket.request_chained(&batch.finalize())?.recv_all().map_err(io::Error::from)
}

/// A rule without a position and not appended goes to the head of its chain.
fn insert(batch: &mut Chained<'static>, chain: &Chain, bridge: &str) -> io::Result<()> {
    let name = CString::new(bridge)?;
    let comment = CString::new(format!("{TAG}{bridge}"))?;
    let comment = comment.as_bytes_with_nul();
    let length = u8::try_from(comment.len()).map_err(io::Error::other)?;
    let mut expressions = batch
        .request()
        .set_create()
        .op_newrule_do(&header(chain.family))
        .into_encoder()
        .push_table(&chain.table)
        .push_chain(&chain.name)
        .push_userdata(&[&[COMMENT, length], comment].concat())
        .nested_expressions();
    for key in [MetaKeys::Iifname, MetaKeys::Oifname] {
        // With its NUL, or every longer name that begins with it would match.
        expressions = compare(load_meta(expressions, key), CmpOps::Eq, name.as_bytes_with_nul());
    }
    let counted = expressions.nested_elem().nested_data_counter().end_nested().end_nested();
    accept(counted).end_nested();
    Ok(())
}
