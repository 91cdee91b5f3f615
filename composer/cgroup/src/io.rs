//! Block devices: weights, and rates that are throttled. On v1 in `blkio.*`, on v2 in `io.*`.
//!
//! A weight is in force on disks that a weighing scheduler serves: BFQ, by the files with `bfq` in their names, or v2's
//! cost model, by `io.weight`. Which of them a disk has is the host's matter, so a weight goes to each that is there.

use std::path::Path;

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use crate::limits::Unenforced;
use crate::{Error, control, v1};

/// What a group may take of block devices.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockIo {
    /// Share of every disk's time, 10 to 1000 (`blkio_config.weight`).
    pub weight: Option<u16>,
    /// Single devices, none twice.
    pub devices: Vec<DeviceIo>,
}

/// What a group may take of one block device. `None` is no limit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceIo {
    /// Major and minor number of a whole disk.
    pub device: (u32, u32),
    /// Share of its time, 10 to 1000.
    pub weight: Option<u16>,
    /// Bytes read a second.
    pub read_bps: Option<u64>,
    /// Bytes written a second.
    pub write_bps: Option<u64>,
    /// Reads a second.
    pub read_iops: Option<u64>,
    /// Writes a second.
    pub write_iops: Option<u64>,
}

impl BlockIo {
    /// Whether nothing is asked.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

impl DeviceIo {
    fn numbers(&self) -> String {
        format!("{}:{}", self.device.0, self.device.1)
    }

