//! The host's CPUs.

use std::collections::BTreeSet;
use std::fs;

/// Those that are online, where /sys tells.
pub fn online() -> Option<BTreeSet<u32>> {
    list(&fs::read_to_string("/sys/devices/system/cpu/online").ok()?)
}

/// The threads of each core that is online (sysfs-devices-system-cpu in the kernel's ABI documents).
pub fn cores() -> Vec<BTreeSet<u32>> {
    let mut found = BTreeSet::new();
    for cpu in online().unwrap_or_default() {
        let file = format!("/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list");
        let threads = fs::read_to_string(file).ok().and_then(|threads| list(&threads));
        found.insert(threads.unwrap_or_else(|| BTreeSet::from([cpu])));
    }
    found.into_iter().collect()
}

/// A list as the kernel writes it: `0-2,4` (cpuset(7), "List format").
pub fn list(text: &str) -> Option<BTreeSet<u32>> {
    let mut found = BTreeSet::new();
    for part in text.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        found.extend(first.parse::<u32>().ok()?..=last.parse().ok()?);
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_lists_are_read() {
        assert_eq!(list("0-2,4\n"), Some(BTreeSet::from([0, 1, 2, 4])));
        assert_eq!(list("0"), Some(BTreeSet::from([0])));
        assert_eq!(list("x"), None);
    }

    #[test]
    fn each_cpu_is_in_one_core() {
        let online = online().unwrap();
        let cores = cores();
        assert_eq!(cores.iter().map(BTreeSet::len).sum::<usize>(), online.len());
        assert_eq!(cores.into_iter().flatten().collect::<BTreeSet<u32>>(), online);
    }
}
