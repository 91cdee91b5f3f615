//! Every verb beside Docker Compose: the same exit status, the same keys, the same headings.
//!
//! What Docker Compose answers is in `peers.json`. Where `COMPOSER_PEER` names it (`COMPOSER_PEER="docker compose"`,
//! with an image `peer/busybox` that holds busybox), it is asked too, and has to answer what is stored; with
//! `COMPOSER_UPDATE_GOLDEN=1` its answers are stored.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::stack::{Project, text};

const FILE: &str = r#"
services:
  web:
    image: peer/busybox
    x-rootfs: @busybox@
    command: ["/bin/sh", "-c", "trap 'exit 0' TERM; trap : HUP; while :; do sleep 0.1; done"]
    labels: { some: label }
  job:
    image: peer/busybox
    x-rootfs: @busybox@
    command: ["/bin/sh", "-c", "sleep 2; echo done; exit 3"]
    depends_on: [web]
"#;

/// What of an answer counts, beside the exit status.
#[derive(Clone, Copy)]
enum Look {
    /// Nothing else.
    Status,
    /// The keys of the objects on standard output.
    Keys,
    /// The words of the first line.
    Heading,
    /// Standard output itself.
    Output,
    /// Its lines, in whatever order.
    Lines,
}

use Look::{Heading, Keys, Lines, Output as Exactly, Status};

