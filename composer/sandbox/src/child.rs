//! The child's side: from the fork to exec.

use std::convert::Infallible;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::stat::{Mode, fchmod, umask};
use nix::unistd::{Gid, Uid, chdir, dup2_stderr, dup2_stdin, dup2_stdout, fchown, sethostname, setsid};
use rustix::fs::CWD;
use rustix::mount::MountAttrFlags;

use crate::failure::{Doing, Result, StartFailure};
use crate::spawn::{ContainerFds, ExecFds, Stdio};
use crate::spec::{ContainerSpec, ExecSpec, MountKind, MountSpec, ProcessSpec};
use crate::terminal::{self, Terminal};
use crate::tree::{Missing, Tree};
use crate::user::{self, User};
use crate::{
    capabilities, descriptor, dev, init, kernel_files, limits, mount, process, program, report, root,
};

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
pub fn container(spec: &ContainerSpec, fds: &ContainerFds) -> ! {
    end(fds.report.as_fd(), || {
        begin(&spec.cgroup_tasks)?;
        unshare(CloneFlags::CLONE_NEWCGROUP).doing("make", "a cgroup namespace")?;
        sethostname(&spec.hostname).doing("set the host name", &spec.hostname)?;
        let domain = spec.domainname.as_deref().unwrap_or("(none)");
        rustix::system::setdomainname(domain.as_bytes()).doing("set", "the domain name")?;
        root::make_private()?;
        let tree = root::mount(&spec.root)?;
        kernel_files::mount(&tree, &spec.cgroup_tasks, fds.cgroup.is_some())?;
        dev::mount(&tree)?;
        kernel_files::mask(&tree)?;
        let files = [
            ("/etc/hosts", &spec.hosts_file),
            ("/etc/resolv.conf", &spec.resolv_file),
            ("/etc/hostname", &spec.hostname_file),
        ];
        for (target, source) in files {
            bind(&tree, source, target, false)?;
        }
        // What lies inside another comes after it.
        let mut mounts: Vec<&MountSpec> = spec.mounts.iter().collect();
        mounts.sort_by_key(|mount| Path::new(&mount.target).components().count());
        for mount in mounts {
            user_mount(&tree, mount)?;
        }
        working_folder(&tree, &spec.process)?;
        let init = if spec.init { Some(own_program()?) } else { None };
        root::enter(&tree, spec.read_only)?;
        drop(tree);
        let user = user::look_up(spec.process.user.as_deref())?;
        let terminal = terminal(&spec.process, fds.report.as_fd())?;
        if let Some(terminal) = &terminal {
            dev::console(&terminal.path)?;
        }
        give_pipes(&fds.stdio, &user)?;
        wait(&fds.start)?;
        run(&spec.process, &user, &fds.stdio, terminal, false, |env| match &init {
            Some(binary) => init::exec(binary, &spec.process.argv, env, &fds.report),
            None => program::exec(&spec.process.argv, env),
        })
    })
}

/// A program in a container that runs.
pub fn exec(target: BorrowedFd<'_>, spec: &ExecSpec, fds: &ExecFds) -> ! {
    end(fds.report.as_fd(), || {
        begin(&spec.cgroup_tasks)?;
        let namespaces = CloneFlags::CLONE_NEWNS
            | CloneFlags::CLONE_NEWNET
            | CloneFlags::CLONE_NEWUTS
            | CloneFlags::CLONE_NEWIPC
            | CloneFlags::CLONE_NEWCGROUP;
        // This also makes the container's root this process's root.
        setns(target, namespaces).doing("enter", "the container's namespaces")?;
        let user = user::look_up(spec.process.user.as_deref())?;
        let terminal = terminal(&spec.process, fds.report.as_fd())?;
        run(&spec.process, &user, &fds.stdio, terminal, spec.privileged, |env| {
            program::exec(&spec.process.argv, env)
        })
    })
}

fn begin(tasks: &[std::path::PathBuf]) -> Result<()> {
    // Until exec this is a copy of the keeper: nothing in the container may look into it or into its descriptors.
    nix::sys::prctl::set_dumpable(false).doing("protect", "the new process")?;
    process::join_groups(tasks)?;
    setsid().doing("start", "a session")?;
    process::default_signals().doing("reset", "its signals")?;
    limits::restore_descriptor_limit().doing("restore", "the limit of open files")?;
    process::new_keyring();
    umask(Mode::from_bits_truncate(0o022));
    Ok(())
}

