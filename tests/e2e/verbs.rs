//! The verbs that work on what exists: create, start, stop, restart, rm.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use crate::stack::{Project, text};

const CHAIN: &str = r#"
x-node: &node
  x-rootfs: @busybox@
  command: ["sh", "-c", "trap 'echo down $$HOSTNAME >> /order/file; exit 0' TERM; echo up $$HOSTNAME >> /order/file; touch /dev/shm/up; while true; do sleep 0.02; done"]
  volumes: ["./order:/order"]
  # Made anew for each start.
  healthcheck: { test: ["CMD", "test", "-e", "/dev/shm/up"], interval: 100ms, retries: 100 }
services:
  base: { <<: *node, hostname: base }
  middle: { <<: *node, hostname: middle, depends_on: { base: { condition: service_healthy, restart: true } } }
  top: { <<: *node, hostname: top, depends_on: { middle: { condition: service_healthy } } }
"#;

/// What has happened since the last look, in order.
fn order(project: &Project) -> Vec<String> {
    let file = project.folder.join("order/file");
    let lines = fs::read_to_string(&file).unwrap().lines().map(str::to_owned).collect();
    fs::write(&file, "").unwrap();
    lines
}

fn states(project: &Project) -> Vec<String> {
    let state = |container: &serde_json::Value| {
        format!("{} {}", container["Service"].as_str().unwrap(), container["State"].as_str().unwrap())
    };
    project.containers().iter().map(state).collect()
}

#[test]
fn what_is_created_is_started_in_the_order_of_the_graph_and_restarted_as_it_asks() {
    let project = Project::new("chain", CHAIN);
    project.ok(&["create"]);
    assert_eq!(states(&project), ["base created", "middle created", "top created"]);
    project.ok(&["start", "--wait", "--wait-timeout", "60"]);
    assert_eq!(order(&project), ["up base", "up middle", "up top"]);
    assert_eq!(states(&project), ["base running", "middle running", "top running"]);
    let pid = project.field("base", "Pid");
    project.ok(&["start"]);
    assert_eq!(project.field("base", "Pid"), pid, "what runs is not started");
    // Who asks for it follows, who does not stays.
    project.ok(&["restart", "base"]);
    project.ok(&["start", "--wait"]);
    assert_eq!(order(&project), ["down middle", "down base", "up base", "up middle"]);
    project.ok(&["restart", "--no-deps", "-t", "5", "base"]);
    project.ok(&["start", "--wait"]);
    assert_eq!(order(&project), ["down base", "up base"]);
    project.ok(&["restart"]);
    project.ok(&["start", "--wait"]);
    assert_eq!(order(&project), ["down top", "down middle", "down base", "up base", "up middle", "up top"]);
    // None of these verbs needs the file.
    fs::remove_file(project.folder.join("compose.yaml")).unwrap();
    project.ok(&["stop", "middle"]);
    assert_eq!(order(&project), ["down middle"]);
    assert_eq!(states(&project), ["base running", "middle exited", "top running"]);
    project.ok(&["stop"]);
    assert_eq!(order(&project), ["down top", "down base"]);
    project.ok(&["start", "--wait", "middle"]);
    assert_eq!(order(&project), ["up base", "up middle"], "a service brings what it depends on");
    project.ok(&["restart", "top"]);
    project.ok(&["start", "--wait"]);
    assert_eq!(order(&project), ["up top"], "what does not run is started");
    project.ok(&["rm", "-fs"]);
    assert_eq!(states(&project), [] as [&str; 0]);
    project.down();
}

