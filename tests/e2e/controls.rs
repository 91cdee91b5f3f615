//! Disks, huge pages, memory nodes and idle CPU time, from the file to the kernel, on v1 and v2 alike.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

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
    assert_eq!(control(&one, "cpu.weight", ("cpu", "cpu.shares")), if is_v2() { "60" } else { "512" });
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