/// A file or folder of the host's at a path of the container's.
fn bind(tree: &Tree, source: &Path, target: &str, read_only: bool) -> Result<()> {
    let copy = mount::copy(CWD, source, true).doing("mount", source.display())?;
    let is_folder = source.is_dir();
    let mut attributes = MountAttrFlags::empty();
    // Device nodes in a user's folder do not work; the host's /dev is meant.
    if !source.starts_with("/dev") {
        attributes |= MountAttrFlags::MOUNT_ATTR_NODEV;
    }
    if read_only {
        attributes |= MountAttrFlags::MOUNT_ATTR_RDONLY;
    }
    mount::restrict(&copy, attributes, true).doing("restrict the mount at", target)?;
    let place = tree.ensure(target, if is_folder { Missing::Folder } else { Missing::File });
    let place = place.doing("make a place to mount at", target)?;
    mount::attach(copy, place).map_err(|error| {
        let mut failure =
            StartFailure::system("mount", format_args!("{} at {target}", source.display()), &error);
        if error.raw_os_error() == Some(libc::ENOTDIR) {
            failure.message = "one is a file, the other a folder".to_owned();
        }
        failure
    })
}

fn user_mount(tree: &Tree, spec: &MountSpec) -> Result<()> {
    match &spec.kind {
        MountKind::Bind { source } => bind(tree, source, &spec.target, spec.read_only),
        MountKind::Tmpfs { size, mode } => {
            let size = size.map(|size| size.to_string());
            let mode = format!("{:o}", mode.unwrap_or(0o1777));
            let mut options = vec![("mode", Some(mode.as_str()))];
            options.extend(size.as_deref().map(|size| ("size", Some(size))));
            let mut attributes = mount::INERT;
            if spec.read_only {
                attributes |= MountAttrFlags::MOUNT_ATTR_RDONLY;
            }
            let place = tree.ensure(&spec.target, Missing::Folder).doing("make", &spec.target)?;
            mount::filesystem("tmpfs", &options, attributes)
                .and_then(|tmpfs| mount::attach(tmpfs, place))
                .doing("mount tmpfs at", &spec.target)
        }
    }
}

/// Made before the root filesystem may become read-only.
fn working_folder(tree: &Tree, process: &ProcessSpec) -> Result<()> {
    match &process.cwd {
        Some(cwd) => tree.ensure(cwd, Missing::Folder).map(drop).doing("make the working folder", cwd),
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

/// The last steps, in the container already.
fn run(
    process: &ProcessSpec,
    user: &User,
    stdio: &Stdio,
    terminal: Option<Terminal>,
    privileged: bool,
    exec: impl FnOnce(&[(String, String)]) -> Result<Infallible>,
) -> Result<Infallible> {
    match &terminal {
        Some(terminal) => {
            terminal::control(&terminal.slave)?;
            // Its group stays `tty`.
            fchown(&terminal.slave, Some(Uid::from_raw(user.uid)), None)
                .doing("give away", "the terminal")?;
            streams(&terminal.slave, &terminal.slave, &terminal.slave)?;
        }
        None => {
            streams(&stdio.stdin, &stdio.stdout, &stdio.stderr)?;
        }
    }
    let cwd = process.cwd.as_deref().unwrap_or("/");
    if !privileged {
        capabilities::limit_bounding()?;
    }
    user::become_user(user)?;
    if !privileged {
        capabilities::limit_own(user.uid == 0)?;
    }
    chdir(cwd).doing("enter the working folder", cwd)?;
    descriptor::close_on_exec_from(3).doing("close", "the keeper's descriptors")?;
    exec(&program::environment(process, user))
}

/// /dev/stdout and its like must open for the container's user.
fn give_pipes(stdio: &Stdio, user: &User) -> Result<()> {
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    for pipe in [&stdio.stdin, &stdio.stdout, &stdio.stderr].into_iter().filter(|fd| is_pipe(fd)) {
        fchown(pipe, Some(uid), Some(gid)).doing("give away", "its standard streams")?;
        fchmod(pipe, Mode::S_IRUSR | Mode::S_IWUSR).doing("give away", "its standard streams")?;
    }
    Ok(())
}

fn is_pipe(fd: &OwnedFd) -> bool {
    rustix::fs::fstat(fd).is_ok_and(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode).is_fifo())
}

fn streams(stdin: &OwnedFd, stdout: &OwnedFd, stderr: &OwnedFd) -> Result<()> {
    dup2_stdin(stdin)
        .and_then(|()| dup2_stdout(stdout))
        .and_then(|()| dup2_stderr(stderr))
        .doing("set up", "its standard streams")
}
