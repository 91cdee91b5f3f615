//! The parent's side of a container's birth.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::sched::{CloneFlags, setns};

use crate::child;
use crate::clone::{Forked, clone3};
use crate::spec::{ContainerSpec, ExecSpec, NamespaceSpec};
use crate::userns::Namespaces;

/// Standard streams.
#[derive(Debug)]
pub struct Stdio {
    /// Standard input.
    pub stdin: OwnedFd,
    /// Standard output.
    pub stdout: OwnedFd,
    /// Standard error.
    pub stderr: OwnedFd,
}

/// Descriptors for a container.
#[derive(Debug)]
pub struct ContainerFds {
    /// Standard streams; pipes become its user's.
    pub stdio: Stdio,
    /// A byte lets it exec; its end makes the child give up.
    pub start: OwnedFd,
    /// See [`crate::read_report`].
    pub report: OwnedFd,
    /// The network namespace of another that it joins.
    pub network: Option<OwnedFd>,
    /// A process by its pidfd, whose PID namespace it joins.
    pub pid: Option<OwnedFd>,
    /// A process by its pidfd, whose IPC namespace and /dev/shm it joins.
    pub ipc: Option<OwnedFd>,
    /// cgroup v2: the folder of its group.
    pub cgroup: Option<OwnedFd>,
}

/// Descriptors for a program in a container that runs.
#[derive(Debug)]
pub struct ExecFds {
    /// Standard streams.
    pub stdio: Stdio,
    /// See [`crate::read_report`].
    pub report: OwnedFd,
    /// cgroup v2: the folder of the container's group.
    pub cgroup: Option<OwnedFd>,
}

/// A child of this process.
#[derive(Debug)]
pub struct Child {
    /// In this process's PID namespace.
    pub pid: i32,
    /// The same, by descriptor.
    pub pidfd: OwnedFd,
}

/// Clones PID 1 of a new container. The caller must have one thread only.
///
/// # Errors
/// Those of clone3(2); whatever fails later comes over the report.
pub fn spawn(spec: &ContainerSpec, fds: ContainerFds) -> io::Result<Child> {
    let own = |namespace: NamespaceSpec, flag| match namespace {
        NamespaceSpec::Own => flag,
        NamespaceSpec::Host | NamespaceSpec::Joined => CloneFlags::empty(),
    };
    let mut namespaces = CloneFlags::CLONE_NEWNS
        | own(spec.isolation.pid, CloneFlags::CLONE_NEWPID)
        | own(spec.isolation.ipc, CloneFlags::CLONE_NEWIPC)
        | own(spec.network, CloneFlags::CLONE_NEWNET);
    if !spec.isolation.host_uts {
        namespaces |= CloneFlags::CLONE_NEWUTS;
    }
    let failed = |error: io::Error| io::Error::new(error.kind(), format!("clone its first process: {error}"));
    let cgroup = fds.cgroup.as_ref().map(AsFd::as_fd);
    let owned =
        match spec.userns {
            Some(range) => {
                let flags = Namespaces::owned(namespaces);
                namespaces -= flags;
                let made = Namespaces::make(range, flags);
                Some(made.map_err(|error| {
                    io::Error::new(error.kind(), format!("make its user namespace: {error}"))
                })?)
            }
            None => None,
        };
    let userns = owned.as_ref().map(|owned| &owned.user);
    let fork = || match clone3(namespaces, cgroup)? {
        Forked::Child => child::container(spec, &fds, userns),
        parent @ Forked::Parent(..) => Ok(parent),
    };
    let forked = match (&fds.pid, &owned) {
        (Some(target), _) => born_inside(target.as_fd(), fork),
        (None, Some(owned)) => owned.born_inside(fork),
        (None, None) => fork(),
    };
    match forked.map_err(failed)? {
        Forked::Parent(pid, pidfd) => Ok(Child { pid, pidfd }),
        Forked::Child => unreachable!("the child has left above"),
    }
}

/// Runs a program in the namespaces of a container. The caller must have one thread only.
///
/// # Errors
/// When the container has ended, and those of clone3(2); whatever fails later comes over the report.
pub fn exec_in(target: BorrowedFd<'_>, target_pid: i32, spec: &ExecSpec, fds: ExecFds) -> io::Result<Child> {
    let entering =
        |error: io::Error| io::Error::new(error.kind(), format!("enter process {target_pid}: {error}"));
    let forked =
        born_inside(target, || match clone3(CloneFlags::empty(), fds.cgroup.as_ref().map(AsFd::as_fd))? {
            Forked::Child => child::exec(target, spec, &fds),
            parent @ Forked::Parent(..) => Ok(parent),
        });
    match forked.map_err(entering)? {
        Forked::Parent(pid, pidfd) => Ok(Child { pid, pidfd }),
        Forked::Child => unreachable!("the child has left above"),
    }
}

/// Forks into the PID namespace of a process. The child does not come back from `fork`.
fn born_inside(target: BorrowedFd<'_>, fork: impl FnOnce() -> io::Result<Forked>) -> io::Result<Forked> {
    let own = File::open("/proc/self/ns/pid")?;
    // Only children are born into it: this process itself stays where it is (pid_namespaces(7)).
    setns(target, CloneFlags::CLONE_NEWPID)?;
    let forked = fork();
    if setns(&own, CloneFlags::CLONE_NEWPID).is_err() {
        // Further containers would be born inside this one. A keeper that ends is replaced.
        std::process::abort();
    }
    forked
}
