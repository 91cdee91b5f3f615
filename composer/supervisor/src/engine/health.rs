//! Health checks: when to probe, what a probe's outcome means, and the probing itself.

use std::convert::Infallible;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use composer_sandbox::{ExecSpec, ProcessSpec, pidfd};
use composer_stack::Healthcheck;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::container::{Container, Status};
use super::link::Refusal;
use super::start::{self, Reported};
use super::{Engine, asyncfd, program, spec};
use crate::protocol::{Action, Health};
use crate::{channel, clock, diagnose, records};

/// The first pause between early probes; each is half as long again as the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
/// Early probes are never further apart than this.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// PID 1 must have been the same program for this long before an early success counts.
const MOMENT: Duration = Duration::from_millis(25);
/// The same where PID 1 is a shell: an entrypoint's script may answer from a temporary server before it execs the
/// real one, as PostgreSQL's does.
const SCRIPT_MOMENT: Duration = Duration::from_secs(5);
/// How much of a probe's output is kept, as in Docker.
const OUTPUT: usize = 4096;
/// What the tags of probes begin with.
pub const PROBE: &str = "probe";

/// What the next supervisor begins with, beside the record of the program that it is true of.
#[derive(Serialize, Deserialize)]
struct HealthRecord {
    /// When that was started.
    started: u64,
    health: Health,
}

/// What is known of a container's health.
#[derive(Clone, Copy, Debug)]
struct Record {
    began: Instant,
    health: Health,
    failures: u32,
    pause: Duration,
}

impl Record {
    fn new(began: Instant, health: Health) -> Self {
        Self { began, health, failures: 0, pause: FIRST_PAUSE }
    }

    /// Until the first success or the first `interval` has passed, probes come at short growing intervals.
    fn is_early(&self, check: &Healthcheck, now: Instant) -> bool {
        self.health == Health::Starting && now < self.began + check.interval
    }

    /// Takes an outcome in; the pause before the next probe.
    fn take(&mut self, check: &Healthcheck, passed: bool, now: Instant) -> Duration {
        let early = self.is_early(check, now);
        if passed {
            self.health = Health::Healthy;
            self.failures = 0;
        } else if !early && now >= self.began + check.start_period {
            self.failures += 1;
            if self.failures >= check.retries.max(1) {
                self.health = Health::Unhealthy;
            }
        }
        if early && !passed {
            let pause = self.pause;
            self.pause = (pause * 3 / 2).min(LONGEST_PAUSE);
            return pause.min((self.began + check.interval).saturating_duration_since(now));
        }
        let starting = self.health == Health::Starting && now < self.began + check.start_period;
        check.start_interval.filter(|_| starting).unwrap_or(check.interval)
    }
}

/// Whether an early success may count: see [`MOMENT`].
struct Steadiness {
    program: Option<(std::path::PathBuf, Vec<u8>)>,
    since: Instant,
}

impl Steadiness {
    fn new(pid: i32, now: Instant) -> Self {
        Self { program: program::identity(pid), since: now }
    }

    /// How much longer PID 1 has to stay what it is.
    fn missing(&mut self, pid: i32, now: Instant) -> Duration {
        let program = program::identity(pid);
        if program != self.program {
            self.program = program;
            self.since = now;
        }
        let moment = match &self.program {
            Some((exe, cmdline)) if is_script(exe, cmdline) => SCRIPT_MOMENT,
            _ => MOMENT,
        };
        (self.since + moment).saturating_duration_since(now)
    }
}

/// Whether a program is a shell that reads a script from a file.
fn is_script(exe: &Path, cmdline: &[u8]) -> bool {
    let shell = exe.file_name().is_some_and(|name| {
        ["sh", "bash", "dash", "ash", "busybox", "ksh", "zsh"].iter().any(|shell| name == *shell)
    });
    let mut words = cmdline.split(|byte| *byte == 0);
    let applet = words.next().unwrap_or_default();
    let argument = words.next().unwrap_or_default();
    shell && applet.ends_with(b"sh") && !argument.is_empty() && !argument.starts_with(b"-")
}

impl Engine {
    /// What was last known of the health of the program that runs.
    pub(super) fn known_health(container: &Container) -> Option<Health> {
        let record: HealthRecord = records::read(&container.paths.health())?;
        (container.started() == Some(record.started)).then_some(record.health)
    }

