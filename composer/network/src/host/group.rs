//! The links of a stack by their group, which they keep when somebody gives them other names: called by their own again, or
//! removed together.

use std::collections::BTreeSet;

use futures_util::TryStreamExt;
use ipnet::IpNet;
use rtnetlink::packet_route::link::{InfoKind, LinkAttribute, LinkMessage};
use rtnetlink::{LinkMessageBuilder, LinkUnspec};

use super::{Host, MAC_PREFIX, forward, group_of, is_kind, name_of};
use crate::error::{Error, Result};
use crate::names;

impl Host {
    /// Has the bridge of a network that somebody has renamed be called by its name again: the links in it stay where they
    /// are, and no second bridge has its addresses. It is the one of this group, under a name of nobody else's of ours, that
    /// has an address in `subnets`. Where there is one of the name, or no such bridge, nothing is done. Whether there is one
    /// of the name then.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub async fn recall_bridge(&self, name: &str, group: u32, subnets: &[IpNet]) -> Result<bool> {
        if self.find(name).await?.is_some() {
            return Ok(true);
        }
        if group == 0 || subnets.is_empty() {
            return Ok(false);
        }
        for link in self.members(group).await? {
            let renamed = name_of(&link).is_some_and(|name| !names::is_ours(name));
            if !renamed || !has_our_mac(&link) || !is_kind(&link, &InfoKind::Bridge) {
                continue;
            }
            let index = link.header.index;
            let addresses = self.addresses(Some(index)).await?;
            if !addresses.iter().any(|(net, _)| subnets.contains(&net.trunc())) {
                continue;
            }
            // Kernels before 6.2 rename no link that is up.
            for message in [
                LinkUnspec::new_with_index(index).down(),
                LinkUnspec::new_with_index(index).name(name.to_owned()).up(),
            ] {
                let changed = self.handle.link().change(message.build()).execute().await;
                changed.map_err(|error| Error::netlink("call by its name again bridge", name, error))?;
            }
            return Ok(true);
        }
        Ok(false)
    }

    /// Removes every link of a group with one request: the kernel waits for its readers once, and not once for
    /// each link. Links of a group that has none are no error. What [`Host::bring_bridge`] put into the firewall
    /// goes first, so that whoever is stopped half-way finds the rest by the group again. `bridges` are those in it
    /// whose names were chosen by their users, and those that may have been renamed.
    ///
    /// The names of the links that stay, as they are in the group and none of ours.
    ///
    /// # Errors
    /// [`Error::DefaultGroup`]; else the kernel's refusal.
    pub async fn remove_group(&self, group: u32, bridges: &[&str]) -> Result<Vec<String>> {
        if group == 0 {
            return Err(Error::DefaultGroup);
        }
        let members = self.members(group).await?;
        if members.is_empty() {
            return Ok(Vec::new());
        }
        let own = own(&members, bridges);
        let (own, foreign): (Vec<_>, Vec<_>) =
            members.iter().partition(|link| own.contains(&link.header.index));
        let named = own.iter().filter_map(|link| name_of(link));
        let withdrawn = forward::withdraw(&named.chain(bridges.iter().copied()).collect::<Vec<_>>());
        let failed = |error| Error::kernel("remove link group", group, error);
        if foreign.is_empty() {
            let message = LinkMessageBuilder::<LinkUnspec>::new().link_group(group).build();
            self.delete(message).await.map_err(failed)?;
        } else {
            // The request for a group would take them along.
            for link in own {
                let message = LinkUnspec::new_with_index(link.header.index).build();
                self.delete(message).await.map_err(failed)?;
            }
        }
        // Closed only here, its socket has nothing left to wait for. A rule that could not be removed does not keep
        // the links: without its bridge it lets nothing pass.
        withdrawn.map(drop).map_err(|error| {
            Error::kernel("remove from the firewall the rule of link group", group, error)
        })?;
        Ok(foreign.into_iter().filter_map(name_of).map(str::to_owned).collect())
    }

    async fn members(&self, group: u32) -> Result<Vec<LinkMessage>> {
        let links: Vec<LinkMessage> = self
            .handle
            .link()
            .get()
            .execute()
            .try_collect()
            .await
            .map_err(|error| Error::netlink("list", "the links of the host", error))?;
        Ok(links.into_iter().filter(|link| group_of(link) == group).collect())
    }
}

/// Which links of a group, by their indices, are ours: by their names, and of those that somebody has renamed a bridge with
/// a MAC as ours have it, a device that bandwidth is limited in, and a veth in a bridge of ours or with another end of ours.
fn own(members: &[LinkMessage], bridges: &[&str]) -> BTreeSet<u32> {
    let is_named = |link: &LinkMessage| {
        name_of(link).is_some_and(|name| names::is_ours(name) || bridges.contains(&name))
    };
    let is_shaper = |link: &LinkMessage| {
        is_kind(link, &InfoKind::Ifb) && link.attributes.contains(&LinkAttribute::Qdisc("htb".to_owned()))
    };
    let is_bridge = |link: &LinkMessage| is_kind(link, &InfoKind::Bridge) && has_our_mac(link);
    let known = members.iter().filter(|link| is_named(link) || is_bridge(link) || is_shaper(link));
    let mut own: BTreeSet<u32> = known.map(|link| link.header.index).collect();
    let is_tied = |link: &LinkMessage| {
        // The index of an end in another namespace says nothing here.
        let is_near = !link.attributes.iter().any(|other| matches!(other, LinkAttribute::LinkNetNsId(_)));
        link.attributes.iter().any(|attribute| match attribute {
            LinkAttribute::Controller(index) => own.contains(index),
            LinkAttribute::Link(index) => is_near && own.contains(index),
            _ => false,
        })
    };
    let veths = members.iter().filter(|link| is_kind(link, &InfoKind::Veth) && is_tied(link));
    let veths: Vec<u32> = veths.map(|link| link.header.index).collect();
    own.extend(veths);
    own
}

/// Those that the kernel chooses for a bridge begin otherwise.
fn has_our_mac(link: &LinkMessage) -> bool {
    link.attributes.iter().any(|attribute| match attribute {
        LinkAttribute::Address(mac) => mac.starts_with(&MAC_PREFIX),
        _ => false,
    })
}
