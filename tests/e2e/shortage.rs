//! Who runs out of memory while something else happens to it: it is stopped, held or killed by its user, or ends by itself.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};

use crate::stack::{Project, ended, pidfd, text};

/// A service that takes more than its limit as soon as `/go/now` is there, and then does this.
fn waits(name: &str, rest: &str, then: &str) -> String {
    let script =
        format!("trap '' TERM; until [ -e /go/now ]; do sleep 0.1; done; tail -c 100m /dev/zero; {then}");
    format!(
        "  {name}:\n    x-rootfs: @busybox@\n    network_mode: none\n    mem_limit: 32m\n    memswap_limit: 32m\n    \
         volumes: ['./go:/go']\n    command: [sh, -c, \"{script}\"]\n{rest}"
    )
}

fn project(name: &str, file: &str) -> Project {
    let project = Project::new(name, file);
    fs::create_dir(project.folder.join("go")).unwrap();
    project
}

fn go(project: &Project) {
    fs::write(project.folder.join("go/now"), "").unwrap();
}

fn events(project: &Project) -> String {
    project.ok(&["events", "--since", "1000s", "--until", "0s"])
}

fn field(project: &Project, service: &str, field: &str) -> String {
    project.field(service, field).as_str().unwrap().to_owned()
}

#[test]
fn what_is_told_to_end_is_not_held_any_more() {
    let rest = "    x-oom: pause\n    stop_grace_period: 3s\n";
    let project = project("short-stop", &format!("services:\n{}", waits("one", rest, "exec sleep 1000")));
    project.ok(&["up", "-d"]);
    // From the beginning: it may come to look after the signal has been sent.
    let mut events = project.command(&["events", "--since", "1000s"]);
    let mut events = events.stdout(Stdio::piped()).spawn().unwrap();
    let lines = std::io::BufReader::new(events.stdout.take().unwrap());
    let mut stop = project.command(&["stop"]).stderr(Stdio::null()).spawn().unwrap();
    // It has heard its signal, and does not care.
    let mut lines = std::io::BufRead::lines(lines);
    assert!(lines.any(|line| line.unwrap().contains(" container kill ")));
    go(&project);
    assert!(stop.wait().unwrap().success());
    events.kill().unwrap();
    events.wait().unwrap();
    assert_eq!(project.field("one", "ExitCode"), 137);
    project.down();
}

#[test]
fn exec_ends_by_an_interrupt_where_its_container_is_held_and_is_refused_after() {
    // Below its limit, so that nothing waits for memory that the kernel may find after all.
    let takes = "dd if=/dev/zero of=/full/file bs=1M count=45; exec sleep 1000";
    let script = format!("until [ -e /go/now ]; do sleep 0.1; done; {takes}");
    let file = format!(
        "services:\n  one:\n    x-rootfs: @busybox@\n    network_mode: none\n    mem_limit: 48m\n    memswap_limit: 48m\n    \
         tmpfs: /full\n    volumes: ['./go:/go']\n    x-oom: pause\n    command: [sh, -c, '{script}']\n"
    );
    let project = project("short-exec", &file);
    project.ok(&["up", "-d"]);
    let mut exec = project.command(&["exec", "-T", "one", "sh", "-c", "echo in; exec sleep 1000"]);
    let mut exec = exec.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let first = BufReader::new(exec.stdout.take().unwrap()).lines().next();
    assert_eq!(first.unwrap().unwrap(), "in");
    let mut events = project.command(&["events", "--since", "1000s"]).stdout(Stdio::piped()).spawn().unwrap();
    go(&project);
    let mut lines = BufReader::new(events.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("oom: paused")));
    events.kill().unwrap();
    events.wait().unwrap();
    kill(Pid::from_raw(exec.id().cast_signed()), Signal::SIGINT).unwrap();
    assert_eq!(exec.wait().unwrap().code(), Some(130));
    let (code, message) = project.fails(&["exec", "-T", "one", "true"]);
    let why = "is paused, as it has run out of memory: raise its limit, or `compose unpause one`";
    assert!(code == 1 && message.contains(why), "{code} {message}");
    project.down();
}

