//! How much a folder may hold: a project of its own with a quota (xfs, and ext4 with the feature `project`).
//!
//! The kernel's table is the only one: an id is taken where a file has it or a limit is set for it. A folder has its id
//! before the limit is set, and the limit goes before the folder does, so that nothing that is cut short leaves an id behind.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::fstatvfs;

/// Ours. Docker's begin with 2, those of /etc/projid are what people choose.
const IDS: Range<u32> = 0x7000_0000..0x7ffe_0000;
/// What is made in the folder is of its project too (linux/fs.h).
const INHERITED: u32 = 0x200;
/// The unit of limits.
const BLOCK: u64 = 1024;
/// Of projects (linux/quota.h).
const PRJQUOTA: libc::c_int = 2;

/// `struct fsxattr` of linux/fs.h.
#[repr(C)]
#[derive(Default)]
struct Attributes {
    flags: u32,
    extent: u32,
    extents: u32,
    project: u32,
    copied_extent: u32,
    padding: [u8; 8],
}

/// `FS_IOC_FSGETXATTR` and `FS_IOC_FSSETXATTR`.
const GET: libc::Ioctl = 0x801c_581f_u32 as libc::Ioctl;
pub(crate) const SET: u32 = 0x401c_5820;

/// Has a folder, in which nothing is yet, hold no more than so many bytes. Nobody else may do it meanwhile.
///
/// # Errors
/// Those of ioctl(2) and quotactl(2); [`io::ErrorKind::Unsupported`] where the filesystem counts no projects.
pub fn limit(folder: &Path, bytes: u64) -> io::Result<()> {
    let folder = opened(folder)?;
    let mut attributes = attributes(&folder).map_err(unsupported)?;
    if !IDS.contains(&attributes.project) {
        attributes.project = free(&folder)?;
        set_attributes(&folder, &attributes).map_err(unsupported)?;
    }
    set_limit(&folder, attributes.project, bytes.div_ceil(BLOCK)).map_err(unsupported)?;
    // One that is counted and not enforced, as with `pqnoenforce`, is shown by nothing else.
    let seen = fstatvfs(&folder)?;
    if seen.f_blocks.saturating_mul(seen.f_frsize) > bytes.max(seen.f_frsize) {
        set_limit(&folder, attributes.project, 0)?;
        return Err(io::ErrorKind::Unsupported.into());
    }
    Ok(())
}

/// Gives back what [`limit`] has set, before the folder is removed. Nothing where there is nothing.
///
/// # Errors
/// Those of quotactl(2).
pub fn lift(folder: &Path) -> io::Result<()> {
    match opened(folder).and_then(|folder| Ok((attributes(&folder)?, folder))) {
        Ok((Attributes { project, .. }, folder)) if IDS.contains(&project) => set_limit(&folder, project, 0),
        // There is none, or no projects.
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Has an empty folder be of the same project as another: nothing is renamed from one project into another.
///
/// # Errors
/// Those of open(2) and ioctl(2).
pub fn follow(leader: &Path, folder: &Path) -> io::Result<()> {
    match attributes(&opened(leader)?) {
        Ok(attributes) if IDS.contains(&attributes.project) => set_attributes(&opened(folder)?, &attributes),
        Ok(_) | Err(_) => Ok(()),
    }
}

fn opened(folder: &Path) -> io::Result<OwnedFd> {
    Ok(File::open(folder)?.into())
}

/// The first id that nobody has.
fn free(folder: &OwnedFd) -> io::Result<u32> {
    for id in IDS {
        if !is_taken(folder, id).map_err(unsupported)? {
            return Ok(id);
        }
    }
    Err(io::Error::other("all ids of projects are taken"))
}

fn attributes(folder: &OwnedFd) -> io::Result<Attributes> {
    let mut attributes = Attributes::default();
    // SAFETY: the kernel writes a `struct fsxattr` to where `attributes` is one.
    let done = unsafe { libc::ioctl(folder.as_raw_fd(), GET, &raw mut attributes) };
    result(done.into()).map(|()| attributes)
}

fn set_attributes(folder: &OwnedFd, attributes: &Attributes) -> io::Result<()> {
    let wanted = Attributes { flags: attributes.flags | INHERITED, ..*attributes };
    // SAFETY: the kernel reads a `struct fsxattr`, which `wanted` is.
    result(unsafe { libc::ioctl(folder.as_raw_fd(), SET as libc::Ioctl, &raw const wanted) }.into())
}

fn is_taken(folder: &OwnedFd, id: u32) -> io::Result<bool> {
    let mut quota = none();
    match quotactl(folder, libc::Q_GETQUOTA, id, &mut quota) {
        // xfs, of an id that has never been used.
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
        other => other.map(|()| {
            [quota.dqb_curinodes, quota.dqb_curspace, quota.dqb_bhardlimit, quota.dqb_bsoftlimit] != [0; 4]
                || quota.dqb_ihardlimit != 0
        }),
    }
}

fn set_limit(folder: &OwnedFd, id: u32, blocks: u64) -> io::Result<()> {
    let mut quota = libc::dqblk { dqb_bhardlimit: blocks, dqb_valid: libc::QIF_BLIMITS, ..none() };
    quotactl(folder, libc::Q_SETQUOTA, id, &mut quota)
}

fn none() -> libc::dqblk {
    libc::dqblk {
        dqb_bhardlimit: 0,
        dqb_bsoftlimit: 0,
        dqb_curspace: 0,
        dqb_ihardlimit: 0,
        dqb_isoftlimit: 0,
        dqb_curinodes: 0,
        dqb_btime: 0,
        dqb_itime: 0,
        dqb_valid: 0,
    }
}

fn quotactl(folder: &OwnedFd, command: libc::c_int, id: u32, quota: &mut libc::dqblk) -> io::Result<()> {
    // SAFETY: the kernel reads or writes a `struct if_dqblk` where `quota` is one.
    let done = unsafe {
        libc::syscall(
            libc::SYS_quotactl_fd,
            folder.as_raw_fd(),
            libc::QCMD(command, PRJQUOTA),
            id,
            std::ptr::from_mut(quota),
        )
    };
    result(done)
}

fn result(done: libc::c_long) -> io::Result<()> {
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// What the kernel answers where there are no projects, or none are counted.
fn unsupported(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(libc::ENOTTY | libc::EOPNOTSUPP | libc::ENOSYS | libc::ESRCH | libc::EINVAL) => {
            io::ErrorKind::Unsupported.into()
        }
        _ => error,
    }
}
