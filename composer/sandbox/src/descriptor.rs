//! Raw descriptor numbers become owned descriptors here and nowhere else.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};

/// A descriptor that the parent process left open for this program under an agreed number; `None` where it did
/// not. It becomes close-on-exec. To be called once a number, before the program opens anything.
pub fn inherited(number: RawFd) -> Option<OwnedFd> {
    // SAFETY: borrowed only to ask whether it is open; F_GETFD on a closed number is an error, not undefined.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    fcntl(borrowed, FcntlArg::F_GETFD).ok()?;
    fcntl(borrowed, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).ok()?;
    // SAFETY: it is open, and by the caller's promise nothing else in this process owns it.
    Some(unsafe { OwnedFd::from_raw_fd(number) })
}

/// A descriptor that the kernel has just installed for an SCM_RIGHTS message (unix(7)).
pub fn received(number: RawFd) -> OwnedFd {
    // SAFETY: recvmsg(2) has put it into this process a moment ago and told only the caller.
    unsafe { OwnedFd::from_raw_fd(number) }
}

/// The lowest number that is no standard stream's.
const FIRST: u32 = 3;

/// Closes all descriptors but the standard streams and these, which exec closes (close_range(2)). To be called by a
/// child that execs or exits next, and that drops nothing which owns one of the others.
pub(crate) fn keep_only(kept: &[BorrowedFd<'_>]) -> io::Result<()> {
    for (first, last) in gaps(kept.iter().map(|fd| fd.as_raw_fd().cast_unsigned()).collect()) {
        close_range(first, last, 0)?;
    }
    close_on_exec_from(FIRST)
}

/// Marks every descriptor from `first` on close-on-exec.
pub(crate) fn close_on_exec_from(first: u32) -> io::Result<()> {
    close_range(first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC)
}

fn close_range(first: u32, last: u32, flags: libc::c_uint) -> io::Result<()> {
    // SAFETY: what is closed belonged to the parent's image of the process: by the promise of keep_only's caller no
    // owner of it acts any more.
    match unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// The ranges between these numbers, and below and above them.
fn gaps(mut kept: Vec<u32>) -> Vec<(u32, u32)> {
    kept.sort_unstable();
    let mut ranges = Vec::with_capacity(kept.len() + 1);
    let mut first = FIRST;
    for number in kept {
        if number > first {
            ranges.push((first, number - 1));
        }
        first = first.max(number + 1);
    }
    ranges.push((first, u32::MAX));
    ranges
}

/// Puts descriptors under agreed numbers for the program that is exec'd next; to be called right before it.
pub(crate) fn place(fds: &[(RawFd, RawFd)]) -> io::Result<()> {
    let beyond = fds.iter().map(|(_, target)| *target).max().unwrap_or(0) + 1;
    // Sources first move out of the way of all targets: one may lie where another has to go.
    let mut moved = [(0, 0); 8];
    let moved = moved.get_mut(..fds.len()).ok_or(io::ErrorKind::InvalidInput)?;
    for (slot, (source, target)) in moved.iter_mut().zip(fds) {
        // SAFETY: duplicating a descriptor disturbs no owner.
        let copy = unsafe { libc::fcntl(*source, libc::F_DUPFD_CLOEXEC, beyond) };
        if copy < 0 {
            return Err(io::Error::last_os_error());
        }
        *slot = (copy, *target);
    }
    for (source, target) in moved.iter() {
        // SAFETY: what lay under the target belonged to this image of the process, which execs or exits now.
        if unsafe { libc::dup2(*source, *target) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Its number, for paths below /proc/self/fd: the one way to hand overlayfs a folder whatever its name contains.
pub fn path(fd: impl AsFd) -> String {
    format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_leave_out_what_is_kept_and_the_standard_streams() {
        assert_eq!(gaps(vec![]), [(3, u32::MAX)]);
        assert_eq!(gaps(vec![9, 3]), [(4, 8), (10, u32::MAX)]);
        assert_eq!(gaps(vec![5, 6, 6]), [(3, 4), (7, u32::MAX)]);
        assert_eq!(gaps(vec![1, 4]), [(3, 3), (5, u32::MAX)]);
    }
}
