//! How large the packets are that the host's loopback takes, for stacks with ports that are published there.
//!
//! A client of 127.0.0.1 makes packets as its route has them, which is the loopback's, also where the firewall leads them to
//! a container: of 64 KiB at most, where its bridge takes 192 ([`super::veth`]). The size is raised while a stack needs it,
//! and put back when the last that does has gone, unless somebody else has changed it meanwhile. What it was is
//! remembered in a file, one a network namespace, in a folder of its own: its lock is held while the kernel is asked, and
//! whoever waited meanwhile for that of the registry, in the same loop, would wait for itself.

use std::collections::BTreeSet;
use std::path::Path;

use rtnetlink::LinkUnspec;
use rtnetlink::packet_route::link::LinkAttribute;
use serde::{Deserialize, Serialize};

use super::veth::LARGEST;
use super::{Bridge, Host};
use crate::error::{Error, Result};
use crate::folder::{Folder, of_namespace};

const NAME: &str = "lo";

/// The loopback of the host, and for whom it is changed.
#[derive(Debug, Clone)]
pub struct Loopback {
    folder: Folder,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Memory {
    /// The stacks that need it.
    stacks: BTreeSet<String>,
    /// The size that was changed.
    before: u32,
}

impl Loopback {
    /// What is remembered in a folder of the host's registry, which is made when it is needed first.
    pub fn open(registry: &Path) -> Self {
        Self { folder: Folder::new(&registry.join("loopback")) }
    }

    /// Has the loopback take large packets for as long as the stack needs it, where the kernel can (Linux 6.3).
    ///
    /// # Errors
    /// When the kernel refuses, or the registry cannot be written.
    // In one process it is asked for by one task at a time.
    #[allow(clippy::await_holding_invalid_type)]
    pub async fn need(&self, host: &Host, stack: &str) -> Result<()> {
        let _lock = self.folder.lock()?;
        let file = of_namespace("size");
        let mut memory: Memory = self.folder.read(&file)?;
        let is_first = memory.stacks.is_empty();
        // Larger by itself it is the host's own choice.
        let own = host.loopback().await?.filter(|(_, size)| !is_first || *size < LARGEST);
        let Some((index, size)) = own else { return self.folder.tidy() };
        if is_first {
            memory.before = size;
        }
        // Before the change: a crash in between puts back what is there.
        if memory.stacks.insert(stack.to_owned()) {
            self.folder.write(&file, &memory)?;
        }
        if size < LARGEST { host.set_largest(index, LARGEST).await } else { Ok(()) }
    }

    /// The stack needs it no more: where nobody does, it is as it was.
    ///
    /// # Errors
    /// As [`Loopback::need`].
    #[allow(clippy::await_holding_invalid_type)] // as above
    pub async fn release(&self, host: &Host, stack: &str) -> Result<()> {
        let file = of_namespace("size");
        if !self.folder.has(&file) {
            return Ok(());
        }
        let _lock = self.folder.lock()?;
        let mut memory: Memory = self.folder.read(&file)?;
        if !memory.stacks.remove(stack) {
            return self.folder.tidy();
        }
        if !memory.stacks.is_empty() {
            return self.folder.write(&file, &memory);
        }
        if let Some((index, LARGEST)) = host.loopback().await? {
            host.set_largest(index, memory.before).await?;
        }
        self.folder.remove(&file)?;
        self.folder.tidy()
    }
}

impl Host {
    /// Its index, and how large its packets are at most, where the kernel says.
    async fn loopback(&self) -> Result<Option<(u32, u32)>> {
        let Some(link) = self.find(NAME).await? else { return Ok(None) };
        let size = link.attributes.iter().find_map(|attribute| match attribute {
            LinkAttribute::GsoIpv4MaxSize(size) => Some(*size),
            _ => None,
        });
        Ok(size.map(|size| (link.header.index, size)))
    }

    /// Has a bridge that has a port take large packets as well: without one it takes what any interface takes.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub async fn enlarge(&self, bridge: &Bridge) -> Result<()> {
        self.set_largest(bridge.index, LARGEST).await
    }

    async fn set_largest(&self, index: u32, size: u32) -> Result<()> {
        let message = LinkUnspec::new_with_index(index)
            .append_extra_attribute(LinkAttribute::GsoIpv4MaxSize(size))
            .build();
        let changed = self.handle.link().change(message).execute().await;
        let failed =
            |error| Error::netlink("set how large packets may be on", format!("link {index}"), error);
        changed.map_err(failed)
    }
}
