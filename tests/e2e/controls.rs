//! Disks, huge pages, memory nodes and idle CPU time, from the file to the kernel, on v1 and v2 alike.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use crate::cgroups::{control, is_v2};
use crate::stack::Project;

/// A loop device, until it is dropped.
struct Disk {
    path: String,
    file: PathBuf,
}

impl Disk {
    fn new(name: &str) -> Self {
        let file = std::env::temp_dir().join(format!("e2e-disk-{name}-{}", std::process::id()));
        fs::write(&file, vec![0; 4 << 20]).unwrap();
        if !fs::exists("/dev/loop-control").unwrap() {
            Command::new("modprobe").arg("loop").status().unwrap();
        }
        loop {
            let free = Command::new("losetup").arg("-f").output().unwrap();
            assert!(free.status.success(), "{free:?}");
            let path = String::from_utf8(free.stdout).unwrap().trim().to_owned();
            let made = Command::new("losetup").arg(&path).arg(&file).output().unwrap();
            if made.status.success() {
                return Self { path, file };
            }
            // Somebody else has taken it meanwhile.
            let error = String::from_utf8_lossy(&made.stderr).to_lowercase();
            assert!(error.contains("busy"), "losetup {path}: {error}");
        }
    }

    /// Its line in a control file, without its number.
    fn line(&self, text: &str) -> Option<String> {
        let number = format!("7:{} ", self.path.trim_start_matches("/dev/loop"));
        text.lines().find_map(|line| line.strip_prefix(&number)).map(str::to_owned)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("losetup").args(["-d", &self.path]).status();
        let _ = fs::remove_file(&self.file);
    }
}

#[test]
fn disks_pages_nodes_and_idle_time_are_in_force_and_change_in_place() {
    let disk = Disk::new("controls");
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

/// There is one core to be given away, and each of these tests wants it.
static CORE: Mutex<()> = Mutex::new(());

/// On two CPUs, of which the stack has both and one can be given away.
#[test]
fn a_core_is_one_containers_alone_until_it_ends() {
    let _core = CORE.lock().unwrap_or_else(PoisonError::into_inner);
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
    one.down();
}

#[test]
fn who_has_a_core_alone_makes_way_for_who_has_it_by_name() {
    let _core = CORE.lock().unwrap_or_else(PoisonError::into_inner);
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
