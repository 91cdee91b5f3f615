//! Whoever has been told an address before is told whose it is now: after a change of `mac_address`, or where a
//! macvlan's address was another machine's, packets would go to the hardware address of before for as long as the
//! neighbour takes to ask again, some 40 s.
//!
//! The kernel does it by itself where `arp_notify` and `ndisc_notify` are set, when a link goes up and whenever it is
//! given a hardware address, be it the one that it has. On a bridge the former is too early: the port at the other end
//! takes nothing until a worker of the kernel has seen that the cable is in. Whoever asks for the link has that done
//! first (Linux 6.8, linkwatch_sync_dev). A packet socket of our own would wait for all readers of the kernel when it
//! is closed.

use std::fs;

use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::{LinkAttribute, LinkExtentMask, LinkMessage};
use rtnetlink::{LinkMessageBuilder, LinkUnspec};

use super::Medium;
use super::inside::{Inside, Plug, SET};

/// The settings of one interface under which the kernel announces its addresses. They are what they were once this is
/// dropped.
pub(super) struct Announcing(Vec<String>);

impl Announcing {
    /// Of the thread's namespace. What cannot be set is not announced: a container works without.
    pub(super) fn of(plug: &Plug) -> Self {
        let has = |v4: bool| plug.addresses.iter().any(|net| net.addr().is_ipv4() == v4);
        let settings = [(has(true), "ipv4", "arp_notify"), (has(false), "ipv6", "ndisc_notify")];
        let paths = settings
            .into_iter()
            .filter(|(is_needed, ..)| *is_needed)
            .map(|(_, family, key)| format!("/proc/sys/net/{family}/conf/{}/{key}", plug.interface));
        let set = |path: &String| {
            fs::read_to_string(path).is_ok_and(|now| now.trim() == "0") && fs::write(path, "1").is_ok()
        };
        Self(paths.filter(set).collect())
    }

    /// Announces what the interface has, once it is up.
    pub(super) fn announce(&self, inside: &mut Inside, plug: &Plug, link: &LinkMessage) {
        // All on an interface of the host's have its hardware address, which the kernel does not let be given.
        if matches!(plug.bridge.medium, Medium::Ipvlan(..)) {
            return;
        }
        // By themselves each, as what follows a refusal would be left unread. As above, neither has to succeed.
        if let Some(end) = other_end(link) {
            let _ = inside.request(
                "look for the other end of",
                &plug.interface,
                vec![("", RouteNetlinkMessage::GetLink(end), SET)],
            );
        }
        let again = LinkUnspec::new_with_index(link.header.index).address(plug.mac.to_vec()).build();
        let _ =
            inside.request("announce", &plug.interface, vec![("", RouteNetlinkMessage::SetLink(again), SET)]);
    }
}

impl Drop for Announcing {
    fn drop(&mut self) {
        for path in &self.0 {
            let _ = fs::write(path, "0");
        }
    }
}

/// What asks for the other end of a veth pair, in whatever namespace it is.
fn other_end(link: &LinkMessage) -> Option<LinkMessage> {
    let index = link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Link(index) => Some(*index),
        _ => None,
    })?;
    let namespace = link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::LinkNetNsId(id) => Some(*id),
        _ => None,
    })?;
    let end = LinkMessageBuilder::<LinkUnspec>::default().index(index);
    let end = end.append_extra_attribute(LinkAttribute::IfNetnsId(namespace));
    Some(end.append_extra_attribute(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats])).build())
}
