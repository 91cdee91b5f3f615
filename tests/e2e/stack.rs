//! A project in a folder of its own, and the proof that nothing of it is left.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use nix::fcntl::{Flock, FlockArg};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// A Compose project of one test.
pub struct Project {
    pub name: String,
    pub folder: PathBuf,
}

impl Project {
    /// A project with this file. `@busybox@` in it stands for a root folder with busybox.
    pub fn new(name: &str, file: &str) -> Self {
        assert!(nix::unistd::geteuid().is_root(), "end-to-end tests run as root");
        let name = format!("e2e-{name}-{}", std::process::id());
        let folder = std::env::temp_dir().join(&name);
        fs::create_dir_all(&folder).unwrap();
        let project = Self { name, folder };
        project.write("compose.yaml", file);
        project
    }

    /// Writes a file of the project.
    pub fn write(&self, file: &str, text: &str) {
        fs::write(self.folder.join(file), text.replace("@busybox@", &busybox().display().to_string()))
            .unwrap();
    }

    /// `compose -p NAME ARGS…` in the project's folder.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_compose"));
        command.current_dir(&self.folder).args(["-p", &self.name]).args(args).stdin(Stdio::null());
        command.env_remove("COMPOSE_FILE").env_remove("COMPOSE_PROJECT_NAME");
        command
    }

    pub fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Standard output of a command that must succeed.
    pub fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(
            output.status.success(),
            "compose {args:?}: {}\n{out}\n{err}\n{}",
            output.status,
            self.diagnostics()
        );
        out
    }

    /// Exit status and standard error of a command that must fail.
    pub fn fails(&self, args: &[&str]) -> (i32, String) {
        let output = self.run(args);
        assert!(!output.status.success(), "compose {args:?} succeeded: {}", text(&output.stdout));
        (output.status.code().unwrap(), text(&output.stderr))
    }

    /// The volumes without a name that containers which are gone have left.
    pub fn left_volumes(&self) -> Vec<String> {
        let label = format!("label=com.docker.compose.project={}", self.name);
        let listed = self.ok(&["volume", "ls", "-q", "-f", "dangling=true", "-f", &label]);
        listed.lines().filter(|name| !name.starts_with(&self.name)).map(str::to_owned).collect()
    }

    fn diagnostics(&self) -> String {
        fs::read_to_string(self.state().join("supervisor.log")).unwrap_or_default()
    }

    fn state(&self) -> PathBuf {
        Path::new("/var/lib/compose/stacks").join(&self.name)
    }

    /// `ps -a --format json`, by container name.
    pub fn containers(&self) -> Vec<serde_json::Value> {
        self.ok(&["ps", "-a", "--format", "json"])
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// One field of one service's only container.
    pub fn field(&self, service: &str, field: &str) -> serde_json::Value {
        let containers = self.containers();
        let found = containers.iter().find(|container| container["Service"] == service);
        found.unwrap_or_else(|| panic!("no container of {service} in {containers:?}"))[field].clone()
    }

    /// Process ids of this stack's keeper and supervisor.
    pub fn processes(&self, program: &str) -> Vec<i32> {
        let wanted = format!("{program}\0{}\0", self.name);
        let pids =
            fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        pids.filter(|pid: &i32| {
            fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line == wanted.as_bytes())
        })
        .collect()
    }

    /// Kills the stack's processes of this name and waits until they have gone.
    pub fn kill_processes(&self, program: &str) {
        // A child of the keeper's bears its name until its exec: it is a container, or will be before the signal comes.
        let listed = self.processes(program);
        let own = listed.iter().filter(|&&pid| parent(pid).is_some_and(|parent| !listed.contains(&parent)));
        for process in own.filter_map(|&pid| try_pidfd(pid).ok()).collect::<Vec<_>>() {
            match rustix::process::pidfd_send_signal(&process, rustix::process::Signal::KILL) {
                Ok(()) | Err(rustix::io::Errno::SRCH) => ended(&process),
                Err(error) => panic!("kill {program} of {}: {error}", self.name),
            }
        }
    }

    /// Kills both processes behind the stack, so that nobody of it is left: neither gets to start the other anew.
    pub fn kill_both(&self) {
        // Stopped, it does not see its keeper go; what it may have begun before shows at the next look.
        while !self.processes("compose-keeper").is_empty() || !self.processes("compose-supervisor").is_empty()
        {
            for supervisor in
                self.processes("compose-supervisor").into_iter().filter_map(|pid| try_pidfd(pid).ok())
            {
                let _ = rustix::process::pidfd_send_signal(&supervisor, rustix::process::Signal::STOP);
            }
            self.kill_processes("compose-keeper");
            self.kill_processes("compose-supervisor");
        }
    }

    /// Returns when the only container of a service has ended.
    pub fn ends(&self, service: &str) {
        if let Some(pid) = self.field(service, "Pid").as_i64().filter(|pid| *pid > 0)
            && let Ok(pidfd) = try_pidfd(i32::try_from(pid).unwrap())
        {
            ended(&pidfd);
        }
        // What follows it is recorded by then: `logs -f` ends when the container's log is whole.
        self.ok(&["logs", "-f", "--tail", "0", service]);
    }

    /// Returns when a service has printed this line.
    pub fn follow_until(&self, service: &str, line: &str) {
        let mut child = self
            .command(&["logs", "-f", "--no-log-prefix", service])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let found = lines.map(Result::unwrap).any(|known| known.trim_end() == line);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(found, "{service} ended without {line}");
    }

    /// `down -v`, and nothing is left.
    pub fn down(self) {
        self.ok(&["down", "-v", "-t", "1"]);
        self.assert_nothing_left();
    }

    /// No process, link, cgroup, file or socket of the stack exists.
    pub fn assert_nothing_left(&self) {
        for program in ["compose-keeper", "compose-supervisor"] {
            assert_eq!(self.processes(program), [] as [i32; 0], "{program} is left");
        }
        for path in [self.state(), Path::new("/run/compose/stacks").join(&self.name)] {
            assert!(!path.exists(), "{} is left", path.display());
        }
        let lock = Path::new("/run/compose").join(format!("{}.lock", self.name));
        assert!(!lock.exists(), "{} is left", lock.display());
        assert_eq!(groups(&self.name), [] as [PathBuf; 0], "cgroups are left");
        let registry = fs::read_dir("/run/compose/host").into_iter().flatten().flatten();
        for file in registry {
            let text = fs::read_to_string(file.path()).unwrap_or_default();
            assert!(!text.contains(&self.name), "{} still names the stack", file.path().display());
        }
        let volumes = fs::read_dir("/var/lib/compose/volumes").into_iter().flatten().flatten();
        for volume in volumes {
            let name = volume.file_name().into_string().unwrap();
            assert!(!name.starts_with(&self.name), "volume {name} is left");
        }
        for folder in ["/var/lib/compose/volume-records", "/run/compose/volumes"] {
            for found in fs::read_dir(folder).into_iter().flatten().flatten() {
                let name = found.file_name().into_string().unwrap();
                assert!(!name.starts_with(&self.name), "{folder}/{name} is left");
            }
        }
        // What containers have left without a name says whose it was.
        for record in fs::read_dir("/var/lib/compose/volume-records").into_iter().flatten().flatten() {
            let text = fs::read_to_string(record.path()).unwrap_or_default();
            assert!(!text.contains(&format!("\"{}\"", self.name)), "an anonymous volume is left: {text}");
        }
        for network in ["default", "front", "back"] {
            let bridge = composer_network::names::bridge(&self.name, network);
            assert!(!Path::new("/sys/class/net").join(&bridge).exists(), "the bridge {bridge} is left");
        }
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        assert!(!mounts.contains(&self.name), "a mount is left:\n{mounts}");
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        // A test that failed half-way must not disturb the next.
        if std::thread::panicking() {
            let _ = self.command(&["down", "-v", "-t", "0"]).output();
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn parent(pid: i32) -> Option<i32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
}

fn try_pidfd(pid: i32) -> rustix::io::Result<OwnedFd> {
    rustix::process::pidfd_open(
        rustix::process::Pid::from_raw(pid).unwrap(),
        rustix::process::PidfdFlags::empty(),
    )
}

/// A process that is not our child, by descriptor.
pub fn pidfd(pid: i32) -> OwnedFd {
    try_pidfd(pid).unwrap()
}

/// Returns when the process has ended.
pub fn ended(pidfd: &OwnedFd) {
    let ready = poll(&mut [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)], PollTimeout::from(60_000_u16));
    assert_eq!(ready, Ok(1), "a process did not end in time");
}

