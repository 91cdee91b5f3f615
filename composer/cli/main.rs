//! `compose`: reads a Compose file and runs it.

mod caller;
mod commands;
mod host;
mod options;
mod render;
mod systemd;
mod time;
mod watch;

use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};

fn main() -> ExitCode {
    // The keeper and the supervisor are this same binary under other names.
    if let Some(code) = composer_supervisor::entry() {
        return code;
    }
    match options::Options::try_parse() {
        Ok(options) => commands::run(options),
        Err(error) => refused(&error),
    }
}

/// Shows help, or what is wrong with the command line. Docker Compose's status for the latter is 1, clap's would be 2.
fn refused(error: &clap::Error) -> ExitCode {
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        let shown = options::Options::command().print_help();
        return if shown.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    // Whoever reads the output may have gone.
    let shown = error.print();
    if error.use_stderr() || shown.is_err() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
