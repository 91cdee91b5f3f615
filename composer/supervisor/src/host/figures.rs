//! What containers and their stack take, from control groups and network namespaces.

use std::collections::BTreeMap;
use std::fs;
use std::ops::AddAssign;

use composer_cgroup::meter::{Device, Reading};
use composer_cgroup::{Hierarchy, Meter};
use serde::{Deserialize, Serialize};

use super::{Error, group, root};
use crate::clock;

/// What a container takes, and has taken since its start; or its whole stack.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Figures {
    /// When it was looked at: nanoseconds since the Unix epoch.
    pub time: u64,
    /// Of its control group.
    #[serde(flatten)]
    pub group: Reading,
    /// Of its links but the loopback, by their names inside.
    pub net: BTreeMap<String, Traffic>,
    /// Whether what it has read and written is not in the stack's figures: v1's `blkio` has no group around it.
    #[serde(skip)]
    pub has_blocks_apart: bool,
}

/// What has come in and gone out by a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the kernel's names (proc_pid_net(5))")]
pub struct Traffic {
    pub rx_bytes: u64,
    pub rx_packets: u64,
    pub rx_errors: u64,
    pub rx_dropped: u64,
    pub tx_bytes: u64,
    pub tx_packets: u64,
    pub tx_errors: u64,
    pub tx_dropped: u64,
}

impl AddAssign for Traffic {
    fn add_assign(&mut self, more: Self) {
        self.rx_bytes = self.rx_bytes.saturating_add(more.rx_bytes);
        self.rx_packets = self.rx_packets.saturating_add(more.rx_packets);
        self.rx_errors = self.rx_errors.saturating_add(more.rx_errors);
        self.rx_dropped = self.rx_dropped.saturating_add(more.rx_dropped);
        self.tx_bytes = self.tx_bytes.saturating_add(more.tx_bytes);
        self.tx_packets = self.tx_packets.saturating_add(more.tx_packets);
        self.tx_errors = self.tx_errors.saturating_add(more.tx_errors);
        self.tx_dropped = self.tx_dropped.saturating_add(more.tx_dropped);
    }
}

impl Figures {
    /// Memory in use as Docker counts it: without page cache that nobody has used lately.
    pub fn memory(&self) -> u64 {
        self.group.memory.usage.saturating_sub(self.group.memory.inactive_file)
    }

    /// Bytes in and out over all links.
    pub fn traffic(&self) -> (u64, u64) {
        let add = |(rx, tx): (u64, u64), link: &Traffic| {
            (rx.saturating_add(link.rx_bytes), tx.saturating_add(link.tx_bytes))
        };
        self.net.values().fold((0, 0), add)
    }
}

/// Reads the figures of a stack and its containers, again and again.
pub struct Meters {
    cgroups: Hierarchy,
    stack: String,
    of_stack: Meter,
    /// Whether the stack's group had its blocks counted when it was last looked at.
    stack_counts_blocks: bool,
    /// By name and PID 1: a container that was started again has other files.
    meters: BTreeMap<(String, i32), Meter>,
    buffer: Vec<u8>,
    /// The least that no container of the host may exceed, in bytes.
    host_memory: u64,
}

impl Meters {
    /// Of a stack, whether anything of it is there or not.
    ///
    /// # Errors
    /// [`Error::NotRoot`], [`Error::Cgroup`].
    pub fn open(stack: &str) -> Result<Self, Error> {
        root()?;
        // Files of hundreds of containers stay open. Where that is not allowed they are opened each time.
        let _ = composer_sandbox::raise_descriptor_limit();
        let cgroups = Hierarchy::detect()?;
        let of_stack = cgroups.group(&format!("compose/{stack}")).meter()?;
        let host_memory = host_memory().unwrap_or(u64::MAX);
        let (meters, buffer) = (BTreeMap::new(), Vec::new());
        let stack_counts_blocks = true;
        Ok(Self {
            cgroups,
            stack: stack.to_owned(),
            of_stack,
            stack_counts_blocks,
            meters,
            buffer,
            host_memory,
        })
    }

    /// The host's memory in bytes, the limit of whoever has no other.
    pub fn host_memory(&self) -> u64 {
        self.host_memory
    }

    /// Forgets the files of all containers but these, by name and PID 1.
    pub fn retain(&mut self, running: &[(String, i32)]) {
        self.meters.retain(|known, _| running.contains(known));
    }

    /// The stack's figures: its group's; its traffic is for whoever adds up that of its containers.
    ///
    /// # Errors
    /// [`Error::Cgroup`].
    pub fn stack(&mut self, details: bool) -> Result<Option<Figures>, Error> {
        if self.of_stack.is_empty() {
            self.of_stack = self.cgroups.group(&format!("compose/{}", self.stack)).meter()?;
        }
        if self.of_stack.is_empty() {
            return Ok(None);
        }
        let group = self.of_stack.read(details, &mut self.buffer)?;
        self.stack_counts_blocks = group.io.is_some();
        Ok(Some(Figures { time: clock::now(), group, ..Figures::default() }))
    }

