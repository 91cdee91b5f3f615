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
    let project = Project::new("once", &SLOW.replace("@answer@", "exit 0"));
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
    let project = Project::new("ends", file);
    let up = Attached::new(&project, &["up"]);
    let (code, lines) = up.end();
    assert_eq!(code, Some(0));
    for line in ["one-1  | out", "one-1  | err", "one-1 exited with code 3"] {
        assert!(lines.iter().any(|known| known == line), "{line}: {lines:?}");
    }
    project.down();
}
