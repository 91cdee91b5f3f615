//! Block devices by their paths.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use composer_stack::Block;
use nix::sys::stat::{major, minor};

/// What is at this path. The kernel shares out whole disks: a part of one is told by the disk that it is on.
pub fn look(path: &str) -> Block {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) => return Block::None(composer_stack::one_line(&error.to_string())),
    };
    if !metadata.file_type().is_block_device() {
        return Block::None("it is something else".to_owned());
    }
    let (major, minor) = (major(metadata.rdev()), minor(metadata.rdev()));
    // A partition's folder is in that of its disk (sysfs-block in the kernel's ABI documents).
    let folder = fs::canonicalize(format!("/sys/dev/block/{major}:{minor}")).ok();
    let disk = folder.as_deref().filter(|folder| folder.join("partition").exists()).and_then(Path::parent);
    match disk.and_then(Path::file_name) {
        Some(disk) => Block::Partition(format!("/dev/{}", disk.to_string_lossy())),
        None => match (u32::try_from(major), u32::try_from(minor)) {
            (Ok(major), Ok(minor)) => Block::Disk(major, minor),
            _ => Block::None(format!("its number {major}:{minor} is too great")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_block_device_is_told_apart() {
        assert_eq!(look("/dev/null"), Block::None("it is something else".to_owned()));
        let Block::None(why) = look("/dev/no/such") else { panic!("it is there") };
        assert!(why.contains("No such file"), "{why}");
    }
}
