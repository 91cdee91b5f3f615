//! `pause`, `unpause`, `kill` and `wait`: what they do, and the status they end with.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;

use nix::sys::signal::{self, Signal};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};

use crate::stack::Project;
use crate::terminal::Typist;

const FILE: &str = r#"
services:
  clock:
    x-rootfs: @busybox@
    command: ["sh", "-c", "trap 'exit 3' TERM; i=1000000; while :; do i=$$((i + 1)); echo $$i; (true); done"]
    healthcheck: { test: ["CMD", "true"], interval: 10ms, timeout: 20s, retries: 1 }
    logging: { options: { max-size: 100k, max-file: "2" } }
  job: { x-rootfs: @busybox@, command: ["sh", "-c", "until test -e /end; do sleep 0.05; done; exit 4"] }
"#;

#[test]
fn a_paused_container_stands_still_and_goes_on() {
    let project = Project::new("pause", FILE);
    project.ok(&["up", "-d", "--wait", "clock"]);
    project.ok(&["pause", "clock"]);
    assert_eq!(project.field("clock", "State"), "paused");
    let status = project.field("clock", "Status");
    assert!(
        status.as_str().unwrap().starts_with("Up ") && status.as_str().unwrap().ends_with("(Paused)"),
        "{status}"
    );
    // All that it has written has been taken from the pipe when a second look finds no more.
    let last = || project.ok(&["logs", "--no-log-prefix", "--tail", "1", "clock"]);
    let first = (0..100).map(|_| last()).find(|seen| *seen == last()).expect("it stands still");
    let (code, message) = project.fails(&["exec", "-T", "clock", "true"]);
    assert!(
        code == 1 && message.contains("is paused") && message.contains("unpause clock"),
        "{code} {message}"
    );
    let (code, message) = project.fails(&["pause", "clock"]);
    assert!(code == 1 && message.contains("is already paused"), "{code} {message}");
    // The kernel remembers it for the next supervisor.
    project.kill_processes("compose-supervisor");
    assert_eq!(project.field("clock", "State"), "paused");
    assert_eq!(last(), first);
    assert_eq!(project.field("clock", "Health"), "healthy", "a probe that is held counts");
    project.ok(&["unpause", "clock"]);
    let (code, message) = project.fails(&["unpause", "clock"]);
    assert!(code == 1 && message.contains("is not paused"), "{code} {message}");
    assert_eq!(project.field("clock", "State"), "running");
    project.ok(&["exec", "-T", "clock", "true"]);
    let mut follower = project
        .command(&["logs", "-f", "--no-log-prefix", "--tail", "0", "clock"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    let next = lines.next().unwrap().unwrap();
    assert!(next.as_str() > first.trim_end(), "it does not go on: {next} after {first}");
    follower.kill().unwrap();
    follower.wait().unwrap();
    // What is held can be stopped in its own way, and be killed.
    project.ok(&["pause"]);
    project.ok(&["kill", "-s", "TERM", "clock"]);
    assert_eq!(project.run(&["wait", "clock"]).status.code(), Some(3));
    project.down();
}

#[test]
fn whoever_waits_for_a_program_that_is_held_may_leave_it() {
    let file = "services: {one: {x-rootfs: @busybox@, command: sleep 1000, volumes: ['./go:/go']}}";
    let project = Project::new("pause-exec", file);
    fs::create_dir(project.folder.join("go")).unwrap();
    let fifo = project.folder.join("go/fifo");
    mkfifo(&fifo, Mode::S_IRWXU).unwrap();
    project.ok(&["up", "-d"]);
    let program = ["one", "sh", "-c", "exec 3>/go/fifo; echo ready; exec sleep 1000"];
    let mut typist = Typist::new(&project, &[&["exec"], &program[..]].concat(), (24, 80));
    let mut exec = project.command(&[&["exec", "-T"], &program[..]].concat());
    // The program has pipes of ours itself; what is a file is copied to.
    let notes = project.folder.join("notes");
    let mut exec = exec.stdout(Stdio::piped()).stderr(fs::File::create(&notes).unwrap()).spawn().unwrap();
    let mut held_open = fs::File::open(&fifo).unwrap();
    typist.until("ready");
    assert_eq!(BufReader::new(exec.stdout.take().unwrap()).lines().next().unwrap().unwrap(), "ready");
    project.ok(&["pause", "one"]);
    signal::kill(Pid::from_raw(exec.id().cast_signed()), Signal::SIGINT).unwrap();
    assert_eq!(exec.wait().unwrap().code(), Some(130));
    let notes = fs::read_to_string(notes).unwrap();
    assert!(notes.contains("its container is paused"), "{notes}");
    typist.types("\x03");
    assert_eq!(typist.end(), Some(130));
    // What they have left hears of it when it can.
    project.ok(&["unpause", "one"]);
    held_open.read_to_end(&mut Vec::new()).unwrap();
    assert_eq!(project.field("one", "State"), "running");
    project.down();
}

#[test]
fn a_paused_stack_goes_down() {
    let project = Project::new("pause-down", FILE);
    project.ok(&["up", "-d"]);
    project.ok(&["pause"]);
    project.kill_processes("compose-supervisor");
    project.down();
}

#[test]
fn waiting_tells_how_containers_end() {
    let project = Project::new("wait", FILE);
    let (code, message) = project.fails(&["wait", "job"]);
    assert!(code == 1 && message.contains("nothing to wait for"), "{code} {message}");
    project.ok(&["up", "-d"]);
    let mut waiting = project.command(&["wait", "job"]).stdout(Stdio::piped()).spawn().unwrap();
    project.ok(&["exec", "-T", "job", "touch", "/end"]);
    let mut said = String::new();
    std::io::Read::read_to_string(&mut waiting.stdout.take().unwrap(), &mut said).unwrap();
    assert_eq!(waiting.wait().unwrap().code(), Some(4));
    assert!(said.starts_with("container \"") && said.ends_with("\" exited with status code 4\n"), "{said}");
    assert_eq!(said.len(), "container \"\" exited with status code 4\n".len() + 64);
    // Whoever comes late is told the same.
    let late = project.run(&["wait", "job"]);
    assert_eq!((late.status.code(), crate::stack::text(&late.stdout)), (Some(4), said));
    // A killed supervisor is no end.
    let mut waiting =
        project.command(&["wait", "--down-project", "clock"]).stdout(Stdio::piped()).spawn().unwrap();
    project.kill_processes("compose-supervisor");
    project.ok(&["kill", "clock"]);
    assert_eq!(waiting.wait().unwrap().code(), Some(137));
    project.assert_nothing_left();
    let (code, message) = project.fails(&["wait", "nobody"]);
    assert!(code == 1 && message.contains("no such service: nobody"), "{code} {message}");
}

#[test]
fn a_container_of_run_is_waited_for_as_well() {
    let project = Project::new("wait-run", FILE);
    project.ok(&["up", "-d"]);
    project.ok(&["exec", "-T", "job", "touch", "/end"]);
    project.ends("job");
    for (code, dies) in [(6, false), (7, true)] {
        let script = format!("while ! test -e /end; do sleep 0.05; done; exit {code}");
        project.ok(&["run", "-d", "job", "sh", "-c", &script]);
        let mut waiting = project.command(&["wait", "job"]).stdout(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(waiting.stdout.take().unwrap()).lines().map(Result::unwrap);
        // Told at once, so the one that runs has been seen.
        assert!(said.next().unwrap().ends_with("exited with status code 4"));
        if dies {
            project.kill_processes("compose-supervisor");
        }
        project.ok(&["exec", "-T", "job", "touch", "/end"]);
        assert!(said.last().unwrap().ends_with(&format!("exited with status code {code}")));
        assert_eq!(waiting.wait().unwrap().code(), Some(code));
    }
    project.down();
}

#[test]
fn signals_are_sent_by_name_and_number() {
    let file = r#"
services:
  one: { x-rootfs: @busybox@, command: ["sh", "-c", "trap 'echo usr1' USR1; trap 'exit 5' INT; echo ready; while :; do sleep 0.05; done"] }
  two: { x-rootfs: @busybox@, command: ["sleep", "1000"] }
"#;
    let project = Project::new("kill", file);
    project.ok(&["up", "-d"]);
    project.follow_until("one", "ready");
    project.ok(&["kill", "-s", "usr1", "one"]);
    project.follow_until("one", "usr1");
    project.ok(&["kill", "--signal", "2", "one"]);
    assert_eq!(project.run(&["wait", "one"]).status.code(), Some(5));
    for signal in ["FOO", "0", "65"] {
        let (code, message) = project.fails(&["kill", "-s", signal, "two"]);
        assert!(
            code != 0 && message.contains("there is no such signal") && message.contains("HUP, INT"),
            "{message}"
        );
    }
    let output = project.run(&["kill", "one"]);
    assert!(output.status.success() && crate::stack::text(&output.stderr).contains("no container to kill"));
    // One that the file no longer names is an orphan: it is let be, unless it is asked for.
    project.write("compose.yaml", &file.replace("  two:", "  # two:"));
    assert!(crate::stack::text(&project.run(&["kill"]).stderr).contains("no container to kill"));
    assert_eq!(project.field("two", "State"), "running");
    project.ok(&["kill", "--remove-orphans"]);
    assert_eq!(project.run(&["wait", "two"]).status.code(), Some(137));
    let (code, message) = project.fails(&["kill", "nobody"]);
    assert!(code == 1 && message.contains("no such service: nobody"), "{code} {message}");
    project.down();
}

#[test]
fn what_is_paused_is_neither_started_nor_waited_for() {
    let file = format!(
        "{FILE}{}",
        r#"  never: { x-rootfs: @busybox@, command: sleep 1000, healthcheck: { test: ["CMD", "false"], interval: 100s } }
  after: { x-rootfs: @busybox@, command: sleep 1000, depends_on: { never: { condition: service_healthy } } }
"#
    );
    let project = Project::new("pause-up", &file);
    project.ok(&["up", "-d", "clock"]);
    project.ok(&["pause", "clock"]);
    for arguments in [vec!["up", "-d", "--wait", "clock"], vec!["start", "clock"]] {
        let (code, message) = project.fails(&arguments);
        assert!(
            code == 1 && message.contains("clock-1 is paused: `compose unpause clock` it first"),
            "{arguments:?}: {message}"
        );
    }
    // It is let go while another command waits for ever.
    let mut up = project.command(&["up", "-d", "after"]).stderr(Stdio::null()).spawn().unwrap();
    while !project
        .containers()
        .iter()
        .any(|container| container["Service"] == "never" && container["State"] == "running")
    {
        std::thread::yield_now();
    }
    project.ok(&["unpause", "clock"]);
    assert_eq!(project.field("clock", "State"), "running");
    assert!(up.try_wait().unwrap().is_none(), "`up` still waits");
    project.ok(&["down", "-t", "0"]);
    assert!(!up.wait().unwrap().success());
    project.assert_nothing_left();
}
