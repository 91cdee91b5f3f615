//! Limits against real loads: as root, in groups of the test's own, on v1, v2 and hybrid alike.
#![allow(missing_docs)]

mod support;

use std::os::unix::process::ExitStatusExt as _;
use std::time::Instant;

use composer_cgroup::{DeviceKind, DeviceRule, Error, Group, Limits};
use support::{Scratch, spawn};

const MIB: u64 = 1 << 20;

#[test]
fn a_process_above_its_memory_limit_is_killed_and_counted() {
    let scratch = Scratch::new();
    let limits = Limits { memory: Some(24 * MIB), memory_swap: Some(24 * MIB as i64), ..Limits::default() };
    let group = scratch.made("hog", &limits);
    let hog = spawn(&group, "exec dd if=/dev/zero of=/dev/null bs=64M count=1");
    let (status, _, _) = hog.finish();
    assert_eq!(status.signal(), Some(libc::SIGKILL));
    let usage = group.usage().expect("usage");
    assert_eq!(usage.oom_kills, 1);
    // memory.peak came with Linux 5.19 on v2; both kernels of the project have it.
    let peak = usage.memory_peak.expect("a peak");
    assert!((20 * MIB..=24 * MIB).contains(&peak), "peak {peak}");
}

#[test]
fn the_parents_cap_holds_over_the_sum_of_its_children() {
    let scratch = Scratch::new();
    let cap = 64 * MIB;
    let limits = Limits { memory: Some(cap), memory_swap: Some(cap as i64), ..Limits::default() };
    let stack = scratch.made("stack", &limits);
    let one = scratch.made("stack/one", &Limits::default());
    let two = scratch.made("stack/two", &Limits::default());
    // Each alone fits. dd has filled its buffer when its first byte arrives, then waits for a reader.
    let eat = "exec dd if=/dev/zero bs=40M count=1";
    let mut first = spawn(&one, eat);
    assert!(first.has_byte(), "the first child fits");
    let mut second = spawn(&two, eat);
    // A byte, or the end of it: either of the two may be the kernel's choice.
    second.has_byte();
    let killed =
        |(status, ..): &(std::process::ExitStatus, String, String)| status.signal() == Some(libc::SIGKILL);
    let ends = [first.finish(), second.finish()];
    // Rarely both: a dying process is passed over by the OOM killer a moment before its last pages are given
    // back (exit_mmap sets MMF_OOM_SKIP, then frees what it has gathered).
    let dead = ends.iter().filter(|end| killed(end)).count();
    assert!(dead > 0, "both fit under the cap");
    let kills = |group: &Group| group.usage().expect("usage").oom_kills;
    assert_eq!(kills(&one) + kills(&two), dead as u64);
    let peak = stack.usage().expect("usage").memory_peak.expect("a peak");
    assert!((40 * MIB..=cap).contains(&peak), "peak {peak}");
}

#[test]
fn forks_above_the_pids_limit_are_refused() {
    let scratch = Scratch::new();
    let group = scratch.made("forks", &Limits { pids: Some(1), ..Limits::default() });
    let (status, output, errors) = spawn(&group, "echo up; (true); echo not reached").finish();
    assert_eq!(output, "up");
    assert_eq!(status.code(), Some(2));
    assert!(errors.to_lowercase().contains("fork"), "{errors}");

    let group = scratch.made("free", &Limits { pids: Some(-1), ..Limits::default() });
    let (status, ..) = spawn(&group, "(true)").finish();
    assert!(status.success());
}

#[test]
fn a_cpuset_binds_processes_to_its_cores() {
    let scratch = Scratch::new();
    let group = scratch.made("bound", &Limits { cpuset: Some("0".into()), ..Limits::default() });
    let (_, output, _) = spawn(&group, "exec grep Cpus_allowed_list /proc/self/status").finish();
    assert_eq!(output.split_whitespace().last(), Some("0"));
}

