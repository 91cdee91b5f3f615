//! A fresh process' own attributes: signals, session, keyring, groups.
#![allow(unsafe_code)]

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;

use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};

use crate::failure::{Doing, Result};

/// Every signal has its default action and none is blocked: what is ignored or blocked would stay so over exec
/// (signal(7)), and Rust's runtime ignores SIGPIPE.
pub fn default_signals() -> io::Result<()> {
    for signal in 1..=libc::SIGRTMAX() {
        // SAFETY: the default action runs no code of ours. Numbers that libc keeps for itself are refused.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    Ok(sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?)
}

/// A child that has ended and was not asked for before, with its status as a shell has it; `None` where there is none now.
/// Real-time signals end programs too, which nix's `waitpid` takes away and then refuses to tell of.
pub fn ended() -> Option<(i32, i32)> {
    loop {
        match rustix::process::wait(rustix::process::WaitOptions::NOHANG) {
            Ok(Some((pid, status))) => {
                let by_signal = status.terminating_signal().map(|signal| 128 + signal);
                if let Some(code) = status.exit_status().or(by_signal) {
                    return Some((pid.as_raw_pid(), code));
                }
            }
            Err(rustix::io::Errno::INTR) => {}
            Ok(None) | Err(_) => return None,
        }
    }
}

/// Joins cgroups by their v1 `tasks` files.
pub fn join_groups(tasks: &[PathBuf]) -> Result<()> {
    for file in tasks {
        // Zero stands for the writer.
        File::options()
            .write(true)
            .open(file)
            .and_then(|mut file| file.write_all(b"0"))
            .doing("join the cgroup by", file.display())?;
    }
    Ok(())
}

/// A session keyring of its own: the keys of whoever ran `compose` stay outside (keyrings(7)).
pub fn new_keyring() {
    // SAFETY: a null name makes an anonymous keyring; no memory is touched. A kernel without keyrings says ENOSYS
    // and then has none to hide.
    unsafe {
        libc::syscall(
            libc::SYS_keyctl,
            1, /* KEYCTL_JOIN_SESSION_KEYRING */
            std::ptr::null::<libc::c_char>(),
        )
    };
}

/// Ends this process at once: a child must not run what its parent registered with atexit(3).
pub fn leave(code: i32) -> ! {
    // SAFETY: _exit(2) never returns and runs nothing.
    unsafe { libc::_exit(code) }
}
