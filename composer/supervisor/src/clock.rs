//! The one place that reads clocks.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};

/// Nanoseconds since the Unix epoch.
pub fn now() -> u64 {
    since_epoch(SystemTime::now())
}

/// A time as nanoseconds since the Unix epoch; 0 for one before it.
pub fn since_epoch(time: SystemTime) -> u64 {
    nanoseconds(time.duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// Nanoseconds since the host was booted: what nobody can set back.
pub fn since_boot() -> u64 {
    // Every kernel that runs containers has this clock.
    clock_gettime(ClockId::CLOCK_BOOTTIME).map(|time| nanoseconds(time.into())).unwrap_or_default()
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
