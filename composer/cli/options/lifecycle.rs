//! Flags of the verbs that work on containers that exist: `start`, `stop`, `restart`, `rm`.

use clap::Args;

/// `compose start`.
#[derive(Debug, Args)]
pub struct Start {
    /// Services to start, with what they depend on [default: all]
    #[arg(value_name = "SERVICE")]
    pub services: Vec<String>,
    /// Wait until services run or are healthy
    #[arg(long)]
    pub wait: bool,
    /// Give up waiting after this many seconds
    #[arg(long, value_name = "SECONDS")]
    pub wait_timeout: Option<u64>,
    /// Print what would be done, and why, and do nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// `compose stop`.
#[derive(Debug, Args)]
pub struct Stop {
    /// Services to stop [default: all]
    #[arg(value_name = "SERVICE")]
    pub services: Vec<String>,
    /// Seconds that containers have to stop before they are killed [default: what the file says, or 10]
    #[arg(short, long, value_name = "SECONDS")]
    pub timeout: Option<u64>,
    /// Print what would be done, and why, and do nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// `compose restart`.
#[derive(Debug, Args)]
pub struct Restart {
    /// Services to restart, with those that ask for it by `depends_on.restart` [default: all]
    #[arg(value_name = "SERVICE")]
    pub services: Vec<String>,
    /// Leave those alone that ask to be restarted with these
    #[arg(long)]
    pub no_deps: bool,
    /// Seconds that containers have to stop before they are killed [default: what the file says, or 10]
    #[arg(short, long, value_name = "SECONDS")]
    pub timeout: Option<u64>,
    /// Print what would be done, and why, and do nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// `compose rm`.
#[derive(Debug, Args)]
pub struct Remove {
    /// Services whose stopped containers are removed [default: all]
    #[arg(value_name = "SERVICE")]
    pub services: Vec<String>,
    /// Do not ask
    #[arg(short, long)]
    pub force: bool,
    /// Stop the containers first
    #[arg(short, long)]
    pub stop: bool,
    /// Remove their anonymous volumes too
    #[arg(short, long)]
    pub volumes: bool,
    /// Without effect, as in Docker Compose
    #[arg(short, long, hide = true)]
    pub all: bool,
    /// Print what would be done, and why, and do nothing
    #[arg(long)]
    pub dry_run: bool,
}
