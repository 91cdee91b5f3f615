//! Resource limits of the processes behind a stack, and of what they start.

use std::io;
use std::sync::OnceLock;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// The soft limit before it was raised.
static ORIGINAL: OnceLock<u64> = OnceLock::new();

/// Raises this process's soft limit of open descriptors to its hard limit (getrlimit(2)): the processes behind a
/// stack hold several for each container. What they start gets the original limit.
///
/// # Errors
/// Those of setrlimit(2).
pub fn raise_descriptor_limit() -> io::Result<()> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    ORIGINAL.get_or_init(|| soft);
    Ok(setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?)
}

/// Back to the limit from before.
pub(crate) fn restore_descriptor_limit() -> io::Result<()> {
    let Some(soft) = ORIGINAL.get() else {
        return Ok(());
    };
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(setrlimit(Resource::RLIMIT_NOFILE, (*soft).min(hard), hard)?)
}
