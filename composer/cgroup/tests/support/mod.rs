//! Groups of a test's own, removed at its end, and children born in them.
#![allow(dead_code)] // each test binary takes what it needs

pub mod disk;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use composer_cgroup::{Group, Hierarchy, Limits};

/// The root group of one test, `compose-test-PID-N`. Dropping it kills what runs inside and removes it.
pub struct Scratch {
    pub hierarchy: Hierarchy,
    pub name: String,
}

impl Scratch {
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let hierarchy = Hierarchy::detect().expect("detect");
        Scratch { hierarchy, name: format!("compose-test-{}-{count}", std::process::id()) }
    }

    /// A group inside, not made yet.
    pub fn group(&self, path: &str) -> Group {
        self.hierarchy.group(&format!("{}/{path}", self.name))
    }

    /// A group inside, made with limits that must all be in force.
    pub fn made(&self, path: &str, limits: &Limits) -> Group {
        let group = self.group(path);
        assert_eq!(group.create(limits).expect("create"), [], "all limits are in force");
        group
    }

    /// The value of a control, by the name that it has where its controller lives on this host.
    pub fn control(&self, path: &str, controller: &str, v1: &str, v2: &str) -> String {
        let (root, is_v1) = root_of(controller);
        let file = root.join(&self.name).join(path).join(if is_v1 { v1 } else { v2 });
        let content = std::fs::read_to_string(&file);
        content.unwrap_or_else(|error| panic!("{}: {error}", file.display())).trim_end().to_owned()
    }
}

/// Where a controller is mounted, and whether that is v1: told apart from the crate's own detection.
pub fn root_of(controller: &str) -> (PathBuf, bool) {
    let mounts = std::fs::read_to_string("/proc/self/mounts").expect("mounts");
    let find = |wanted: &dyn Fn(&[&str]) -> bool| {
        let mut lines = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        lines.find(|fields| wanted(fields)).map(|fields| PathBuf::from(fields[1]))
    };
    match find(&|fields| fields[2] == "cgroup" && fields[3].split(',').any(|o| o == controller)) {
        Some(root) => (root, true),
        None => (find(&|fields| fields[2] == "cgroup2").expect("a cgroup mount"), false),
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let group = self.hierarchy.group_everywhere(&self.name);
        group.kill().expect("kill");
        group.remove().expect("remove");
        assert!(!group.exists(), "nothing is left");
    }
}

/// Runs a shell script inside the group: the shell joins first, as a container does before it execs. Its
/// input is a pipe that stays open until the child is dropped or ended.
pub fn spawn(group: &Group, script: &str) -> Running {
    spawn_in(group, &Limits::default(), script)
}

/// The files by which a process joins a group with these limits.
pub fn files(group: &Group, limits: &Limits) -> Vec<String> {
    let devices = group.devices_file().filter(|file| file.exists());
    let files = group.tasks_files().into_iter().chain(devices).chain(group.on_demand_files(limits));
    let mut files: Vec<String> = files.map(|file| file.display().to_string()).collect();
    if let Some(directory) = group.open().expect("open") {
        let path = format!("/proc/self/fd/{}", directory.as_raw_fd());
        let directory = std::fs::read_link(path).expect("path of the group");
        files.push(directory.join("cgroup.procs").display().to_string());
    }
    files
}

/// The same of a group with limits that it has not everywhere.
pub fn spawn_in(group: &Group, limits: &Limits, script: &str) -> Running {
    let files = files(group, limits);
    let join = "for file; do echo 0 > \"$file\" || exit 99; done; ";
    let mut child = Command::new("sh")
        .args(["-c", &format!("{join}{script}"), "sh"])
        .args(&files)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("spawn sh");
    let output = BufReader::new(child.stdout.take().expect("piped"));
    Running { child, output }
}

pub struct Running {
    pub child: Child,
    output: BufReader<ChildStdout>,
}

impl Running {
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("a pid")
    }

    /// Writes a line to its input.
    pub fn tell(&mut self, line: &str) {
        writeln!(self.child.stdin.as_mut().expect("piped"), "{line}").expect("write input");
    }

    /// Waits for the next line; empty at the end of the output.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("read output");
        line.trim_end().to_owned()
    }

    /// Waits for output; `false` when it ends without any.
    pub fn has_byte(&mut self) -> bool {
        !self.output.fill_buf().expect("read output").is_empty()
    }

    /// Closes the input and waits for the end: status, rest of the output, errors.
    pub fn finish(mut self) -> (ExitStatus, String, String) {
        drop(self.child.stdin.take());
        let mut output = String::new();
        self.output.read_to_string(&mut output).expect("read output");
        let mut errors = String::new();
        let stderr = self.child.stderr.as_mut().expect("piped");
        stderr.read_to_string(&mut errors).expect("read errors");
        (self.child.wait().expect("wait"), output.trim_end().to_owned(), errors)
    }
}

/// How long a process has been on a CPU, and waited for one: the kernel's own text (proc/PID/schedstat).
pub fn run_time(pid: i32) -> String {
    let text = std::fs::read_to_string(format!("/proc/{pid}/schedstat")).expect("schedstat");
    text.split(' ').next().expect("a figure").to_owned()
}
