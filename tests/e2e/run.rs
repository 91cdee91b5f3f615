//! `run`: a one-off container beside a service's replicas.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::stack::{Project, ended, pidfd, text};
use crate::terminal::Typist;

const FILE: &str = r#"
services:
  store:
    x-rootfs: @busybox@
    command: ["sh", "-c", "echo open > /data/state; exec sleep 1000"]
    volumes: ["shared:/data"]
    healthcheck: { test: ["CMD", "test", "-e", "/data/state"], interval: 1s }
  tool:
    x-rootfs: @busybox@
    profiles: [tools]
    command: ["cat", "/data/state"]
    environment: { A: file, B: file }
    volumes: ["shared:/data"]
    depends_on: { store: { condition: service_healthy } }
volumes: { shared: {} }
"#;

fn oneoffs(project: &Project) -> Vec<serde_json::Value> {
    let mut all = project.containers();
    all.retain(|container| container["Labels"].as_str().unwrap().contains("oneoff=True"));
    all
}

#[test]
fn what_the_service_depends_on_is_there_and_stays() {
    let project = Project::new("run-deps", FILE);
    let output = project.run(&["run", "--rm", "tool"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "open\n");
    assert_eq!(oneoffs(&project), [] as [serde_json::Value; 0]);
    assert_eq!(project.field("store", "Health"), "healthy");
    // Without --rm it stays, with its log, and is none of the replicas.
    let output = project.run(&["run", "tool", "sh", "-c", "echo out; echo err >&2; exit 7"]);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(7), "out\n".to_owned()));
    assert!(text(&output.stderr).contains("err\n"), "{}", text(&output.stderr));
    let left = oneoffs(&project);
    assert_eq!(left.len(), 1);
    let name = left[0]["Name"].as_str().unwrap();
    let hex = name.strip_prefix(&format!("{}-tool-run-", project.name)).unwrap();
    assert!(hex.len() == 12 && hex.chars().all(|c| c.is_ascii_hexdigit()), "{name}");
    assert_eq!((&left[0]["State"], &left[0]["ExitCode"]), (&"exited".into(), &7.into()));
    let logged = project.ok(&["logs", "--no-log-prefix", "tool"]);
    assert!(logged.contains("out\n") && logged.contains("err\n"), "{logged}");
    project.down();
}

#[test]
fn an_up_leaves_it_alone_and_a_down_takes_it() {
    let project = Project::new("run-beside", FILE);
    let name = format!("worker-of-{}", std::process::id());
    let id = project.ok(&["run", "-d", "--name", &name, "tool", "sleep", "1000"]);
    assert_eq!(id.trim().len(), 64);
    let pid = oneoffs(&project)[0]["Pid"].clone();
    assert_eq!(project.ok(&["ps", "-q"]).lines().count(), 1, "running one-offs are shown with -a only");
    project.ok(&["--profile", "tools", "up", "-d", "--wait", "store"]);
    project.ok(&["--profile", "tools", "up", "-d"]);
    let beside = oneoffs(&project);
    assert_eq!((&beside[0]["Pid"], &beside[0]["Name"]), (&pid, &name.as_str().into()));
    assert_eq!(project.containers().len(), 3);
    let (code, error) = project.fails(&["run", "--name", &name, "tool"]);
    assert!(code == 1 && error.contains("in use already") && error.contains("--name"), "{error}");
    project.down();
}

#[test]
fn a_replica_does_not_take_its_name_from_it() {
    let project = Project::new("run-named", FILE);
    let name = format!("{}-store-2", project.name);
    project.ok(&["up", "-d", "--wait", "store"]);
    project.ok(&["run", "-d", "--name", &name, "store", "sh", "-c", "exec sleep 1000"]);
    let before = oneoffs(&project);
    let (code, error) = project.fails(&["up", "-d", "--scale", "store=2", "store"]);
    assert!(code == 1 && error.contains(&format!("{name:?} is already in use by a container of")), "{error}");
    let after = oneoffs(&project);
    assert_eq!((&after[0]["ID"], &after[0]["Pid"]), (&before[0]["ID"], &before[0]["Pid"]));
    // The way out that it names.
    project.ok(&["down", "-t", "0", "store"]);
    project.ok(&["up", "-d", "--scale", "store=2", "store"]);
    assert_eq!(oneoffs(&project), [] as [serde_json::Value; 0]);
    project.down();
}

