//! The child's side: from the fork to exec.

use std::convert::Infallible;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};

use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::stat::{Mode, fchmod, umask};
use nix::unistd::{Gid, Uid, dup2_stderr, dup2_stdin, dup2_stdout, fchdir, fchown, sethostname, setsid};
use rustix::fs::OFlags;

use crate::capabilities::Wanted;
use crate::confinement::Confinement;
use crate::failure::{Doing, Result, StartFailure};
use crate::spawn::{ContainerFds, ExecFds, Stdio};
use crate::spec::{ContainerSpec, ExecSpec, NamespaceSpec, ProcessSpec};
use crate::terminal::{self, Terminal};
use crate::tree::{self, Missing, Tree};
use crate::user::{self, User};
use crate::userns::{self, IdRange, Mapping};
use crate::{
    capabilities, descriptor, dev, hooks, init, kernel_files, limits, mount, process, program, report, root,
    seccomp, volumes,
};

/// PIPEFS_MAGIC of linux/magic.h.
const PIPEFS: i64 = 0x5049_5045;

/// What is told where the way ends before exec.
fn end(report: BorrowedFd<'_>, way: impl FnOnce() -> Result<Infallible>) -> ! {
    // An unwinding child would go on as a second keeper.
    let failure = match catch_unwind(AssertUnwindSafe(way)) {
        Ok(Ok(never)) => match never {},
        Ok(Err(failure)) => failure,
        Err(_) => {
            StartFailure::because("start", "the program", "an error in compose itself; see supervisor.log")
        }
    };
    let code = failure.exit_code;
    report::failed(report, failure);
    process::leave(code)
}

/// PID 1 of a new container.
pub fn container(spec: &ContainerSpec, fds: &ContainerFds, userns: Option<&OwnedFd>) -> ! {
    end(fds.report.as_fd(), || {
        let Stdio { stdin, stdout, stderr } = &fds.stdio;
        let own = [stdin, stdout, stderr, &fds.start, &fds.report]
            .into_iter()
            .chain(&fds.network)
            .chain(&fds.ipc)
            .chain(&fds.cgroup)
            .chain(userns);
        // First of all: one of the others is the keeper's socket, in which the other end of `start` may still be on its
        // way. Were keeper and supervisor killed now, that end would never close, and this child would wait for ever,
        // with the stack's listening socket in its hands.
        let own: Vec<BorrowedFd<'_>> = own.map(AsFd::as_fd).collect();
        descriptor::keep_only(&own).doing("close", "the keeper's descriptors")?;
        begin(&spec.cgroup_tasks, &spec.process, spec.userns)?;
        if !spec.isolation.host_cgroups {
            unshare(CloneFlags::CLONE_NEWCGROUP).doing("make", "a cgroup namespace")?;
        }
        let shm = shared_memory(spec, fds.ipc.as_ref())?;
        if let Some(network) = &fds.network {
            // Before /sys is mounted, which shows the interfaces of whoever mounts it.
            setns(network, CloneFlags::CLONE_NEWNET).doing("join", "the other's network namespace")?;
        }
        if !spec.isolation.host_uts {
            sethostname(&spec.hostname).doing("set the host name", &spec.hostname)?;
            let domain = spec.domainname.as_deref().unwrap_or("(none)");
            rustix::system::setdomainname(domain.as_bytes()).doing("set", "the domain name")?;
        }
        let passed_on = volumes::passed_on(spec)?;
        root::make_private()?;
        let mapping = userns.map(|userns| Mapping::new(userns, spec.root.folder())).transpose()?;
        let tree = root::mount(&spec.root, spec.isolation.open_nodes, mapping.as_ref())?;
        let kernel = kernel_files::mount(&tree, spec, fds.cgroup.is_some())?;
        let hidden = dev::mount(&tree, spec, shm)?;
        kernel_files::mask(&kernel, spec, &hidden)?;
        volumes::mount(&tree, spec, &hidden, passed_on, mapping.as_ref())?;
        dev::provide(&tree, &spec.isolation.devices, spec.userns)?;
        drop((hidden, kernel));
        working_folder(&tree, &spec.process)?;
        hooks::run(spec)?;
        let init = if spec.init { Some(own_program()?) } else { None };
        root::enter(&tree, spec.read_only)?;
        drop(tree);
        let user = user::look_up(spec.process.user.as_deref(), &spec.process.groups, spec.userns)?;
        let terminal = terminal(&spec.process, fds.report.as_fd())?;
        if let Some(terminal) = &terminal {
            dev::console(&terminal.slave)?;
        }
        give_pipes(&fds.stdio, &user, spec.userns, is_fifo)?;
        wait(&fds.start)?;
        let kept: Vec<BorrowedFd<'_>> =
            std::iter::once(&fds.report).chain(init.as_ref()).map(AsFd::as_fd).collect();
        let userns = spec.userns.zip(userns.map(AsFd::as_fd));
        run(&spec.process, &user, (&fds.stdio, terminal), &kept, userns, |env| match &init {
            Some(binary) => init::exec(binary, &spec.process.argv, env, &fds.report),
            None => program::exec(&spec.process.argv, env),
        })
    })
}

