//! The supervisor, the keeper, or both are killed: services run on, nothing is lost.

mod down;

use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::stack::{Project, ended, pidfd};

const COUNTER: &str = r#"
services:
  counter:
    x-rootfs: @busybox@
    command: ["sh", "-c", "i=0; while true; do i=$$((i+1)); echo line-$$i; usleep 200; done"]
"#;

fn survives(name: &str, victims: &[&str]) {
    let project = Project::new(name, COUNTER);
    project.ok(&["up", "-d"]);
    let pid = project.field("counter", "Pid");
    // However slow the machine is, there is something to lose.
    project.follow_until("counter", "line-11");
    for _ in 0..3 {
        for victim in victims {
            project.kill_processes(victim);
        }
        assert_eq!(project.field("counter", "Pid"), pid, "the service kept running");
        assert_eq!(project.ok(&["exec", "-T", "counter", "echo", "here"]), "here\n");
    }
    let lines = project.ok(&["logs", "--no-log-prefix", "counter"]);
    let expected: String = (1..=lines.lines().count()).map(|number| format!("line-{number}\n")).collect();
    assert!(lines.lines().count() > 10, "{lines}");
    assert!(lines == expected, "a line is lost or doubled");
    project.down();
}

#[test]
fn the_supervisor_may_die() {
    survives("kill-supervisor", &["compose-supervisor"]);
}

#[test]
fn the_keeper_may_die() {
    survives("kill-keeper", &["compose-keeper"]);
}

#[test]
fn both_may_die() {
    survives("kill-both", &["compose-keeper", "compose-supervisor"]);
}

#[test]
fn a_crash_followed_by_down_leaves_nothing() {
    let project = Project::new("crash-down", COUNTER);
    project.ok(&["up", "-d"]);
    for program in ["compose-keeper", "compose-supervisor"] {
        project.kill_processes(program);
    }
    project.down();
}

#[test]
fn an_end_while_the_supervisor_is_gone_is_told_with_its_code() {
    let file = r#"
services:
  one: { x-rootfs: @busybox@, command: ["sh", "-c", "read line < /shared/go; echo last words; exit 7"], volumes: ["./shared:/shared"] }
"#;
    let project = Project::new("absent-supervisor", file);
    std::fs::create_dir(project.folder.join("shared")).unwrap();
    let go = project.folder.join("shared/go");
    nix::unistd::mkfifo(&go, nix::sys::stat::Mode::S_IRWXU).unwrap();
    project.ok(&["up", "-d"]);
    let service = pidfd(i32::try_from(project.field("one", "Pid").as_i64().unwrap()).unwrap());
    // It can see nothing from here on, and is killed when it has missed the end.
    let supervisor = project.processes("compose-supervisor")[0];
    kill(Pid::from_raw(supervisor), Signal::SIGSTOP).unwrap();
    std::fs::write(&go, "go\n").unwrap();
    ended(&service);
    project.kill_processes("compose-supervisor");
    assert_eq!(project.field("one", "State"), "exited");
    assert_eq!(project.field("one", "ExitCode"), 7);
    assert_eq!(project.ok(&["logs", "--no-log-prefix", "one"]), "last words\n");
    project.down();
}

/// Of a program that waits for [`Unseen::end`], prints, and ends with 7.
struct Unseen {
    project: Project,
    followers: Vec<(Child, Lines<BufReader<ChildStdout>>)>,
}

