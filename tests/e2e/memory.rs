//! What happens when memory runs out, on v1 and v2 alike.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::stack::{Project, ended, pidfd, text};

/// How often the stack's limit is met.
fn rounds() -> u32 {
    std::env::var("COMPOSER_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(2)
}

fn is_v2() -> bool {
    fs::exists("/sys/fs/cgroup/cgroup.controllers").unwrap()
}

/// A service whose program takes so many MiB and keeps them, says `full` and how many still hold what it has put there,
/// and goes on: this very file, in which [`eater`] is it.
fn service(name: &str, mib: u32, rest: &str) -> String {
    let program = std::env::current_exe().unwrap();
    format!(
        r#"  {name}:
    x-rootfs: @busybox@
    network_mode: none
    volumes: ["{}:/eater:ro"]
    command: [/eater, --exact, memory::eater, --nocapture]
    environment: {{ MIB: {mib} }}
{rest}"#,
        program.display()
    )
}

/// What the containers of the other tests run; as a test, it is whether it keeps what it says to keep.
#[test]
fn eater() {
    let asked = std::env::var("MIB").ok().map(|mib| mib.parse().unwrap());
    let mib: u8 = asked.unwrap_or(4);
    let mut held: Vec<Vec<u8>> = Vec::new();
    for number in 0..mib {
        let mut block = vec![0; 1 << 20];
        block.chunks_mut(4096).for_each(|page| page[0] = number);
        held.push(block);
    }
    let is_intact = |(number, block): &(u8, &Vec<u8>)| block.chunks(4096).all(|page| page[0] == *number);
    let mut out = std::io::stdout();
    let intact = (0..).zip(&held).filter(is_intact).count();
    writeln!(out, "full {intact}").unwrap();
    if asked.is_none() {
        return assert_eq!(intact, usize::from(mib));
    }
    loop {
        writeln!(out, "beat").unwrap();
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
}

fn number(group: &str, v2: &str, v1: &str) -> u64 {
    let (root, file) = if is_v2() { ("/sys/fs/cgroup", v2) } else { ("/sys/fs/cgroup/memory", v1) };
    let path = PathBuf::from(root).join(group).join(file);
    let content = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    content.trim().parse().unwrap()
}

/// Returns when a service has all of its memory, and it is intact.
fn has_all(project: &Project, service: &str, mib: u32) {
    let logs = project.ok(&["logs", "--no-log-prefix", service]);
    if !logs.contains("full ") && project.field(service, "State") != "running" {
        let reasons: Vec<_> =
            project.containers().iter().map(|container| container["Reason"].to_string()).collect();
        panic!("{service} has ended: {}\n{}", reasons.join("\n"), events(project));
    }
    project.follow_until(service, &format!("full {mib}"));
}

/// Returns when a service has printed its next line.
fn beats(project: &Project, service: &str) {
    let mut logs = project.command(&["logs", "-f", "--tail", "0", "--no-log-prefix", service]);
    let mut child = logs.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let line = BufReader::new(child.stdout.take().unwrap()).lines().next();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(line.is_some_and(|line| line.is_ok()), "{service} has ended");
}

/// Returns the first of the stack's events, from its beginning on, that has all of these words.
fn told(project: &Project, words: &[&str]) -> String {
    let mut events = project.command(&["events", "--since", "1000s"]);
    let mut child = events.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let found = lines.find(|line| words.iter().all(|word| line.contains(word)));
    child.kill().unwrap();
    child.wait().unwrap();
    found.unwrap_or_else(|| panic!("no event has {words:?}"))
}

/// Returns when the only container of a service has ended, however slow the machine.
fn over(project: &Project, service: &str) {
    project.ok(&["logs", "-f", "--tail", "0", service]);
}

fn events(project: &Project) -> String {
    project.ok(&["events", "--since", "1000s", "--until", "0s"])
}

/// Meets the cap of 256 MiB again and again, as who is killed is started again: it is always the same one.
fn is_always(name: &str, victim: &str, others: [&str; 2], file: &str) {
    let project = Project::new(name, file);
    project.ok(&["up", "-d"]);
    let mut pids = None;
    for round in 0..rounds() {
        if round > 0 {
            project.ok(&["up", "-d"]);
        }
        over(&project, victim);
        for other in others {
            has_all(&project, other, EACH);
            beats(&project, other);
        }
        let now = others.map(|other| project.field(other, "Pid"));
        assert_eq!(*pids.get_or_insert_with(|| now.clone()), now, "round {round}: nobody else was touched");
        assert_eq!(project.field(victim, "ExitCode"), 137);
        let status = project.field(victim, "Status");
        assert!(status.as_str().unwrap().ends_with("(out of memory)"), "{status}");
        let reason = project.field(victim, "Reason").as_str().unwrap().to_owned();
        assert_eq!(of_the_cap(&reason), victim);
        for other in others {
            assert!(reason.contains(&format!(", {other} ")), "{reason}");
        }
        let peak = number(
            &format!("compose/{}", project.name),
            if is_v2() { "memory.max" } else { "memory.limit_in_bytes" },
            "memory.max_usage_in_bytes",
        );
        assert!(peak <= 256 << 20, "the cap holds");
    }
    for other in others {
        assert!(
            !events(&project).contains(&format!("die {}", project.field(other, "ID"))),
            "{other} has ended"
        );
    }
    let oom = events(&project).lines().filter(|line| line.contains(" container oom ")).count();
    assert_eq!(u32::try_from(oom).unwrap(), rounds());
    project.down();
}

/// Who was killed for the cap of 256 MiB: at the mark below it, which is named then, or where it was reached.
fn of_the_cap(reason: &str) -> &str {
    let (killed, rest) = reason.split_once(" was killed: the stack's limit of 256 MiB was ").unwrap();
    let at = rest.split_once("; ").unwrap();
    assert!(at.1.starts_with(&format!("{killed} ")), "{reason}");
    let at_mark =
        at.0.starts_with("about to be reached: it had ") && at.0.ends_with(" MiB, past the mark of 248 MiB");
    assert!(at.0 == "reached" || at_mark, "{reason}");
    killed
}

/// What each of three services takes, in MiB: all are more than the cap, and two are far from its mark, as the kernel and
/// the runtime add some MiB to each (huge pages are 2 MiB).
const EACH: u32 = 100;
const CAP: &str = "x-resources: { limits: { memory: 256M, swap: 0 } }\n";

#[test]
fn whoever_has_the_lowest_priority_goes_first() {
    let oom = |priority: i32| format!("    x-oom: {{ priority: {priority} }}\n");
    let services = [("api", 5), ("store", -1), ("web", 0)];
    let services = services.map(|(name, priority)| service(name, EACH, &oom(priority))).concat();
    let file = format!("{CAP}x-oom: {{ victim: priority }}\nservices:\n{services}");
    is_always("oom-priority", "store", ["api", "web"], &file);
}

#[test]
fn whoever_was_started_last_goes_first() {
    let services = ["api", "store"].map(|name| service(name, EACH, "")).concat();
    let web = service("web", EACH, "    depends_on: [api, store]\n");
    let file = format!("{CAP}x-oom: {{ victim: newest }}\nservices:\n{services}{web}");
    is_always("oom-newest", "web", ["api", "store"], &file);
}

#[test]
fn whoever_has_most_goes_first() {
    let services =
        [("small", 50), ("big", 110), ("late", 105)].map(|(name, mib)| service(name, mib, "")).concat();
    let file = format!("{CAP}x-oom: {{ victim: biggest }}\nservices:\n{services}");
    let project = Project::new("oom-biggest", &file);
    for _ in 0..rounds() {
        project.ok(&["up", "-d", "small", "big"]);
        project.follow_until("small", "full 50");
        project.follow_until("big", "full 110");
        project.ok(&["up", "-d", "late"]);
        over(&project, "big");
        has_all(&project, "late", 105);
        beats(&project, "small");
        let reason = project.field("big", "Reason").as_str().unwrap().to_owned();
        assert_eq!(of_the_cap(&reason), "big");
        assert!(
            !events(&project)
                .lines()
                .any(|line| line.contains(" container oom ") && !line.contains("-big-1"))
        );
        project.ok(&["down", "-t", "0"]);
    }
    project.down();
}

/// Two processes: the first waits for the second, which takes more than there is.
fn pair(policy: &str, rest: &str) -> String {
    let script = r#"["sh", "-c", "echo begun; tail -c 100m /dev/zero; echo goes on; exec sleep 1000"]"#;
    format!(
        "services:\n  pair:\n    x-rootfs: @busybox@\n    network_mode: none\n    mem_limit: 32m\n    memswap_limit: 32m\n    command: {script}\n    x-oom: {policy}\n{rest}"
    )
}

#[test]
fn kill_ends_one_process_and_kill_group_all_of_them() {
    let project = Project::new("oom-kill", &pair("kill", ""));
    project.ok(&["up", "-d"]);
    project.follow_until("pair", "goes on");
    let event = told(
        &project,
        &[" container oom ", "a process of pair was killed: its limit of 32 MiB was reached; it "],
    );
    assert!(event.contains("-pair-1"), "{event}");
    assert_eq!(project.field("pair", "State"), "running");
    project.write("compose.yaml", &pair("kill-group", ""));
    let pid = project.field("pair", "Pid");
    project.ok(&["up", "-d"]);
    assert_eq!(project.field("pair", "Pid"), pid, "a policy is taken over in place");
    project.ok(&["stop", "-t", "0"]);
    let up = project.run(&["up"]);
    let (out, err) = (text(&up.stdout), text(&up.stderr));
    assert!(out.contains("exited with code 137 (out of memory)"), "{out}");
    assert!(err.contains("Out of memory  pair was killed: its limit of 32 MiB was reached"), "{err}");
    // On v1 the others are killed by the supervisor, a moment later.
    assert!(!is_v2() || !project.ok(&["logs", "--tail", "1", "pair"]).contains("goes on"));
    assert_eq!(project.field("pair", "ExitCode"), 137);
    let reason = project.field("pair", "Reason").as_str().unwrap().to_owned();
    assert!(reason.starts_with("pair was killed: its limit of 32 MiB was reached; it "), "{reason}");
    let marks = project.ok(&["logs", "--marks", "pair"]);
    assert!(marks.contains("out of memory: pair was killed: its limit of 32 MiB"), "{marks}");
    project.down();
}

/// v1 alone has it: there the processes wait; v2 names it once, and kills.
#[test]
fn a_service_without_an_oom_killer_waits_at_its_limit() {
    let limits = "    mem_limit: 32m\n    memswap_limit: 32m\n";
    let disabled = format!("{limits}    oom_kill_disable: true\n");
    let file = |first: &str, second: &str| {
        format!(
            "x-oom: {{ policy: kill-group }}\nservices:\n{}{}",
            service("one", 60, first),
            service("two", 4, second)
        )
    };
    let project = Project::new("oom-disabled", &file(&disabled, limits));
    let up = project.run(&["up", "-d"]);
    assert_eq!(up.status.code(), Some(0));
    let said = text(&up.stderr).matches("oom_kill_disable is not in force").count();
    assert_eq!(said, usize::from(is_v2()), "{}", text(&up.stderr));
    if is_v2() {
        over(&project, "one");
        assert_eq!(project.field("one", "ExitCode"), 137);
        return project.down();
    }
    let event = told(&project, &[" container pressure ", "-one-1", "wait at its limit of 32 MiB"]);
    assert!(event.contains("oom_kill_disable"), "{event}");
    let control = |service: &str| {
        let group = format!("compose/{0}/{0}-{service}-1", project.name);
        let file = PathBuf::from("/sys/fs/cgroup/memory").join(group).join("memory.oom_control");
        fs::read_to_string(file).unwrap()
    };
    assert!(control("one").contains("oom_kill_disable 1"), "{}", control("one"));
    assert!(control("two").contains("oom_kill_disable 0"), "{}", control("two"));
    let pids = || ["one", "two"].map(|service| project.field(service, "Pid"));
    let before = pids();
    project.write("compose.yaml", &file(&disabled.replace("32m", "128m"), &disabled));
    project.ok(&["up", "-d"]);
    has_all(&project, "one", 60);
    assert!(control("two").contains("oom_kill_disable 1"), "{}", control("two"));
    project.write("compose.yaml", &file(&disabled.replace("32m", "128m"), limits));
    project.ok(&["up", "-d"]);
    assert!(control("two").contains("oom_kill_disable 0"), "{}", control("two"));
    assert_eq!(pids(), before);
    project.down();
}

#[test]
fn whoever_waits_for_a_program_is_told_that_memory_ran_out() {
    let project = Project::new(
        "oom-told",
        r#"
services:
  pair:
    x-rootfs: @busybox@
    network_mode: none
    mem_limit: 32m
    memswap_limit: 32m
    stdin_open: true
    command: ["sh", "-c", "read line; exec tail -c 100m /dev/zero"]
    x-oom: kill
"#,
    );
    let eats = ["tail", "-c", "100m", "/dev/zero"];
    let dies = |args: &[&str], why: &str| {
        let (code, message) = project.fails(&[args, &eats[..]].concat());
        assert!(code == 137 && message.contains(why), "{args:?}: {code}: {message}");
    };
    let why = "pair was killed: its limit of 32 MiB was reached; it ";
    dies(
        &["run", "--rm", "-T", "--name", &format!("{}-one", project.name), "pair"],
        "-one was killed: its limit",
    );
    project.ok(&["up", "-d"]);
    dies(&["exec", "-T", "pair"], &format!("a process of {why}"));
    let (code, message) = project.fails(&["exec", "-T", "pair", "sh", "-c", "kill -9 $$"]);
    assert_eq!((code, message.as_str()), (137, ""), "whoever is killed otherwise is not told of memory");
    let waits =
        project.command(&["wait", "pair"]).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut attach =
        project.command(&["attach", "pair"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    attach.stdin.take().unwrap().write_all(b"\n").unwrap();
    for (word, child) in [("attach", attach), ("wait", waits)] {
        let output = child.wait_with_output().unwrap();
        let message = text(&output.stderr);
        assert!(
            output.status.code() == Some(137) && message.starts_with(why),
            "{word}: {}: {message}",
            output.status
        );
    }
    let (_, message) = project.fails(&["wait", "pair"]);
    assert!(message.starts_with(why), "one that comes late is told too: {message}");
    project.down();
}

#[test]
fn an_up_that_waits_says_that_memory_ran_out() {
    let user = "  user: { x-rootfs: @busybox@, network_mode: none, command: sleep 1000, depends_on: { pair: { condition: service_healthy } } }\n";
    let rest = format!("    x-probe: {{ log: never }}\n    healthcheck: {{ start_period: 10h }}\n{user}");
    let project = Project::new("oom-wait", &pair("kill-group", &rest));
    let (_, message) = project.fails(&["up", "-d", "--wait"]);
    let why = "-pair-1 exited (137): pair was killed: its limit of 32 MiB was reached; it ";
    assert!(message.contains(why), "{message}");
    project.down();
}

#[test]
fn a_container_that_ran_out_of_memory_while_no_supervisor_was_there_is_not_left_half_alive() {
    let file = r#"
services:
  pair:
    x-rootfs: @busybox@
    network_mode: none
    mem_limit: 32m
    memswap_limit: 32m
    volumes: ["./go:/go"]
    command: ["sh", "-c", "until [ -e /go/now ]; do sleep 0.1; done; tail -c 100m /dev/zero; echo goes on; exec sleep 1000"]
"#;
    let project = Project::new("oom-alone", file);
    fs::create_dir(project.folder.join("go")).unwrap();
    project.ok(&["up", "-d"]);
    let first = pidfd(i32::try_from(project.field("pair", "Pid").as_i64().unwrap()).unwrap());
    let [supervisor] = project.processes("compose-supervisor")[..] else { panic!("one supervisor") };
    kill(Pid::from_raw(supervisor), Signal::SIGSTOP).unwrap();
    fs::write(project.folder.join("go/now"), "").unwrap();
    let group = format!("compose/{0}/{0}-pair-1", project.name);
    if is_v2() {
        ended(&first);
    } else {
        // The kernel kills one process by itself, and tells of it in a file that nobody can wait for.
        let control = PathBuf::from("/sys/fs/cgroup/memory").join(&group).join("memory.oom_control");
        while !fs::read_to_string(&control).unwrap().contains("oom_kill 1") {
            std::thread::yield_now();
        }
    }
    project.kill_processes("compose-supervisor");
    ended(&first);
    over(&project, "pair");
    let reason = project.field("pair", "Reason").as_str().unwrap().to_owned();
    assert!(reason.starts_with("pair was killed: its limit of 32 MiB was reached; it "), "{reason}");
    project.down();
}

#[test]
fn raise_lifts_the_limit_by_steps_up_to_its_max() {
    let limits =
        "    mem_limit: 32m\n    memswap_limit: 32m\n    x-oom: { policy: raise, step: 24M, max: 128M }\n";
    let file = format!("services:\n{}", service("one", 90, limits));
    let project = Project::new("oom-raise", &file);
    project.ok(&["up", "-d"]);
    project.follow_until("one", "full 90");
    let pid = project.field("one", "Pid");
    let group = format!("compose/{0}/{0}-one-1", project.name);
    let limit = || number(&group, "memory.max", "memory.limit_in_bytes") >> 20;
    assert_eq!(limit(), 104);
    for (from, to) in [(32, 56), (56, 80), (80, 104)] {
        let words = format!("the memory limit of one was raised from {from} MiB to {to} MiB");
        told(&project, &["oom: raised", &words]);
    }
    project.ok(&["up", "-d"]);
    assert_eq!(limit(), 104, "an up that changes nothing lowers nothing");
    project.kill_processes("compose-supervisor");
    project.write("compose.yaml", &file.replace("    mem_limit", "    cpus: 1.5\n    mem_limit"));
    project.ok(&["up", "-d"]);
    assert_eq!((limit(), project.field("one", "Pid")), (104, pid));
    project.write("compose.yaml", &file.replace("MIB: 90", "MIB: 190"));
    project.ok(&["up", "-d", "-t", "0"]);
    over(&project, "one");
    let reason = project.field("one", "Reason").as_str().unwrap().to_owned();
    assert!(
        reason.starts_with("one was killed: its limit of 128 MiB, raised from 32 MiB, was reached; it "),
        "{reason}"
    );
    project.ok(&["up", "-d"]);
    // Its last raise but one shows that it began at the file's again.
    let begun = "was raised from 32 MiB to 56 MiB";
    over(&project, "one");
    assert_eq!(events(&project).matches(begun).count(), 3);
    project.down();
}

#[test]
fn a_hook_that_is_not_there_is_found_before_anything_runs() {
    let file = |hook: &str| {
        let limits =
            format!("    mem_limit: 48m\n    x-oom:\n      policy: pause\n      hook: [{hook}, x]\n");
        format!("services:\n{}", service("one", 0, &limits))
    };
    let project = Project::new("oom-no-hook", &file("/nowhere/at/all"));
    for (hook, why) in [
        ("/nowhere/at/all", "No such file or directory"),
        ("./compose.yaml", "Permission denied"),
        ("/tmp", "Permission denied"),
        ("no-such-program-of-ours", "No such file or directory"),
    ] {
        project.write("compose.yaml", &file(hook));
        let (code, message) = project.fails(&["up", "-d"]);
        assert!(code == 1 && message.contains(why), "{message}");
        assert!(message.contains(&format!("the hook `{hook}` of one: ")), "{message}");
        assert!(message.contains("--> compose.yaml:"), "{message}");
        assert_eq!(project.containers().len(), 0);
    }
    project.write("compose.yaml", &file("sh"));
    project.ok(&["up", "-d"]);
    project.down();
}

#[test]
fn a_hook_that_fails_is_told() {
    let limits =
        "    mem_limit: 48m\n    memswap_limit: 48m\n    x-oom: { policy: pause, hook: [sh, -c, exit 3] }\n";
    let project = Project::new("oom-hook", &format!("services:\n{}", service("one", 90, limits)));
    project.ok(&["up", "-d"]);
    let why = format!("x-oom hook `sh` of {}-one-1: exit status: 3", project.name);
    told(&project, &[" oom: hook failed ", &why]);
    project.down();
}

#[test]
fn a_limit_that_was_raised_is_set_from_what_it_is() {
    let limits =
        "    mem_limit: 32m\n    memswap_limit: 32m\n    x-oom: { policy: raise, step: 24M, max: 128M }\n";
    let project = Project::new("oom-set", &format!("services:\n{}", service("one", 60, limits)));
    project.ok(&["up", "-d"]);
    project.follow_until("one", "full 60");
    let group = format!("compose/{0}/{0}-one-1", project.name);
    let limit = || number(&group, "memory.max", "memory.limit_in_bytes") >> 20;
    assert_eq!(limit(), 80);
    let shown = project.ok(&["set", "one"]);
    assert!(shown.contains("mem_limit      80 MiB") && shown.contains("  raised  "), "{shown}");
    let told = text(&project.run(&["set", "one", "--memory", "120M", "--memory-swap", "120M"]).stderr);
    assert!(told.contains("mem_limit 80 MiB -> 120 MiB, memswap_limit 80 MiB -> 120 MiB"), "{told}");
    assert_eq!(limit(), 120);
    // Back to the file's: it has more by now than that.
    let (_, refused) = project.fails(&["set", "one", "--memory", "32M", "--memory-swap", "32M"]);
    assert!(refused.contains("MiB are in use"), "{refused}");
    assert_eq!(limit(), 120);
    beats(&project, "one");
    project.down();
}

#[test]
fn pause_holds_a_container_until_it_is_given_more() {
    let limits = "    mem_limit: 48m\n    memswap_limit: 48m\n    x-oom:\n      policy: pause\n      hook: [sh, -c, 'echo \"$COMPOSE_SERVICE $COMPOSE_OOM_ACTION\" >> hooked']\n";
    let limits = limits.replace("$COMPOSE", "$$COMPOSE");
    let file = format!("services:\n{}", service("one", 90, &limits));
    let project = Project::new("oom-pause", &file);
    project.ok(&["up", "-d"]);
    told(&project, &["oom: pausing", "one is being paused: it has ", " of its limit of 48 MiB"]);
    // What waits for memory on v1 cannot be frozen: it is being paused until it is given some.
    let state = project.field("one", "State").as_str().unwrap().to_owned();
    if is_v2() {
        told(&project, &["oom: paused", "one is paused: it has "]);
        assert_eq!(project.field("one", "State"), "paused");
    } else {
        assert!(["pausing", "paused"].contains(&state.as_str()), "{state}");
    }
    let status = project.field("one", "Status");
    assert!(
        status.as_str().unwrap().ends_with("ing: out of memory)")
            || status.as_str().unwrap().ends_with("(Paused: out of memory)"),
        "{status}"
    );
    let (pid, group) = (project.field("one", "Pid"), format!("compose/{0}/{0}-one-1", project.name));
    let usage = || number(&group, "memory.current", "memory.usage_in_bytes");
    let before = usage();
    let says = |what: &str| {
        let way = "`compose set one --memory …` gives it more, `compose unpause one` lets it go on as it is";
        assert!(what.contains(" of its limit of 48 MiB; ") && what.contains(way), "{what}");
    };
    says(project.field("one", "Reason").as_str().unwrap());
    says(&text(&project.run(&["ps"]).stderr));
    says(&told(&project, &["oom: pausing"]));
    // A hook goes with its supervisor.
    while fs::read_to_string(project.folder.join("hooked")).unwrap_or_default().is_empty() {
        std::thread::yield_now();
    }
    // A supervisor that comes back finds it as it was.
    project.kill_processes("compose-supervisor");
    says(project.field("one", "Reason").as_str().unwrap());
    let state = project.field("one", "State").as_str().unwrap().to_owned();
    assert!(["pausing", "paused"].contains(&state.as_str()), "{state}");
    // But for what the kernel itself takes meanwhile to look after it.
    assert!(usage() <= before + (1 << 20), "what is held takes no more");
    project.ok(&["set", "one", "--memory", "80M", "--memory-swap", "80M"]);
    told(&project, &["oom: pausing", " of its limit of 80 MiB"]);
    project.write("compose.yaml", &file.replace("48m", "160m"));
    let output = project.run(&["up", "-d"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    project.follow_until("one", "full 90");
    assert_eq!((project.field("one", "Pid"), project.field("one", "State")), (pid, "running".into()));
    assert_eq!(project.field("one", "Reason"), "");
    let hooked = fs::read_to_string(project.folder.join("hooked")).unwrap();
    let hooked = hooked.replace("one paused\n", "");
    assert_eq!(hooked, "one pausing\n".repeat(2), "once for each limit");
    project.down();
}

#[test]
fn what_is_paused_goes_on_once_memory_has_become_free() {
    let script = r#"["sh", "-c", "dd if=/dev/zero of=/full/file bs=1M count=45; while true; do echo beat; sleep 0.2; done"]"#;
    let file = format!(
        "services:\n  one:\n    x-rootfs: @busybox@\n    network_mode: none\n    mem_limit: 48m\n    memswap_limit: 48m\n    tmpfs: /full\n    x-oom: pause\n    command: {script}\n"
    );
    let project = Project::new("oom-freed", &file);
    project.ok(&["up", "-d"]);
    told(&project, &["oom: paused"]);
    let pid = project.field("one", "Pid");
    // Whoever writes it may hold it open, and stand still before its end: removed, it would not be gone.
    fs::File::create(format!("/proc/{pid}/root/full/file")).unwrap();
    told(&project, &[" container unpause "]);
    beats(&project, "one");
    assert_eq!((project.field("one", "State"), project.field("one", "Pid")), ("running".into(), pid));
    project.down();
}

#[test]
fn a_user_may_let_go_what_is_paused_and_it_is_killed_at_its_limit() {
    let limits = "    mem_limit: 48m\n    memswap_limit: 48m\n    x-oom: pause\n";
    let project = Project::new("oom-unpause", &format!("services:\n{}", service("one", 90, limits)));
    project.ok(&["up", "-d"]);
    told(&project, &["oom: pausing"]);
    project.ok(&["unpause", "one"]);
    over(&project, "one");
    let reason = project.field("one", "Reason").as_str().unwrap().to_owned();
    assert!(reason.starts_with("one was killed: its limit of 48 MiB was reached; it "), "{reason}");
    project.down();
}

#[test]
fn page_cache_alone_pauses_nothing() {
    // Of holes alone: what waits for a busy disk to be written to, v1 kills for.
    let script = r#"["sh", "-c", "dd if=/dev/zero of=/file bs=1M seek=100 count=0 && cat /file > /dev/null; echo done; exec sleep 1000"]"#;
    let file = format!(
        "services:\n  one:\n    x-rootfs: @busybox@\n    network_mode: none\n    mem_limit: 48m\n    memswap_limit: 48m\n    x-oom: pause\n    command: {script}\n"
    );
    let project = Project::new("oom-cache", &file);
    project.ok(&["up", "-d"]);
    project.follow_until("one", "done");
    let group = format!("compose/{0}/{0}-one-1", project.name);
    assert!(number(&group, "memory.peak", "memory.max_usage_in_bytes") > 40 << 20, "it came near its limit");
    assert_eq!(project.field("one", "State"), "running");
    assert!(!events(&project).contains(" container oom"));
    project.down();
}
