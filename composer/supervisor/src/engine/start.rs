//! Starting a container: cgroup, files, clone, network, exec. Whatever fails on the way is taken back.

use std::fmt;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use composer_cgroup::DeviceRule;
use composer_sandbox::{self as sandbox, ContainerSpec, NamespaceSpec, ReportMessage};
use composer_stack::{Service, one_line};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use tokio::io::unix::AsyncFd;

use super::container::{Container, Status};
use super::link::{Born, Refusal};
use super::{Engine, asyncfd, isolation, logpipes, program};
use crate::host::ids;
use crate::logs::Stream;
use crate::protocol::{Action, Failure, Health, Subject};
use crate::records::{Phase, Process};
use crate::{channel, clock, paths};

/// Why a container could not be started.
#[derive(Clone, Debug)]
pub struct StartError {
    /// For users.
    pub message: String,
    /// 126 and 127 where the program could not be run (as a shell has it), else 1.
    pub code: i32,
    /// A way out.
    pub help: Option<String>,
    /// The value of the file that is to blame, as keys and places in lists; empty where none is. What a report says of
    /// it begins below the service.
    pub at: Vec<String>,
    /// Whether it has only waited for what does not come any more, as its operation gives up.
    pub given_up: bool,
}

impl StartError {
    pub fn new(message: String) -> Self {
        Self { message, code: 1, help: None, at: Vec::new(), given_up: false }
    }

    /// What was being done, to what, and why it failed.
    pub fn doing(what: &str, error: &dyn std::fmt::Display) -> Self {
        Self::new(format!("{what}: {error}"))
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Failure::from(self).fmt(f)
    }
}

impl From<&StartError> for Failure {
    fn from(error: &StartError) -> Self {
        let StartError { message, code, help, at, given_up: _ } = error.clone();
        Self { message, help, at, code, more: Vec::new() }
    }
}

/// What a container is cloned with.
pub struct Launch {
    /// The service as it is in the container's record.
    pub service: Service,
    /// For the sandbox.
    pub spec: ContainerSpec,
    /// The network namespace that it joins, where it has none of its own.
    pub joined: Option<OwnedFd>,
    /// By pidfd, the processes whose PID and IPC namespaces it joins, where it joins some.
    pub processes: Vec<OwnedFd>,
    /// What its control group lets through of devices, where it limits them.
    pub devices: Option<Vec<DeviceRule>>,
    /// Under which the keeper knows it.
    pub tag: String,
    /// Whether this is the container's own program, which is recorded, and not a step that prepares it.
    pub is_service: bool,
}

/// A child that waits for its network.
struct Child<'a> {
    born: &'a Born,
    /// Written to, it goes on to its exec.
    start: OwnedFd,
    report: AsyncFd<OwnedFd>,
    has_terminal: bool,
    /// Whether the ports of the service lead to it.
    is_service: bool,
    /// The network namespace that it joins on its way.
    space: Option<OwnedFd>,
}

pub type Result<T> = std::result::Result<T, StartError>;

/// What became of the report channel.
pub enum Reported {
    /// Its program has been exec'd; with the terminal's master where it has one.
    Started(Option<OwnedFd>),
    /// It could not be.
    Failed(StartError),
}

/// What a program's start has failed for, as a value of the file; what `run` has put in its place is none.
fn below(service: &Service, container: &Container, mut error: StartError) -> StartError {
    if container.oneoff().is_some() {
        error.at.clear();
    } else if !error.at.is_empty() {
        error.at.splice(0..0, ["services".to_owned(), service.name.clone()]);
    }
    error
}

/// Reads the report channel until the program runs or has failed to.
pub async fn report(channel: &AsyncFd<OwnedFd>, name: &str) -> Reported {
    let mut terminal = None;
    loop {
        match next(channel, name).await {
            Ok(Some(master)) => terminal = Some(master),
            Ok(None) => return Reported::Started(terminal),
            Err(error) => return Reported::Failed(error),
        }
    }
}

