//! `doctor`: what the host offers, tried, and nothing of it left.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output};

use serde_json::Value;

use crate::stack::{alone, busybox, text};

const COMPOSE: &str = env!("CARGO_BIN_EXE_compose");

fn findings(output: &Output) -> Vec<Value> {
    text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn find<'a>(findings: &'a [Value], topic: &str, name: &str) -> &'a Value {
    let found = findings.iter().find(|finding| finding["topic"] == topic && finding["name"] == name);
    found.unwrap_or_else(|| panic!("nothing of {topic}, {name}: {findings:#?}"))
}

#[test]
fn a_host_on_which_stacks_run_is_found_to_be_one_and_nothing_is_left() {
    let _alone = alone("doctor");
    let handed_down = || fs::read_to_string("/sys/fs/cgroup/cgroup.subtree_control").unwrap_or_default();
    let before = handed_down();
    let output = Command::new(COMPOSE).args(["doctor", "--format", "json"]).output().unwrap();
    let findings = findings(&output);
    assert!(handed_down() == before || fs::exists("/sys/fs/cgroup/compose").unwrap(), "{before}");
    assert_eq!(output.status.code(), Some(0), "{findings:#?}");
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap();
    let swap = if meminfo.lines().any(|line| line.starts_with("SwapTotal:") && line.ends_with(" 0 kB")) {
        "warning"
    } else {
        "ok"
    };
    assert_eq!(find(&findings, "Control groups", "swap")["verdict"], swap);
    assert!(findings.iter().all(|finding| finding["verdict"] != "missing"), "{findings:#?}");
    for (topic, name) in [("System", "kernel"), ("System", "root"), ("Control groups", "controllers")] {
        assert_eq!(find(&findings, topic, name)["verdict"], "ok");
    }
    let tried = |topic: &str| find(&findings, topic, "tried")["found"].as_str().unwrap();
    assert_eq!(tried("Files"), "overlayfs");
    assert!(tried("Namespaces").starts_with("cgroup, ipc, mount, net, pid, uts"), "{findings:#?}");
    for kind in ["bridge", "veth", "nf_tables"] {
        assert!(tried("Network").contains(kind), "{findings:#?}");
    }
    let version = find(&findings, "Control groups", "version")["found"].as_str().unwrap();
    assert_eq!(version == "v2", fs::exists("/sys/fs/cgroup/cgroup.controllers").unwrap(), "{version}");
    // What it does not offer says what to do.
    assert!(findings.iter().all(|finding| finding["verdict"] == "ok" || finding["advice"].is_string()));
    let links = fs::read_to_string("/proc/net/dev").unwrap();
    assert!(!links.contains("try-"), "{links}");
    for folder in
        ["/sys/fs/cgroup", "/sys/fs/cgroup/memory", "/sys/fs/cgroup/cpu", "/var/lib", "/var/lib/compose"]
    {
        let names = fs::read_dir(folder).into_iter().flatten().flatten();
        let left = names
            .map(|entry| entry.file_name().into_string().unwrap())
            .find(|name| name.contains("compose-doctor"));
        assert_eq!(left, None, "in {folder}");
    }
    let table = Command::new(COMPOSE).arg("doctor").output().unwrap();
    let table = text(&table.stdout);
    assert!(table.starts_with("System\n  ok       kernel"), "{table}");
    assert!(table.ends_with("warnings\n") || table.ends_with("everything is there\n"), "{table}");
}

#[test]
fn whoever_is_not_root_is_told_so() {
    // Where everybody may run it.
    let folder = std::env::temp_dir().join(format!("e2e-doctor-{}", std::process::id()));
    fs::create_dir(&folder).unwrap();
    let copy = folder.join("compose");
    // By another process: what this one has open for writing its children have too, until they exec, and nobody runs it.
    assert!(Command::new("cp").arg(COMPOSE).arg(&copy).status().unwrap().success());
    let output =
        Command::new(&copy).args(["doctor", "--format", "json"]).uid(65534).gid(65534).output().unwrap();
    fs::remove_dir_all(&folder).unwrap();
    let findings = findings(&output);
    assert_eq!(output.status.code(), Some(1), "{findings:#?}");
    assert!(find(&findings, "System", "root")["advice"].as_str().unwrap().contains("sudo"));
    for (topic, name) in [("Control groups", "limits"), ("Network", "network"), ("Files", "overlay")] {
        assert_eq!(find(&findings, topic, name)["found"], "not tried");
    }
}

#[test]
fn a_host_without_control_groups_or_a_place_for_an_overlay_is_told_what_to_do() {
    let _alone = alone("doctor");
    // In a mount namespace of its own, on a root that is an overlay itself as in a container.
    let script = format!(
        "mount -t tmpfs none /var/lib && mkdir /var/lib/a /var/lib/b /var/lib/c /var/lib/compose && \
         mount -t overlay -o lowerdir=/var/lib/a,upperdir=/var/lib/b,workdir=/var/lib/c none /var/lib/compose && \
         for at in $(awk '$3 ~ /^cgroup/ {{ print $2 }}' /proc/self/mounts); do umount -l $at; done; {COMPOSE} doctor --format json"
    );
    let output = Command::new(busybox().join("bin/busybox"))
        .args(["unshare", "-m", "sh", "-c", &script])
        .output()
        .unwrap();
    let findings = findings(&output);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    for (topic, name, advice) in
        [("Control groups", "version", "mount -t cgroup2"), ("Files", "overlayfs", "on a volume")]
    {
        let finding = find(&findings, topic, name);
        assert_eq!(finding["verdict"], "missing");
        assert!(finding["advice"].as_str().unwrap().contains(advice), "{finding}");
    }
}
