//! The command line: Docker Compose's verbs, flags and defaults.

mod attach;
mod commit;
mod config;
mod copy;
mod creation;
mod doctor;
mod export;
pub mod filter;
mod format;
mod global;
mod graph;
mod hold;
mod image;
mod lifecycle;
mod login;
mod look;
mod network;
mod run;
mod set;
mod unit;
mod volume;
mod watch;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

pub use attach::Attach;
pub use commit::Commit;
pub use config::{Config, ConfigFormat};
pub use copy::{Copy, Place};
pub use creation::{Create, Creation, Pull, Renewal, Scale};
pub use doctor::Doctor;
pub use export::Export;
pub use filter::Filter;
pub use format::{InspectionFormat, ListingFormat};
pub use global::{Ansi, Global, ProgressStyle};
pub use graph::{Graph, GraphFormat};
pub use hold::{Kill, Pause};
pub use image::{
    Image, ImageInspect, ImageLs, ImagePrune, ImagePull, ImagePush, ImageRm, ImageTag, ImageVerb, Images,
    PullImages, PullWhen, PushImages,
};
pub use lifecycle::{Remove, Restart, Start, Stop};
pub use login::{Login, Logout};
pub use look::{Events, ListFormat, Ls, Port, Protocol, Stats, Top, Wait};
pub use network::{Network, NetworkCreate, NetworkInspect, NetworkLs, NetworkPrune, NetworkRm, NetworkVerb};
pub use run::Run;
pub use set::{OnShortage, Set};
pub use unit::{Disable, Enable, UNITS, Unit, UnitVerb};
pub use volume::{Volume, VolumeCreate, VolumeInspect, VolumeLs, VolumePrune, VolumeRm, VolumeVerb, Volumes};
pub use watch::Watch;

/// Runs Compose files by itself: no daemon, no image needed
#[derive(Debug, Parser)]
#[command(name = "compose", version, disable_version_flag = true, disable_help_subcommand = true)]
pub struct Options {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub verb: Verb,
    /// Show the version
    #[arg(short = 'v', long, action = ArgAction::Version)]
    version: Option<bool>,
}

#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Create and start containers
    Up(Up),
    /// Stop and remove containers, the network and the cgroup
    Down(Down),
    /// Make containers and do not start them
    Create(Create),
    /// Change how many containers services have
    Scale(Scale),
    /// Start containers that exist
    Start(Start),
    /// Stop containers and leave them
    Stop(Stop),
    /// Stop containers and start them again
    Restart(Restart),
    /// Remove containers that do not run
    Rm(Remove),
    /// List containers
    Ps(Ps),
    /// Show the output of containers
    Logs(Logs),
    /// Run a program in a running container
    Exec(Exec),
    /// Show what happens to containers
    Events(Events),
    /// List the stacks of this host
    Ls(Ls),
    /// Manage networks that stacks share
    Network(Network),
    /// Pull the images of services
    Pull(PullImages),
    /// Push the images of services that are built
    Push(PushImages),
    /// List the images that containers stand on
    Images(Images),
    /// Manage the images of this host
    Image(Image),
    /// Log in to a registry
    Login(Login),
    /// Forget how to log in to a registry
    Logout(Logout),
    /// Manage volumes
    Volume(Volume),
    /// List the volumes of the stack
    Volumes(Volumes),
    /// Block until containers have ended
    Wait(Wait),
    /// Show the processes of containers
    Top(Top),
    /// Show where a container's port is published
    Port(Port),
    /// Show what containers take
    Stats(Stats),
    /// Change limits of what runs, without a restart
    Set(Set),
    /// Send a signal to containers
    Kill(Kill),
    /// Hold containers where they are
    Pause(Pause),
    /// Let held containers go on
    Unpause(Pause),
    /// Run a program in a container of its own
    Run(Box<Run>),
    /// Pass streams and signals between here and a service's program
    Attach(Attach),
    /// Copy files between the host and containers
    Cp(Copy),
    /// Write a container's root filesystem as a tar archive
    Export(Export),
    /// Make an image of a container
    Commit(Commit),
    /// Restart services and copy files as sources change
    Watch(Watch),
    /// Check the Compose file and show what it means
    #[command(alias = "convert")]
    Config(Config),
    /// Show what the stack is made of, as text or as a drawing for Mermaid or Graphviz
    Graph(Graph),
    /// Have systemd bring the stack up at every boot
    Enable(Enable),
    /// Take back what `enable` has done
    Disable(Disable),
    /// What the unit of `enable` calls
    #[command(hide = true)]
    Unit(Unit),
    /// Show what this host offers, and what to do about what is missing
    Doctor(Doctor),
    /// Show the version
    Version(Version),
}

