//! Which kinds of links the kernel makes, tried in the namespace that the process is in: to be one that goes with it.

use rtnetlink::packet_route::link::{InfoKind, MacVlanMode};
use rtnetlink::{LinkMacVlan, LinkMessageBuilder, LinkUnspec, LinkVlan};

use super::Host;
use crate::error::netlink_to_io;

/// So often a kind is asked for: see [`Host::bring_bridge`].
const TRIES: u32 = 10;

impl Host {
    /// Makes a link of each kind that is used; why not, where there is none.
    pub async fn try_kinds(&self) -> Vec<(&'static str, Result<(), String>)> {
        let of = |kind: InfoKind, name: &str| {
            LinkMessageBuilder::<LinkUnspec>::new_with_info_kind(kind).name(name.to_owned()).build()
        };
        let mut outcomes = Vec::new();
        for (name, kind) in [("bridge", InfoKind::Bridge), ("veth", InfoKind::Veth), ("ifb", InfoKind::Ifb)] {
            outcomes.push((name, self.try_link(|| of(kind.clone(), &format!("try-{name}"))).await));
        }
        let parent = match self.find("try-veth").await {
            Ok(Some(link)) => link.header.index,
            Ok(None) | Err(_) => return outcomes,
        };
        let macvlan = || LinkMacVlan::new("try-macvlan", parent, MacVlanMode::Bridge).build();
        outcomes.push(("macvlan", self.try_link(macvlan).await));
        outcomes.push(("vlan", self.try_link(|| LinkVlan::new("try-vlan", parent, 2).build()).await));
        outcomes
    }

    async fn try_link(
        &self,
        message: impl Fn() -> rtnetlink::packet_route::link::LinkMessage,
    ) -> Result<(), String> {
        let mut tries = 1;
        loop {
            match self.handle.link().add(message()).execute().await.map_err(netlink_to_io) {
                Ok(()) => return Ok(()),
                Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) && tries < TRIES => tries += 1,
                Err(error) => return Err(error.to_string()),
            }
        }
    }
}