    fn rates(&self) -> [Option<u64>; 4] {
        [self.read_bps, self.write_bps, self.read_iops, self.write_iops]
    }
}

/// Kinds of rates: v2's word, v1's file and the key, in the order of [`DeviceIo::rates`].
const RATES: [(&str, &str, &str); 4] = [
    ("rbps", "blkio.throttle.read_bps_device", "blkio_config.device_read_bps"),
    ("wbps", "blkio.throttle.write_bps_device", "blkio_config.device_write_bps"),
    ("riops", "blkio.throttle.read_iops_device", "blkio_config.device_read_iops"),
    ("wiops", "blkio.throttle.write_iops_device", "blkio_config.device_write_iops"),
];
const WEIGHT: &str = "blkio_config.weight";
const WEIGHT_DEVICE: &str = "blkio_config.weight_device";
/// The kernel's weight where none is asked for, of BFQ and of v2's cost model.
const NEUTRAL: u64 = 100;

/// Gives a group these limits, and lifts all others that it has.
pub(crate) fn set_v1(directory: &Path, io: &BlockIo) -> Result<Vec<Unenforced>, Error> {
    let mut lost = Vec::new();
    for (place, (_, file, key)) in RATES.iter().enumerate() {
        let wanted: Vec<(String, u64)> =
            io.devices.iter().filter_map(|device| Some((device.numbers(), device.rates()[place]?))).collect();
        if v1::lacks(directory, file) {
            lost.extend((!wanted.is_empty()).then(|| not_offered(key, file)));
            continue;
        }
        let path = directory.join(file);
        let is_wanted = |device: &str| wanted.iter().any(|(wanted, _)| wanted == device);
        for device in devices(&path)?.iter().filter(|device| !is_wanted(device)) {
            control::write(&path, &format!("{device} 0"))?;
        }
        for (device, rate) in &wanted {
            control::write(&path, &format!("{device} {rate}"))?;
        }
    }
    // The second pair is that of CFQ, which went with Linux 5.0.
    let pairs = [("blkio.bfq.weight", "blkio.bfq.weight_device"), ("blkio.weight", "blkio.weight_device")];
    let pairs: Vec<_> = pairs.into_iter().filter(|(file, _)| !v1::lacks(directory, file)).collect();
    for (file, _) in &pairs {
        let weight = io.weight.map_or(NEUTRAL, u64::from);
        control::write(&directory.join(file), &weight.to_string())?;
    }
    let files: Vec<(&str, Convert)> = pairs.iter().map(|(_, file)| (*file, u64::from as Convert)).collect();
    weigh(directory, io, !pairs.is_empty(), &files, "blkio.bfq.weight", &mut lost)?;
    lost.extend((!pairs.is_empty()).then(|| unweighed(io, None)).flatten());
    Ok(lost)
}

/// The same on v2.
pub(crate) fn set_v2(directory: &Path, io: &BlockIo) -> Result<Vec<Unenforced>, Error> {
    const MAX: &str = "io.max";
    let mut lost = Vec::new();
    let limited: Vec<&DeviceIo> =
        io.devices.iter().filter(|device| device.rates().iter().any(Option::is_some)).collect();
    if v1::lacks(directory, MAX) {
        for (place, (_, _, key)) in RATES.iter().enumerate() {
            let is_asked = limited.iter().any(|device| device.rates()[place].is_some());
            lost.extend(is_asked.then(|| not_offered(key, MAX)));
        }
    } else {
        let path = directory.join(MAX);
        let is_limited = |device: &str| limited.iter().any(|limited| limited.numbers() == device);
        for device in devices(&path)?.iter().filter(|device| !is_limited(device)) {
            control::write(&path, &line(device, [None; 4]))?;
        }
        for device in limited {
            control::write(&path, &line(&device.numbers(), device.rates()))?;
        }
    }
    let files: [(&str, Convert); 2] = [("io.bfq.weight", u64::from), ("io.weight", io_weight)];
    let files: Vec<_> = files.into_iter().filter(|(file, _)| !v1::lacks(directory, file)).collect();
    for (file, convert) in &files {
        let weight = io.weight.map_or(NEUTRAL, convert);
        control::write(&directory.join(file), &format!("default {weight}"))?;
    }
    weigh(directory, io, !files.is_empty(), &files, "io.bfq.weight or io.weight", &mut lost)?;
    // The root's alone says of which disks the cost model is on.
    let models = directory.ancestors().map(|group| group.join("io.cost.qos")).find(|file| file.exists());
    lost.extend((!files.is_empty()).then(|| unweighed(io, models.as_deref())).flatten());
    Ok(lost)
}

/// From `blkio_config`'s scale to that of a file.
type Convert = fn(u16) -> u64;

/// `io.weight` (1 to 10000) for a weight of 10 to 1000: the straight line that runc and crun draw.
fn io_weight(weight: u16) -> u64 {
    1 + (u64::from(weight.clamp(10, 1000)) - 10) * 9999 / 990
}

/// Weights of single devices, and what is to be said of all weights.
fn weigh(
    directory: &Path,
    io: &BlockIo,
    is_offered: bool,
    files: &[(&str, Convert)],
    names: &str,
    lost: &mut Vec<Unenforced>,
) -> Result<(), Error> {
    let wanted: Vec<(String, u16)> =
        io.devices.iter().filter_map(|device| Some((device.numbers(), device.weight?))).collect();
    if !is_offered {
        let reason = format!("this kernel offers no {names} (BFQ is a module: `modprobe bfq` loads it)");
        for (key, is_asked) in [(WEIGHT, io.weight.is_some()), (WEIGHT_DEVICE, !wanted.is_empty())] {
            lost.extend(is_asked.then(|| Unenforced { limit: key, reason: reason.clone() }));
        }
        return Ok(());
    }
    let mut taken = vec![false; wanted.len()];
    for (file, convert) in files {
        let path = directory.join(file);
        for device in devices(&path)? {
            if !wanted.iter().any(|(wanted, _)| *wanted == device) {
                control::write(&path, &format!("{device} default"))?;
            }
        }
        for ((device, weight), taken) in wanted.iter().zip(&mut taken) {
            match control::write(&path, &format!("{device} {}", convert(*weight))) {
                Ok(()) => *taken = true,
                Err(Error::Write { source, .. }) if is_not_weighed(&source) => {}
                Err(error) => return Err(error),
            }
        }
    }
    let unweighed = wanted.iter().zip(&taken).filter(|(_, taken)| !**taken).map(|((device, _), _)| device);
    lost.extend(unweighed.map(|device| Unenforced {
        limit: WEIGHT_DEVICE,
        reason: format!(
            "no scheduler that weighs serves the device {device} (`echo bfq > /sys/dev/block/{device}/queue/scheduler`)"
        ),
    }));
    Ok(())
}

/// What is to be said of a weight for all disks: the kernel takes it whether any of them is weighed or not.
fn unweighed(io: &BlockIo, models: Option<&Path>) -> Option<Unenforced> {
    io.weight?;
    let is_modelled = models.and_then(|file| control::read(file).ok()).is_some_and(|text| models_some(&text));
    if is_modelled || is_scheduled() {
        return None;
    }
    let model = if models.is_some() { " or by the cost model (io.cost.qos)" } else { "" };
    let reason = format!(
        "no disk of this host is served by a scheduler that weighs{model} (`echo bfq > /sys/block/DISK/queue/scheduler`)"
    );
    Some(Unenforced { limit: WEIGHT, reason })
}

/// Whether v2's cost model is on for a disk: `8:0 enable=1 ctrl=auto …`.
fn models_some(text: &str) -> bool {
    text.lines().any(|line| line.split_ascii_whitespace().any(|word| word == "enable=1"))
}

/// Whether BFQ, or CFQ before it, serves a disk: `none [bfq] kyber`.
fn is_scheduled() -> bool {
    let disks = std::fs::read_dir("/sys/block").into_iter().flatten().flatten();
    disks
        .filter_map(|disk| std::fs::read_to_string(disk.path().join("queue/scheduler")).ok())
        .any(|text| text.split_ascii_whitespace().any(|word| matches!(word, "[bfq]" | "[cfq]")))
}

/// Whether the kernel says that the device has no such scheduler (`blkg_conf_prep` in block/blk-cgroup.c).
fn is_not_weighed(error: &std::io::Error) -> bool {
    error.raw_os_error() == Some(Errno::EOPNOTSUPP as i32)
}

/// The devices that have a line in a file: `8:0 rbps=…`, beside lines such as `default 100`.
fn devices(path: &Path) -> Result<Vec<String>, Error> {
    let content = control::read_if_there(path)?.unwrap_or_default();
    let first = content.lines().filter_map(|line| line.split_whitespace().next());
    Ok(first.filter(|word| word.contains(':')).map(str::to_owned).collect())
}

fn line(device: &str, rates: [Option<u64>; 4]) -> String {
    let rates = RATES.iter().zip(rates).map(|((word, ..), rate)| match rate {
        Some(rate) => format!(" {word}={rate}"),
        None => format!(" {word}=max"),
    });
    format!("{device}{}", rates.collect::<String>())
}

fn not_offered(key: &'static str, file: &str) -> Unenforced {
    Unenforced { limit: key, reason: format!("this kernel offers no {file}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_weight_is_converted_as_runc_does() {
        let pairs = [(10, 1), (100, 910), (500, 4950), (1000, 10_000)];
        for (weight, expected) in pairs {
            assert_eq!(io_weight(weight), expected, "{weight}");
        }
    }

    #[test]
    fn the_cost_model_is_on_where_a_line_says_so() {
        assert!(models_some("8:0 enable=0 ctrl=auto\n8:16 enable=1 ctrl=auto rpct=95.00\n"));
        assert!(!models_some("8:0 enable=0 ctrl=auto\n"));
    }

    #[test]
    fn a_line_says_every_rate() {
        assert_eq!(line("7:0", [Some(5), None, None, Some(6)]), "7:0 rbps=5 wbps=max riops=max wiops=6");
    }
}
