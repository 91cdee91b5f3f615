//! Disks, huge pages, memory nodes and idle CPU time, from the file to the kernel, on v1 and v2 alike.

use std::fs;
use std::path::PathBuf;

use crate::cgroups::{control, is_v2};
use crate::disk::Disk;
use crate::stack::{Project, alone};

#[test]
fn disks_pages_nodes_and_idle_time_are_in_force_and_change_in_place() {
    let disk = Disk::new("controls", 4 << 20);
    let file = r#"
x-resources:
  limits:
    cpuset_mems: "0"
    hugetlb: { 2M: 8M }
    io: { device_write_bps: [{ path: @disk@, rate: 8mb }] }
services:
  one:
    x-rootfs: @busybox@
    command: sleep 1000
    devices: ["@disk@:/dev/disk"]
    blkio_config:
      device_read_bps: [{ path: @disk@, rate: 2mb }]
    x-hugetlb: { 2M: 4M }
    x-cpuset-mems: "0"
    x-cpu-idle: true
  two: { x-rootfs: @busybox@, command: sleep 1000 }
"#
    .replace("@disk@", &disk.path);
    let project = Project::new("controls", &file);
    project.ok(&["up", "-d"]);
    let stack = format!("compose/{}", project.name);
    let one = format!("{stack}/{}-one-1", project.name);
    let pids = || ["one", "two"].map(|service| project.field(service, "Pid"));
    let before = pids();
    let read_rate = |path: &str| {
        let text = control(path, "io.max", ("blkio", "blkio.throttle.read_bps_device"));
        let line = disk.line(&text)?;
        let rate = line.split(' ').find_map(|word| word.strip_prefix("rbps=")).unwrap_or(&line);
        Some(rate.to_owned()).filter(|rate| rate != "max")
    };
    assert_eq!(read_rate(&one).as_deref(), Some("2097152"));
    let idle = || control(&one, "cpu.idle", ("cpu", "cpu.idle"));
    let nodes = |path: &str| control(path, "cpuset.mems", ("cpuset", "cpuset.mems"));
    assert_eq!((idle().as_str(), nodes(&one).as_str(), nodes(&stack).as_str()), ("1", "0", "0"));
    let write = control(&stack, "io.max", ("blkio", "blkio.throttle.write_bps_device"));
    assert!(disk.line(&write).unwrap().contains("8388608"), "{write}");
    // What reads inside is held: 3 MiB take a second at the least, however busy the machine is.
    let start = std::time::Instant::now();
    project.ok(&[
        "exec",
        "-T",
        "one",
        "dd",
        "if=/dev/disk",
        "of=/dev/null",
        "bs=128k",
        "count=24",
        "iflag=direct",
    ]);
    assert!(start.elapsed().as_secs_f64() > 1.0, "{:?}", start.elapsed());
    let huge = |path: &str| {
        // Beside a v1 that has the others, v2 has what no hierarchy of v1 was mounted for.
        let places = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/hugetlb"];
        let files = places.iter().flat_map(|place| {
            ["hugetlb.2MB.max", "hugetlb.2MB.limit_in_bytes"]
                .map(|file| PathBuf::from(place).join(path).join(file))
        });
        let found: Vec<String> = files.filter_map(|file| fs::read_to_string(file).ok()).collect();
        assert_eq!(found.len(), 1, "{path}");
        found[0].trim().to_owned()
    };
    assert_eq!((huge(&one), huge(&stack)), ((4 << 20).to_string(), (8 << 20).to_string()));
    project.write(
        "compose.yaml",
        &file
            .replace("rate: 2mb", "rate: 1mb")
            .replace("2M: 4M", "2M: 2M")
            .replace("x-cpu-idle: true", "cpu_shares: 512"),
    );
    let plan = project.ok(&["up", "--dry-run"]);
    for key in ["blkio_config", "x-hugetlb", "x-cpu-idle", "cpu_shares"] {
        assert!(plan.contains(key), "{plan}");
    }
    project.ok(&["up", "-d"]);
    assert_eq!(read_rate(&one).as_deref(), Some("1048576"));
    assert_eq!((huge(&one), idle().as_str()), ((2 << 20).to_string(), "0"));
    assert_eq!(control(&one, "cpu.weight", ("cpu", "cpu.shares")), if is_v2() { "59" } else { "512" });
    // All of it goes as it came, and one that had no limits gets some.
    let plain = "x-rootfs: @busybox@, command: sleep 1000";
    let rest = format!(
        "services:\n  one: {{ {plain}, devices: [\"{disk}:/dev/disk\"] }}\n  two: {{ {plain}, blkio_config: {{ device_read_bps: [{{ path: {disk}, rate: 3mb }}] }} }}\n",
        disk = disk.path
    );
    project.write("compose.yaml", &rest);
    project.ok(&["up", "-d"]);
    assert_eq!(
        (read_rate(&one), read_rate(&format!("{stack}/{}-two-1", project.name)).as_deref()),
        (None, Some("3145728"))
    );
    assert_eq!(pids(), before);
    project.down();
}