    /// Probes a running container until it ends (then the task is aborted).
    pub(super) async fn watch_health(self: &Rc<Self>, container: &Rc<Container>, health: Health) {
        let Some(check) = container.record.borrow().service.healthcheck.clone() else {
            return;
        };
        let Some(pid) = container.live.borrow().as_ref().map(|live| live.pid) else {
            return;
        };
        let age = Duration::from_nanos(clock::now().saturating_sub(container.started().unwrap_or(0)));
        let now = Instant::now();
        let mut record = Record::new(now.checked_sub(age).unwrap_or(now), health);
        let mut steadiness = Steadiness::new(pid, Instant::now());
        let mut paused = container.paused.subscribe();
        loop {
            // Fails only when the container itself is gone.
            let _ = paused.wait_for(|paused| !paused).await;
            let probed = tokio::select! {
                probed = tokio::time::timeout(check.timeout, self.probe(container, &check)) => probed,
                // Held with everything else: what comes of it says nothing. The next one waits for the container.
                _ = paused.wait_for(|paused| *paused) => continue,
            };
            let (mut passed, output) = match probed {
                Ok(outcome) => outcome,
                Err(_) => (false, format!("the probe did not end within {:?}", check.timeout)),
            };
            let now = Instant::now();
            let mut pause = None;
            if passed && record.is_early(&check, now) {
                let missing = steadiness.missing(pid, now);
                if !missing.is_zero() {
                    passed = false;
                    pause = Some(missing.min(LONGEST_PAUSE));
                }
            }
            let before = record.health;
            let next = record.take(&check, passed, now);
            if record.health != before {
                let started = container.started().unwrap_or(0);
                let known = HealthRecord { started, health: record.health };
                if let Err(error) = records::write(&container.paths.health(), &known) {
                    diagnose(&format!("health of {}: {error}", container.name()));
                }
                container.status.send_if_modified(|status| match status {
                    Status::Running(health) => {
                        *health = Some(record.health);
                        true
                    }
                    Status::Created | Status::Starting | Status::Exited(_) => false,
                });
                match record.health {
                    Health::Healthy => self.announce_container(container, Action::Healthy),
                    Health::Unhealthy => self.announce_container(container, Action::Unhealthy { output }),
                    Health::Starting => {}
                }
            }
            tokio::time::sleep(pause.unwrap_or(next)).await;
        }
    }

    /// Runs the check once: whether it passed, and what it printed.
    async fn probe(&self, container: &Container, check: &Healthcheck) -> (bool, String) {
        match self.try_probe(container, check).await {
            // A keeper that died in this very moment has been replaced: once more.
            Err(error) if error == Refusal::Gone.to_string() => {
                self.try_probe(container, check).await.unwrap_or_else(|error| (false, error))
            }
            outcome => outcome.unwrap_or_else(|error| (false, error)),
        }
    }

    async fn try_probe(&self, container: &Container, check: &Healthcheck) -> Result<(bool, String), String> {
        let text = |error: std::io::Error| format!("the probe could not be run: {error}");
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
        let (spec, group) = self.exec_spec(container, check.test.clone());
        let mut fds = vec![target.1, null.into(), ours.try_clone().map_err(text)?, ours, report_write];
        fds.extend(group.open().map_err(|error| error.to_string())?);
        let mut born =
            self.link.exec(PROBE, target.0, spec, fds).await.map_err(|refusal| refusal.to_string())?;
        let mut guard = KillOnDrop(Some((born.pid, Rc::clone(&born.pidfd))));
        let name = container.name();
        if let Reported::Failed(error) = start::report(&report_read, &name).await {
            let _ = born.end.await;
            self.link.acknowledge(born.pid);
            guard.0 = None;
            return Err(error.message);
        }
        let mut printed = Vec::new();
        let end = tokio::select! {
            end = &mut born.end => end.map_err(|_| "the keeper went away".to_owned())?,
            never = swallow(&output, &mut printed) => match never {},
        };
        self.link.acknowledge(born.pid);
        guard.0 = None;
        // What is in the pipe by now; a child that the probe left behind is not waited for.
        while printed.len() < OUTPUT && read(output.as_fd(), &mut printed).is_ok_and(|length| length > 0) {}
        Ok((end.code == Some(0), String::from_utf8_lossy(&printed).trim_end().to_owned()))
    }

