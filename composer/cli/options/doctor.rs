//! Flags of `doctor`.

use clap::{Args, ValueEnum};
use composer_supervisor::host::doctor::Trial;

/// `compose doctor`.
#[derive(Debug, Args)]
#[command(after_help = "The status is 1 where `up` could not work. Nothing that is tried is left.")]
pub struct Doctor {
    /// How to print
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub format: super::TableFormat,
    /// What this command has a process of its own try
    #[arg(long = "try", hide = true)]
    pub attempt: Option<TrialName>,
}

/// `doctor --try`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TrialName {
    Namespaces,
    User,
    Overlay,
    Network,
}

impl From<TrialName> for Trial {
    fn from(name: TrialName) -> Self {
        match name {
            TrialName::Namespaces => Self::Namespaces,
            TrialName::User => Self::User,
            TrialName::Overlay => Self::Overlay,
            TrialName::Network => Self::Network,
        }
    }
}
