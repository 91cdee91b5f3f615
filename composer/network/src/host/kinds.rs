//! Kinds of links: the modules of the kernel that make them, and which of them there are.

use std::fs;
use std::io;
use std::time::{Duration, Instant};

use rtnetlink::packet_route::link::{InfoKind, IpVlanMode, LinkMessage, MacVlanMode};
use rtnetlink::{LinkIpVlan, LinkMacVlan, LinkMessageBuilder, LinkUnspec, LinkVlan};

use super::Host;
use crate::error::netlink_to_io;

/// How often a link is asked for of a kernel that does not know its kind.
const TRIES: u32 = 10;
/// How long a module may take that is being loaded: on a machine that boots, many are.
const LOADING: Duration = Duration::from_secs(10);

impl Host {
    /// Makes a link.
    ///
    /// The first ones of a host: where another process, or another container's link, has the kernel load the module in this
    /// moment, modprobe(8) finds it there and returns before it is ready. Each try runs modprobe anew.
    pub(super) async fn add(&self, link: LinkMessage) -> io::Result<()> {
        let begin = Instant::now();
        let mut tries = 1;
        loop {
            let made = self.handle.link().add(link.clone()).execute().await.map_err(netlink_to_io);
            match made {
                Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {
                    if tries >= TRIES && !(is_loading() && begin.elapsed() < LOADING) {
                        return Err(error);
                    }
                    tries += 1;
                }
                other => return other,
            }
        }
    }

    /// Makes a link of each kind that is used, in the namespace that the process is in: to be one that goes with it; why
    /// not, where there is none.
    pub async fn try_kinds(&self) -> Vec<(&'static str, Result<(), String>)> {
        let of = |kind: InfoKind, name: &str| {
            LinkMessageBuilder::<LinkUnspec>::new_with_info_kind(kind).name(name.to_owned()).build()
        };
        let mut outcomes = Vec::new();
        for (name, kind) in [("bridge", InfoKind::Bridge), ("veth", InfoKind::Veth), ("ifb", InfoKind::Ifb)] {
            outcomes.push((name, self.try_link(of(kind, &format!("try-{name}"))).await));
        }
        let parent = match self.find("try-veth").await {
            Ok(Some(link)) => link.header.index,
            Ok(None) | Err(_) => return outcomes,
        };
        let macvlan = LinkMacVlan::new("try-macvlan", parent, MacVlanMode::Bridge).build();
        outcomes.push(("macvlan", self.try_link(macvlan).await));
        // On an interface of the host's there is one of both alone.
        let vacated = LinkUnspec::new_with_name("try-macvlan").build();
        let _ = self.delete(vacated).await;
        let ipvlan = LinkIpVlan::new("try-ipvlan", parent, IpVlanMode::L2).build();
        outcomes.push(("ipvlan", self.try_link(ipvlan).await));
        outcomes.push(("vlan", self.try_link(LinkVlan::new("try-vlan", parent, 2).build()).await));
        outcomes
    }

    async fn try_link(&self, link: LinkMessage) -> Result<(), String> {
        self.add(link).await.map_err(|error| error.to_string())
    }
}

/// Whether any module is on its way in: the kind's own, or one that it needs. The kernel's word is no event.
fn is_loading() -> bool {
    fs::read_to_string("/proc/modules").is_ok_and(|modules| modules.lines().any(is_coming))
}

/// Of a line of proc_modules(5): name, size, uses, users, state, address.
fn is_coming(module: &str) -> bool {
    module.split_ascii_whitespace().nth(4) == Some("Loading")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_on_its_way_in_is_told_from_one_that_is_there() {
        assert!(is_coming("bridge 311296 0 - Loading 0x0000000000000000 (+)"));
        assert!(!is_coming("stp 16384 1 bridge, Live 0xffffffffc0a0d000"));
        assert!(!is_coming("llc 16384 2 bridge,stp, Unloading 0x0000000000000000"));
    }
}
