//! `config`: what Docker Compose prints, where values come from, and what is said when files are wrong.

use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use serde_json::Value;

use crate::stack::{Project, text};

const FILE: &str = r#"
services:
  web:
    image: "web:${TAG:-1}"
    profiles: [front]
    environment: {A: "${NEEDED:?say}", B: "${X:+alt}"}
  db:
    image: pg
    volumes: [data:/x]
volumes: {data: {}, unused: {}}
"#;

fn project(name: &str) -> Project {
    let project = Project::new(name, FILE);
    project.write(".env", "NEEDED=yes\n");
    project
}

#[test]
fn lists_are_docker_composes() {
    let project = project("cfglists");
    assert_eq!(project.ok(&["config", "--services"]), "db\n");
    assert_eq!(project.ok(&["--profile", "front", "config", "--services"]), "db\nweb\n");
    assert_eq!(project.ok(&["--profile", "*", "config", "--images"]), "pg\nweb:1\n");
    assert_eq!(project.ok(&["config", "--volumes"]), "data\n");
    assert_eq!(project.ok(&["--all-resources", "config", "--volumes"]), "data\nunused\n");
    assert_eq!(project.ok(&["config", "--networks"]), "default\n");
    assert_eq!(project.ok(&["config", "--profiles"]), "front\n");
    assert_eq!(project.ok(&["config", "--models"]), "");
    assert_eq!(project.ok(&["config", "web", "--images"]), "web:1\n");
    assert!(project.ok(&["config", "--environment"]).contains("\nNEEDED=yes\n"));
    let hash = project.ok(&["config", "--hash", "*"]);
    assert_eq!((hash.lines().count(), hash.split(' ').next()), (1, Some("db")));
    assert_eq!(project.ok(&["config", "--hash", "db"]), hash);
    for (service, why) in [("web", "disabled"), ("none", "not found")] {
        let refused = project.run(&["config", "--hash", service]);
        assert_eq!(refused.status.code(), Some(1));
        assert!(text(&refused.stderr).contains(&format!("no such service: {service}: {why}")));
    }
    assert_eq!(project.ok(&["config", "-q"]), "");
    assert!(project.ok(&["config", "--no-interpolate"]).contains("image: web:${TAG:-1}\n"));
    assert!(!project.ok(&["config", "--no-normalize"]).contains("default"));
}

#[test]
fn every_value_has_its_origin() {
    let project = project("cfgorigins");
    let over = "services:\n  db:\n    environment:\n      VALUE: $NEEDED\n      MANY: \"$HOME/${NOT_SET:-x}$NEEDED\"\n";
    project.write("compose.override.yaml", over);
    let shown = project.ok(&["config", "--origins"]);
    let line = |start: &str| {
        let line = shown.lines().find(|line| line.trim_start().starts_with(start));
        line.unwrap_or_else(|| panic!("{start}: {shown}")).to_owned()
    };
    assert!(line("image: pg").ends_with("  # compose.yaml:8:12"), "{shown}");
    assert!(line("VALUE:").ends_with("  # compose.override.yaml:4:14 <- .env:1 (NEEDED)"), "{shown}");
    let many = " <- environment (HOME) <- not set (NOT_SET) <- .env:1 (NEEDED)";
    assert!(line("MANY:").ends_with(&format!("  # compose.override.yaml:5:13{many}")), "{shown}");
    assert!(line("default: null").ends_with("  # default"), "{shown}");
    let json: Value =
        serde_json::from_str(&project.ok(&["config", "--origins", "--format", "json"])).unwrap();
    let variable = &json["services.db.environment.VALUE"];
    assert_eq!((&variable["value"], &variable["line"]), (&"yes".into(), &4.into()));
    assert_eq!(
        (&variable["via"][0]["file"], &variable["via"][0]["variable"]),
        (&".env".into(), &"NEEDED".into())
    );
    assert_eq!(json["networks.default.name"]["default"], true);
}

#[test]
fn what_is_wrong_is_said_for_people_or_for_programs() {
    let project =
        Project::new("cfgwrong", "services: {a: {image: x, cpus: many, hostnam: y}}\nversion: '3'\n");
    let wrong = project.run(&["config"]);
    assert_eq!(wrong.status.code(), Some(1));
    assert!(
        text(&wrong.stderr).contains("did you mean `hostname`?")
            && text(&wrong.stderr).ends_with("2 errors\n")
    );
    let json = project.run(&["config", "-q", "--format", "json"]);
    assert_eq!((json.status.code(), text(&json.stdout)), (Some(1), String::new()));
    let lines = text(&json.stderr);
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 3);
    assert_eq!((&lines[0]["severity"], &lines[0]["column"]), (&"error".into(), &32.into()));
    assert_eq!((&lines[2]["severity"], &lines[2]["line"]), (&"warning".into(), &2.into()));
    project.write("compose.yaml", "version: '3'\nservices: {a: {image: x}}\n");
    let warned = project.run(&["config", "-q"]);
    assert!(warned.status.success());
    assert!(text(&warned.stderr).starts_with("warning: "));
    let strict = project.run(&["--strict", "config", "-q"]);
    assert_eq!(strict.status.code(), Some(1));
    assert!(text(&strict.stderr).starts_with("error: "));
    let variable = project.command(&["config", "-q"]).env("COMPOSE_STRICT", "1").output().unwrap();
    assert_eq!(variable.status.code(), Some(1));
    let none = project.run(&["-f", "none.yaml", "config", "--format", "json"]);
    let none: Value = serde_json::from_slice(&none.stderr).unwrap();
    assert!(none["message"].as_str().unwrap().contains("none.yaml"), "{none}");
}

