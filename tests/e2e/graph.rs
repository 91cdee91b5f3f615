//! Dependencies, health, ends.

use std::path::Path;

use crate::stack::{Project, groups};

#[test]
fn a_one_shot_is_waited_for_and_its_failure_stops_its_dependents() {
    let file = |code: u32| {
        format!(
            r#"
services:
  prepare: {{ x-rootfs: @busybox@, command: ["sh", "-c", "echo ready > /shared/flag; exit {code}"], volumes: ["shared:/shared"] }}
  app:
    x-rootfs: @busybox@
    command: ["sh", "-c", "cat /shared/flag; exec sleep 1000"]
    volumes: ["shared:/shared"]
    depends_on: {{ prepare: {{ condition: service_completed_successfully }} }}
volumes: {{ shared: }}
"#
        )
    };
    let project = Project::new("oneshot", &file(0));
    project.ok(&["up", "-d"]);
    assert_eq!(project.field("prepare", "ExitCode"), 0);
    assert_eq!(project.ok(&["exec", "-T", "app", "cat", "/shared/flag"]), "ready\n");
    project.down();

    let project = Project::new("oneshot-bad", &file(3));
    let (code, message) = project.fails(&["up", "-d"]);
    assert_eq!(code, 1);
    assert!(message.contains("exit 3"), "{message}");
    assert_eq!(project.field("app", "State"), "created");
    project.down();
}

#[test]
fn what_a_one_shot_stood_on_goes_with_its_end() {
    let file = "services: {once: {x-rootfs: @busybox@, command: 'true'}, other: {x-rootfs: @busybox@, command: sleep 1000}}";
    let project = Project::new("tidy", file);
    project.ok(&["up", "-d"]);
    project.ends("once");
    // Its turn comes after what ended programs leave has been taken away.
    project.ok(&["up", "-d", "--dry-run"]);
    for (service, there) in [("once", false), ("other", true)] {
        let container = format!("{}-{service}-1", project.name);
        let link = composer_network::names::veth(&project.name, &container, "default");
        assert_eq!(Path::new("/sys/class/net").join(link).exists(), there, "the link of {service}");
        assert_eq!(
            !groups(&format!("{}/{container}", project.name)).is_empty(),
            there,
            "the cgroup of {service}"
        );
    }
    project.down();
}

#[test]
fn health_opens_the_way_and_is_shown() {
    let file = r#"
services:
  store:
    x-rootfs: @busybox@
    command: ["sh", "-c", "touch /tmp/up; exec sleep 1000"]
    healthcheck: { test: ["CMD", "test", "-e", "/tmp/up"], interval: 1s }
  app:
    x-rootfs: @busybox@
    command: sleep 1000
    depends_on: { store: { condition: service_healthy } }
"#;
    let project = Project::new("health", file);
    project.ok(&["up", "-d", "--wait"]);
    assert_eq!(project.field("store", "Health"), "healthy");
    assert_eq!(project.field("app", "State"), "running");
    project.down();
}

#[test]
fn waiting_sees_a_service_that_does_not_stay_up() {
    let file = r#"
services:
  steady: { x-rootfs: @busybox@, command: sleep 1000 }
  brief: { x-rootfs: @busybox@, command: ["sh", "-c", "exit 3"] }
"#;
    let project = Project::new("brief", file);
    let (code, message) = project.fails(&["up", "-d", "--wait"]);
    assert!(code == 1 && message.contains("brief-1 exited (3)"), "{code} {message}");
    project.down();
}

#[test]
fn an_unhealthy_dependency_fails_the_command() {
    let file = r#"
services:
  store:
    x-rootfs: @busybox@
    command: sleep 1000
    healthcheck: { test: ["CMD", "false"], interval: 100ms, retries: 2 }
  app: { x-rootfs: @busybox@, command: sleep 1000, depends_on: { store: { condition: service_healthy } } }
"#;
    let project = Project::new("unhealthy", file);
    let (code, message) = project.fails(&["up", "-d"]);
    assert_eq!(code, 1);
    assert!(message.contains("unhealthy"), "{message}");
    project.down();
}

#[test]
fn a_service_that_is_named_is_there_without_its_profile() {
    let file = r#"
services:
  web: {x-rootfs: @busybox@, command: sleep 1000}
  debug: {x-rootfs: @busybox@, command: sleep 1000, profiles: [debug]}
"#;
    let project = Project::new("profiled", file);
    project.ok(&["up", "-d"]);
    assert_eq!(project.containers().len(), 1);
    assert_eq!(project.ok(&["ps", "-q", "debug"]), "");
    project.ok(&["up", "-d", "debug"]);
    assert_eq!(project.containers().len(), 2);
    project.down();
}
