//! Clients that do not read, or do not go: nothing of a stack stays for them.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{
    AddressFamily, Backlog, MsgFlags, SockFlag, SockType, UnixAddr, accept, bind, connect, listen, recv,
    send, setsockopt, socket, sockopt,
};
use nix::unistd::Pid;

use crate::stack::{Project, ended, groups, pidfd, text};

const ONE: &str = "services: {one: {x-rootfs: @busybox@, command: [sh, -c, 'echo ready; exec sleep 1000']}}";

fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id().cast_signed()), signal).unwrap();
}

/// Where the stack's supervisor listens, and a socket for it.
fn unconnected(project: &Project) -> (UnixAddr, OwnedFd) {
    let path = Path::new("/run/compose/stacks").join(&project.name).join("supervisor.sock");
    let socket = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None).unwrap();
    (UnixAddr::new(&path).unwrap(), socket)
}

/// A connection to the stack's supervisor.
fn connected(project: &Project) -> OwnedFd {
    let (address, socket) = unconnected(project);
    connect(socket.as_raw_fd(), &address).unwrap();
    socket
}

/// Nothing is left after `down`, though this one lives on.
fn is_stopped_through_a_down(project: Project, mut client: Child) {
    signal(&client, Signal::SIGSTOP);
    project.ok(&["down", "-t", "0"]);
    project.assert_nothing_left();
    signal(&client, Signal::SIGCONT);
    let _ = client.kill();
    client.wait().unwrap();
}

#[test]
fn one_that_asks_nothing_keeps_nothing() {
    let project = Project::new("client-silent", ONE);
    project.ok(&["up", "-d"]);
    let _silent = connected(&project);
    project.down();
}

