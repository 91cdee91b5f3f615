//! `enable`, `disable`, and what the unit of the one calls.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Where systemd looks for units of the administrator's (systemd.unit(5)).
pub const UNITS: &str = "/etc/systemd/system";

#[derive(Debug, Args)]
pub struct Enable {
    /// Print the unit, and write nothing
    #[arg(long)]
    pub print: bool,
    /// Folder to write the unit to
    #[arg(long, value_name = "DIR", default_value = UNITS)]
    pub directory: PathBuf,
}

#[derive(Debug, Args)]
pub struct Disable {
    /// Print what would be removed, and remove nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Folder that the unit is in
    #[arg(long, value_name = "DIR", default_value = UNITS)]
    pub directory: PathBuf,
}

#[derive(Debug, Args)]
pub struct Unit {
    #[command(subcommand)]
    pub verb: UnitVerb,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Subcommand)]
pub enum UnitVerb {
    /// Bring the stack up, but for what a user had stopped and is to run `unless-stopped`
    Start,
    /// Stop the stack, so that the next boot brings it back
    Stop,
}
