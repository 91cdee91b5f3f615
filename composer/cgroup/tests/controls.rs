//! Disks, huge pages, memory nodes, idle and real-time CPU time, against real loads: as root, in groups of the test's
//! own, on v1, v2 and hybrid alike.
#![allow(missing_docs)]
#![expect(unsafe_code, reason = "huge pages are mapped between fork and exec")]

mod support;

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::time::Instant;

use composer_cgroup::{BlockIo, Controller, DeviceIo, Group, Limits};
use support::disk::Disk;
use support::{Scratch, root_of, spawn_in};

const MIB: u64 = 1 << 20;

fn io(device: DeviceIo) -> Limits {
    Limits { io: BlockIo { weight: None, devices: vec![device] }, ..Limits::default() }
}

/// The line of a device in a file, without its number; nothing where it has none.
fn line(text: &str, (major, minor): (u32, u32)) -> Option<String> {
    let start = format!("{major}:{minor} ");
    text.lines().find_map(|line| line.strip_prefix(&start)).map(str::to_owned)
}

#[test]
fn rates_of_a_disk_arrive_change_and_are_lifted_in_place() {
    let disk = Disk::new("rates", MIB);
    let scratch = Scratch::new();
    let rates =
        |read_bps, write_iops| DeviceIo { device: disk.number, read_bps, write_iops, ..DeviceIo::default() };
    let group = scratch.made("rated", &io(rates(Some(MIB), Some(50))));
    let is_v1 = root_of("blkio").1;
    let check = |read: Option<u64>, writes: Option<u64>| {
        if is_v1 {
            let read_file = |file| line(&scratch.control("rated", "blkio", file, ""), disk.number);
            let text = |rate: Option<u64>| rate.map(|rate| rate.to_string());
            assert_eq!(read_file("blkio.throttle.read_bps_device"), text(read));
            assert_eq!(read_file("blkio.throttle.write_iops_device"), text(writes));
            assert_eq!(read_file("blkio.throttle.write_bps_device"), None);
        } else {
            let text = |rate: Option<u64>| rate.map_or_else(|| "max".to_owned(), |rate| rate.to_string());
            let limited = read.or(writes).is_some();
            let line = line(&scratch.control("rated", "io", "", "io.max"), disk.number);
            let expected = format!("rbps={} wbps=max riops=max wiops={}", text(read), text(writes));
            assert_eq!(line, limited.then_some(expected));
        }
    };
    check(Some(MIB), Some(50));
    let mut old = io(rates(Some(MIB), Some(50)));
    for (read, writes) in [(Some(2 * MIB), None), (None, Some(7)), (None, None)] {
        let new = io(rates(read, writes));
        assert_eq!(group.update(&old, &new).expect("update"), []);
        check(read, writes);
        old = new;
    }
    // A group that has none is given some while processes are in it.
    let plain = scratch.made("plain", &Limits::default());
    let mut sleeper = support::spawn(&plain, "echo in; read line; exit 0");
    assert_eq!(sleeper.line(), "in");
    assert_eq!(plain.update(&Limits::default(), &io(rates(Some(MIB), None))).expect("update"), []);
    let (file, procs) = (format!("/proc/{}/cgroup", sleeper.pid()), format!("{}/plain", scratch.name));
    let groups = std::fs::read_to_string(file).expect("its groups");
    let is_in = |line: &str| (line.contains(":blkio:") || line.starts_with("0::")) && line.ends_with(&procs);
    assert!(groups.lines().any(is_in), "{groups}");
    assert!(sleeper.finish().0.success());
}