#[test]
fn flags_change_the_program() {
    let project = Project::new("run-flags", FILE);
    project.write("more.env", "B=env-file\nC=env-file\n");
    fs::create_dir(project.folder.join("here")).unwrap();
    fs::write(project.folder.join("here/word"), "bound\n").unwrap();
    let script =
        "echo $A $B $C $D; id -un; pwd; cat /here/word; touch /here/x 2>/dev/null || echo ro; hostname";
    let args = [
        "run",
        "--rm",
        "--no-deps",
        "-T",
        "-e",
        "A=flag",
        "-e",
        "D",
        "--env-from-file",
        "more.env",
        "-u",
        "bob",
        "-w",
        "/tmp",
        "-v",
        "./here:/here:ro",
        "-l",
        "mine=1",
        "--entrypoint",
        "sh -c",
        "tool",
        script,
    ];
    let output = project.command(&args).env("D", "caller").output().unwrap();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(out.starts_with("flag env-file env-file caller\nbob\n/tmp\nbound\nro\n"), "{out}\n{err}");
    assert_eq!(project.containers(), [] as [serde_json::Value; 0], "--no-deps starts nothing else");
    project.down();
}

#[test]
fn names_of_the_service_are_its_only_when_asked_for() {
    let project = Project::new("run-names", FILE);
    let look = "nslookup tool 127.0.0.11 >/dev/null 2>&1 && echo known || echo unknown";
    let run = |more: &[&str]| {
        let args = [&["run", "--rm", "-T", "--no-deps"], more, &["tool", "sh", "-c", look]].concat();
        project.ok(&args)
    };
    assert_eq!(run(&[]), "unknown\n");
    assert_eq!(run(&["--use-aliases"]), "known\n");
    project.down();
}

#[test]
fn input_comes_through_and_no_byte_is_lost() {
    let project = Project::new("run-pipe", FILE);
    let mut child = project
        .command(&["run", "--rm", "-T", "--no-deps", "tool", "cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let sent: Vec<u8> = (0..3_000_000_u32).flat_map(|number| number.to_le_bytes()).collect();
    let copy = sent.clone();
    let writer = std::thread::spawn(move || stdin.write_all(&copy).unwrap());
    let mut got = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut got).unwrap();
    writer.join().unwrap();
    assert!(child.wait().unwrap().success());
    assert!(got == sent, "{} of {} bytes came back", got.len(), sent.len());
    // Many that end at once.
    for _ in 0..5 {
        let output = project.run(&["run", "--rm", "-T", "--no-deps", "tool", "sh", "-c", "echo last words"]);
        assert_eq!(text(&output.stdout), "last words\n");
    }
    project.down();
}

#[test]
fn two_run_at_once() {
    let project = Project::new("run-two", FILE);
    let start = |word: &str| {
        let script = format!("echo {word}; sleep 0.2; hostname >/dev/null; echo {word}");
        project
            .command(&["run", "--rm", "-T", "tool", "sh", "-c", &script])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let (one, two) = (start("one"), start("two"));
    for (child, word) in [(one, "one"), (two, "two")] {
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), format!("{word}\n{word}\n")));
    }
    project.down();
}

#[test]
fn ends_have_dockers_codes() {
    let project = Project::new("run-codes", FILE);
    let code = |args: &[&str]| {
        let args = [&["run", "--rm", "-T", "--no-deps", "tool"], args].concat();
        let output = project.run(&args);
        (output.status.code().unwrap(), text(&output.stderr))
    };
    let (status, error) = code(&["no-such-program"]);
    assert!(status == 127 && error.contains("no-such-program"), "{status} {error}");
    let (status, error) = code(&["/etc/passwd"]);
    assert!(status == 126 && error.contains("/etc/passwd"), "{status} {error}");
    assert_eq!(code(&["sh", "-c", "sh -c 'kill -9 $$'; exit $?"]).0, 137);
    assert_eq!(project.containers(), [] as [serde_json::Value; 0]);
    let (status, error) = project.fails(&["run", "tol"]);
    assert!(status == 1 && error.contains("no such service: tol; the file has store"), "{error}");
    for (flags, word) in [
        (&["-p", "80:x"][..], "--publish 80:x"),
        (&["--cap-add", "NET_ADMN"], "`--cap-add`: `NET_ADMN` is not a capability"),
        (&["-v", "none:/x"], "no volume \"none\""),
        (&["-l", "x"], "--label x=VALUE"),
        (&["-t"], "standard input is none"),
        (&["--env-from-file", "none.env"], "none.env"),
    ] {
        let (_, error) = project.fails(&[&["run"], flags, &["tool"]].concat());
        assert!(error.contains(word), "{flags:?}: {error}");
    }
    project.down();
}

