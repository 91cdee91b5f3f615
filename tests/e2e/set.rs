//! `set`: limits that change while programs run, and what becomes of them afterwards.

mod oom;

use std::fs;
use std::path::PathBuf;

use crate::stack::Project;

const FILE: &str = r#"
x-resources: { limits: { memory: 256m, cpus: "1.5" } }
services:
  web: { x-rootfs: @busybox@, command: sleep 1000, mem_limit: 64m, cpus: 0.5, pids_limit: 20, scale: 2 }
  free: { x-rootfs: @busybox@, command: sleep 1000 }
"#;

/// A limit as the kernel has it: a file of v2, or of a controller of v1.
fn control(path: &str, v2: &str, (controller, v1): (&str, &str)) -> String {
    let root = PathBuf::from("/sys/fs/cgroup");
    let file = match root.join("cgroup.controllers").exists() {
        true => root.join(path).join(v2),
        false => root.join(controller).join(path).join(v1),
    };
    fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display())).trim().to_owned()
}

fn memory(path: &str) -> u64 {
    control(path, "memory.max", ("memory", "memory.limit_in_bytes")).parse().unwrap_or(u64::MAX) >> 20
}

fn quota(path: &str) -> String {
    let text = control(path, "cpu.max", ("cpu", "cpu.cfs_quota_us"));
    text.split(' ').next().unwrap().to_owned()
}

fn group(project: &Project, container: &str) -> String {
    format!("compose/{0}/{0}-{container}", project.name)
}

fn pids(project: &Project) -> Vec<serde_json::Value> {
    project.containers().iter().map(|container| container["Pid"].clone()).collect()
}