/// The next message: the terminal's master, or `None` where the program runs.
async fn next(channel: &AsyncFd<OwnedFd>, name: &str) -> Result<Option<OwnedFd>> {
    let read = channel.async_io(tokio::io::Interest::READABLE, |fd| sandbox::read_report(fd.as_fd())).await;
    match read {
        Ok(ReportMessage::Started) => Ok(None),
        Ok(ReportMessage::Terminal(master)) => Ok(Some(master)),
        Ok(ReportMessage::Failed(failure)) => {
            let code = if failure.exit_code == 125 { 1 } else { failure.exit_code };
            let message = format!("{name}: {}", one_line(&failure.to_string()));
            Err(StartError { code, at: failure.at, ..StartError::new(message) })
        }
        Err(error) => {
            let what = format!("{name}: what the new process reported could not be read");
            Err(StartError::doing(&what, &error))
        }
    }
}

/// What the keeper keeps the way to let a child go by.
fn start_key(name: &str) -> String {
    format!("start/{name}")
}

/// Records a container's own program.
fn begun(container: &Container, born: &Born) -> Result<()> {
    let process = Process {
        pid: born.pid,
        ticks: program::ticks(born.pid).unwrap_or(0),
        boot: program::boot(),
        started: clock::now(),
    };
    let recorded = container.change(|record| record.phase = Phase::Started(process));
    recorded.map_err(|error| StartError::doing(&format!("{}: write its record", container.name()), &error))
}

impl Engine {
    /// Starts a container and returns when its program has been exec'd.
    pub(super) async fn start(self: &Rc<Self>, container: &Rc<Container>) -> Result<()> {
        let _gate = container.enter().await;
        self.begin_anew(container)
            .map_err(|error| StartError::doing(&format!("{}: write its record", container.name()), &error))?;
        container.doomed.set(false);
        container.status.send_replace(Status::Starting);
        self.announce_container(container, Action::Starting);
        if let Err(error) = self.launch_anew(container).await {
            let reason = Some(error.to_string());
            // The failure itself is what the user must see; the record only repeats it.
            let _ = container.change(|record| record.phase = Phase::Created { reason });
            self.release(container).await;
            container.status.send_replace(Status::Created);
            self.announce_container(container, Action::Failed(error.to_string()));
            return Err(error);
        }
        self.end_doomed(container);
        Ok(())
    }

    /// Takes away what the last program stood on, and starts the next.
    pub(super) async fn launch_anew(self: &Rc<Self>, container: &Rc<Container>) -> Result<()> {
        if container.standing.get() {
            self.release(container).await;
        }
        container.standing.set(true);
        match self.try_start(container).await {
            Err(error) if error.message == Refusal::Gone.to_string() => {
                // A keeper that died in this very moment has been replaced: once more.
                self.release(container).await;
                self.try_start(container).await
            }
            other => other,
        }
    }