#[test]
fn cpu_time_stays_within_the_quota() {
    let scratch = Scratch::new();
    let group = scratch.made("busy", &Limits { cpus: Some(0.25), ..Limits::default() });
    let start = Instant::now();
    let busy = "i=0; while [ $i -lt 150000 ]; do i=$((i + 1)); done";
    let (status, ..) = spawn(&group, busy).finish();
    let elapsed = start.elapsed();
    assert!(status.success());
    let used = group.usage().expect("usage").cpu_usage_usec.expect("cpu time");
    let share = used as f64 / elapsed.as_micros() as f64;
    // The first period is free to use its whole quota at once, and the last is not waited for.
    assert!(share < 0.4, "{used} µs in {elapsed:?}");
    assert!(used > 25_000, "more than one period's quota was asked for: {used} µs");
}

/// By the kernel's own count of periods, which a busy machine makes no longer: in each that it was throttled in, it has
/// had the quota, and in no other more than that.
#[test]
fn cpu_time_over_five_seconds_is_the_quota_of_its_periods() {
    let scratch = Scratch::new();
    let quota = 10_000;
    let group = scratch.made("spinner", &Limits { cpu_quota: Some(quota), ..Limits::default() });
    spawn(&group, "exec timeout 5 sh -c 'while :; do :; done'").finish();
    let stat = scratch.control("spinner", "cpu", "cpu.stat", "cpu.stat");
    let figure = |key: &str| -> f64 {
        let mut lines = stat.lines().filter_map(|line| line.strip_prefix(key));
        lines.next().and_then(|text| text.trim().parse().ok()).unwrap_or_else(|| panic!("{key}: {stat}"))
    };
    let (periods, throttled) = (figure("nr_periods "), figure("nr_throttled "));
    let used = group.usage().expect("usage").cpu_usage_usec.expect("cpu time") as f64 / quota as f64;
    assert!(throttled >= 10.0, "it had more to do than its quota in hardly any period: {stat}");
    assert!(used >= throttled * 0.95, "{used} quotas were used in {throttled} throttled periods");
    // The last period has not been counted yet.
    assert!(used <= (periods + 1.0) * 1.05, "{used} quotas were used in {periods} periods");
}

#[test]
fn each_limit_arrives_in_its_control_file() {
    let scratch = Scratch::new();
    let limits = Limits {
        cpus: Some(1.5),
        cpu_shares: Some(2048),
        memory: Some(64 * MIB),
        memory_reservation: Some(32 * MIB),
        memory_swap: Some(96 * MIB as i64),
        pids: Some(100),
        cpuset: Some("0".into()),
        ..Limits::default()
    };
    scratch.made("all", &limits);
    let read = |controller, v1, v2| scratch.control("all", controller, v1, v2);
    let is_v1 = support::root_of("cpu").1;
    if is_v1 {
        assert_eq!(read("cpu", "cpu.cfs_quota_us", ""), "150000");
        assert_eq!(read("cpu", "cpu.cfs_period_us", ""), "100000");
        assert_eq!(read("cpu", "cpu.shares", ""), "2048");
        assert_eq!(read("memory", "memory.memsw.limit_in_bytes", ""), (96 * MIB).to_string());
    } else {
        assert_eq!(read("cpu", "", "cpu.max"), "150000 100000");
        assert_eq!(read("cpu", "", "cpu.weight"), "174");
        assert_eq!(read("memory", "", "memory.swap.max"), (32 * MIB).to_string());
    }
    assert_eq!(read("memory", "memory.limit_in_bytes", "memory.max"), (64 * MIB).to_string());
    let soft = read("memory", "memory.soft_limit_in_bytes", "memory.low");
    assert_eq!(soft, (32 * MIB).to_string());
    assert_eq!(read("pids", "pids.max", "pids.max"), "100");
    assert_eq!(read("cpuset", "cpuset.cpus", "cpuset.cpus"), "0");
}

