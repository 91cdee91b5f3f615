//! `x-probe`: health seen from outside, with nothing of the container's own run.

use crate::stack::Project;

#[test]
fn ports_and_pages_open_the_way_wherever_a_service_listens() {
    let file = r#"
x-node: &node { x-rootfs: @busybox@, volumes: ["./www:/www"] }
services:
  inside: { <<: *node, command: httpd -f -h /www -p 127.0.0.1:8000, x-probe: { http: { port: 8000, path: /ok } } }
  outside:
    <<: *node
    command: ["sh", "-c", "exec httpd -f -h /www -p $$(hostname -i):8000"]
    x-probe: { http: { port: 8000, path: /moved }, tcp: 8000 }
  late:
    <<: *node
    command: ["sh", "-c", "sleep 0.3; exec nc -ll -p 5432 -e cat"]
    x-probe: { tcp: 5432 }
  app:
    x-rootfs: @busybox@
    command: sleep 1000
    depends_on:
      inside: { condition: service_healthy }
      outside: { condition: service_healthy }
      late: { condition: service_healthy }
"#;
    let project = Project::new("probes", file);
    // A folder is answered with a redirection to itself with a slash.
    std::fs::create_dir_all(project.folder.join("www/moved")).unwrap();
    project.write("www/ok", "well");
    project.ok(&["up", "-d", "--wait"]);
    for service in ["inside", "outside", "late"] {
        assert_eq!(project.field(service, "Health"), "healthy", "{service}");
    }
    assert_eq!(project.field("app", "State"), "running");
    project.down();
}

#[test]
fn a_bad_answer_is_told() {
    let file = r#"
# So often that the program has begun to listen meanwhile.
x-checked: &checked { interval: 100ms, retries: 20 }
services:
  missing: { x-rootfs: @busybox@, command: httpd -f -p 8000, x-probe: { http: { port: 8000, path: /no } }, healthcheck: *checked }
  gibberish:
    x-rootfs: @busybox@
    command: nc -ll -p 8000 -e echo SSH-2.0
    x-probe: { http: { port: 8000 } }
    healthcheck: *checked
  silent:
    x-rootfs: @busybox@
    command: nc -ll -p 8000 -e sleep 1000
    x-probe: { http: { port: 8000 } }
    healthcheck: { interval: 100ms, retries: 20, timeout: 100ms }
  deaf: { x-rootfs: @busybox@, command: sleep 1000, x-probe: { tcp: 8000 }, healthcheck: *checked }
"#;
    let project = Project::new("probes-bad", file);
    for (service, told) in [
        ("missing", "was answered with 404 Not Found"),
        ("gibberish", "GET http://127.0.0.1:8000/: "),
        ("silent", "the probe did not end within 100ms"),
        ("deaf", "connect to 127.0.0.1:8000: Connection refused"),
    ] {
        let (code, message) = project.fails(&["up", "-d", "--wait", service]);
        assert_eq!(code, 1);
        assert!(message.contains(&format!("{service}-1 is unhealthy")), "{message}");
        assert!(message.contains("its last probe:") && message.contains(told), "{service}: {message}");
    }
    project.down();
}

#[test]
fn a_line_of_the_log_opens_the_way_late_or_not() {
    let file = r#"
services:
  parts:
    x-rootfs: @busybox@
    command: ["sh", "-c", "printf 'it is rea' >&2; sleep 0.2; printf 'dy now' >&2; exec sleep 1000"]
    x-probe: { log: ready now }
  slow:
    x-rootfs: @busybox@
    command: ["sh", "-c", "trap 'echo ready now' USR1; trap exit TERM; echo begun; while true; do sleep 0.02; done"]
    x-probe: { log: ready now }
    healthcheck: { interval: 100ms, retries: 20 }
"#;
    let project = Project::new("probes-log", file);
    project.ok(&["up", "-d", "--wait", "parts"]);
    assert_eq!(project.field("parts", "Health"), "healthy");
    let (_, message) = project.fails(&["up", "-d", "--wait", "slow"]);
    assert!(message.contains("its last probe: no line of its log has contained \"ready now\""), "{message}");
    assert!(message.contains("the end of its log:\n    begun"), "{message}");
    project.ok(&["exec", "-T", "slow", "kill", "-USR1", "1"]);
    project.follow_until("slow", "ready now");
    // Once it has been unhealthy `--wait` does not wait: what is seen here has been decided.
    while project.field("slow", "Health") == "unhealthy" {
        std::thread::yield_now();
    }
    assert_eq!(project.field("slow", "Health"), "healthy");
    // Another start begins anew.
    // Its end may take the program along that has asked for it.
    project.run(&["exec", "-T", "slow", "kill", "-TERM", "1"]);
    project.ends("slow");
    project.fails(&["up", "-d", "--wait", "slow"]);
    project.down();
}

#[test]
fn what_was_said_under_an_earlier_supervisor_counts() {
    // A script's early success counts once it has been the same program for five seconds: meanwhile nothing is decided.
    let file = r#"
services:
  script:
    x-rootfs: @busybox@
    command: ["sh", "/run.sh"]
    volumes: ["./run.sh:/run.sh"]
    x-probe: { log: ready now }
"#;
    let project = Project::new("probes-past", file);
    project.write("run.sh", "echo ready now\nwhile true; do sleep 1; done\n");
    project.ok(&["up", "-d"]);
    project.follow_until("script", "ready now");
    assert_eq!(project.field("script", "Health"), "starting");
    project.kill_processes("compose-supervisor");
    project.ok(&["up", "-d", "--wait"]);
    assert_eq!(project.field("script", "Health"), "healthy");
    project.down();
}

#[test]
fn a_disabled_check_disables_the_probe() {
    let file = r#"
services:
  app: { x-rootfs: @busybox@, command: sleep 1000, x-probe: { tcp: 1 }, healthcheck: { disable: true } }
"#;
    let project = Project::new("probes-off", file);
    project.ok(&["up", "-d", "--wait"]);
    assert_eq!(project.field("app", "Health"), "");
    project.down();
}