#[test]
fn a_limit_of_its_own_is_told_from_the_stacks_that_was_reached_before() {
    let big = "  big: { x-rootfs: @busybox@, network_mode: none, command: [tail, -c, 300m, /dev/zero] }\n";
    let file = format!(
        "x-resources: {{ limits: {{ memory: 128M, swap: 0 }} }}\nservices:\n{big}{}",
        waits("own", "", "exec sleep 1000")
    );
    let project = project("short-whose", &file);
    project.ok(&["up", "-d"]);
    project.ok(&["logs", "-f", "--tail", "0", "big"]);
    let reason = field(&project, "big", "Reason");
    assert!(reason.starts_with("big was killed: the stack's limit of 128 MiB was reached; "), "{reason}");
    go(&project);
    project.ok(&["logs", "-f", "--tail", "0", "own"]);
    let reason = field(&project, "own", "Reason");
    assert!(reason.starts_with("own was killed: its limit of 32 MiB was reached; "), "{reason}");
    project.down();
}

#[test]
fn an_end_that_the_user_wants_is_not_put_down_to_a_kill_before_it() {
    let file = format!("services:\n{}", waits("one", "    x-oom: kill\n", "echo goes on; exec sleep 1000"));
    let project = project("short-killed", &file);
    project.ok(&["up", "-d"]);
    go(&project);
    project.follow_until("one", "goes on");
    project.ok(&["kill"]);
    project.ok(&["logs", "-f", "one"]);
    assert_eq!(field(&project, "one", "Reason"), "");
    assert!(!field(&project, "one", "Status").contains("memory"));
    assert_eq!(events(&project).matches(" container oom ").count(), 1);
    project.down();
}

#[test]
fn a_kill_is_told_also_where_all_ends_well() {
    let file = format!("services:\n{}", waits("one", "    x-oom: kill\n", "exit 0"));
    let project = project("short-well", &file);
    project.ok(&["up", "-d"]);
    go(&project);
    project.ok(&["logs", "-f", "one"]);
    assert_eq!(
        (project.field("one", "ExitCode"), field(&project, "one", "Reason")),
        (0.into(), String::new())
    );
    let events = events(&project);
    assert!(events.contains("a process of one was killed: its limit of 32 MiB was reached"), "{events}");
    project.down();
}

#[test]
fn who_is_paused_by_the_user_stays_so_until_the_user_says_so() {
    let script = "dd if=/dev/zero of=/full/file bs=1M count=20; echo full; exec sleep 1000";
    let file = format!(
        "services:\n  one:\n    x-rootfs: @busybox@\n    network_mode: none\n    mem_limit: 64m\n    memswap_limit: 64m\n    \
         tmpfs: /full\n    x-oom: pause\n    command: [sh, -c, '{script}']\n"
    );
    let project = Project::new("short-paused", &file);
    project.ok(&["up", "-d"]);
    project.follow_until("one", "full");
    project.ok(&["pause", "one"]);
    // Below its mark: one that ran would be held.
    project.ok(&["set", "one", "--memory", "23m", "--memory-swap", "23m"]);
    assert!(field(&project, "one", "Status").ends_with("(Paused)"), "{}", field(&project, "one", "Status"));
    project.ok(&["set", "one", "--memory", "64m", "--memory-swap", "64m"]);
    assert_eq!(field(&project, "one", "State"), "paused");
    project.ok(&["unpause", "one"]);
    assert_eq!(field(&project, "one", "State"), "running");
    project.down();
}

#[test]
fn what_a_hook_has_started_goes_with_the_stack_or_with_its_supervisor() {
    let hook = "    x-oom: { policy: kill, hook: [sh, -c, 'setsid sleep 1000 & echo $$! > told; exec sleep 1000'] }\n";
    let project = project("short-hook", &format!("services:\n{}", waits("one", hook, "exec sleep 1000")));
    let told = project.folder.join("told");
    mkfifo(&told, Mode::S_IRWXU).unwrap();
    project.ok(&["up", "-d"]);
    go(&project);
    let left = |text: String| pidfd(text.trim().parse().unwrap());
    let first = left(fs::read_to_string(&told).unwrap());
    project.kill_processes("compose-supervisor");
    ended(&first);
    // Its next end is told by the next supervisor.
    project.ok(&["restart", "-t", "0"]);
    let second = left(fs::read_to_string(&told).unwrap());
    let down = project.run(&["down", "-t", "0"]);
    assert!(down.status.success(), "{}", text(&down.stderr));
    ended(&second);
    project.down();
}
