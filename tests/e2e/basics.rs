//! Up, ps, logs, exec, down.

use crate::stack::Project;

const PAIR: &str = r#"
services:
  one:
    x-rootfs: @busybox@
    command: ["sh", "-c", "echo out-of-one; echo err-of-one >&2; exec sleep 1000"]
    environment: { COLOUR: green }
    mem_limit: 64m
  two:
    x-rootfs: @busybox@
    command: sleep 1000
    hostname: second
"#;

#[test]
fn a_stack_goes_up_and_leaves_nothing() {
    let project = Project::new("basics", PAIR);
    project.ok(&["up", "-d"]);
    assert_eq!(project.field("one", "State"), "running");
    assert_eq!(project.ok(&["ps", "--services"]), "one\ntwo\n");
    assert_eq!(project.ok(&["exec", "-T", "two", "hostname"]), "second\n");
    assert_eq!(
        project.ok(&["exec", "-T", "-e", "EXTRA=1", "one", "sh", "-c", "echo $COLOUR $EXTRA"]),
        "green 1\n"
    );
    project.follow_until("one", "err-of-one");
    let mut logs: Vec<String> =
        project.ok(&["logs", "--no-log-prefix", "one"]).lines().map(str::to_owned).collect();
    logs.sort();
    assert_eq!(logs, ["err-of-one", "out-of-one"]);
    project.down();
}

#[test]
fn up_again_changes_nothing_and_a_changed_service_is_recreated() {
    let project = Project::new("again", PAIR);
    project.ok(&["up", "-d"]);
    let pids = |project: &Project| (project.field("one", "Pid"), project.field("two", "Pid"));
    let first = pids(&project);
    project.ok(&["up", "-d"]);
    assert_eq!(pids(&project), first);
    project.write("compose.yaml", &PAIR.replace("second", "other"));
    project.ok(&["up", "-d"]);
    let second = pids(&project);
    assert_eq!(second.0, first.0);
    assert_ne!(second.1, first.1);
    assert_eq!(project.ok(&["exec", "-T", "two", "hostname"]), "other\n");
    project.down();
}

#[test]
fn exec_passes_input_and_exit_code_on() {
    use std::io::Write;
    let project = Project::new("exec", PAIR);
    project.ok(&["up", "-d"]);
    assert_eq!(project.fails(&["exec", "-T", "one", "sh", "-c", "exit 7"]).0, 7);
    assert_eq!(project.fails(&["exec", "-T", "one", "no-such-program"]).0, 127);
    let mut child = project
        .command(&["exec", "-T", "one", "wc", "-c"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&[b'x'; 100_000]).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), "100000");
    project.down();
}

#[test]
fn a_dry_run_prints_the_plan_and_makes_nothing() {
    let project = Project::new("dry", PAIR);
    let plan = project.ok(&["up", "-d", "--dry-run"]);
    assert!(plan.contains(&format!("start {}-one-1", project.name)), "{plan}");
    project.assert_nothing_left();
}

#[test]
fn volumes_outlive_containers_and_go_with_down_v() {
    let file = r#"
services:
  store:
    x-rootfs: @busybox@
    command: ["sh", "-c", "date +%N >> /data/runs; wc -l < /data/runs; exec sleep 1000"]
    volumes: ["data:/data"]
volumes: { data: {} }
"#;
    let project = Project::new("volumes", file);
    for run in ["1", "2"] {
        project.ok(&["down", "-t", "0"]);
        project.ok(&["up", "-d"]);
        project.follow_until("store", run);
    }
    assert_eq!(project.ok(&["exec", "-T", "store", "wc", "-l", "/data/runs"]), "2 /data/runs\n");
    project.down();
}