impl Unseen {
    fn new(name: &str, policy: &str) -> Self {
        let file = format!(
            r#"
services:
  one:
    x-rootfs: @busybox@
    command: ["sh", "-c", "echo ready; read line < /shared/go; seq 1 2000; exit 7"]
    volumes: ["./shared:/shared"]
    deploy: {{ restart_policy: {policy} }}
"#
        );
        let project = Project::new(name, &file);
        std::fs::create_dir(project.folder.join("shared")).unwrap();
        nix::unistd::mkfifo(&project.folder.join("shared/go"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        Self { project, followers: Vec::new() }
    }

    /// A command that shows the log, once it does.
    fn follow(&mut self, args: &[&str]) {
        let mut command = self.project.command(args);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.by_ref().map(Result::unwrap).any(|line| line.ends_with("ready")), "{args:?}");
        self.followers.push((child, lines));
    }

    /// The program ends while the supervisor sees nothing, and then that dies.
    fn end(&self) {
        let service = pidfd(i32::try_from(self.project.field("one", "Pid").as_i64().unwrap()).unwrap());
        let supervisor = self.project.processes("compose-supervisor")[0];
        kill(Pid::from_raw(supervisor), Signal::SIGSTOP).unwrap();
        std::fs::write(self.project.folder.join("shared/go"), "go\n").unwrap();
        ended(&service);
        self.project.kill_processes("compose-supervisor");
    }
}

fn last_words(end: &str) -> Vec<String> {
    (1..=2000).map(|number| number.to_string()).chain([end.to_owned()]).collect()
}

#[test]
fn followers_are_told_of_an_end_that_nobody_saw_after_the_last_line() {
    let mut one = Unseen::new("unseen-end", "{ condition: none }");
    one.follow(&["up", "--no-log-prefix", "--exit-code-from", "one"]);
    // Comes to its turn when that is done with its own.
    one.project.ok(&["up", "-d"]);
    one.follow(&["logs", "-f", "--no-log-prefix"]);
    one.follow(&["logs", "-f", "--no-log-prefix", "--marks"]);
    let waiting = one.project.command(&["wait", "one"]).stdout(Stdio::null()).spawn().unwrap();
    one.end();
    let ends = ["one-1 exited with code 7", "one-1 exited with code 7", "exited with code 7 ==="];
    for ((mut child, lines), (end, status)) in one.followers.into_iter().zip(ends.into_iter().zip([7, 0, 0]))
    {
        let mut lines: Vec<String> = lines.map(Result::unwrap).collect();
        // A mark begins with its time.
        let last = lines.pop().unwrap();
        assert!(last.ends_with(end), "{last}");
        lines.push(end.to_owned());
        assert_eq!(lines, last_words(end));
        assert_eq!(child.wait().unwrap().code(), Some(status));
    }
    assert_eq!(waiting.wait_with_output().unwrap().status.code(), Some(7));
    one.project.down();
}

#[test]
fn an_end_that_nobody_saw_and_its_restart_are_told_once() {
    let mut one = Unseen::new("unseen-restart", "{ condition: on-failure, delay: 1000s }");
    one.project.ok(&["up", "-d"]);
    one.follow(&["logs", "-f", "--no-log-prefix"]);
    one.end();
    let (mut child, mut lines) = one.followers.pop().unwrap();
    let told: Vec<String> = lines.by_ref().take(2001).map(Result::unwrap).collect();
    assert_eq!(told, last_words("one-1 exited with code 7 (restarting)"));
    for _ in 0..2 {
        one.project.kill_processes("compose-supervisor");
        assert_eq!(one.project.field("one", "State"), "restarting");
    }
    one.project.ok(&["stop"]);
    assert_eq!(lines.map(Result::unwrap).collect::<Vec<_>>(), [] as [String; 0]);
    assert!(child.wait().unwrap().success());
    let marks = one.project.ok(&["logs", "--marks", "--no-log-prefix"]);
    assert_eq!(marks.matches("exited with code 7, restart 1 follows").count(), 1, "{marks}");
    one.project.down();
}

#[test]
fn up_goes_on_where_a_killed_up_stopped() {
    let file = r#"
services:
  slow:
    x-rootfs: @busybox@
    command: ["sh", "-c", "sleep 0.3; touch /tmp/up; exec sleep 1000"]
    healthcheck: { test: ["CMD", "test", "-e", "/tmp/up"], interval: 1s }
  after: { x-rootfs: @busybox@, command: sleep 1000, depends_on: { slow: { condition: service_healthy } } }
"#;
    let project = Project::new("killed-up", file);
    let mut up = project.command(&["up", "-d"]).spawn().unwrap();
    while project.processes("compose-supervisor").is_empty() {
        std::thread::yield_now();
    }
    project.kill_processes("compose-keeper");
    project.kill_processes("compose-supervisor");
    let _ = up.wait().unwrap();
    project.ok(&["up", "-d", "--wait"]);
    assert_eq!(project.field("after", "State"), "running");
    project.down();
}

#[test]
fn an_end_while_both_are_gone_is_no_mystery() {
    let file = r#"
services:
  one: { x-rootfs: @busybox@, command: ["sh", "-c", "read line < /shared/go; exit 3"], volumes: ["./shared:/shared"] }
"#;
    let project = Project::new("absent-both", file);
    std::fs::create_dir(project.folder.join("shared")).unwrap();
    let go = project.folder.join("shared/go");
    nix::unistd::mkfifo(&go, nix::sys::stat::Mode::S_IRWXU).unwrap();
    project.ok(&["up", "-d"]);
    let service = pidfd(i32::try_from(project.field("one", "Pid").as_i64().unwrap()).unwrap());
    project.kill_both();
    std::fs::write(&go, "go\n").unwrap();
    ended(&service);
    // Whether its code is known is for whoever has reaped it to say; that it has ended is plain.
    assert_eq!(project.field("one", "State"), "exited");
    project.down();
}

#[test]
fn health_outlives_the_supervisor() {
    let file = r#"
services:
  one: { x-rootfs: @busybox@, command: sleep 1000, healthcheck: { test: ["CMD", "true"], interval: 100s } }
"#;
    let project = Project::new("health-kept", file);
    project.ok(&["up", "-d", "--wait"]);
    for program in ["compose-supervisor", "compose-keeper", "compose-supervisor"] {
        project.kill_processes(program);
        assert_eq!(project.field("one", "Health"), "healthy");
    }
    project.down();
}

#[test]
fn an_end_is_told_once_by_however_many_supervisors() {
    let file = r#"
services:
  job: { x-rootfs: @busybox@, command: ["sh", "-c", "exit 4"] }
  stays: { x-rootfs: @busybox@, command: sleep 1000 }
"#;
    let project = Project::new("crash-told", file);
    project.ok(&["up", "-d"]);
    project.ends("job");
    for _ in 0..3 {
        project.kill_processes("compose-supervisor");
        assert_eq!(project.field("job", "ExitCode"), 4);
    }
    let told = project.ok(&["events", "--since", "1h", "--until", "0s", "job"]);
    assert_eq!(told.matches(" die ").count(), 1, "{told}");
    project.down();
}

/// Between its being made and its client's being told of it the supervisor dies.
#[test]
fn a_program_of_exec_is_run_once_when_the_supervisor_is_killed() {
    let file =
        r#"services: {one: {x-rootfs: @busybox@, command: sleep 1000, volumes: ["./shared:/shared"]}}"#;
    let project = Project::new("crash-exec", file);
    let shared = project.folder.join("shared");
    std::fs::create_dir(&shared).unwrap();
    project.ok(&["up", "-d"]);
    for program in [
        "echo run >> /shared/runs; exit 7",
        "echo run >> /shared/runs; while ! test -e /shared/go; do sleep 0.05; done; echo said; exit 7",
    ] {
        let mut events =
            project.command(&["events", "--since", "1h"]).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(events.stdout.take().unwrap()).lines().map(Result::unwrap);
        let keeper = Pid::from_raw(project.processes("compose-keeper")[0]);
        kill(keeper, Signal::SIGSTOP).unwrap();
        let mut exec = project.command(&["exec", "-T", "one", "sh", "-c", program]);
        let exec = exec.stdout(Stdio::piped()).spawn().unwrap();
        assert!(lines.any(|line| line.contains(&format!("exec_create: sh -c {program}"))));
        // Answered after the keeper has been sent the order.
        project.containers();
        project.kill_processes("compose-supervisor");
        kill(keeper, Signal::SIGCONT).unwrap();
        assert_eq!(project.field("one", "State"), "running");
        std::fs::write(shared.join("go"), "").unwrap();
        let output = exec.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(7), "{program}");
        assert_eq!(output.stdout, if program.contains("said") { &b"said\n"[..] } else { b"" });
        assert_eq!(std::fs::read_to_string(shared.join("runs")).unwrap(), "run\n");
        std::fs::remove_file(shared.join("runs")).unwrap();
        std::fs::remove_file(shared.join("go")).unwrap();
        events.kill().unwrap();
        events.wait().unwrap();
    }
    project.down();
}
