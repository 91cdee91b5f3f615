//! The verbs that act on running programs: `kill`, `pause`, `unpause`.

use clap::Args;
use composer_stack::signal;

/// `compose kill`.
#[derive(Debug, Args)]
pub struct Kill {
    /// Print what would be done and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Services whose containers are sent the signal [default: all]
    #[arg(value_name = "SERVICE")]
    pub services: Vec<String>,
    /// Send it to containers of services that the file does not name, too
    #[arg(long)]
    pub remove_orphans: bool,
    /// The signal: a name with or without SIG, or a number
    #[arg(short, long, value_name = "SIGNAL", default_value = "SIGKILL", value_parser = number)]
    pub signal: i32,
}

/// The number of a signal.
fn number(text: &str) -> Result<i32, String> {
    signal::parse(text).ok_or_else(|| {
        let names: Vec<&str> = signal::names().collect();
        format!(
            "there is no such signal: give a number from 1 to 64, RTMIN+N, RTMAX-N, or one of {}",
            names.join(", ")
        )
    })
}

/// `compose pause` and `compose unpause`.
#[derive(Debug, Args)]
pub struct Pause {
    /// Print what would be done and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Services [default: all]
    #[arg(value_name = "SERVICE")]
    pub services: Vec<String>,
}