/// A program in a container that runs.
pub fn exec(target: BorrowedFd<'_>, spec: &ExecSpec, fds: &ExecFds) -> ! {
    end(fds.report.as_fd(), || {
        begin(&spec.cgroup_tasks, &spec.process, spec.userns)?;
        let namespaces = CloneFlags::CLONE_NEWNS
            | CloneFlags::CLONE_NEWNET
            | CloneFlags::CLONE_NEWUTS
            | CloneFlags::CLONE_NEWIPC
            | CloneFlags::CLONE_NEWCGROUP;
        // This also makes the container's root this process's root.
        setns(target, namespaces).doing("enter", "the container's namespaces")?;
        let user = user::look_up(spec.process.user.as_deref(), &spec.process.groups, spec.userns)?;
        let terminal = terminal(&spec.process, fds.report.as_fd())?;
        // A named pipe is a file of the caller's.
        give_pipes(&fds.stdio, &user, spec.userns, is_anonymous_pipe)?;
        let kept = [fds.report.as_fd()];
        let mut process = spec.process.clone();
        if spec.privileged {
            process.confinement = process.confinement.lifted();
        }
        let userns = spec.userns.map(|range| (range, target));
        run(&process, &user, (&fds.stdio, terminal), &kept, userns, |env| program::exec(&process.argv, env))
    })
}

/// The /dev/shm of an IPC namespace that is not the container's own. This leaves the process in that namespace.
fn shared_memory(spec: &ContainerSpec, other: Option<&OwnedFd>) -> Result<Option<OwnedFd>> {
    const SHM: &str = "/dev/shm";
    let copied = match (spec.isolation.ipc, other) {
        (NamespaceSpec::Own, _) | (NamespaceSpec::Joined, None) => return Ok(None),
        (NamespaceSpec::Host, _) => mount::copy(rustix::fs::CWD, SHM, true),
        (NamespaceSpec::Joined, Some(other)) => {
            let own = File::open("/proc/self/ns/mnt").doing("open", "its mount namespace")?;
            setns(other, CloneFlags::CLONE_NEWIPC | CloneFlags::CLONE_NEWNS)
                .doing("join", "the other's IPC namespace")?;
            // A copy can be made of what is mounted here alone.
            let copied = mount::copy(rustix::fs::CWD, SHM, true);
            setns(own, CloneFlags::CLONE_NEWNS).doing("return to", "its mount namespace")?;
            copied
        }
    };
    match copied {
        // The other has none.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EINVAL)) => Ok(None),
        other => other.map(Some).doing("share", SHM),
    }
}

fn begin(tasks: &[std::path::PathBuf], program: &ProcessSpec, userns: Option<IdRange>) -> Result<()> {
    // Until exec this is a copy of the keeper: nothing in the container may look into it or into its descriptors.
    nix::sys::prctl::set_dumpable(false).doing("protect", "the new process")?;
    process::join_groups(tasks)?;
    if let Some(score) = program.oom_score_adj {
        limits::set_oom_score(score)?;
    }
    setsid().doing("start", "a session")?;
    process::default_signals().doing("reset", "its signals")?;
    limits::restore_descriptor_limit().doing("restore", "the limit of open files")?;
    process::new_keyring();
    umask(Mode::from_bits_truncate(0o022));
    userns.map_or(Ok(()), userns::make_files_as_root)
}

/// Made before the root filesystem may become read-only.
fn working_folder(tree: &Tree, process: &ProcessSpec) -> Result<()> {
    match &process.cwd {
        Some(cwd) => tree
            .ensure(cwd, Missing::Folder)
            .map(drop)
            .doing("make the working folder", cwd)
            .map_err(|failure| failure.at(&["working_dir"])),
        None => Ok(()),
    }
}

fn own_program() -> Result<OwnedFd> {
    Ok(File::open("/proc/self/exe").doing("open", "/proc/self/exe")?.into())
}

fn terminal(process: &ProcessSpec, report: BorrowedFd<'_>) -> Result<Option<Terminal>> {
    if !process.terminal {
        return Ok(None);
    }
    let terminal = terminal::open(process.terminal_size)?;
    report::terminal(report, &terminal.master).doing("hand over", "the terminal")?;
    Ok(Some(terminal))
}

fn wait(start: &OwnedFd) -> Result<()> {
    let start = start.try_clone().doing("wait for", "the network")?;
    match File::from(start).read(&mut [0]) {
        // Nobody wants this container any more, and nobody listens.
        Ok(0) => process::leave(0),
        other => other.map(drop).doing("wait for", "the network"),
    }
}

