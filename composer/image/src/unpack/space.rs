//! What a layer leaves of the filesystem to everybody else: a small archive can become more than any disk holds.

use std::os::fd::BorrowedFd;

use rustix::fs::{StatVfs, fstatvfs};

use super::Error;

/// The most that is kept free, in bytes. Of a small filesystem it is a hundredth.
const MOST: u64 = 256 << 20;
const SHARE: u64 = 100;
/// How much may be written, in bytes, before the filesystem is asked again.
const STEP: u64 = 128 << 10;
/// What a member takes beside its data, about.
const ENTRY: u64 = 4096;

/// The filesystem that a layer is written to.
pub(super) struct Space<'a> {
    folder: BorrowedFd<'a>,
    /// What has been written since it was asked.
    unseen: u64,
}

impl<'a> Space<'a> {
    pub(super) fn new(folder: BorrowedFd<'a>) -> Self {
        Self { folder, unseen: STEP }
    }

    /// A member is about to be made.
    pub(super) fn entry(&mut self) -> Result<(), Error> {
        self.take(ENTRY)
    }

    /// So many bytes are about to be written.
    pub(super) fn take(&mut self, bytes: u64) -> Result<(), Error> {
        self.unseen += bytes;
        if self.unseen < STEP {
            return Ok(());
        }
        self.unseen = 0;
        // What cannot be asked says no when it is full.
        fstatvfs(self.folder).map_or(Ok(()), |seen| enough(&seen))
    }
}

/// Users may have less than root. Where files are not counted, as on btrfs, there are none (statvfs(3)).
fn enough(seen: &StatVfs) -> Result<(), Error> {
    let bytes = (seen.f_blocks.saturating_mul(seen.f_frsize) / SHARE).min(MOST);
    if seen.f_bavail.saturating_mul(seen.f_frsize) < bytes {
        return Err(Error::Full { kept: bytes, what: "bytes" });
    }
    let files = seen.f_files / SHARE;
    if seen.f_favail < files {
        return Err(Error::Full { kept: files, what: "files" });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_of_the_filesystem_stays_free() {
        let mut seen = fstatvfs(std::fs::File::open("/").unwrap()).unwrap();
        (seen.f_frsize, seen.f_files, seen.f_favail) = (4096, 0, 0);
        // 64 MiB of which 640 KiB stay, and 1 TiB of which 256 MiB do.
        for (blocks, least) in [(16 << 10, 164), (256 << 20, 64 << 10)] {
            (seen.f_blocks, seen.f_bavail) = (blocks, least);
            enough(&seen).unwrap();
            seen.f_bavail -= 1;
            let error = enough(&seen).unwrap_err().to_string();
            assert!(error.contains("No space left on device") && error.contains("bytes"), "{error}");
            seen.f_bavail = blocks;
        }
        (seen.f_files, seen.f_favail) = (1000, 9);
        assert!(enough(&seen).unwrap_err().to_string().contains("10 files"));
    }
}
