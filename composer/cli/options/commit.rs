//! `compose commit`.

use clap::{ArgAction, Args};

#[derive(Debug, Args)]
pub struct Commit {
    /// The service whose container an image is made of
    #[arg(value_name = "SERVICE")]
    pub service: String,
    /// What the image is called [default: its id]
    #[arg(value_name = "REPOSITORY[:TAG]")]
    pub name: Option<String>,
    /// Who has made it, for example `Ann <ann@example.org>`
    #[arg(short, long, value_name = "AUTHOR", default_value = "")]
    pub author: String,
    /// What it is for
    #[arg(short, long, value_name = "TEXT", default_value = "")]
    pub message: String,
    /// An instruction of a Dockerfile to apply, for example `CMD ["nginx"]`
    #[arg(short, long, value_name = "INSTRUCTION")]
    pub change: Vec<String>,
    /// Hold the container meanwhile; `--pause=false` does not
    #[arg(short, long, num_args = 0..=1, require_equals = true, default_value = "true", default_missing_value = "true", action = ArgAction::Set)]
    pub pause: bool,
    /// Which replica, from 1 [default: the first]
    #[arg(long, value_name = "NUMBER")]
    pub index: Option<u32>,
}