#[test]
fn a_disk_that_is_none_is_named_with_its_place() {
    let file = "services:\n  one:\n    x-rootfs: @busybox@\n    command: sleep 1\n    blkio_config:\n      device_read_bps: [{ path: /dev/null, rate: 1mb }]\n";
    let project = Project::new("nodisk", file);
    let (code, message) = project.fails(&["up", "-d"]);
    assert_eq!(code, 1);
    assert!(message.contains("`/dev/null` is no block device of this host"), "{message}");
    assert!(message.contains("compose.yaml:6:33"), "{message}");
    project.assert_nothing_left();
}

/// Where a service's only container may run, as the kernel says.
fn cpus(project: &Project, service: &str) -> String {
    let pid = project.field(service, "Pid");
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap();
    line.trim().to_owned()
}

/// On two CPUs, of which the stack has both and one can be given away.
#[test]
fn a_core_is_one_containers_alone_until_it_ends() {
    // There is one core to be given away.
    let _core = alone("core");
    let online = fs::read_to_string("/sys/devices/system/cpu/online").unwrap().trim().to_owned();
    assert_eq!(online, "0-1", "the machines of the project have two CPUs");
    let asks = "services:\n  alone: { x-rootfs: @busybox@, command: sleep 1000, x-cpus-exclusive: 1 }\n  other: { x-rootfs: @busybox@, command: sleep 1000 }\n";
    let one = Project::new("exclusive", asks);
    one.ok(&["up", "-d"]);
    let divided = |project: &Project| (cpus(project, "alone"), cpus(project, "other"));
    let halves = ("1".to_owned(), "0".to_owned());
    assert_eq!(divided(&one), halves);
    assert_eq!(one.field("alone", "ExclusiveCPUs"), "1");
    assert_eq!(one.ok(&["exec", "-T", "alone", "nproc"]), "1\n");
    // Another stack gets none, whether those that watch over the first are there or not.
    let two = Project::new("exclusive-too", asks);
    let refused = || {
        let (code, message) = two.fails(&["up", "-d"]);
        assert_eq!(code, 1, "{message}");
        assert!(message.contains(&format!("{}-alone-1 has 1", one.name)), "{message}");
        assert!(message.contains("compose.yaml:2:"), "{message}");
    };
    refused();
    one.kill_processes("compose-supervisor");
    one.kill_processes("compose-keeper");
    refused();
    assert_eq!(divided(&one), halves);
    // A second of them starts meanwhile: it is kept off too, and so is what runs again.
    one.ok(&["up", "-d", "--scale", "other=2"]);
    one.ok(&["restart", "-t", "0", "alone"]);
    assert_eq!(divided(&one), halves);
    // What it had is everybody's once it has ended.
    one.ok(&["stop", "-t", "0", "alone"]);
    assert_eq!(cpus(&one, "other"), "0-1");
    two.ok(&["up", "-d"]);
    assert_eq!(divided(&two), halves);
    let (_, message) = one.fails(&["start", "alone"]);
    assert!(message.contains(&format!("{}-alone-1 has 1", two.name)), "{message}");
    two.down();
    one.ok(&["start", "alone"]);
    assert_eq!(divided(&one), halves);
    // It gives the core back, and takes it, as it runs.
    let pid = one.field("alone", "Pid");
    one.write("compose.yaml", &asks.replace(", x-cpus-exclusive: 1", ""));
    one.ok(&["up", "-d"]);
    assert_eq!(divided(&one), ("0-1".to_owned(), "0-1".to_owned()));
    one.write("compose.yaml", asks);
    one.ok(&["up", "-d"]);
    assert_eq!(divided(&one), halves);
    assert_eq!(one.field("alone", "Pid"), pid);
    // What cannot be had is found before what runs is stopped for it.
    let before = one.field("alone", "Pid");
    one.write("compose.yaml", &asks.replace("x-cpus", "hostname: changed, x-cpus"));
    let (code, message) = one.fails(&["up", "-d", "--scale", "alone=2"]);
    assert_eq!(code, 1, "{message}");
    assert!(message.contains("-alone-2: 1 core of CPUs 0-1 cannot be had for itself alone"), "{message}");
    assert!(message.contains("compose.yaml:2:"), "{message}");
    assert_eq!((one.field("alone", "Pid"), one.containers().len()), (before, 2));
    assert_eq!(divided(&one), halves);
    one.down();
}

