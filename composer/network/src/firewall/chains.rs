//! The chains of others that packets pass which are forwarded, or which the host sends, as far as it has to be known where
//! a rule among theirs helps.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CStr, CString};
use std::{fmt, io};

use netlink_bindings::nftables::{
    Chained, CmpOps, ExprOps, IterableChainAttrs, IterableRuleAttrs, MetaKeys, Request, VerdictCode,
};
use netlink_socket2::NetlinkSocket;

use super::rule::INET;
use crate::nftables::{batch_header, header};

pub(super) const IPV4: u8 = libc::AF_INET as u8;
pub(super) const IPV6: u8 = libc::AF_INET6 as u8;
/// NF_INET_FORWARD and NF_INET_LOCAL_OUT (linux/netfilter.h).
pub(super) const FORWARD_HOOK: u32 = 2;
pub(super) const OUTPUT_HOOK: u32 = 3;
/// Names that iptables and Docker give.
const FILTER: &CStr = c"filter";
const FORWARD: &CStr = c"FORWARD";
const DOCKER_USER: &CStr = c"DOCKER-USER";
/// What the names of our own tables begin with.
pub(super) const OWN: &str = "compose-";
const TAG: &str = "composer:";
/// NFTNL_UDATA_RULE_COMMENT (libnftnl's udata.h): text that ends with a NUL.
pub(super) const COMMENT: u8 = 0;
/// How deep chains that lead to each other are followed.
const DEPTH: usize = 16;

/// A chain of a table that a base chain of the hook is in.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Chain {
    pub(super) family: u8,
    pub(super) table: CString,
    pub(super) name: CString,
    /// Whether it is called by the hook.
    base: bool,
    /// Whether its policy is to drop.
    drops: bool,
    /// How many rules it has, and how many lead to it.
    uses: usize,
}

/// A rule of somebody's.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    pub(super) handle: u64,
    /// What the rule's comment says after our tag, if it is one of ours.
    pub(super) tag: Option<String>,
    fate: Fate,
    /// What it does with every packet that leaves by an interface, where that is all it asks: its name, with a NUL, or what
    /// its name begins with.
    leaving: Option<(Vec<u8>, Fate)>,
}

/// What a rule does with every packet that comes to it.
#[derive(Debug, Clone, PartialEq)]
enum Fate {
    /// It depends on the packet, or it goes on.
    Open,
    Accept,
    Drop,
    Return,
    Jump(CString),
    Goto(CString),
}

/// Where a rule goes: before the one with this handle, or at the end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Place {
    Head,
    Before(u64),
    End,
}

/// What others have in a hook, and the connection that it was read by.
pub(super) struct Chains<'a> {
    socket: &'a mut NetlinkSocket,
    pub(super) all: Vec<Chain>,
    rules: BTreeMap<(u8, CString), BTreeMap<CString, Vec<Rule>>>,
}

impl Chain {
    fn new(wanted: u32, family: u8, attributes: &IterableChainAttrs<'_>) -> Option<Self> {
        let hook = attributes.get_hook().and_then(|hook| hook.get_num()).ok();
        let table = attributes.get_table().ok()?;
        let own = table.to_bytes().starts_with(OWN.as_bytes());
        let concerns = hook.is_none_or(|hook| hook == wanted) && !own;
        (concerns && [IPV4, IPV6, INET].contains(&family)).then_some(Self {
            family,
            table: table.to_owned(),
            name: attributes.get_name().ok()?.to_owned(),
            // A chain of type `nat` sees only what begins, and drops nothing.
            base: hook.is_some() && attributes.get_type() == Ok(c"filter"),
            drops: attributes.get_policy() == Ok(VerdictCode::Drop as u32),
            uses: attributes.get_use().ok()? as usize,
        })
    }

    /// Whether it is the same by name, however it has changed.
    pub(super) fn is(&self, other: &Self) -> bool {
        (self.family, &self.table, &self.name) == (other.family, &other.table, &other.name)
    }