#[test]
fn only_what_has_stopped_is_removed_and_only_after_a_yes() {
    let file = "services:\n  one: { x-rootfs: @busybox@, command: sleep 1000 }\n  \
                two: { x-rootfs: @busybox@, command: sleep 1000 }\n";
    let project = Project::new("rm", file);
    let output = project.run(&["rm", "-f"]);
    assert!(output.status.success() && text(&output.stderr).contains("No stopped containers"), "{output:?}");
    project.ok(&["up", "-d"]);
    assert_eq!(project.ok(&["rm", "-f"]), "");
    project.ok(&["stop", "one"]);
    let asked = format!("Going to remove {}-one-1", project.name);
    let answer = |answer: &[u8]| {
        let mut child =
            project.command(&["rm"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(answer).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success() && text(&output.stdout).contains(&asked), "{output:?}");
        states(&project)
    };
    for no in [b"" as &[u8], b"n\n", b"what\n"] {
        assert_eq!(answer(no), ["one exited", "two running"]);
    }
    assert_eq!(answer(b"y\n"), ["two running"]);
    // What is gone is made again, the other is left as it is.
    let pid = project.field("two", "Pid");
    project.ok(&["up", "-d"]);
    assert_eq!(states(&project), ["one running", "two running"]);
    assert_eq!(project.field("two", "Pid"), pid);
    assert_eq!(project.ok(&["rm", "-f", "-s", "-v", "one"]), asked.clone() + "\n");
    assert_eq!(states(&project), ["two running"]);
    project.down();
}

#[test]
fn what_does_not_exist_is_named() {
    let file = "services:\n  one: { x-rootfs: @busybox@, command: sleep 1000 }\n  \
                two: { x-rootfs: @busybox@, command: sleep 1000, depends_on: [one] }\n";
    let project = Project::new("absent-verbs", file);
    for (arguments, why) in [
        (vec!["start"], "has no container to start"),
        (vec!["start", "one"], "service \"one\" has no container to start"),
        (vec!["start", "nobody"], "no such service: nobody"),
        (vec!["stop", "nobody"], "no such service: nobody; the file has "),
        (vec!["restart", "nobody"], "no such service: nobody"),
        (vec!["rm", "-f", "nobody"], "no such service: nobody"),
    ] {
        let (code, message) = project.fails(&arguments);
        assert!(code == 1 && message.contains(why), "{arguments:?}: {code} {message}");
    }
    // As in Docker Compose, there is nothing to do for services that have no container.
    for arguments in [["stop"], ["restart"]] {
        project.ok(&arguments);
    }
    project.assert_nothing_left();
    project.ok(&["create", "two"]);
    project.ok(&["rm", "-f", "one"]);
    let (code, message) = project.fails(&["start", "two"]);
    assert!(code == 1 && message.contains("two depends on one, which has no container"), "{message}");
    project.ok(&["stop", "one"]);
    project.ok(&["down", "one"]);
    project.down();
}

#[test]
fn without_names_a_verb_means_the_services_of_active_profiles() {
    let file = "services: {one: {x-rootfs: @busybox@, command: sleep 1000}, \
                two: {x-rootfs: @busybox@, command: sleep 1000, profiles: [more]}}";
    let project = Project::new("verb-profiles", file);
    project.ok(&["--profile", "more", "up", "-d"]);
    let state = |service: &str| project.field(service, "State");
    let pid = project.field("two", "Pid");
    project.ok(&["pause"]);
    assert_eq!((state("one"), state("two")), ("paused".into(), "running".into()));
    project.ok(&["unpause"]);
    project.ok(&["restart", "-t", "0"]);
    project.ok(&["stop", "-t", "0"]);
    assert_eq!((state("one"), project.field("two", "Pid")), ("exited".into(), pid));
    project.ok(&["--profile", "more", "stop", "-t", "0"]);
    project.ok(&["rm", "-f"]);
    assert_eq!((project.containers().len(), state("two")), (1, "exited".into()));
    project.down();
}

#[test]
fn a_restart_that_is_interrupted_starts_nothing_twice() {
    let file = r#"
services:
  job:
    x-rootfs: @busybox@
    command: ["sh", "-c", "echo run >> /out/order; test -e /out/go && exit 0; echo up; exec sleep 1000"]
    volumes: ["./out:/out"]
  slow:
    x-rootfs: @busybox@
    command: sleep 1000
    healthcheck: { test: ["CMD", "test", "!", "-e", "/out/go"], interval: 1h, start_period: 1h }
    volumes: ["./out:/out"]
  last: { x-rootfs: @busybox@, command: sleep 1000, depends_on: { job: { condition: service_started }, slow: { condition: service_healthy } } }
"#;
    let project = Project::new("restart-cut", file);
    std::fs::create_dir_all(project.folder.join("out")).unwrap();
    project.ok(&["up", "-d"]);
    project.follow_until("job", "up");
    let job = project.field("job", "Pid").as_i64().unwrap();
    let job = crate::stack::pidfd(i32::try_from(job).unwrap());
    std::fs::write(project.folder.join("out/go"), "").unwrap();
    let mut restart =
        project.command(&["restart", "-t", "0"]).stderr(std::process::Stdio::null()).spawn().unwrap();
    crate::stack::ended(&job);
    // It has run again and has ended; what depends on `slow` is still waited for.
    let is_there = || {
        let state = |service: &str| project.field(service, "State");
        std::fs::read_to_string(project.folder.join("out/order")).unwrap().lines().count() == 2
            && state("job") == "exited"
            && state("slow") == "running"
    };
    while !is_there() {
        std::thread::yield_now();
    }
    project.ok(&["stop", "-t", "0", "slow"]);
    assert!(!restart.wait().unwrap().success());
    let order = std::fs::read_to_string(project.folder.join("out/order")).unwrap();
    assert_eq!(order, "run\nrun\n");
    assert_eq!(project.field("last", "State"), "running", "what it has stopped is started again");
    project.down();
}

#[test]
fn a_start_that_fails_says_as_much_as_up() {
    let file = r#"
services:
  db:
    x-rootfs: @busybox@
    command: ["sh", "-c", "test -e /out/bad && { echo no such table; exit 3; }; exec sleep 1000"]
    # Not before it is known to stay.
    healthcheck: { test: ["CMD", "test", "!", "-e", "/out/bad"] }
    volumes: ["./out:/out"]
  app: { x-rootfs: @busybox@, command: sleep 1000, depends_on: { db: { condition: service_healthy } } }
"#;
    let project = Project::new("start-bad", file);
    std::fs::create_dir_all(project.folder.join("out")).unwrap();
    project.ok(&["up", "-d"]);
    std::fs::write(project.folder.join("out/bad"), "").unwrap();
    for verb in ["start", "restart"] {
        project.ok(&["stop", "-t", "0"]);
        let (code, message) = project.fails(&[verb]);
        assert_eq!(code, 1);
        let headline = format!("dependency failed to start: container {}-db-1 exited (3)", project.name);
        assert!(message.contains(&headline), "{message}");
        assert!(message.contains("  app → db: db exited (3)"), "{message}");
        assert!(message.contains("the end of its log:\n    no such table"), "{message}");
    }
    project.down();
}