#[test]
fn reserved_cpus_weigh_more_than_none_in_the_service_and_in_its_stack() {
    let plain = "x-rootfs: @busybox@, command: sleep 1000";
    let reserved =
        |cpus: &str| format!("deploy: {{ resources: {{ reservations: {{ cpus: \"{cpus}\" }} }} }}");
    let file = |cpus: &str| {
        format!(
            "services:\n  half: {{ {plain}, {} }}\n  tenth: {{ {plain}, scale: 2, {} }}\n  none: {{ {plain} }}\n",
            reserved(cpus),
            reserved("0.1")
        )
    };
    let project = Project::new("reserved", &file("0.5"));
    project.ok(&["up", "-d"]);
    let stack = format!("compose/{}", project.name);
    let weight = |path: &str| control(path, "cpu.weight", ("cpu", "cpu.shares"));
    let of = |name: &str| weight(&format!("{stack}/{}-{name}", project.name));
    // Ten times the default for each CPU, beside the default; the stack has what all of them have.
    let shown =
        |hundreds: u64| if is_v2() { hundreds.to_string() } else { (hundreds * 1024 / 100).to_string() };
    assert_eq!(["half-1", "tenth-1", "none-1"].map(of), [600, 200, 100].map(shown));
    assert_eq!(weight(&stack), shown(800));
    let pid = project.field("half", "Pid");
    project.write("compose.yaml", &file("1"));
    project.ok(&["up", "-d"]);
    assert_eq!((of("half-1"), weight(&stack)), (shown(1100), shown(1300)));
    assert_eq!(project.field("half", "Pid"), pid);
    project.down();
}

/// v1 alone gives it out, where the kernel is built so; elsewhere it is named.
#[test]
fn real_time_is_given_back_as_it_was_given() {
    let file = |keys: &str| {
        format!(
            "services:\n  one: {{ x-rootfs: @busybox@, command: sleep 1000{keys} }}\n  two: {{ x-rootfs: @busybox@, command: sleep 1000, cpu_rt_runtime: 2000 }}\n"
        )
    };
    let with = ", cpu_rt_runtime: 1000";
    let _alone = alone("realtime");
    let project = Project::new("realtime", &file(with));
    let said = crate::stack::text(&project.run(&["up", "-d"]).stderr);
    if !fs::exists("/sys/fs/cgroup/cpu/cpu.rt_runtime_us").unwrap() {
        assert!(said.contains("cpu_rt_runtime is not in force"), "{said}");
        return project.down();
    }
    let stack = format!("compose/{}", project.name);
    let read = |path: &str| -> u64 { control(path, "", ("cpu", "cpu.rt_runtime_us")).parse().unwrap() };
    let given = || [format!("{stack}/{}-one-1", project.name), stack.clone()].map(|path| read(&path));
    assert_eq!(given(), [1000, 3000]);
    for (keys, expected) in [("", [0, 2000]), (with, [1000, 3000]), (", hostname: other", [0, 2000])] {
        project.write("compose.yaml", &file(keys));
        project.ok(&["up", "-d"]);
        assert_eq!((given(), project.field("one", "State")), (expected, "running".into()), "{keys}");
    }
    project.write("compose.yaml", &file(", cpu_rt_runtime: 960000"));
    let (_, message) = project.fails(&["up", "-d"]);
    assert!(
        message.contains("960000 µs of real-time CPU time in each second are more than can be had"),
        "{message}"
    );
    assert!(message.contains("compose.yaml:2:"), "{message}");
    // Another stack keeps the group around both.
    let other =
        Project::new("realtime-not", "services:\n  one: { x-rootfs: @busybox@, command: sleep 1000 }\n");
    other.ok(&["up", "-d"]);
    project.down();
    assert_eq!(read("compose"), 0, "nobody has any");
    other.down();
}