    pub(super) fn is_of_iptables(&self) -> bool {
        [IPV4, IPV6].contains(&self.family) && self.table.as_c_str() == FILTER
    }

    pub(super) fn sees(&self, family: u8) -> bool {
        [family, INET].contains(&self.family)
    }
}

impl Chain {
    /// The family of its table, as nft(8) calls it.
    pub(super) fn kind(&self) -> &'static str {
        match self.family {
            IPV4 => "ip",
            IPV6 => "ip6",
            _ => "inet",
        }
    }
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (table, name) = (self.table.to_string_lossy(), self.name.to_string_lossy());
        write!(f, "chain {name} of nf_tables' table {} {table}", self.kind())
    }
}

impl<'a> Chains<'a> {
    /// Lists the chains of a hook; rules are read as they are asked for.
    pub(super) fn list(socket: &'a mut NetlinkSocket, hook: u32) -> io::Result<Self> {
        let all = list_chains(socket, hook)?;
        Ok(Self { socket, all, rules: BTreeMap::new() })
    }

    /// The base chains through which a packet may not come.
    pub(super) fn that_may_drop(&mut self) -> io::Result<Vec<Chain>> {
        let mut found = Vec::new();
        for chain in self.all.clone().into_iter().filter(|chain| chain.base) {
            // iptables' chain may also have rules that drop what they know, among which ours has to be early enough.
            let may = chain.drops
                || (chain.is_of_iptables() && chain.uses > 0)
                || self.ends(&chain, None, DEPTH)?.is_some_and(|(_, fate)| fate == Fate::Drop);
            if may {
                found.push(chain);
            }
        }
        Ok(found)
    }

    /// The base chains that drop what leaves by this interface, unless a rule lets it pass that asks for more.
    pub(super) fn that_drop_leaving(&mut self, interface: &str) -> io::Result<Vec<Chain>> {
        let mut found = Vec::new();
        for chain in self.all.clone().into_iter().filter(|chain| chain.base) {
            let drops = match self.ends(&chain, Some(interface), DEPTH)? {
                Some((_, Fate::Drop)) => true,
                Some((_, Fate::Return)) | None => chain.drops,
                Some((_, Fate::Accept | Fate::Open | Fate::Jump(_) | Fate::Goto(_))) => false,
            };
            if drops {
                found.push(chain);
            }
        }
        Ok(found)
    }

    /// The chain to which a rule for a base chain goes: Docker's own place for such rules is `DOCKER-USER`, which it
    /// leaves alone when it makes its others anew.
    pub(super) fn home(&mut self, base: &Chain) -> io::Result<Chain> {
        let docker_user = self.all.iter().find(|chain| {
            base.name.as_c_str() == FORWARD
                && chain.name.as_c_str() == DOCKER_USER
                && (chain.family, &chain.table) == (base.family, &base.table)
        });
        if let Some(chain) = docker_user.cloned()
            // Else nothing leads there: FORWARD was emptied since Docker started.
            && chain.uses > self.rules(&chain)?.len()
        {
            return Ok(chain);
        }
        Ok(base.clone())
    }

    /// Where a rule is passed by as few packets as may be that others' rules have decided on, and is not behind one
    /// that decides on all.
    pub(super) fn last_place(&mut self, chain: &Chain) -> io::Result<Place> {
        Ok(match self.ends(chain, None, DEPTH)? {
            Some((handle, _)) => Place::Before(handle),
            None => Place::End,
        })
    }

