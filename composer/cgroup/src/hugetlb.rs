//! Huge pages, by their size: `hugetlb.2MB.max` on v2, `hugetlb.2MB.limit_in_bytes` on v1.
//!
//! Where the kernel counts reservations too, they are limited to the same: then mmap(2) fails, where else a page that
//! is touched would be a SIGBUS.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use nix::errno::Errno;

use crate::limits::Unenforced;
use crate::{Error, control, v1};

/// How one version calls the files: what limits, what is in use, and no limit.
#[derive(Clone, Copy)]
pub(crate) struct Words {
    limit: &'static str,
    usage: &'static str,
    none: &'static str,
}

pub(crate) const V1: Words = Words { limit: "limit_in_bytes", usage: "usage_in_bytes", none: "-1" };
pub(crate) const V2: Words = Words { limit: "max", usage: "current", none: "max" };

/// Gives a group these limits, and lifts those of other sizes.
pub(crate) fn set(
    directory: &Path,
    words: Words,
    sizes: &BTreeMap<u64, u64>,
) -> Result<Vec<Unenforced>, Error> {
    let mut lost = Vec::new();
    let wanted: BTreeMap<String, u64> =
        sizes.iter().map(|(size, bytes)| (page_size(*size), *bytes)).collect();
    for size in known(directory, words)?.iter().filter(|size| !wanted.contains_key(*size)) {
        write(directory, words, size, None)?;
    }
    for (size, bytes) in &wanted {
        let file = format!("hugetlb.{size}.{}", words.limit);
        if v1::lacks(directory, &file) {
            let reason = format!("this kernel offers no {file}: it has no huge pages of this size");
            lost.push(Unenforced { limit: "x-hugetlb", reason });
        } else {
            write(directory, words, size, Some(*bytes))?;
        }
    }
    Ok(lost)
}

fn write(directory: &Path, words: Words, size: &str, bytes: Option<u64>) -> Result<(), Error> {
    let value = bytes.map_or_else(|| words.none.to_owned(), |bytes| bytes.to_string());
    for kind in ["", "rsvd."] {
        let file = format!("hugetlb.{size}.{kind}{}", words.limit);
        if v1::lacks(directory, &file) {
            continue;
        }
        control::write(&directory.join(&file), &value).map_err(|error| match (&error, bytes) {
            (Error::Write { source, .. }, Some(limit))
                if source.raw_os_error() == Some(Errno::EBUSY as i32) =>
            {
                let path = directory.join(format!("hugetlb.{size}.{kind}{}", words.usage));
                match control::number(&path) {
                    Ok(Some(usage)) => {
                        Error::InUse { path: directory.to_owned(), key: "x-hugetlb", limit, usage }
                    }
                    Ok(None) | Err(_) => error,
                }
            }
            _ => error,
        })?;
    }
    Ok(())
}

/// The sizes of which the group has files, as the kernel writes them.
fn known(directory: &Path, words: Words) -> Result<Vec<String>, Error> {
    let failed = |source| Error::Read { path: directory.to_owned(), source };
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let Some(rest) = name.to_str().and_then(|name| name.strip_prefix("hugetlb.")) else { continue };
        if let Some((size, file)) = rest.split_once('.')
            && file == words.limit
        {
            found.push(size.to_owned());
        }
    }
    Ok(found)
}

/// The kernel's name of a size of huge pages (`mem_fmt` in mm/hugetlb_cgroup.c).
pub fn page_size(bytes: u64) -> String {
    match bytes {
        0..0x10_0000 => format!("{}KB", bytes >> 10),
        0x10_0000..0x4000_0000 => format!("{}MB", bytes >> 20),
        _ => format!("{}GB", bytes >> 30),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn sizes_as_the_kernel_calls_them() {
        let sizes = [(64 << 10, "64KB"), (2 << 20, "2MB"), (32 << 20, "32MB"), (1 << 30, "1GB")];
        for (bytes, name) in sizes {
            assert_eq!(super::page_size(bytes), name);
        }
    }
}
