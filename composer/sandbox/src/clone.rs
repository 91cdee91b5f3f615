//! clone3(2) and setns(2) around it.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::sched::CloneFlags;

use crate::pidfd;

/// CLONE_INTO_CGROUP of linux/sched.h: beyond the `int` that libc has for it.
const INTO_CGROUP: u64 = 1 << 33;

/// Which side of a fork this is.
pub enum Forked {
    /// The parent, with the child's process id and pidfd.
    Parent(i32, OwnedFd),
    /// The child.
    Child,
}

/// fork(2), for where a container's filter of system calls refuses clone3(2).
pub fn fork() -> io::Result<Forked> {
    // SAFETY: the caller's process has one thread, so the child may go on as it likes.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Forked::Child),
        pid => Ok(Forked::Parent(pid, pidfd::open(pid)?)),
    }
}

/// Forks into new namespaces and, on cgroup v2, right into a cgroup.
///
/// The child is a copy of this thread alone. Where the process has other threads it must do nothing but system
/// calls until exec; where it has none, as the keeper, it may go on as it likes.
pub fn clone3(namespaces: CloneFlags, cgroup: Option<BorrowedFd<'_>>) -> io::Result<Forked> {
    let mut pidfd: i32 = -1;
    let mut flags = namespaces.bits() as u64 | libc::CLONE_PIDFD as u64;
    if cgroup.is_some() {
        flags |= INTO_CGROUP;
    }
    // SAFETY: an all-zero clone_args is valid: no stack, no TLS, no set_tid.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = flags;
    args.pidfd = (&raw mut pidfd) as u64;
    args.exit_signal = libc::SIGCHLD as u64;
    args.cgroup = cgroup.map_or(0, |fd| fd.as_raw_fd().cast_unsigned().into());
    // SAFETY: without CLONE_VM the child has a copy of the memory and returns here as after fork(2); `args` and
    // `pidfd` outlive the call.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<libc::clone_args>()) };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Forked::Child),
        // SAFETY: the kernel has installed the pidfd (close-on-exec) for this call.
        pid => Ok(Forked::Parent(pid as i32, unsafe { OwnedFd::from_raw_fd(pidfd) })),
    }
}