    /// The figures of a container whose PID 1 is this one.
    ///
    /// # Errors
    /// [`Error::Cgroup`].
    pub fn container(&mut self, name: &str, pid: i32, details: bool) -> Result<Figures, Error> {
        let key = (name.to_owned(), pid);
        if self.meters.get(&key).is_none_or(Meter::is_empty) {
            self.meters.insert(key.clone(), group(&self.cgroups, &self.stack, name).meter()?);
        }
        let mut reading = match self.meters.get(&key) {
            Some(meter) => meter.read(details, &mut self.buffer)?,
            None => Reading::default(),
        };
        let counts = reading.io.is_some();
        if !counts {
            reading.io = Some(self.of_processes(name)?);
        }
        let is_counted = counts || self.stack_counts_blocks && self.is_within_stack(pid);
        let has_blocks_apart = !is_counted;
        // Kept open, it would keep the namespace when the container has ended.
        let net = links(&fs::read_to_string(format!("/proc/{pid}/net/dev")).unwrap_or_default());
        Ok(Figures { time: clock::now(), group: reading, net, has_blocks_apart })
    }

    /// Whether v1's `blkio` has a process in the stack's group, or in one inside it (cgroups(7)).
    fn is_within_stack(&self, pid: i32) -> bool {
        let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        let group = groups.lines().find_map(|line| {
            let (controllers, group) = line.split_once(':')?.1.split_once(':')?;
            controllers.split(',').any(|name| name == "blkio").then_some(group)
        });
        let rest = group.and_then(|group| group.strip_prefix("/compose/")?.strip_prefix(self.stack.as_str()));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// What the processes of a container that live have read and written, where its group does not count it.
    fn of_processes(&self, name: &str) -> Result<BTreeMap<String, Device>, Error> {
        let mut sum = Device::default();
        for pid in group(&self.cgroups, &self.stack, name).members()? {
            let io = fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
            sum.read += keyed(&io, "read_bytes:").unwrap_or(0);
            sum.written += keyed(&io, "write_bytes:").unwrap_or(0);
        }
        Ok(BTreeMap::from([("processes".to_owned(), sum)]))
    }
}

/// The host's memory, in bytes (proc_meminfo(5)).
pub fn host_memory() -> Option<u64> {
    meminfo(&fs::read_to_string("/proc/meminfo").ok()?, "MemTotal:")
}

/// An amount in /proc/meminfo, in bytes.
pub(super) fn meminfo(text: &str, key: &str) -> Option<u64> {
    keyed(text, key)?.checked_mul(1024)
}

fn keyed(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// The links of /proc/net/dev (proc_pid_net(5)) but the loopback.
fn links(devices: &str) -> BTreeMap<String, Traffic> {
    let mut links = BTreeMap::new();
    for line in devices.lines() {
        let Some((name, figures)) = line.split_once(':') else { continue };
        if name.trim() == "lo" {
            continue;
        }
        let figures: Vec<u64> =
            figures.split_ascii_whitespace().filter_map(|text| text.parse().ok()).collect();
        let figure = |place: usize| figures.get(place).copied().unwrap_or_default();
        links.insert(
            name.trim().to_owned(),
            Traffic {
                rx_bytes: figure(0),
                rx_packets: figure(1),
                rx_errors: figure(2),
                rx_dropped: figure(3),
                tx_bytes: figure(8),
                tx_packets: figure(9),
                tx_errors: figure(10),
                tx_dropped: figure(11),
            },
        );
    }
    links
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_sizes_are_read() {
        assert_eq!(meminfo("MemTotal:        2048 kB\nMemFree: 1 kB\n", "MemTotal:"), Some(2 << 20));
    }

    #[test]
    fn traffic_is_that_of_all_links_but_the_loopback() {
        let text = "Inter-|   Receive\n face |bytes packets\n    lo: 5 1 0 0 0 0 0 0 5 1 0 0 0 0 0 0\n  \
                    eth0: 100 2 0 3 0 0 0 0 42 1 0 0 0 0 0 0\n eth1:1 1 0 0 0 0 0 0 2 1 0 4 0 0 0 0\n";
        let links = links(text);
        let figures = Figures { net: links.clone(), ..Figures::default() };
        assert_eq!(figures.traffic(), (101, 44));
        assert_eq!((links["eth0"].rx_dropped, links["eth1"].tx_dropped), (3, 4));
    }

    #[test]
    fn what_is_recorded_is_read_again() {
        let mut figures = Figures { time: 7, ..Figures::default() };
        figures.group.cpu.limit = Some(0.5);
        figures.group.io =
            Some(BTreeMap::from([("8:0".to_owned(), Device { read: 3, ..Device::default() })]));
        let text = serde_json::to_string(&figures).unwrap();
        assert_eq!(serde_json::from_str::<Figures>(&text).unwrap(), figures);
        assert_eq!(serde_json::from_str::<Figures>(r#"{"time":1,"more":2}"#).unwrap().time, 1);
    }
}
