//! Health checks: when to probe, what a probe's outcome means, and the probing itself.

use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use composer_stack::{Healthcheck, Probe, Test, one_line};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::container::{Container, Status};
use super::inside::{self, Inside};
use super::link::Refusal;
use super::probe::Prober;
use super::{Engine, program};
use crate::protocol::{Action, Health};
use crate::{clock, diagnose, records};

/// The first pause between early probes; each is half as long again as the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
/// Early probes are never further apart than this.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// From the end of a probe that is a program to the next, at least, once early probes are over. It is the processes behind
/// the stack that start it, outside of the stack's cap, and that takes them milliseconds: an image that wants one after
/// the other may not have a processor for it. Docker needs as long for each.
const LEAST_PAUSE: Duration = Duration::from_millis(100);
/// PID 1 must have been the same program for this long before an early success counts.
const MOMENT: Duration = Duration::from_millis(25);
/// The same where PID 1 is a shell, from its first success on: an entrypoint's script may answer from a temporary server
/// before it execs the real one, as PostgreSQL's does. However long it prepares that one, says nothing.
const SCRIPT_MOMENT: Duration = Duration::from_secs(5);
/// How much of a probe's output is kept, as in Docker.
const OUTPUT: usize = 4096;

/// What the next supervisor begins with, beside the record of the program that it is true of.
#[derive(Serialize, Deserialize)]
struct HealthRecord {
    /// When that was started.
    started: u64,
    health: Health,
    /// What the probe that changed it printed, or why it failed.
    #[serde(default)]
    output: String,
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
        let pause = check.start_interval.filter(|_| starting).unwrap_or(check.interval);
        match check.test {
            Test::Command(_) => pause.max(LEAST_PAUSE),
            Test::Probes(_) => pause,
        }
    }
}

/// Whether an early success may count: see [`MOMENT`].
struct Steadiness {
    program: Option<(std::path::PathBuf, Vec<u8>)>,
    since: Instant,
    /// The first success since then, or since the last failure.
    passed: Option<Instant>,
    /// How often it has been waited for.
    waits: u32,
}

impl Steadiness {
    fn new(pid: i32, now: Instant) -> Self {
        Self { program: program::identity(pid), since: now, passed: None, waits: 0 }
    }

    /// A probe has failed.
    fn fail(&mut self) {
        self.passed = None;
    }

    /// How much longer PID 1 has to stay what it is. One that is another each time is looked at less and less often.
    fn missing(&mut self, pid: i32, now: Instant) -> Duration {
        let program = program::identity(pid);
        if program != self.program {
            (self.program, self.since, self.passed) = (program, now, None);
        }
        let passed = *self.passed.get_or_insert(now);
        let until = match &self.program {
            Some((exe, cmdline)) if is_script(exe, cmdline) => passed + SCRIPT_MOMENT,
            _ => self.since + MOMENT,
        };
        let missing = until.saturating_duration_since(now);
        if missing.is_zero() {
            return missing;
        }
        self.waits = self.waits.saturating_add(1);
        missing.max(FIRST_PAUSE.saturating_mul(self.waits).min(LONGEST_PAUSE))
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
        if container.started() != Some(record.started) {
            return None;
        }
        container.last_probe.replace(record.output);
        Some(record.health)
    }

    /// Probes a running container until it ends (then the task is aborted). `said` becomes true once its log has
    /// contained what is sought in it.
    pub(super) async fn watch_health(
        self: &Rc<Self>,
        container: &Rc<Container>,
        health: Health,
        said: watch::Receiver<bool>,
    ) {
        let Some(check) = container.record.borrow().service.healthcheck.clone() else {
            return;
        };
        let Some((pid, process)) =
            container.live.borrow().as_ref().map(|live| (live.pid, Rc::clone(&live.pidfd)))
        else {
            return;
        };
        let age = Duration::from_nanos(clock::now().saturating_sub(container.started().unwrap_or(0)));
        let now = Instant::now();
        let mut record = Record::new(now.checked_sub(age).unwrap_or(now), health);
        let mut steadiness = Steadiness::new(pid, Instant::now());
        let mut prober = Prober::new(process, container.record.borrow().first_ipv4());
        if let Some(text) = check.test.sought() {
            let late = record.began + check.start_period + check.interval * check.retries.max(1);
            record.health = self.await_text(container, text, said, record.health, late).await;
        }
        let mut paused = container.paused.subscribe();
        loop {
            // Fails only when the container itself is gone.
            let _ = paused.wait_for(|paused| !paused).await;
            let attempt = self.try_once(container, &check.test, &mut prober);
            let probed = tokio::select! {
                probed = tokio::time::timeout(check.timeout, attempt) => probed,
                // Held with everything else: what comes of it says nothing. The next one waits for the container.
                _ = paused.wait_for(|paused| *paused) => continue,
            };
            let (mut passed, output) = match probed {
                Ok(outcome) => outcome.unwrap_or_else(|error| (false, error)),
                Err(_) => (false, format!("the probe did not end within {:?}", check.timeout)),
            };
            let now = Instant::now();
            let mut pause = None;
            if !passed {
                steadiness.fail();
            } else if record.is_early(&check, now) {
                let missing = steadiness.missing(pid, now);
                if !missing.is_zero() {
                    passed = false;
                    pause = Some(missing.min(LONGEST_PAUSE));
                }
            }
            container.last_probe.replace(output.clone());
            let before = record.health;
            let next = record.take(&check, passed, now);
            if record.health != before {
                self.set_health(container, record.health, output);
            }
            if record.health == Health::Healthy && check.test.is_final() {
                return;
            }
            tokio::time::sleep(pause.unwrap_or(next)).await;
        }
    }

