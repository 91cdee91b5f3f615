//! This program where nobody can change it.
//!
//! What runs behind a stack is exec'd from a mount of the program alone that is read-only and attached nowhere: what is
//! inside a container and gets at it through /proc/PID/exe cannot write the file on the host's disk (CVE-2019-5736), and
//! not even mount it anew (a mount that belongs to no namespace cannot be copied). Unlike a copy it costs no memory and
//! no time: all stacks share the pages of one file.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::mount::MountAttrFlags;

use crate::{descriptor, mount};

/// A descriptor of this program, for others to run.
///
/// # Errors
/// Those of open_tree(2), mount_setattr(2) and of opening /proc/self/exe.
pub fn sealed_self() -> io::Result<OwnedFd> {
    sealed("/proc/self/exe")
}

fn sealed(path: &str) -> io::Result<OwnedFd> {
    let program = openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let alone = mount::copy(&program, "", false)?;
    mount::restrict(&alone, MountAttrFlags::MOUNT_ATTR_RDONLY, false)?;
    Ok(File::open(descriptor::path(&alone))?.into())
}

/// The same of a program that was started so.
///
/// # Errors
/// Those of opening /proc/self/exe.
pub fn own_program() -> io::Result<OwnedFd> {
    Ok(File::open("/proc/self/exe")?.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_cannot_be_opened_for_writing() {
        let path = std::env::temp_dir().join(format!("compose-sealed-{}", std::process::id()));
        std::fs::write(&path, "as it was").unwrap();
        let sealed = sealed(path.to_str().unwrap()).unwrap();
        let again = descriptor::path(&sealed);
        for options in [File::options().write(true), File::options().append(true)] {
            assert_eq!(options.open(&again).unwrap_err().kind(), io::ErrorKind::ReadOnlyFilesystem);
        }
        // It is attached nowhere, so that nobody can take a copy that could be written.
        let lost = mount::copy(&sealed, "", false).unwrap_err();
        assert_eq!(lost.kind(), io::ErrorKind::InvalidInput);
        std::fs::write(&path, "through its own path").unwrap();
        assert_eq!(std::fs::read_to_string(&again).unwrap(), "through its own path");
        std::fs::remove_file(&path).unwrap();
    }
}