/// A throttled reader takes at least the time that its bytes take at the rate, but for the slice that it begins with; a
/// busy machine makes it slower, never faster.
#[test]
fn bytes_and_reads_a_second_stay_within_the_rate() {
    let disk = Disk::new("throttled", 8 * MIB);
    let scratch = Scratch::new();
    let throttled = |name: &str, rate: DeviceIo, dd: &str| {
        let limits = io(DeviceIo { device: disk.number, ..rate });
        let group = scratch.made(name, &limits);
        let script = format!("exec dd if={} of=/dev/null {dd} iflag=direct 2>&1", disk.path.display());
        let start = Instant::now();
        let (status, output, _) = spawn_in(&group, &limits, &script).finish();
        assert!(status.success(), "{output}");
        start.elapsed().as_secs_f64()
    };
    let bytes = DeviceIo { read_bps: Some(2 * MIB), ..DeviceIo::default() };
    let elapsed = throttled("bytes", bytes, "bs=128k count=48");
    assert!(elapsed > 2.5, "6 MiB at 2 MiB a second took {elapsed} s");
    let reads = DeviceIo { read_iops: Some(20), ..DeviceIo::default() };
    let elapsed = throttled("reads", reads, "bs=4k count=50");
    assert!(elapsed > 2.0, "50 reads at 20 a second took {elapsed} s");
    // The kernel's own figures.
    let count = |name: &str, v1: &str, key: &str| -> u64 {
        if root_of("blkio").1 {
            let text = scratch.control(name, "blkio", v1, "");
            let lines = text.lines().filter_map(|text| line(text, disk.number));
            lines.filter_map(|text| text.strip_prefix("Read ")?.parse::<u64>().ok()).sum()
        } else {
            let text = line(&scratch.control(name, "io", "", "io.stat"), disk.number).expect("a line");
            text.split(' ').find_map(|word| word.strip_prefix(key)?.parse().ok()).expect("a figure")
        }
    };
    let meter = scratch.group("bytes").meter().expect("meter");
    let reading = meter.read(true, &mut Vec::new()).expect("read");
    let device = format!("7:{}", disk.number.1);
    let counted = reading.io.as_ref().and_then(|io| io.get(&device)).expect("it counts the disk");
    assert_eq!((counted.read, counted.reads), (6 * MIB, 48));
    assert_eq!(count("bytes", "blkio.throttle.io_service_bytes", "rbytes="), 6 * MIB);
    assert_eq!(count("reads", "blkio.throttle.io_serviced", "rios="), 50);
}

#[test]
fn weights_arrive_and_a_disk_that_is_not_weighed_is_named() {
    let (weighed, plain) = (Disk::new("weighed", MIB), Disk::new("plain", MIB));
    weighed.schedule("bfq");
    plain.schedule("none");
    let scratch = Scratch::new();
    let of = |disk: &Disk| DeviceIo { device: disk.number, weight: Some(300), ..DeviceIo::default() };
    let limits = Limits {
        io: BlockIo { weight: Some(200), devices: vec![of(&weighed), of(&plain)] },
        ..Limits::default()
    };
    let group = scratch.group("weighed");
    let lost = group.create(&limits).expect("create");
    let read = |v1, v2| scratch.control("weighed", if root_of("blkio").1 { "blkio" } else { "io" }, v1, v2);
    let weights = || {
        let both = read("blkio.bfq.weight", "io.bfq.weight")
            + "\n"
            + &read("blkio.bfq.weight_device", "io.bfq.weight");
        let default = both.lines().next().map(|line| line.replace("default ", ""));
        (default.unwrap_or_default(), line(&both, weighed.number))
    };
    assert_eq!(weights(), ("200".to_owned(), Some("300".to_owned())));
    // v2's cost model weighs too, and serves no disk before it is told to (io.cost.qos).
    let (root, is_v1) = root_of("blkio");
    let has_cost = root.join(&scratch.name).join("weighed/io.weight").exists();
    assert!(!is_v1 || !has_cost);
    if has_cost {
        assert_eq!(read("", "io.weight"), "default 1920");
    }
    let keys: Vec<_> = lost.iter().map(|lost| lost.limit).collect();
    assert_eq!(keys, ["blkio_config.weight_device"]);
    assert!(lost[0].reason.contains(&format!("7:{}", plain.number.1)), "{lost:?}");
    group.update(&limits, &Limits::default()).expect("update");
    assert_eq!(weights(), ("100".to_owned(), None));
    // The kernel takes a weight for all disks though it weighs none of them.
    weighed.schedule("none");
    let limits = Limits { io: BlockIo { weight: Some(200), devices: Vec::new() }, ..Limits::default() };
    let lost = group.update(&Limits::default(), &limits).expect("update");
    let named: Vec<_> = lost.iter().map(|lost| lost.limit).collect();
    let disks = std::fs::read_dir("/sys/block").expect("disks").flatten();
    let schedulers =
        disks.filter_map(|disk| std::fs::read_to_string(disk.path().join("queue/scheduler")).ok());
    let others = schedulers.into_iter().any(|text| text.contains("[bfq]"));
    assert_eq!(named, if others { vec![] } else { vec!["blkio_config.weight"] }, "{lost:?}");
}

