//! `attach`: streams and signals between here and a service's program.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::stack::{Project, text};
use crate::terminal::Typist;

const FILE: &str = r#"
services:
  pipe:
    x-rootfs: @busybox@
    stdin_open: true
    command: ["sh", "-c", "trap 'echo asked; exit 4' USR1; echo early; while read word; do echo got $$word; test $$word != end || exit 3; done"]
  screen:
    x-rootfs: @busybox@
    stdin_open: true
    tty: true
    command: ["sh", "-c", "trap 'stty size' WINCH; echo ready; while true; do read word || continue; echo got $$word; test $$word != end || exit 3; done"]
  deaf: { x-rootfs: @busybox@, command: ["sh", "-c", "trap 'echo bye; exit 5' TERM; echo up; while true; do sleep 0.05; done"] }
"#;

#[test]
fn input_output_and_the_end_come_through_a_pipe() {
    let project = Project::new("attach-pipe", FILE);
    project.ok(&["up", "-d"]);
    project.follow_until("pipe", "early");
    let start = || {
        let mut command = project.command(&["attach", "pipe"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let mut one = start();
    one.stdin.as_mut().unwrap().write_all(b"first\n").unwrap();
    let mut lines = BufReader::new(one.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "got first", "what was said before is not shown");
    // A second one, over the death of a supervisor.
    let mut two = start();
    two.stdin.as_mut().unwrap().write_all(b"second\n").unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "got second");
    project.kill_processes("compose-supervisor");
    two.stdin.as_mut().unwrap().write_all(b"end\n").unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "got end");
    assert_eq!(one.wait().unwrap().code(), Some(3));
    let output = two.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    assert!(text(&output.stdout).ends_with("got end\n"), "{}", text(&output.stdout));
    project.down();
}

#[test]
fn several_share_a_terminal_and_leave_it_by_their_keys() {
    let project = Project::new("attach-tty", FILE);
    project.ok(&["up", "-d"]);
    project.follow_until("screen", "ready");
    let mut one = Typist::new(&project, &["attach", "screen"], (30, 90));
    one.types("hello\r");
    one.until("got hello");
    let mut two = Typist::new(&project, &["attach", "--detach-keys", "ctrl-a,b", "screen"], (25, 70));
    two.types("there\r");
    two.until("got there");
    one.until("got there");
    two.resize((26, 71));
    two.types("x\r");
    two.until("26 71");
    // The usual keys are not its own.
    two.types("\u{1}b");
    two.until("left ");
    assert_eq!(two.end(), Some(0));
    assert_eq!(project.field("screen", "State"), "running");
    one.types("end\r");
    one.until("got end");
    assert_eq!(one.end(), Some(3));
    project.down();
}

#[test]
fn signals_are_passed_on_unless_told_otherwise() {
    let project = Project::new("attach-signals", FILE);
    project.ok(&["up", "-d"]);
    project.follow_until("deaf", "up");
    let start = |args: &[&str]| {
        let mut command = project.command(args);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let signal = |child: &std::process::Child, signal| {
        // Only once it is attached: its signals are blocked then.
        crate::attach::blocks(child.id(), signal);
        kill(Pid::from_raw(child.id().cast_signed()), signal).unwrap();
    };
    let child = start(&["attach", "--sig-proxy=false", "deaf"]);
    signal(&child, Signal::SIGTERM);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(143), "{}", text(&output.stderr));
    assert_eq!(project.field("deaf", "State"), "running");
    let child = start(&["attach", "deaf"]);
    signal(&child, Signal::SIGTERM);
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(5), "bye\n".to_owned()));
    project.down();
}

/// Returns when a process blocks a signal.
fn blocks(pid: u32, signal: Signal) {
    let mask = || -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("SigBlk:"))?;
        u64::from_str_radix(line.trim(), 16).ok()
    };
    while mask().is_some_and(|mask| mask & (1 << (signal as i32 - 1)) == 0) {
        std::thread::yield_now();
    }
}

#[test]
fn mistakes_are_named() {
    let project = Project::new("attach-wrong", FILE);
    let (code, error) = project.fails(&["attach", "pipe"]);
    assert!(code == 1 && error.contains("\"pipe\" is not running: `compose up -d pipe`"), "{error}");
    project.ok(&["up", "-d"]);
    for (args, words) in [
        (&["attach", "none"][..], "\"none\" is not running: no such service; the file has "),
        (&["exec", "-T", "pip", "true"], ": did you mean `pipe`?"),
        (&["attach", "--index", "7", "pipe"], "has no container 7: it has one container, with index 1"),
        (&["exec", "-T", "--index", "7", "pipe", "true"], "has no container 7: it has one container"),
        (&["attach", "--detach-keys", "ctrl-1", "pipe"], "\"ctrl-1\" is no key"),
        (&["attach", "screen"], "--no-stdin"),
    ] {
        let (code, error) = project.fails(args);
        assert!(code == 1 && error.contains(words), "{args:?}: {error}");
    }
    project.down();
}