#[test]
fn quota_period_and_burst_change_in_place_in_either_direction() {
    let scratch = Scratch::new();
    let of = |quota: i64, period: Option<u64>, burst: Option<u64>| Limits {
        cpu_quota: Some(quota),
        cpu_period: period,
        cpu_burst: burst,
        ..Limits::default()
    };
    let steps = [
        (of(50_000, Some(200_000), Some(50_000)), "50000 200000", "50000"),
        // The burst that was there is more than this quota.
        (of(10_000, Some(20_000), None), "10000 20000", "0"),
        (of(100_000, None, Some(20_000)), "100000 100000", "20000"),
        (of(-1, None, None), "max 100000", "0"),
        (Limits { cpus: Some(0.5), cpu_burst: Some(40_000), ..Limits::default() }, "50000 100000", "40000"),
        (Limits::default(), "max 100000", "0"),
    ];
    let group = scratch.made("time", &Limits::default());
    let is_v1 = support::root_of("cpu").1;
    let read = |v1, v2| scratch.control("time", "cpu", v1, v2);
    let mut old = Limits::default();
    for (new, share, burst) in steps {
        assert_eq!(group.apply(Some(&old), &new).expect("apply"), []);
        let is = match is_v1 {
            true => {
                let quota = read("cpu.cfs_quota_us", "");
                format!("{} {}", if quota == "-1" { "max" } else { &quota }, read("cpu.cfs_period_us", ""))
            }
            false => read("", "cpu.max"),
        };
        assert_eq!(is, share);
        assert_eq!(read("cpu.cfs_burst_us", "cpu.max.burst"), burst);
        old = new;
    }
}

#[test]
fn what_one_version_alone_has_is_set_there_and_missed_on_the_other() {
    let scratch = Scratch::new();
    let limits = Limits {
        memory_high: Some(32 * MIB),
        swappiness: Some(7),
        oom_kill_disable: true,
        ..Limits::default()
    };
    let group = scratch.group("alone");
    let lost: Vec<_> = group.create(&limits).expect("create").into_iter().map(|lost| lost.limit).collect();
    let read = |v1, v2| scratch.control("alone", "memory", v1, v2);
    if support::root_of("memory").1 {
        assert_eq!(lost, ["x-mem-high"]);
        assert_eq!(read("memory.swappiness", ""), "7");
        assert!(read("memory.oom_control", "").contains("oom_kill_disable 1"));
    } else {
        assert_eq!(lost, ["mem_swappiness", "oom_kill_disable"]);
        assert_eq!(read("", "memory.high"), (32 * MIB).to_string());
    }
    group.apply(Some(&limits), &Limits::default()).expect("apply");
    if support::root_of("memory").1 {
        assert!(read("memory.oom_control", "").contains("oom_kill_disable 0"));
        assert_ne!(read("memory.swappiness", ""), "7");
    } else {
        assert_eq!(read("", "memory.high"), "max");
    }
}

#[test]
fn memory_and_swap_change_in_place_in_either_direction() {
    let scratch = Scratch::new();
    let of = |memory: Option<u64>, both: Option<u64>| Limits {
        memory: memory.map(|mib| mib * MIB),
        memory_swap: both.map(|mib| (mib * MIB) as i64),
        ..Limits::default()
    };
    let steps = [
        of(Some(64), Some(64)),
        of(Some(256), Some(512)),
        of(Some(600), Some(600)),
        of(Some(32), Some(48)),
        of(Some(128), None),
        of(None, None),
    ];
    let group = scratch.made("moved", &Limits::default());
    let mut old = Limits::default();
    for new in steps {
        assert_eq!(group.apply(Some(&old), &new).expect("apply"), []);
        let limit = scratch.control("moved", "memory", "memory.limit_in_bytes", "memory.max");
        match new.memory {
            Some(bytes) => assert_eq!(limit, bytes.to_string()),
            None => assert!(limit == "max" || limit.len() >= 19, "unlimited: {limit}"),
        }
        old = new;
    }
}

