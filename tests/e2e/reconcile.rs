//! `up` on a stack that runs: what is touched, and that nothing else is.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use crate::stack::{Project, text};

/// The process ids of all containers by name.
fn pids(project: &Project) -> BTreeMap<String, i64> {
    let containers = project.containers();
    let pid = |container: &serde_json::Value| {
        (container["Name"].as_str().unwrap().to_owned(), container["Pid"].as_i64().unwrap_or(0))
    };
    containers.iter().map(pid).collect()
}

/// The names, without the project's, of the containers whose program is another one now.
fn touched(project: &Project, before: &BTreeMap<String, i64>) -> Vec<String> {
    let now = pids(project);
    let mut names: Vec<&String> = before.keys().chain(now.keys()).collect();
    names.sort();
    names.dedup();
    let changed = names.into_iter().filter(|name| before.get(*name) != now.get(*name));
    changed.map(|name| name.strip_prefix(&format!("{}-", project.name)).unwrap().to_owned()).collect()
}

/// A limit of a service's first container, as the kernel has it.
fn limit(project: &Project, service: &str, v2: &str, v1: (&str, &str)) -> String {
    let group = format!("compose/{0}/{0}-{service}-1", project.name);
    let is_v2 = fs::exists("/sys/fs/cgroup/cgroup.controllers").unwrap();
    let root = PathBuf::from("/sys/fs/cgroup");
    let file = if is_v2 { root.join(group).join(v2) } else { root.join(v1.0).join(group).join(v1.1) };
    fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display())).trim().to_owned()
}

fn memory_limit(project: &Project, service: &str) -> u64 {
    limit(project, service, "memory.max", ("memory", "memory.limit_in_bytes")).parse().unwrap()
}

#[test]
fn a_recreate_of_one_among_fifty_touches_its_own_pid_and_its_dependents_alone() {
    let mut file = r#"
x-node: &node { x-rootfs: @busybox@, command: sleep 1000 }
services:
  store: { <<: *node, hostname: one }
  follows: { <<: *node, depends_on: { store: { condition: service_started, restart: true } } }
  follows-too: { <<: *node, depends_on: { follows: { condition: service_started, restart: true } } }
  stays: { <<: *node, depends_on: [store] }
  probed:
    <<: *node
    volumes: ["./probes:/probes"]
    healthcheck: { test: ["CMD", "sh", "-c", "echo probed >> /probes/file"], interval: 1h }
"#
    .to_owned();
    for number in 5..50 {
        writeln!(file, "  s{number}: {{ <<: *node }}").unwrap();
    }
    let project = Project::new("among-fifty", &file);
    project.ok(&["up", "-d", "--wait"]);
    let before = pids(&project);
    assert_eq!(before.len(), 50);
    let probes = || fs::read_to_string(project.folder.join("probes/file")).unwrap();
    let probed = probes();
    project.ok(&["up", "-d"]);
    assert_eq!(touched(&project, &before), [] as [&str; 0]);
    project.write("compose.yaml", &file.replace("hostname: one", "hostname: two"));
    project.ok(&["up", "-d"]);
    assert_eq!(touched(&project, &before), ["follows-1", "follows-too-1", "store-1"]);
    assert_eq!(project.ok(&["exec", "-T", "store", "hostname"]), "two\n");
    let before = pids(&project);
    project.ok(&["restart", "s7"]);
    assert_eq!(touched(&project, &before), ["s7-1"]);
    assert_eq!(probes(), probed, "what is not touched is not probed again");
    project.down();
}

