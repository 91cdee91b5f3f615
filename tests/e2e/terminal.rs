//! A command in a terminal of its own.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::process::{Child, Stdio};

use nix::pty::{OpenptyResult, Winsize, openpty};
use nix::sys::termios::{LocalFlags, tcgetattr};

use crate::stack::Project;

/// A command whose standard streams are a terminal, from the side of whoever types.
pub struct Typist {
    pub child: Child,
    master: File,
    /// Keeps the terminal, so that it can be looked at after the command has ended.
    slave: std::os::fd::OwnedFd,
    pub seen: String,
    /// Up to where it has been looked through.
    looked: usize,
}

impl Typist {
    pub fn new(project: &Project, args: &[&str], (ws_row, ws_col): (u16, u16)) -> Self {
        let size = Winsize { ws_row, ws_col, ws_xpixel: 0, ws_ypixel: 0 };
        let OpenptyResult { master, slave } = openpty(Some(&size), None).unwrap();
        let end = || Stdio::from(slave.as_fd().try_clone_to_owned().unwrap());
        let child = project.command(args).stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
        Self { child, master: File::from(master), slave, seen: String::new(), looked: 0 }
    }

    /// Returns when this has been shown after what was waited for before.
    pub fn until(&mut self, wanted: &str) {
        let mut buffer = [0; 1024];
        loop {
            if let Some(at) = self.seen[self.looked..].find(wanted) {
                self.looked += at + wanted.len();
                return;
            }
            let mut ready = [nix::poll::PollFd::new(self.master.as_fd(), nix::poll::PollFlags::POLLIN)];
            let polled = nix::poll::poll(&mut ready, nix::poll::PollTimeout::from(60_000_u16));
            assert_eq!(polled, Ok(1), "{wanted:?} is not shown: {}", self.seen);
            let length = self.master.read(&mut buffer).unwrap();
            self.seen += &String::from_utf8_lossy(&buffer[..length]);
        }
    }

    pub fn types(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).unwrap();
    }

    /// Another size, as when a window is dragged.
    pub fn resize(&self, (ws_row, ws_col): (u16, u16)) {
        rustix::termios::tcsetwinsize(
            &self.master,
            rustix::termios::Winsize { ws_row, ws_col, ws_xpixel: 0, ws_ypixel: 0 },
        )
        .unwrap();
        // The command is in the test's session, whose terminal this is not: the kernel tells nobody.
        nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(self.child.id().cast_signed()),
            nix::sys::signal::Signal::SIGWINCH,
        )
        .unwrap();
    }

    /// The status of a command that shows more than anybody wants to see, and has to end within a minute.
    pub fn end_of_flood(self) -> Option<i32> {
        let mut master = self.master.try_clone().unwrap();
        // Until the terminal has gone.
        std::thread::spawn(move || while master.read(&mut [0; 1 << 16]).is_ok() {});
        let child = rustix::process::Pid::from_child(&self.child);
        let child = rustix::process::pidfd_open(child, rustix::process::PidfdFlags::empty()).unwrap();
        let mut ready = [nix::poll::PollFd::new(child.as_fd(), nix::poll::PollFlags::POLLIN)];
        let polled = nix::poll::poll(&mut ready, nix::poll::PollTimeout::from(60_000_u16));
        if polled != Ok(1) {
            rustix::process::pidfd_send_signal(&child, rustix::process::Signal::KILL).unwrap();
        }
        assert_eq!(polled, Ok(1), "it does not end");
        self.end()
    }

    /// The command's status; its terminal is as it was.
    pub fn end(mut self) -> Option<i32> {
        let code = self.child.wait().unwrap().code();
        let flags = tcgetattr(&self.slave).unwrap().local_flags;
        assert!(flags.contains(LocalFlags::ECHO | LocalFlags::ICANON), "the terminal is left in raw mode");
        code
    }
}
