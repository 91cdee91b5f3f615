//! Why a command failed: the service, who waited for it, its last probe, the end of its log.

use std::time::{Duration, Instant};

use crate::stack::Project;

#[test]
fn a_failed_dependency_is_told_with_its_chain_its_probe_and_its_log() {
    let file = r#"
services:
  web: { x-rootfs: @busybox@, command: sleep 1000, depends_on: [api] }
  api:
    x-rootfs: @busybox@
    command: sleep 1000
    depends_on: { db: { condition: service_healthy }, migrate: { condition: service_completed_successfully } }
  db:
    x-rootfs: @busybox@
    command: ["sh", "-c", "i=0; while [ $$i -lt 30 ]; do i=$$((i+1)); echo line $$i; done; touch /done; exec sleep 1000"]
    healthcheck:
      test: ["CMD-SHELL", "while [ ! -e /done ]; do sleep 0.01; done; printf '\\033[31mno space left\\033[0m'; exit 1"]
      interval: 50ms
      retries: 2
  migrate:
    x-rootfs: @busybox@
    command: ["sh", "-c", "echo no such table; while [ ! -e /out/stop ]; do sleep 0.02; done; exit 3"]
    volumes: ["./out:/out"]
"#;
    let project = Project::new("ends", file);
    let (code, message) = project.fails(&["up", "-d"]);
    assert_eq!(code, 1);
    let name = &project.name;
    assert!(
        message.contains(&format!("error: dependency failed to start: container {name}-db-1 is unhealthy\n"))
    );
    assert!(message.contains("\n  web → api → db: db is unhealthy\n"), "{message}");
    assert!(message.contains("\n  its last probe: no space left\n"), "{message}");
    let lines: Vec<String> = (11..=30).map(|number| format!("    line {number}\n")).collect();
    assert!(message.contains(&format!("  the end of its log:\n{}", lines.concat())), "{message}");
    assert!(!message.contains("line 10\n") && !message.contains('\u{1b}'), "{message}");
    project.write("out/stop", "");
    project.ends("migrate");
    // The first is still unhealthy: both are named now.
    let (_, message) = project.fails(&["up", "-d"]);
    assert!(message.contains(&format!("container {name}-db-1 is unhealthy\n")), "{message}");
    project.down();
}

#[test]
fn all_that_have_failed_are_named() {
    let file = r#"
x-sick: &sick { x-rootfs: @busybox@, healthcheck: { test: ["CMD", "false"], interval: 50ms, retries: 1 } }
services:
  app:
    x-rootfs: @busybox@
    command: sleep 1000
    depends_on: { one: { condition: service_healthy }, two: { condition: service_healthy } }
  one: { <<: *sick, command: ["sh", "-c", "echo first; exec sleep 1000"] }
  two: { <<: *sick, command: ["sh", "-c", "echo second; exec sleep 1000"] }
"#;
    let project = Project::new("ends-all", file);
    project.ok(&["up", "-d", "one", "two"]);
    for (service, said) in [("one", "first"), ("two", "second")] {
        project.follow_until(service, said);
        while project.field(service, "Health") != "unhealthy" {
            std::thread::yield_now();
        }
    }
    let waiting = project.fails(&["up", "-d", "--wait", "one", "two"]);
    let depending = project.fails(&["up", "-d"]);
    for (code, message) in [waiting, depending] {
        assert_eq!(code, 1);
        for (service, said) in [("one", "first"), ("two", "second")] {
            assert!(
                message.contains(&format!("container {}-{service}-1 is unhealthy\n", project.name)),
                "{message}"
            );
            assert!(message.contains("  its last probe: false ended with status 1\n"), "{message}");
            assert!(message.contains(&format!("  the end of its log:\n    {said}\n")), "{message}");
        }
    }
    project.down();
}

#[test]
fn waiting_in_vain_tells_who_is_not_ready() {
    let file = r#"
services:
  app: { x-rootfs: @busybox@, command: sleep 1000, depends_on: { store: { condition: service_healthy } } }
  store: { x-rootfs: @busybox@, command: sleep 1000, x-probe: { tcp: 5432 } }
  done: { x-rootfs: @busybox@, command: "true" }
"#;
    let project = Project::new("ends-late", file);
    let began = Instant::now();
    let (code, message) = project.fails(&["up", "-d", "--wait", "--wait-timeout", "5"]);
    assert_eq!(code, 1);
    // A bound on what must not happen: the gate of `app` would wait for ever.
    assert!(began.elapsed() < Duration::from_secs(25), "{message}");
    assert!(message.contains("not all services were ready within 5 s"), "{message}");
    assert!(message.contains("-store-1 is starting: its health check has not passed"), "{message}");
    assert!(message.contains("connect to 127.0.0.1:5432: Connection refused"), "{message}");
    assert!(message.contains("-app-1 has not been started"), "{message}");
    assert!(!message.contains("done-1 is") && !message.contains("done-1 has not"), "{message}");
    project.down();
}

#[test]
fn one_shots_that_succeed_are_success_and_codes_are_handed_on() {
    let file = |code: u32| {
        format!(
            r#"
services:
  job: {{ x-rootfs: @busybox@, command: ["sh", "-c", "echo worked; exit {code}"], depends_on: {{ prepare: {{ condition: service_completed_successfully }} }} }}
  prepare: {{ x-rootfs: @busybox@, command: "true" }}
  side: {{ x-rootfs: @busybox@, command: sleep 1000 }}
"#
        )
    };
    let project = Project::new("ends-job", &file(0));
    project.ok(&["up", "-d", "--wait", "job"]);
    assert_eq!(project.run(&["up", "--exit-code-from", "job"]).status.code(), Some(0));
    project.write("compose.yaml", &file(5));
    assert_eq!(project.run(&["up", "--exit-code-from", "job"]).status.code(), Some(5));
    let (code, message) = project.fails(&["up", "-d", "--wait", "job"]);
    assert_eq!(code, 1);
    assert!(message.contains("job-1 exited (5)\n  the end of its log:"), "{message}");
    assert!(message.contains("    worked"), "{message}");
    project.down();
}

#[test]
fn programs_that_real_time_signals_end_have_ended() {
    let file = r#"
services:
  bare: {x-rootfs: @busybox@, command: [sh, -c, "kill -37 $$$$"], pid: host}
  init: {x-rootfs: @busybox@, init: true, command: sleep 1000, stop_signal: "37"}
  again: {x-rootfs: @busybox@, init: true, command: [sh, -c, "test -e /once || { touch /once; kill -40 $$$$; }"], restart: on-failure}
"#;
    let project = Project::new("real-time", file);
    project.ok(&["up", "-d"]);
    project.ends("bare");
    assert_eq!(project.field("bare", "ExitCode"), 128 + 37);
    let output = project.run(&["exec", "-T", "init", "sh", "-c", "kill -37 $$"]);
    assert_eq!(output.status.code(), Some(128 + 37));
    project.ok(&["wait", "again"]);
    assert_eq!(project.field("again", "ExitCode"), 0);
    project.ok(&["stop", "-t", "600", "init"]);
    assert_eq!(project.field("init", "ExitCode"), 128 + 37);
    project.down();
}
