//! Flags of the verbs that make containers: `up`, `create`, `scale`.

use clap::{Args, ValueEnum};

/// What `up` and `create` have in common.
#[derive(Debug, Default, Args)]
pub struct Creation {
    /// Make the containers anew though nothing has changed
    #[arg(long)]
    pub force_recreate: bool,
    /// Leave containers that exist as they are though something has changed
    #[arg(long)]
    pub no_recreate: bool,
    /// Remove containers of services that the file does not have [env: COMPOSE_REMOVE_ORPHANS]
    #[arg(long)]
    pub remove_orphans: bool,
    /// So many containers of a service, over the file's number; may be given several times
    #[arg(long, value_name = "SERVICE=NUM")]
    pub scale: Vec<String>,
    /// Build images first
    #[arg(long)]
    pub build: bool,
    /// Build no images: none is ever built
    #[arg(long, hide = true)]
    pub no_build: bool,
    /// When to pull images
    #[arg(long, value_name = "WHEN", hide = true)]
    pub pull: Option<Pull>,
    /// Say nothing while images are pulled
    #[arg(long, hide = true)]
    pub quiet_pull: bool,
    /// Answer questions with yes: none is asked
    #[arg(short, long, hide = true)]
    pub yes: bool,
}

/// What `up` has beside [`Creation`].
#[derive(Debug, Default, Args)]
pub struct Renewal {
    /// Make the containers of dependencies anew though nothing has changed
    #[arg(long)]
    pub always_recreate_deps: bool,
    /// Leave dependencies alone: neither start nor wait for them
    #[arg(long)]
    pub no_deps: bool,
    /// Make the containers and do not start them
    #[arg(long)]
    pub no_start: bool,
    /// Make the containers and their anonymous volumes anew
    #[arg(short = 'V', long)]
    pub renew_anon_volumes: bool,
    /// Say nothing while images are built
    #[arg(long, hide = true)]
    pub quiet_build: bool,
    /// Watch sources once all is up, and do what `develop.watch` says of changes
    #[arg(short, long)]
    pub watch: bool,
}

/// `--pull`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Pull {
    Always,
    Missing,
    #[value(name = "if_not_present")]
    IfNotPresent,
    Never,
    Build,
    Policy,
}

/// `compose create`.
#[derive(Debug, Args)]
pub struct Create {
    /// Services whose containers are made, with what they depend on [default: all]
    #[arg(value_name = "SERVICE")]
    pub services: Vec<String>,
    #[command(flatten)]
    pub creation: Creation,
    /// Print what would be done, and why, and do nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// `compose scale`.
#[derive(Debug, Args)]
pub struct Scale {
    /// How many containers which service is to have
    #[arg(value_name = "SERVICE=NUM", required = true)]
    pub scale: Vec<String>,
    /// Leave dependencies alone: neither start nor wait for them
    #[arg(long)]
    pub no_deps: bool,
    /// Print what would be done, and why, and do nothing
    #[arg(long)]
    pub dry_run: bool,
}
