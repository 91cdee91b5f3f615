//! `up` without -d: logs, Ctrl-C once, Ctrl-C twice.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::stack::Project;

struct Attached {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
    errors: PathBuf,
}

impl Attached {
    fn new(project: &Project, args: &[&str]) -> Self {
        let errors = project.folder.join("stderr");
        let stderr = File::create(&errors).unwrap();
        let mut child = project.command(args).stdout(Stdio::piped()).stderr(stderr).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines, errors }
    }

    fn until(&mut self, wanted: &str) {
        let found = self.lines.by_ref().map(Result::unwrap).any(|line| line == wanted);
        let errors = fs::read_to_string(&self.errors).unwrap();
        assert!(found, "{wanted} was not printed: {errors}");
    }

    fn interrupt(&self) {
        kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGINT).unwrap();
    }

    fn end(mut self) -> (Option<i32>, Vec<String>) {
        let rest = self.lines.by_ref().map(Result::unwrap).collect();
        (self.child.wait().unwrap().code(), rest)
    }
}

const SLOW: &str = r#"
services:
  one:
    x-rootfs: @busybox@
    stop_grace_period: 100s
    command: ["sh", "-c", "trap 'echo asked; @answer@' TERM; echo ready; while true; do sleep 0.02; done"]
"#;

#[test]
fn once_is_graceful() {
    let project = Project::new("interrupted", &SLOW.replace("@answer@", "exit 0"));
    let mut up = Attached::new(&project, &["up"]);
    up.until("one-1  | ready");
    up.interrupt();
    let (code, rest) = up.end();
    assert_eq!(code, Some(130));
    assert!(rest.iter().any(|line| line == "one-1  | asked"), "{rest:?}");
    assert_eq!(project.field("one", "State"), "exited");
    project.down();
}

#[test]
fn twice_kills() {
    let project = Project::new("twice", &SLOW.replace("@answer@", "true"));
    let mut up = Attached::new(&project, &["up"]);
    up.until("one-1  | ready");
    up.interrupt();
    up.until("one-1  | asked");
    up.interrupt();
    assert_eq!(up.end().0, Some(130));
    assert_eq!(project.field("one", "ExitCode"), 137);
    project.down();
}

#[test]
fn it_ends_with_its_containers() {
    let file = r#"
services:
  one: { x-rootfs: @busybox@, command: ["sh", "-c", "echo out; echo err >&2; exit 3"] }
"#;
    let project = Project::new("attached-ends", file);
    let up = Attached::new(&project, &["up"]);
    let (code, lines) = up.end();
    assert_eq!(code, Some(0));
    for line in ["one-1  | out", "one-1  | err", "one-1 exited with code 3"] {
        assert!(lines.iter().any(|known| known == line), "{line}: {lines:?}");
    }
    project.down();
}

/// `first` ends once those hear a signal that `flag/go` names.
const THREE: &str = r#"
x-flag: &flag { x-rootfs: @busybox@, volumes: ["./flag:/flag"] }
services:
  first: { <<: *flag, command: ["sh", "-c", "echo first; until test -e /flag/go && ls $$(cat /flag/go) > /dev/null 2>&1; do sleep 0.05; done; exit 3"], depends_on: [dep] }
  second: { <<: *flag, command: ["sh", "-c", "trap 'exit 5' TERM; echo second; touch /flag/second; while true; do sleep 0.05; done"] }
  dep: { <<: *flag, command: ["sh", "-c", "trap 'exit 6' TERM; echo dep; touch /flag/dep; while true; do sleep 0.05; done"] }
"#;

/// Lets `first` end by its next start on, once these are there that are started with it.
fn ends_after(project: &Project, others: &[&str]) {
    let flag = project.folder.join("flag");
    let _ = fs::remove_dir_all(&flag);
    fs::create_dir(&flag).unwrap();
    let others: Vec<String> = others.iter().map(|name| format!("/flag/{name}")).collect();
    fs::write(flag.join("go"), format!("/flag/go {}", others.join(" "))).unwrap();
}