#[test]
fn a_changed_limit_is_in_force_at_once_and_outlives_the_supervisor() {
    let file = r#"
services:
  one:
    x-rootfs: @busybox@
    command: sleep 1000
    mem_limit: 64m
    pids_limit: 40
    cpus: 0.5
  two: { x-rootfs: @busybox@, command: sleep 1000 }
"#;
    let project = Project::new("inplace", file);
    project.ok(&["up", "-d"]);
    let before = pids(&project);
    let changed = file
        .replace("mem_limit: 64m", "mem_limit: 128m\n    memswap_limit: 256m\n    mem_reservation: 32m")
        .replace("pids_limit: 40", "pids_limit: 20")
        .replace("cpus: 0.5", "cpuset: '0'\n    labels: { tier: front }\n    stop_grace_period: 1s");
    project.write("compose.yaml", &changed);
    let plan = project.ok(&["up", "-d", "--dry-run"]);
    assert!(plan.contains(&format!("update {}-one-1: ", project.name)) && !plan.contains("start"), "{plan}");
    assert!(plan.contains("mem_limit") && plan.contains("pids_limit") && plan.contains("cpus"), "{plan}");
    project.ok(&["up", "-d"]);
    assert_eq!(touched(&project, &before), [] as [&str; 0]);
    let check = || {
        assert_eq!(memory_limit(&project, "one"), 128 << 20);
        assert_eq!(limit(&project, "one", "pids.max", ("pids", "pids.max")), "20");
        assert_eq!(limit(&project, "one", "cpuset.cpus", ("cpuset", "cpuset.cpus")), "0");
        let quota = limit(&project, "one", "cpu.max", ("cpu", "cpu.cfs_quota_us"));
        assert!(quota == "-1" || quota == "max 100000", "{quota}");
    };
    check();
    assert!(project.field("one", "Labels").as_str().unwrap().contains("tier=front"));
    // Lower again, and back to nothing, and the next supervisor knows of it.
    project.kill_processes("compose-supervisor");
    assert!(!project.ok(&["up", "-d", "--dry-run"]).contains("update"));
    check();
    project.write("compose.yaml", &changed.replace("128m", "32m").replace("256m", "32m"));
    project.ok(&["up", "-d"]);
    assert_eq!(memory_limit(&project, "one"), 32 << 20);
    assert_eq!(touched(&project, &before), [] as [&str; 0]);
    // A new start has them too.
    project.ok(&["restart", "one"]);
    assert_eq!(memory_limit(&project, "one"), 32 << 20);
    project.down();
}

#[test]
fn a_limit_below_what_is_in_use_is_refused_and_nobody_is_killed_for_it() {
    let file = r#"
services:
  full:
    x-rootfs: @busybox@
    mem_limit: 128m
    memswap_limit: 128m
    command: ["sh", "-c", "dd if=/dev/zero bs=48M count=1 2>/dev/null | (read -n 1 x; echo full; exec sleep 1000)"]
"#;
    let project = Project::new("inuse", file);
    project.ok(&["up", "-d"]);
    project.follow_until("full", "full");
    let before = pids(&project);
    project.write("compose.yaml", &file.replace("128m", "16m"));
    for _ in 0..2 {
        let (code, message) = project.fails(&["up", "-d"]);
        assert_eq!(code, 1, "{message}");
        assert!(
            message.contains(&format!("{}-full-1: its limits could not be changed", project.name)),
            "{message}"
        );
        assert!(message.contains("16777216") && message.contains("could not reclaim"), "{message}");
    }
    assert_eq!(memory_limit(&project, "full"), 128 << 20);
    assert_eq!(touched(&project, &before), [] as [&str; 0]);
    project.down();
}

#[test]
fn scaling_adds_and_takes_away_the_highest_numbers() {
    let file = "services:\n  web: { x-rootfs: @busybox@, command: sleep 1000, deploy: { replicas: 2 } }\n  \
                named: { x-rootfs: @busybox@, command: sleep 1000, container_name: @name@-named }\n";
    let project = Project::new("scales", "services: {}");
    let file = file.replace("@name@", &project.name);
    project.write("compose.yaml", &file);
    project.ok(&["up", "-d"]);
    let before = pids(&project);
    project.ok(&["up", "-d", "--scale", "web=4"]);
    assert_eq!(touched(&project, &before), ["web-3", "web-4"]);
    project.ok(&["scale", "web=3"]);
    assert_eq!(touched(&project, &before), ["web-3"]);
    project.ok(&["up", "-d"]);
    assert_eq!(touched(&project, &before), [] as [&str; 0]);
    project.ok(&["scale", "web=0"]);
    assert_eq!(touched(&project, &before), ["web-1", "web-2"]);
    for (arguments, why) in [
        (["scale", "web"], "invalid scale specifier \"web\""),
        (["scale", "web=few"], "\"few\" is no number"),
        (["scale", "nobody=2"], "no such service: nobody"),
        (["scale", "named=2"], "remove `container_name` to scale it"),
        (["up", "--scale=web=-2"], "from 0 to 10000"),
    ] {
        let (code, message) = project.fails(&arguments);
        assert!(code == 1 && message.contains(why), "{arguments:?}: {code} {message}");
    }
    project.down();
}

