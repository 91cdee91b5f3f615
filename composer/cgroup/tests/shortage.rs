//! Running out of memory, as the kernel tells of it: on v1, v2 and hybrid alike.
#![allow(missing_docs)]

mod support;

use std::os::fd::AsFd as _;
use std::os::unix::process::ExitStatusExt as _;

use composer_cgroup::{Alarm, AtLimit, Group, Limits, Version};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use support::{Scratch, spawn};

const MIB: u64 = 1 << 20;
const LIMIT: u64 = 32 * MIB;
const MARK: u64 = 28 * MIB;

fn limited(scratch: &Scratch, limit: u64) -> Group {
    let limits = Limits { memory: Some(limit), memory_swap: Some(limit as i64), ..Limits::default() };
    scratch.made("short", &limits)
}

fn goes_off(alarm: &Alarm) -> bool {
    let flags = if alarm.is_priority() { PollFlags::POLLPRI } else { PollFlags::POLLIN };
    poll(&mut [PollFd::new(alarm.as_fd(), flags)], PollTimeout::from(60_000_u16)) == Ok(1)
}

#[test]
fn a_kill_is_told_and_takes_the_others_along_on_v2() {
    let scratch = Scratch::new();
    let group = limited(&scratch, LIMIT);
    group.at_limit(AtLimit::KillAll).expect("set");
    let alarm = group.alarm(None).expect("alarm").expect("memory is accounted");
    alarm.arm();
    let pair = spawn(&group, "dd if=/dev/zero of=/dev/null bs=64M count=1 2>&1; echo goes on");
    assert!(goes_off(&alarm), "it goes off");
    let (status, output, _) = pair.finish();
    let is_v2 = scratch.hierarchy.version() == Version::V2;
    assert_eq!((status.signal().is_some(), output.ends_with("goes on")), (is_v2, !is_v2));
    let now = group.shortage().expect("figures");
    assert_eq!((now.kills > 0, now.limit), (true, Some(LIMIT)));
    assert_eq!(now.reached.map(|times| times > 0), is_v2.then_some(true));
}

#[test]
fn a_mark_is_told_before_the_limit_and_page_cache_is_not_what_fills_it() {
    let scratch = Scratch::new();
    let group = limited(&scratch, LIMIT);
    group.at_limit(AtLimit::Tell { mark: MARK }).expect("set");
    let alarm = group.alarm(Some(MARK)).expect("alarm").expect("memory is accounted");
    alarm.arm();
    let file = std::env::temp_dir().join(&scratch.name);
    // Of holes alone: what waits for a busy disk to be written to, v1 kills for.
    std::fs::File::create(&file).and_then(|file| file.set_len(64 * MIB)).expect("a file");
    let read = format!("dd if={} of=/dev/null bs=1M 2>&1", file.display());
    let (status, ..) = spawn(&group, &read).finish();
    std::fs::remove_file(&file).expect("remove");
    assert!(status.success());
    assert!(goes_off(&alarm), "page cache passes the mark too");
    assert!(group.shortage().expect("figures").fixed < MARK / 2);
    alarm.arm();
    // dd has filled its buffer when its first byte arrives, then waits for a reader.
    let mut full = spawn(&group, "exec dd if=/dev/zero bs=29M count=1");
    assert!(full.has_byte(), "it fits below the limit");
    assert!(goes_off(&alarm), "it passes the mark");
    let now = group.shortage().expect("figures");
    assert!((MARK..LIMIT).contains(&now.fixed), "{now:?}");
    group.begin_freeze().expect("freeze");
    if let Some(events) = group.stillness().expect("events") {
        while !group.is_still().expect("state") {
            assert!(
                poll(&mut [PollFd::new(events.as_fd(), PollFlags::POLLPRI)], PollTimeout::from(60_000_u16))
                    .is_ok()
            );
        }
    } else {
        // v1 looks when it is asked.
        while !group.is_still().expect("state") {
            std::thread::yield_now();
        }
    }
    assert!(group.is_frozen().expect("state"));
    group.thaw().expect("thaw");
    assert_eq!(group.shortage().expect("figures").kills, 0);
}

#[test]
fn who_is_to_wait_at_the_limit_waits_on_v1_and_is_killed_on_v2() {
    let scratch = Scratch::new();
    let group = limited(&scratch, LIMIT);
    group.at_limit(AtLimit::Wait).expect("set");
    let alarm = group.alarm(None).expect("alarm").expect("memory is accounted");
    alarm.arm();
    // Memory that the program itself faults for: a system call would fail.
    let grow = "x=0123456789abcdef; while [ ${#x} -lt 33000000 ]; do x=$x$x; done; echo goes on";
    let pair = spawn(&group, grow);
    assert!(goes_off(&alarm), "it goes off");
    if scratch.hierarchy.version() == Version::V2 {
        let (status, output, _) = pair.finish();
        assert_eq!((status.signal().is_some(), output.as_str()), (true, ""), "nothing is left half alive");
        return;
    }
    while !group.shortage().expect("figures").waits {
        alarm.arm();
        std::thread::yield_now();
    }
    let old = Limits { memory: Some(LIMIT), memory_swap: Some(LIMIT as i64), ..Limits::default() };
    let new = Limits { memory: Some(16 * LIMIT), memory_swap: Some(16 * LIMIT as i64), ..Limits::default() };
    assert_eq!(group.update(&old, &new).expect("update"), []);
    let (status, output, _) = pair.finish();
    assert!(status.success() && output.ends_with("goes on"), "{status} {output}");
    assert_eq!(group.shortage().expect("figures").kills, 0);
}
