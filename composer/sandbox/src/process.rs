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