#[test]
fn a_signal_goes_to_the_program_and_a_killed_caller_takes_it_along() {
    let project = Project::new("run-signals", FILE);
    let start = |script: &str| {
        let args = ["run", "--rm", "-T", "--no-deps", "tool", "sh", "-c", script];
        let mut child = project.command(&args).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert_eq!(lines.next().unwrap().unwrap(), "ready");
        (child, lines)
    };
    let waits = "echo ready; while true; do sleep 0.05; done";
    let (mut child, mut lines) = start(&format!("trap 'echo asked; exit 9' INT; {waits}"));
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "asked");
    assert_eq!(child.wait().unwrap().code(), Some(9));
    let (mut child, _lines) = start(waits);
    let program = pidfd(oneoffs(&project)[0]["Pid"].as_i64().unwrap().try_into().unwrap());
    child.kill().unwrap();
    child.wait().unwrap();
    ended(&program);
    while !project.containers().is_empty() {
        std::thread::yield_now();
    }
    project.down();
}

#[test]
fn a_signal_does_not_end_whoever_copies_a_terminal() {
    let project = Project::new("run-copied", FILE);
    let script = "trap 'echo asked; exit 9' INT; echo ready; while true; do sleep 0.05; done";
    let args = ["run", "--rm", "-T", "--no-deps", "tool", "sh", "-c", script];
    let mut typist = Typist::new(&project, &args, (24, 80));
    typist.until("ready");
    kill(Pid::from_raw(typist.child.id().cast_signed()), Signal::SIGINT).unwrap();
    typist.until("asked");
    assert_eq!(typist.end(), Some(9));
    project.down();
}

#[test]
fn a_caller_that_is_killed_while_no_supervisor_is_there_takes_it_along() {
    let project = Project::new("run-orphan", FILE);
    let script = "echo ready; while true; do sleep 0.05; done";
    let args = ["run", "--rm", "-T", "--no-deps", "tool", "sh", "-c", script];
    let mut child = project.command(&args).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "ready");
    let program = pidfd(oneoffs(&project)[0]["Pid"].as_i64().unwrap().try_into().unwrap());
    // So that it does not connect to the next supervisor.
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGSTOP).unwrap();
    project.kill_processes("compose-supervisor");
    child.kill().unwrap();
    child.wait().unwrap();
    ended(&program);
    project.down();
}