#[test]
fn what_is_idle_has_no_weight_and_gets_one_again() {
    let scratch = Scratch::new();
    let idle = Limits { cpu_idle: true, ..Limits::default() };
    let heavy = Limits { cpu_shares: Some(2048), ..Limits::default() };
    let group = scratch.made("idle", &idle);
    let read = |v1, v2| scratch.control("idle", "cpu", v1, v2);
    assert_eq!(read("cpu.idle", "cpu.idle"), "1");
    assert_eq!(group.update(&idle, &heavy).expect("update"), []);
    assert_eq!(read("cpu.idle", "cpu.idle"), "0");
    assert_eq!(read("cpu.shares", "cpu.weight"), if root_of("cpu").1 { "2048" } else { "174" });
    assert_eq!(group.update(&heavy, &idle).expect("update"), []);
    assert_eq!(read("cpu.idle", "cpu.idle"), "1");
    assert_eq!(group.update(&idle, &Limits::default()).expect("update"), []);
    assert_eq!(read("cpu.shares", "cpu.weight"), if root_of("cpu").1 { "1024" } else { "100" });
}

#[test]
fn an_idle_group_gives_way_on_a_core_that_another_wants() {
    let scratch = Scratch::new();
    let on = |idle| Limits { cpuset: Some("0".into()), cpu_idle: idle, ..Limits::default() };
    let (idle, busy) = (scratch.made("idle", &on(true)), scratch.made("busy", &on(false)));
    let spin = "echo up; while :; do :; done";
    let mut runners = [&idle, &busy].map(|group| support::spawn(group, spin));
    for runner in &mut runners {
        assert_eq!(runner.line(), "up");
    }
    let used = |group: &Group| group.usage().expect("usage").cpu_usage_usec.expect("cpu time");
    let before = [used(&idle), used(&busy)];
    // Until the busy one has had a second, however long that takes on this machine.
    while used(&busy) < before[1] + 1_000_000 {
        std::thread::yield_now();
    }
    let (idle_used, busy_used) = (used(&idle) - before[0], used(&busy) - before[1]);
    assert!(idle_used * 10 < busy_used, "idle {idle_used} µs, busy {busy_used} µs");
    for runner in &mut runners {
        runner.child.kill().expect("kill");
        runner.child.wait().expect("wait");
    }
}

#[test]
fn a_weight_in_multiples_of_the_default_is_that_much_time() {
    let scratch = Scratch::new();
    let on = |weight| Limits { cpuset: Some("0".into()), cpu_weight: weight, ..Limits::default() };
    let (plain, more) = (scratch.made("plain", &on(None)), scratch.made("more", &on(Some(6.0))));
    let read = |path: &str| scratch.control(path, "cpu", "cpu.shares", "cpu.weight");
    let expected = if root_of("cpu").1 { ["1024", "6144"] } else { ["100", "600"] };
    assert_eq!(["plain", "more"].map(read), expected);
    let spin = "echo up; while :; do :; done";
    let mut runners = [&plain, &more].map(|group| support::spawn(group, spin));
    for runner in &mut runners {
        assert_eq!(runner.line(), "up");
    }
    let used = |group: &Group| group.usage().expect("usage").cpu_usage_usec.expect("cpu time");
    let before = [used(&plain), used(&more)];
    while used(&more) < before[1] + 2_000_000 {
        std::thread::yield_now();
    }
    let (of_plain, of_more) = (used(&plain) - before[0], used(&more) - before[1]);
    assert!(of_more > 3 * of_plain, "{of_more} µs of the one, {of_plain} µs of the other");
    for runner in &mut runners {
        runner.child.kill().expect("kill");
        runner.child.wait().expect("wait");
    }
    // A weight that is given goes first.
    let given = Limits { cpu_shares: Some(2048), ..on(Some(6.0)) };
    assert_eq!(more.update(&on(Some(6.0)), &given).expect("update"), []);
    assert_eq!(read("more"), if root_of("cpu").1 { "2048" } else { "174" });
}