#[test]
fn one_that_watches_and_is_stopped_keeps_nothing() {
    let project = Project::new("client-watches", ONE);
    project.ok(&["up", "-d"]);
    let mut logs =
        project.command(&["logs", "-f", "--no-log-prefix"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(logs.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "ready");
    is_stopped_through_a_down(project, logs);
}

#[test]
fn one_that_is_stopped_with_more_unread_than_its_socket_holds_keeps_nothing() {
    let file = "services: {one: {x-rootfs: @busybox@, command: [sh, -c, 'echo ready; exec sleep 1000'], deploy: {replicas: 20}}}";
    let project = Project::new("client-full", file);
    project.ok(&["up", "-d"]);
    let mut logs =
        project.command(&["logs", "-f", "--no-log-prefix"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(logs.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "ready");
    signal(&logs, Signal::SIGSTOP);
    // An event for each container: more than a socket has room for.
    for _ in 0..40 {
        project.ok(&["kill", "-s", "CONT"]);
    }
    is_stopped_through_a_down(project, logs);
}

/// A stack that has been taken down, and the stopped client that asked for it: it was to take the last cgroup away.
fn not_seen_off(name: &str) -> (Project, Child) {
    let file = r#"
services:
  one:
    x-rootfs: @busybox@
    stop_grace_period: 60s
    command: ["sh", "-c", "trap 'echo asked; read line < /shared/go; exit 0' TERM; echo ready; while true; do sleep 0.05; done"]
    volumes: ["./shared:/shared"]
"#;
    let project = Project::new(name, file);
    fs::create_dir(project.folder.join("shared")).unwrap();
    let go = project.folder.join("shared/go");
    nix::unistd::mkfifo(&go, nix::sys::stat::Mode::S_IRWXU).unwrap();
    project.ok(&["up", "-d"]);
    project.follow_until("one", "ready");
    let processes: Vec<OwnedFd> = ["compose-keeper", "compose-supervisor"]
        .iter()
        .flat_map(|program| project.processes(program))
        .map(pidfd)
        .collect();
    let down = project.command(&["down"]).stderr(Stdio::null()).spawn().unwrap();
    project.follow_until("one", "asked");
    signal(&down, Signal::SIGSTOP);
    fs::write(&go, "go\n").unwrap();
    processes.iter().for_each(ended);
    (project, down)
}

/// The next one does that brings a stack up, or ends one.
#[test]
fn the_one_that_takes_the_stack_down_may_be_stopped_too() {
    let (project, mut down) = not_seen_off("client-down");
    let next = Project::new("client-next", ONE);
    next.ok(&["up", "-d"]);
    // The keeper sweeps before it starts its supervisor. What others run at the same time may have swept before.
    assert_eq!(groups(&project.name), [] as [PathBuf; 0]);
    next.down();
    project.assert_nothing_left();
    signal(&down, Signal::SIGCONT);
    assert!(down.wait().unwrap().success());
}

/// Another `down` of it does, though it finds nothing else.
#[test]
fn the_one_that_takes_the_stack_down_may_be_killed_too() {
    let (project, mut down) = not_seen_off("client-killed");
    down.kill().unwrap();
    down.wait().unwrap();
    let said = project.run(&["down", "--dry-run"]);
    assert!(said.status.success());
    let said = project.run(&["down"]);
    assert!(said.status.success() && text(&said.stderr).contains("No resource found"), "{said:?}");
    project.assert_nothing_left();
}

#[test]
fn a_keeper_that_cannot_be_told_anything_is_replaced() {
    let project = Project::new("client-keeper", ONE);
    project.ok(&["up", "-d"]);
    let pid = project.field("one", "Pid");
    let keeper = pidfd(project.processes("compose-keeper")[0]);
    // So little that an order with such an environment can never be sent: EMSGSIZE.
    let supervisor = project.processes("compose-supervisor")[0];
    let process = pidfd(supervisor);
    for entry in fs::read_dir(format!("/proc/{supervisor}/fd")).unwrap().flatten() {
        if fs::read_link(entry.path()).is_ok_and(|link| link.to_string_lossy().starts_with("socket:")) {
            let number = entry.file_name().to_str().unwrap().parse().unwrap();
            let flags = rustix::process::PidfdGetfdFlags::empty();
            let socket = rustix::process::pidfd_getfd(&process, number, flags).unwrap();
            let _ = setsockopt(&socket, sockopt::SndBuf, &1);
        }
    }
    let long = format!("LONG={}", "x".repeat(20_000));
    let (_, error) = project.fails(&["exec", "-T", "-e", &long, "one", "true"]);
    assert!(error.contains("the keeper went away"), "{error}");
    ended(&keeper);
    assert_eq!(project.ok(&["exec", "-T", "-e", &long, "one", "echo", "here"]), "here\n");
    assert_eq!(project.field("one", "Pid"), pid, "the service kept running");
    assert_eq!(project.processes("compose-supervisor"), [supervisor]);
    project.down();
}

#[test]
fn one_of_another_version_is_told_so() {
    let project = Project::new("client-version", ONE);
    project.ok(&["up", "-d"]);
    let client = connected(&project);
    let mut request = vec![0];
    request.extend(br#"{"version":"0.0.1","what":["nobody","knows"]}"#);
    send(client.as_raw_fd(), &request, MsgFlags::empty()).unwrap();
    let mut answer = [0; 4096];
    let length = recv(client.as_raw_fd(), &mut answer, MsgFlags::empty()).unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&answer[1..length]).unwrap();
    let message = answer["Failed"]["message"].as_str().unwrap();
    let pids =
        ["compose-supervisor", "compose-keeper"].map(|program| project.processes(program)[0].to_string());
    let said = format!(
        "stack {} was started by compose {}, this is 0.0.1: ",
        project.name,
        env!("CARGO_PKG_VERSION")
    );
    assert!(
        message.starts_with(&said) && message.contains(&format!("`kill -9 {}`", pids.join(" "))),
        "{message}"
    );
    drop(client);
    project.down();
}

#[test]
fn a_supervisor_that_understands_nothing_is_named() {
    let project = Project::new("client-foreign", ONE);
    let (address, listener) = unconnected(&project);
    let folder = address.path().unwrap().parent().unwrap().to_owned();
    // What is empty others take away.
    composer_network::Folder::new(&folder).make().unwrap();
    bind(listener.as_raw_fd(), &address).unwrap();
    listen(&listener, Backlog::MAXCONN).unwrap();
    let foreign = std::thread::spawn(move || {
        // The first, and as often as it is asked again.
        for _ in 0..5 {
            let client = accept(listener.as_raw_fd()).unwrap();
            recv(client, &mut [0; 4096], MsgFlags::empty()).unwrap();
            nix::unistd::close(client).unwrap();
        }
    });
    let (_, error) = project.fails(&["ps"]);
    let said = format!("(process {}) does not understand it", std::process::id());
    assert!(error.contains(&said), "{error}");
    foreign.join().unwrap();
    fs::remove_dir_all(folder).unwrap();
    project.assert_nothing_left();
}
