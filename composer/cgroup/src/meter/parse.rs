//! What the files of a group say (cgroup-v1/*.rst, cgroup-v2.rst). What they say in another form is passed over.

use std::collections::BTreeMap;

use super::Figure;
use super::reading::{Device, Pressure, Reading, Stall};

/// Takes the content of a file in.
pub(super) fn take(reading: &mut Reading, figure: Figure, text: &str) {
    let Reading { cpu, memory, pids, io, pressure } = reading;
    let number = || text.trim_end().parse::<u64>().ok();
    // `max`, and what v1 has for it.
    let limit = || number().filter(|value| *value < 1 << 62);
    match figure {
        Figure::CpuTime => cpu.usage_usec = number().unwrap_or_default() / 1000,
        Figure::CpuUser => cpu.user_usec = number().map(|time| time / 1000),
        Figure::CpuSystem => cpu.system_usec = number().map(|time| time / 1000),
        Figure::CpuEach => {
            cpu.each_usec = text
                .split_ascii_whitespace()
                .filter_map(|time| Some(time.parse::<u64>().ok()? / 1000))
                .collect();
        }
        Figure::CpuThrottling => keyed(text, |key, value| match key {
            "nr_periods" => cpu.periods = value,
            "nr_throttled" => cpu.throttled = value,
            "throttled_time" => cpu.throttled_usec = value / 1000,
            _ => {}
        }),
        // The period comes before the quota: see the order of files.
        Figure::CpuPeriod => cpu.limit = number().map(|period| period as f64),
        Figure::CpuQuota => {
            cpu.limit = number().zip(cpu.limit).map(|(quota, period)| quota as f64 / period.max(1.0));
        }
        Figure::CpuStat => keyed(text, |key, value| match key {
            "usage_usec" => cpu.usage_usec = value,
            "user_usec" => cpu.user_usec = Some(value),
            "system_usec" => cpu.system_usec = Some(value),
            "nr_periods" => cpu.periods = value,
            "nr_throttled" => cpu.throttled = value,
            "throttled_usec" => cpu.throttled_usec = value,
            _ => {}
        }),
        Figure::CpuMax => {
            let mut words = text.split_ascii_whitespace().map(|word| word.parse::<f64>().ok());
            cpu.limit =
                words.next().flatten().zip(words.next().flatten()).map(|(quota, period)| quota / period);
        }
        Figure::Memory1 | Figure::Memory2 => memory.usage = number().unwrap_or_default(),
        Figure::MemoryPeak => memory.peak = number(),
        Figure::MemoryLimit1 | Figure::MemoryLimit2 => memory.limit = limit(),
        Figure::MemoryHigh => memory.high = limit(),
        Figure::MemoryFailures => memory.failures = number(),
        Figure::MemoryKernel => memory.kernel = number(),
        Figure::MemoryTcp => memory.tcp = number(),
        Figure::MemorySwap => memory.swap = number(),
        Figure::MemorySwapLimit => memory.swap_limit = limit(),
        Figure::MemoryBothLimit => {
            memory.swap_limit = limit().zip(memory.limit).map(|(both, limit)| both.saturating_sub(limit));
        }
        Figure::MemoryStat1 => keyed(text, |key, value| match key {
            "total_inactive_file" => memory.inactive_file = value,
            "total_rss" => memory.anon = value,
            "total_cache" => memory.file = value,
            "total_shmem" => memory.shmem = value,
            "total_swap" => memory.swap = Some(value),
            _ => {}
        }),
        Figure::MemoryStat2 => keyed(text, |key, value| match key {
            "inactive_file" => memory.inactive_file = value,
            "anon" => memory.anon = value,
            "file" => memory.file = value,
            "shmem" => memory.shmem = value,
            "kernel" => memory.kernel = Some(value),
            "sock" => memory.tcp = Some(value),
            _ => {}
        }),
        Figure::MemoryOom => keyed(text, |key, value| {
            if key == "oom_kill" {
                memory.events.insert(key.to_owned(), value);
            }
        }),
        Figure::MemoryEvents => keyed(text, |key, value| {
            if key == "max" {
                memory.failures = Some(value);
            }
            memory.events.insert(key.to_owned(), value);
        }),
        Figure::MemoryNuma1 => {
            // In pages; the groups inside are in a line of their own.
            let line = text.lines().find_map(|line| line.strip_prefix("hierarchical_total="));
            nodes(&mut memory.nodes, line.unwrap_or_default(), 4096);
        }
        Figure::MemoryNuma2 => {
            for kind in
                ["anon ", "file ", "kernel_stack ", "pagetables ", "slab_reclaimable ", "slab_unreclaimable "]
            {
                let line = text.lines().find_map(|line| line.strip_prefix(kind));
                nodes(&mut memory.nodes, line.unwrap_or_default(), 1);
            }
        }
        Figure::PidsNow => pids.current = number().unwrap_or_default(),
        Figure::PidsLimit => pids.limit = limit(),
        Figure::PidsEvents => keyed(text, |key, value| {
            if key == "max" {
                pids.refused = Some(value);
            }
        }),
        Figure::Blkio => blkio(io.get_or_insert_default(), text, |device, read, value| {
            *(if read { &mut device.read } else { &mut device.written }) = value;
        }),
        Figure::BlkioCount => blkio(io.get_or_insert_default(), text, |device, read, value| {
            *(if read { &mut device.reads } else { &mut device.writes }) = value;
        }),
        Figure::IoStat => io_stat(io.get_or_insert_default(), text),
        Figure::CpuPressure => drop(pressure.insert("cpu".to_owned(), stalls(text))),
        Figure::MemoryPressure => drop(pressure.insert("memory".to_owned(), stalls(text))),
        Figure::IoPressure => drop(pressure.insert("io".to_owned(), stalls(text))),
    }
}

