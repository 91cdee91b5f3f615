//! `init: true`: a PID 1 that passes signals on and reaps, for programs that do neither.
//!
//! It is this same program exec'd anew, so that no memory of the keeper's lies inside a container.

use std::convert::Infallible;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, FcntlArg, fcntl};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::{Pid, execveat, setpgid};

use crate::clone::{Forked, fork};
use crate::failure::{Doing, Result, StartFailure};
use crate::{descriptor, pidfd, process, program, report};

/// What it is called.
pub const NAME: &str = "compose-init";
/// Where it finds the report.
const REPORT: i32 = 3;

/// Becomes the init that starts this program.
pub(crate) fn exec(
    binary: &OwnedFd,
    argv: &[String],
    env: &[(String, String)],
    report: &OwnedFd,
) -> Result<Infallible> {
    let words = std::iter::once(NAME.to_owned()).chain(argv.iter().cloned());
    let argv: Vec<CString> =
        words.map(CString::new).collect::<std::result::Result<_, _>>().doing("pass", "its arguments")?;
    let env = env.iter().map(|(key, value)| CString::new(format!("{key}={value}")));
    let env: Vec<CString> = env.collect::<std::result::Result<_, _>>().doing("pass", "its environment")?;
    // Above the number that is about to be taken.
    let binary = fcntl(binary, FcntlArg::F_DUPFD_CLOEXEC(REPORT + 1)).doing("keep", NAME)?;
    let binary = descriptor::received(binary);
    descriptor::place(&[(report.as_raw_fd(), REPORT)]).doing("hand over", "the report")?;
    execveat(binary.as_fd(), c"", &argv, &env, AtFlags::AT_EMPTY_PATH).doing("run", NAME)
}

/// Runs as the init: starts the program and ends with its code.
pub fn run() -> ! {
    let report = descriptor::inherited(REPORT);
    if std::process::id() != 1 {
        // In a PID namespace of others; what its child leaves behind is its own all the same.
        let _ = nix::sys::prctl::set_child_subreaper(true);
    }
    let prepared = signals().and_then(|signals| Ok((signals, fork()?)));
    match prepared {
        Ok((_, Forked::Child)) => start(report),
        Ok((signals, Forked::Parent(pid, child))) => {
            drop(report);
            attend(&signals, Pid::from_raw(pid), &child)
        }
        Err(error) => {
            if let Some(report) = report {
                report::failed(report.as_fd(), StartFailure::system("start", NAME, &error));
            }
            process::leave(125)
        }
    }
}

fn signals() -> io::Result<SignalFd> {
    let mut all = SigSet::all();
    // These come from faults of this very process.
    for signal in
        [Signal::SIGSEGV, Signal::SIGBUS, Signal::SIGILL, Signal::SIGFPE, Signal::SIGTRAP, Signal::SIGABRT]
    {
        all.remove(signal);
    }
    all.thread_block()?;
    Ok(SignalFd::with_flags(&all, SfdFlags::SFD_CLOEXEC)?)
}

fn attend(signals: &SignalFd, pid: Pid, child: &OwnedFd) -> ! {
    loop {
        match signals.read_signal() {
            Ok(Some(info)) if info.ssi_signo == libc::SIGCHLD.cast_unsigned() => reap(pid),
            // It may have ended in this moment.
            Ok(Some(info)) => drop(pidfd::signal(child.as_fd(), info.ssi_signo.cast_signed())),
            Ok(None) | Err(Errno::EINTR) => {}
            Err(_) => process::leave(125),
        }
    }
}

fn reap(child: Pid) {
    while let Some((pid, code)) = process::ended() {
        if pid == child.as_raw() {
            process::leave(code);
        }
    }
}

fn start(report: Option<OwnedFd>) -> ! {
    let argv: Vec<String> = std::env::args().skip(1).collect();
    let env: Vec<(String, String)> = std::env::vars().collect();
    // A group of its own, in the foreground: a signal from the terminal reaches it once. Where there is no terminal
    // the second call fails, and need not work.
    let grouped = setpgid(Pid::from_raw(0), Pid::from_raw(0)).doing("make", "a process group");
    let _ = rustix::termios::tcsetpgrp(io::stdin(), rustix::process::getpgrp());
    let prepared = grouped.and_then(|()| process::default_signals().doing("reset", "its signals"));
    let Err(failure) = prepared.and_then(|()| program::exec(&argv, &env));
    if let Some(report) = &report {
        report::failed(report.as_fd(), failure.clone());
    }
    process::leave(failure.exit_code)
}
