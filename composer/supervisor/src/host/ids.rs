//! Which container holds which ids of the host for its user namespace (`x-userns: auto`): one registry for the host.
//!
//! They lie above what systemd gives containers (systemd.io/UIDS-GIDS) and below the ids of its foreign files, where
//! neither /etc/subuid, /etc/subgid nor any user or group has one. As nothing on disk has them, they are held only for as
//! long as a program runs.

use std::fs;
use std::ops::Range;

use composer_network::{Error, Folder, Result};
use composer_sandbox::IdRange;
use serde::{Deserialize, Serialize};

use crate::paths::{self, StackPaths};

const ALL: Range<u32> = 0x7000_0000..0x7ffe_0000;
const FILE: &str = "ids.json";

/// What a container holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Lease {
    stack: String,
    container: String,
    first: u32,
}

/// The ids of a container: those that it holds, or the first that are free; `None` where none are.
///
/// # Errors
/// When the registry cannot be read or written.
pub(crate) fn claim(stack: &str, container: &str) -> Result<Option<IdRange>> {
    let folder = Folder::new(&paths::registry());
    let _lock = folder.lock()?;
    let mut leases: Vec<Lease> = folder.read(FILE)?;
    let before = leases.len();
    // What a stack has left that is gone altogether.
    leases.retain(|lease| {
        let folders = StackPaths::new(&lease.stack);
        lease.stack == stack || folders.state().exists() || folders.run().exists()
    });
    let held = leases.iter().find(|lease| lease.stack == stack && lease.container == container);
    if let Some(first) = held.map(|lease| lease.first) {
        return Ok(Some(IdRange { first }));
    }
    let free = free(&leases, &foreign());
    leases.extend(free.map(|first| Lease {
        stack: stack.to_owned(),
        container: container.to_owned(),
        first,
    }));
    if free.is_some() || leases.len() != before {
        folder.write(FILE, &leases)?;
    }
    Ok(free.map(|first| IdRange { first }))
}

/// Gives a container's ids back, if it holds any.
///
/// # Errors
/// As [`claim`].
pub(crate) fn release(stack: &str, container: &str) -> Result<()> {
    let folder = Folder::new(&paths::registry());
    let _lock = folder.lock()?;
    let mut leases: Vec<Lease> = match folder.read(FILE) {
        // Nobody can hold any by it.
        Err(Error::Damaged { .. }) => Vec::new(),
        other => other?,
    };
    leases.retain(|lease| lease.stack != stack || lease.container != container);
    match leases.is_empty() {
        true => folder.remove(FILE)?,
        false => folder.write(FILE, &leases)?,
    }
    folder.tidy()
}

fn free(leases: &[Lease], foreign: &[Range<u64>]) -> Option<u32> {
    let is_free = |first: &u32| {
        let (from, to) = (u64::from(*first), u64::from(*first) + u64::from(IdRange::COUNT));
        leases.iter().all(|lease| lease.first != *first)
            && foreign.iter().all(|other| other.end <= from || to <= other.start)
    };
    ALL.step_by(IdRange::COUNT as usize).find(is_free)
}

/// The ids of others.
fn foreign() -> Vec<Range<u64>> {
    let text = |path: &str| fs::read(path).map(|text| String::from_utf8_lossy(&text).into_owned());
    let read = |path: &str, parse: fn(&str) -> Vec<Range<u64>>| text(path).map(|text| parse(&text));
    let files = [
        read("/etc/subuid", subordinate),
        read("/etc/subgid", subordinate),
        read("/etc/passwd", own),
        read("/etc/group", own),
    ];
    files.into_iter().flatten().flatten().collect()
}

/// Of subuid(5).
fn subordinate(text: &str) -> Vec<Range<u64>> {
    let lines = text.lines().filter_map(|line| {
        let mut fields = line.trim().split(':').skip(1);
        let first: u64 = fields.next()?.parse().ok()?;
        let count: u64 = fields.next()?.parse().ok()?;
        Some(first..first.checked_add(count)?)
    });
    lines.collect()
}

/// Of passwd(5) and group(5), whose third field is an id.
fn own(text: &str) -> Vec<Range<u64>> {
    let ids = text.lines().filter_map(|line| line.split(':').nth(2)?.parse::<u64>().ok());
    ids.map(|id| id..id + 1).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_others_are_left_alone() {
        let first = ALL.start;
        let lease = |first| Lease { stack: "s".to_owned(), container: "s-one-1".to_owned(), first };
        assert_eq!(free(&[], &[]), Some(first));
        assert_eq!(free(&[lease(first)], &[]), Some(first + 65536));
        let mut others =
            subordinate(&format!("# no range\nann:100000:65536\nbob:{}:10\nodd:x:1\n", first + 65535));
        assert_eq!(others.len(), 2);
        assert_eq!(free(&[], &others), Some(first + 2 * 65536));
        others
            .extend(own(&format!("root:x:0:0:root:/root:/bin/sh\nhigh:x:{}:0::/:\n", first + 3 * 65536 - 1)));
        assert_eq!(free(&[], &others), Some(first + 3 * 65536));
        let all = u64::from(ALL.start)..u64::from(ALL.end);
        assert_eq!(free(&[], &[all]), None);
    }
}