/// Lines of `key value`.
fn keyed(text: &str, mut each: impl FnMut(&str, u64)) {
    for line in text.lines() {
        if let Some((key, value)) = line.split_once(' ')
            && let Ok(value) = value.parse()
        {
            each(key, value);
        }
    }
}

/// `100 N0=60 N1=40`, or without the sum.
fn nodes(nodes: &mut BTreeMap<String, u64>, line: &str, unit: u64) {
    for word in line.split_ascii_whitespace() {
        if let Some((node, value)) = word.split_once('=')
            && let Ok(value) = value.parse::<u64>()
        {
            *nodes.entry(node.to_owned()).or_default() += value * unit;
        }
    }
}

/// Lines of `8:0 Read 123`.
fn blkio(devices: &mut BTreeMap<String, Device>, text: &str, set: impl Fn(&mut Device, bool, u64)) {
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let (Some(name), Some(what), Some(Ok(value))) =
            (words.next(), words.next(), words.next().map(str::parse))
        else {
            continue;
        };
        if let "Read" | "Write" = what {
            set(devices.entry(name.to_owned()).or_default(), what == "Read", value);
        }
    }
}

/// Lines of `8:0 rbytes=1 wbytes=2 rios=3 wios=4 …`.
fn io_stat(devices: &mut BTreeMap<String, Device>, text: &str) {
    for line in text.lines() {
        let Some((name, rest)) = line.split_once(' ') else { continue };
        let mut device = Device::default();
        for word in rest.split_ascii_whitespace() {
            let Some((key, Ok(value))) = word.split_once('=').map(|(key, value)| (key, value.parse())) else {
                continue;
            };
            match key {
                "rbytes" => device.read = value,
                "wbytes" => device.written = value,
                "rios" => device.reads = value,
                "wios" => device.writes = value,
                _ => {}
            }
        }
        devices.insert(name.to_owned(), device);
    }
}

/// Lines of `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`.
pub(crate) fn stalls(text: &str) -> Pressure {
    let mut pressure = Pressure::default();
    for line in text.lines() {
        let Some((kind, rest)) = line.split_once(' ') else { continue };
        let mut stall = Stall::default();
        for word in rest.split_ascii_whitespace() {
            let Some((key, value)) = word.split_once('=') else { continue };
            match key {
                "avg10" => stall.avg10 = value.parse().unwrap_or_default(),
                "avg60" => stall.avg60 = value.parse().unwrap_or_default(),
                "avg300" => stall.avg300 = value.parse().unwrap_or_default(),
                "total" => stall.total = value.parse().unwrap_or_default(),
                _ => {}
            }
        }
        match kind {
            "some" => pressure.some = stall,
            "full" => pressure.full = stall,
            _ => {}
        }
    }
    pressure
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(files: &[(Figure, &str)]) -> Reading {
        let mut reading = Reading::default();
        files.iter().for_each(|(figure, text)| take(&mut reading, *figure, text));
        reading
    }

    #[test]
    fn both_versions_say_the_same() {
        let v1 = read(&[
            (Figure::CpuTime, "5000000\n"),
            (Figure::CpuThrottling, "nr_periods 10\nnr_throttled 4\nthrottled_time 7000\n"),
            (Figure::CpuPeriod, "100000\n"),
            (Figure::CpuQuota, "50000\n"),
            (Figure::MemoryLimit1, "9223372036854771712\n"),
            (Figure::MemoryStat1, "inactive_file 1\ntotal_inactive_file 2\ntotal_rss 3\ntotal_cache 4\n"),
            (Figure::PidsLimit, "max\n"),
            (Figure::Blkio, "8:0 Read 10\n8:0 Write 20\n8:0 Total 30\nTotal 30\n"),
        ]);
        let v2 = read(&[
            (Figure::CpuStat, "usage_usec 5000\nnr_periods 10\nnr_throttled 4\nthrottled_usec 7\n"),
            (Figure::CpuMax, "50000 100000\n"),
            (Figure::MemoryLimit2, "max\n"),
            (Figure::MemoryStat2, "anon 3\nfile 4\ninactive_file 2\n"),
            (Figure::PidsLimit, "max\n"),
            (Figure::IoStat, "8:0 rbytes=10 wbytes=20 rios=0 wios=0 dbytes=0 dios=0\n"),
        ]);
        assert_eq!(v1, v2);
        assert_eq!((v1.cpu.limit, v1.blocks()), (Some(0.5), Some((10, 20))));
        assert_eq!(read(&[(Figure::CpuPeriod, "100000"), (Figure::CpuQuota, "-1")]).cpu.limit, None);
        assert_eq!(read(&[(Figure::CpuMax, "max 100000")]).cpu.limit, None);
    }

    #[test]
    fn nodes_and_pressure() {
        let v1 = "total=2 N0=2\nhierarchical_total=5 N0=3 N1=2\nhierarchical_file=1 N0=1 N1=0\n";
        assert_eq!(read(&[(Figure::MemoryNuma1, v1)]).memory.nodes["N1"], 8192);
        let v2 = "anon N0=4096 N1=1\nfile N0=1 N1=2\nanon_thp N0=9 N1=9\n";
        assert_eq!(read(&[(Figure::MemoryNuma2, v2)]).memory.nodes["N0"], 4097);
        let text = "some avg10=1.50 avg60=0.10 avg300=0.00 total=77\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=3\n";
        let pressure = &read(&[(Figure::CpuPressure, text)]).pressure["cpu"];
        assert_eq!((pressure.some.avg10, pressure.some.total, pressure.full.total), (1.5, 77, 3));
    }
}