#[test]
fn a_file_is_the_callers_and_whole() {
    let project = project("cfgoutput");
    let file = project.folder.join("out.yaml");
    let under_sudo = |command: &mut Command| {
        command
            .env("SUDO_UID", "1234")
            .env("SUDO_GID", "1235")
            .env("SUDO_COMMAND", "/usr/bin/compose config");
        assert!(command.output().unwrap().status.success());
    };
    std::os::unix::fs::chown(&project.folder, Some(1234), Some(1235)).unwrap();
    under_sudo(&mut project.command(&["config", "-o", "out.yaml"]));
    let made = std::fs::metadata(&file).unwrap();
    assert_eq!((made.uid(), made.gid()), (1234, 1235));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), project.ok(&["config"]));
    std::os::unix::fs::chown(&file, Some(7), Some(8)).unwrap();
    under_sudo(&mut project.command(&["config", "-o", "out.yaml"]));
    let kept = std::fs::metadata(&file).unwrap();
    assert_eq!((kept.uid(), kept.gid()), (7, 8));
    assert_ne!(kept.ino(), made.ino());
    project.write("compose.yaml", "services: {a: {image: x, cpus: many}}");
    assert!(!project.run(&["config", "-o", "out.yaml"]).status.success());
    assert!(std::fs::read_to_string(&file).unwrap().contains("image: pg"));
    std::os::unix::fs::chown(&project.folder, Some(0), Some(0)).unwrap();
}

#[test]
fn standard_input_is_one_file_among_others() {
    let project = project("cfgstdin");
    project.write("over.yaml", "services: {one: {image: over}}\n");
    let config = |arguments: &[&str], variable: Option<&str>| {
        let mut command = project.command(arguments);
        command.args(["config", "--images"]).envs(variable.map(|files| ("COMPOSE_FILE", files)));
        let file = std::fs::File::open(project.folder.join("in.yaml")).unwrap();
        text(&command.stdin(file).output().unwrap().stdout)
    };
    project.write("in.yaml", "services: {one: {image: x}, two: {image: two}}\n");
    assert_eq!(config(&[], Some("-:over.yaml")), "over\ntwo\n");
    assert_eq!(config(&["-f", "over.yaml", "-f", "-"], None), "x\ntwo\n");
    project.write(".env", "COMPOSE_FILE=-\n");
    assert_eq!(config(&[], None), "x\ntwo\n");
}

#[test]
fn everything_wrong_is_told_at_once() {
    let project = project("cfgall");
    project.write(".env", "A B\n");
    project.write("compose.yaml", "services: [\n");
    let mut command = Command::new(env!("CARGO_BIN_EXE_compose"));
    let failed = command.current_dir(&project.folder).args(["-p", "X", "config"]).output().unwrap();
    let told = text(&failed.stderr);
    for part in [".env:1:1", "compose.yaml:", "`X` (-p) is not a project name"] {
        assert!(told.contains(part), "{told}");
    }
    std::fs::remove_file(project.folder.join("compose.yaml")).unwrap();
    let (_, told) = project.fails(&["config"]);
    assert!(told.contains(".env:1:1") && told.contains("no Compose file found"), "{told}");
}

/// Anybody may draw a stack that nobody can run, or one that runs.
#[test]
fn graph_reads_the_file_alone() {
    let project = project("cfggraph");
    let nobody = |args: &[&str]| {
        let output = project.command(args).uid(65534).gid(65534).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    let shown = nobody(&["graph"]);
    assert!(
        shown.starts_with(&format!("{}: 1 service, started in 1 step\n\n1  db ", project.name)),
        "{shown}"
    );
    assert!(!shown.contains('\x1b') && !shown.contains("unused"), "{shown}");
    assert!(nobody(&["--all-resources", "graph"]).contains("unused"));
    assert!(
        nobody(&["graph", "web", "--format", "mermaid"])
            .contains("[\"web<br/>image web:1<br/>profiles front\"]")
    );
    assert!(nobody(&["--profile", "front", "graph", "--format", "dot"]).contains("\"service web\" [label="));
    assert_eq!(project.ok(&["graph", "-o", "stack.txt"]), "");
    assert_eq!(std::fs::read_to_string(project.folder.join("stack.txt")).unwrap(), shown);
    let (status, refused) = project.fails(&["graph", "none"]);
    assert_eq!(status, 1);
    assert!(refused.contains("no such service: none"), "{refused}");
    project.write("compose.yaml", "services: {a: {image: x, depends_on: [b]}, b: {image: x, links: [a]}}");
    let (status, refused) = project.fails(&["graph", "--format", "dot"]);
    assert_eq!(status, 1);
    assert!(refused.contains("services wait for each other: a -> b -> a"), "{refused}");
}
