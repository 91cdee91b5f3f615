//! Many services, many stacks, many commands at once.

use std::fmt::Write;
use std::process::Stdio;

use crate::stack::{Project, text};

#[test]
fn two_hundred_services() {
    let mut file = String::from("services:\n");
    for number in 0..200 {
        writeln!(file, "  s{number}: {{ x-rootfs: @busybox@, command: sleep 1000, mem_limit: 64m }}")
            .unwrap();
    }
    let project = Project::new("many", &file);
    project.ok(&["up", "-d"]);
    assert_eq!(project.ok(&["ps", "-q"]).lines().count(), 200);
    let addresses: std::collections::BTreeSet<String> = project
        .containers()
        .iter()
        .map(|container| container["Address"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(addresses.len(), 200);
    assert_eq!(project.ok(&["exec", "-T", "s199", "nslookup", "s0"]).matches("NXDOMAIN").count(), 0);
    project.down();
}

#[test]
fn replicas_share_a_name_in_rotation() {
    let file = r#"
services:
  worker: { x-rootfs: @busybox@, command: sleep 1000, scale: 3 }
  asker: { x-rootfs: @busybox@, command: sleep 1000 }
"#;
    let project = Project::new("replicas", file);
    project.ok(&["up", "-d"]);
    let answer = project.ok(&["exec", "-T", "asker", "nslookup", "worker"]);
    assert_eq!(answer.matches("Address: 1").count(), 3, "{answer}");
    let first: std::collections::BTreeSet<String> = (0..9)
        .map(|_| {
            let answer = project.ok(&["exec", "-T", "asker", "nslookup", "-type=a", "worker"]);
            // The first address is the resolver's own.
            answer.lines().filter(|line| line.starts_with("Address")).nth(1).unwrap().to_owned()
        })
        .collect();
    assert_eq!(first.len(), 3, "each replica comes first in turn: {first:?}");
    let names = project.ok(&["exec", "-T", "--index", "2", "worker", "hostname"]);
    assert_ne!(names, project.ok(&["exec", "-T", "--index", "3", "worker", "hostname"]));
    // Fewer of them: the others go.
    project.write("compose.yaml", &file.replace("scale: 3", "scale: 1"));
    project.ok(&["up", "-d"]);
    assert_eq!(project.ok(&["ps", "-q", "worker"]).lines().count(), 1);
    project.down();
}

#[test]
fn commands_at_once_agree() {
    let file = r#"
services:
  a: { x-rootfs: @busybox@, command: sleep 1000 }
  b: { x-rootfs: @busybox@, command: sleep 1000, depends_on: [a] }
"#;
    let project = Project::new("at-once", file);
    let ups: Vec<_> = (0..4).map(|_| project.command(&["up", "-d"]).spawn().unwrap()).collect();
    for mut up in ups {
        assert!(up.wait().unwrap().success());
    }
    assert_eq!(project.ok(&["ps", "-q"]).lines().count(), 2);
    let downs: Vec<_> = (0..3).map(|_| project.command(&["down", "-t", "0"]).spawn().unwrap()).collect();
    for mut down in downs {
        assert!(down.wait().unwrap().success());
    }
    project.assert_nothing_left();
}

#[test]
fn down_goes_before_all_that_wait() {
    let file = r#"
services:
  never: { x-rootfs: @busybox@, command: sleep 1000, healthcheck: { test: ["CMD", "false"], interval: 100s } }
  after: { x-rootfs: @busybox@, command: sleep 1000, depends_on: { never: { condition: service_healthy } } }
"#;
    let project = Project::new("before", file);
    let ups = (0..3).map(|_| project.command(&["up", "-d"]).stderr(Stdio::piped()).spawn().unwrap());
    // Each has asked by the time it says something: one that came after the `down` would wait for ever.
    let ups: Vec<_> = ups.collect::<Vec<_>>().into_iter().map(|up| crate::turns::first_line(up).0).collect();
    while project.containers().iter().all(|container| container["State"] != "running") {
        std::thread::yield_now();
    }
    project.ok(&["down", "-t", "0"]);
    for mut up in ups {
        assert!(!up.wait().unwrap().success());
    }
    // One that came after it begins anew.
    project.write("compose.yaml", &file.replace("[\"CMD\", \"false\"]", "[\"CMD\", \"true\"]"));
    project.ok(&["up", "-d"]);
    project.down();
}

/// Stacks of ten services come and go at once: scripts/soak lets more of them do so, more often.
#[test]
fn stacks_at_once_have_networks_of_their_own() {
    let number =
        |name: &str, usual| std::env::var(name).map_or(usual, |text| text.parse().expect("a number"));
    let (stacks, rounds) = (number("COMPOSER_STACKS", 5), number("COMPOSER_ROUNDS", 1));
    let mut file = String::from("services:\n");
    for number in 0..10 {
        writeln!(
            file,
            "  s{number}: {{x-rootfs: @busybox@, command: sleep 1000, networks: [default, back]}}"
        )
        .unwrap();
    }
    file += "networks: {back: {internal: true}}\n";
    let projects: Vec<Project> =
        (0..stacks).map(|number| Project::new(&format!("side-{number}"), &file)).collect();
    let all = |args: &[&str]| {
        let commands: Vec<_> = projects
            .iter()
            .map(|project| {
                project.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
            })
            .collect();
        for command in commands {
            let output = command.wait_with_output().unwrap();
            assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
        }
    };
    for _ in 0..rounds {
        all(&["up", "-d"]);
        let mut networks = std::collections::BTreeSet::new();
        for project in &projects {
            let containers = project.containers();
            let addresses: std::collections::BTreeSet<_> = containers
                .iter()
                .map(|container| container["Address"].as_str().unwrap().to_owned())
                .collect();
            assert_eq!(addresses.len(), 10, "{addresses:?}");
            // What one of them is called by is known to another, and is one of these.
            let seen = project.ok(&["exec", "-T", "s0", "ping", "-c", "1", "-W", "5", "s9"]);
            assert!(seen.contains("1 packets received"), "{seen}");
            for network in ["default", "back"] {
                let bridge = composer_network::names::bridge(&project.name, network);
                let routes = std::fs::read_to_string("/proc/net/route").unwrap();
                let route = routes.lines().find(|line| line.starts_with(&bridge)).expect("a route");
                networks.insert(route.split('\t').nth(1).unwrap().to_owned());
            }
        }
        assert_eq!(networks.len(), 2 * projects.len(), "{networks:?}");
        all(&["down", "-v", "-t", "0"]);
        for project in &projects {
            project.assert_nothing_left();
        }
    }
}

#[test]
fn stacks_that_end_do_not_disturb_those_that_begin() {
    let file = "services: {one: {x-rootfs: @busybox@, command: sleep 1000, volumes: ['data:/data']}}\nvolumes: {data: {}}";
    std::thread::scope(|scope| {
        for number in 0..4 {
            scope.spawn(move || {
                let project = Project::new(&format!("turns-{number}"), file);
                for _ in 0..5 {
                    project.ok(&["up", "-d"]);
                    project.ok(&["down", "-v", "-t", "0"]);
                }
                project.down();
            });
        }
    });
}