    async fn try_start(self: &Rc<Self>, container: &Rc<Container>) -> Result<()> {
        let name = container.name();
        let failed = |what: &'static str| {
            let name = name.clone();
            move |error: io::Error| StartError::new(format!("{name}: {what}: {error}"))
        };
        let service = container.record.borrow().service.clone();
        self.bring_volumes(container, &service).await?;
        let mut launch = self.launch_for(container)?;
        let given =
            container.given(&mut launch.spec.process).map_err(failed("hand over its standard input"))?;
        paths::make(container.paths.run()).map_err(failed("make its folder"))?;
        let (out, out_end) = logpipes::make(&container.paths.fifo("out"))
            .map_err(failed("make the pipe of its standard output"))?;
        let (err, err_end) = logpipes::make(&container.paths.fifo("err"))
            .map_err(failed("make the pipe of its standard error"))?;
        container.entrust(&[&out, &err]);
        let stdin = if let Some(given) = given {
            given
        } else if launch.service.stdin_open && !launch.service.tty {
            logpipes::make(&container.paths.fifo("in"))
                .map_err(failed("make the pipe of its standard input"))?
                .1
        } else {
            fs::File::open("/dev/null").map_err(failed("open /dev/null"))?.into()
        };
        let (born, terminal) =
            self.launch(container, launch, [stdin, out_end, err_end], [&out, &err]).await?;
        let pipes = match terminal {
            Some(master) => vec![(Stream::Stdout, master)],
            None => vec![(Stream::Stdout, out), (Stream::Stderr, err)],
        };
        self.run(container, born, pipes, true).map_err(failed("keep its log"))?;
        let address = container.record.borrow().all_addresses().first().copied();
        self.announce_container(container, Action::Started { address });
        Ok(())
    }

    /// What a container's own program is cloned with.
    pub(super) fn launch_for(&self, container: &Container) -> Result<Launch> {
        let service = container.record.borrow().service.clone();
        let name = container.name();
        let named = |error: StartError| StartError { message: format!("{name}: {}", error.message), ..error };
        self.addresses(container)?;
        let joined = self.joined(&service.network).map_err(named)?.or_else(|| self.left_behind(container));
        let processes = self.joined_processes(&service).map_err(named)?;
        let identity = self.identity(container).map_err(named)?;
        let devices = isolation::devices(&service).map_err(named)?;
        self.claim_ids(container, &service).map_err(named)?;
        let mut spec = self.spec(container, &service, identity, devices.nodes)?;
        isolation::add_described(devices.edits, &name, &mut spec).map_err(named)?;
        if joined.is_some() {
            spec.network = NamespaceSpec::Joined;
        }
        if let Some(score) = self.score_at_birth(container) {
            spec.process.oom_score_adj = Some(score);
        }
        let tag = format!("container/{name}");
        Ok(Launch { service, spec, joined, processes, devices: devices.rules, tag, is_service: true })
    }

    /// Makes the cgroup, clones, plugs the network in and returns when the program has been exec'd, with its terminal's
    /// master where it has one. `logs` are kept beyond this supervisor's life.
    pub(super) async fn launch(
        self: &Rc<Self>,
        container: &Container,
        launch: Launch,
        stdio: [OwnedFd; 3],
        logs: [&OwnedFd; 2],
    ) -> Result<(Born, Option<OwnedFd>)> {
        let name = container.name();
        let failed = |what: &'static str| {
            let name = name.clone();
            move |error: io::Error| StartError::new(format!("{name}: {what}: {error}"))
        };
        let Launch { service, spec, joined, processes, devices, tag, is_service } = launch;
        if joined.is_some() {
            // In a namespace of its own, what it had there before has gone with that.
            self.unplugged(&name).await;
        }
        let has_terminal = spec.process.terminal;
        let group = self.make_group(&name, &service, devices)?;
        if is_service {
            self.settle_cores(container, &service)?;
        } else {
            self.spread_cores();
        }
        let (start_read, start) =
            nix::unistd::pipe2(OFlag::O_CLOEXEC).map_err(|errno| failed("make a pipe")(errno.into()))?;
        let (report, report_write) = channel::pair().map_err(failed("make a socket"))?;
        let report = asyncfd::new(report).map_err(failed("watch a socket"))?;
        let space = joined.as_ref().map(OwnedFd::try_clone).transpose();
        let space = space.map_err(failed("keep the namespace that it joins open"))?;
        let mut fds = Vec::from(stdio);
        fds.extend([start_read, report_write]);
        fds.extend(joined);
        fds.extend(processes);
        fds.extend(group);
        let (born, kept) = tokio::join!(self.link.spawn(&tag, spec, fds), async {
            // Over a supervisor's death: a child that gave up would look to the next one like a program that has
            // ended. Ordered after the clone, so that the child has no copy.
            self.link.hold(&start_key(&name), &[start.as_fd()])
        });
        let born = born.map_err(|refusal| match refusal {
            Refusal::Gone => StartError::new(refusal.to_string()),
            Refusal::Failed(message) => StartError::new(format!("{name}: {message}")),
        })?;
        let begun = if is_service { begun(container, &born) } else { Ok(()) };
        let begun = begun.and_then(|()| kept.map_err(failed("have its descriptors kept")));
        let child = Child { born: &born, start, report, has_terminal, is_service, space };
        let result = match begun {
            Ok(()) => self.let_go(child, &service, container, logs).await,
            Err(error) => Err(error),
        };
        match result {
            Ok(terminal) => Ok((born, terminal)),
            Err(error) => {
                // It may hang before its exec or run after it: either way it ends here, and is not reported.
                let _ = sandbox::pidfd::signal(born.pidfd.as_fd(), libc::SIGKILL);
                let pid = born.pid;
                let _ = born.end.await;
                self.link.acknowledge(pid);
                Err(error)
            }
        }
    }

    /// Plugs a child into the network, lets it exec its program, and returns its terminal's master where it has one.
    async fn let_go(
        self: &Rc<Self>,
        child: Child<'_>,
        service: &Service,
        container: &Container,
        logs: [&OwnedFd; 2],
    ) -> Result<Option<OwnedFd>> {
        let name = container.name();
        let failed = |what: &str, error: io::Error| StartError::new(format!("{name}: {what}: {error}"));
        let mut plugged = self.plug(service, container, child.born, child.space, logs).await;
        if plugged.is_ok() && child.is_service {
            plugged = self.open_ports(container).await;
        }
        let mut terminal = None;
        if plugged.is_ok() && child.has_terminal {
            // Kept before there is a program that its end would kill (SIGHUP).
            terminal = next(&child.report, &name).await?;
            let held: Vec<_> = terminal.iter().map(AsFd::as_fd).collect();
            let held = self.link.hold(&format!("terminal/{name}"), &held);
            held.map_err(|error| failed("keep its terminal", error))?;
        }
        if plugged.is_ok() {
            match nix::unistd::write(&child.start, b"!") {
                // It has failed already, and its report says why.
                Ok(_) | Err(Errno::EPIPE) => {}
                Err(errno) => return Err(failed("let it start", errno.into())),
            }
        }
        self.link.release(&start_key(&name));
        if plugged.is_err() {
            // If it has failed by itself, its report says more.
            let _ = sandbox::pidfd::signal(child.born.pidfd.as_fd(), libc::SIGKILL);
        }
        match report(&child.report, &name).await {
            Reported::Failed(error) if child.is_service => Err(below(service, container, error)),
            // A step's own values are not the service's.
            Reported::Failed(error) => Err(StartError { at: Vec::new(), ..error }),
            Reported::Started(_) => plugged.map(|()| terminal),
        }
    }

    /// Takes back everything that starting a container makes. Everything is found by name; what is not there is
    /// no error. Its link may still be on its way out then: see [`Engine::unplugged`].
    pub(super) async fn release(self: &Rc<Self>, container: &Rc<Container>) {
        let name = container.name();
        self.withdraw(container);
        for key in ["container", "terminal", "start"] {
            self.link.release(&format!("{key}/{name}"));
        }
        let _ = fs::remove_file(container.paths.health());
        let _ = fs::remove_file(container.paths.memory());
        for stream in ["in", "out", "err"] {
            let _ = fs::remove_file(container.paths.fifo(stream));
        }
        // It stays where the end of the program could not be recorded.
        let _ = fs::remove_dir(container.paths.run());
        if !self.sweeping.get() {
            self.unplug(container).await;
        }
        if let Err(error) = self.container_group(&name).remove() {
            self.announce_container(
                container,
                Action::Warning(format!("its cgroup could not be removed: {error}")),
            );
        }
        self.give_back_cores(container);
        self.release_volumes(container).await;
        self.release_ids(container);
        self.is_not_coming(container);
        container.standing.set(false);
    }

    /// Takes ids of the host for a container's user namespace, where it has one.
    fn claim_ids(&self, container: &Container, service: &Service) -> Result<()> {
        let at = || vec!["services".to_owned(), service.name.clone(), "x-userns".to_owned()];
        let refused = |why: String| StartError { at: at(), ..StartError::new(why) };
        let ids = if service.isolation.userns {
            let claimed = ids::claim(&self.stack, &container.name());
            let claimed = claimed.map_err(|error| refused(error.to_string()))?;
            Some(claimed.ok_or_else(|| refused("no ids of the host are left for it".to_owned()))?)
        } else {
            None
        };
        container.record.borrow_mut().userns = ids;
        Ok(())
    }

    fn release_ids(&self, container: &Rc<Container>) {
        container.record.borrow_mut().userns = None;
        if !container.record.borrow().service.isolation.userns {
            return;
        }
        if let Err(error) = ids::release(&self.stack, &container.name()) {
            let text = format!("its ids of the host could not be given back: {error}");
            self.announce_container(container, Action::Warning(text));
        }
    }

    /// The same shortcoming of the host is named once a stack.
    pub(super) fn warn_once(&self, service: &str, text: &str) {
        if self.warned.borrow_mut().insert(text.to_owned()) {
            self.announce(Subject::Group, Action::Warning(format!("service {service}: {text}")));
        }
    }

    /// What a running container's state begins with.
    pub(super) fn first_health(service: &Service) -> Option<Health> {
        service.healthcheck.as_ref().map(|_| Health::Starting)
    }
}
