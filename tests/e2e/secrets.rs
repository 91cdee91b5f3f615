//! Secrets and configs: files of a container's own, in memory.

use std::fs;
use std::path::{Path, PathBuf};

use crate::stack::Project;

const FILE: &str = r##"
services:
  one:
    x-rootfs: @busybox@
    command: sleep 1000
    user: bob
    restart: always
    secrets:
      - token
      - {source: password, target: db, uid: "1000", gid: "1500", mode: 0400}
      - {source: binary, target: /deep/er/file}
    configs:
      - greeting
      - {source: script, target: /bin/script, mode: 0555}
secrets:
  token: {environment: TOKEN_OF_TEST}
  password: {file: ./password}
  binary: {file: ./binary}
configs:
  greeting: {content: "hello ${WHO:-world}\n"}
  script: {content: "#!/bin/sh\necho run\n"}
"##;

fn project(name: &str) -> Project {
    let project = Project::new(name, FILE);
    project.write(".env", "TOKEN_OF_TEST=s3cr3t-of-the-env\n");
    project.write("password", "s3cr3t-of-a-file\n");
    fs::write(project.folder.join("binary"), [0xff, 0x00, 0xfe]).unwrap();
    project
}

/// Every file below a folder that has this text in it.
fn with(folder: &Path, text: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            with(&path, text, found);
        } else if kind.is_file() {
            let bytes = fs::read(&path).unwrap_or_default();
            if bytes.windows(text.len()).any(|window| window == text.as_bytes()) {
                found.push(path);
            }
        }
    }
}

#[test]
fn they_are_files_with_owner_and_mode_in_memory() {
    let project = project("secrets");
    project.ok(&["up", "-d"]);
    let sh = |script: &str| project.ok(&["exec", "-T", "one", "sh", "-c", script]);
    assert_eq!(
        sh("cat /run/secrets/token /run/secrets/db /greeting"),
        "s3cr3t-of-the-envs3cr3t-of-a-file\nhello world\n"
    );
    assert_eq!(
        sh("stat -c '%a %u %g %s' /run/secrets/token /run/secrets/db /deep/er/file"),
        "444 0 0 17\n400 1000 1500 17\n444 0 0 3\n"
    );
    assert_eq!(sh("script"), "run\n");
    // Nobody can write it, not even root.
    let root = project.run(&["exec", "-T", "-u", "0", "one", "sh", "-c", "echo x > /run/secrets/token"]);
    assert!(String::from_utf8_lossy(&root.stderr).contains("Read-only"), "{root:?}");
    assert!(
        sh("grep -E ' /run/secrets/(token|db) ' /proc/mounts").lines().all(|line| line.starts_with("tmpfs "))
    );
    // Neither in records nor in what the container has written.
    let mut found = Vec::new();
    with(&Path::new("/var/lib/compose/stacks").join(&project.name), "s3cr3t-of", &mut found);
    assert_eq!(found, [] as [PathBuf; 0]);
    project.down();
}

#[test]
fn they_outlive_the_supervisor_and_a_restart() {
    let project = project("secrets-kill");
    project.ok(&["up", "-d"]);
    fs::remove_file(project.folder.join("password")).unwrap();
    fs::remove_file(project.folder.join(".env")).unwrap();
    project.kill_processes("compose-supervisor");
    project.kill_processes("compose-keeper");
    project.ok(&["restart", "-t", "0"]);
    let read = project.ok(&["exec", "-T", "one", "cat", "/run/secrets/token", "/run/secrets/db"]);
    assert_eq!(read, "s3cr3t-of-the-envs3cr3t-of-a-file\n");
    project.ok(&["down", "-v", "-t", "0"]);
    project.assert_nothing_left();
}

#[test]
fn what_changes_makes_the_container_anew() {
    let project = project("secrets-change");
    project.ok(&["up", "-d"]);
    let id = || project.field("one", "ID");
    let first = id();
    project.ok(&["up", "-d"]);
    assert_eq!(id(), first);
    project.write("password", "another\n");
    project.ok(&["up", "-d"]);
    assert_ne!(id(), first);
    assert_eq!(project.ok(&["exec", "-T", "one", "cat", "/run/secrets/db"]), "another\n");
    // What no container has any more is not kept.
    let second = id();
    project.ok(&["up", "-d"]);
    assert_eq!(id(), second);
    let kept = fs::read_dir(Path::new("/run/compose/stacks").join(&project.name).join("contents")).unwrap();
    assert_eq!(kept.count(), 5);
    let (code, message) = {
        fs::remove_file(project.folder.join("password")).unwrap();
        project.fails(&["up", "-d"])
    };
    assert!(code == 1 && message.contains("compose.yaml:17:20") && message.contains("password"), "{message}");
    assert_eq!(project.ok(&["exec", "-T", "one", "cat", "/run/secrets/db"]), "another\n");
    project.ok(&["down", "-v", "-t", "0"]);
    project.assert_nothing_left();
}
