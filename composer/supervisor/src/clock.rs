//! The one place that reads the wall clock.

use std::time::{SystemTime, UNIX_EPOCH};

/// Nanoseconds since the Unix epoch.
pub fn now() -> u64 {
    since_epoch(SystemTime::now())
}

/// A time as nanoseconds since the Unix epoch; 0 for one before it.
pub fn since_epoch(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