/// v1 alone has it, where the kernel is built so; elsewhere it is named.
#[test]
fn real_time_needs_a_share_of_the_groups_around_too() {
    let scratch = Scratch::new();
    let limits =
        |runtime| Limits { cpu_rt_runtime: Some(runtime), cpu_rt_period: Some(500_000), ..Limits::default() };
    scratch.made("stack", &Limits::default());
    let group = scratch.group("stack/one");
    let lost = group.create(&limits(10_000)).expect("create");
    let (root, is_v1) = root_of("cpu");
    if !is_v1 || !root.join(&scratch.name).join("cpu.rt_runtime_us").exists() {
        let keys: Vec<_> = lost.iter().map(|lost| lost.limit).collect();
        assert_eq!(keys, ["cpu_rt_runtime"]);
        return;
    }
    assert_eq!(lost, []);
    let two = scratch.made("stack/two", &limits(20_000));
    let read = |path: &str| scratch.control(path, "cpu", "cpu.rt_runtime_us", "");
    assert_eq!(["stack/one", "stack/two", "stack", ""].map(read), ["10000", "20000", "60000", "60000"]);
    let run = |group: &Group| support::spawn(group, "exec chrt -f 1 true").finish().0.success();
    assert!(run(&group));
    assert!(!run(&scratch.made("stack/none", &Limits::default())), "without a share there is no real time");
    assert_eq!(two.update(&limits(20_000), &Limits::default()).expect("update"), []);
    assert_eq!(["stack/two", "stack", ""].map(read), ["0", "20000", "20000"]);
    let error = group.update(&limits(10_000), &limits(490_000)).expect_err("more than there is");
    assert!(error.to_string().contains("more real-time CPU time than the host has left"), "{error}");
    assert_eq!(["stack/one", "stack"].map(read), ["10000", "20000"]);
    // What those inside have is left to a group that is to have none itself, and given back by those that go.
    let stack = scratch.group("stack");
    assert_eq!(stack.create(&Limits::default()).expect("taken over"), []);
    assert_eq!(two.update(&Limits::default(), &limits(20_000)).expect("update"), []);
    assert_eq!(["stack/one", "stack", ""].map(read), ["10000", "60000", "60000"]);
    let left = || stack.real_time_left().expect("figures").expect("a bound");
    let beside = scratch.made("beside", &limits(5000));
    let with = left();
    two.remove().expect("remove");
    assert_eq!(["stack/one", "stack", ""].map(read), ["10000", "20000", "30000"]);
    assert_eq!(left(), with, "its own is no others'");
    beside.remove().expect("remove");
    assert_eq!((left(), read("").as_str()), (with + 10_000, "20000"));
}

#[test]
fn memory_nodes_bind_and_move_with_the_parent() {
    let scratch = Scratch::new();
    let nodes = Limits { cpuset_mems: Some("0".into()), ..Limits::default() };
    let group = scratch.made("nodes", &nodes);
    assert_eq!(scratch.control("nodes", "cpuset", "cpuset.mems", "cpuset.mems"), "0");
    let (_, output, _) = support::spawn(&group, "exec grep Mems_allowed_list /proc/self/status").finish();
    assert_eq!(output.split_whitespace().last(), Some("0"));
    let absent = Limits { cpuset_mems: Some("900".into()), ..Limits::default() };
    let error = group.update(&nodes, &absent).expect_err("no such node");
    assert!(error.to_string().contains("nodes that this host does not have"), "{error}");
    assert_eq!(group.update(&nodes, &Limits::default()).expect("update"), []);
    assert_eq!(scratch.control("nodes", "cpuset", "cpuset.effective_mems", "cpuset.mems.effective"), "0");
}

/// Lets the kernel make huge pages of 2 MiB as they are asked for, until it is dropped.
struct HugePages {
    before: String,
}

const OVERCOMMIT: &str = "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_overcommit_hugepages";

impl HugePages {
    fn allow(count: u64) -> Self {
        let before = std::fs::read_to_string(OVERCOMMIT).expect("huge pages of 2 MiB");
        let more = before.trim().parse::<u64>().expect("a number") + count;
        std::fs::write(OVERCOMMIT, more.to_string()).expect("allow huge pages");
        Self { before }
    }
}

