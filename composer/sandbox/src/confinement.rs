//! What a container's programs may do, as it travels from the supervisor to the keeper.

use serde::{Deserialize, Serialize};

/// What a container's programs may do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confinement {
    /// All capabilities, all devices, no filter but one that is named, and nothing of /proc and /sys hidden or locked.
    pub privileged: bool,
    /// Capabilities over the default ones: `NET_ADMIN`, or `ALL`.
    pub cap_add: Vec<String>,
    /// Capabilities that are taken away: `MKNOD`, or `ALL`.
    pub cap_drop: Vec<String>,
    /// Nothing that is exec'd gains privileges (`PR_SET_NO_NEW_PRIVS`, prctl(2)).
    pub no_new_privileges: bool,
    /// System calls.
    pub seccomp: SeccompProfile,
    /// Nothing of /proc is hidden or locked.
    pub unmasked: bool,
    /// What it may write is limited: no file is given to another project, under the default profile.
    #[serde(default)]
    pub fixed_project: bool,
}

/// Which system calls there are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SeccompProfile {
    /// Those of Docker's default profile.
    #[default]
    Default,
    /// All of them.
    Unconfined,
    /// A profile in Docker's JSON format.
    Custom(String),
}

impl Confinement {
    /// Whether the programs have the capabilities that Docker gives by default.
    pub(crate) fn has_default_capabilities(&self) -> bool {
        !self.privileged && self.cap_add.is_empty() && self.cap_drop.is_empty()
    }

    /// The confinement of a program that has all privileges in a container with this one.
    pub(crate) fn lifted(&self) -> Self {
        Self { privileged: true, seccomp: SeccompProfile::Unconfined, ..self.clone() }
    }
}
