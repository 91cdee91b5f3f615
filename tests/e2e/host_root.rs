//! `x-rootfs: host`: the host's programs, and nothing else of it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::stack::{Project, text};

const HOST: &str = r#"
services:
  one: { x-rootfs: host, command: ["sleep", "1000"] }
"#;

/// A file of the host's that goes with the test.
struct Planted(PathBuf);

impl Planted {
    fn new(path: &str, mode: u32) -> Self {
        let path = PathBuf::from(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "secret").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        Self(path)
    }
}

impl Drop for Planted {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
        let _ = fs::remove_dir(self.0.parent().unwrap());
    }
}

#[test]
fn writes_vanish_with_the_container_and_never_reach_the_host() {
    let project = Project::new("host-write", HOST);
    project.ok(&["up", "-d"]);
    let mark = format!("compose-{}", project.name);
    let script = format!(
        "echo x > /usr/bin/{mark}; echo x > /etc/{mark}; echo x > /{mark}; rm /etc/passwd; ls /etc/{mark}"
    );
    project.ok(&["exec", "-T", "one", "sh", "-c", &script]);
    for folder in ["/usr/bin", "/etc", "/"] {
        assert!(!Path::new(folder).join(&mark).exists(), "{folder} of the host was written");
    }
    assert!(Path::new("/etc/passwd").exists());
    project.ok(&["down", "-t", "0"]);
    project.ok(&["up", "-d"]);
    project.ok(&[
        "exec",
        "-T",
        "one",
        "sh",
        "-c",
        &format!("test -e /etc/passwd -a ! -e /etc/{mark} -a ! -e /{mark}"),
    ]);
    project.down();
}

#[test]
fn secrets_and_other_peoples_files_are_not_there() {
    let unique = std::process::id();
    let folders = ["/root", "/home", "/tmp", "/run", "/var/lib", "/srv"];
    let planted: Vec<Planted> = folders
        .iter()
        .map(|folder| Planted::new(&format!("{folder}/compose-e2e-{unique}/file"), 0o644))
        .collect();
    let closed = Planted::new(&format!("/etc/compose-e2e-{unique}/closed"), 0o600);
    let key = Planted::new(&format!("/etc/compose-e2e-{unique}/tls.key"), 0o644);
    let open = Planted::new(&format!("/etc/compose-e2e-{unique}/open"), 0o644);
    let project = Project::new("host-secrets", HOST);
    project.ok(&["up", "-d"]);
    let seen = |path: &Path| {
        let output = project.run(&["exec", "-T", "one", "test", "-e", path.to_str().unwrap()]);
        output.status.success()
    };
    assert!(seen(&open.0), "what everybody may read is there");
    for hidden in planted.iter().map(|planted| planted.0.as_path()).chain([
        closed.0.as_path(),
        key.0.as_path(),
        Path::new("/etc/shadow"),
        Path::new("/var/lib/compose"),
        Path::new("/run/compose"),
    ]) {
        assert!(!seen(hidden), "{} is visible", hidden.display());
    }
    // Not even by way of a name that only exists inside.
    assert_eq!(
        project.ok(&["exec", "-T", "one", "sh", "-c", "ls -A /home /tmp /run /srv"]).matches("e2e").count(),
        0
    );
    project.down();
}

#[test]
fn tools_that_path_names_come_along_without_their_logins() {
    let home = format!("/root/compose-e2e-path-{}", std::process::id());
    let tool = format!("{home}/.tool/bin/greet");
    let _login = Planted::new(&format!("{home}/.tool/credentials"), 0o600);
    let _private = Planted::new(&format!("{home}/private"), 0o644);
    fs::create_dir_all(format!("{home}/.tool/bin")).unwrap();
    fs::write(&tool, "#!/bin/sh\necho greetings\n").unwrap();
    fs::set_permissions(&tool, fs::Permissions::from_mode(0o755)).unwrap();
    let project = Project::new("host-path", HOST);
    let path = format!("{home}/.tool/bin:{}", std::env::var("PATH").unwrap());
    let up = project.command(&["up", "-d"]).env("PATH", &path).output().unwrap();
    assert!(up.status.success(), "{}", text(&up.stderr));
    assert_eq!(project.ok(&["exec", "-T", "one", "greet"]), "greetings\n");
    assert_eq!(
        project.ok(&["exec", "-T", "one", "sh", "-c", &format!("cat {home}/.tool/credentials; ls {home}")]),
        ""
    );
    project.down();
    fs::remove_dir_all(home).unwrap();
}