#[test]
fn orphans_are_named_and_taken_on_request() {
    let file = "services:\n  stays: { x-rootfs: @busybox@, command: sleep 1000 }\n  \
                goes: { x-rootfs: @busybox@, command: sleep 1000 }\n";
    let project = Project::new("orphans", file);
    project.ok(&["up", "-d"]);
    let before = pids(&project);
    let orphan = format!("found orphan containers ({}-goes-1)", project.name);
    let renamed = file.replace("goes:", "new:");
    project.write("compose.yaml", &renamed);
    let told = |command: &mut std::process::Command| {
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        text(&output.stderr).contains(&orphan)
    };
    assert!(told(&mut project.command(&["up", "-d"])));
    assert_eq!(touched(&project, &before), ["new-1"]);
    assert!(!told(project.command(&["up", "-d"]).env("COMPOSE_IGNORE_ORPHANS", "true")));
    // One that only no profile wants now is none.
    let profiles =
        renamed.clone() + "  goes: { x-rootfs: @busybox@, command: sleep 1000, profiles: [extra] }\n";
    project.write("compose.yaml", &profiles);
    assert!(!told(&mut project.command(&["up", "-d", "--remove-orphans"])));
    assert_eq!(touched(&project, &before), ["new-1"]);
    project.write("compose.yaml", &renamed);
    let ignoring = project
        .command(&["up", "-d", "--remove-orphans"])
        .env("COMPOSE_IGNORE_ORPHANS", "1")
        .output()
        .unwrap();
    assert_eq!(ignoring.status.code(), Some(1));
    assert!(text(&ignoring.stderr).contains("cannot combine COMPOSE_IGNORE_ORPHANS and --remove-orphans"));
    assert!(!told(project.command(&["up", "-d"]).env("COMPOSE_REMOVE_ORPHANS", "1")));
    assert_eq!(touched(&project, &before), ["goes-1", "new-1"]);
    project.down();
}

#[test]
fn a_one_shot_runs_again_unless_it_is_to_run_once() {
    let file = r#"
x-shot: &shot { x-rootfs: @busybox@, volumes: ["./runs:/runs"] }
services:
  again: { <<: *shot, command: ["sh", "-c", "echo again >> /runs/file"] }
  once: { <<: *shot, x-run: once, command: ["sh", "-c", "echo once >> /runs/file"] }
  app:
    x-rootfs: @busybox@
    command: sleep 1000
    depends_on:
      again: { condition: service_completed_successfully }
      once: { condition: service_completed_successfully }
"#;
    let project = Project::new("run-once", file);
    let runs = |name: &str| {
        // `--wait` takes what has stayed up for a moment for ready.
        project.ends(name);
        let file = fs::read_to_string(project.folder.join("runs/file")).unwrap();
        file.lines().filter(|line| *line == name).count()
    };
    project.ok(&["up", "-d", "--wait"]);
    let before = pids(&project);
    assert_eq!((runs("again"), runs("once")), (1, 1));
    project.ok(&["up", "-d", "--wait"]);
    assert_eq!((runs("again"), runs("once")), (2, 1));
    assert_eq!(touched(&project, &before), [] as [&str; 0]);
    // With another configuration it is another one-shot; who waits for it finds its condition met.
    project.write("compose.yaml", &file.replace("x-run: once,", "x-run: once, hostname: other,"));
    project.ok(&["up", "-d", "--wait"]);
    assert_eq!(runs("once"), 2);
    project.ok(&["up", "-d", "--wait", "--force-recreate", "app"]);
    assert_eq!(runs("once"), 2);
    assert_eq!(touched(&project, &before), ["app-1"]);
    project.down();
}

