//! Whether the host forwards packets: turned on while a stack needs it, and put back when the last that does has gone.
//!
//! What it was is remembered in a file of the host's registry, one a network namespace, under a lock. Where the host
//! forwards by its own choice nothing is remembered and nothing put back. Nor is anything put back where somebody else
//! has begun to route meanwhile and found it on: who has chains in the forward or postrouting hook (of nf_tables, or
//! tables of iptables-legacy) that were not there when it was turned on. While what composer has turned on is on, the
//! host is no router for strangers ([`strangers`]). A host that forwards IPv6 takes no route from router advertisements any
//! more, unless its interface's `accept_ra` is 2 (Documentation/networking/ip-sysctl.rst): without that it would lose
//! its own way out.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use nix::net::if_::{if_indextoname, if_nametoindex};
use serde::{Deserialize, Serialize};

use super::strangers;
use crate::error::{Error, Result};
use crate::folder::{Folder, of_namespace};

const V4: &str = "/proc/sys/net/ipv4/ip_forward";
const V6: &str = "/proc/sys/net/ipv6/conf/all/forwarding";
const V6_INTERFACES: &str = "/proc/sys/net/ipv6/conf";

/// The settings of the host that this crate changes, and for whom.
#[derive(Debug, Clone)]
pub struct Forwarding {
    folder: Folder,
}

/// What is remembered.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Memory {
    /// The stacks that need it.
    stacks: BTreeSet<String>,
    /// Settings that were changed, by path, and what they were.
    before: BTreeMap<PathBuf, String>,
    /// The interfaces that such a setting is of, by their indices: what it is called by its name now may be another's.
    #[serde(default)]
    interfaces: BTreeMap<PathBuf, u32>,
    /// Who else routed when the first was changed.
    #[serde(default)]
    routers: BTreeSet<String>,
    /// Interfaces that did not forward IPv4 before, by their names.
    #[serde(default)]
    closed_v4: BTreeSet<String>,
    /// The same of IPv6.
    #[serde(default)]
    closed_v6: BTreeSet<String>,
    /// The same interfaces by their indices; a file that is older has none.
    #[serde(default)]
    indices_v4: BTreeSet<u32>,
    /// The same of IPv6.
    #[serde(default)]
    indices_v6: BTreeSet<u32>,
}

impl Memory {
    /// Lets nothing pass between interfaces that did not forward before.
    fn keep_out(&self) -> io::Result<()> {
        strangers::keep_out((&self.closed_v4, &self.indices_v4), (&self.closed_v6, &self.indices_v6))
    }
}

impl Forwarding {
    /// What is remembered in this folder, which is made when it is needed first.
    pub fn open(dir: &Path) -> Self {
        Self { folder: Folder::new(dir) }
    }

    /// Turns on what the stack needs, for as long as it needs it. What users are told where strangers could not be kept
    /// from having the host forward for them.
    ///
    /// # Errors
    /// When the settings or the registry cannot be written.
    pub fn need(&self, stack: &str, v4: bool, v6: bool) -> Result<Option<String>> {
        let _lock = self.folder.lock()?;
        let file = file();
        let mut memory: Memory = self.folder.read(&file)?;
        let wanted = wanted(v4, v6);
        if memory.before.is_empty() && wanted.is_empty() {
            // It is the host's own choice.
            return self.folder.tidy().map(|()| None);
        }
        if memory.before.is_empty() {
            memory.routers = strangers::routers().map_err(|error| nf_tables("list the chains of", error))?;
        }
        for (path, _) in &wanted {
            if path == Path::new(V4) && memory.closed_v4.is_empty() {
                memory.closed_v4 = strangers::closed_v4();
                memory.indices_v4 = strangers::indices(&memory.closed_v4);
            }
            if path == Path::new(V6) && memory.closed_v6.is_empty() {
                memory.closed_v6 = strangers::closed_v6();
                memory.indices_v6 = strangers::indices(&memory.closed_v6);
            }
        }
        let is_new = memory.stacks.insert(stack.to_owned());
        let mut outcome = Ok(());
        if is_new || !wanted.is_empty() {
            self.folder.write(&file, &memory)?;
        }
        if is_new || !wanted.is_empty() || !strangers::are_kept_out().unwrap_or(false) {
            outcome = memory.keep_out();
        }
        for (path, value) in &wanted {
            let before = match fs::read_to_string(path) {
                // The interface has gone with another stack.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                other => other.map_err(|error| kernel("read", path, error))?,
            };
            memory.before.entry(path.clone()).or_insert_with(|| before.trim().to_owned());
            if let Some(index) = interface_of(path) {
                memory.interfaces.insert(path.clone(), index);
            }
            // Before the change: a crash in between puts back what is there.
            self.folder.write(&file, &memory)?;
            match fs::write(path, value) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => other.map_err(|error| kernel("write", path, error))?,
            }
        }
        Ok(outcome.err().map(|error| {
            format!(
                "the host forwards packets for the stack, and for everybody else who sends it some, as nf_tables cannot be \
                 told otherwise ({error}): have a firewall drop what it is not to forward"
            )
        }))
    }

    /// Puts the host's table back where somebody has taken it away who sets the host's firewall anew: the host went on
    /// forwarding, for strangers as well.
    ///
    /// # Errors
    /// When the registry cannot be read, or the kernel refuses.
    pub fn restore(&self) -> Result<()> {
        let file = file();
        if !self.folder.has(&file) {
            return Ok(());
        }
        let _lock = self.folder.lock()?;
        let memory: Memory = self.folder.read(&file)?;
        let restored = match strangers::are_kept_out() {
            Ok(false) if !memory.stacks.is_empty() => memory.keep_out(),
            other => other.map(drop),
        };
        restored.map_err(|error| nf_tables("put the host's table back into", error))
    }

    /// The stack needs it no more: where nobody does, everything is as it was.
    ///
    /// # Errors
    /// When the settings or the registry cannot be written.
    pub fn release(&self, stack: &str) -> Result<()> {
        if !self.folder.has(&file()) {
            return Ok(());
        }
        let _lock = self.folder.lock()?;
        let file = file();
        let mut memory: Memory = self.folder.read(&file)?;
        if !memory.stacks.remove(stack) {
            return self.folder.tidy();
        }
        if !memory.stacks.is_empty() {
            return self.folder.write(&file, &memory);
        }
        let now = strangers::routers().map_err(|error| nf_tables("list the chains of", error))?;
        if now.is_subset(&memory.routers) {
            put_back(&memory)?;
        }
        strangers::let_in().map_err(|error| nf_tables("remove the host's table from", error))?;
        self.folder.remove(&file)?;
        self.folder.tidy()
    }
}