impl Drop for HugePages {
    fn drop(&mut self) {
        let _ = std::fs::write(OVERCOMMIT, &self.before);
    }
}

#[test]
fn huge_pages_above_the_limit_are_refused() {
    let scratch = Scratch::new();
    let of = |mib: u64| Limits { hugetlb: BTreeMap::from([(2 * MIB, mib * MIB)]), ..Limits::default() };
    assert!(scratch.hierarchy.has(Controller::Hugetlb), "both kernels of the project have it");
    let group = scratch.group("huge");
    assert_eq!(group.create(&of(4)).expect("create"), []);
    let _pages = HugePages::allow(8);
    let map = |limits: &Limits, mib: u64| {
        let files = support::files(&group, limits);
        let mut command = Command::new("true");
        let join = move || {
            files.iter().try_for_each(|file| std::fs::write(file, "0"))?;
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_HUGETLB;
            let bytes = usize::try_from(mib * MIB).map_err(std::io::Error::other)?;
            // SAFETY: a new mapping at an address of the kernel's choice touches no memory that is in use.
            let address = unsafe { libc::mmap(std::ptr::null_mut(), bytes, libc::PROT_READ, flags, -1, 0) };
            if address == libc::MAP_FAILED { Err(std::io::Error::last_os_error()) } else { Ok(()) }
        };
        // SAFETY: between fork and exec it opens, writes and maps; it may allocate, as glibc's fork(3) leaves the
        // allocator usable in the child.
        unsafe { command.pre_exec(join) };
        command.status().map(|status| status.success()).map_err(|error| error.raw_os_error())
    };
    assert_eq!(map(&of(4), 4), Ok(true));
    assert_eq!(map(&of(4), 6), Err(Some(libc::ENOMEM)));
    assert_eq!(group.update(&of(4), &of(8)).expect("update"), []);
    assert_eq!(map(&of(8), 6), Ok(true));
    assert_eq!(group.update(&of(8), &of(0)).expect("update"), []);
    assert_eq!(map(&of(0), 2), Err(Some(libc::ENOMEM)));
    let lost =
        group.update(&of(0), &Limits { hugetlb: BTreeMap::from([(3 * MIB, MIB)]), ..Limits::default() });
    assert_eq!(lost.expect("update").len(), 1, "there are no pages of 3 MiB");
    assert_eq!(map(&Limits { hugetlb: BTreeMap::from([(3 * MIB, MIB)]), ..Limits::default() }, 6), Ok(true));
}

/// What is asked of the group around holds inside it: as a sum, but for v1's disks, where it is shared by those that
/// have no limits of their own.
#[test]
fn a_group_without_limits_is_held_to_those_around_it() {
    let disk = Disk::new("around", MIB);
    let scratch = Scratch::new();
    let rates = DeviceIo { device: disk.number, read_bps: Some(MIB), ..DeviceIo::default() };
    let cap = Limits { hugetlb: BTreeMap::from([(2 * MIB, 2 * MIB)]), ..io(rates) };
    scratch.made("stack", &Limits::default());
    let one = scratch.made("stack/one", &Limits::default());
    let mut early = support::spawn(&one, "echo in; read line; exit 0");
    assert_eq!(early.line(), "in");
    let stack = scratch.group("stack");
    assert_eq!(stack.update(&Limits::default(), &cap).expect("update"), []);
    let two = scratch.made("stack/two", &Limits::default());
    let mut late = spawn_in(&two, &Limits::default(), "echo in; read line; exit 0");
    assert_eq!(late.line(), "in");
    for (pid, name) in [(early.pid(), "one"), (late.pid(), "two")] {
        let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("its groups");
        let inside = format!("{}/stack/{name}", scratch.name);
        let disks = if root_of("blkio").1 { format!("{}/stack", scratch.name) } else { inside.clone() };
        let is_in = |names: &str, group: &str| {
            groups.lines().any(|line| {
                let mut fields = line.splitn(3, ':').skip(1);
                let (found, path) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
                (found.split(',').any(|each| each == names) || found.is_empty())
                    && path == format!("/{group}")
            })
        };
        assert!(is_in("blkio", &disks), "{groups}");
        assert!(is_in("hugetlb", &inside), "{groups}");
    }
    assert!(early.finish().0.success() && late.finish().0.success());
}
