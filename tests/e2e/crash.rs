//! The supervisor, the keeper, or both are killed: services run on, nothing is lost.

use std::os::fd::AsFd;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::stack::Project;

const COUNTER: &str = r#"
services:
  counter:
    x-rootfs: @busybox@
    command: ["sh", "-c", "i=0; while true; do i=$$((i+1)); echo line-$$i; usleep 200; done"]
"#;

/// Kills a process that is not our child and waits until it has gone.
fn end(pid: i32) {
    let pidfd = rustix::process::pidfd_open(
        rustix::process::Pid::from_raw(pid).unwrap(),
        rustix::process::PidfdFlags::empty(),
    )
    .unwrap();
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    poll(&mut [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)], PollTimeout::from(10_000_u16)).unwrap();
}

fn survives(name: &str, victims: &[&str]) {
    let project = Project::new(name, COUNTER);
    project.ok(&["up", "-d"]);
    let pid = project.field("counter", "Pid");
    for _ in 0..3 {
        for victim in victims {
            for process in project.processes(victim) {
                end(process);
            }
        }
        assert_eq!(project.field("counter", "Pid"), pid, "the service kept running");
        assert_eq!(project.ok(&["exec", "-T", "counter", "echo", "here"]), "here\n");
    }
    let lines = project.ok(&["logs", "--no-log-prefix", "counter"]);
    let expected: String = (1..=lines.lines().count()).map(|number| format!("line-{number}\n")).collect();
    assert!(lines.lines().count() > 10);
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
        for process in project.processes(program) {
            end(process);
        }
    }
    project.down();
}
