//! `compose watch`.

use clap::{ArgAction, Args};

#[derive(Debug, Args)]
pub struct Watch {
    /// Services whose sources are watched [default: all]
    #[arg(value_name = "SERVICE")]
    pub services: Vec<String>,
    /// Do not bring the services up first
    #[arg(long)]
    pub no_up: bool,
    /// Remove old images after a rebuild: nothing is rebuilt yet
    #[arg(long, hide = true, num_args = 0..=1, default_value_t = true, default_missing_value = "true", action = ArgAction::Set)]
    pub prune: bool,
    /// Do not show how images are built: none are
    #[arg(long, hide = true)]
    pub quiet: bool,
}
