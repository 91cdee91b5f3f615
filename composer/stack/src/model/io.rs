//! What may be taken of block devices.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// `blkio_config`, and `x-resources.limits.io`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockIo {
    /// `weight`, 10 to 1000.
    pub weight: Option<u16>,
    /// Single devices, in the file's order.
    pub devices: Vec<DeviceIo>,
}

/// What is said of one device, by its path on the host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceIo {
    /// As the file has it.
    pub path: PathBuf,
    /// `weight_device`, 10 to 1000.
    pub weight: Option<u16>,
    /// `device_read_bps`: bytes a second.
    pub read_bps: Option<u64>,
    /// `device_write_bps`: bytes a second.
    pub write_bps: Option<u64>,
    /// `device_read_iops`: reads a second.
    pub read_iops: Option<u64>,
    /// `device_write_iops`: writes a second.
    pub write_iops: Option<u64>,
}

impl BlockIo {
    /// Whether nothing is asked.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}