#[test]
fn who_has_a_core_alone_makes_way_for_who_has_it_by_name() {
    // There is one core to be given away.
    let _core = alone("core");
    let online = fs::read_to_string("/sys/devices/system/cpu/online").unwrap().trim().to_owned();
    assert_eq!(online, "0-1", "the machines of the project have two CPUs");
    let file = |x: &str, y: &str| {
        format!(
            "services:\n  x: {{ x-rootfs: @busybox@, command: sleep 1000, x-cpus-exclusive: 1{x} }}\n  \
             y: {{ x-rootfs: @busybox@, command: sleep 1000, tmpfs: /full{y} }}\n"
        )
    };
    let one = Project::new("makes-way", &file("", ""));
    one.ok(&["up", "-d"]);
    let is = |x: &str, y: &str| {
        assert_eq!((cpus(&one, "x").as_str(), cpus(&one, "y").as_str()), (x, y));
        assert_eq!(one.field("x", "ExclusiveCPUs"), x);
    };
    is("1", "0");
    let pid = one.field("x", "Pid");
    one.ok(&["set", "y", "--cpuset", "1"]);
    is("0", "1");
    // There is none left for it.
    let refused = |args: &[&str], part: &str| {
        let (code, message) = one.fails(&[&["set"], args].concat());
        assert!(code == 1 && message.contains(part), "{args:?}: {message}");
        assert!(message.contains("nothing has been changed"), "{message}");
        is("0", "1");
    };
    refused(&["y", "--cpuset", "0-1"], "cannot be had for itself alone: y has 0-1 by name");
    refused(&["--dry-run", "y", "--cpuset", "0-1"], "cannot be had");
    refused(&["x", "--cpuset", "1"], "1 core of CPUs 1 cannot be had for itself alone: y has 1 by name");
    // What is refused for something else has moved nobody.
    one.ok(&["exec", "-T", "y", "dd", "if=/dev/zero", "of=/full/file", "bs=1M", "count=16"]);
    refused(&["y", "--cpuset", "0", "--memory", "8M"], "are in use");
    one.ok(&["set", "--reset", "y"]);
    one.ok(&["set", "x", "--cpuset", "1"]);
    is("1", "0");
    one.ok(&["set", "x", "--cpuset", "0"]);
    is("0", "1");
    one.ok(&["set", "--reset", "x"]);
    // The same by the file.
    one.write("compose.yaml", &file("", ", cpuset: \"0\""));
    one.ok(&["up", "-d"]);
    is("1", "0");
    one.write("compose.yaml", &file("", ", cpuset: \"1\""));
    one.ok(&["up", "-d"]);
    is("0", "1");
    one.write("compose.yaml", &file(", cpuset: \"1\"", ""));
    one.ok(&["up", "-d"]);
    is("1", "0");
    assert_eq!(one.field("x", "Pid"), pid);
    one.down();
}

#[test]
fn every_limit_of_fifty_services_changes_while_they_run() {
    let file = |limits: &str| {
        let services = (0..50).map(|number| format!("  s{number}: {{ <<: *all, command: sleep 1000 }}\n"));
        format!(
            "x-resources: {{ limits: {{ cpus: 2, memory: 1g }} }}\nx-all: &all {{ x-rootfs: @busybox@, {limits} }}\nservices:\n{}",
            services.collect::<String>()
        )
    };
    let old = "cpu_quota: 50000, cpu_period: 100000, x-cpu-burst: 10000, cpu_shares: 512, cpuset: \"0\", x-cpuset-mems: \"0\", \
               mem_limit: 64m, mem_reservation: 8m, memswap_limit: 64m, x-mem-high: 48m, mem_swappiness: 10, pids_limit: 20, \
               x-hugetlb: { 2M: 4M }, blkio_config: { weight: 100 }";
    let new = "cpus: 0.25, x-cpu-idle: true, cpuset: \"1\", mem_limit: 32m, mem_reservation: 4m, memswap_limit: 48m, \
               x-mem-high: 16m, mem_swappiness: 20, pids_limit: 10, x-hugetlb: { 2M: 2M }, blkio_config: { weight: 200 }";
    let project = Project::new("fifty", &file(old));
    project.ok(&["up", "-d"]);
    let pids = || {
        let containers = project.containers();
        assert_eq!(containers.len(), 50);
        let running = containers.iter().map(|one| (one["Name"].to_string(), one["Pid"].as_i64().unwrap()));
        running.collect::<std::collections::BTreeMap<String, i64>>()
    };
    let before = pids();
    assert!(before.values().all(|pid| *pid > 0), "{before:?}");
    for (limits, mib, count, core) in [(new, 32, "10", "1"), (old, 64, "20", "0")] {
        project.write("compose.yaml", &file(limits));
        project.ok(&["up", "-d"]);
        assert_eq!(pids(), before);
        for number in [0, 24, 49] {
            let path = format!("compose/{0}/{0}-s{number}-1", project.name);
            let memory = control(&path, "memory.max", ("memory", "memory.limit_in_bytes"));
            assert_eq!(memory, (mib << 20).to_string());
            assert_eq!(control(&path, "pids.max", ("pids", "pids.max")), count);
            assert_eq!(control(&path, "cpuset.cpus", ("cpuset", "cpuset.cpus")), core);
            assert_eq!(control(&path, "cpu.idle", ("cpu", "cpu.idle")), if core == "1" { "1" } else { "0" });
        }
    }
    project.down();
}
