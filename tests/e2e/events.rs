//! `events`: Docker Compose's words and keys, over the supervisor's death and the end of the stack.

use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Stdio};

use serde_json::{Value, json};

use crate::stack::Project;

/// `compose events` that runs until it is told to end.
struct Events {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Events {
    fn of(project: &Project, args: &[&str]) -> Self {
        let mut all = vec!["events", "--since", "1h", "--json"];
        all.extend(args);
        let mut child = project.command(&all).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// Reads on until an action has been told of; all that was told, that one last.
    fn until(&mut self, service: &str, action: &str) -> Vec<Value> {
        let mut seen = Vec::new();
        for line in self.lines.by_ref() {
            let event: Value = serde_json::from_str(&line.unwrap()).unwrap();
            let last = event["service"] == service && event["action"] == action;
            seen.push(event);
            if last {
                return seen;
            }
        }
        panic!("no {action} of {service} in {seen:#?}");
    }

    /// Ctrl-C; its status.
    fn interrupt(mut self) -> Option<i32> {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
        self.child.wait().unwrap().code()
    }
}

fn actions(events: &[Value], service: &str) -> Vec<String> {
    let of_service = events.iter().filter(|event| event["service"] == service);
    of_service.map(|event| event["action"].as_str().unwrap().to_owned()).collect()
}

const FILE: &str = r#"
services:
  web:
    x-rootfs: @busybox@
    command: ["sh", "-c", "trap 'exit 3' TERM; while :; do sleep 0.1; done"]
    labels: { tier: front }
    healthcheck: { test: ["CMD", "true"], interval: 60s }
    stop_grace_period: 30s
  job: { x-rootfs: @busybox@, command: ["sh", "-c", "exit 4"] }
"#;

#[test]
fn a_stacks_life_is_told_in_dockers_words() {
    let project = Project::new("events", FILE);
    let mut events = Events::of(&project, &[]);
    project.ok(&["up", "-d", "--wait", "web"]);
    project.ok(&["exec", "-T", "web", "sh", "-c", "exit 0"]);
    project.ok(&["pause", "web"]);
    project.ok(&["unpause", "web"]);
    project.ok(&["kill", "-s", "SIGCONT", "web"]);
    project.ok(&["down"]);
    let seen = events.until("web", "destroy");
    assert_eq!(
        actions(&seen, "web"),
        [
            "create",
            "start",
            "health_status: healthy",
            "exec_create: sh -c exit 0",
            "exec_start: sh -c exit 0",
            "exec_die",
            "pause",
            "unpause",
            "kill",
            "kill",
            "die",
            "stop",
            "destroy",
        ]
    );
    // The keys and attributes that Docker Compose 2.40.3 with Docker 20.10 has for the same.
    let find = |action: &str| seen.iter().find(|event| event["action"] == action).unwrap();
    let die = find("die");
    let keys: Vec<&String> = die.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["action", "attributes", "id", "service", "time", "type"]);
    let name = format!("{}-web-1", project.name);
    let image = crate::stack::busybox().display().to_string();
    assert_eq!(die["attributes"], json!({"exitCode": "3", "image": image, "name": name, "tier": "front"}));
    assert_eq!(die["type"], "container");
    assert_eq!(die["id"].as_str().unwrap().len(), 64);
    let kills: Vec<&Value> = seen.iter().filter(|event| event["action"] == "kill").collect();
    assert_eq!(kills[0]["attributes"]["signal"], "18");
    assert_eq!(kills[1]["attributes"]["signal"], "15");
    let exec = find("exec_die");
    assert_eq!(exec["attributes"]["exitCode"], "0");
    assert_eq!(exec["attributes"]["execID"], find("exec_start: sh -c exit 0")["attributes"]["execID"]);
    // It goes on though the stack is gone, and tells of the next one.
    project.ok(&["up", "-d", "job"]);
    let seen = events.until("job", "die");
    assert_eq!(actions(&seen, "job"), ["create", "start", "die"]);
    assert_eq!(seen.last().unwrap()["attributes"]["exitCode"], "4");
    assert_eq!(events.interrupt(), Some(130));
    project.down();
}

#[test]
fn events_are_told_once_though_the_supervisor_dies() {
    let project = Project::new("events-crash", FILE);
    project.ok(&["up", "-d", "web"]);
    let mut events = Events::of(&project, &["web"]);
    events.until("web", "start");
    project.kill_processes("compose-supervisor");
    project.ok(&["pause", "web"]);
    project.kill_processes("compose-supervisor");
    project.ok(&["unpause", "web"]);
    let seen = events.until("web", "unpause");
    assert_eq!(actions(&seen, "web").iter().filter(|action| *action == "pause").count(), 1);
    // What is kept is told later too, and no more than that, and of whom it is asked.
    let late = project.ok(&["events", "--since", "1h", "--until", "0s", "--json"]);
    assert!(late.contains(r#""action":"create""#) && late.contains(r#""action":"pause""#), "{late}");
    assert_eq!(project.ok(&["events", "--since", "1h", "--until", "0s", "job"]), "");
    let plain = project.ok(&["events", "--since", "1h", "--until", "0s"]);
    let line = plain.lines().find(|line| line.contains(" container start ")).unwrap();
    assert!(
        line.ends_with("tier=front)") && line.contains(&format!("name={}-web-1", project.name)),
        "{line}"
    );
    let (_, message) = project.fails(&["events", "nobody"]);
    assert!(message.contains("no such service: nobody"), "{message}");
    assert_eq!(events.interrupt(), Some(130));
    project.down();
}

#[test]
fn whoever_stops_reading_ends_it() {
    let project = Project::new("events-pipe", FILE);
    let mut events = Events::of(&project, &[]);
    project.ok(&["up", "-d", "web"]);
    events.until("web", "start");
    drop(events.lines);
    // It hears of it by its next line.
    project.ok(&["kill", "-s", "CONT", "web"]);
    assert_eq!(events.child.wait().unwrap().code(), Some(141));
    project.down();
}
