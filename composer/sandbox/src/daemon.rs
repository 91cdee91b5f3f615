//! Starting the keeper and the supervisor.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::fcntl::{AtFlags, OFlag};
use nix::sched::CloneFlags;
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::{chdir, execveat, pipe2, setsid};

use crate::clone::{Forked, clone3};
use crate::{descriptor, limits, process};

/// Runs a program in a session of its own, with an empty environment, `/` as its folder, /dev/null as its standard
/// streams and these descriptors, each under its number. Returns when it has been exec'd, with its pidfd: a caller
/// that lives on has to reap it.
///
/// # Errors
/// When it could not be.
pub fn spawn_daemon(
    binary: BorrowedFd<'_>,
    argv: &[CString],
    fds: &[(BorrowedFd<'_>, RawFd)],
) -> io::Result<OwnedFd> {
    let null = File::options().read(true).write(true).open("/dev/null")?;
    let mut places: Vec<(RawFd, RawFd)> = (0..3).map(|stream| (null.as_raw_fd(), stream)).collect();
    for (fd, target) in fds {
        match places.iter_mut().find(|(_, taken)| taken == target) {
            Some(place) => place.0 = fd.as_raw_fd(),
            None => places.push((fd.as_raw_fd(), *target)),
        }
    }
    let (told, tell) = pipe2(OFlag::O_CLOEXEC)?;
    match clone3(CloneFlags::empty(), None)? {
        Forked::Child => {
            // The caller may have threads: nothing but system calls from here on.
            let Err(error) = become_daemon(binary, argv, &places);
            let _ = File::from(tell).write(&error.raw_os_error().unwrap_or(libc::EIO).to_ne_bytes());
            process::leave(1)
        }
        Forked::Parent(_, pidfd) => {
            drop(tell);
            let mut errno = [0; 4];
            match File::from(told).read_exact(&mut errno) {
                // The pipe closed by exec.
                Err(_) => Ok(pidfd),
                Ok(()) => {
                    let _ = waitid(Id::PIDFd(pidfd.as_fd()), WaitPidFlag::WEXITED);
                    Err(io::Error::from_raw_os_error(i32::from_ne_bytes(errno)))
                }
            }
        }
    }
}

fn become_daemon(
    binary: BorrowedFd<'_>,
    argv: &[CString],
    places: &[(RawFd, RawFd)],
) -> io::Result<std::convert::Infallible> {
    setsid()?;
    chdir(c"/")?;
    process::default_signals()?;
    limits::restore_descriptor_limit()?;
    // Out of the way of the numbers below, and gone after exec.
    let binary = binary.try_clone_to_owned()?;
    let binary = nix::fcntl::fcntl(&binary, nix::fcntl::FcntlArg::F_DUPFD_CLOEXEC(64))?;
    descriptor::close_on_exec_from(0)?;
    descriptor::place(places)?;
    let environment: [&CStr; 0] = [];
    let binary = descriptor::received(binary);
    Ok(execveat(binary.as_fd(), c"", argv, &environment, AtFlags::AT_EMPTY_PATH)?)
}
