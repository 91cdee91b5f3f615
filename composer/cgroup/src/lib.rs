//! Control groups v1, v2 and hybrid behind one type.
//!
//! [`Hierarchy::detect`] finds what this host has; a [`Group`] is one name in every hierarchy whose
//! controllers are used: `compose/shop/shop-api-1` is one directory on v2, and one directory for each
//! mounted controller on v1. The kernel's objects are the only state: a `Group` holds a name, no cache.
//!
//! The v1 limits are written by the controllers of `cgroups-rs`. All of v2, creation and removal are our
//! own file layer: that crate hard-codes the v2 root, drops errors of `cgroup.subtree_control` and sleeps
//! when it removes a busy group.

mod bpf;
mod control;
mod devices;
mod error;
mod freezer;
mod gather;
mod group;
mod hierarchy;
mod hugetlb;
mod io;
mod limits;
pub mod meter;
mod mounts;
mod on_demand;
mod pressure;
mod realtime;
mod reclaim;
mod removal;
mod shortage;
mod usage;
mod v1;
mod v2;

pub use devices::{DeviceKind, DeviceRule};
pub use error::Error;
pub use group::Group;
pub use hierarchy::{Controller, Hierarchy, Version};
pub use hugetlb::page_size;
pub use io::{BlockIo, DeviceIo};
pub use limits::{Limits, Unenforced};
pub use meter::Meter;
pub use pressure::PressureWatch;
pub use shortage::{Alarm, AtLimit, Shortage};
pub use usage::Usage;