#[test]
fn limits_change_without_a_restart_and_stay_until_the_file_says_otherwise() {
    let project = Project::new("set", FILE);
    project.ok(&["up", "-d"]);
    let before = pids(&project);
    let web = [group(&project, "web-1"), group(&project, "web-2")];
    let plan = project.ok(&["set", "web", "--memory", "128M", "--dry-run"]);
    assert!(plan.contains(&format!("update {}-web-1: mem_limit 64 MiB -> 128 MiB", project.name)), "{plan}");
    assert_eq!(memory(&web[0]), 64, "a dry run changes nothing");
    let set = project.run(&["set", "web", "--memory", "128M", "--cpus", "1.5", "--pids", "30"]);
    let told = String::from_utf8(set.stderr).unwrap();
    assert!(set.status.success() && told.contains("compose set --reset web"), "{told}");
    for path in &web {
        let pids = control(path, "pids.max", ("pids", "pids.max"));
        assert_eq!((memory(path), quota(path).as_str(), pids.as_str()), (128, "150000", "30"));
    }
    // Neither the processes behind the stack nor the containers have to be the same ones.
    project.kill_processes("compose-supervisor");
    let said = project.run(&["up", "-d"]);
    let said = String::from_utf8(said.stderr).unwrap();
    assert!(said.contains("`compose set` has changed limits of web") && said.contains("128 MiB"), "{said}");
    assert_eq!(pids(&project), before, "nothing was restarted");
    project.ok(&["restart", "-t", "0", "web"]);
    project.ok(&["up", "-d", "-t", "0", "--force-recreate", "--scale", "web=3"]);
    assert_eq!(memory(&group(&project, "web-3")), 128, "what comes later has it too");
    // One limit of the file is edited: it counts again, the others stand.
    let before = pids(&project);
    project.write(
        "compose.yaml",
        &FILE.replace("mem_limit: 64m", "mem_limit: 96m").replace("scale: 2", "scale: 3"),
    );
    project.ok(&["up", "-d"]);
    assert_eq!((memory(&web[0]), quota(&web[0]).as_str()), (96, "150000"));
    project.ok(&["set", "--reset", "web"]);
    assert_eq!((memory(&web[0]), quota(&web[0]).as_str()), (96, "50000"));
    assert!(project.ok(&["up", "--dry-run"]).starts_with("nothing to do"));
    assert_eq!(pids(&project), before);
    let journal = project.ok(&["events", "--json", "--since", "1h", "--until", "0s"]);
    assert!(journal.contains(r#""mem_limit":"64 MiB -> 128 MiB""#), "{journal}");
    project.down();
}

#[test]
fn what_is_beyond_the_cap_or_contradicts_itself_is_refused_and_nothing_changes() {
    let project = Project::new("set-refused", FILE);
    project.ok(&["up", "-d"]);
    let refused = |args: &[&str], parts: &[&str]| {
        let (code, message) = project.fails(&[&["set"], args].concat());
        assert!(code == 1 && parts.iter().all(|part| message.contains(part)), "{args:?}: {code} {message}");
    };
    refused(
        &["web", "--memory", "300M"],
        &["web: a limit of 300 MiB", "the whole stack's 256 MiB", "compose set --stack"],
    );
    refused(
        &["free", "web", "--pids", "5", "--cpus", "1.6"],
        &["1.6 CPUs are more than the whole stack's 1.5"],
    );
    refused(
        &["--memory", "32M"],
        &["web: a limit of 64 MiB", "the whole stack's 32 MiB", "lower that service's first"],
    );
    refused(&["web", "--memory-reservation", "65M"], &["reserved"]);
    refused(&["web", "--memory-swap", "32M"], &["memswap_limit"]);
    refused(&["free", "--memory-reservation", "257M"], &["reserve 257 MiB of memory together"]);
    refused(&["web", "--memory", "1M"], &["6 MiB"]);
    refused(&["web", "--memory", "much"], &["amount of memory"]);
    refused(&["web", "--cpus", "-1"], &[]);
    refused(&["web", "--cpuset", "512"], &["not all online"]);
    refused(&["web", "--cpus", "4000"], &["of this host"]);
    refused(&["nobody", "--pids", "5"], &["no such service: nobody"]);
    refused(&["--stack", "web", "--pids", "5"], &[]);
    let path = group(&project, "web-1");
    let pids = control(&path, "pids.max", ("pids", "pids.max"));
    assert_eq!((memory(&path), quota(&path).as_str(), pids.as_str()), (64, "50000", "20"));
    assert_eq!(control(&group(&project, "free-1"), "pids.max", ("pids", "pids.max")), "max");
    project.down();
}

#[test]
fn what_the_file_could_not_say_is_not_set() {
    let file = r#"
services:
  held: { x-rootfs: @busybox@, command: sleep 1000, mem_limit: 64m, x-oom: pause }
  raised: { x-rootfs: @busybox@, command: sleep 1000, mem_limit: 32m, x-oom: { policy: raise, step: 8m, max: 64m } }
  idle: { x-rootfs: @busybox@, command: sleep 1000, x-cpu-idle: true }
  burst: { x-rootfs: @busybox@, command: sleep 1000, cpus: 0.5, x-cpu-burst: 30000 }
  quota: { x-rootfs: @busybox@, command: sleep 1000, cpu_quota: 100000 }
  later: { x-rootfs: @busybox@, command: sleep 1000, scale: 0 }
"#;
    let project = Project::new("set-file", file);
    project.ok(&["up", "-d"]);
    let before = project.ok(&["events", "--json", "--since", "1h", "--until", "0s"]);
    for (args, part) in [
        (&["held", "--memory-high", "10m"][..], "held: `x-mem-high` and the policy `pause` are both given"),
        (&["held", "--memory", "0"], "held: `pause` needs a limit of memory"),
        (&["held", "--memory", "0.5"], "an amount of memory"),
        (&["raised", "--memory", "128m"], "raised: `max` is not above the limit of memory, 128 MiB"),
        (&["idle", "--cpu-shares", "100"], "idle: `x-cpu-idle` is the least weight"),
        (&["burst", "--cpus", "0.2"], "burst: a burst of 30000 µs is more than the quota of 20000 µs"),
        (&["burst", "--cpus", "0"], "burst: `x-cpu-burst` needs a limit of CPU time"),
        (&["--stack", "--cpus", "0.7"], "quota: 1 CPU is more than the whole stack's 0.7"),
        (&["later", "--pids", "99999999999"], "it may be -1 to 4194304"),
    ] {
        let (code, message) = project.fails(&[&["set"], args].concat());
        assert!(code != 0 && message.contains(part), "{args:?}: {code} {message}");
    }
    assert_eq!(project.ok(&["events", "--json", "--since", "1h", "--until", "0s"]), before);
    project.ok(&["set", "held", "--memory", "48m"]);
    assert_eq!(memory(&group(&project, "held-1")), 48);
    project.down();
}

#[test]
fn the_cap_changes_with_what_is_inside_it_in_an_order_that_holds_at_every_moment() {
    let file = |stack: (&str, &str), web: (&str, &str)| {
        format!(
            "x-resources: {{ limits: {{ cpus: \"{}\", memory: {} }} }}\nservices:\n  web: {{ x-rootfs: @busybox@, \
             command: sleep 1000, cpus: {}, mem_limit: {} }}\n",
            stack.0, stack.1, web.0, web.1
        )
    };
    let project = Project::new("set-cap", &file(("0.5", "64m"), ("0.5", "64m")));
    project.ok(&["up", "-d"]);
    let before = pids(&project);
    let (stack, web) = (format!("compose/{}", project.name), group(&project, "web-1"));
    let now = || (quota(&stack), memory(&stack), quota(&web), memory(&web));
    let is = |stack: (&str, u64), web: (&str, u64)| {
        assert_eq!(now(), (stack.0.to_owned(), stack.1, web.0.to_owned(), web.1));
        assert_eq!(pids(&project), before, "nothing was restarted");
    };
    // On v1 the kernel refuses a share above the parent's: parent up before child, child down before parent.
    for (cpus, mib, quota) in [("1.5", 256, "150000"), ("0.25", 32, "25000"), ("1", 128, "100000")] {
        let memory = format!("{mib}m");
        project.write("compose.yaml", &file((cpus, &memory), (cpus, &memory)));
        project.ok(&["up", "-d"]);
        is((quota, mib), (quota, mib));
    }
    // Up in one thing and down in another.
    project.write("compose.yaml", &file(("1.5", "64m"), ("1.5", "48m")));
    project.ok(&["up", "-d"]);
    is(("150000", 64), ("150000", 48));
    let told = project.ok(&["events", "--since", "1h", "--until", "0s"]);
    assert!(
        told.contains(&format!(" stack update {} (cpus=1 -> 1.5, memory=128 MiB -> 64 MiB, ", project.name)),
        "{told}"
    );
    project.ok(&["set", "--stack", "--memory", "512M", "--cpus", "2"]);
    project.ok(&["set", "web", "--memory", "500M", "--cpus", "2"]);
    is(("200000", 512), ("200000", 500));
    project.ok(&["up", "-d"]);
    is(("200000", 512), ("200000", 500));
    project.ok(&["set", "web", "--memory", "40M", "--cpus", "0.5"]);
    project.ok(&["set", "--memory", "50M", "--cpus", "0.75"]);
    is(("75000", 50), ("50000", 40));
    let events = project.ok(&["events", "--since", "1h", "--until", "0s"]);
    let told = format!(" stack update {} (cpus=1.5 -> 2, memory=64 MiB -> 512 MiB, ", project.name);
    assert!(events.contains(&told), "{events}");
    project.ok(&["set", "--reset"]);
    is(("150000", 64), ("50000", 40));
    project.down();
}

#[test]
fn limits_in_force_are_shown_with_where_they_come_from_and_what_the_kernel_has() {
    let file = r#"
x-resources: { limits: { memory: 256m, swap: 64m }, reservations: { cpus: 0.5 } }
services:
  web: { x-rootfs: @busybox@, command: sleep 1000, mem_limit: 64m, cpus: 0.5, x-cpu-burst: 5000, x-oom: pause }
  free: { x-rootfs: @busybox@, command: sleep 1000 }
"#;
    let project = Project::new("set-shown", file);
    project.ok(&["up", "-d"]);
    project.ok(&["set", "web", "--memory", "48M", "--blkio-weight", "60", "--cpuset-mems", "0"]);
    let shown = |args: &[&str]| -> Vec<(String, String, String, String)> {
        let text = project.ok(&[&["set", "--format", "json"], args].concat());
        let one: serde_json::Value = serde_json::from_str(text.trim()).unwrap();
        let word = |limit: &serde_json::Value, key: &str| limit[key].as_str().unwrap().to_owned();
        let row = |limit: &serde_json::Value| {
            let kernel: Vec<&str> =
                limit["Kernel"].as_object().unwrap().values().map(|value| value.as_str().unwrap()).collect();
            (word(limit, "Key"), word(limit, "Value"), word(limit, "From"), kernel.join(" "))
        };
        one["Limits"].as_array().unwrap().iter().map(row).collect()
    };
    let has =
        |rows: &[(String, String, String, String)], key: &str, value: &str, from: &str, kernel: &str| {
            let row = rows.iter().find(|row| row.0 == key).unwrap_or_else(|| panic!("no {key} in {rows:?}"));
            assert_eq!((row.1.as_str(), row.2.as_str()), (value, from), "{rows:?}");
            assert!(row.3.contains(kernel), "{rows:?}");
        };
    let web = shown(&["web"]);
    has(&web, "mem_limit", "48 MiB", "set", &(48_u64 << 20).to_string());
    has(&web, "cpus", "0.5", "file", "50000");
    has(&web, "x-cpu-burst", "5000", "file", "5000");
    has(&web, "x-cpuset-mems", "0", "set", "0");
    has(&web, "blkio_config", "weight 60", "set", "");
    has(&web, "x-oom", "pause", "file", "");
    let stack = shown(&["--stack"]);
    has(&stack, "memswap", "320 MiB", "file", "");
    has(&stack, "reservations.cpus", "0.5", "file", "");
    let table = project.ok(&["set", "web"]);
    assert!(table.starts_with("NAME") && table.contains("-web-1  mem_limit      48 MiB"), "{table}");
    let free = project.run(&["set", "free"]);
    assert!(String::from_utf8(free.stderr).unwrap().contains("no limits are given"));
    // What changes nothing says what there is, and stands over nothing.
    for (args, says) in [
        (
            &["--cpus", "0", "--pids", "-1"][..],
            "cpus of free is no limit as it is, pids_limit of free is no limit as it is",
        ),
        (&["--cpuset", ""], "cpuset of free is no limit as it is"),
    ] {
        let told = project.run(&[&["set", "free"], args].concat());
        let told = String::from_utf8(told.stderr).unwrap();
        assert_eq!(told, format!("nothing to do: {says}\n"));
    }
    for (args, part) in [
        (["--memory", "-5M"], "'--memory <BYTES>': it cannot be negative"),
        (["--cpus", "-1"], "'--cpus <CPUS>': it cannot be negative"),
        (["--blkio-weight", "5"], "10 to 1000"),
        (["--cpu-burst", "50001"], "a burst of 50001 µs is more than the quota of 50000 µs"),
        (["--cpuset-mems", "77"], "memory nodes 77 are not all online"),
        (["--memory-reservation", "50M"], "more memory is reserved than the limit of 48 MiB"),
    ] {
        let (_, message) = project.fails(&[&["set", "web"], &args[..]].concat());
        assert!(message.contains(part), "{args:?}: {message}");
    }
    project.down();
}

#[test]
fn what_changes_of_policies_and_bandwidth_is_told_old_and_new() {
    let file = |rate: &str, oom: &str, cap: &str| {
        format!(
            "x-resources: {{ limits: {{ bandwidth: {{ {cap} }} }} }}\nservices:\n  web: {{ x-rootfs: @busybox@, \
             command: sleep 1000, mem_limit: 64m, x-oom: {oom}, x-bandwidth: {{ egress: {rate} }} }}\n"
        )
    };
    let project = Project::new("set-told", &file("1mbit", "pause", "ingress: 10mbit"));
    project.ok(&["up", "-d"]);
    let before = pids(&project);
    project.write("compose.yaml", &file("2mbit", "kill", "egress: 1500kbit"));
    let up = String::from_utf8(project.run(&["up", "-d"]).stderr).unwrap();
    assert!(up.contains("Updated  x-bandwidth.egress 1mbit -> 2mbit, x-oom pause -> kill"), "{up}");
    let events = project.ok(&["events", "--since", "1h", "--until", "0s"]);
    for part in [
        "x-bandwidth.egress=1mbit -> 2mbit",
        "x-oom=pause -> kill",
        "bandwidth.egress=none -> 1.5mbit, bandwidth.ingress=10mbit -> none",
    ] {
        assert!(events.contains(part), "{part}: {events}");
    }
    assert_eq!(pids(&project), before);
    project.down();
}

#[test]
fn less_memory_than_is_in_use_is_refused_and_by_force_reclaimed_first() {
    let file = r#"
services:
  anon:
    x-rootfs: @busybox@
    mem_limit: 96m
    memswap_limit: 96m
    tmpfs: /full
    command: ["sh", "-c", "dd if=/dev/zero of=/full/file bs=1M count=48 && echo full && exec sleep 1000"]
  other: { x-rootfs: @busybox@, command: sleep 1000, mem_limit: 96m }
"#;
    let project = Project::new("set-full", file);
    project.ok(&["up", "-d"]);
    project.follow_until("anon", "full");
    let before = pids(&project);
    let swap = ["--memory-swap", "24M"];
    let (_, message) = project.fails(&[&["set", "other", "anon", "--memory", "24M"][..], &swap].concat());
    for part in [
        "-anon-1: ",
        "MiB are in use",
        "more than the new limit of 24 MiB",
        "--force",
        "nothing has been changed",
    ] {
        assert!(message.contains(part), "{part}: {message}");
    }
    // It is on a tmpfs, and may not be swapped: there is nothing to reclaim.
    let (_, message) = project.fails(&[&["set", "--force", "anon", "--memory", "24M"][..], &swap].concat());
    assert!(message.contains("could not reclaim enough"), "{message}");
    let groups = ["anon-1", "other-1"].map(|name| memory(&group(&project, name)));
    assert_eq!(groups, [96, 96], "what was changed before is put back");
    project.ok(&["exec", "-T", "anon", "rm", "/full/file"]);
    project.ok(&[&["set", "--force", "other", "anon", "--memory", "24M"][..], &swap].concat());
    assert_eq!(["anon-1", "other-1"].map(|name| memory(&group(&project, name))), [24, 24]);
    assert_eq!(pids(&project), before);
    project.down();
}