#[test]
fn the_status_is_that_of_docker_compose() {
    let project = Project::new("codes", THREE);
    for (flags, code) in [
        (&["--abort-on-container-exit"][..], 3),
        (&["--abort-on-container-failure"], 3),
        (&["--exit-code-from", "second"], 5),
        (&["--exit-code-from", "dep", "--abort-on-container-failure"], 6),
        // One that was never brought up: that of whoever has ended.
        (&["--exit-code-from", "second", "first"], 3),
        (&["--menu=false", "--abort-on-container-exit"], 3),
    ] {
        // What is stopped before it has said what it does about that ends otherwise.
        ends_after(&project, if flags.contains(&"first") { &["dep"] } else { &["dep", "second"] });
        let (status, lines) = Attached::new(&project, &[&["up"], flags].concat()).end();
        assert_eq!(status, Some(code), "{flags:?}: {lines:?}");
    }
    for (flags, words) in [
        (&["-d", "--exit-code-from", "first"][..], "--detach cannot be combined with --exit-code-from"),
        (&["--wait", "--attach", "first"], "--wait cannot be combined with --attach"),
        (&["-d", "--attach-dependencies"], "--detach cannot be combined with --attach-dependencies"),
        (&["--attach", "first", "--attach-dependencies"], "--attach cannot be combined"),
        (&["--abort-on-container-exit", "--abort-on-container-failure"], "cannot be combined"),
        (&["--exit-code-from", "none"], "no such service: none"),
        (&["--attach", "none"], "cannot attach to services not included in up: none"),
    ] {
        let (status, error) = project.fails(&[&["up"], flags].concat());
        assert!(status == 1 && error.contains(words), "{flags:?}: {status} {error}");
    }
    project.down();
}

#[test]
fn it_shows_what_it_is_told_to() {
    let project = Project::new("attached-to", THREE);
    let shown = |flags: &[&str]| {
        ends_after(&project, &["dep"]);
        let args = [&["up", "--no-log-prefix", "--abort-on-container-exit"], flags].concat();
        let (_, lines) = Attached::new(&project, &args).end();
        ["first", "second", "dep"].map(|name| lines.iter().any(|line| line == name))
    };
    assert_eq!(shown(&["first"]), [true, false, false]);
    assert_eq!(shown(&["--attach-dependencies", "first"]), [true, false, true]);
    assert_eq!(shown(&["--attach", "dep", "first"]), [false, false, true]);
    assert_eq!(shown(&["--attach-dependencies", "--no-attach", "dep", "first"]), [true, false, false]);
    project.down();
}

#[test]
fn a_container_of_run_is_not_its_concern() {
    let project = Project::new("attached-run", THREE);
    fs::create_dir(project.folder.join("flag")).unwrap();
    project.ok(&["run", "-d", "--no-deps", "first", "sleep", "1000"]);
    let mut up = Attached::new(&project, &["up", "--attach", "first", "first"]);
    up.until("first-1  | first");
    project.ok(&["run", "--rm", "-T", "--no-deps", "first", "true"]);
    // Nor is one that runs on when the supervisor dies.
    project.kill_processes("compose-supervisor");
    fs::write(project.folder.join("flag/go"), "").unwrap();
    up.until("first-1 exited with code 3");
    assert_eq!(up.end().0, Some(0));
    let running = project.containers().iter().filter(|container| container["State"] == "running").count();
    assert_eq!(running, 2, "the one-off runs on, and the dependency");
    project.down();
}

#[test]
fn it_is_about_what_is_named_or_shown() {
    let file = r#"
services:
  one: { x-rootfs: @busybox@, command: ["sh", "-c", "echo begun; until test -e /flag/go; do sleep 0.05; done"], volumes: ["./flag:/flag"], depends_on: [dep] }
  dep: { x-rootfs: @busybox@, command: ["sleep", "1000"], stop_grace_period: 0s }
  other: { x-rootfs: @busybox@, command: ["sleep", "1000"], stop_grace_period: 0s }
  brief: { x-rootfs: @busybox@, command: ["true"], attach: false }
"#;
    let project = Project::new("about", file);
    fs::create_dir(project.folder.join("flag")).unwrap();
    fs::write(project.folder.join("flag/go"), "").unwrap();
    project.ok(&["up", "-d", "other"]);
    for flags in [
        &["one"][..],
        &["--attach-dependencies", "one"],
        &["--attach", "dep", "one"],
        &["--no-attach", "dep", "--no-attach", "other"],
    ] {
        let (code, lines) = Attached::new(&project, &[&["up"], flags].concat()).end();
        assert_eq!(code, Some(0), "{flags:?}: {lines:?}");
        let state = |service: &str| project.field(service, "State");
        assert!(state("other") == "running" && state("dep") == "running", "{flags:?}");
    }
    // Nor is the end of what is neither the end of all.
    fs::remove_file(project.folder.join("flag/go")).unwrap();
    let mut up = Attached::new(&project, &["up", "--abort-on-container-exit", "one"]);
    up.until("one-1  | begun");
    project.ok(&["kill", "dep"]);
    assert_eq!(project.run(&["wait", "dep"]).status.code(), Some(137));
    fs::write(project.folder.join("flag/go"), "").unwrap();
    let (code, lines) = up.end();
    assert_eq!(code, Some(0), "{lines:?}");
    project.down();
}