#[derive(Debug, Args)]
pub struct Up {
    /// Services to bring up, with what they depend on [default: all]
    #[arg(value_name = "SERVICE")]
    pub services: Vec<String>,
    #[command(flatten)]
    pub creation: Creation,
    #[command(flatten)]
    pub renewal: Renewal,
    /// Return once every program runs, and leave the containers in the background
    #[arg(short, long)]
    pub detach: bool,
    /// Wait until services run or are healthy; implies --detach
    #[arg(long)]
    pub wait: bool,
    /// Give up waiting after this many seconds
    #[arg(long, value_name = "SECONDS")]
    pub wait_timeout: Option<u64>,
    /// Print what would be done, and why, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Seconds that containers have to stop before they are killed [default: what the file says, or 10]
    #[arg(short, long, value_name = "SECONDS")]
    pub timeout: Option<u64>,
    /// Show the output of these services only
    #[arg(long, value_name = "SERVICE")]
    pub attach: Vec<String>,
    /// Do not show the output of these services
    #[arg(long, value_name = "SERVICE")]
    pub no_attach: Vec<String>,
    /// Stop all containers when one has ended
    #[arg(long)]
    pub abort_on_container_exit: bool,
    /// Stop all containers when one has ended with another status than 0
    #[arg(long)]
    pub abort_on_container_failure: bool,
    /// Return the exit status of this service's container; implies --abort-on-container-exit
    #[arg(long, value_name = "SERVICE")]
    pub exit_code_from: Option<String>,
    /// Show the output of what the services depend on, too
    #[arg(long)]
    pub attach_dependencies: bool,
    /// Docker Desktop's keyboard menu: there is none
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub menu: Option<bool>,
    /// Do not colour the prefixes of log lines
    #[arg(long)]
    pub no_color: bool,
    /// Do not print container names before log lines
    #[arg(long)]
    pub no_log_prefix: bool,
    /// Print times before log lines
    #[arg(long)]
    pub timestamps: bool,
}

#[derive(Debug, Args)]
pub struct Down {
    /// Services to take down [default: all]
    #[arg(value_name = "SERVICE")]
    pub services: Vec<String>,
    /// Remove containers of services that the file does not name: always done
    #[arg(long, hide = true)]
    pub remove_orphans: bool,
    /// Remove the images that the containers stand on: `all`, or `local` for those without a name, which are built
    #[arg(long, value_name = "WHICH")]
    pub rmi: Option<RemoveImages>,
    /// Seconds that containers have to stop before they are killed [default: what the file says, or 10]
    #[arg(short, long, value_name = "SECONDS")]
    pub timeout: Option<u64>,
    /// Remove the stack's named volumes and its containers' anonymous ones too
    #[arg(short, long)]
    pub volumes: bool,
    /// Print what would be done and do nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// `down --rmi`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RemoveImages {
    All,
    Local,
}

#[derive(Debug, Args)]
pub struct Ps {
    /// Services to list [default: all]
    #[arg(value_name = "SERVICE")]
    pub services: Vec<String>,
    /// List containers that do not run, too
    #[arg(short, long)]
    pub all: bool,
    /// Print ids only
    #[arg(short, long)]
    pub quiet: bool,
    /// Print the names of services
    #[arg(id = "names", long = "services")]
    pub names: bool,
    #[command(flatten)]
    pub format: ListingFormat,
    /// List containers in this state only; may be given several times
    #[arg(long, value_name = "STATE")]
    pub status: Vec<StateName>,
    /// Filter by a property: `status=STATE`
    #[arg(long, value_name = "FILTER", value_parser = filter)]
    pub filter: Option<StateName>,
    /// Do not shorten ids and commands
    #[arg(long)]
    pub no_trunc: bool,
}

/// `--format` of `set` and `doctor`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TableFormat {
    Table,
    /// One object a line
    Json,
}

