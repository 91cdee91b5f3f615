//! What needs no supervisor: it is read from records and the kernel, and no process is started for it.

mod bandwidth;
pub mod cdi;
pub mod cpus;
pub(crate) mod devices;
pub mod disks;
pub mod doctor;
mod figures;
pub(crate) mod ids;
pub mod images;
mod limits;
pub mod networks;
pub mod nodes;
mod processes;
mod stacks;
pub(crate) mod storage;
pub mod volumes;

pub use bandwidth::{Limited, Shaping};
pub use composer_cgroup::meter::{Cpu, Device, Memory, Pids, Pressure, Reading, Stall};
pub use figures::{Figures, Meters, Traffic, host_memory};
pub use limits::{Held, InForce, Source, limits};
pub use processes::{Process, processes};
pub use stacks::{Member, Summary, stack, stacks};

/// Why the host could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The records are root's alone.
    #[error("compose needs root to read what it has recorded: run it as root, for example with sudo")]
    NotRoot,
    /// Of the networks that stacks share.
    #[error("cannot {doing} network {name}: {why}")]
    Network {
        /// What was being done.
        doing: &'static str,
        /// The network.
        name: String,
        /// Why it could not be.
        why: String,
    },
    /// Of volumes.
    #[error("cannot {doing} volume {name}: {why}")]
    Volume {
        /// What was being done.
        doing: &'static str,
        /// The volume.
        name: String,
        /// Why it could not be.
        why: String,
    },
    /// Of the limits of bandwidth.
    #[error("what limits of bandwidth have let pass is not known: {why}")]
    Bandwidth {
        /// Why.
        why: String,
    },
    /// Of images.
    #[error(transparent)]
    Image(#[from] images::Error),
    /// Nothing has this name or id.
    #[error("no such image: {name}")]
    NoImage {
        /// As it was asked for.
        name: String,
    },
    /// Of a container that no image can be made of.
    #[error(
        "no image can be made of container {container}: it stands on none to which a layer could be added"
    )]
    StandsOnNone {
        /// The container.
        container: String,
    },
    /// Of an image that is not to be removed.
    #[error("cannot remove image {name}: {why}")]
    Removal {
        /// As it was asked for.
        name: String,
        /// Why not.
        why: String,
    },
    /// Of the control groups.
    #[error(transparent)]
    Cgroup(#[from] composer_cgroup::Error),
}

/// Whether what belongs to root alone can be read.
///
/// # Errors
/// [`Error::NotRoot`].
pub fn root() -> Result<(), Error> {
    if nix::unistd::geteuid().is_root() { Ok(()) } else { Err(Error::NotRoot) }
}

/// Whether this host's control groups can limit memory, and hold processes.
///
/// # Errors
/// [`Error::Cgroup`].
pub fn memory_and_freezer() -> Result<(bool, bool), Error> {
    let cgroups = composer_cgroup::Hierarchy::detect()?;
    Ok((cgroups.has(composer_cgroup::Controller::Memory), cgroups.can_freeze()))
}

/// How many microseconds of each second are left for real-time tasks of a stack; `None` where there is no bound, or none to
/// be had at all.
pub fn real_time_left(stack: &str) -> Option<u64> {
    let cgroups = composer_cgroup::Hierarchy::detect().ok()?;
    cgroups.group(&format!("compose/{stack}")).real_time_left().ok()?
}

/// The control group of a container.
fn group(cgroups: &composer_cgroup::Hierarchy, stack: &str, container: &str) -> composer_cgroup::Group {
    cgroups.group(&format!("compose/{stack}/{container}"))
}
