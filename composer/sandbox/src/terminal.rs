//! A program's terminal, from its own container's devpts (pty(7)).

use std::os::fd::OwnedFd;

use rustix::fs::OFlags;
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::failure::{Doing, Result};
use crate::tree;

/// A new terminal.
pub struct Terminal {
    /// The side that the user is on.
    pub master: OwnedFd,
    /// The side that the program is on.
    pub slave: OwnedFd,
}

/// Opens a terminal of this many rows and columns; /dev/ptmx must be the container's.
pub fn open(size: Option<(u16, u16)>) -> Result<Terminal> {
    let master = tree::inside("/dev/ptmx", OFlags::RDWR | OFlags::NOCTTY).doing("open", "/dev/ptmx")?;
    unlockpt(&master).doing("unlock", "a terminal")?;
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let slave = ioctl_tiocgptpeer(&master, flags).doing("open", "a terminal")?;
    if let Some((ws_row, ws_col)) = size {
        // Before the program can ask for it.
        let size = Winsize { ws_row, ws_col, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&slave, size).doing("size", "a terminal")?;
    }
    Ok(Terminal { master, slave })
}

/// Makes it the controlling terminal of this session.
pub fn control(slave: &OwnedFd) -> Result<()> {
    rustix::process::ioctl_tiocsctty(slave).doing("take", "the terminal")
}
