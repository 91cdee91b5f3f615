//! All figures of a group, read again and again: its files stay open.

mod parse;
mod reading;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

pub(crate) use parse::stalls;
pub use reading::{Cpu, Device, Memory, Pids, Pressure, Reading, Stall};

use crate::hierarchy::Layout;
use crate::{Error, control, on_demand};

/// A file of a group, the key to what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Figure {
    // cgroup v1
    CpuTime,
    CpuUser,
    CpuSystem,
    CpuEach,
    CpuThrottling,
    CpuQuota,
    CpuPeriod,
    Memory1,
    MemoryPeak,
    MemoryLimit1,
    MemoryFailures,
    MemoryStat1,
    MemoryOom,
    MemoryKernel,
    MemoryTcp,
    MemoryNuma1,
    MemoryBothLimit,
    Blkio,
    BlkioCount,
    // cgroup v2
    CpuStat,
    CpuMax,
    Memory2,
    MemoryLimit2,
    MemoryHigh,
    MemorySwap,
    MemorySwapLimit,
    MemoryStat2,
    MemoryEvents,
    MemoryNuma2,
    IoStat,
    CpuPressure,
    MemoryPressure,
    IoPressure,
    // both
    PidsNow,
    PidsLimit,
    PidsEvents,
}

use Figure as F;

/// Which file it is in, and whether it is one that only those look at who want to know all.
const FILES_V1: [(Figure, &str, bool); 22] = [
    (F::CpuTime, "cpuacct.usage", false),
    (F::CpuUser, "cpuacct.usage_user", true),
    (F::CpuSystem, "cpuacct.usage_sys", true),
    (F::CpuEach, "cpuacct.usage_percpu", true),
    (F::CpuThrottling, "cpu.stat", false),
    (F::CpuPeriod, "cpu.cfs_period_us", false),
    (F::CpuQuota, "cpu.cfs_quota_us", false),
    (F::Memory1, "memory.usage_in_bytes", false),
    (F::MemoryPeak, "memory.max_usage_in_bytes", true),
    (F::MemoryLimit1, "memory.limit_in_bytes", false),
    (F::MemoryFailures, "memory.failcnt", true),
    (F::MemoryStat1, "memory.stat", false),
    (F::MemoryOom, "memory.oom_control", true),
    (F::MemoryKernel, "memory.kmem.usage_in_bytes", true),
    (F::MemoryTcp, "memory.kmem.tcp.usage_in_bytes", true),
    (F::MemoryNuma1, "memory.numa_stat", true),
    (F::MemoryBothLimit, "memory.memsw.limit_in_bytes", true),
    (F::Blkio, "blkio.throttle.io_service_bytes_recursive", false),
    (F::BlkioCount, "blkio.throttle.io_serviced_recursive", true),
    (F::PidsNow, "pids.current", false),
    (F::PidsLimit, "pids.max", false),
    (F::PidsEvents, "pids.events", true),
];

const FILES_V2: [(Figure, &str, bool); 18] = [
    (F::CpuStat, "cpu.stat", false),
    (F::CpuMax, "cpu.max", false),
    (F::Memory2, "memory.current", false),
    (F::MemoryPeak, "memory.peak", true),
    (F::MemoryLimit2, "memory.max", false),
    (F::MemoryHigh, "memory.high", true),
    (F::MemorySwap, "memory.swap.current", true),
    (F::MemorySwapLimit, "memory.swap.max", true),
    (F::MemoryStat2, "memory.stat", false),
    (F::MemoryEvents, "memory.events", true),
    (F::MemoryNuma2, "memory.numa_stat", true),
    (F::IoStat, "io.stat", false),
    (F::CpuPressure, "cpu.pressure", false),
    (F::MemoryPressure, "memory.pressure", false),
    (F::IoPressure, "io.pressure", false),
    (F::PidsNow, "pids.current", false),
    (F::PidsLimit, "pids.max", false),
    (F::PidsEvents, "pids.events", true),
];

/// Reads the figures of one group. What is not there when it is opened is not looked for again.
#[derive(Debug)]
pub struct Meter {
    sources: Vec<Source>,
}

#[derive(Debug)]
struct Source {
    figure: Figure,
    detail: bool,
    path: PathBuf,
    /// Absent where the process may have no more files open: then it is opened each time.
    file: Option<File>,
}

impl Meter {
    /// Opens what the group `path` has.
    pub(crate) fn open(layout: &Layout, path: &str) -> Self {
        let mut sources: Vec<Source> = Vec::new();
        let mut take = |(figure, name, detail): (Figure, &str, bool), folder: PathBuf| {
            let path = folder.join(name);
            let file = match File::open(&path) {
                Ok(file) => Some(file),
                Err(error) if is_exhausted(&error) && path.exists() => None,
                Err(_) => return,
            };
            if !sources.iter().any(|known| known.figure == figure) {
                sources.push(Source { figure, detail, path, file });
            }
        };
        for root in &layout.v1 {
            FILES_V1.iter().for_each(|file| take(*file, root.group(path)));
        }
        if let Some(root) = &layout.v2 {
            FILES_V2.iter().for_each(|file| take(*file, root.group(path)));
        }
        // Where a group has a directory only if it asks for something: what else is there counts from then on alone.
        let is_of_disks =
            |file: &&(Figure, &str, bool)| matches!(file.0, F::Blkio | F::BlkioCount | F::IoStat);
        for other in layout.others.iter().filter(|other| on_demand::is_place(other)) {
            let files: &[_] = if other.is_v2 { &FILES_V2 } else { &FILES_V1 };
            files.iter().filter(is_of_disks).for_each(|file| take(*file, other.root.group(path)));
        }
        Self { sources }
    }

    /// Whether there is nothing of the group to read.
    pub fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    /// What the group takes and has taken, with all `details` or with what a table shows. A group that has been removed
    /// meanwhile has no figures.
    ///
    /// # Errors
    /// [`Error::Read`].
    pub fn read(&self, details: bool, buffer: &mut Vec<u8>) -> Result<Reading, Error> {
        let mut reading = Reading::default();
        for source in self.sources.iter().filter(|source| details || !source.detail) {
            match source.read(buffer) {
                Ok(length) => {
                    parse::take(&mut reading, source.figure, &String::from_utf8_lossy(&buffer[..length]));
                }
                // Some cannot be read by anybody, such as one of a controller that is off.
                Err(error) if control::is_absent(&error) || is_unreadable(&error) => {}
                Err(error) => return Err(Error::Read { path: source.path.clone(), source: error }),
            }
        }
        Ok(reading)
    }
}

impl Source {
    /// Reads the whole content, and says how long it is: a file of the kernel is made anew by a read at its beginning.
    fn read(&self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        let opened;
        let file = match &self.file {
            Some(file) => file,
            None => {
                opened = File::open(&self.path)?;
                &opened
            }
        };
        buffer.resize(buffer.len().max(1 << 14), 0);
        let mut length = 0;
        loop {
            if length == buffer.len() {
                buffer.resize(length * 2, 0);
            }
            let read = file.read_at(&mut buffer[length..], length as u64)?;
            length += read;
            // To read on would have the kernel count everything once more, only to say that there is no more of it: the
            // content is one record (seq_file), and of that it gives all that there is room for.
            if length < buffer.len() {
                break;
            }
        }
        Ok(length)
    }
}

fn is_exhausted(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

fn is_unreadable(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EINVAL))
}
