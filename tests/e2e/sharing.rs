//! Namespaces that a container shares with the host or with another container.

use std::fs;

use crate::stack::{Project, text};

fn namespace(pid: &str, kind: &str) -> String {
    fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap().display().to_string()
}

fn pid(project: &Project, service: &str) -> String {
    project.field(service, "Pid").as_i64().unwrap().to_string()
}

fn sh(project: &Project, service: &str, script: &str) -> String {
    project.ok(&["exec", "-T", service, "sh", "-c", script])
}

#[test]
fn the_hosts_own() {
    let file = "
services:
  one: { x-rootfs: @busybox@, command: sleep 1000, pid: host, ipc: host, uts: host, cgroup: host, userns_mode: host }
  two: { x-rootfs: @busybox@, command: sleep 1000, ipc: private, cgroup: private }
";
    let project = Project::new("share-host", file);
    project.ok(&["up", "-d"]);
    let (one, two) = (pid(&project, "one"), pid(&project, "two"));
    for kind in ["pid", "ipc", "uts", "cgroup"] {
        assert_eq!(namespace(&one, kind), namespace("self", kind), "{kind}");
        assert_ne!(namespace(&two, kind), namespace("self", kind), "{kind}");
    }
    for kind in ["mnt", "net"] {
        assert_ne!(namespace(&one, kind), namespace("self", kind), "{kind}");
    }
    // It sees the host's processes, its shared memory and its name.
    assert_eq!(sh(&project, "one", &format!("cat /proc/{two}/comm; hostname")), {
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        format!("sleep\n{host}")
    });
    let file = format!("/dev/shm/compose-e2e-{}", std::process::id());
    fs::write(&file, "mine").unwrap();
    let seen = project.run(&["exec", "-T", "one", "cat", &file]);
    fs::remove_file(&file).unwrap();
    assert_eq!(text(&seen.stdout), "mine", "{seen:?}");
    project.down();
}

#[test]
fn all_processes_of_a_container_end_with_its_program() {
    let file = "services: {one: {x-rootfs: @busybox@, pid: host, command: \"sh -c 'sleep 987654 & read x'\", stdin_open: true}}";
    let project = Project::new("share-end", file);
    project.ok(&["up", "-d"]);
    let children = |pid: &str| fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    let one = pid(&project, "one");
    let child = std::iter::repeat_with(|| children(&one)).find(|child| !child.is_empty()).unwrap();
    let child = crate::stack::pidfd(child.trim().parse().unwrap());
    project.ok(&["kill", "one"]);
    crate::stack::ended(&child);
    project.down();
}

#[test]
fn those_of_another_service() {
    let file = "
services:
  owner:
    x-rootfs: @busybox@
    command: sleep 1000
    ipc: shareable
    shm_size: 4m
  guest:
    x-rootfs: @busybox@
    command: sleep 2000
    pid: service:owner
    ipc: service:owner
    init: true
  none: { x-rootfs: @busybox@, command: sleep 1000, ipc: none }
";
    let project = Project::new("share-service", file);
    project.ok(&["up", "-d"]);
    let (owner, guest) = (pid(&project, "owner"), pid(&project, "guest"));
    for kind in ["pid", "ipc"] {
        assert_eq!(namespace(&owner, kind), namespace(&guest, kind), "{kind}");
        assert_ne!(namespace(&owner, kind), namespace("self", kind), "{kind}");
    }
    for kind in ["mnt", "net", "uts", "cgroup"] {
        assert_ne!(namespace(&owner, kind), namespace(&guest, kind), "{kind}");
    }
    assert_eq!(sh(&project, "guest", "tr '\\0' ' ' < /proc/1/cmdline"), "sleep 1000 ");
    sh(&project, "owner", "echo shared > /dev/shm/file");
    assert_eq!(sh(&project, "guest", "cat /dev/shm/file"), "shared\n");
    assert_eq!(sh(&project, "none", "test -e /dev/shm || echo none"), "none\n");
    // Its own end leaves the other alone; that one's end is its own.
    project.ok(&["restart", "-t", "1", "guest"]);
    assert_eq!(pid(&project, "owner"), owner);
    assert_eq!(sh(&project, "guest", "cat /dev/shm/file"), "shared\n");
    // Whoever starts the other again starts it again as well.
    project.ok(&["restart", "-t", "1", "owner"]);
    assert_eq!(namespace(&pid(&project, "owner"), "ipc"), namespace(&pid(&project, "guest"), "ipc"));
    project.ok(&["kill", "owner"]);
    project.ends("guest");
    // Both come back.
    project.ok(&["up", "-d"]);
    assert_eq!(namespace(&pid(&project, "owner"), "pid"), namespace(&pid(&project, "guest"), "pid"));
    project.down();
}

#[test]
fn those_of_a_container_of_another_stack() {
    let owner = Project::new("share-owner", "services: {one: {x-rootfs: @busybox@, command: sleep 1000}}");
    owner.ok(&["up", "-d"]);
    let name = owner.field("one", "Name").as_str().unwrap().to_owned();
    let file = format!(
        "services: {{guest: {{x-rootfs: '@busybox@', command: sleep 1000, pid: 'container:{name}', ipc: 'container:{name}'}}}}"
    );
    let guest = Project::new("share-guest", &file);
    guest.ok(&["up", "-d"]);
    for kind in ["pid", "ipc"] {
        assert_eq!(namespace(&pid(&owner, "one"), kind), namespace(&pid(&guest, "guest"), kind));
    }
    guest.down();
    owner.down();
    let nobody = Project::new(
        "share-nobody",
        "services: {guest: {x-rootfs: @busybox@, command: sleep 1000, pid: 'container:nobody-here'}}",
    );
    let (_, message) = nobody.fails(&["up", "-d"]);
    assert!(message.contains("its PID namespace is that of container nobody-here"), "{message}");
    nobody.down();
}
