//! The life of a group: made, listed, joined, killed, removed; nothing is left.
#![allow(missing_docs)]
#![allow(unsafe_code)]

mod support;

use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use composer_cgroup::{Controller, Error, Group, Hierarchy, Limits, Version};
use support::{Scratch, spawn};

/// Of linux/sched.h: beyond the `int` that libc has for it, where it is 0.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

#[test]
fn detection_agrees_with_the_kernels_own_list() {
    let hierarchy = Hierarchy::detect().expect("detect");
    for controller in [Controller::Cpu, Controller::Cpuset, Controller::Memory, Controller::Pids] {
        assert!(hierarchy.has(controller), "{controller}");
    }
    let is_v1 = support::root_of("memory").1;
    assert_eq!(hierarchy.version() == Version::V2, !is_v1);
}

#[test]
fn groups_are_listed_by_name_and_removed_with_what_is_inside() {
    let scratch = Scratch::new();
    let stack = scratch.made("shop", &Limits::default());
    scratch.made("shop/api-1", &Limits::default());
    scratch.made("shop/store-1", &Limits::default());
    let names = |path: &str| scratch.hierarchy.list(&format!("{}/{path}", scratch.name));
    assert_eq!(names("shop").expect("list"), ["api-1", "store-1"]);
    assert_eq!(names("absent").expect("list"), [""; 0]);
    stack.remove().expect("remove");
    assert!(!stack.exists());
    stack.remove().expect("absent is fine");
}

#[test]
fn processes_of_groups_inside_are_found_killed_and_waited_for() {
    let scratch = Scratch::new();
    let outer = scratch.made("outer", &Limits::default());
    let inner = scratch.made("outer/inner", &Limits::default());
    let mut child = spawn(&inner, "echo ready; while :; do (read line); done");
    assert_eq!(child.line(), "ready");
    assert!(outer.pids().expect("pids").contains(&child.pid()));
    outer.kill().expect("kill");
    if outer.open().expect("open").is_some() {
        // v2 tells when the last process is gone: nobody has waited for it here.
        outer.remove().expect("remove");
    }
    let (status, ..) = child.finish();
    assert!(!status.success());
    outer.remove().expect("remove");
    assert!(!outer.exists());
}

#[test]
fn a_group_in_use_is_not_removed() {
    let scratch = Scratch::new();
    let group = scratch.made("used", &Limits::default());
    let mut child = spawn(&group, "echo ready; read line");
    assert_eq!(child.line(), "ready");
    let error = group.remove().expect_err("a process is inside");
    let Error::Remove { source, .. } = &error else { panic!("{error:?}") };
    assert_eq!(source.raw_os_error(), Some(libc::EBUSY));
    assert!(group.exists());
    child.finish();
}

#[test]
fn a_container_can_be_born_in_its_group() {
    let scratch = Scratch::new();
    let group = scratch.made("born", &Limits::default());
    let Some(directory) = group.open().expect("open") else {
        // Without v2 a child joins by itself, as every other test here does.
        assert!(!group.tasks_files().is_empty());
        return;
    };
    // SAFETY: zero is a valid value of each field of this plain structure.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.flags = CLONE_INTO_CGROUP;
    arguments.exit_signal = libc::SIGCHLD as u64;
    arguments.cgroup = directory.as_raw_fd() as u64;
    let size = size_of::<libc::clone_args>();
    // SAFETY: `arguments` lives through the call and has the size that is given. Without CLONE_VM the child
    // has its own copy of memory, and it calls nothing but pause(2).
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size) };
    if pid == 0 {
        loop {
            // SAFETY: pause(2) has no preconditions.
            unsafe { libc::pause() };
        }
    }
    assert!(pid > 0, "clone3: {}", std::io::Error::last_os_error());
    let pid = i32::try_from(pid).expect("a pid");
    let born = group.pids().expect("pids");
    group.kill().expect("kill");
    // SAFETY: waitpid(2) may be given no place for the status.
    let waited = unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) };
    assert_eq!((born, waited), (vec![pid], pid));
}

