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

use clap::Parser;

fn main() -> ExitCode {
    // The keeper and the supervisor are this same binary under other names.
    if let Some(code) = composer_supervisor::entry() {
        return code;
    }
    commands::run(options::Options::parse())
}
