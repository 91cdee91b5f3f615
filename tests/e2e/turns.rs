//! Commands that wait for each other, and those that are asked again after a supervisor's death.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::stack::Project;

/// `up` of it never ends.
const NEVER: &str = r#"
services:
  never: { x-rootfs: @busybox@, command: sleep 1000, healthcheck: { test: ["CMD", "false"], interval: 1000s } }
  after: { x-rootfs: @busybox@, command: sleep 1000, depends_on: { never: { condition: service_healthy } } }
  other: { x-rootfs: @busybox@, command: sleep 1000 }
"#;

/// `up` of it ends once a new supervisor finds `shared/go`.
const GATED: &str = r#"
services:
  slow:
    x-rootfs: @busybox@
    command: sleep 1000
    volumes: ["./shared:/shared"]
    healthcheck: { test: ["CMD", "test", "-e", "/shared/go"], interval: 1000s }
  after: { x-rootfs: @busybox@, command: sleep 1000, depends_on: { slow: { condition: service_healthy } } }
  other: { x-rootfs: @busybox@, command: sleep 1000 }
"#;

fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id().cast_signed()), signal).unwrap();
}

/// An `up` that has its turn, and keeps it.
fn begun(project: &Project, args: &[&str]) -> Child {
    let mut up = project.command(args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let runs =
        |container: &serde_json::Value| container["Service"] == "never" && container["State"] == "running";
    while !project.containers().iter().any(runs) {
        assert!(up.try_wait().unwrap().is_none(), "`up` has ended");
    }
    up
}

/// How one that could not know of what others have done meanwhile has ended.
fn overtaken(mut child: Child, verb: &str) {
    signal(&child, Signal::SIGCONT);
    let status = child.wait().unwrap();
    let mut error = String::new();
    child.stderr.take().unwrap().read_to_string(&mut error).unwrap();
    assert!(!status.success() && error.contains(&format!("`{verb}` was overtaken")), "{status}: {error}");
}

fn state(project: &Project, service: &str) -> serde_json::Value {
    project.field(service, "State")
}

#[test]
fn a_down_after_a_supervisors_death_is_not_undone() {
    for (name, args) in [("turns-down", &["up"][..]), ("turns-down-d", &["up", "-d"])] {
        let project = Project::new(name, NEVER);
        let up = begun(&project, args);
        signal(&up, Signal::SIGSTOP);
        project.kill_processes("compose-supervisor");
        project.ok(&["down", "-t", "0"]);
        project.assert_nothing_left();
        overtaken(up, "up");
        project.assert_nothing_left();
    }
}

#[test]
fn a_stop_after_a_supervisors_death_is_not_undone() {
    let project = Project::new("turns-stop", NEVER);
    let up = begun(&project, &["up", "-d"]);
    signal(&up, Signal::SIGSTOP);
    project.kill_processes("compose-supervisor");
    project.ok(&["stop", "-t", "0"]);
    // Nor by one that has not been told by the same supervisor.
    project.kill_processes("compose-supervisor");
    overtaken(up, "up");
    assert_eq!(state(&project, "never"), "exited");
    project.down();
}

#[test]
fn an_up_that_nothing_has_overtaken_goes_on_after_a_supervisors_death() {
    let project = Project::new("turns-on", GATED);
    std::fs::create_dir(project.folder.join("shared")).unwrap();
    let mut up = project.command(&["up", "-d"]).stderr(Stdio::null()).spawn().unwrap();
    while !project.containers().iter().any(|container| container["State"] == "running") {
        assert!(up.try_wait().unwrap().is_none(), "`up` has ended");
    }
    for program in ["compose-keeper", "compose-supervisor"] {
        project.kill_processes(program);
    }
    std::fs::write(project.folder.join("shared/go"), "").unwrap();
    assert!(up.wait().unwrap().success());
    assert_eq!(state(&project, "after"), "running");
    project.down();
}

#[test]
fn a_pause_is_not_repeated_over_an_unpause() {
    let project = Project::new("turns-pause", NEVER);
    project.ok(&["up", "-d", "other"]);
    let mut up = begun(&project, &["up", "-d"]);
    let pause = project.command(&["pause", "other"]).stderr(Stdio::piped()).spawn().unwrap();
    let (pause, waits) = first_line(pause);
    assert!(waits.contains("waiting for \"up\""), "{waits}");
    signal(&pause, Signal::SIGSTOP);
    // Both wait for a supervisor that is dead.
    signal(&up, Signal::SIGSTOP);
    project.kill_processes("compose-supervisor");
    up.kill().unwrap();
    up.wait().unwrap();
    project.ok(&["pause", "other"]);
    project.ok(&["unpause", "other"]);
    overtaken(pause, "pause");
    assert_eq!(state(&project, "other"), "running");
    project.down();
}

/// The first line of what it says on standard error.
pub fn first_line(mut child: Child) -> (Child, String) {
    // Byte by byte: what follows is for others.
    let mut stderr = BufReader::with_capacity(1, child.stderr.take().unwrap());
    let mut line = String::new();
    stderr.read_line(&mut line).unwrap();
    child.stderr = Some(stderr.into_inner());
    (child, line)
}

#[test]
fn whoever_waits_for_its_turn_says_for_whom_and_a_dry_run_waits_for_nobody() {
    let project = Project::new("turns-wait", NEVER);
    let mut up = begun(&project, &["up", "-d"]);
    let waiting = project.command(&["up", "-d", "other"]).stderr(Stdio::piped()).spawn().unwrap();
    let (mut waiting, line) = first_line(waiting);
    let said = format!(" waiting for \"up\" (pid {}, begun ", up.id());
    assert!(line.starts_with(&said) && line.ends_with(" to end\n"), "{line}");
    for args in [
        &["up", "--dry-run", "--force-recreate", "other"][..],
        &["down", "--dry-run"],
        &["stop", "--dry-run"],
        &["restart", "--dry-run", "never"],
        &["rm", "--stop", "--dry-run", "never"],
        &["run", "--dry-run", "other"],
    ] {
        let plan = project.ok(args);
        assert!(plan.contains("  1. "), "{args:?}: {plan}");
    }
    assert!(up.try_wait().unwrap().is_none() && waiting.try_wait().unwrap().is_none());
    up.kill().unwrap();
    up.wait().unwrap();
    assert!(waiting.wait().unwrap().success());
    project.down();
}

#[test]
fn an_up_of_a_stack_that_was_taken_down_is_not_done_to_the_next_one() {
    let project = Project::new("turns-next", NEVER);
    let first = begun(&project, &["up", "-d"]);
    signal(&first, Signal::SIGSTOP);
    project.kill_processes("compose-supervisor");
    project.ok(&["down", "-t", "0"]);
    project.ok(&["up", "-d", "other"]);
    let pid = project.field("other", "Pid");
    overtaken(first, "up");
    assert_eq!(project.field("other", "Pid"), pid);
    assert_eq!(project.containers().len(), 1);
    project.down();
}

#[test]
fn what_is_abandoned_while_it_waits_for_its_turn_is_not_done() {
    let project = Project::new("turns-abandoned", NEVER);
    project.ok(&["up", "-d", "other"]);
    let pid = project.field("other", "Pid");
    let mut up = begun(&project, &["up", "-d"]);
    for args in [&["restart", "-t", "0", "other"][..], &["pause", "other"]] {
        let (mut waiting, line) = first_line(project.command(args).stderr(Stdio::piped()).spawn().unwrap());
        assert!(line.contains("waiting for \"up\""), "{line}");
        waiting.kill().unwrap();
        waiting.wait().unwrap();
    }
    // Answered after the supervisor has seen them go.
    assert_eq!(project.field("other", "Pid"), pid);
    up.kill().unwrap();
    up.wait().unwrap();
    // Has its turn after theirs.
    project.ok(&["up", "-d", "other"]);
    assert_eq!((project.field("other", "Pid"), state(&project, "other")), (pid, "running".into()));
    project.down();
}

#[test]
fn what_others_do_to_other_services_is_no_reason_to_give_a_command_up() {
    let project = Project::new("turns-others", GATED);
    std::fs::create_dir(project.folder.join("shared")).unwrap();
    project.ok(&["create", "other"]);
    let mut up = project.command(&["up", "-d", "after"]).stderr(Stdio::null()).spawn().unwrap();
    while project.containers().iter().all(|it| it["State"] != "running") {
        assert!(up.try_wait().unwrap().is_none(), "`up` has ended");
    }
    let remove = project.command(&["rm", "-f", "other"]).stderr(Stdio::piped()).spawn().unwrap();
    let (mut remove, waits) = first_line(remove);
    assert!(waits.contains("waiting for \"up\""), "{waits}");
    signal(&up, Signal::SIGSTOP);
    std::fs::write(project.folder.join("shared/go"), "").unwrap();
    project.kill_processes("compose-supervisor");
    assert!(remove.wait().unwrap().success());
    signal(&up, Signal::SIGCONT);
    assert!(up.wait().unwrap().success());
    assert_eq!(state(&project, "after"), "running");
    project.down();
}

#[test]
fn an_interrupted_up_that_has_only_waited_stops_nothing() {
    let project = Project::new("turns-interrupted", NEVER);
    project.ok(&["up", "-d", "other"]);
    let pid = project.field("other", "Pid");
    let mut first = begun(&project, &["up", "-d"]);
    let mut second = project.command(&["up"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(second.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("waiting for \"up\"")));
    signal(&second, Signal::SIGINT);
    assert_eq!(second.wait().unwrap().code(), Some(130));
    assert_eq!(lines.find(|line| line.contains("topping")), None);
    assert!(first.try_wait().unwrap().is_none());
    assert_eq!((project.field("other", "Pid"), state(&project, "never")), (pid, "running".into()));
    first.kill().unwrap();
    first.wait().unwrap();
    project.down();
}
