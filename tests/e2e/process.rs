//! What runs in a container: users, folders, environment, init, terminals.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::process::Stdio;

use nix::pty::openpty;

use crate::stack::Project;

#[test]
fn users_groups_homes_and_streams() {
    let file = r#"
services:
  bob:
    x-rootfs: @busybox@
    user: bob
    working_dir: /work/inside
    command: ["sh", "-c", "echo to-stdout > /dev/stdout; echo to-stderr > /dev/stderr; id; echo $$HOME $$PWD; exec sleep 1000"]
  number: { x-rootfs: @busybox@, user: "77:88", command: ["sh", "-c", "id -u; id -g; id -G; echo end; exec sleep 1000"] }
"#;
    let project = Project::new("users", file);
    project.ok(&["up", "-d"]);
    project.follow_until("bob", "/home/bob /work/inside");
    let logs = project.ok(&["logs", "--no-log-prefix", "bob"]);
    for line in
        ["to-stdout", "to-stderr", "uid=1000(bob) gid=1000(bob) groups=1500(extra)", "/home/bob /work/inside"]
    {
        assert!(logs.lines().any(|known| known == line), "{line} is missing: {logs}");
    }
    project.follow_until("number", "end");
    assert_eq!(project.ok(&["logs", "--no-log-prefix", "number"]), "77\n88\n88\nend\n");
    // exec is the service's user, in its folder, unless it is told otherwise.
    assert_eq!(project.ok(&["exec", "-T", "bob", "sh", "-c", "id -un; pwd"]), "bob\n/work/inside\n");
    assert_eq!(
        project.ok(&["exec", "-T", "-u", "0", "-w", "/tmp", "bob", "sh", "-c", "id -un; pwd"]),
        "root\n/tmp\n"
    );
    let (code, message) = project.fails(&["exec", "-T", "-u", "nobody-here", "bob", "true"]);
    assert!(code != 0 && message.contains("nobody-here"), "{message}");
    project.down();
}

#[test]
fn an_init_passes_signals_on_and_reaps() {
    let file = r#"
services:
  one:
    x-rootfs: @busybox@
    init: true
    stop_grace_period: 60s
    command: ["sh", "-c", "trap 'echo asked; exit 5' TERM; (sleep 0.01 &) ; echo ready; while true; do sleep 0.05; done"]
"#;
    let project = Project::new("init", file);
    project.ok(&["up", "-d"]);
    assert!(
        project.ok(&["exec", "-T", "one", "cat", "/proc/1/cmdline"]).starts_with("compose-init\0sh\0-c\0")
    );
    project.follow_until("one", "ready");
    // Its pid is taken up again after a crash like any other.
    let pid = project.field("one", "Pid");
    project.kill_processes("compose-supervisor");
    assert_eq!(project.field("one", "Pid"), pid);
    // Of those whose parent it is: a shell of ours may not have come to reap its own in this moment.
    let zombies = "cat /proc/[0-9]*/stat | grep -c ') Z 1 ' || true";
    assert_eq!(project.ok(&["exec", "-T", "one", "sh", "-c", zombies]), "0\n");
    // Its end may take the program along that has asked for it.
    project.run(&["exec", "-T", "one", "kill", "-TERM", "1"]);
    project.ends("one");
    assert_eq!(project.field("one", "ExitCode"), 5);
    assert!(project.ok(&["logs", "--no-log-prefix", "one"]).contains("asked\n"));
    project.down();
}

#[test]
fn a_service_may_have_a_terminal() {
    let file = r#"
services:
  one: { x-rootfs: @busybox@, tty: true, stdin_open: true, command: ["sh", "-c", "tty; test -t 0 && test -t 1 && echo terminal; exec sleep 1000"] }
"#;
    let project = Project::new("tty", file);
    project.ok(&["up", "-d"]);
    project.follow_until("one", "terminal");
    let logs = project.ok(&["logs", "--no-log-prefix", "one"]).replace('\r', "");
    assert_eq!(logs, "/dev/pts/0\nterminal\n");
    project.down();
}

#[test]
fn exec_gives_a_terminal_of_the_callers_size() {
    let project = Project::new("exec-tty", "services: {one: {x-rootfs: @busybox@, command: sleep 1000}}");
    project.ok(&["up", "-d"]);
    let size = nix::pty::Winsize { ws_row: 33, ws_col: 101, ws_xpixel: 0, ws_ypixel: 0 };
    let pty = openpty(Some(&size), None).unwrap();
    let end = || Stdio::from(pty.slave.as_fd().try_clone_to_owned().unwrap());
    let script = "stty size; tty; read line; echo got $line; exit 6";
    let mut child = project
        .command(&["exec", "one", "sh", "-c", script])
        .stdin(end())
        .stdout(end())
        .stderr(end())
        .spawn()
        .unwrap();
    drop(pty.slave);
    let mut master = std::fs::File::from(pty.master);
    let mut seen = String::new();
    let mut buffer = [0; 1024];
    let mut written = false;
    // The read fails when the last one who holds the terminal has gone.
    while let Ok(length) = master.read(&mut buffer) {
        if length == 0 {
            break;
        }
        seen += &String::from_utf8_lossy(&buffer[..length]);
        if !written && seen.contains("/dev/pts/") {
            master.write_all(b"words\n").unwrap();
            written = true;
        }
    }
    assert_eq!(child.wait().unwrap().code(), Some(6), "{seen}");
    assert!(seen.contains("33 101") && seen.contains("got words"), "{seen}");
    project.down();
}

#[test]
fn environment_comes_from_file_and_caller() {
    let file = r#"
services:
  one:
    x-rootfs: @busybox@
    command: ["sh", "-c", "echo $$FROM_FILE $$PLAIN $$FROM_CALLER $$OVER ${INTERPOLATED}; echo $$UNSET_BY_CALLER-; exec sleep 1000"]
    env_file: extra.env
    environment:
      PLAIN: plain
      OVER: over
      FROM_CALLER:
      UNSET_BY_CALLER:
"#;
    let project = Project::new("environment", file);
    project.write("extra.env", "FROM_FILE='a b'\nOVER=under\n");
    project.write(".env", "INTERPOLATED=dotenv\n");
    let up = project.command(&["up", "-d"]).env("FROM_CALLER", "caller").output().unwrap();
    assert!(up.status.success());
    project.follow_until("one", "-");
    assert_eq!(project.ok(&["logs", "--no-log-prefix", "one"]), "a b plain caller over dotenv\n-\n");
    project.down();
}