/// A child that waits, its memberships as it has entered `group`.
fn joined(group: &Group) -> (std::process::Child, String) {
    let mut command = Command::new("sh");
    command.args(["-c", "read line"]).stdin(Stdio::piped());
    let joining = group.clone();
    // SAFETY: the child of the fork is alone with its memory, and glibc's allocator works in it.
    unsafe { command.pre_exec(move || joining.enter().map_err(io::Error::other)) };
    let child = command.spawn().expect("spawn sh");
    let memberships = std::fs::read_to_string(format!("/proc/{}/cgroup", child.id())).expect("memberships");
    (child, memberships)
}

#[test]
fn a_group_everywhere_takes_its_process_out_of_every_other_group() {
    let scratch = Scratch::new();
    let path = format!("{}/.engine/shop", scratch.name);
    let keeper = scratch.hierarchy.group_everywhere(&path);
    assert_eq!(keeper.create(&Limits::default()).expect("create"), []);
    assert_eq!(keeper.create(&Limits::default()).expect("create again"), []);
    let (mut child, memberships) = joined(&keeper);
    for membership in memberships.lines() {
        assert!(membership.ends_with(&format!("/{path}")), "{memberships}");
    }
    let parent = scratch.hierarchy.group_everywhere(&format!("{}/.engine", scratch.name));
    parent.remove_if_empty().expect("in use is fine");
    // It may not have ended when the removal starts.
    keeper.kill().expect("kill");
    keeper.remove().expect("remove");
    assert!(!keeper.exists());
    parent.remove_if_empty().expect("remove the parent");
    assert!(!parent.exists());
    child.wait().expect("wait");
}

#[test]
fn a_hierarchy_that_refuses_does_not_fail_the_others() {
    let mounts = std::fs::read_to_string("/proc/self/mounts").expect("mounts");
    let fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let mut freezers = fields.filter(|fields| fields[2] == "cgroup" && fields[3].ends_with("freezer"));
    let Some(point) = freezers.next().map(|fields| std::ffi::CString::new(fields[1]).expect("a path")) else {
        // Without v1 there is no other hierarchy.
        return;
    };
    let scratch = Scratch::new();
    let group = scratch.hierarchy.group_everywhere(&format!("{}/.engine/shop", scratch.name));
    // A mount namespace is a thread's own: the other tests see nothing of it.
    let test = move || {
        let none = std::ptr::null::<libc::c_char>();
        // SAFETY: unshare(2) takes no pointers.
        assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNS) }, 0);
        let private = libc::MS_REC | libc::MS_PRIVATE;
        let sealed = libc::MS_BIND | libc::MS_REMOUNT | libc::MS_RDONLY;
        for (target, flags) in [(c"/", private), (&point, sealed)] {
            // SAFETY: the target is a string with its null byte; the rest may be null for these flags.
            let done = unsafe { libc::mount(none, target.as_ptr(), none, flags, none.cast()) };
            assert_eq!(done, 0, "{target:?}: {}", io::Error::last_os_error());
        }
        assert_eq!(group.create(&Limits::default()).expect("create"), []);
        let (mut child, memberships) = joined(&group);
        let is_inside = |line: &str| line.ends_with(group.path());
        assert!(
            memberships.lines().all(|line| is_inside(line) != line.contains(":freezer:")),
            "{memberships}"
        );
        child.kill().expect("kill");
        child.wait().expect("wait");
        group.remove_if_empty().expect("remove if empty");
        group.remove().expect("remove");
        assert!(!group.exists());
    };
    std::thread::spawn(test).join().expect("the test's thread");
}

#[test]
fn a_name_cannot_leave_the_hierarchy() {
    let hierarchy = Hierarchy::detect().expect("detect");
    for name in ["", "/etc", "a/../../b", "a//b", "..", "a\nb"] {
        let group = hierarchy.group(name);
        assert!(matches!(group.remove(), Err(Error::Name { .. })), "{name:?}");
        assert!(matches!(group.kill(), Err(Error::Name { .. })), "{name:?}");
        assert!(!group.exists());
    }
}

