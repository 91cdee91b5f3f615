//! What containers and images may ask too much of: folders without end, ports, probes, names.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::process::Command;

use rustix::fs::{Mode, OFlags, mkdirat, openat};

use crate::stack::Project;

/// Folders in each other, as deep, below a folder of a container, through its own root filesystem.
fn deepen(pid: &serde_json::Value, folder: &str, depth: u32) {
    let mut at = OwnedFd::from(File::open(format!("/proc/{pid}/root{folder}")).unwrap());
    for _ in 0..depth {
        mkdirat(&at, c"d", Mode::RWXU).unwrap();
        at = openat(&at, c"d", OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
    }
}

#[test]
fn folders_deeper_than_paths_and_descriptors_go() {
    let file = "services:\n  a: {x-rootfs: '@busybox@', command: sleep 1000, volumes: [/own, named:/named]}\nvolumes: {named: {}}\n";
    let project = Project::new("excess-deep", file);
    // Fewer descriptors than there are levels, for both processes behind the stack.
    let up = project.command(&["up", "-d"]);
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -n 2048 && exec \"$@\"", "sh"]).arg(up.get_program()).args(up.get_args());
    assert!(limited.current_dir(&project.folder).status().unwrap().success());
    let pid = project.field("a", "Pid");
    for folder in ["/tmp", "/own", "/named"] {
        deepen(&pid, folder, 3_000);
    }
    // Made anew, with another volume without a name.
    project.ok(&["up", "-d", "--force-recreate", "-V", "-t", "0"]);
    assert_eq!(project.ok(&["exec", "-T", "a", "ls", "/tmp", "/own"]), "/own:\n\n/tmp:\n");
    deepen(&project.field("a", "Pid"), "/tmp", 3_000);
    project.down();
}
