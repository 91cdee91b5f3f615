//! Restart policies: who comes again, who does not, and what is left after many restarts.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::stack::{Project, ended, groups, pidfd};

/// Counts its starts in its writable layer, and tells each one.
const COUNT: &str = "n=$$(cat /n 2>/dev/null || echo 0); echo $$((n+1)) > /n; echo run $$n";

/// A service that ends with code 1 until it has been started `good` times, and then stays.
fn crashing(good: u32, keys: &str) -> String {
    format!(
        "{{ x-rootfs: @busybox@, command: [\"sh\", \"-c\", '{COUNT}; [ $$n -ge {good} ] && exec sleep 1000; exit 1'], {keys} }}"
    )
}

const SOON: &str = "deploy: { restart_policy: { delay: 1ms } }";
const LATE: &str = "deploy: { restart_policy: { delay: 1h } }";

/// An attached `up`, with its standard output to read.
fn attached(project: &Project) -> (Child, impl Iterator<Item = String> + use<>) {
    let mut up = project.command(&["up"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let lines = BufReader::new(up.stdout.take().unwrap()).lines().map(Result::unwrap);
    (up, lines)
}

fn pid_of(project: &Project, service: &str) -> i32 {
    i32::try_from(project.field(service, "Pid").as_i64().unwrap()).unwrap()
}

#[test]
fn codes_and_attempts_decide() {
    let file = format!(
        r#"
services:
  never: {{ x-rootfs: @busybox@, command: ["sh", "-c", "{COUNT}; exit 1"] }}
  failed: {{ x-rootfs: @busybox@, command: ["sh", "-c", "{COUNT}; exit 3"], restart: "on-failure:2" }}
  clean: {{ x-rootfs: @busybox@, command: ["sh", "-c", "{COUNT}"], restart: on-failure }}
  always: {{ x-rootfs: @busybox@, command: ["sh", "-c", "{COUNT}"], deploy: {{ restart_policy: {{ max_attempts: 3, delay: 1ms }} }} }}
"#
    );
    let project = Project::new("restart-codes", &file);
    project.ok(&["up", "-d"]);
    // Ends when all have ended for good.
    let lines = project.ok(&["logs", "-f", "--no-color"]);
    for (service, runs, code) in [("never", 1, 1), ("failed", 3, 3), ("clean", 1, 0), ("always", 4, 0)] {
        let told = lines.lines().filter(|line| line.starts_with(&format!("{service}-1")));
        assert!(told.count() >= runs, "{service}: {lines}");
        let log = project.ok(&["logs", "--no-log-prefix", service]);
        let expected: String = (0..runs).map(|number| format!("run {number}\n")).collect();
        assert_eq!(log, expected, "{service}: each start once, over the same writable layer");
        assert_eq!(project.field(service, "State"), "exited", "{service}");
        assert_eq!(project.field(service, "ExitCode"), code, "{service}");
    }
    project.down();
}

#[test]
fn a_container_waits_for_its_restart_and_keeps_its_address() {
    let project = Project::new("restart-waits", &format!("services: {{ one: {} }}", crashing(9, LATE)));
    let (mut up, mut lines) = attached(&project);
    assert!(lines.any(|line| line.ends_with("exited with code 1 (restarting)")));
    let one = project.containers().remove(0);
    assert_eq!((&one["State"], &one["ExitCode"]), (&Value::from("restarting"), &Value::from(1)), "{one}");
    assert!(one["Status"].as_str().unwrap().starts_with("Restarting (1) "), "{one}");
    assert!(one["Address"].as_str().is_some_and(|address| !address.is_empty()), "{one}");
    // As Docker has it, it counts as running.
    assert_eq!(project.ok(&["ps", "--services"]), "one\n");
    let (code, error) = project.fails(&["exec", "-T", "one", "true"]);
    assert_eq!(code, 1);
    assert!(error.contains("is being restarted"), "{error}");
    // `up` is attached still, and stops it for good.
    kill(Pid::from_raw(up.id().cast_signed()), Signal::SIGINT).unwrap();
    assert_eq!(up.wait().unwrap().code(), Some(130));
    assert_eq!(project.field("one", "State"), "exited");
    // Later processes know it too.
    for program in ["compose-keeper", "compose-supervisor"] {
        project.kill_processes(program);
    }
    assert_eq!(project.field("one", "State"), "exited");
    project.down();
}

#[test]
fn an_attached_up_goes_over_restarts_and_ends_with_the_last() {
    let file = format!(
        r#"services: {{ one: {{ x-rootfs: @busybox@, command: ["sh", "-c", "{COUNT}; exit 4"], restart: "on-failure:2" }} }}"#
    );
    let project = Project::new("restart-attached", &file);
    let (mut up, lines) = attached(&project);
    let lines: Vec<String> = lines.collect();
    assert!(up.wait().unwrap().success());
    let told = |end: &str| lines.iter().filter(|line| line.ends_with(end)).count();
    assert_eq!(told("exited with code 4 (restarting)"), 2, "{lines:?}");
    assert_eq!(told("exited with code 4"), 1, "{lines:?}");
    for number in 0..3 {
        assert_eq!(told(&format!("run {number}")), 1, "{lines:?}");
    }
    project.down();
}

#[test]
fn wait_forgives_a_crash_and_no_crash_loop() {
    let file = format!("services: {{ one: {} }}", crashing(1, SOON));
    let project = Project::new("restart-wait", &file);
    project.ok(&["up", "-d", "--wait"]);
    assert_eq!(project.field("one", "State"), "running");
    project.write("compose.yaml", &format!("services: {{ one: {} }}", crashing(1000, SOON)));
    let (code, error) = project.fails(&["up", "-d", "--wait"]);
    assert_eq!(code, 1);
    assert!(error.contains("one-1 keeps ending with code 1; it has been restarted "), "{error}");
    project.down();
}

#[test]
fn dependents_wait_while_a_one_shot_is_tried_again() {
    let file = format!(
        r#"
services:
  prepare: {{ x-rootfs: @busybox@, command: ["sh", "-c", '{COUNT}; [ $$n -ge 2 ]'], restart: on-failure }}
  shaky: {{ x-rootfs: @busybox@, command: ["sh", "-c", '{COUNT}; [ $$n -ge 1 ] && touch /tmp/up && exec sleep 1000; exit 1'], restart: always,
            healthcheck: {{ test: ["CMD", "test", "-e", "/tmp/up"], interval: 1s }} }}
  after:
    x-rootfs: @busybox@
    command: sleep 1000
    depends_on: {{ prepare: {{ condition: service_completed_successfully }}, shaky: {{ condition: service_healthy }} }}
  hopeless: {{ x-rootfs: @busybox@, command: ["sh", "-c", "exit 5"], restart: "on-failure:1", profiles: [bad] }}
  never: {{ x-rootfs: @busybox@, command: sleep 1000, profiles: [bad], depends_on: {{ hopeless: {{ condition: service_completed_successfully }} }} }}
"#
    );
    let project = Project::new("restart-gates", &file);
    project.ok(&["up", "-d"]);
    assert_eq!(project.field("after", "State"), "running");
    assert_eq!(project.ok(&["logs", "--no-log-prefix", "prepare"]), "run 0\nrun 1\nrun 2\n");
    let (code, error) = project.fails(&["--profile", "bad", "up", "-d"]);
    assert_eq!(code, 1);
    assert!(error.contains("hopeless-1 didn't complete successfully: exit 5"), "{error}");
    project.down();
}

#[test]
fn a_program_that_is_gone_is_a_failed_start() {
    let file = r#"
services:
  one: { x-rootfs: @busybox@, command: ["/bin/sh", "-c", "echo once; rm /bin/sh; exit 1"], restart: "on-failure:2" }
"#;
    let project = Project::new("restart-gone", file);
    project.ok(&["up", "-d"]);
    project.ok(&["logs", "-f", "one"]);
    assert_eq!(project.field("one", "State"), "exited");
    assert_eq!(project.field("one", "ExitCode"), 127);
    assert!(project.field("one", "Reason").as_str().unwrap().contains("/bin/sh"));
    assert_eq!(project.ok(&["logs", "--no-log-prefix", "one"]), "once\n");
    project.down();
}

fn outlives(name: &str, victims: &[&str]) {
    let keys = "deploy: { restart_policy: { delay: 2s } }";
    let project = Project::new(name, &format!("services: {{ one: {} }}", crashing(1, keys)));
    let (mut up, mut lines) = attached(&project);
    assert!(lines.any(|line| line.ends_with("(restarting)")));
    up.kill().unwrap();
    up.wait().unwrap();
    for victim in victims {
        project.kill_processes(victim);
    }
    project.follow_until("one", "run 1");
    assert_eq!(project.field("one", "State"), "running");
    project.down();
}

#[test]
fn a_restart_outlives_the_supervisor() {
    outlives("restart-supervisor", &["compose-supervisor"]);
}

#[test]
fn a_restart_outlives_the_keeper() {
    outlives("restart-keeper", &["compose-keeper"]);
}

#[test]
fn a_restart_outlives_both() {
    outlives("restart-both", &["compose-keeper", "compose-supervisor"]);
}

#[test]
fn both_may_die_again_and_again_in_the_midst_of_restarts() {
    let project = Project::new("restart-storm", &format!("services: {{ one: {} }}", crashing(100_000, SOON)));
    project.ok(&["up", "-d"]);
    for round in 0..9 {
        // It goes on whatever has been killed.
        let (before, begun) = (project.ok(&["logs", "--no-log-prefix", "one"]), Instant::now());
        while project.ok(&["logs", "--no-log-prefix", "one"]) == before {
            assert!(begun.elapsed() < Duration::from_secs(60), "it does not come again: {before}");
        }
        let victims: &[&str] = match round % 3 {
            0 => &["compose-supervisor"],
            1 => &["compose-keeper"],
            _ => &["compose-keeper", "compose-supervisor"],
        };
        victims.iter().for_each(|victim| project.kill_processes(victim));
    }
    let lines = project.ok(&["logs", "--no-log-prefix", "one"]);
    let number = |line: &str| line.strip_prefix("run ").and_then(|number| number.parse().ok());
    let starts: Vec<u32> =
        lines.lines().map(|line| number(line).unwrap_or_else(|| panic!("{line:?} among {lines}"))).collect();
    assert!(starts.is_sorted_by(|one, next| one < next), "a start is told twice: {starts:?}");
    // Last words in the pipe of a program that ends while nobody holds it are lost, once for each time both are killed.
    let lost = usize::try_from(*starts.last().unwrap()).unwrap() + 1 - starts.len();
    assert!(lost <= 3, "starts are lost: {starts:?}");
    project.down();
}

#[test]
fn a_restart_of_another_boot_is_not_made_up_for() {
    let project = Project::new("restart-old-boot", &format!("services: {{ one: {} }}", crashing(9, LATE)));
    let (mut up, mut lines) = attached(&project);
    assert!(lines.any(|line| line.ends_with("(restarting)")));
    up.kill().unwrap();
    up.wait().unwrap();
    project.kill_both();
    let folder = Path::new("/var/lib/compose/stacks").join(&project.name).join("containers");
    let record = folder.join(format!("{}-one-1/record.json", project.name));
    let text = fs::read_to_string(&record).unwrap();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    assert!(text.contains(boot.trim()), "{text}");
    fs::write(&record, text.replace(boot.trim(), "another")).unwrap();
    assert_eq!(project.field("one", "State"), "exited");
    project.down();
}

#[test]
fn one_that_was_killed_for_its_memory_comes_again() {
    let file = format!(
        r#"
services:
  one:
    x-rootfs: @busybox@
    command: ["sh", "-c", "{COUNT}; exec tail -c 1000m /dev/zero"]
    mem_limit: 8m
    memswap_limit: 8m
    restart: "on-failure:1"
"#
    );
    let project = Project::new("restart-memory", &file);
    project.ok(&["up", "-d"]);
    project.ok(&["logs", "-f", "one"]);
    assert_eq!(project.ok(&["logs", "--no-log-prefix", "one"]), "run 0\nrun 1\n");
    assert_eq!(project.field("one", "ExitCode"), 137);
    assert!(project.field("one", "Reason").as_str().unwrap().contains("its limit of 8 MiB was reached"));
    project.down();
}

/// A service that waits for a line in a FIFO and ends with 3; the second time it stays.
const TOLD: &str = r#"
services:
  one:
    x-rootfs: @busybox@
    command: ["sh", "-c", "[ -e /once ] && echo again && exec sleep 1000; echo start; touch /once; read line < /shared/go; exit 3"]
    volumes: ["./shared:/shared"]
    restart: on-failure
"#;

#[test]
fn an_end_while_both_are_gone_is_followed_by_a_start() {
    let project = Project::new("restart-absent", TOLD);
    fs::create_dir(project.folder.join("shared")).unwrap();
    let go = project.folder.join("shared/go");
    nix::unistd::mkfifo(&go, nix::sys::stat::Mode::S_IRWXU).unwrap();
    project.ok(&["up", "-d"]);
    project.follow_until("one", "start");
    let pid = pid_of(&project, "one");
    let service = pidfd(pid);
    project.kill_both();
    fs::write(&go, "go\n").unwrap();
    ended(&service);
    // The next command takes up what it finds, and the policy goes on.
    project.ok(&["up", "-d", "--wait"]);
    assert_eq!(project.field("one", "State"), "running");
    assert_ne!(pid_of(&project, "one"), pid);
    project.follow_until("one", "again");
    assert_eq!(project.ok(&["logs", "--no-log-prefix", "one"]), "start\nagain\n");
    project.down();
}

#[test]
fn down_in_the_midst_of_restarts_leaves_nothing() {
    let mut file = String::from("services:\n");
    for number in 0..12 {
        file += &format!("  s{number}: {}\n", crashing(100_000, SOON));
    }
    for round in 0..4 {
        let project = Project::new(&format!("restart-down-{round}"), &file);
        project.ok(&["up", "-d"]);
        // One of them at least is on its way.
        project.follow_until("s3", &format!("run {}", round + 1));
        project.down();
    }
}

#[test]
fn an_operation_on_others_does_not_hold_a_restart_up() {
    let file = format!(
        r#"
services:
  one: {}
  never: {{ x-rootfs: @busybox@, command: sleep 1000, healthcheck: {{ test: ["CMD", "false"], interval: 100s }} }}
  after: {{ x-rootfs: @busybox@, command: sleep 1000, depends_on: {{ never: {{ condition: service_healthy }} }} }}
"#,
        crashing(5, SOON)
    );
    let project = Project::new("restart-beside", &file);
    // It waits for ever.
    let mut up = project.command(&["up", "-d"]).stderr(Stdio::null()).spawn().unwrap();
    while project.containers().iter().all(|container| container["State"] == "created") {
        std::thread::yield_now();
    }
    project.follow_until("one", "run 5");
    assert!(up.try_wait().unwrap().is_none(), "`up` still waits");
    project.ok(&["down", "-t", "0"]);
    assert!(!up.wait().unwrap().success());
    project.assert_nothing_left();
}

#[test]
fn a_changed_service_that_waits_for_its_restart_is_made_anew() {
    let project = Project::new("restart-changed", &format!("services: {{ one: {} }}", crashing(9, LATE)));
    let (mut up, mut lines) = attached(&project);
    assert!(lines.any(|line| line.ends_with("(restarting)")));
    up.kill().unwrap();
    up.wait().unwrap();
    // Nothing has changed: it goes on waiting, as in Docker.
    project.ok(&["up", "-d"]);
    assert_eq!(project.field("one", "State"), "restarting");
    project.write("compose.yaml", "services: { one: { x-rootfs: @busybox@, command: sleep 1000 } }");
    project.ok(&["up", "-d"]);
    assert_eq!(project.field("one", "State"), "running");
    project.down();
}

#[test]
fn a_boot_brings_back_all_but_what_a_user_had_stopped() {
    let file = r#"
services:
  once: { x-rootfs: @busybox@, command: ["sh", "-c", "while true; do echo tick; sleep 0.05; done"], restart: unless-stopped }
  ever: { x-rootfs: @busybox@, command: sleep 1000, restart: always }
"#;
    let project = Project::new("restart-boot", file);
    let state = |service: &str| project.field(service, "State");
    project.ok(&["up", "-d"]);
    let reboot = || {
        for program in ["compose-keeper", "compose-supervisor"] {
            project.kill_processes(program);
        }
        project.ok(&["unit", "start"]);
    };
    project.ok(&["unit", "stop"]);
    assert_eq!((state("once"), state("ever")), ("exited".into(), "exited".into()));
    reboot();
    assert_eq!((state("once"), state("ever")), ("running".into(), "running".into()));
    // A user stops it, once `up` has had its turn: one that still waits for that stops nothing.
    let mut up = project.command(&["up"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut told = BufReader::new(up.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(told.any(|line| line.contains("once-1  Running")));
    kill(Pid::from_raw(up.id().cast_signed()), Signal::SIGINT).unwrap();
    let errors = std::thread::spawn(move || told.count());
    let mut lines = BufReader::new(up.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("once-1 exited with code")));
    let _ = (lines.count(), errors.join());
    assert_eq!(up.wait().unwrap().code(), Some(130));
    project.ok(&["unit", "stop"]);
    reboot();
    assert_eq!((state("once"), state("ever")), ("exited".into(), "running".into()));
    // Whoever asks for it has it again.
    project.ok(&["up", "-d"]);
    project.ok(&["unit", "stop"]);
    reboot();
    assert_eq!((state("once"), state("ever")), ("running".into(), "running".into()));
    project.down();
}

#[test]
fn enable_writes_a_unit_and_disable_removes_it() {
    let file = r#"
services: { one: { x-rootfs: @busybox@, command: "sleep ${SECONDS_TO_SLEEP:-1000}", restart: always } }
"#;
    let project = Project::new("restart-enable", file);
    let output = project.run(&["up", "-d"]);
    let told = crate::stack::text(&output.stderr);
    assert!(told.contains("`compose enable`"), "{told}");
    let folder = project.folder.join("units here");
    let units = folder.to_str().unwrap();
    let unit = folder.join(format!("compose-{}.service", project.name));
    let link = folder.join("multi-user.target.wants").join(unit.file_name().unwrap());

    let output =
        project.command(&["enable", "--directory", units]).env("SECONDS_TO_SLEEP", "9").output().unwrap();
    let told = crate::stack::text(&output.stderr);
    assert!(output.status.success() && told.contains("SECONDS_TO_SLEEP"), "{told}");
    project.ok(&["enable", "--directory", units]);
    let text = fs::read_to_string(&unit).unwrap();
    assert_eq!(fs::read_to_string(&link).unwrap(), text, "the link leads to the unit");
    assert_eq!(project.ok(&["enable", "--print"]), text);
    let start = text.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
    let compose = project.folder.join("compose.yaml");
    assert!(start.contains(&format!("\"--file\" \"{}\"", compose.display())), "{start}");
    // What it calls works from anywhere.
    let words: Vec<&str> = start.split('"').filter(|word| !word.trim().is_empty()).collect();
    let (verb, words) = words.split_last().unwrap();
    let mut command = std::process::Command::new(words[0]);
    command.args(&words[1..]).args(verb.split_whitespace()).current_dir("/");
    assert!(command.status().unwrap().success());

    project.ok(&["disable", "--directory", units]);
    assert!(!unit.exists() && fs::symlink_metadata(&link).is_err());
    let output = project.run(&["disable", "--directory", units]);
    let told = crate::stack::text(&output.stderr);
    assert!(told.contains("is not enabled"), "{told}");
    fs::write(&unit, "[Unit]\n").unwrap();
    for verb in ["enable", "disable"] {
        let (_, error) = project.fails(&[verb, "--directory", units]);
        assert!(error.contains("was not written by `compose enable`"), "{error}");
    }
    let (_, error) = project.fails(&["-f", "-", "enable", "--print"]);
    assert!(!error.is_empty());
    project.down();
}

/// What the two processes of a stack hold, and what the kernel holds for them.
#[derive(Debug, PartialEq, Eq)]
struct Held {
    descriptors: usize,
    groups: usize,
    ports: usize,
    mounts: usize,
    namespaces: usize,
}

fn processes(project: &Project) -> Vec<i32> {
    ["compose-keeper", "compose-supervisor"].iter().flat_map(|name| project.processes(name)).collect()
}

fn held(project: &Project) -> Held {
    let entries = |folder: &Path| fs::read_dir(folder).map_or(0, Iterator::count);
    let processes = processes(project);
    let descriptors = processes.iter().map(|pid| entries(Path::new(&format!("/proc/{pid}/fd")))).sum();
    let lines = |pid: &i32| fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap().lines().count();
    let folders = |group: &std::path::PathBuf| {
        fs::read_dir(group).unwrap().filter(|entry| entry.as_ref().unwrap().path().is_dir()).count()
    };
    let links = processes.iter().flat_map(|pid| fs::read_dir(format!("/proc/{pid}/fd")).unwrap());
    let links = links.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok());
    let namespaces: BTreeSet<_> = links.filter(|link| link.to_string_lossy().starts_with("net:[")).collect();
    let bridge = composer_network::names::bridge(&project.name, "default");
    Held {
        descriptors,
        groups: groups(&project.name).iter().map(folders).sum(),
        ports: entries(&Path::new("/sys/class/net").join(bridge).join("brif")),
        mounts: processes.iter().map(lines).sum(),
        namespaces: namespaces.len(),
    }
}

/// Memory of the two processes in KiB, shared pages by their share, without those of the program's file: how many share
/// them is up to other stacks.
fn memory(project: &Project) -> u64 {
    let pss = |pid: &i32| {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("Pss_Anon:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
    };
    processes(project).iter().map(pss).sum()
}

/// `scripts/soak` asks for a thousand.
#[test]
fn many_restarts_leave_no_trace() {
    let restarts: u32 =
        std::env::var("COMPOSER_RESTARTS").map_or(200, |number| number.parse().expect("a number"));
    let file = format!(
        r#"
services:
  one:
    x-rootfs: @busybox@
    command: ["sh", "-c", "{COUNT}; if [ $$n -eq 10 ] || [ $$n -eq {restarts} ]; then read line < /shared/go; fi; exit 1"]
    volumes: ["./shared:/shared"]
    mem_limit: 32m
    {SOON}
"#
    );
    let project = Project::new("restart-many", &file);
    fs::create_dir(project.folder.join("shared")).unwrap();
    let go = project.folder.join("shared/go");
    nix::unistd::mkfifo(&go, nix::sys::stat::Mode::S_IRWXU).unwrap();
    project.ok(&["up", "-d"]);
    // While one start is looked at, the program waits.
    project.follow_until("one", "run 10");
    let address = project.field("one", "Address");
    let (before, small) = (held(&project), memory(&project));
    fs::write(&go, "go\n").unwrap();
    project.follow_until("one", &format!("run {restarts}"));
    let (after, large) = (held(&project), memory(&project));
    // Clients that have just gone may not have been noticed yet; what each restart left would be hundreds.
    assert!(after.descriptors.abs_diff(before.descriptors) < 10, "{before:?}, then {after:?}");
    // One may be open while a start is under way.
    assert!(after.namespaces.abs_diff(before.namespaces) < 10, "{before:?}, then {after:?}");
    let lasting = |held: Held| Held { descriptors: 0, namespaces: 0, ..held };
    assert_eq!(lasting(after), lasting(before));
    assert!(large < small * 5 / 4 + 1024, "memory grew from {small} to {large} KiB");
    assert_eq!(project.field("one", "Address"), address);
    project.down();
}

/// Returns once the only container of a service is in this state.
fn becomes(project: &Project, service: &str, state: &str) {
    let is_so = |container: &Value| container["Service"] == service && container["State"] == state;
    while !project.containers().iter().any(is_so) {
        std::thread::yield_now();
    }
}

#[test]
fn a_client_that_is_stopped_holds_nobody_up_and_ends_leave_nothing_meanwhile() {
    let file = format!(
        r#"
services:
  one: {}
  two: {}
  never: {{ x-rootfs: @busybox@, command: sleep 1000, healthcheck: {{ test: ["CMD", "false"], interval: 100s }} }}
  after: {{ x-rootfs: @busybox@, command: sleep 1000, depends_on: {{ never: {{ condition: service_healthy }} }} }}
"#,
        crashing(100_000, SOON),
        crashing(100_000, SOON)
    );
    let project = Project::new("restart-stopped", &file);
    let mut up = project.command(&["up", "-d"]).stderr(Stdio::null()).spawn().unwrap();
    becomes(&project, "never", "running");
    kill(Pid::from_raw(up.id().cast_signed()), Signal::SIGSTOP).unwrap();
    // More events than its socket takes.
    project.follow_until("one", "run 150");
    let supervisor = project.processes("compose-supervisor")[0];
    let held = fs::read_dir(format!("/proc/{supervisor}/fd")).unwrap().flatten();
    let pidfds =
        held.filter(|fd| fs::read_link(fd.path()).is_ok_and(|to| to.ends_with("anon_inode:[pidfd]")));
    assert!(pidfds.count() < 20, "ends are kept until `up` is over");
    let mut down = project.command(&["down", "-t", "0"]).spawn().unwrap();
    let pidfd = pidfd(down.id().cast_signed());
    ended(&pidfd);
    assert!(down.wait().unwrap().success());
    up.kill().unwrap();
    up.wait().unwrap();
    for pid in project.processes("compose-supervisor") {
        ended(&crate::stack::pidfd(pid));
    }
    drop(project);
}

#[test]
fn a_signal_for_one_service_is_no_end_of_what_others_wait_for() {
    let file = r#"
services:
  store:
    x-rootfs: @busybox@
    command: ["sh", "-c", "rm -f /ok; exec sleep 1000"]
    healthcheck: { test: ["CMD", "test", "-e", "/ok"], interval: 50ms, retries: 1000000 }
  web: { x-rootfs: @busybox@, command: sleep 1000, depends_on: { store: { condition: service_healthy } } }
  other: { x-rootfs: @busybox@, command: sleep 1000, restart: always }
  idle: { x-rootfs: @busybox@, command: sleep 1000 }
"#;
    let project = Project::new("restart-kill", file);
    project.ok(&["up", "-d", "other", "idle"]);
    let mut up = project.command(&["up", "-d"]).stderr(Stdio::null()).spawn().unwrap();
    becomes(&project, "store", "running");
    project.ok(&["kill", "-s", "USR2", "idle"]);
    project.ok(&["kill", "other"]);
    becomes(&project, "other", "exited");
    project.ok(&["exec", "-T", "store", "touch", "/ok"]);
    assert!(up.wait().unwrap().success());
    assert_eq!(project.field("web", "State"), "running");
    // Else a probe could still see it before the next program has removed it.
    project.ok(&["exec", "-T", "store", "rm", "/ok"]);
    // What a `restart` has stopped is started though another command goes before it.
    let mut restart =
        project.command(&["restart", "-t", "0", "store", "web"]).stderr(Stdio::null()).spawn().unwrap();
    becomes(&project, "web", "exited");
    becomes(&project, "store", "running");
    project.ok(&["stop", "-t", "0", "idle"]);
    assert!(!restart.wait().unwrap().success());
    assert_eq!(project.field("web", "State"), "running");
    project.down();
}