#[test]
fn a_limit_below_what_is_in_use_is_refused_kills_nobody_and_changes_nothing() {
    let scratch = Scratch::new();
    let of = |mib: u64, pids| Limits {
        memory: Some(mib * MIB),
        memory_swap: Some((mib * MIB) as i64),
        pids: Some(pids),
        cpu_shares: Some(mib),
        ..Limits::default()
    };
    let (old, new) = (of(128, 50), of(16, 10));
    let group = scratch.made("full", &old);
    // dd has filled its buffer when its first byte arrives, then waits for a reader.
    let mut eater = spawn(&group, "exec dd if=/dev/zero bs=48M count=1");
    assert!(eater.has_byte(), "it fits");
    let error = group.update(&old, &new).expect_err("more is in use");
    assert!(matches!(&error, Error::InUse { usage, .. } if *usage > 16 * MIB), "{error:?}");
    assert!(
        error.to_string().contains("mem_limit") || error.to_string().contains("memswap_limit"),
        "{error}"
    );
    let read = |controller, v1, v2| scratch.control("full", controller, v1, v2);
    assert_eq!(read("memory", "memory.limit_in_bytes", "memory.max"), (128 * MIB).to_string());
    assert_eq!(read("pids", "pids.max", "pids.max"), "50");
    if !support::root_of("memory").1 {
        assert_eq!(read("memory", "", "memory.high"), "max");
    }
    assert_eq!(group.usage().expect("usage").oom_kills, 0);
    let (status, ..) = eater.finish();
    assert!(status.success(), "{status}");
    // Once there is room, it is taken over.
    assert_eq!(group.update(&old, &new).expect("update"), []);
    assert_eq!(read("memory", "memory.limit_in_bytes", "memory.max"), (16 * MIB).to_string());
}

#[test]
fn swap_is_limited_to_as_much_as_memory_where_not_given() {
    let scratch = Scratch::new();
    let group = scratch.made("swap", &Limits { memory: Some(64 * MIB), ..Limits::default() });
    let is_v1 = support::root_of("memory").1;
    let check = |mib: Option<u64>| {
        let value = scratch.control("swap", "memory", "memory.memsw.limit_in_bytes", "memory.swap.max");
        match mib {
            // On v1 the file is of memory and swap together.
            Some(mib) => assert_eq!(value, (if is_v1 { 2 * mib } else { mib } * MIB).to_string()),
            None => assert!(value == "max" || value.len() >= 19, "unlimited: {value}"),
        }
    };
    check(Some(64));
    // 0 is the same as nothing, -1 is no limit.
    let steps = [
        (Some(256), Some(0), Some(256)),
        (Some(16), None, Some(16)),
        (Some(16), Some(-1), None),
        (None, None, None),
    ];
    for (memory, memory_swap, swap) in steps {
        let limits = Limits { memory: memory.map(|mib| mib * MIB), memory_swap, ..Limits::default() };
        assert_eq!(group.apply(None, &limits).expect("apply"), []);
        check(swap);
    }
}

/// On v2, where a group's protection is in force only up to its parent's.
#[test]
fn parents_have_the_protection_that_their_children_claim() {
    if support::root_of("memory").1 {
        return;
    }
    let scratch = Scratch::new();
    let low = |mib: u64| Limits { memory_reservation: Some(mib * MIB), ..Limits::default() };
    let check = |stack: u64, outermost: u64| {
        let read = |path: &str| scratch.control(path, "memory", "", "memory.low");
        assert_eq!((read("stack"), read("")), ((stack * MIB).to_string(), (outermost * MIB).to_string()));
    };
    let stack = scratch.made("stack", &Limits::default());
    let one = scratch.made("stack/one", &low(32));
    let two = scratch.made("stack/two", &low(16));
    scratch.made("stack/three", &Limits::default());
    check(48, 48);
    one.apply(Some(&low(32)), &low(64)).expect("apply");
    check(80, 80);
    // The stack's own may be more; it is never less than what is promised inside.
    stack.apply(None, &low(100)).expect("apply");
    check(100, 100);
    stack.apply(None, &low(20)).expect("apply");
    check(80, 80);
    let other = scratch.made("other", &low(8));
    check(80, 88);
    other.remove().expect("remove");
    check(80, 80);
    two.remove().expect("remove");
    stack.create(&Limits::default()).expect("create again");
    check(64, 64);
    stack.remove().expect("remove");
    assert_eq!(scratch.control("", "memory", "", "memory.low"), "0");
}