/// In this order: each begins with what those before it have left.
const STEPS: &[(&str, Look)] = &[
    // Of what is not there yet.
    ("ps --format json", Keys),
    ("stop", Status),
    ("start", Status),
    ("restart", Status),
    ("kill", Status),
    ("pause", Status),
    ("unpause", Status),
    ("rm -f", Status),
    ("top", Status),
    ("logs", Status),
    ("exec -T web true", Status),
    ("port web 80", Status),
    ("wait web", Status),
    ("down", Status),
    // What was not meant.
    ("up -d nosuch", Status),
    ("up -d --force-recreate --no-recreate", Status),
    ("up -d --abort-on-container-exit", Status),
    ("up -d --exit-code-from web", Status),
    ("up --exit-code-from nosuch", Status),
    ("up -d --scale web=x", Status),
    ("up -d --scale nosuch=2", Status),
    ("config --format json", Keys),
    ("config --services", Lines),
    ("config -q nosuch", Status),
    ("create", Status),
    ("ps -a --format json", Keys),
    ("start web", Status),
    ("up -d --wait web", Status),
    ("up -d", Status),
    ("wait job", Status),
    ("ps --format json", Keys),
    ("ps -a --services", Lines),
    ("ps --status exited --services", Exactly),
    ("ps nosuch", Status),
    (
        r#"ps --format '{{.Name}} {{.Names}} {{.Service}} {{.Project}} {{.State}} {{.ExitCode}} {{.Size}} [{{.Health}}]'"#,
        Exactly,
    ),
    (
        r#"ps --format '{{.Label "some"}} [{{.Label "none"}}] {{.LocalVolumes}}\t{{.Networks}}\n{{.Publishers}} {{json .Publishers}}'"#,
        Exactly,
    ),
    (
        r#"ps --format '{{upper .State}} {{title .State}} {{pad .State 1 2}}|{{truncate .State 3}} {{json .Service}}'"#,
        Exactly,
    ),
    (
        r#"ps --format '{{join (split .State "n") "+"}} {{printf "%-9s|%03d|%q" .State .ExitCode .Service}}{{println}}'"#,
        Exactly,
    ),
    (
        r#"ps -a --format '{{if eq .ExitCode 3}}{{.Service}} failed{{else}}{{.Service}} {{with .State}}{{.}}{{end}}{{end}}'"#,
        Lines,
    ),
    (
        r#"ps --format '{{range $i, $part := split .State "n"}}{{if $i}}, {{end}}{{$i}}={{$part -}} \n {{end}}'"#,
        Exactly,
    ),
    (
        r#"ps --format 'table {{.Service}}\t{{.Label "com.example.so-and_so"}}\t{{upper .Service}}\t{{.State}}'"#,
        Exactly,
    ),
    (r#"ps --status paused --format 'table {{.Name}}\t{{.Nothing}}\t{{.State}}'"#, Exactly),
    ("ps --status paused --format '{{.Nothing}}'", Exactly),
    ("ps --format 'table {{.Nothing}}'", Exactly),
    ("ps --format '{{.Nothing}}'", Exactly),
    ("ps --format '{{.Name'", Exactly),
    ("ps --format '{{if .Name}}'", Exactly),
    ("ps --format '{{end}}'", Exactly),
    ("ps --format '{{nothing .Name}}'", Exactly),
    ("ps --format '{{.Label}}'", Exactly),
    ("ps --format '{{.Name 1}}'", Exactly),
    ("ps --format plain", Exactly),
    ("ps -q --format 'table {{.Nothing}}' --status paused", Exactly),
    ("volumes --format '{{.Name}} {{.Nothing}}'", Exactly),
    (r#"volumes --format 'table {{.Name}}\t{{.Mountpoint}}\t{{.Size}}\t{{.Label "a-b"}}'"#, Exactly),
    (r#"stats --no-stream --format '{{.Name}}\t{{len .ID}} {{len .Container}}' web"#, Exactly),
    (
        r#"stats --no-stream --format 'table {{truncate .Name 3}}\t{{if .PIDs}}{{truncate .Name 2}}{{end}}' web"#,
        Exactly,
    ),
    ("stats --no-stream --format '{{.Nothing}}' web", Status),
    ("images --format '{{.ID}}'", Status),
    ("ls --format '{{.Name}}'", Status),
    ("ls --format JSON", Keys),
    ("ls --format pretty", Heading),
    ("ls --format json", Keys),
    ("ls", Heading),
    ("top web", Status),
    ("top nosuch", Status),
    ("port web 80", Status),
    ("port nosuch 80", Status),
    ("logs --no-log-prefix job", Exactly),
    ("logs nosuch", Status),
    ("logs --index 9 web", Status),
    ("exec -T web true", Status),
    ("exec -T web sh -c 'exit 7'", Status),
    ("exec -T web nosuch-program", Status),
    ("exec -T nosuch true", Status),
    ("exec -T job true", Status),
    ("exec -T --index 9 web true", Status),
    ("pause web", Status),
    ("pause web", Status),
    ("ps --format json web", Keys),
    ("exec -T web true", Status),
    ("unpause web", Status),
    ("unpause web", Status),
    ("pause nosuch", Status),
    ("kill -s HUP web", Status),
    ("kill -s NOSUCH web", Status),
    ("kill nosuch", Status),
    ("restart web", Status),
    ("restart nosuch", Status),
    ("stop web", Status),
    ("stop web", Status),
    ("stop nosuch", Status),
    ("start web", Status),
    ("start nosuch", Status),
    ("scale web=2", Status),
    ("scale web=x", Status),
    ("scale nosuch=2", Status),
    ("up -d --scale web=1", Status),
    ("run --rm -T web sh -c 'exit 5'", Status),
    ("run --rm -T web nosuch-program", Status),
    ("run --rm -T nosuch", Status),
    ("run --rm -T --no-deps job", Exactly),
    ("attach nosuch", Status),
    ("wait nosuch", Status),
    ("up -d --force-recreate web", Status),
    ("rm -f job", Status),
    ("rm -f job", Status),
    ("rm -f nosuch", Status),
    ("rm -f -s web", Status),
    ("up --abort-on-container-exit", Status),
    ("up --abort-on-container-failure", Status),
    ("up --exit-code-from web", Status),
    ("up --exit-code-from job --no-log-prefix job", Status),
    ("kill", Status),
    ("down --remove-orphans", Status),
    ("down", Status),
];

/// Where we answer otherwise, and why: what Docker Compose says, and what we do, is the status.
const OTHERWISE: &[(&str, i32, i32, &str)] = &[
    ("ps nosuch", 0, 1, UNKNOWN),
    ("top nosuch", 0, 1, UNKNOWN),
    ("logs nosuch", 0, 1, UNKNOWN),
    ("pause nosuch", 0, 1, UNKNOWN),
    ("kill nosuch", 0, 1, UNKNOWN),
    ("stop nosuch", 0, 1, UNKNOWN),
    ("rm -f nosuch", 0, 1, UNKNOWN),
    ("exec -T web nosuch-program", 126, 127, "the status of a program that is not there, as shells have it"),
    ("run --rm -T web nosuch-program", 1, 127, "the same"),
];

const UNKNOWN: &str = "a service that is nowhere is a mistake";

/// Keys that only we have.
const MORE_KEYS: [&str; 3] = ["Address", "Pid", "Reason"];

/// A program that reads Compose files, and the project that it is to run.
struct Program<'a> {
    command: Vec<String>,
    project: &'a Project,
}

impl Program<'_> {
    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(&self.command[0]);
        command.args(&self.command[1..]).args(["-p", &self.project.name]).args(words(line));
        command.current_dir(&self.project.folder).stdin(Stdio::null());
        command.env_remove("COMPOSE_FILE").env_remove("COMPOSE_PROJECT_NAME").env("COMPOSE_MENU", "false");
        command
    }

    /// What it answers to every step, by the step's number and text.
    fn answers(&self) -> BTreeMap<String, Value> {
        let steps = STEPS.iter().enumerate();
        let answer = |(number, (line, look)): (usize, &(&str, Look))| {
            let output = self.command(line).output().unwrap();
            (format!("{number:03} {line}"), self.seen(&output, *look))
        };
        let mut answers: BTreeMap<String, Value> = steps.map(answer).collect();
        answers.insert("events --json".to_owned(), self.events());
        answers
    }

    fn seen(&self, output: &Output, look: Look) -> Value {
        let out = text(&output.stdout).replace(&self.project.name, "PROJECT");
        let seen = match look {
            Status => Value::Null,
            Keys => keys(&out),
            Heading => json!(out.lines().next().unwrap_or_default().split_whitespace().collect::<Vec<_>>()),
            Exactly => json!(out),
            Lines => json!(out.lines().collect::<std::collections::BTreeSet<_>>()),
        };
        json!({ "status": output.status.code(), "seen": seen })
    }

    /// The actions of events from a container's beginning to its end, each with its keys.
    fn events(&self) -> Value {
        let mut watching = self.command("events --json web").stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(watching.stdout.take().unwrap()).lines();
        // It says nothing when it is ready: whatever it has missed of the first round is in the second.
        for line in [
            "up -d web",
            "down -t 0",
            "up -d web",
            "pause web",
            "unpause web",
            "restart web",
            "kill web",
            "down -t 0",
        ] {
            assert!(
                self.command(line).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success()
            );
        }
        let mut seen = BTreeMap::new();
        let mut ends = 0;
        for line in lines.map(Result::unwrap) {
            let event: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
            let action = event["action"].as_str().unwrap().to_owned();
            ends += u8::from(action == "destroy");
            let attributes = event["attributes"].as_object().unwrap();
            // Others are labels, which each program has of its own.
            let known: Vec<&str> = ["exitCode", "image", "name", "signal", "some"]
                .into_iter()
                .filter(|key| attributes.contains_key(*key))
                .collect();
            let keys: Vec<&String> = event.as_object().unwrap().keys().collect();
            seen.insert(action, json!({ "keys": keys, "attributes": known }));
            if ends == 2 {
                break;
            }
        }
        watching.kill().unwrap();
        watching.wait().unwrap();
        json!(seen)
    }
}