/// `ps --status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StateName {
    Created,
    Running,
    Restarting,
    Paused,
    Exited,
}

fn filter(text: &str) -> Result<StateName, String> {
    match text.split_once('=') {
        Some(("status", state)) => StateName::from_str(state, false),
        _ => Err("only `status=STATE` is known".to_owned()),
    }
}

#[derive(Debug, Args)]
pub struct Logs {
    /// Services whose output is shown [default: all]
    #[arg(value_name = "SERVICE")]
    pub services: Vec<String>,
    /// Go on as the output grows
    #[arg(short, long)]
    pub follow: bool,
    /// Show only this many last lines of each container, or `all`
    #[arg(short = 'n', long, value_name = "LINES", default_value = "all", value_parser = tail, allow_hyphen_values = true)]
    pub tail: Tail,
    /// Print times before lines
    #[arg(short, long)]
    pub timestamps: bool,
    /// Show lines from this time on: `2013-01-02T13:23:37Z`, or `42m` for 42 minutes ago
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Show lines up to this time
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// Do not print container names before lines
    #[arg(long)]
    pub no_log_prefix: bool,
    /// Do not colour the prefixes of lines
    #[arg(long)]
    pub no_color: bool,
    /// Which replica of the one service named, from 1 [default: all]
    #[arg(long, value_name = "NUMBER", requires = "services")]
    pub index: Option<u32>,
    /// Show in between when containers were started, paused, found healthy or not, and how they ended
    #[arg(long)]
    pub marks: bool,
}

/// `logs --tail`: `None` is everything. A type of its own, as clap reads `Option` as "may be left out".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tail(pub Option<usize>);

fn tail(text: &str) -> Result<Tail, String> {
    // Docker takes every negative number as "all".
    if text == "all" || text.strip_prefix('-').is_some_and(|rest| rest.parse::<u64>().is_ok()) {
        return Ok(Tail(None));
    }
    text.parse().map(|lines| Tail(Some(lines))).map_err(|_| "a number of lines, or `all`".to_owned())
}

#[derive(Debug, Args)]
pub struct Exec {
    /// The service
    pub service: String,
    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    pub command: Vec<String>,
    /// Return as soon as the program runs
    #[arg(short, long)]
    pub detach: bool,
    /// Keep standard input open: always done
    #[arg(short, long, hide = true)]
    pub interactive: bool,
    /// Give the program a terminal where standard input and output are one: always done
    #[arg(short, long, hide = true)]
    pub tty: bool,
    /// Set a variable; without a value it is taken from the environment
    #[arg(short, long = "env", value_name = "NAME[=VALUE]")]
    pub env: Vec<String>,
    /// Which replica, from 1 [default: the first that runs]
    #[arg(long, value_name = "NUMBER")]
    pub index: Option<u32>,
    /// Give the program no terminal [default: it gets one where standard input and output are one]
    #[arg(short = 'T', long)]
    pub no_tty: bool,
    /// Give the program all capabilities
    #[arg(long)]
    pub privileged: bool,
    /// Run it as this user
    #[arg(short, long, value_name = "USER")]
    pub user: Option<String>,
    /// Run it in this folder
    #[arg(short, long, value_name = "DIR")]
    pub workdir: Option<String>,
}

#[derive(Debug, Args)]
pub struct Version {
    /// The number alone
    #[arg(long)]
    pub short: bool,
    /// How to print
    #[arg(short, long, value_name = "FORMAT", default_value = "pretty")]
    pub format: VersionFormat,
}

/// `version --format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum VersionFormat {
    Pretty,
    Json,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Options::command().debug_assert();
    }

    #[test]
    fn what_follows_the_service_belongs_to_the_program() {
        let options = Options::parse_from(["compose", "exec", "-T", "api", "ls", "-l", "--help"]);
        let Verb::Exec(exec) = options.verb else { panic!("not exec") };
        assert_eq!(exec.command, ["ls", "-l", "--help"]);
    }

    #[test]
    fn tails() {
        assert_eq!(tail("all"), Ok(Tail(None)));
        assert_eq!(tail("-1"), Ok(Tail(None)));
        assert_eq!(tail("12"), Ok(Tail(Some(12))));
        assert!(tail("twelve").is_err());
    }
}
