//! Programs that the supervisor itself runs in a container that runs: commands of health checks, and hooks.

use std::convert::Infallible;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use composer_cgroup::Group;
use composer_sandbox::{ExecSpec, pidfd};
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::container::Container;
use super::link::Refusal;
use super::start::{self, Reported};
use super::{Engine, asyncfd, isolation, spec};
use crate::channel;

/// What the tags of probes begin with.
pub const PROBE: &str = "probe";
/// What the tags of hooks begin with.
pub const HOOK: &str = "hook";

/// How much of what has been printed is taken when its printer has ended: what one that it left behind goes on printing
/// is not waited for.
const REST: usize = 1 << 16;

/// A program and where it is to run.
pub struct Inside<'a> {
    /// In this container.
    pub container: &'a Container,
    /// With this purpose: what its tag begins with.
    pub purpose: &'static str,
    /// The program.
    pub spec: ExecSpec,
    /// The container's cgroup.
    pub group: Group,
}

impl Engine {
    /// Runs a program and returns its code once it has ended; what it prints on either stream goes to `printed` while it
    /// runs. Dropped, it kills the program.
    pub(super) async fn inside(
        &self,
        program: Inside<'_>,
        mut printed: impl FnMut(&[u8]),
    ) -> Result<Option<i32>, String> {
        let Inside { container, purpose, spec, group } = program;
        let text = |error: io::Error| format!("the {purpose} could not be run: {error}");
        let target = {
            let live = container.live.borrow();
            let live = live.as_ref().ok_or("the container does not run")?;
            (live.pid, live.pidfd.try_clone().map_err(text)?)
        };
        let (output, ours) = nix::unistd::pipe2(OFlag::O_CLOEXEC).map_err(|errno| text(errno.into()))?;
        let output = asyncfd::readable(output).map_err(text)?;
        let (report_read, report_write) = channel::pair().map_err(text)?;
        let report_read = asyncfd::new(report_read).map_err(text)?;
        let null = std::fs::File::open("/dev/null").map_err(text)?;
        let mut fds = vec![target.1, null.into(), ours.try_clone().map_err(text)?, ours, report_write];
        fds.extend(group.open().map_err(|error| error.to_string())?);
        let mut born =
            self.link.exec(purpose, target.0, spec, fds).await.map_err(|refusal| refusal.to_string())?;
        let mut guard = KillOnDrop(Some((born.pid, Rc::clone(&born.pidfd))));
        let name = container.name();
        if let Reported::Failed(error) = start::report(&report_read, &name).await {
            let _ = born.end.await;
            self.link.acknowledge(born.pid);
            guard.0 = None;
            return Err(error.message);
        }
        let end = tokio::select! {
            end = &mut born.end => end.map_err(|_| Refusal::Gone.to_string())?,
            never = swallow(&output, &mut printed) => match never {},
        };
        self.link.acknowledge(born.pid);
        guard.0 = None;
        rest(&output, &mut printed);
        Ok(end.code)
    }

    /// A program beside a service's own: same user, folder and environment.
    pub(super) fn exec_spec(&self, container: &Container, argv: Vec<String>) -> (ExecSpec, Group) {
        let record = container.record.borrow();
        let service = &record.service;
        let hostname =
            service.hostname.clone().unwrap_or_else(|| record.id[..12.min(record.id.len())].to_owned());
        let group = self.container_group(&record.name);
        let process = isolation::process(service, argv, spec::environment(self, service, &hostname));
        let cgroup_tasks = self.tasks_files(&record.name, service);
        (ExecSpec { process, cgroup_tasks, privileged: false, userns: record.userns }, group)
    }
}

/// A program that takes too long is killed, whoever gives up on it.
struct KillOnDrop(Option<(i32, Rc<OwnedFd>)>);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        if let Some((pid, process)) = &self.0 {
            kill(*pid, process.as_fd());
        }
    }
}

/// Kills a program and what it has started: the process group that it leads since it began its session.
pub fn kill(pid: i32, process: BorrowedFd<'_>) {
    let mut ended = [PollFd::new(process, PollFlags::POLLIN)];
    // As long as it runs, its number is its own.
    if poll(&mut ended, PollTimeout::ZERO) == Ok(0) {
        let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
    }
    // It may not have come as far as its session.
    let _ = pidfd::signal(process, libc::SIGKILL);
}

/// The end to read of what a program prints.
pub type Output = AsyncFd<OwnedFd>;

/// Reads what is printed, so that its printer never waits for room.
pub async fn swallow(output: &Output, printed: &mut impl FnMut(&[u8])) -> Infallible {
    loop {
        match output.async_io(Interest::READABLE, |fd| read(fd.as_fd(), printed)).await {
            Ok(0) | Err(_) => std::future::pending().await,
            Ok(_) => {}
        }
    }
}

/// Reads what is there by now, within reason.
pub fn rest(output: &Output, printed: &mut impl FnMut(&[u8])) {
    let mut taken = 0;
    while taken < REST
        && let Ok(length @ 1..) = read(output.as_fd(), printed)
    {
        taken += length;
    }
}

fn read(output: BorrowedFd<'_>, printed: &mut impl FnMut(&[u8])) -> io::Result<usize> {
    let mut text = [0; 1 << 12];
    let length = nix::unistd::read(output, &mut text)?;
    printed(&text[..length]);
    Ok(length)
}