/// The keys of all objects in a text of JSON, one a line or in a list.
fn keys(text: &str) -> Value {
    let mut found = std::collections::BTreeSet::new();
    for value in serde_json::Deserializer::from_str(text).into_iter::<Value>() {
        let value = value.unwrap_or_else(|error| panic!("{error}: {text}"));
        let objects = match value {
            Value::Array(items) => items,
            other => vec![other],
        };
        for object in objects {
            found.extend(object.as_object().unwrap().keys().cloned());
        }
    }
    json!(found)
}

/// Splits as a shell does, as far as the steps need it.
fn words(line: &str) -> Vec<String> {
    let pieces = line.split('\'').enumerate().flat_map(|(number, piece)| match number % 2 {
        0 => piece.split_whitespace().map(str::to_owned).collect::<Vec<_>>(),
        _ => vec![piece.to_owned()],
    });
    pieces.collect()
}

#[test]
fn every_verb_answers_as_docker_compose_does() {
    // Within the program: a guest has no copy of this folder.
    let mut stored: BTreeMap<String, Value> = serde_json::from_str(include_str!("peers.json")).unwrap();
    if let Ok(peer) = std::env::var("COMPOSER_PEER") {
        let project = Project::new("peer", FILE);
        let command = peer.split_whitespace().map(str::to_owned).collect();
        let answers = Program { command, project: &project }.answers();
        fs::remove_dir_all(&project.folder).unwrap();
        if std::env::var_os("COMPOSER_UPDATE_GOLDEN").is_some() {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/peers.json");
            fs::write(path, serde_json::to_string_pretty(&answers).unwrap() + "\n").unwrap();
            stored.clone_from(&answers);
        }
        differences(&stored, &answers, "what is stored, and what Docker Compose says now");
    }
    let project = Project::new("peers", FILE);
    let command = vec![env!("CARGO_BIN_EXE_compose").to_owned()];
    let answers = Program { command, project: &project }.answers();
    differences(&expected(stored), &reduced(answers), "Docker Compose and compose");
    project.down();
}

