//! `compose run`.

use std::path::PathBuf;

use clap::{ArgAction, Args};

use super::Pull;

#[derive(Debug, Args)]
pub struct Run {
    /// The service
    pub service: String,
    /// The program and its arguments, in place of the service's `command`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    pub command: Vec<String>,
    /// Return as soon as the program runs, and print the container's id
    #[arg(short, long)]
    pub detach: bool,
    /// Remove the container when its program ends
    #[arg(long)]
    pub rm: bool,
    /// Keep standard input open [default: true]
    #[arg(short, long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub interactive: Option<bool>,
    /// Give the program a terminal [default: where standard input and output are one]
    #[arg(short, long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub tty: Option<bool>,
    /// Give the program no terminal
    #[arg(short = 'T', long, alias = "no-TTY", conflicts_with = "tty")]
    pub no_tty: bool,
    /// Do not start what the service depends on
    #[arg(long)]
    pub no_deps: bool,
    /// Set a variable; without a value it is taken from the environment
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    pub env: Vec<String>,
    /// Set the variables of a file, below those of `--env`
    #[arg(long, value_name = "FILE")]
    pub env_from_file: Vec<PathBuf>,
    /// Mount a host folder, a file or a volume of the file: `SOURCE:TARGET[:ro]`
    #[arg(short, long, alias = "volumes", value_name = "VOLUME")]
    pub volume: Vec<String>,
    /// Run it in this folder
    #[arg(short, long, value_name = "DIR")]
    pub workdir: Option<String>,
    /// Run it as this user
    #[arg(short, long, value_name = "USER")]
    pub user: Option<String>,
    /// In place of the service's `entrypoint`, and of its `command` where none is given
    #[arg(long, value_name = "COMMAND")]
    pub entrypoint: Option<String>,
    /// The container's name [default: STACK-SERVICE-run-ID]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Add or change a label
    #[arg(short, long, alias = "labels", value_name = "KEY=VALUE")]
    pub label: Vec<String>,
    /// Let the container answer to the service's names on the network, too
    #[arg(long)]
    pub use_aliases: bool,
    /// Remove containers of services that the file does not have
    #[arg(long)]
    pub remove_orphans: bool,
    /// Show no progress
    #[arg(short, long)]
    pub quiet: bool,
    /// Only print what would be done
    #[arg(long)]
    pub dry_run: bool,
    /// Publish the service's ports
    #[arg(short = 'P', long, conflicts_with = "publish")]
    pub service_ports: bool,
    /// Publish a port: `[[ADDRESS:]HOST:]CONTAINER[/udp]`
    #[arg(short, long, value_name = "PORT", action = ArgAction::Append)]
    pub publish: Vec<String>,
    /// Add a capability: not supported yet
    #[arg(long, value_name = "CAPABILITY")]
    pub cap_add: Vec<String>,
    /// Drop a capability: not supported yet
    #[arg(long, value_name = "CAPABILITY")]
    pub cap_drop: Vec<String>,
    /// Build the image first: not supported yet
    #[arg(long)]
    pub build: bool,
    /// When to pull images
    #[arg(long, value_name = "POLICY")]
    pub pull: Option<Pull>,
    /// Show no progress of builds: there are none
    #[arg(long, hide = true)]
    pub quiet_build: bool,
    /// Say nothing while images are pulled
    #[arg(long)]
    pub quiet_pull: bool,
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use crate::options::{Options, Verb};

    fn run(args: &[&str]) -> super::Run {
        let options = Options::parse_from(["compose", "run"].iter().chain(args));
        let Verb::Run(run) = options.verb else { panic!("not run") };
        *run
    }

    #[test]
    fn flags_are_dockers_and_end_at_the_service() {
        let verb = run(&["-it", "--rm", "-e", "A=1", "one", "ls", "-l", "--rm"]);
        assert_eq!((verb.interactive, verb.tty, verb.rm), (Some(true), Some(true), true));
        assert_eq!((verb.service.as_str(), verb.command.join(" ")), ("one", "ls -l --rm".to_owned()));
        let verb = run(&["-T", "-i=false", "one", "-c", "x"]);
        assert_eq!((verb.interactive, verb.no_tty), (Some(false), true));
        assert_eq!(verb.command, ["-c", "x"]);
        assert!(Options::try_parse_from(["compose", "run", "-t", "-T", "one"]).is_err());
        assert!(Options::try_parse_from(["compose", "run", "-P", "-p", "80", "one"]).is_err());
    }
}
