//! Limits, as the kernel has them, on v1 and v2 alike.

use std::fs;
use std::path::PathBuf;

use crate::stack::Project;

/// The files of a limit: on v2, or in a hierarchy of v1.
pub fn control(path: &str, v2: &str, v1: (&str, &str)) -> String {
    let unified = PathBuf::from("/sys/fs/cgroup").join(path).join(v2);
    let split = PathBuf::from("/sys/fs/cgroup").join(v1.0).join(path).join(v1.1);
    let file = if fs::exists("/sys/fs/cgroup/cgroup.controllers").unwrap() { unified } else { split };
    fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display())).trim().to_owned()
}

pub fn is_v2() -> bool {
    fs::exists("/sys/fs/cgroup/cgroup.controllers").unwrap()
}

#[test]
fn a_containers_limits_are_in_force() {
    let file = r#"
x-resources:
  limits: { cpus: "1.5", memory: 512M, pids: 200, cpuset: "0-1" }
services:
  short:
    x-rootfs: @busybox@
    command: sleep 1000
    cpus: 0.5
    cpuset: "1"
    mem_limit: 64m
    mem_reservation: 32m
    memswap_limit: 64m
    pids_limit: 20
  long:
    x-rootfs: @busybox@
    command: sleep 1000
    deploy: { resources: { limits: { cpus: "0.25", memory: 48M, pids: 30 }, reservations: { memory: 24M } } }
"#;
    let project = Project::new("limits", file);
    project.ok(&["up", "-d"]);
    let parent = format!("compose/{}", project.name);
    let short = format!("{parent}/{}-short-1", project.name);
    let long = format!("{parent}/{}-long-1", project.name);
    let mib = |count: u64| (count << 20).to_string();
    for (path, memory, pids) in [(&parent, 512, "200"), (&short, 64, "20"), (&long, 48, "30")] {
        assert_eq!(control(path, "memory.max", ("memory", "memory.limit_in_bytes")), mib(memory), "{path}");
        assert_eq!(control(path, "pids.max", ("pids", "pids.max")), pids, "{path}");
    }
    let reserved = |path: &str| control(path, "memory.low", ("memory", "memory.soft_limit_in_bytes"));
    assert_eq!((reserved(&short), reserved(&long)), (mib(32), mib(24)));
    let quota = |path: &str| control(path, "cpu.max", ("cpu", "cpu.cfs_quota_us"));
    let quotas = (quota(&parent), quota(&short), quota(&long));
    let expected = |micros: &str| if is_v2() { format!("{micros} 100000") } else { micros.to_owned() };
    assert_eq!(quotas, (expected("150000"), expected("50000"), expected("25000")));
    assert_eq!(control(&short, "cpuset.cpus", ("cpuset", "cpuset.cpus")), "1");
    assert_eq!(project.ok(&["exec", "-T", "short", "nproc"]), "1\n");
    // Both processes behind the stack stay outside its cap; exec's program is inside its container's.
    for program in ["compose-keeper", "compose-supervisor"] {
        for pid in project.processes(program) {
            let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
            assert!(groups.contains("compose/.engine/") && !groups.contains(&parent), "{program}: {groups}");
        }
    }
    let inside = project.ok(&["exec", "-T", "short", "cat", "/proc/self/cgroup"]);
    assert!(
        inside
            .lines()
            .filter(|line| line.contains("memory") || line.starts_with("0::"))
            .all(|line| line.ends_with(":/")),
        "{inside}"
    );
    project.down();
}

#[test]
fn a_container_that_takes_too_much_memory_is_killed_and_told_of() {
    let file = r#"
services:
  greedy:
    x-rootfs: @busybox@
    mem_limit: 16m
    memswap_limit: 16m
    command: ["sh", "-c", "x=0123456789abcdef; while true; do x=$$x$$x; done"]
  modest: { x-rootfs: @busybox@, command: sleep 1000, mem_limit: 16m }
"#;
    let project = Project::new("greedy", file);
    project.ok(&["up", "-d"]);
    project.ends("greedy");
    assert_eq!(project.field("greedy", "ExitCode"), 137);
    assert!(project.field("greedy", "Reason").as_str().unwrap().contains("its limit of 16 MiB was reached"));
    assert_eq!(project.field("modest", "State"), "running");
    project.down();
}

