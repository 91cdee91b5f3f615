//! The verbs that look: `events`, `ls`, `wait`, `top`, `port`, `stats`.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

/// `compose events`.
#[derive(Debug, Args)]
pub struct Events {
    /// Services whose events are shown [default: all]
    #[arg(value_name = "SERVICE")]
    pub services: Vec<String>,
    /// Print a JSON object for each event
    #[arg(long)]
    pub json: bool,
    /// Begin with what has happened since this time, as far as it is kept: `2013-01-02T13:23:37Z`, or `42m`
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// End at this time
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
}

/// `compose ls`.
#[derive(Debug, Args)]
pub struct Ls {
    /// List stacks of which nothing runs, and containers that do not run, too
    #[arg(short, long)]
    pub all: bool,
    /// Print names only
    #[arg(short, long)]
    pub quiet: bool,
    /// How to print
    #[arg(long, value_name = "FORMAT", default_value = "table", ignore_case = true)]
    pub format: ListFormat,
    /// Filter by a property: `name=PART`; `^` and `$` stand for the beginning and the end of the name
    #[arg(long, value_name = "FILTER", value_parser = name_filter)]
    pub filter: Vec<String>,
}

/// `--format` of `ls` and `images`, which take no template, nor do Docker Compose's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ListFormat {
    #[value(alias = "pretty")]
    Table,
    /// One array
    Json,
}

/// `name=PART`.
pub fn name_filter(text: &str) -> Result<String, String> {
    match text.split_once('=') {
        Some(("name", part)) => Ok(part.to_owned()),
        _ => Err("only `name=PART` is known".to_owned()),
    }
}

/// `compose wait`.
#[derive(Debug, Args)]
pub struct Wait {
    /// Services whose containers are waited for
    #[arg(value_name = "SERVICE", required = true)]
    pub services: Vec<String>,
    /// Take the whole stack down afterwards
    #[arg(long)]
    pub down_project: bool,
}

/// `compose top`.
#[derive(Debug, Args)]
#[command(
    after_help = "%CPU is the share of the CPU time that the container has used so far; %MEM and MEM are its share of \
the memory of the container's processes, where pages that several have count in parts."
)]
pub struct Top {
    /// Services whose processes are shown [default: all]
    #[arg(value_name = "SERVICE")]
    pub services: Vec<String>,
}

/// `compose port`.
#[derive(Debug, Args)]
pub struct Port {
    /// The service
    pub service: String,
    /// The port inside the container
    pub private_port: u16,
    /// tcp or udp
    #[arg(long, default_value = "tcp", ignore_case = true)]
    pub protocol: Protocol,
    /// Which replica, from 1 [default: the first that runs]
    #[arg(long, value_name = "NUMBER")]
    pub index: Option<u32>,
}

/// `port --protocol`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Protocol {
    Tcp,
    Udp,
}

/// `compose stats`.
#[derive(Debug, Args)]
pub struct Stats {
    /// The service whose containers are shown [default: all]
    #[arg(value_name = "SERVICE")]
    pub service: Option<String>,
    /// Show containers that do not run, too
    #[arg(short, long)]
    pub all: bool,
    #[command(flatten)]
    pub format: super::ListingFormat,
    /// Show the first figures and end
    #[arg(long)]
    pub no_stream: bool,
    /// Do not shorten ids
    #[arg(long)]
    pub no_trunc: bool,
    /// Append all that is read to this file, as JSON lines
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// Draw a recording, as .svg or .html: that of --record when it has ended, or that of --from
    #[arg(long, value_name = "FILE", value_parser = picture)]
    pub plot: Option<PathBuf>,
    /// The recording that is drawn
    #[arg(long, value_name = "RECORDING", requires = "plot", conflicts_with_all = ["record", "service"])]
    pub from: Option<PathBuf>,
}

fn picture(text: &str) -> Result<PathBuf, String> {
    let ending = Path::new(text).extension().and_then(|ending| ending.to_str());
    if matches!(ending, Some("svg" | "html")) {
        Ok(text.into())
    } else {
        Err("a file whose name ends with .svg or .html".to_owned())
    }
}