/// The last steps, in the container already. `kept` is what `exec` and a report of its failure need.
fn run(
    process: &ProcessSpec,
    user: &User,
    (stdio, terminal): (&Stdio, Option<Terminal>),
    kept: &[BorrowedFd<'_>],
    userns: Option<(IdRange, BorrowedFd<'_>)>,
    exec: impl FnOnce(&[(String, String)]) -> Result<Infallible>,
) -> Result<Infallible> {
    match terminal {
        Some(terminal) => {
            terminal::control(&terminal.slave)?;
            // Its group stays `tty`.
            let uid = userns::outside(userns.map(|(range, _)| range), user.uid);
            uid.and_then(|uid| Ok(fchown(&terminal.slave, Some(Uid::from_raw(uid)), None)?))
                .doing("give away", "the terminal")?;
            streams(&terminal.slave, &terminal.slave, &terminal.slave)?;
        }
        None => {
            streams(&stdio.stdin, &stdio.stdout, &stdio.stderr)?;
        }
    }
    // Before any path of the container's is walked, and before it has the container's user: the others are the host's.
    let kept: Vec<BorrowedFd<'_>> = kept.iter().copied().chain(userns.map(|(_, fd)| fd)).collect();
    descriptor::keep_only(&kept).doing("close", "the keeper's descriptors")?;
    limits::set(&process.limits)?;
    if let Some((_, userns)) = userns {
        // From here on this process has no right outside.
        userns::enter(userns)?;
    }
    confine(&process.confinement, user, process.cwd.as_deref().unwrap_or("/"))?;
    exec(&program::environment(process, user))
}

/// Becomes the program's user, in its folder, and takes away what it may not do.
fn confine(confinement: &Confinement, user: &User, cwd: &str) -> Result<()> {
    let wanted = Wanted::of(confinement);
    let is_root = user.uid == 0;
    wanted.limit_bounding()?;
    if !is_root {
        nix::sys::prctl::set_keepcaps(true).doing("keep", "its capabilities for a moment")?;
    }
    user::become_user(user)?;
    // Another user makes a process dumpable again where fs.suid_dumpable says so (proc(5)).
    nix::sys::prctl::set_dumpable(false).doing("protect", "the new process")?;
    enter_folder(cwd)?;
    if confinement.no_new_privileges {
        nix::sys::prctl::set_no_new_privs().doing("keep from new privileges", "the program")?;
    } else if !is_root {
        capabilities::raise_admin()?;
    }
    // As late as it can be, as whose profile it is may refuse what has been done by now. Without `no_new_privs` it takes
    // CAP_SYS_ADMIN, which goes next.
    seccomp::install(confinement, &wanted.names())?;
    wanted.limit_own(is_root)
}

/// As the container's user, who may not be let in.
fn enter_folder(cwd: &str) -> Result<()> {
    let folder = tree::inside(cwd, OFlags::PATH | OFlags::DIRECTORY);
    let entered = folder.and_then(|folder| Ok(fchdir(folder)?));
    entered.map_err(|error| {
        let mut failure = StartFailure::system("enter the working folder", cwd, &error);
        if error.raw_os_error() == Some(libc::ELOOP) {
            failure.message = "its symbolic links go in circles, or to a descriptor in /proc".to_owned();
        }
        failure.at(&["working_dir"])
    })
}

/// /dev/stdout and its like must open for the container's user.
fn give_pipes(
    stdio: &Stdio,
    user: &User,
    userns: Option<IdRange>,
    is_pipe: fn(&OwnedFd) -> bool,
) -> Result<()> {
    let outside = |id| userns::outside(userns, id).doing("give away", "its standard streams");
    let (uid, gid) = (Uid::from_raw(outside(user.uid)?), Gid::from_raw(outside(user.gid)?));
    for pipe in [&stdio.stdin, &stdio.stdout, &stdio.stderr].into_iter().filter(|fd| is_pipe(fd)) {
        fchown(pipe, Some(uid), Some(gid)).doing("give away", "its standard streams")?;
        fchmod(pipe, Mode::S_IRUSR | Mode::S_IWUSR).doing("give away", "its standard streams")?;
    }
    Ok(())
}

fn is_fifo(fd: &OwnedFd) -> bool {
    rustix::fs::fstat(fd).is_ok_and(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode).is_fifo())
}

fn is_anonymous_pipe(fd: &OwnedFd) -> bool {
    is_fifo(fd) && rustix::fs::fstatfs(fd).is_ok_and(|stat| stat.f_type == PIPEFS)
}

fn streams(stdin: &OwnedFd, stdout: &OwnedFd, stderr: &OwnedFd) -> Result<()> {
    let (own_in, own_out, own_err) = (dev::own(stdin)?, dev::own(stdout)?, dev::own(stderr)?);
    dup2_stdin(own_in.as_ref().unwrap_or(stdin))
        .and_then(|()| dup2_stdout(own_out.as_ref().unwrap_or(stdout)))
        .and_then(|()| dup2_stderr(own_err.as_ref().unwrap_or(stderr)))
        .doing("set up", "its standard streams")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_pipe_is_told_from_an_anonymous_one() {
        let (pipe, _end) = nix::unistd::pipe().unwrap();
        assert!(is_fifo(&pipe) && is_anonymous_pipe(&pipe));
        let path = std::env::temp_dir().join(format!("compose-fifo-{}", std::process::id()));
        nix::unistd::mkfifo(&path, Mode::S_IRWXU).unwrap();
        let named: OwnedFd = File::options().read(true).write(true).open(&path).unwrap().into();
        assert!(is_fifo(&named) && !is_anonymous_pipe(&named));
        std::fs::remove_file(path).unwrap();
    }
}
