//! Signals as something to wait for among other things (signalfd(2)).

use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::{Result, doing};

/// Signals that no longer do what they do by default, until this is dropped.
pub struct Signals {
    set: SigSet,
    fd: SignalFd,
}

impl Signals {
    /// Takes these signals.
    pub fn take(signals: &[Signal]) -> Result<Self> {
        let set: SigSet = signals.iter().copied().collect();
        set.thread_block().map_err(doing("block signals"))?;
        let fd = SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK);
        Ok(Self { set, fd: fd.map_err(doing("make a signalfd"))? })
    }

    /// Lets the signals do what they do by default, for a while.
    pub fn pause(&self) -> Result<()> {
        self.set.thread_unblock().map_err(doing("unblock signals"))
    }

    /// Takes them again.
    pub fn resume(&self) -> Result<()> {
        self.set.thread_block().map_err(doing("block signals"))
    }

    /// The next signal that has come.
    pub fn next(&self) -> Result<Option<Signal>> {
        let info = self.fd.read_signal().map_err(doing("read a signal"))?;
        Ok(info.and_then(|info| Signal::try_from(info.ssi_signo.cast_signed()).ok()))
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        // Fails only for an invalid argument, which this is not.
        let _ = self.set.thread_unblock();
    }
}