#[test]
fn cores_are_lifted_from_under_a_process() {
    let scratch = Scratch::new();
    let bound = Limits { cpuset: Some("0".into()), cpuset_mems: Some("0".into()), ..Limits::default() };
    let group = scratch.made("lifted", &bound);
    let mut inside = spawn(&group, "echo in; read line; exec grep Cpus_allowed_list /proc/self/status");
    assert_eq!(inside.line(), "in");
    assert_eq!(group.update(&bound, &Limits::default()).expect("update"), []);
    let (_, output, _) = inside.finish();
    let online = std::fs::read_to_string("/sys/devices/system/cpu/online").expect("CPUs");
    assert_eq!(output.split_whitespace().last(), Some(online.trim()));
}

#[test]
fn cores_of_a_parent_move_with_the_children_that_share_them() {
    let scratch = Scratch::new();
    let on = |cores: &str| Limits { cpuset: Some(cores.into()), ..Limits::default() };
    let stack = scratch.made("stack", &on("0"));
    let child = scratch.made("stack/one", &Limits::default());
    let moves = [("0", "1"), ("1", "0-1"), ("0-1", "0")];
    for (old, new) in moves {
        stack.apply(Some(&on(old)), &on(new)).expect("apply");
        let (_, output, _) = spawn(&child, "exec grep Cpus_allowed_list /proc/self/status").finish();
        assert_eq!(output.split_whitespace().last(), Some(new));
    }
}

#[test]
fn creating_a_group_again_lifts_limits_that_are_gone() {
    let scratch = Scratch::new();
    let group = scratch.made("again", &Limits { pids: Some(5), cpus: Some(0.5), ..Limits::default() });
    assert_eq!(group.create(&Limits::default()).expect("create again"), []);
    assert_eq!(scratch.control("again", "pids", "pids.max", "pids.max"), "max");
    let quota = scratch.control("again", "cpu", "cpu.cfs_quota_us", "cpu.max");
    assert!(quota == "-1" || quota == "max 100000", "{quota}");
}

#[test]
fn a_refused_value_names_file_value_and_reason() {
    let scratch = Scratch::new();
    let group = scratch.group("refused");
    let error = group
        .create(&Limits { cpuset: Some("0-4000".into()), ..Limits::default() })
        .expect_err("no such cores");
    assert!(matches!(&error, Error::Write { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("cpuset.cpus") && text.contains("0-4000"), "{text}");
    assert!(text.contains("cores that this host does not have"), "{text}");

    let error =
        group.create(&Limits { cpus: Some(-1.0), ..Limits::default() }).expect_err("a negative quota");
    assert_eq!(error.to_string(), "set cpus to -1: must be above zero");

    let swap = Limits { memory_swap: Some(1), memory: Some(2), ..Limits::default() };
    let error = group.create(&swap).expect_err("swap below memory");
    assert!(error.to_string().contains("cannot be below mem_limit"), "{error}");
}

#[test]
fn devices_beyond_those_that_are_named_do_not_open() {
    let scratch = Scratch::new();
    let group = scratch.made("few", &Limits::default());
    let rule = |minor, access: &str| DeviceRule {
        kind: Some(DeviceKind::Character),
        major: Some(1),
        minor: Some(minor),
        access: access.to_owned(),
    };
    group.limit_devices(&[rule(3, "rw"), rule(5, "r")]).expect("limit devices");
    let script = "for f in null zero full; do (: < /dev/$f) 2>&- && echo read $f; \
                  (: > /dev/$f) 2>&- && echo write $f; done; exit 0";
    let (status, output, errors) = spawn(&group, script).finish();
    assert!(status.success(), "{errors}");
    assert_eq!(output, "read null\nwrite null\nread zero");
}
