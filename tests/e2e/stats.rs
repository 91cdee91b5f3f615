//! `stats`: Docker's keys and columns, the kernel's figures, and a table that lives.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::disk::Disk;
use crate::stack::Project;
use crate::terminal::Typist;

const FILE: &str = r#"
x-resources: { limits: { memory: 256m, pids: 100 } }
services:
  web: { x-rootfs: @busybox@, command: ["sh", "-c", "sleep 1000 & wait"], scale: 2, mem_limit: 64m, pids_limit: 9 }
  user: { x-rootfs: @busybox@, command: ["sleep", "100000"], user: "54321" }
  busy: { x-rootfs: @busybox@, command: ["sh", "-c", "while :; do :; done"], cpus: 0.05 }
  job: { x-rootfs: @busybox@, command: ["true"] }
"#;

fn figures(project: &Project, args: &[&str]) -> Vec<Value> {
    let args = [&["stats", "--no-stream", "--format", "json"], args].concat();
    project.ok(&args).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn percent(value: &Value) -> f64 {
    value.as_str().and_then(|text| text.strip_suffix('%')).unwrap().parse().unwrap()
}

#[test]
fn figures_have_dockers_keys_and_are_the_kernels() {
    let project = Project::new("stats", FILE);
    project.ok(&["up", "-d"]);
    project.ends("job");
    // An emulated processor may take its time to come to the quota.
    let throttled = |lines: &[Value]| lines[0]["Figures"]["cpu"]["throttled"].as_u64().unwrap() > 0;
    let looks = (0..60).map(|_| figures(&project, &["busy"]));
    let busy = looks.into_iter().find(|lines| throttled(lines)).expect("it is throttled");
    assert_eq!(busy.len(), 1);
    let keys: Vec<&String> = busy[0].as_object().unwrap().keys().collect();
    let docker = ["BlockIO", "CPUPerc", "Container", "ID", "MemPerc", "MemUsage", "Name", "NetIO", "PIDs"];
    let ours = ["Figures", "Kind", "Pressure", "Service", "Throttled"];
    let mut expected = [&docker[..], &ours[..]].concat();
    expected.sort_unstable();
    assert_eq!(keys, expected);
    let taken = percent(&busy[0]["CPUPerc"]);
    assert!(taken < 60.0, "a program that never rests takes {taken} % of the 5 it may have");
    assert!(percent(&busy[0]["Throttled"]) <= 100.0, "{}", busy[0]);
    let cpu = &busy[0]["Figures"]["cpu"];
    assert_eq!(cpu["limit"], 0.05);
    let sum = cpu["user_usec"].as_u64().unwrap() + cpu["system_usec"].as_u64().unwrap();
    assert!(sum > 0, "{cpu}");
    assert_eq!(busy[0]["PIDs"], "1");
    // Each has started its second process by now, or will in a moment.
    let looks = std::iter::repeat_with(|| figures(&project, &["web"])).take(60);
    let web = looks
        .into_iter()
        .find(|web| web.iter().all(|line| line["PIDs"] == "2"))
        .expect("two processes in each");
    assert_eq!(web.len(), 2);
    assert!(web[0]["MemUsage"].as_str().unwrap().ends_with(" / 64MiB"), "{}", web[0]);
    assert_eq!((&web[0]["PIDs"], &web[0]["Figures"]["pids"]["limit"]), (&"2".into(), &9.into()));
    let memory = &web[0]["Figures"]["memory"];
    assert_eq!(memory["limit"], 64 << 20);
    for key in ["usage", "failures", "kernel", "tcp", "nodes", "events"] {
        assert!(!memory[key].is_null(), "{key}: {memory}");
    }
    // From Linux 5.19 on, and that on v1 too.
    assert!(memory["peak"].as_u64().unwrap() >= memory["usage"].as_u64().unwrap() / 2, "{memory}");
    assert!(web[0]["Figures"]["net"]["eth0"]["rx_bytes"].is_u64(), "{}", web[0]);
    let all = figures(&project, &[]);
    assert_eq!(all.len(), 5, "the stack, and what runs");
    assert_eq!((&all[0]["Kind"], &all[0]["Name"]), (&"stack".into(), &project.name.clone().into()));
    assert!(all[0]["MemUsage"].as_str().unwrap().ends_with(" / 256MiB"), "{}", all[0]);
    let pids = |line: &Value| line["PIDs"].as_str().unwrap().parse::<u64>().unwrap();
    assert_eq!(pids(&all[0]), all[1..].iter().map(pids).sum::<u64>());
    assert_eq!(figures(&project, &["-a"]).len(), 6);
    let job = &figures(&project, &["-a", "job"])[0];
    assert_eq!((&job["MemUsage"], &job["PIDs"]), (&"0B / 0B".into(), &"0".into()));
    let table = project.ok(&["stats", "--no-stream", "--no-trunc", "user"]);
    let header = "CONTAINER ID NAME CPU % MEM USAGE / LIMIT MEM % NET I/O BLOCK I/O PIDS THROTTLED PRESSURE";
    assert_eq!(table.lines().next().unwrap().split_whitespace().collect::<Vec<_>>().join(" "), header);
    assert_eq!(table.lines().nth(1).unwrap().split(' ').next().unwrap().len(), 64);
    project.down();
}

#[test]
fn figures_are_shown_again_and_again_and_of_what_comes_meanwhile() {
    let project = Project::new("stats-stream", FILE);
    project.ok(&["up", "-d", "user"]);
    let mut child = project.command(&["stats", "--format", "json"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut name = || serde_json::from_str::<Value>(&lines.next().unwrap().unwrap()).unwrap()["Name"].clone();
    let (stack, user) = (project.name.clone(), format!("{}-user-1", project.name));
    assert_eq!([name(), name(), name(), name()], [&*stack, &*user, &*stack, &*user]);
    // A supervisor that dies is no reason to stop; what is started then is seen.
    project.kill_processes("compose-supervisor");
    project.ok(&["up", "-d", "busy"]);
    let busy = format!("{}-busy-1", project.name);
    while name() != *busy {}
    project.ok(&["stop", "-t", "0", "busy"]);
    let mut gone = 0;
    while gone < 4 {
        gone = if name() == *busy { 0 } else { gone + 1 };
    }
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    drop(lines);
    project.down();
}

#[test]
fn a_terminal_has_a_table_with_bars_that_follows_its_size() {
    let project = Project::new("stats-live", FILE);
    project.ok(&["up", "-d", "web", "busy"]);
    let mut typist = Typist::new(&project, &["stats"], (30, 200));
    typist.until("\x1b[2J\x1b[H");
    typist.until("NAME");
    typist.until("THROTTLED");
    typist.until(&project.name);
    typist.until("━");
    typist.until(&format!("{}-busy-1", project.name));
    // No room for all rows, nor for all columns.
    typist.resize((3, 60));
    typist.until("\x1b[H");
    typist.until("3 more");
    let frame = typist.seen.rsplit_once("\x1b[H").unwrap().1;
    assert!(!frame.contains("THROTTLED") && frame.contains("MEM"), "{frame:?}");
    kill(Pid::from_raw(typist.child.id().cast_signed()), Signal::SIGINT).unwrap();
    // The cursor comes back.
    typist.until("\x1b[?25h");
    assert_eq!(typist.end(), Some(130));
    // So does a table of a template's.
    let mut typist =
        Typist::new(&project, &["stats", "busy", "--format", r"table {{.Service}}\t{{.PIDs}}"], (30, 16));
    typist.until("\x1b[2J\x1b[HSERVICE   PIDS\x1b[K");
    typist.until("busy      1");
    typist.until("\x1b[HSERVICE");
    kill(Pid::from_raw(typist.child.id().cast_signed()), Signal::SIGINT).unwrap();
    typist.until("\x1b[?25h");
    assert_eq!(typist.end(), Some(130));
    project.down();
}

#[test]
fn a_recording_is_whole_goes_on_and_is_drawn() {
    let project = Project::new("stats-record", FILE);
    project.ok(&["up", "-d", "web", "busy"]);
    let recording = project.folder.join("run.jsonl");
    for _ in 0..2 {
        let args = ["stats", "--no-stream", "--record", "run.jsonl", "--plot", "run.svg"];
        assert_eq!(project.ok(&args), "", "nothing is shown where there is no terminal");
    }
    let text = std::fs::read_to_string(&recording).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 8, "two looks at the stack and three containers");
    assert!(lines[0].get("service").is_none() && lines[1]["service"] == "busy", "{text}");
    assert!(lines[4]["time"].as_u64() > lines[0]["time"].as_u64());
    assert!(lines[5]["cpu"]["usage_usec"].as_u64() > lines[1]["cpu"]["usage_usec"].as_u64(), "{text}");
    let drawn = std::fs::read_to_string(project.folder.join("run.svg")).unwrap();
    for part in ["<svg", "CPU", "Memory", "\nbusy-1\n", "the stack", "polyline"] {
        assert!(drawn.contains(part), "{part}: {drawn}");
    }
    // A crash may cut the last line short.
    std::fs::write(&recording, format!("{text}{{\"name\":\"x")).unwrap();
    project.ok(&["stats", "--plot", "run.html", "--from", "run.jsonl"]);
    let page = std::fs::read_to_string(project.folder.join("run.html")).unwrap();
    assert!(page.starts_with("<!doctype html>") && page.contains("<svg") && page.contains("<td>"), "{page}");
    // And a recording goes on from it.
    project.ok(&["stats", "--no-stream", "--record", "run.jsonl", "--plot", "run.svg"]);
    let now = std::fs::read_to_string(&recording).unwrap();
    let more = now.strip_prefix(&text).unwrap();
    assert!(more.lines().count() == 4 && more.lines().all(|line| line.starts_with(r#"{"name":""#)), "{more}");
    // What somebody else has written is drawn, or refused, as it is.
    let mut forged: Value = serde_json::from_str(now.lines().next().unwrap()).unwrap();
    forged["name"] = "a\u{1}b".into();
    let mut link = serde_json::json!({});
    for of in ["bytes", "packets", "errors", "dropped"] {
        (link[format!("rx_{of}")], link[format!("tx_{of}")]) = (u64::MAX.into(), u64::MAX.into());
    }
    forged["net"] = serde_json::json!({"eth0": link, "eth1": link});
    let first = now.lines().next().unwrap().replace("\"name\":\"", "\"name\":\"a\\u0001b\",\"was\":\"");
    std::fs::write(project.folder.join("forged.jsonl"), format!("{first}\n{forged}\n")).unwrap();
    project.ok(&["stats", "--plot", "forged.svg", "--from", "forged.jsonl"]);
    let drawn = std::fs::read_to_string(project.folder.join("forged.svg")).unwrap();
    assert!(drawn.contains("u{1}") && !drawn.contains('\u{1}'), "{drawn}");
    std::fs::write(project.folder.join("letter"), "dear").unwrap();
    for (args, part) in [
        (&["--record", "letter"][..], "no recording"),
        (&["--plot", "run.png", "--from", "run.jsonl"], ".svg or .html"),
        (&["--plot", "run.svg"], "--from"),
        (&["--plot", "run.svg", "--from", "compose.yaml"], "no recording"),
        (&["--plot", "run.svg", "--from", "nowhere"], "read the recording nowhere"),
        (&["--record", "no/where"], "record to no/where"),
    ] {
        let (code, message) = project.fails(&[&["stats"], args].concat());
        assert!(code == 1 && message.contains(part), "{args:?}: {code} {message}");
    }
    project.down();
}

#[test]
fn a_shortage_of_memory_is_an_event() {
    // On v2 it is slowed down above the mark; v1 has no such thing: there it waits at its limit.
    let file = r#"
services:
  grow:
    x-rootfs: @busybox@
    mem_limit: 32m
    memswap_limit: 32m
    x-mem-high: 12m
    oom_kill_disable: true
    command: ["sh", "-c", "x=0123456789abcdef; while true; do x=$$x$$x; done"]
"#;
    let project = Project::new("pressure", file);
    let mut events =
        project.command(&["events", "--since", "1000s", "--json"]).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(events.stdout.take().unwrap()).lines();
    project.ok(&["up", "-d"]);
    let told = lines.map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
    let waits = |event: &Value| event["attributes"]["details"].to_string().contains("wait at its limit");
    let told = told.into_iter().find(|event| event["action"] == "pressure" && !waits(event)).unwrap();
    assert_eq!(told["attributes"]["of"], "memory");
    assert!(["container", "stack"].contains(&told["type"].as_str().unwrap()), "{told}");
    if told["attributes"]["share"] == "unknown" {
        let details = told["attributes"]["details"].as_str().unwrap();
        assert!(details.contains("without page cache, of its limit of 32 MiB"), "{told}");
    }
    events.kill().unwrap();
    events.wait().unwrap();
    project.down();
}

/// v1, on which the kernel tells of what it reclaims and not of who waits: nobody is short for a file that is written, or for
/// memory that a lowered limit has given back.
#[test]
fn page_cache_is_no_shortage() {
    let file = r#"
x-resources: { limits: { memory: 128m } }
services:
  files: { x-rootfs: @busybox@, command: sleep 1000, mem_limit: 64m, volumes: ["./files:/files"] }
"#;
    let project = Project::new("cache", file);
    let files = project.folder.join("files");
    std::fs::create_dir(&files).unwrap();
    project.ok(&["up", "-d"]);
    for number in 0..3 {
        // Of holes alone: what waits for a busy disk to be written to, v1 kills for.
        std::fs::File::create(files.join(number.to_string())).unwrap().set_len(100 << 20).unwrap();
        let from = format!("if=/files/{number}");
        project.ok(&["exec", "-T", "files", "dd", &from, "of=/dev/null", "bs=1M"]);
    }
    project.ok(&["set", "--force", "files", "--memory", "16M"]);
    if !std::fs::exists("/sys/fs/cgroup/cgroup.controllers").unwrap() {
        let events = project.ok(&["events", "--since", "1000s", "--until", "0s"]);
        assert!(events.contains(" update ") && !events.contains(" pressure "), "{events}");
    }
    project.down();
}

#[test]
fn blocks_are_counted_by_the_kernel_where_a_service_has_limits_of_them() {
    let disk = Disk::new("stats", 4 << 20);
    let file = format!(
        r#"
services:
  rated:
    x-rootfs: @busybox@
    command: sleep 1000
    devices: ["{0}:/dev/disk"]
    blkio_config: {{ device_read_bps: [{{ path: {0}, rate: 1gb }}] }}
  plain: {{ x-rootfs: @busybox@, command: sleep 1000 }}
"#,
        disk.path
    );
    let project = Project::new("blocks", &file);
    project.ok(&["up", "-d"]);
    for (from, to, flag) in
        [("/dev/disk", "/dev/null", "iflag=direct"), ("/dev/zero", "/dev/disk", "oflag=direct")]
    {
        let (from, to) = (format!("if={from}"), format!("of={to}"));
        project.ok(&["exec", "-T", "rated", "dd", &from, &to, "bs=1M", "count=4", flag]);
    }
    // The programs that did it are gone.
    let lines = figures(&project, &[]);
    let device = format!("7:{}", disk.path.trim_start_matches("/dev/loop"));
    let of = |service: Option<&str>| {
        let is_it = |line: &&Value| {
            line.get("Service").and_then(Value::as_str).filter(|name| !name.is_empty()) == service
        };
        lines.iter().find(is_it).unwrap_or_else(|| panic!("{service:?}: {lines:#?}"))
    };
    for line in [of(Some("rated")), of(None)] {
        let counted = &line["Figures"]["io"][&device];
        assert_eq!((&counted["read"], &counted["written"]), (&(4 << 20).into(), &(4 << 20).into()), "{line}");
    }
    project.down();
}
