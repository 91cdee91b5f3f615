//! Memory given back at a user's word.

use nix::errno::Errno;

use crate::hierarchy::{Layout, Root};
use crate::{Controller, Error, control};

/// So often the kernel is asked, as it gives up early where much is being written out.
const TRIES: usize = 8;

/// Has the kernel reclaim of the group `path` what is above `limit` bytes, as far as it can. Nothing is killed.
pub(crate) fn reclaim(layout: &Layout, path: &str, limit: u64) -> Result<(), Error> {
    let has_memory = |root: &&Root| root.has(Controller::Memory);
    if let Some(root) = layout.v1.iter().find(has_memory) {
        let directory = root.group(path);
        return ask(
            || control::number(&directory.join("memory.usage_in_bytes")),
            limit,
            |_| {
                // All that can go: v1 has no amount.
                control::write(&directory.join("memory.force_empty"), "0")
            },
        );
    }
    let Some(root) = layout.v2.as_ref().filter(has_memory) else { return Ok(()) };
    let directory = root.group(path);
    // Since Linux 5.19; `memory.high`, by which a limit is lowered, reclaims on those before.
    if crate::v1::lacks(&directory, "memory.reclaim") {
        return Ok(());
    }
    ask(
        || control::number(&directory.join("memory.current")),
        limit,
        |excess| control::write(&directory.join("memory.reclaim"), &excess.to_string()),
    )
}

/// Asks until enough is free or nothing more becomes so.
fn ask(
    used: impl Fn() -> Result<Option<u64>, Error>,
    limit: u64,
    reclaim: impl Fn(u64) -> Result<(), Error>,
) -> Result<(), Error> {
    for _ in 0..TRIES {
        let Some(before) = used()?.filter(|used| *used > limit) else { return Ok(()) };
        match reclaim(before - limit) {
            Err(Error::Write { source, .. })
                if matches!(
                    source.raw_os_error().map(Errno::from_raw),
                    Some(Errno::EAGAIN | Errno::EBUSY)
                ) => {}
            outcome => outcome?,
        }
        if used()?.is_none_or(|now| now >= before) {
            break;
        }
    }
    Ok(())
}