    /// Tries once: whether it passed, and what it printed or why not.
    async fn try_once(
        &self,
        container: &Container,
        test: &Test,
        prober: &mut Prober,
    ) -> Result<(bool, String), String> {
        match test {
            Test::Command(argv) => match self.try_command(container, argv).await {
                // A keeper that died in this very moment has been replaced: once more.
                Err(error) if error == Refusal::Gone.to_string() => self.try_command(container, argv).await,
                outcome => outcome,
            },
            Test::Probes(probes) => {
                for probe in probes {
                    match probe {
                        // It has come, else nothing would be tried.
                        Probe::Log(_) => {}
                        Probe::Tcp(port) => prober.tcp(*port).await?,
                        Probe::Http { port, path } => prober.http(*port, path).await?,
                    }
                }
                Ok((true, String::new()))
            }
        }
    }

    async fn try_command(&self, container: &Container, argv: &[String]) -> Result<(bool, String), String> {
        let (spec, group) = self.exec_spec(container, argv.to_vec());
        let mut printed = Vec::new();
        let keep = |text: &[u8]| printed.extend_from_slice(&text[..text.len().min(OUTPUT - printed.len())]);
        let code = self.inside(Inside { container, purpose: inside::PROBE, spec, group }, keep).await?;
        let mut output = String::from_utf8_lossy(&printed).trim_end().to_owned();
        if let Some(code @ 1..) = code
            && output.is_empty()
        {
            let program = argv.first().map(|program| one_line(program)).unwrap_or_default();
            output = format!("{program} ended with status {code}");
        }
        Ok((code == Some(0), output))
    }

    /// Records a change of health and tells of it.
    pub(super) fn set_health(&self, container: &Container, health: Health, output: String) {
        let started = container.started().unwrap_or(0);
        let known = HealthRecord { started, health, output: output.clone() };
        if let Err(error) = records::write(&container.paths.health(), &known) {
            diagnose(&format!("health of {}: {error}", container.name()));
        }
        container.status.send_if_modified(|status| match status {
            Status::Running(known) => {
                *known = Some(health);
                true
            }
            Status::Created | Status::Starting | Status::Restarting(_) | Status::Exited(_) => false,
        });
        match health {
            Health::Healthy => self.announce_container(container, Action::Healthy),
            Health::Unhealthy => self.announce_container(container, Action::Unhealthy { output }),
            Health::Starting => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check() -> Healthcheck {
        Healthcheck {
            test: Test::Command(vec!["true".to_owned()]),
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
    fn programs_are_not_started_one_after_the_other() {
        let tiny = Duration::from_millis(1);
        let check = Healthcheck { interval: tiny, start_interval: Some(tiny), ..check() };
        let now = Instant::now();
        let mut record = Record::new(now, Health::Starting);
        assert_eq!(record.take(&check, false, now + tiny), LEAST_PAUSE);
        assert_eq!(record.take(&check, true, now + tiny), LEAST_PAUSE);
        let check = Healthcheck { test: Test::Probes(vec![Probe::Tcp(80)]), ..check };
        assert_eq!(record.take(&check, true, now + tiny), tiny);
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
    fn a_script_is_steady_from_its_first_success_on() {
        let script = std::env::temp_dir().join(format!("composer-steady-{}", std::process::id()));
        std::fs::write(&script, "echo ready; read line\n").unwrap();
        let mut child = std::process::Command::new("sh");
        child.arg(&script).stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
        let mut child = child.spawn().unwrap();
        // The kernel has its arguments by then.
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut [0]).unwrap();
        let pid = child.id().cast_signed();
        let start = Instant::now();
        let mut steadiness = Steadiness::new(pid, start);
        let later = start + SCRIPT_MOMENT * 3;
        assert_eq!(steadiness.missing(pid, later), SCRIPT_MOMENT, "its preparation says nothing");
        steadiness.fail();
        assert_eq!(steadiness.missing(pid, later + SCRIPT_MOMENT), SCRIPT_MOMENT);
        assert_eq!(steadiness.missing(pid, later + SCRIPT_MOMENT * 2), Duration::ZERO);
        drop(child.stdin.take());
        child.wait().unwrap();
        std::fs::remove_file(&script).unwrap();
    }

    #[test]
    fn a_shell_with_a_script_is_told_from_a_shell_with_a_command() {
        assert!(is_script(Path::new("/bin/bash"), b"bash\0/entrypoint.sh\0postgres\0"));
        assert!(!is_script(Path::new("/bin/bash"), b"sh\0-c\0exec x\0"));
        assert!(!is_script(Path::new("/bin/busybox"), b"sleep\x001000\0"));
    }
}