#[test]
fn forks_above_the_limit_of_pids_fail() {
    let file = r#"
services:
  one: { x-rootfs: @busybox@, command: sleep 1000, pids_limit: 5 }
"#;
    let project = Project::new("pids", file);
    project.ok(&["up", "-d"]);
    // The first does not end before the last is made, however slow the machine is.
    let script = "for i in 1 2 3 4 5 6; do sleep 60 > /dev/null 2>&1 & done; wait";
    let output = project.run(&["exec", "-T", "one", "sh", "-c", script]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("fork"), "{output:?}");
    project.down();
}

#[test]
fn a_limit_that_is_below_what_is_in_use_keeps_no_other_service_from_its_own() {
    let file = r#"
services:
  full:
    x-rootfs: @busybox@
    mem_limit: 96m
    memswap_limit: 96m
    tmpfs: /full
    command: ["sh", "-c", "dd if=/dev/zero of=/full/file bs=1M count=48 && echo full && exec sleep 1000"]
  other: { x-rootfs: @busybox@, command: sleep 1000, mem_limit: 96m, memswap_limit: 96m }
  third: { x-rootfs: @busybox@, command: sleep 1000 }
"#;
    let project = Project::new("lowered", file);
    project.ok(&["up", "-d"]);
    project.follow_until("full", "full");
    let pids = || ["full", "other"].map(|service| project.field(service, "Pid"));
    let before = pids();
    project.write("compose.yaml", &file.replace("96m", "24m").replace("third: { ", "third: { tty: true, "));
    let third = project.field("third", "ID");
    let (code, message) = project.fails(&["up", "-d"]);
    assert_eq!(code, 1);
    for part in [
        format!(
            "{}-full-1: its limits could not be changed while it runs, and it keeps those it has",
            project.name
        ),
        "`compose up -d --force-recreate full`".to_owned(),
    ] {
        assert!(message.contains(&part), "{message}");
    }
    assert_eq!(pids(), before);
    assert_ne!(project.field("third", "ID"), third, "others are changed");
    let plan = project.ok(&["up", "--dry-run"]);
    assert!(plan.contains("-full-1") && !plan.contains("-other-1"), "{plan}");
    project.ok(&["up", "-d", "-t", "0", "--force-recreate", "other"]);
    project.down();
}

#[test]
fn quota_period_and_burst_are_in_force_and_change_in_place() {
    let file = |keys: &str, swap: &str| {
        format!(
            "x-resources: {{limits: {{memory: 256m, swap: {swap}}}}}\nservices:\n  a: {{x-rootfs: @busybox@, command: sleep 1000, {keys}}}\n"
        )
    };
    let project =
        Project::new("cpu-time", &file("cpu_quota: 50000, cpu_period: 200000, x-cpu-burst: 20000", "64m"));
    project.ok(&["up", "-d"]);
    let pid = project.field("a", "Pid");
    let parent = format!("compose/{}", project.name);
    let group = format!("{parent}/{}-a-1", project.name);
    let share = || {
        let quota = control(&group, "cpu.max", ("cpu", "cpu.cfs_quota_us"));
        if is_v2() { quota } else { format!("{quota} {}", control(&group, "", ("cpu", "cpu.cfs_period_us"))) }
    };
    let burst = || control(&group, "cpu.max.burst", ("cpu", "cpu.cfs_burst_us"));
    let swap = |mib: u64| {
        let both = control(&parent, "memory.swap.max", ("memory", "memory.memsw.limit_in_bytes"));
        assert_eq!(both, ((if is_v2() { mib } else { 256 + mib }) << 20).to_string());
    };
    assert_eq!((share().as_str(), burst().as_str()), ("50000 200000", "20000"));
    swap(64);
    project.write("compose.yaml", &file("cpu_quota: 10000, cpu_period: 20000", "32m"));
    project.ok(&["up", "-d"]);
    assert_eq!((share().as_str(), burst().as_str()), ("10000 20000", "0"));
    swap(32);
    project.write("compose.yaml", &file("cpus: 1.5, x-mem-high: 32m, mem_swappiness: 5", "0"));
    let said = String::from_utf8(project.run(&["up", "-d"]).stderr).unwrap();
    assert_eq!(share(), "150000 100000");
    swap(0);
    if is_v2() {
        assert_eq!(control(&group, "memory.high", ("", "")), (32 << 20).to_string());
        assert!(said.contains("mem_swappiness"), "{said}");
    } else {
        assert_eq!(control(&group, "", ("memory", "memory.swappiness")), "5");
        assert!(said.contains("x-mem-high"), "{said}");
    }
    assert_eq!(project.field("a", "Pid"), pid, "nothing was started anew");
    project.down();
}
