//! Devices of the host's, and what a container may do with them.

use std::fs;

use nix::sys::stat::{Mode, SFlag, makedev, mknod};

use crate::stack::{Project, text};

fn sh(project: &Project, service: &str, script: &str) -> String {
    project.ok(&["exec", "-T", service, "sh", "-c", script])
}

#[test]
fn named_devices_are_there_with_what_may_be_done_with_them() {
    let file = "
services:
  one:
    x-rootfs: @busybox@
    command: [sh, -c, ': < /dev/mine && echo 1 > /tmp/own; echo tried; exec sleep 1000']
    # Without it, nobody may read what the kernel says.
    cap_add: [SYSLOG]
    devices: ['/dev/kmsg:/dev/mine:r', '/dev/full:/data/full', './devices:/dev/more']
  ruled: { x-rootfs: @busybox@, command: sleep 1000, cap_add: [SYSLOG], device_cgroup_rules: ['c 1:11 r'] }
  plain: { x-rootfs: @busybox@, command: sleep 1000 }
";
    let project = Project::new("devs", "services: {}");
    let folder = project.folder.join("devices");
    project.write("compose.yaml", &file.replace("./devices", &folder.display().to_string()));
    fs::create_dir_all(folder.join("below")).unwrap();
    fs::write(folder.join("file"), "").unwrap();
    for (name, mode, minor) in [("zero", 0o604, 5), ("below/null", 0o640, 3)] {
        let mode = Mode::from_bits_truncate(mode);
        mknod(&folder.join(name), SFlag::S_IFCHR, mode, makedev(1, minor)).unwrap();
    }
    project.ok(&["up", "-d"]);
    project.follow_until("one", "tried");
    // Read it may, write it may not: neither the program itself nor one of exec.
    assert_eq!(sh(&project, "one", "cat /tmp/own; : < /dev/mine && echo 2"), "1\n2\n");
    let refused = project.run(&["exec", "-T", "one", "sh", "-c", ": > /dev/mine"]);
    assert!(text(&refused.stderr).contains("Operation not permitted"), "{refused:?}");
    let full = project.run(&["exec", "-T", "one", "sh", "-c", "echo x > /data/full"]);
    assert!(text(&full.stderr).contains("No space left"), "{full:?}");
    // All devices of a folder, and nothing else.
    let show = "cd /dev/more; find . -type f; stat -c '%t:%T %a' zero below/null; head -c 3 zero | wc -c";
    assert_eq!(sh(&project, "one", show), "1:5 604\n1:3 640\n3\n");
    // What it makes works where a rule says so, and nowhere else.
    let made = "mknod /kmsg c 1 11; mknod /mem c 1 1; mknod /disk b 254 0; (: < /kmsg) && echo 1; (: > /kmsg); \
                (: < /mem); (: < /disk)";
    let output = project.run(&["exec", "-T", "ruled", "sh", "-c", made]);
    assert_eq!(text(&output.stdout), "1\n", "{output:?}");
    assert_eq!(text(&output.stderr).matches("not permitted").count(), 3, "{output:?}");
    // The usual ones work, and so do terminals.
    let usual = "echo x > /dev/null; head -c 1 /dev/urandom | wc -c; test -c /dev/ptmx; test ! -e /dev/kmsg";
    assert_eq!(sh(&project, "one", usual), "1\n");
    assert_eq!(sh(&project, "plain", "test ! -e /dev/mine && test ! -e /dev/more && echo none"), "none\n");
    project.down();
}

#[test]
fn whoever_may_mount_gets_no_device_by_it() {
    let file = "services: {one: {x-rootfs: @busybox@, command: sleep 1000, cap_add: [SYS_ADMIN]}}";
    let project = Project::new("devs-admin", file);
    project.ok(&["up", "-d"]);
    let script = "mount -t tmpfs none /tmp && mknod /tmp/mem c 1 1 && mknod /tmp/zero c 1 5 && \
                  head -c 1 /tmp/zero | wc -c; cat /tmp/mem";
    let output = project.run(&["exec", "-T", "one", "sh", "-c", script]);
    assert_eq!(text(&output.stdout), "1\n", "{output:?}");
    assert!(text(&output.stderr).contains("Operation not permitted"), "{output:?}");
    project.down();
}

#[test]
fn of_the_hosts_dev_those_work_that_are_named() {
    let file = "
services:
  one:
    x-rootfs: @busybox@
    command: sleep 1000
    cap_add: [SYSLOG]
    volumes: ['/dev/kmsg:/dev/kmsg', '/dev:/host', '/dev/null:/dev/other']
";
    let project = Project::new("devs-bind", file);
    project.ok(&["up", "-d"]);
    for path in ["/dev/kmsg", "/host/kmsg"] {
        let refused = project.run(&["exec", "-T", "one", "sh", "-c", &format!(": < {path}")]);
        assert!(text(&refused.stderr).contains("Operation not permitted"), "{path}: {refused:?}");
    }
    assert_eq!(sh(&project, "one", "echo x > /dev/other; head -c 2 /host/zero | wc -c"), "2\n");
    let named = file.replace("volumes:", "devices: [/dev/kmsg]\n    volumes:");
    project.write("compose.yaml", &named);
    project.ok(&["up", "-d"]);
    assert_eq!(sh(&project, "one", ": < /dev/kmsg; : < /host/kmsg; echo both"), "both\n");
    project.down();
}

#[test]
fn a_device_that_is_not_there_is_an_error_with_its_place() {
    for (source, why) in [("/dev/there-is-none", "No such file"), ("/etc/passwd", "it is no device")] {
        let file = format!(
            "services:\n  one:\n    x-rootfs: '@busybox@'\n    command: sleep 1000\n    devices:\n      - /dev/null\n      - {source}\n"
        );
        let project = Project::new("devs-none", &file);
        let (_, message) = project.fails(&["up", "-d"]);
        let words = [why, "compose.yaml:7:", &format!("the device {source}")];
        assert!(words.iter().all(|word| message.contains(word)), "{message}");
        project.down();
    }
}
