//! Many services, many stacks, many commands at once.

use std::fmt::Write;

use crate::stack::Project;

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
    let ups: Vec<_> = (0..3).map(|_| project.command(&["up", "-d"]).spawn().unwrap()).collect();
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

#[test]
fn stacks_at_once_have_networks_of_their_own() {
    let file = "services: {one: {x-rootfs: @busybox@, command: sleep 1000}}";
    let projects: Vec<Project> = (0..5).map(|number| Project::new(&format!("side-{number}"), file)).collect();
    let ups: Vec<_> =
        projects.iter().map(|project| project.command(&["up", "-d"]).spawn().unwrap()).collect();
    for mut up in ups {
        assert!(up.wait().unwrap().success());
    }
    let networks: std::collections::BTreeSet<String> = projects
        .iter()
        .map(|project| {
            project.field("one", "Address").as_str().unwrap().rsplit_once('.').unwrap().0.to_owned()
        })
        .collect();
    assert_eq!(networks.len(), projects.len(), "{networks:?}");
    for project in projects {
        project.down();
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
