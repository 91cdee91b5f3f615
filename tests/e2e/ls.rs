//! `ls`: the stacks of the host, without a file and without a supervisor.

use std::path::Path;
use std::process::Command;

use crate::stack::{Project, text};

const FILE: &str = r#"
services:
  web: { x-rootfs: @busybox@, command: ["sleep", "1000"], scale: 2 }
  job: { x-rootfs: @busybox@, command: ["sh", "-c", "exit 4"] }
"#;

/// `compose ls ARGS…` in a folder without a file.
fn ls(project: &Project, args: &[&str]) -> (i32, String) {
    let filter = format!("name=^{}$", project.name);
    let mut command = Command::new(env!("CARGO_BIN_EXE_compose"));
    command.current_dir("/").args(["ls", "--filter", &filter]).args(args);
    let output = command.output().unwrap();
    (output.status.code().unwrap(), text(&output.stdout) + &text(&output.stderr))
}

#[test]
fn stacks_are_listed_as_docker_compose_does() {
    let project = Project::new("ls", FILE);
    assert_eq!(ls(&project, &["--format", "json"]), (0, "[]\n".to_owned()));
    project.ok(&["up", "-d"]);
    project.ends("job");
    let file = project.folder.join("compose.yaml");
    let object = |status: &str| {
        format!(r#"[{{"Name":"{}","Status":"{status}","ConfigFiles":"{}"}}]"#, project.name, file.display())
            + "\n"
    };
    assert_eq!(ls(&project, &["--format", "json"]), (0, object("running(2)")));
    assert_eq!(ls(&project, &["-a", "--format", "json"]), (0, object("exited(1), running(2)")));
    assert_eq!(ls(&project, &["-q"]), (0, format!("{}\n", project.name)));
    let table = ls(&project, &["--all"]).1;
    let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["NAME", "STATUS", "CONFIG", "FILES"]);
    assert_eq!(lines[1], [project.name.as_str(), "exited(1),", "running(2)", &file.display().to_string()]);
    project.ok(&["pause", "web"]);
    assert_eq!(ls(&project, &["--format", "json"]), (0, object("paused(2)")));
    project.ok(&["unpause"]);
    let (code, message) = ls(&project, &["--format", "yaml"]);
    assert!(code != 0 && message.contains("table, json"), "{message}");
    let (code, message) = ls(&project, &["--filter", "label=a"]);
    assert!(code != 0 && message.contains("name=PART"), "{message}");
    project.down();
}

#[test]
fn the_truth_is_told_though_nobody_keeps_the_records() {
    let project = Project::new("ls-crash", FILE);
    project.ok(&["up", "-d", "web"]);
    project.kill_both();
    let pid = project.processes("sleep").len();
    assert_eq!(pid, 0, "the name of a stack is not among a service's arguments");
    let status = |args: &[&str]| ls(&project, &[&["--format", "json"], args].concat()).1;
    assert!(status(&[]).contains(r#""Status":"running(2)""#), "{}", status(&[]));
    for program in ["compose-keeper", "compose-supervisor"] {
        assert_eq!(project.processes(program), [] as [i32; 0], "ls has started {program}");
    }
    // One ends while nobody is there to record it.
    let record = format!("/run/compose/stacks/{0}/containers/{0}-web-1/started.json", project.name);
    let record = std::fs::read_to_string(Path::new(&record)).unwrap();
    let record: serde_json::Value = serde_json::from_str(&record).unwrap();
    let pid = i32::try_from(record["process"]["pid"].as_i64().unwrap()).unwrap();
    let pidfd = crate::stack::pidfd(pid);
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
    crate::stack::ended(&pidfd);
    assert!(status(&["-a"]).contains(r#""Status":"exited(1), running(1)""#), "{}", status(&["-a"]));
    project.down();
}
