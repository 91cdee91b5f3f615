//! Network namespaces that tests make: hosts of their own, and machines outside of these.

use std::fs;
use std::os::fd::AsRawFd;
use std::process::Command;
use std::sync::mpsc;
use std::thread;

use nix::sched::{CloneFlags, setns, unshare};

/// A network namespace, entered by threads that end.
pub struct Namespace(fs::File);

impl Namespace {
    /// The one that the thread makes for itself.
    pub fn unshared() -> Self {
        let (send, receive) = mpsc::channel();
        thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            ip("link set lo up");
            send.send(fs::File::open("/proc/thread-self/ns/net").unwrap()).unwrap();
        });
        Self(receive.recv().unwrap())
    }

    /// Runs something there.
    pub fn inside<T: Send>(&self, job: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            scope
                .spawn(|| {
                    setns(&self.0, CloneFlags::CLONE_NEWNET).unwrap();
                    job()
                })
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// For iproute2.
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }
}

pub fn ip(arguments: &str) {
    output("ip", arguments);
}

pub fn output(program: &str, arguments: &str) -> String {
    let output = Command::new(program).args(arguments.split(' ')).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments}: {error}");
    String::from_utf8(output.stdout).unwrap()
}
