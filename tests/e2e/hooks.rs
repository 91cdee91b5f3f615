//! Hooks: `pre_start` in containers of their own, `post_start` and `pre_stop` inside.

use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::stack::Project;

/// Starts everything in a session, and stops it by an interrupt once its log has been read this far.
fn up_until(project: &Project, line: &str, times: usize) {
    let mut up = project.command(&["up"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let logs = || crate::stack::text(&project.run(&["logs", "app"]).stdout);
    while logs().matches(line).count() < times {
        std::thread::yield_now();
    }
    kill(Pid::from_raw(up.id().cast_signed()), Signal::SIGINT).unwrap();
    assert_eq!(up.wait().unwrap().code(), Some(130));
}

fn order(project: &Project) -> String {
    std::fs::read_to_string(project.folder.join("out/order")).unwrap_or_default()
}

#[test]
fn hooks_run_in_order_with_their_settings_and_before_every_stop() {
    let file = r#"
services:
  app:
    x-rootfs: @busybox@
    command: ["sh", "-c", "trap 'echo term >> /out/order; exit 0' TERM; while true; do sleep 0.02; done"]
    user: bob
    environment: { KEPT: kept, OURS: theirs }
    volumes: ["./out:/out"]
    post_start:
      - command: ["sh", "-c", "echo $$KEPT $$OURS $$(id -u) $$(pwd); echo one >> /out/order"]
        user: root
        working_dir: /tmp
        environment: { OURS: ours }
      - command: ["sh", "-c", "id -u >&2; printf unfinished"]
    pre_stop:
      - command: ["sh", "-c", "echo before >> /out/order"]
        user: root
  brief:
    x-rootfs: @busybox@
    command: "true"
    volumes: ["./out:/out"]
    pre_stop: [{ command: ["sh", "-c", "echo never >> /out/order"] }]
"#;
    let project = Project::new("hooks", file);
    std::fs::create_dir_all(project.folder.join("out")).unwrap();
    std::fs::write(project.folder.join("out/order"), "").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o666);
    std::fs::set_permissions(project.folder.join("out/order"), mode).unwrap();
    // A program that ends by itself has no `pre_stop`.
    up_until(&project, "unfinished", 1);
    let log = project.ok(&["logs", "--no-log-prefix", "app"]);
    assert_eq!(
        log, "post_start -> kept ours 0 /tmp\npost_start -> 1000\npost_start -> unfinished\n",
        "what hooks print is in the log"
    );
    assert_eq!(order(&project), "one\nbefore\nterm\n");
    project.ok(&["up", "-d"]);
    project.ok(&["down"]);
    assert_eq!(order(&project), "one\nbefore\nterm\none\nbefore\nterm\n");
    project.assert_nothing_left();
}

#[test]
fn a_post_start_that_fails_fails_the_command_and_leaves_what_runs() {
    let file = r#"
services:
  app:
    x-rootfs: @busybox@
    command: sleep 1000
    post_start:
      - command: ["sh", "-c", "echo no such table; exit 7"]
      - command: ["touch", "/never"]
  lost:
    x-rootfs: @busybox@
    command: sleep 1000
    post_start: [{ command: ["/no/such/program"] }]
"#;
    let project = Project::new("hooks-bad", file);
    let (code, message) = project.fails(&["up", "-d", "app"]);
    assert_eq!(code, 1);
    let headline = format!("post_start hook `sh` of {}-app-1 exited with status 7", project.name);
    assert!(message.contains(&headline), "{message}");
    assert!(message.contains("the end of its log:\n    post_start -> no such table"), "{message}");
    assert_eq!(project.field("app", "State"), "running");
    project.fails(&["exec", "-T", "app", "test", "-e", "/never"]);
    // It is not forgotten: the next command runs it again, in the same container.
    let (pid, hooks) =
        (project.field("app", "Pid"), || project.ok(&["logs", "app"]).matches("no such").count());
    assert_eq!(hooks(), 1);
    for (times, arguments) in [(2, vec!["up", "-d", "app"]), (3, vec!["start", "app"])] {
        let (code, message) = project.fails(&arguments);
        assert!(code == 1 && message.contains(&headline), "{message}");
        assert_eq!((hooks(), project.field("app", "Pid")), (times, pid.clone()));
    }
    let (_, message) = project.fails(&["up", "-d", "lost"]);
    assert!(
        message.contains("post_start hook `/no/such/program` of") && message.contains("no such"),
        "{message}"
    );
    project.down();
}

#[test]
fn hooks_that_hang_keep_nobody() {
    let file = r#"
services:
  app:
    x-rootfs: @busybox@
    command: sleep 1000
    stop_grace_period: 200ms
    post_start: [{ command: ["sh", "-c", "echo begun; exec sleep 1000"] }]
    pre_stop: [{ command: ["sleep", "1000"] }]
"#;
    let project = Project::new("hooks-hang", file);
    let mut up = project.command(&["up", "-d"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while !project.run(&["logs", "app"]).stdout.ends_with(b"post_start -> begun\n") {
        std::thread::yield_now();
    }
    kill(Pid::from_raw(up.id().cast_signed()), Signal::SIGINT).unwrap();
    assert!(!up.wait().unwrap().success());
    let began = Instant::now();
    let output = project.run(&["down"]);
    let told = crate::stack::text(&output.stderr);
    // A bound on what must not happen, not a measurement.
    assert!(output.status.success() && began.elapsed() < Duration::from_secs(20), "{told}");
    assert!(told.contains("pre_stop took longer than the grace period of 200ms"), "{told}");
    project.assert_nothing_left();
}

#[test]
fn steps_before_the_start_run_once_in_order_and_leave_no_trace() {
    let file = r#"
services:
  store: { x-rootfs: @busybox@, command: nc -ll -p 5432 -e echo tables, x-probe: { tcp: 5432 } }
  app:
    x-rootfs: @busybox@
    command: ["sh", "-c", "trap exit TERM; echo up; while true; do sleep 0.02; done"]
    environment: { WORD: service }
    volumes: ["./out:/out", "/own"]
    depends_on: { store: { condition: service_healthy } }
    scale: 2
    pre_start:
      - command: ["sh", "-c", "echo $$WORD $$(nc store 5432 < /dev/null) >> /out/order; touch /trace"]
        environment: { WORD: step }
      - command: ["sh", "-c", "echo each >> /out/order; touch /own/made"]
        per_replica: true
"#;
    let project = Project::new("prestart", file);
    std::fs::create_dir_all(project.folder.join("out")).unwrap();
    project.ok(&["up", "-d"]);
    assert_eq!(order(&project), "step tables\neach\neach\n");
    for index in ["1", "2"] {
        project.ok(&["exec", "-T", "--index", index, "app", "test", "-e", "/own/made"]);
        project.fails(&["exec", "-T", "--index", index, "app", "test", "-e", "/trace"]);
    }
    // Neither a stop nor a further `up` runs them again, a new container does.
    let first =
        project.containers().into_iter().find(|found| found["Name"].as_str().unwrap().ends_with("app-1"));
    let first = crate::stack::pidfd(i32::try_from(first.unwrap()["Pid"].as_i64().unwrap()).unwrap());
    // Both hear it by now, and the end of one may take the program along that has asked for it.
    while crate::stack::text(&project.run(&["logs", "app"]).stdout).matches("up\n").count() < 2 {
        std::thread::yield_now();
    }
    project.run(&["exec", "-T", "--index", "1", "app", "kill", "1"]);
    crate::stack::ended(&first);
    up_until(&project, "up\n", 3);
    project.ok(&["up", "-d"]);
    assert_eq!(order(&project), "step tables\neach\neach\n");
    project.write("compose.yaml", &file.replace("WORD: service", "WORD: changed"));
    project.ok(&["up", "-d"]);
    assert_eq!(order(&project), "step tables\neach\neach\n".repeat(2));
    project.down();
}

#[test]
fn a_step_that_fails_keeps_its_service_and_those_that_need_it_from_starting() {
    let file = r#"
services:
  app:
    x-rootfs: @busybox@
    command: sleep 1000
    pre_start:
      - command: ["sh", "-c", "echo migrating; echo no such table >&2; exit 4"]
      - command: ["touch", "/out/never"]
    volumes: ["./out:/out"]
  web: { x-rootfs: @busybox@, command: sleep 1000, depends_on: [app] }
"#;
    let project = Project::new("prestart-bad", file);
    let (code, message) = project.fails(&["up", "-d"]);
    assert_eq!(code, 1);
    let headline = format!("pre_start step 1 `sh` of {}-app-1 exited with status 4", project.name);
    assert!(message.contains(&headline), "{message}");
    assert!(message.contains("  web → app: "), "{message}");
    assert!(message.contains("pre_start -> migrating\n    pre_start -> no such table"), "{message}");
    assert_eq!(project.field("app", "State"), "created");
    assert_eq!(project.field("web", "State"), "created");
    assert!(!project.folder.join("out/never").exists());
    project.write("compose.yaml", &file.replace("exit 4", "exit 0"));
    project.ok(&["up", "-d"]);
    assert!(project.folder.join("out/never").exists());
    project.down();
}

#[test]
fn a_step_under_way_ends_with_its_command_or_its_supervisor() {
    let file = r#"
services:
  app:
    x-rootfs: @busybox@
    command: ["sh", "-c", "echo up; exec sleep 1000"]
    pre_start: [{ command: ["sh", "-c", "test -e /out/go || { echo begun; exec sleep 1000; }"] }]
    volumes: ["./out:/out"]
"#;
    let project = Project::new("prestart-cut", file);
    std::fs::create_dir_all(project.folder.join("out")).unwrap();
    let begin = |times: usize| {
        let up = project.command(&["up", "-d"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let begun = || {
            let log = crate::stack::text(&project.run(&["logs", "app"]).stdout);
            log.matches("pre_start -> begun").count()
        };
        while begun() < times {
            std::thread::yield_now();
        }
        up
    };
    let mut up = begin(1);
    kill(Pid::from_raw(up.id().cast_signed()), Signal::SIGINT).unwrap();
    assert!(!up.wait().unwrap().success());
    let mut up = begin(2);
    std::fs::write(project.folder.join("out/go"), "").unwrap();
    project.kill_processes("compose-supervisor");
    up.wait().unwrap();
    project.ok(&["up", "-d"]);
    project.follow_until("app", "up");
    project.down();
}

#[test]
fn a_hook_that_a_dead_supervisor_had_begun_is_run_by_the_next_up() {
    let file = r#"
services:
  app:
    x-rootfs: @busybox@
    command: sleep 1000
    post_start: [{ command: ["sh", "-c", "echo begun; test -e /out/go || exec sleep 1000"] }]
    volumes: ["./out:/out"]
"#;
    let project = Project::new("hooks-cut", file);
    std::fs::create_dir_all(project.folder.join("out")).unwrap();
    let begun = || crate::stack::text(&project.run(&["logs", "app"]).stdout).matches("begun").count();
    let mut up = project.command(&["up", "-d"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while begun() < 1 {
        std::thread::yield_now();
    }
    // Both, and their client: nobody is left who would go on.
    kill(Pid::from_raw(up.id().cast_signed()), Signal::SIGKILL).unwrap();
    project.kill_both();
    up.wait().unwrap();
    let pid = project.field("app", "Pid");
    std::fs::write(project.folder.join("out/go"), "").unwrap();
    project.ok(&["up", "-d"]);
    assert_eq!(begun(), 2);
    project.ok(&["up", "-d"]);
    assert_eq!((begun(), project.field("app", "Pid")), (2, pid));
    project.down();
}

#[test]
fn a_stop_has_one_time_for_its_hooks_and_its_program() {
    let file = r#"
services:
  app:
    x-rootfs: @busybox@
    command: ["sh", "-c", "trap '' TERM; while true; do sleep 0.1; done"]
    pre_stop: [{ command: ["sleep", "1000"] }]
"#;
    let project = Project::new("hooks-budget", file);
    project.ok(&["up", "-d"]);
    let began = Instant::now();
    project.ok(&["stop", "-t", "10"]);
    // Far below twice the time.
    assert!(began.elapsed() >= Duration::from_secs(10) && began.elapsed() < Duration::from_secs(19));
    project.down();
}
