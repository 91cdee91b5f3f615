//! Logs: complete from byte 0, with time and stream.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use crate::stack::Project;

#[test]
fn nothing_is_lost_of_a_flood_on_both_streams() {
    let file = r#"
services:
  flood:
    x-rootfs: @busybox@
    command: ["sh", "-c", "seq 1 200000; seq 1 100000 >&2; printf unfinished"]
"#;
    let project = Project::new("flood", file);
    project.ok(&["up", "-d"]);
    project.ends("flood");
    let logs = project.ok(&["logs", "--no-log-prefix", "flood"]);
    assert_eq!(logs.lines().count(), 300_001);
    assert_eq!(logs.lines().filter(|line| *line == "100000").count(), 2);
    assert_eq!(logs.lines().filter(|line| *line == "unfinished").count(), 1);
    let numbers: u64 = logs.lines().filter_map(|line| line.parse::<u64>().ok()).sum();
    assert_eq!(numbers, 200_000 * 200_001 / 2 + 100_000 * 100_001 / 2);
    assert_eq!(project.ok(&["logs", "--no-log-prefix", "--tail", "1", "flood"]).trim_end(), "unfinished");
    assert_eq!(project.ok(&["logs", "--tail", "3", "flood"]).lines().count(), 3);
    assert_eq!(project.ok(&["logs", "--tail", "0", "flood"]), "");
    project.down();
}

#[test]
fn prefixes_times_and_since() {
    let file = r#"
services:
  a: { x-rootfs: @busybox@, command: ["sh", "-c", "echo early; sleep 1.2; echo late; exec sleep 1000"] }
  longer: { x-rootfs: @busybox@, command: ["sh", "-c", "echo other; exec sleep 1000"] }
"#;
    let project = Project::new("prefixes", file);
    project.ok(&["up", "-d"]);
    project.follow_until("a", "late");
    project.follow_until("longer", "other");
    let logs = project.ok(&["logs"]);
    assert!(logs.contains("a-1       | early\n") && logs.contains("longer-1  | other\n"), "{logs}");
    let timed = project.ok(&["logs", "-t", "--no-log-prefix", "a"]);
    let times: Vec<&str> = timed.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(times.len() == 2 && times.iter().all(|time| time.len() == 30 && time.ends_with('Z')), "{timed}");
    assert_eq!(project.ok(&["logs", "--no-log-prefix", "--since", times[1], "a"]), "late\n");
    assert_eq!(project.ok(&["logs", "--no-log-prefix", "--until", times[0], "a"]), "early\n");
    assert_eq!(project.ok(&["logs", "--no-log-prefix", "--since", "1h", "a"]), "early\nlate\n");
    let (_, message) = project.fails(&["logs", "nobody"]);
    assert!(message.contains("no such service: nobody"), "{message}");
    project.down();
}

#[test]
fn following_ends_with_the_containers() {
    let file = r#"
services:
  short: { x-rootfs: @busybox@, command: ["sh", "-c", "echo 1; until test -e /end; do sleep 0.1; done; echo 2"] }
"#;
    let project = Project::new("follow", file);
    project.ok(&["up", "-d"]);
    let mut follower =
        project.command(&["logs", "-f", "--no-log-prefix"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(lines.next().as_deref(), Some("1"));
    project.ok(&["exec", "-T", "short", "touch", "/end"]);
    assert_eq!(lines.collect::<Vec<_>>(), ["2", "short-1 exited with code 0"]);
    assert!(follower.wait().unwrap().success());
    project.down();
}

#[test]
fn a_line_that_was_not_finished_stays_its_own() {
    let file = r#"
services:
  one: { x-rootfs: @busybox@, command: ["sh", "-c", "printf half"] }
"#;
    let project = Project::new("halves", file);
    project.ok(&["up", "-d"]);
    project.ends("one");
    project.ok(&["up", "-d"]);
    project.ends("one");
    assert_eq!(project.ok(&["logs", "--no-log-prefix"]), "half\nhalf\n");
    project.down();
}

#[test]
fn following_goes_on_with_the_next_container() {
    let file = |word: &str| {
        format!(
            "services: {{one: {{x-rootfs: @busybox@, command: [sh, -c, 'echo {word}; exec sleep 1000']}}}}"
        )
    };
    let project = Project::new("follow-on", &file("first"));
    project.ok(&["up", "-d"]);
    let mut follow =
        project.command(&["logs", "-f", "--no-log-prefix"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(follow.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(lines.next().as_deref(), Some("first"));
    project.write("compose.yaml", &file("second"));
    project.ok(&["up", "-d", "-t", "0"]);
    assert_eq!(lines.next().as_deref(), Some("one-1 exited with code 137"));
    assert_eq!(lines.next().as_deref(), Some("second"));
    // A stack that has gone ends it.
    project.ok(&["down", "-t", "0"]);
    assert_eq!(lines.next().as_deref(), Some("one-1 exited with code 137"));
    assert_eq!(lines.next(), None);
    assert!(follow.wait().unwrap().success());
    project.down();
}
