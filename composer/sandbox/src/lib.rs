//! One container: namespaces, mounts, root filesystem, capabilities, exec.
//!
//! The keeper calls [`spawn`] and [`exec_in`]. Both fork; what happens in the child is told over a close-on-exec
//! socket, the report: a step that failed by its name, the end of the socket when the program runs. The child runs
//! ordinary Rust between fork and exec, so a process that calls them must have one thread only.

pub mod archive;
mod capabilities;
mod child;
mod clone;
mod confinement;
mod daemon;
pub mod descriptor;
mod dev;
mod device;
mod failure;
mod files;
mod fill;
mod hooks;
pub mod host;
pub mod init;
mod kernel_files;
mod limits;
mod mount;
mod overlay;
pub mod pidfd;
mod process;
mod program;
mod removal;
mod report;
mod root;
mod sealed;
mod seccomp;
mod spawn;
mod spec;
mod terminal;
mod tree;
mod user;
mod userns;
mod volumes;

pub use confinement::{Confinement, SeccompProfile};
pub use daemon::spawn_daemon;
pub use device::{Device, is_mount, is_shared};
pub use failure::StartFailure;
pub use limits::raise_descriptor_limit;
pub use process::ended;
pub use removal::remove;
pub use report::{ReportMessage, read_report};
pub use root::prepare_base;
pub use sealed::{own_program, sealed_self};
pub use seccomp::warm_up as prepare_filter;
pub use spawn::{Child, ContainerFds, ExecFds, Stdio, exec_in, spawn};
pub use spec::{
    ContainerSpec, DeviceSpec, ExecSpec, FileSpec, Fill, HookSpec, HooksSpec, IsolationSpec, LimitSpec,
    MountKind, MountSpec, NamespaceSpec, ProcessSpec, Propagation, Recursion, RootSpec, ShmSpec,
};
pub use userns::IdRange;