/// Not a check but a figure, for the log: how long making a limited group takes.
#[test]
#[allow(clippy::print_stderr)]
fn fifty_groups_with_four_limits() {
    let scratch = Scratch::new();
    scratch.made("stack", &Limits::default());
    let limits = Limits {
        cpus: Some(0.5),
        memory: Some(64 << 20),
        memory_swap: Some(64 << 20),
        pids: Some(100),
        ..Limits::default()
    };
    let start = Instant::now();
    let groups: Vec<_> = (0..50).map(|index| scratch.made(&format!("stack/s-{index}"), &limits)).collect();
    let made = start.elapsed();
    let start = Instant::now();
    for group in &groups {
        group.usage().expect("usage");
    }
    let read = start.elapsed();
    let start = Instant::now();
    for group in &groups {
        group.remove().expect("remove");
    }
    let removed = start.elapsed();
    eprintln!("50 groups: made in {made:?}, usage in {read:?}, removed in {removed:?}");
}

#[test]
fn a_group_is_held_with_all_that_it_forks_and_goes_on() {
    let scratch = Scratch::new();
    let group = scratch.made("held", &Limits::default());
    assert!(!group.is_frozen().expect("is_frozen"));
    let mut child = spawn(&group, "echo ready; while read line; do (echo $line; exec true); done");
    assert_eq!(child.line(), "ready");
    group.freeze().expect("freeze");
    assert!(group.is_frozen().expect("is_frozen"));
    group.freeze().expect("one that is held is held again");
    child.tell("on");
    group.thaw().expect("thaw");
    assert_eq!(child.line(), "on");
    // A second time: on v1 the processes are in their directory by now, and those that come later are not.
    let mut late = spawn(&group, "echo late; while :; do (:); done");
    assert_eq!(late.line(), "late");
    group.freeze().expect("freeze");
    let still = group.pids().expect("pids");
    let ran: Vec<String> = still.iter().map(|pid| support::run_time(*pid)).collect();
    for _ in 0..500 {
        assert_eq!(group.pids().expect("pids"), still, "something forks");
        assert_eq!(
            still.iter().map(|pid| support::run_time(*pid)).collect::<Vec<_>>(),
            ran,
            "something runs"
        );
    }
    // What is held can be killed, and removed.
    group.kill().expect("kill");
    assert!(!child.finish().0.success());
    assert!(!late.finish().0.success());
    group.remove().expect("remove");
}

/// Ends the sweeper, after a failed check as well: the scope would wait for it for ever.
struct Finish<'a>(&'a AtomicBool);
impl Drop for Finish<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Somebody sweeps all the time: whoever enters is in all the same, in every hierarchy, and stays.
#[test]
fn a_sweep_takes_what_is_empty_and_nobody_that_enters() {
    let scratch = Scratch::new();
    let parent = scratch.hierarchy.group_everywhere(&format!("{}/.engine", scratch.name));
    let group = |name: &str| scratch.hierarchy.group_everywhere(&format!("{}/.engine/{name}", scratch.name));
    group("left").create(&Limits::default()).expect("create");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let sweeper = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                parent.remove_empty_inside().expect("sweep");
            }
        });
        let finish = Finish(&done);
        for number in 0..20 {
            let name = format!("shop-{number}");
            let entered = group(&name);
            let entering = entered.clone();
            let mut command = Command::new("sh");
            command.args(["-c", "read line"]).stdin(Stdio::piped());
            // SAFETY: the child of the fork is alone with its memory, and glibc's allocator works in it.
            unsafe { command.pre_exec(move || entering.enter().map_err(io::Error::other)) };
            let mut child = command.spawn().expect("spawn sh");
            let memberships = std::fs::read_to_string(format!("/proc/{}/cgroup", child.id())).expect("read");
            for membership in memberships.lines() {
                assert!(membership.ends_with(&format!("/.engine/{name}")), "{memberships}");
            }
            drop(child.stdin.take());
            child.wait().expect("wait");
        }
        drop(finish);
        sweeper.join().expect("sweeper");
    });
    assert!(!group("left").exists());
}
