//! `compose export`.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
pub struct Export {
    /// The service whose container's files are wanted
    #[arg(value_name = "SERVICE")]
    pub service: String,
    /// Write to this file [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Which replica, from 1 [default: the first]
    #[arg(long, value_name = "NUMBER")]
    pub index: Option<u32>,
}