fn file() -> String {
    of_namespace("forwarding")
}

/// The settings to turn on, in order, with what to write.
fn wanted(v4: bool, v6: bool) -> Vec<(PathBuf, &'static str)> {
    let mut wanted = Vec::new();
    if v4 && is_off(V4) {
        wanted.push((PathBuf::from(V4), "1"));
    }
    if v6 && is_off(V6) {
        // First, or a route would be lost in between.
        wanted.extend(advertised().into_iter().map(|path| (path, "2")));
        wanted.push((PathBuf::from(V6), "1"));
    }
    wanted
}

fn put_back(memory: &Memory) -> Result<()> {
    // Forwarding first, then what made up for it.
    let (forwarding, others): (Vec<_>, Vec<_>) =
        memory.before.iter().partition(|(path, _)| [V4, V6].iter().any(|known| path == &Path::new(known)));
    for (path, value) in forwarding.into_iter().chain(others) {
        let path = match memory.interfaces.get(path).map(|index| if_indextoname(*index)) {
            None => path.clone(),
            Some(Ok(name)) => accept_ra(OsStr::from_bytes(name.as_bytes())),
            // The interface has gone.
            Some(Err(_)) => continue,
        };
        match fs::write(&path, value) {
            // As above, in this moment.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other.map_err(|error| kernel("write", &path, error))?,
        }
    }
    Ok(())
}

fn nf_tables(doing: &'static str, error: io::Error) -> Error {
    Error::kernel(doing, "nf_tables", error)
}

fn kernel(doing: &'static str, path: &Path, error: io::Error) -> Error {
    Error::kernel(doing, path.display(), error)
}

/// Whether a setting is there and 0: a kernel without IPv6 has none.
fn is_off(path: &str) -> bool {
    fs::read_to_string(path).is_ok_and(|value| value.trim() == "0")
}

/// The `accept_ra` of interfaces that take routes from advertisements as long as the host does not forward, and of those
/// that come later.
fn advertised() -> Vec<PathBuf> {
    let interfaces = fs::read_dir(V6_INTERFACES).into_iter().flatten().flatten();
    let paths = interfaces.filter(|entry| entry.file_name() != "all");
    let paths = paths.map(|entry| accept_ra(&entry.file_name()));
    paths.filter(|path| fs::read_to_string(path).is_ok_and(|value| value.trim() == "1")).collect()
}

fn accept_ra(interface: &OsStr) -> PathBuf {
    Path::new(V6_INTERFACES).join(interface).join("accept_ra")
}

/// Of a path of [`accept_ra`]: what is meant for interfaces that come later is none's.
fn interface_of(path: &Path) -> Option<u32> {
    let name = path.parent()?.file_name()?;
    if_nametoindex(name).ok().filter(|_| path.starts_with(V6_INTERFACES) && path != Path::new(V6))
}
