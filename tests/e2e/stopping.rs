//! Stopping: order, signals, grace, and programs that do not listen.

use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::stack::Project;

#[test]
fn down_goes_against_the_dependencies() {
    let file = r#"
x-node: &node
  x-rootfs: @busybox@
  command: ["sh", "-c", "trap 'echo $$HOSTNAME >> /order/file; exit 0' TERM; echo ready; while true; do sleep 0.02; done"]
  volumes: ["./order:/order"]
services:
  base: { <<: *node, hostname: base }
  middle: { <<: *node, hostname: middle, depends_on: [base] }
  top: { <<: *node, hostname: top, depends_on: [middle] }
"#;
    let project = Project::new("order", file);
    project.ok(&["up", "-d"]);
    ["base", "middle", "top"].iter().for_each(|service| project.follow_until(service, "ready"));
    project.ok(&["down"]);
    let order = std::fs::read_to_string(project.folder.join("order/file")).unwrap();
    assert_eq!(order, "top\nmiddle\nbase\n");
    project.assert_nothing_left();
}

#[test]
fn the_stop_signal_and_the_grace_period_are_the_files() {
    let file = r#"
services:
  polite:
    x-rootfs: @busybox@
    stop_signal: SIGUSR1
    command: ["sh", "-c", "trap 'echo usr1; exit 9' USR1; echo ready; while true; do sleep 0.02; done"]
  stubborn:
    x-rootfs: @busybox@
    stop_grace_period: 300ms
    command: ["sh", "-c", "trap '' TERM; echo ready; while true; do sleep 0.02; done"]
"#;
    let project = Project::new("signals", file);
    let mut up = project.command(&["up"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while project.run(&["logs", "polite", "stubborn"]).stdout.iter().filter(|byte| **byte == b'\n').count()
        < 2
    {
        std::thread::yield_now();
    }

    kill(Pid::from_raw(up.id().cast_signed()), Signal::SIGINT).unwrap();
    assert_eq!(up.wait().unwrap().code(), Some(130));
    assert_eq!(project.field("polite", "ExitCode"), 9);
    assert_eq!(project.field("stubborn", "ExitCode"), 137);
    project.down();
}

#[test]
fn a_program_that_cannot_hear_is_not_waited_for() {
    let file = "services: {deaf: {x-rootfs: @busybox@, command: sleep 1000}}";
    let project = Project::new("deaf", file);
    project.ok(&["up", "-d"]);
    let began = Instant::now();
    project.ok(&["down"]);
    // Docker waits 10 s. This is a bound on what must not happen, not a measurement.
    assert!(began.elapsed() < Duration::from_secs(9), "{:?}", began.elapsed());
    project.assert_nothing_left();
}
