//! `top`, `stats` and `port`: Docker's columns and keys.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use crate::stack::Project;

const FILE: &str = r#"
services:
  web: { x-rootfs: @busybox@, command: ["sh", "-c", "sleep 1000 & wait"], scale: 2, mem_limit: 64m }
  user: { x-rootfs: @busybox@, command: ["sleep", "77"], user: "54321" }
  busy: { x-rootfs: @busybox@, command: ["sh", "-c", "while :; do :; done"] }
  job: { x-rootfs: @busybox@, command: ["true"] }
"#;

#[test]
fn processes_are_shown_in_dockers_columns() {
    let project = Project::new("top", FILE);
    project.ok(&["up", "-d"]);
    project.ends("job");
    let all = project.ok(&["top"]);
    let rows: Vec<Vec<&str>> = all.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["SERVICE", "#", "UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]);
    let of = |service: &str| rows.iter().filter(|row| row[0] == service).collect::<Vec<_>>();
    let web = of("web");
    let indexes: Vec<&str> = web.iter().map(|row| row[1]).collect();
    assert_eq!(indexes, ["1", "1", "2", "2"]);
    assert_eq!(web[0][2], "root");
    assert_eq!(web[0][9..], ["sh", "-c", "sleep", "1000", "&", "wait"]);
    assert_eq!((web[1][4], &web[1][9..]), (web[0][3], ["sleep", "1000"].as_slice()), "a child of the first");
    assert_eq!(of("user")[0][2], "54321");
    let pid = project.field("user", "Pid").as_i64().unwrap().to_string();
    assert_eq!(of("user")[0][3], pid, "pids are the host's");
    assert!(of("job").is_empty());
    assert_eq!(project.ok(&["top", "user"]).lines().count(), 2);
    assert_eq!(project.ok(&["top", "job"]), "");
    let (code, message) = project.fails(&["top", "nobody"]);
    assert!(code == 1 && message.contains("no such service: nobody"), "{code} {message}");
    project.down();
}

#[test]
fn figures_have_dockers_keys_and_are_the_kernels() {
    let project = Project::new("stats", FILE);
    project.ok(&["up", "-d"]);
    project.ends("job");
    let figures = |args: &[&str]| -> Vec<serde_json::Value> {
        let args = [&["stats", "--no-stream", "--format", "json"], args].concat();
        project.ok(&args).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let busy = figures(&["busy"]);
    assert_eq!(busy.len(), 1);
    let keys: Vec<&String> = busy[0].as_object().unwrap().keys().collect();
    assert_eq!(
        keys,
        ["BlockIO", "CPUPerc", "Container", "ID", "MemPerc", "MemUsage", "Name", "NetIO", "PIDs"]
    );
    let percent: f64 = busy[0]["CPUPerc"].as_str().unwrap().strip_suffix('%').unwrap().parse().unwrap();
    assert!(percent > 1.0, "a program that never rests takes {percent} %");
    assert_eq!(busy[0]["PIDs"], "1");
    let web = figures(&["web"]);
    assert_eq!(web.len(), 2);
    assert!(web[0]["MemUsage"].as_str().unwrap().ends_with(" / 64MiB"), "{}", web[0]);
    assert_eq!(web[0]["PIDs"], "2");
    assert_eq!(figures(&[]).len(), 4);
    let all = figures(&["-a"]);
    assert_eq!(all.len(), 5);
    let job = all.iter().find(|line| line["Name"] == format!("{}-job-1", project.name)).unwrap();
    assert_eq!((&job["MemUsage"], &job["PIDs"]), (&"0B / 0B".into(), &"0".into()));
    let table = project.ok(&["stats", "--no-stream", "--no-trunc", "user"]);
    let header = "CONTAINER ID NAME CPU % MEM USAGE / LIMIT MEM % NET I/O BLOCK I/O PIDS";
    assert_eq!(table.lines().next().unwrap().split_whitespace().collect::<Vec<_>>().join(" "), header);
    assert_eq!(table.lines().nth(1).unwrap().split(' ').next().unwrap().len(), 64);
    project.down();
}

#[test]
fn figures_are_shown_again_and_again_until_interrupted() {
    let project = Project::new("stats-stream", FILE);
    project.ok(&["up", "-d", "busy"]);
    let mut child = project.command(&["stats", "--format", "json"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let names: Vec<serde_json::Value> = lines
        .by_ref()
        .take(2)
        .map(|line| serde_json::from_str::<serde_json::Value>(&line.unwrap()).unwrap()["Name"].clone())
        .collect();
    assert_eq!(names, [format!("{0}-busy-1", project.name), format!("{0}-busy-1", project.name)]);
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    drop(lines);
    project.down();
}

#[test]
fn a_port_that_is_not_published_is_an_error() {
    let project = Project::new("port", FILE);
    project.ok(&["up", "-d", "web"]);
    let fails = |args: &[&str], wanted: &str| {
        let (code, message) = project.fails(&[&["port"], args].concat());
        assert!(code != 0 && message.contains(wanted), "{args:?}: {code} {message}");
    };
    fails(&["web", "80"], &format!("no port 80/tcp for container {}-web-1", project.name));
    fails(
        &["web", "80", "--protocol", "UDP", "--index", "2"],
        &format!("no port 80/udp for container {}-web-2", project.name),
    );
    fails(
        &["web", "80", "--index", "3"],
        "service \"web\" is not running container #3: its containers have the indexes 1 to 2",
    );
    fails(&["job", "80"], "service \"job\" is not running: `compose up -d job` starts it");
    project.ok(&["stop", "-t", "0", "web"]);
    fails(&["web", "80"], "service \"web\" is not running: `compose start web` starts it");
    fails(&["nobody", "80"], "no such service: nobody");
    fails(&["web", "abc"], "abc");
    project.down();
}