    /// The first rule that no packet comes by, or none that leaves by an interface, and what becomes of those that come to it.
    fn ends(
        &mut self,
        chain: &Chain,
        leaving: Option<&str>,
        depth: usize,
    ) -> io::Result<Option<(u64, Fate)>> {
        for rule in self.rules(chain)?.to_vec() {
            let fate = match (rule.leaving, leaving) {
                (Some((name, fate)), Some(interface)) if is_called(interface, &name) => fate,
                _ => rule.fate,
            };
            let fate = match fate {
                Fate::Open => continue,
                Fate::Accept | Fate::Drop | Fate::Return => fate,
                // The kernel lets no chain lead to itself, nor deeper than this.
                Fate::Jump(_) | Fate::Goto(_) if depth == 0 => continue,
                Fate::Jump(ref to) | Fate::Goto(ref to) => {
                    let to = Chain { name: to.clone(), base: false, drops: false, ..chain.clone() };
                    let end = self.ends(&to, leaving, depth - 1)?.map(|(_, fate)| fate);
                    match (end, &fate) {
                        (Some(fate @ (Fate::Accept | Fate::Drop)), _) => fate,
                        (_, Fate::Goto(_)) => Fate::Return,
                        _ => continue,
                    }
                }
            };
            return Ok(Some((rule.handle, fate)));
        }
        Ok(None)
    }

    /// The rules of a chain.
    pub(super) fn rules(&mut self, chain: &Chain) -> io::Result<&[Rule]> {
        let key = (chain.family, chain.table.clone());
        if !self.rules.contains_key(&key) {
            let listed = list_rules(self.socket, chain.family, &chain.table)?;
            self.rules.insert(key.clone(), listed);
        }
        let found = self.rules.get(&key).and_then(|table| table.get(&chain.name));
        Ok(found.map_or(&[], Vec::as_slice))
    }
}

/// The number that grows with each change of the ruleset; `None` in a kernel without nf_tables.
pub(super) fn generation(socket: &mut NetlinkSocket) -> io::Result<Option<u32>> {
    let request = Request::new().op_getgen_do(&header(0));
    let attempt = (|| {
        let mut reply = socket.request(&request)?;
        let (_, attributes) = reply.recv_one()?;
        attributes.get_id().map_err(io::Error::other)
    })();
    match attempt {
        // nfnetlink_rcv_msg in net/netfilter/nfnetlink.c, and socket(2).
        Err(error) if [Some(libc::EINVAL), Some(libc::EPROTONOSUPPORT)].contains(&error.raw_os_error()) => {
            Ok(None)
        }
        other => other.map(Some),
    }
}

/// A transaction that holds only if nothing has changed since this generation.
pub(super) fn begin(socket: &mut NetlinkSocket, messages: usize, generation: u32) -> Chained<'static> {
    let messages = u32::try_from(messages + 2).unwrap_or(u32::MAX);
    let mut batch = Chained::new(socket.reserve_seq(messages));
    batch.request().op_batch_begin_do(&batch_header()).encode().push_genid(generation);
    batch
}

fn list_chains(socket: &mut NetlinkSocket, hook: u32) -> io::Result<Vec<Chain>> {
    let request = Request::new().op_getchain_dump(&header(0));
    let mut reply = socket.request(&request)?;
    let mut chains = Vec::new();
    while let Some(answer) = reply.recv() {
        let (header, attributes) = answer?;
        chains.extend(Chain::new(hook, header.nfgen_family, &attributes));
    }
    // Tables that none of the hook's packets passes are nobody's business here.
    let concerned: BTreeSet<_> =
        chains.iter().filter(|chain| chain.base).map(|chain| (chain.family, chain.table.clone())).collect();
    chains.retain(|chain: &Chain| concerned.contains(&(chain.family, chain.table.clone())));
    Ok(chains)
}

fn list_rules(
    socket: &mut NetlinkSocket,
    family: u8,
    table: &CStr,
) -> io::Result<BTreeMap<CString, Vec<Rule>>> {
    let mut request = Request::new().op_getrule_dump(&header(family));
    request.encode().push_table(table);
    let mut reply = socket.request(&request)?;
    let mut rules: BTreeMap<CString, Vec<Rule>> = BTreeMap::new();
    while let Some(answer) = reply.recv() {
        let (_, attributes) = answer?;
        let handle = attributes.get_handle().map_err(io::Error::other)?;
        let Ok(chain) = attributes.get_chain() else { continue };
        let (leaving, fate) = match fate_of(&attributes) {
            (Some(name), fate) => (Some((name, fate)), Fate::Open),
            (None, fate) => (None, fate),
        };
        let rule = Rule { handle, tag: tag_of(&attributes), fate, leaving };
        rules.entry(chain.to_owned()).or_default().push(rule);
    }
    Ok(rules)
}