#[test]
fn a_supervisor_that_dies_is_not_noticed() {
    let project = Project::new("run-crash", FILE);
    let script = "echo ready; read line; echo got $line; exit 5";
    let mut child = project
        .command(&["run", "--rm", "-T", "--no-deps", "tool", "sh", "-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "ready");
    project.kill_processes("compose-supervisor");
    assert_eq!(oneoffs(&project).len(), 1);
    child.stdin.take().unwrap().write_all(b"words\n").unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "got words");
    assert_eq!(child.wait().unwrap().code(), Some(5));
    assert_eq!(oneoffs(&project), [] as [serde_json::Value; 0]);
    project.down();
}

#[test]
fn a_terminal_has_the_callers_size_and_follows_it() {
    let project = Project::new("run-tty", FILE);
    let script = "stty size; trap 'stty size' WINCH; stty -echo; printf 'secret: '; read word; stty echo; echo; \
                  echo got $word; while read more; do echo again; done; exit 6";
    let mut typist =
        Typist::new(&project, &["run", "--rm", "--no-deps", "tool", "sh", "-c", script], (33, 101));
    typist.until("33 101");
    typist.until("secret: ");
    typist.types("hush\r");
    typist.until("got hush");
    assert_eq!(typist.seen.matches("hush").count(), 1, "what was typed is shown: {}", typist.seen);
    typist.resize((20, 60));
    typist.types("x\r");
    typist.until("20 60");
    typist.types("\u{4}");
    assert_eq!(typist.end(), Some(6));
    project.down();
}

#[test]
fn a_program_that_prints_without_end_can_be_interrupted_and_left() {
    let project = Project::new("run-flood", FILE);
    let args = ["run", "--rm", "--no-deps", "tool", "sh", "-c", "yes; exit 7"];
    let mut typist = Typist::new(&project, &args, (24, 80));
    typist.until("y\r\ny\r\n");
    typist.types("\u{3}");
    assert!(matches!(typist.end_of_flood(), Some(7 | 130)));
    let mut typist = Typist::new(&project, &args, (24, 80));
    typist.until("y\r\ny\r\n");
    typist.types("\u{10}\u{11}");
    assert_eq!(typist.end_of_flood(), Some(0));
    assert_eq!(oneoffs(&project)[0]["State"], "running");
    project.down();
}

#[test]
fn ctrl_c_is_the_programs_and_detach_keys_leave_it() {
    let project = Project::new("run-keys", FILE);
    let script = "trap 'echo interrupted' INT; echo ready; while true; do read word && echo got $word; done";
    let mut typist =
        Typist::new(&project, &["run", "--rm", "--no-deps", "tool", "sh", "-c", script], (24, 80));
    typist.until("ready");
    typist.types("\u{3}");
    typist.until("interrupted");
    typist.types("\u{10}\u{11}");
    typist.until("left ");
    assert_eq!(typist.end(), Some(0));
    assert_eq!(oneoffs(&project)[0]["State"], "running");
    project.down();
}

#[test]
fn neither_its_end_nor_its_waiting_depends_on_other_commands() {
    let file = r#"
services:
  never: { x-rootfs: @busybox@, command: sleep 1000, healthcheck: { test: ["CMD", "false"], interval: 100s } }
  after: { x-rootfs: @busybox@, command: sleep 1000, depends_on: { never: { condition: service_healthy } } }
  tool: { x-rootfs: @busybox@, command: sleep 1000 }
"#;
    let project = Project::new("run-turns", file);
    let mut child = project
        .command(&["run", "--rm", "-T", "tool", "sh", "-c", "echo ready; read line; exit 5"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "ready");
    let runs = |service: &str| {
        let is_so = |container: &serde_json::Value| {
            container["Service"] == service && container["State"] == "running"
        };
        project.containers().iter().any(is_so)
    };
    // It waits for ever, and others have their turn.
    let mut waiting =
        project.command(&["run", "--rm", "-T", "after", "true"]).stderr(Stdio::null()).spawn().unwrap();
    while !runs("never") {
        std::thread::yield_now();
    }
    project.ok(&["up", "-d", "tool"]);
    assert!(waiting.try_wait().unwrap().is_none(), "`run` still waits");
    waiting.kill().unwrap();
    waiting.wait().unwrap();
    // `up` has the turn and waits; the end of the first is told nevertheless.
    let up = project.command(&["up", "-d", "after"]).stderr(Stdio::piped()).spawn().unwrap();
    // Not one that comes after the `down` below.
    let (mut up, _) = crate::turns::first_line(up);
    child.stdin.take().unwrap().write_all(b"words\n").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(5));
    assert_eq!(oneoffs(&project), [] as [serde_json::Value; 0]);
    assert!(up.try_wait().unwrap().is_none(), "`up` still waits");
    project.ok(&["down", "-t", "0"]);
    assert!(!up.wait().unwrap().success());
    project.assert_nothing_left();
}

#[test]
fn an_end_before_its_caller_has_come_back_is_kept_for_it() {
    let project = Project::new("run-return", FILE);
    let mut child = project
        .command(&["run", "--rm", "-T", "--no-deps", "tool", "sh", "-c", "echo ready; read line; exit 5"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "ready");
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGSTOP).unwrap();
    project.kill_processes("compose-supervisor");
    let pid = oneoffs(&project)[0]["Pid"].as_i64().unwrap();
    let program = pidfd(pid.try_into().unwrap());
    child.stdin.take().unwrap().write_all(b"words\n").unwrap();
    ended(&program);
    while oneoffs(&project)[0]["State"] == "running" {
        std::thread::yield_now();
    }
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGCONT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(5));
    assert_eq!(oneoffs(&project), [] as [serde_json::Value; 0]);
    project.down();
}

/// While nobody of ours has the pipe open, whoever waits for the program has.
#[test]
fn output_of_a_program_that_ends_while_nobody_is_there_is_kept() {
    let project = Project::new("run-alone", FILE);
    fs::create_dir(project.folder.join("shared")).unwrap();
    let go = project.folder.join("shared/go");
    nix::unistd::mkfifo(&go, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let script =
        "echo ready; read line < /shared/go; yes 0123456789abcde | head -n 3000; echo oh >&2; exit 5";
    let args = ["run", "--rm", "-T", "--no-deps", "-v", "./shared:/shared", "tool", "sh", "-c", script];
    let mut child = project.command(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "ready");
    let program = pidfd(oneoffs(&project)[0]["Pid"].as_i64().unwrap().try_into().unwrap());
    // So that it starts nobody anew, and the supervisor no keeper.
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGSTOP).unwrap();
    kill(Pid::from_raw(project.processes("compose-supervisor")[0]), Signal::SIGSTOP).unwrap();
    project.kill_processes("compose-keeper");
    project.kill_processes("compose-supervisor");
    fs::write(&go, "go\n").unwrap();
    ended(&program);
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGCONT).unwrap();
    assert_eq!(lines.map(Result::unwrap).filter(|line| line == "0123456789abcde").count(), 3000);
    let output = child.wait_with_output().unwrap();
    assert!(text(&output.stderr).contains("oh\n"), "{}", text(&output.stderr));
    // Whoever has reaped it knows its code.
    assert!(!output.status.success());
    project.down();
}