/// cgroups of a stack, in every hierarchy.
pub fn groups(stack: &str) -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let roots = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        let folder = words.next()?;
        words.next()?.starts_with("cgroup").then(|| PathBuf::from(folder))
    });
    roots
        .flat_map(|root| [root.join("compose").join(stack), root.join("compose/.engine").join(stack)])
        .filter(|group| group.exists())
        .collect()
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Held by tests of what the host has once: one at a time, of all runs of the tests on it.
pub fn alone(with: &str) -> Flock<fs::File> {
    let path = std::env::temp_dir().join(format!("composer-e2e-{with}.lock"));
    let file = fs::File::options().create(true).truncate(false).write(true).open(path).unwrap();
    Flock::lock(file, FlockArg::LockExclusive).unwrap()
}

/// A root folder with busybox and links to its applets, made once a test run.
pub fn busybox() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = std::env::temp_dir().join("composer-e2e-busybox");
        let made = folder.join(".made");
        let _alone = alone("busybox");
        if !made.exists() {
            for name in ["bin", "tmp", "etc"] {
                fs::create_dir_all(folder.join(name)).unwrap();
            }
            let program =
                ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|path| Path::new(path).exists());
            let program = program.expect("busybox-static is installed (scripts/check does)");
            fs::copy(program, folder.join("bin/busybox")).unwrap();
            let list = Command::new(program).arg("--list").output().unwrap();
            for applet in text(&list.stdout).lines().filter(|applet| *applet != "busybox") {
                let _ = std::os::unix::fs::symlink("busybox", folder.join("bin").join(applet));
            }
            fs::write(
                folder.join("etc/passwd"),
                "root:x:0:0:root:/root:/bin/sh\nbob:x:1000:1000::/home/bob:/bin/sh\n",
            )
            .unwrap();
            fs::write(folder.join("etc/group"), "root:x:0:\nbob:x:1000:\nextra:x:1500:bob\n").unwrap();
            fs::write(made, "").unwrap();
        }
        folder
    })
}
