//! Files, names, and what every verb does with them.

use std::os::unix::process::CommandExt;

use crate::stack::{Project, text};

const ONE: &str = "services: {one: {x-rootfs: @busybox@, command: sleep 1000}}";

#[test]
fn files_are_searched_upwards_and_merged() {
    let project = Project::new("search", ONE);
    std::fs::create_dir_all(project.folder.join("deep/er")).unwrap();
    let listed = |project: &Project, args: &[&str], env: &[(&str, &str)]| {
        let mut command = project.command(args);
        command.current_dir(project.folder.join("deep/er")).envs(env.iter().copied());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    assert_eq!(listed(&project, &["config", "--services"], &[]), "one\n");
    project.write("more.yaml", "services: {two: {x-rootfs: @busybox@, command: sleep 1}}");
    let both =
        listed(&project, &["-f", "../../compose.yaml", "-f", "../../more.yaml", "config", "--services"], &[]);
    assert_eq!(both, "one\ntwo\n");
    assert_eq!(listed(&project, &["config", "--services"], &[("COMPOSE_FILE", "../../more.yaml")]), "two\n");
    for name in ["compose.yml", "docker-compose.yaml", "docker-compose.yml"] {
        std::fs::remove_file(project.folder.join("compose.yaml")).ok();
        project.write(name, ONE);
        assert_eq!(listed(&project, &["config", "--services"], &[]), "one\n", "{name}");
        std::fs::remove_file(project.folder.join(name)).unwrap();
    }
    let none = project.command(&["config"]).current_dir("/").output().unwrap();
    assert!(text(&none.stderr).contains("no Compose file found"), "{}", text(&none.stderr));
}

#[test]
fn a_stack_is_found_again_by_name_without_its_file() {
    let project = Project::new("nameless", ONE);
    project.ok(&["up", "-d"]);
    std::fs::remove_file(project.folder.join("compose.yaml")).unwrap();
    assert_eq!(project.ok(&["ps", "--services"]), "one\n");
    project.ok(&["logs"]);
    project.ok(&["exec", "-T", "one", "true"]);
    project.down();
}

#[test]
fn the_name_is_the_folders_or_the_environments() {
    let project = Project::new("named", ONE);
    let named = |env: &[(&str, &str)], args: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_compose"));
        command
            .current_dir(&project.folder)
            .args(args)
            .env_remove("COMPOSE_PROJECT_NAME")
            .envs(env.iter().copied());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()["name"].clone()
    };
    assert_eq!(named(&[], &["config", "--format", "json"]), project.name.as_str());
    assert_eq!(named(&[("COMPOSE_PROJECT_NAME", "other")], &["config", "--format", "json"]), "other");
    assert_eq!(named(&[], &["-p", "third", "config", "--format", "json"]), "third");
}

#[test]
fn nothing_needs_root_but_containers() {
    let project = Project::new("rootless", ONE);
    let nobody = |args: &[&str]| project.command(args).uid(65534).gid(65534).output().unwrap();
    assert!(nobody(&["config"]).status.success());
    assert!(nobody(&["version"]).status.success());
    let refused = nobody(&["up", "-d"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("needs root") && text(&refused.stderr).contains("sudo"));
    project.assert_nothing_left();
}

#[test]
fn ps_has_dockers_columns_and_keys() {
    let file = r#"
services:
  one: { x-rootfs: @busybox@, command: sleep 1000, labels: { a: b } }
  done: { x-rootfs: @busybox@, command: "true" }
"#;
    let project = Project::new("ps", file);
    project.ok(&["up", "-d"]);
    project.ends("done");
    let table = project.ok(&["ps"]);
    assert!(table.starts_with("NAME "), "{table}");
    for column in ["IMAGE", "COMMAND", "SERVICE", "CREATED", "STATUS", "PORTS"] {
        assert!(table.lines().next().unwrap().contains(column), "{table}");
    }
    assert_eq!(table.lines().count(), 2, "only what runs: {table}");
    assert_eq!(project.ok(&["ps", "-a"]).lines().count(), 3);
    assert_eq!(project.ok(&["ps", "-a", "--services"]), "done\none\n");
    assert_eq!(
        project.field("done", "Status").as_str().unwrap().split(' ').take(2).collect::<Vec<_>>(),
        ["Exited", "(0)"]
    );
    let keys = project.containers()[0].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    for key in [
        "Command",
        "ExitCode",
        "Health",
        "ID",
        "Name",
        "Project",
        "Publishers",
        "Service",
        "State",
        "Status",
        "Pid",
    ] {
        assert!(keys.iter().any(|known| known == key), "{key}: {keys:?}");
    }
    project.down();
}

#[test]
fn a_long_name_is_a_name() {
    let project = Project::new(&"n".repeat(120), ONE);
    project.ok(&["up", "-d"]);
    assert_eq!(project.ok(&["ps", "--services"]), "one\n");
    project.down();
}

#[test]
fn down_of_nothing_says_so() {
    let project = Project::new("nothing", ONE);
    let output = project.run(&["down"]);
    assert!(output.status.success());
    assert!(text(&output.stderr).contains("No resource found to remove"), "{}", text(&output.stderr));
    project.assert_nothing_left();
}