/// What a rule's comment says after our tag. iptables-restore turns the comment of what iptables-save saw into a match
/// of xtables, whose data begins with the text.
pub(super) fn tag_of(rule: &IterableRuleAttrs<'_>) -> Option<String> {
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

/// The comment by which a rule is found again.
pub(super) fn tagged(tag: &str) -> io::Result<Vec<u8>> {
    let comment = CString::new(format!("{TAG}{tag}"))?;
    let comment = comment.as_bytes_with_nul();
    let length = u8::try_from(comment.len()).map_err(io::Error::other)?;
    Ok([&[COMMENT, length], comment].concat())
}

/// What becomes of every packet that comes to a rule, or of all that leave by the interface that it asks for alone.
fn fate_of(rule: &IterableRuleAttrs<'_>) -> (Option<Vec<u8>>, Fate) {
    let open = (None, Fate::Open);
    let Ok(expressions) = rule.get_expressions() else { return open };
    let (mut leaving, mut fate, mut is_name) = (None, Fate::Open, false);
    for expression in expressions.get_elem() {
        fate = match expression.get_data() {
            Ok(ExprOps::Counter(_) | ExprOps::Log(_)) => continue,
            // Says nothing about the packet.
            Ok(ExprOps::Match(matching)) if matching.get_name() == Ok(c"comment") => continue,
            Ok(ExprOps::Meta(meta)) if !is_name && leaving.is_none() => {
                is_name = meta.get_key() == Ok(MetaKeys::Oifname as u32);
                match is_name {
                    true => continue,
                    false => return open,
                }
            }
            Ok(ExprOps::Cmp(compared)) if is_name && compared.get_op() == Ok(CmpOps::Eq as u32) => {
                is_name = false;
                leaving = compared.get_data().and_then(|data| data.get_value()).ok().map(<[u8]>::to_vec);
                match leaving {
                    Some(_) => continue,
                    None => return open,
                }
            }
            Ok(ExprOps::Reject(_)) => Fate::Drop,
            Ok(ExprOps::Target(target)) if target.get_name() == Ok(c"REJECT") => Fate::Drop,
            Ok(ExprOps::Immediate(immediate)) => {
                let verdict = immediate.get_data().and_then(|data| data.get_verdict());
                let Ok(verdict) = verdict else { return open };
                let chain = || verdict.get_chain().map(CStr::to_owned);
                match verdict.get_code() {
                    Ok(code) if code == VerdictCode::Accept as u32 => Fate::Accept,
                    Ok(code) if code == VerdictCode::Drop as u32 => Fate::Drop,
                    Ok(code) if code == VerdictCode::Return as u32 => Fate::Return,
                    Ok(code) if code == VerdictCode::Jump as u32 => chain().map_or(Fate::Open, Fate::Jump),
                    Ok(code) if code == VerdictCode::Goto as u32 => chain().map_or(Fate::Open, Fate::Goto),
                    _ => Fate::Open,
                }
            }
            _ => return open,
        };
    }
    (leaving, fate)
}

/// Whether an interface has the name that a rule compares, as far as it compares.
fn is_called(interface: &str, compared: &[u8]) -> bool {
    match compared.iter().position(|byte| *byte == 0) {
        Some(end) => interface.as_bytes() == &compared[..end],
        None => interface.as_bytes().starts_with(compared),
    }
}

/// Whether a tag names this bridge: `BRIDGE`, or `BRIDGE PURPOSE`.
pub(super) fn bridge_of(tag: &str) -> &str {
    tag.split_once(' ').map_or(tag, |(bridge, _)| bridge)
}