    /// A program beside a service's own: same user, folder and environment.
    pub(super) fn exec_spec(
        &self,
        container: &Container,
        argv: Vec<String>,
    ) -> (ExecSpec, composer_cgroup::Group) {
        let record = container.record.borrow();
        let service = &record.service;
        let hostname =
            service.hostname.clone().unwrap_or_else(|| record.id[..12.min(record.id.len())].to_owned());
        let group = self.container_group(&record.name);
        let process = ProcessSpec {
            argv,
            env: spec::environment(self, service, &hostname),
            cwd: service.working_dir.clone(),
            user: service.user.clone(),
            terminal: false,
            terminal_size: None,
        };
        (ExecSpec { process, cgroup_tasks: group.tasks_files(), privileged: false }, group)
    }
}

/// A probe that takes too long is killed, whoever gives up on it.
struct KillOnDrop(Option<(i32, Rc<OwnedFd>)>);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        if let Some((pid, process)) = &self.0 {
            kill(*pid, process.as_fd());
        }
    }
}

/// Kills a probe and what it has started: the process group that it leads since it began its session.
pub fn kill(pid: i32, process: BorrowedFd<'_>) {
    let mut ended = [PollFd::new(process, PollFlags::POLLIN)];
    // As long as it runs, its number is its own.
    if poll(&mut ended, PollTimeout::ZERO) == Ok(0) {
        let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
    }
    // It may not have come as far as its session.
    let _ = pidfd::signal(process, libc::SIGKILL);
}

/// Reads what a probe prints, so that it never waits for room.
async fn swallow(output: &AsyncFd<OwnedFd>, printed: &mut Vec<u8>) -> Infallible {
    loop {
        match output.async_io(Interest::READABLE, |fd| read(fd.as_fd(), printed)).await {
            Ok(0) | Err(_) => std::future::pending().await,
            Ok(_) => {}
        }
    }
}

/// Reads once and keeps no more than the beginning.
fn read(output: BorrowedFd<'_>, printed: &mut Vec<u8>) -> io::Result<usize> {
    let mut text = [0; 1 << 12];
    let length = nix::unistd::read(output, &mut text)?;
    printed.extend_from_slice(&text[..length.min(OUTPUT - printed.len())]);
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check() -> Healthcheck {
        Healthcheck {
            test: vec!["true".to_owned()],
            interval: Duration::from_secs(30),
            timeout: Duration::from_secs(30),
            retries: 2,
            start_period: Duration::ZERO,
            start_interval: None,
        }
    }

    #[test]
    fn early_failures_do_not_count_and_come_at_growing_pauses() {
        let now = Instant::now();
        let mut record = Record::new(now, Health::Starting);
        let mut last = Duration::ZERO;
        for _ in 0..5 {
            let pause = record.take(&check(), false, now);
            assert!(pause > last);
            last = pause;
        }
        assert_eq!((record.health, record.failures), (Health::Starting, 0));
    }

    #[test]
    fn retries_count_once_the_first_interval_has_passed() {
        let now = Instant::now();
        let mut record = Record::new(now, Health::Starting);
        let late = now + check().interval;
        assert_eq!(record.take(&check(), false, late), check().interval);
        assert_eq!(record.health, Health::Starting);
        record.take(&check(), false, late);
        assert_eq!(record.health, Health::Unhealthy);
        record.take(&check(), true, late);
        assert_eq!((record.health, record.failures), (Health::Healthy, 0));
    }

    #[test]
    fn failures_in_the_start_period_do_not_count() {
        let check = Healthcheck { start_period: Duration::from_secs(60), ..check() };
        let now = Instant::now();
        let mut record = Record::new(now, Health::Starting);
        record.take(&check, false, now + Duration::from_secs(40));
        assert_eq!(record.failures, 0);
        record.take(&check, false, now + Duration::from_secs(61));
        assert_eq!(record.failures, 1);
    }

    #[test]
    fn a_shell_with_a_script_is_told_from_a_shell_with_a_command() {
        assert!(is_script(Path::new("/bin/bash"), b"bash\0/entrypoint.sh\0postgres\0"));
        assert!(!is_script(Path::new("/bin/bash"), b"sh\0-c\0exec x\0"));
        assert!(!is_script(Path::new("/bin/busybox"), b"sleep\x001000\0"));
    }
}