/// What Docker Compose answers, but for what we answer otherwise on purpose.
fn expected(answers: BTreeMap<String, Value>) -> BTreeMap<String, Value> {
    let change = |(step, mut answer): (String, Value)| {
        let line = step.split_once(' ').map_or("", |(_, line)| line);
        if let Some((_, theirs, ours, _)) = OTHERWISE.iter().find(|(known, ..)| *known == line) {
            assert_eq!(answer["status"], *theirs, "{step} is listed as answered otherwise");
            answer = json!({ "status": ours, "seen": null });
        }
        (step, answer)
    };
    answers.into_iter().map(change).collect()
}

/// The same without what only we have.
fn reduced(answers: BTreeMap<String, Value>) -> BTreeMap<String, Value> {
    let change = |(step, mut answer): (String, Value)| {
        let line = step.split_once(' ').map_or("", |(_, line)| line);
        if OTHERWISE.iter().any(|(known, ..)| *known == line) {
            answer["seen"] = Value::Null;
        } else if let Some(keys) = answer.get_mut("seen").and_then(Value::as_array_mut) {
            keys.retain(|key| !MORE_KEYS.iter().any(|more| key == more));
        }
        (step, answer)
    };
    answers.into_iter().map(change).collect()
}

fn differences(wanted: &BTreeMap<String, Value>, found: &BTreeMap<String, Value>, what: &str) {
    let differ = wanted.iter().filter(|(step, answer)| found.get(*step) != Some(answer));
    let text: Vec<String> = differ
        .map(|(step, answer)| format!("{step}\n  {answer}\n  {}", found.get(step).unwrap_or(&Value::Null)))
        .collect();
    assert!(text.is_empty() && wanted.len() == found.len(), "{what} differ:\n{}", text.join("\n"));
}
