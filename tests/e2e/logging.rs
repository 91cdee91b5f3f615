//! `logging` and the flags of `logs`: rotation, followers, marks, what is out of range.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::Stdio;

use crate::stack::{Project, text};

fn kept(project: &Project, service: &str) -> u64 {
    let folder = Path::new("/var/lib/compose/stacks").join(&project.name).join("containers");
    let folder = folder.join(format!("{}-{service}-1", project.name));
    let files = fs::read_dir(folder).unwrap().map(Result::unwrap);
    let logs = files.filter(|file| file.file_name().to_str().is_some_and(|name| name.starts_with("log.std")));
    logs.map(|file| file.metadata().unwrap().len()).sum()
}

#[test]
fn logs_are_bounded_and_twenty_followers_lose_no_line() {
    let file = r#"
services:
  flood:
    x-rootfs: @busybox@
    command: ["sh", "-c", "echo ready; until test -e /go; do sleep 0.05; done; seq 1 100000"]
    logging: { driver: json-file, options: { max-size: 50k, max-file: "3" } }
"#;
    let project = Project::new("rotate", file);
    project.ok(&["up", "-d"]);
    let followers: Vec<_> = (0..20)
        .map(|_| {
            let mut command = project.command(&["logs", "-f", "--no-log-prefix", "flood"]);
            let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
            let mut output = BufReader::new(child.stdout.take().unwrap());
            // Whoever comes when all is over is told of no end, as in Docker Compose.
            let mut first = String::new();
            output.read_line(&mut first).unwrap();
            assert_eq!(first, "ready\n");
            let reading = std::thread::spawn(move || {
                let mut all = String::new();
                output.read_to_string(&mut all).unwrap();
                all
            });
            (child, reading)
        })
        .collect();
    // The supervisor dies in between, with all that it had open.
    project.ok(&["exec", "-T", "flood", "touch", "/go"]);
    project.kill_processes("compose-supervisor");
    let expected: Vec<String> = (1..=100_000).map(|number: u32| number.to_string()).collect();
    for (mut child, reading) in followers {
        let all = reading.join().unwrap();
        let mut lines: Vec<&str> = all.lines().collect();
        // How it has ended stands last.
        assert_eq!(lines.pop(), Some("flood-1 exited with code 0"));
        assert!(lines == expected, "{} lines, the last being {:?}", lines.len(), lines.last());
        assert!(child.wait().unwrap().success());
    }
    // What was kept for them goes with the next run, which is left where nobody reads.
    project.ok(&["up", "-d"]);
    project.ends("flood");
    assert!(kept(&project, "flood") < 400_000, "{} bytes", kept(&project, "flood"));
    let left = project.ok(&["logs", "--no-log-prefix", "flood"]);
    let lines: Vec<&str> = left.lines().collect();
    assert!(
        lines.len() < 50_000 && lines == expected[100_000 - lines.len()..],
        "{} lines are left",
        lines.len()
    );
    let last = project.ok(&["logs", "--no-log-prefix", "--tail", "15000", "flood"]);
    assert_eq!(last.lines().collect::<Vec<_>>(), expected[85_000..]);
    project.down();
}

#[test]
fn old_files_go_once_nobody_reads_them() {
    let file = r#"
services:
  flood:
    x-rootfs: @busybox@
    command: ["sh", "-c", "seq 1 200000"]
    logging: { driver: local, options: { max-size: 100k, max-file: "2" } }
  silent: { x-rootfs: @busybox@, command: ["sh", "-c", "echo gone; exec sleep 1000"], logging: { driver: none } }
  other: { x-rootfs: @busybox@, command: ["echo", "kept"], logging: { driver: syslog } }
"#;
    let project = Project::new("bounded", file);
    let up = project.run(&["up", "-d"]);
    assert!(up.status.success());
    assert!(text(&up.stderr).contains("there is no logging driver `syslog` here"), "{}", text(&up.stderr));
    project.ends("flood");
    project.ends("other");
    assert!(kept(&project, "flood") < 300_000, "{} bytes", kept(&project, "flood"));
    assert_eq!(project.ok(&["logs", "--no-log-prefix", "--tail", "1", "flood"]), "200000\n");
    assert_eq!(project.ok(&["logs", "--no-log-prefix", "other"]), "kept\n");
    let silent = project.run(&["logs", "silent"]);
    assert!(silent.status.success() && silent.stdout.is_empty());
    assert!(text(&silent.stderr).contains("its output is not kept"), "{}", text(&silent.stderr));
    project.down();
}

#[test]
fn marks_stand_between_the_lines() {
    let file = r#"
services:
  web:
    x-rootfs: @busybox@
    command: ["sh", "-c", "echo first; touch /said; until test -e /end; do sleep 0.05; done; echo last; exit 7"]
    healthcheck: { test: ["CMD", "test", "-e", "/said"], interval: 60s }
"#;
    let project = Project::new("marks", file);
    project.ok(&["up", "-d", "--wait"]);
    project.follow_until("web", "first");
    let mut follower = project
        .command(&["logs", "-f", "--marks", "--no-log-prefix", "web"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    project.ok(&["pause"]);
    project.ok(&["unpause"]);
    project.ok(&["exec", "-T", "web", "touch", "/end"]);
    let mut followed = String::new();
    follower.stdout.take().unwrap().read_to_string(&mut followed).unwrap();
    assert!(follower.wait().unwrap().success());
    // Marks without their times.
    let bare = |text: &str| -> Vec<String> {
        let mark =
            |line: &str| line.strip_prefix("=== ").and_then(|rest| Some(rest.split_once(' ')?.1.to_owned()));
        text.lines().map(|line| mark(line).unwrap_or_else(|| line.to_owned())).collect()
    };
    let mut expected = vec!["started ===", "first", "healthy ===", "paused ===", "unpaused ===", "last"];
    expected.push("exited with code 7 ===");
    let mut found = bare(&followed);
    // A program may write before its start is told of, and be healthy before it writes.
    found[..3].sort();
    expected[..3].sort_unstable();
    assert_eq!(found, expected);
    let mut later = bare(&project.ok(&["logs", "--marks", "--no-log-prefix", "web"]));
    later[..3].sort();
    assert_eq!(later, expected);
    let last = bare(&project.ok(&["logs", "--marks", "--tail", "1", "--no-log-prefix", "web"]));
    assert_eq!(last, ["last", "exited with code 7 ==="]);
    // With `-t` the time stands before a mark as before any line, and once.
    let timed = project.ok(&["logs", "-t", "--marks", "--tail", "1", "--no-log-prefix", "web"]);
    let untimed: Vec<&str> = timed.lines().map(|line| line.split_once(' ').unwrap().1).collect();
    assert_eq!(untimed, ["last", "=== exited with code 7 ==="]);
    assert_eq!(project.ok(&["logs", "--no-log-prefix", "web"]), "first\nlast\n");
    project.down();
}

#[test]
fn an_index_out_of_range_is_told_with_the_range() {
    let file = r#"
services:
  web: { x-rootfs: @busybox@, command: ["sh", "-c", "echo hello; exec sleep 1000"], scale: 3 }
"#;
    let project = Project::new("index", file);
    project.ok(&["up", "-d"]);
    project.follow_until("web", "hello");
    let (code, message) = project.fails(&["logs", "--index", "4", "web"]);
    assert!(
        code == 1 && message.contains("no container 4: its containers have the indexes 1 to 3"),
        "{code} {message}"
    );
    let (code, message) = project.fails(&["logs", "--index", "1"]);
    assert!(code != 0 && message.contains("SERVICE"), "{code} {message}");
    project.down();
}
