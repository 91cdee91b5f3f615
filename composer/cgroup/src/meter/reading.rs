//! The figures of a group, whatever the version of control groups.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What a group with all groups inside it takes and has taken. What the host does not tell is absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Reading {
    /// CPU time.
    pub cpu: Cpu,
    /// Memory, in bytes.
    pub memory: Memory,
    /// Processes and threads.
    pub pids: Pids,
    /// Blocks read and written, by device (`8:0`). `None` where the kernel does not count them for this group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub io: Option<BTreeMap<String, Device>>,
    /// How long tasks have waited for `cpu`, `memory` and `io`; v2 alone.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub pressure: BTreeMap<String, Pressure>,
}

/// CPU time, in microseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cpu {
    /// All of it.
    pub usage_usec: u64,
    /// By programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_usec: Option<u64>,
    /// By the kernel for them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system_usec: Option<u64>,
    /// By CPU; v1 alone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub each_usec: Vec<u64>,
    /// Its own limit in CPUs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<f64>,
    /// Periods of its quota in which something wanted to run.
    pub periods: u64,
    /// Those of them in which the quota was used up.
    pub throttled: u64,
    /// How long it has been kept from running.
    pub throttled_usec: u64,
}

/// Memory, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    /// All of it, page cache included.
    pub usage: u64,
    /// Page cache that nobody has used lately, which Docker does not count.
    pub inactive_file: u64,
    /// Most ever; on v2 from Linux 5.19 on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak: Option<u64>,
    /// Its own limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// Where it is slowed down; v2 alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub high: Option<u64>,
    /// Of programs.
    pub anon: u64,
    /// Page cache, files in memory (tmpfs) included.
    pub file: u64,
    /// Files in memory.
    pub shmem: u64,
    /// Of the kernel for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel: Option<u64>,
    /// Of TCP's buffers; on v2 of all sockets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp: Option<u64>,
    /// Swapped out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap: Option<u64>,
    /// Most of that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap_limit: Option<u64>,
    /// How often it was at its limit (`failcnt`; `max` of `memory.events`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failures: Option<u64>,
    /// How often what has happened: `oom_kill` and, on v2, all of `memory.events`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub events: BTreeMap<String, u64>,
    /// By memory node (`N0`).
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub nodes: BTreeMap<String, u64>,
}

/// Processes and threads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Pids {
    /// How many there are.
    pub current: u64,
    /// Its own limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// How often a fork was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<u64>,
}

/// What has gone from and to a block device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Device {
    /// Bytes read.
    pub read: u64,
    /// Bytes written.
    pub written: u64,
    /// Requests to read.
    pub reads: u64,
    /// Requests to write.
    pub writes: u64,
}

/// How long tasks have waited for something: some of them, and all at once.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Pressure {
    /// At least one.
    pub some: Stall,
    /// All that had something to do.
    pub full: Stall,
}

/// A share of time, in percent of the last 10, 60 and 300 seconds, and microseconds in all.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the kernel's names (accounting/psi.rst)")]
pub struct Stall {
    pub avg10: f64,
    pub avg60: f64,
    pub avg300: f64,
    pub total: u64,
}

impl Reading {
    /// Bytes read and written, over all devices.
    pub fn blocks(&self) -> Option<(u64, u64)> {
        let devices = self.io.as_ref()?.values();
        Some(devices.fold((0, 0), |(read, written), device| {
            (read.saturating_add(device.read), written.saturating_add(device.written))
        }))
    }
}