#[test]
fn anonymous_volumes_go_over_to_the_new_container_unless_they_are_renewed() {
    let file = r#"
services:
  one:
    x-rootfs: @busybox@
    command: sleep 1000
    volumes: ["/before", "/anonymous"]
"#;
    let project = Project::new("anon", file);
    let holds = || {
        let shown =
            project.ok(&["exec", "-T", "one", "sh", "-c", "ls /anonymous; ls /root-file 2>/dev/null; true"]);
        shown.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    project.ok(&["up", "-d"]);
    project.ok(&["exec", "-T", "one", "sh", "-c", "touch /anonymous/data /root-file"]);
    project.ok(&["up", "-d", "--force-recreate"]);
    assert_eq!(holds(), ["data"], "the volume stays, the writable layer goes");
    // Its place among the mounts, the name of the container, a start that fails: it is the same volume.
    let named =
        file.replace("\"/before\", ", "").replace("command:", "container_name: @name@-other\n    command:");
    let named = named.replace("@name@", &project.name);
    project.write("compose.yaml", &named.replace("sleep 1000", "no-such-program"));
    assert_eq!(project.fails(&["up", "-d"]).0, 127);
    project.write("compose.yaml", &named);
    project.ok(&["up", "-d"]);
    assert_eq!(project.field("one", "Name"), format!("{}-other", project.name));
    assert_eq!(holds(), ["data"]);
    // The one that it has no place for any more is the host's.
    let left = project.left_volumes();
    assert_eq!(left.len(), 1, "{left:?}");
    project.ok(&["up", "-d", "-V"]);
    assert_eq!(holds(), [] as [&str; 0]);
    assert_eq!(project.left_volumes(), left);
    project.ok(&["volume", "rm", &left[0]]);
    project.down();
}

#[test]
fn a_first_start_that_fails_takes_back_the_volume_that_it_has_made_and_no_other() {
    let file = r#"
services:
  one: { x-rootfs: @busybox@, command: sleep 1000, volumes: ["data:/data"] }
  two: { x-rootfs: @busybox@, command: sleep 1000, volumes: ["data:/data"], depends_on: [one] }
volumes: { data: {} }
"#;
    let broken = file.replacen("sleep 1000", "no-such-program", 1);
    let project = Project::new("volumes-kept", &broken);
    let fails = || {
        for args in [&["up", "-d"][..], &["run", "--rm", "-T", "two", "true"]] {
            let (code, message) = project.fails(args);
            assert!(code == 127 && message.contains("no-such-program"), "{args:?}: {code} {message}");
        }
    };
    fails();
    project.assert_nothing_left();
    project.write("compose.yaml", file);
    project.ok(&["up", "-d"]);
    project.ok(&["exec", "-T", "one", "touch", "/data/kept"]);
    project.ok(&["down", "-t", "0"]);
    project.write("compose.yaml", &broken);
    fails();
    project.write("compose.yaml", file);
    project.ok(&["up", "-d"]);
    assert_eq!(project.ok(&["exec", "-T", "two", "ls", "/data"]), "kept\n");
    project.down();
}

#[test]
fn a_dry_run_of_every_verb_says_what_and_why_and_does_nothing() {
    let file = r#"
services:
  one: { x-rootfs: @busybox@, command: sleep 1000 }
  two: { x-rootfs: @busybox@, command: sleep 1000, depends_on: [one] }
  done: { x-rootfs: @busybox@, command: "true" }
"#;
    let project = Project::new("dryrun", file);
    project.ok(&["up", "-d", "--wait"]);
    let before = project.containers().iter().map(|c| (c["ID"].clone(), c["Pid"].clone())).collect::<Vec<_>>();
    project.write("compose.yaml", &file.replace("command: sleep 1000 }", "command: sleep 1000, tty: true }"));
    for (arguments, step) in [
        (vec!["up"], "recreate @-one-1: the configuration of service one has changed (tty)"),
        (vec!["up", "--force-recreate", "two"], "recreate @-two-1: containers were asked to be made anew"),
        (vec!["create", "--scale", "one=2"], "create @-one-2: service one has no container 2"),
        (vec!["scale", "two=0"], "remove @-two-1: service two asks for 0 of them"),
        (vec!["start"], "start @-done-1: it is to be started; it has ended with code 0"),
        (vec!["stop", "two"], "stop @-two-1: its service is stopped"),
        (vec!["restart", "one"], "stop @-one-1: its service is restarted"),
        (vec!["rm"], "remove @-done-1: stopped containers are removed"),
        (vec!["rm", "-s"], "stop @-two-1: stopped containers are removed"),
        (vec!["down", "-v"], "remove @-two-1: the stack is taken down"),
        (vec!["run", "--name", "other", "two"], "start other: `run` asks for it"),
    ] {
        let (verb, others) = arguments.split_at(1);
        let plan = project.ok(&[verb, &["--dry-run"], others].concat());
        let step = step.replace('@', &project.name);
        assert!(plan.contains(&step), "{arguments:?} plans\n{plan}");
        let global = project.ok(&[&["--dry-run"], &arguments[..]].concat());
        assert_eq!(global, plan, "{arguments:?}");
    }
    let after = project.containers().iter().map(|c| (c["ID"].clone(), c["Pid"].clone())).collect::<Vec<_>>();
    assert_eq!(after, before);
    project.down();
}

#[test]
fn flags_that_contradict_each_other_or_ask_for_what_cannot_be_done_are_refused() {
    let project = Project::new("conflicts", "services: {one: {x-rootfs: @busybox@, command: sleep 1000}}");
    for (arguments, why) in [
        (
            vec!["up", "--force-recreate", "--no-recreate"],
            "--force-recreate and --no-recreate are incompatible",
        ),
        (vec!["up", "--always-recreate-deps", "--no-recreate"], "are incompatible"),
        (vec!["up", "-V", "--no-recreate"], "--no-recreate and --renew-anon-volumes are incompatible"),
        (vec!["create", "--build", "--no-build"], "--build and --no-build are incompatible"),
        (vec!["up", "--watch"], "none of the selected services is configured for watch"),
        (vec!["up", "--no-deps", "nobody"], "no such service: nobody"),
        (vec!["create", "nobody"], "no such service: nobody"),
    ] {
        let (code, message) = project.fails(&arguments);
        assert!(code == 1 && message.contains(why), "{arguments:?}: {code} {message}");
    }
    project.assert_nothing_left();
    // What asks for nothing that cannot be done is taken.
    project.ok(&["up", "-d", "--build", "--pull", "always", "--quiet-pull", "--quiet-build", "-y"]);
    project.down();
}

#[test]
fn where_there_is_nothing_to_do_every_verb_says_so() {
    let file = "services: {one: {x-rootfs: @busybox@, command: sleep 1000}}";
    let project = Project::new("idle", file);
    let says = |arguments: &[&str], dry: bool| {
        let output = project.run(arguments);
        let (out, err) = (crate::stack::text(&output.stdout), crate::stack::text(&output.stderr));
        assert!(output.status.success(), "{arguments:?}: {err}");
        let (said, other) = if dry { (out, err) } else { (err, out) };
        assert_eq!((said.as_str(), other.as_str()), ("nothing to do\n", ""), "{arguments:?}");
    };
    for verb in ["stop", "restart", "pause", "unpause", "kill", "rm", "down"] {
        says(&["--dry-run", verb], true);
    }
    for verb in ["stop", "restart", "pause", "unpause"] {
        says(&[verb], false);
    }
    project.assert_nothing_left();
    project.ok(&["up", "-d"]);
    for arguments in
        [vec!["up"], vec!["create"], vec!["scale", "one=1"], vec!["start"], vec!["unpause"], vec!["rm"]]
    {
        says(&[&["--dry-run"], &arguments[..]].concat(), true);
    }
    says(&["start"], false);
    project.ok(&["stop", "-t", "0"]);
    for arguments in [vec!["stop"], vec!["pause"], vec!["kill"]] {
        says(&[&["--dry-run"], &arguments[..]].concat(), true);
    }
    says(&["create"], false);
    says(&["stop"], false);
    project.down();
}
